"""Calling a learner's code: it may raise, never return, or return anything at all."""

import contextvars
import ctypes
import inspect
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from vaekit.exercises.diagnosis import Finding
from vaekit.messages import one_line

LIMIT_S = 5.0
OPEN = (None, ..., NotImplemented)  # what a gap that was never filled gives back


class Halt(Exception):
    """The examination ends here, with this finding."""

    def __init__(self, code: str, **evidence: str):
        super().__init__(code)
        self.finding = Finding(code, **evidence)


class _Stopped(SystemExit):
    """Thrown into a thread that is out of time; of a kind that a thread may end with in silence."""


def within_limit(work: Callable, seconds: float | None = None):
    """`work()` in a thread of its own, and what it returns; TimeoutError when the time is up.

    The thread is then told to stop. It obeys when it next runs Python: a sleep, or a call into C, ends first.
    A Halt of `work` is raised here as it is, any other error of its as a Halt.
    """
    outcome: dict = {}

    def body():
        try:
            outcome["value"] = work()
        except Halt as halt:
            outcome["error"] = halt
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a learner's code included
            outcome["error"] = Halt("raises", came=_said(error))

    here = contextvars.copy_context()  # what the learner prints goes to the cell that asked
    thread = threading.Thread(target=here.run, args=(body,), name="vaekit-exercise", daemon=True)
    thread.start()
    try:
        thread.join(LIMIT_S if seconds is None else seconds)
    finally:
        late = not outcome
        _stop(thread, outcome)
    if late:
        raise TimeoutError
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def _stop(thread: threading.Thread, outcome: dict) -> None:
    for _ in range(10):  # again and again: `except BaseException: pass` in a loop swallows one
        if outcome or not thread.is_alive():
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Stopped))
        thread.join(0.05)


@contextmanager
def state_kept() -> Iterator[None]:
    """The global random states and the default dtype come out as they went in; between, the dtype is float32."""
    numpy = sys.modules.get("numpy")
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    dtype, python = torch.get_default_dtype(), random.getstate()
    drawn = numpy.random.get_state() if numpy else None
    torch.set_default_dtype(torch.float32)
    try:
        with torch.random.fork_rng(devices=cuda):
            torch.default_generator.manual_seed(20130131)  # what a verdict shows does not depend on what ran before it
            yield
    finally:
        torch.set_default_dtype(dtype)
        random.setstate(python)
        if numpy:
            numpy.random.set_state(drawn)


class Learner:
    """A learner's function, called by position, or by name where it takes names only. Every error is a Halt."""

    def __init__(self, function, names: str):
        if any(function is nothing for nothing in OPEN):
            raise Halt("not_started")
        if not callable(function):
            raise Halt("wrong_type", came=type(function).__name__, expected="a function")
        self.function = function
        self.names = names.split()
        try:
            parameters = inspect.signature(function).parameters.values()
        except Exception:  # some callables, such as compiled ones, have none
            parameters = ()
        self.by_name = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}

    def __call__(self, *values, gap_is_none: bool = True):
        # clones, and no leaves: what a learner does in place works as it would in a model
        values = [value.clone() if isinstance(value, Tensor) else value for value in values]
        pairs = list(zip(self.names, values, strict=True))
        by_position = [value for name, value in pairs if name not in self.by_name]
        by_name = {name: value for name, value in pairs if name in self.by_name}
        given = ", ".join(f"{name} {described(value)}" for name, value in pairs)
        result = guarded(lambda: self.function(*by_position, **by_name), given)
        if gap_is_none and any(result is nothing for nothing in OPEN):
            raise Halt("not_started", input=given, came=type(result).__name__)
        return result


def guarded(call: Callable, given: str = ""):
    """`call()`; its errors become Halt: "not_started" for an open gap, "raises" for the rest."""
    try:
        return call()
    except (_Stopped, Halt):
        raise
    except NotImplementedError:
        raise Halt("not_started", input=given, came="NotImplementedError") from None
    except BaseException as error:
        said = _said(error)
        raise Halt("not_started" if "ellipsis" in said else "raises", input=given, came=said) from None


def _said(error: BaseException) -> str:
    try:
        return one_line(error)
    except Exception:  # an error that cannot be shown
        return type(error).__name__


def described(value) -> str:
    """A value as evidence: the shape of a tensor, up to four of its numbers when it has few; a type otherwise."""
    if isinstance(value, Tensor):
        if value.dim() < 2:
            return numbers(value)
        return str(tuple(value.shape))
    return f"{value:g}" if isinstance(value, int | float) else type(value).__name__


def numbers(values: Tensor, most: int = 4) -> str:
    """ "3.2" or "(1.6, 0.5, …)"."""
    shown = [f"{value:.4g}" for value in values.detach().flatten()[:most].tolist()]
    if values.dim() == 0:
        return shown[0]
    return f"({', '.join(shown)}{', …' if values.numel() > most else ''})"


def as_tensor(result) -> tuple[Tensor, str | None]:
    """What came back as a tensor of floating point, and a code when it was none; Halt when it cannot be one."""
    if isinstance(result, Tensor) and not result.is_complex():
        return (result if result.is_floating_point() else result.double()), None
    if isinstance(result, float | int) and type(result).__module__ == "builtins":
        return torch.tensor(float(result)), "gradient_cut"  # .item(): the number without its history
    kind = f"{type(result).__module__}.{type(result).__name__}".removeprefix("builtins.")
    if isinstance(result, tuple):  # `return loss, kl`: which of them is meant?
        parts = ", ".join(type(one).__name__ for one in result[:5])
        raise Halt("wrong_type", came=f"a tuple of {len(result)}: {parts}", expected="one tensor")
    if type(result).__module__ == "numpy" or isinstance(result, list):
        try:
            if isinstance(result, list):
                result = torch.stack([torch.as_tensor(value) for value in result])
            return torch.as_tensor(result).double(), "wrong_type"
        except Exception:
            pass
    raise Halt("wrong_type", came=kind, expected="a tensor")
