"""Calling a learner's code: it may raise, never return, or return anything at all."""

import contextvars
import copy
import ctypes
import gc
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import MethodType

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vaekit._checks import one_line
from vaekit.exercises.diagnosis import Finding

LIMIT_S = 40.0  # for all calls of the learner's code together

# The roles of an exercise's arguments, and the other names that are usual for them.
ROLES = {
    "x_logits": "logits logit output outputs output_logits out pred preds prediction predictions y_pred x_pred y_hat "
    "x_hat recon recons recon_x x_recon x_rec rec reconstruction reconstructed decoded",
    "x": "target targets input inputs image images img imgs y y_true x_true true gt ground_truth batch data labels "
    "label truth original orig",
    "mu": "mean means m loc mus z_mean z_mu q_mu",
    "logvar": "log_var lv log_variance logvars log_sigma2 logsigma2 z_log_var z_logvar q_logvar",
    "beta": "b weight kl_weight",
    "model": "vae net",
    "optimizer": "opt optim",
}
ROLE_OF = {name: role for role, others in ROLES.items() for name in (role, *others.split())}


class Halt(Exception):
    """The examination ends here, with this finding."""

    def __init__(self, code: str, **evidence: str):
        self.finding = Finding(code, **evidence)


def wrong_type(value, expected: str, **evidence: str) -> Halt:
    """The Halt for a value of another type than expected; what a gap that was never filled gives is not started."""
    code = "not_started" if value is None or value is ... or value is NotImplemented else "wrong_type"
    return Halt(code, **{"came": type(value).__name__, "expected": expected} | evidence)


class Stopped(SystemExit):
    """Thrown into a thread that is out of time; of a kind that a thread may end with in silence."""


class OnCPU(TorchFunctionMode):
    """Whatever device code asks for, it gets the CPU, where the examination is: one verdict on all machines."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is Tensor.cuda:
            return args[0]
        if function is Tensor.to:
            args = ["cpu" if type(value) in (str, int, torch.device) else value for value in args]
        named = {name: "cpu" if name == "device" else value for name, value in (kwargs or {}).items()}
        if getattr(named.get("generator"), "device", None) not in (None, torch.device("cpu")):
            named["generator"] = torch.default_generator
        return function(*args, **named)


def examined(work: Callable):
    """What `work()` returns, in a thread of its own under a time limit. Raises the Halt that it ends with."""
    result: Future = Future()

    def examine() -> None:
        try:
            with OnCPU():
                result.set_result(work())
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a learner's code included
            result.set_exception(error if isinstance(error, Halt) else Halt("raises", came=one_line(error)))

    run = contextvars.copy_context().run  # what it prints goes to the cell that asked
    thread = threading.Thread(target=run, args=[examine], name="vaekit-exercise", daemon=True)
    thread.start()
    try:
        return result.result(LIMIT_S)
    except TimeoutError:
        note = "If the kernel stays busy, restart it: a call into C cannot be stopped from outside."
        raise Halt("timeout", came=f"nothing in {LIMIT_S:g} seconds", note=note) from None
    finally:  # out of time, or interrupted
        for _ in range(10):  # again and again: `except BaseException: pass` in a loop swallows one
            thread.join(0.05)
            if thread.is_alive():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))


class Learner:
    """A learner's function. It is called by name when all names are known, else by position; any error is a Halt."""

    def __init__(self, function, roles: str):
        if not callable(function):
            raise wrong_type(function, "a function")
        self.function, self.roles = function, roles.split()
        parameters = []
        with suppress(Exception):  # some callables have no signature
            parameters = inspect.signature(function).parameters.values()
        names = {ROLE_OF.get(one.name): one.name for one in parameters if one.kind is not one.POSITIONAL_ONLY}
        names = {role: name for role, name in names.items() if role in self.roles}
        self.names = names if len(names) == len(self.roles) else {}

    def __call__(self, *values):
        # clones, and no leaves: what a learner does in place works as it would in a model
        values = [value.clone() if isinstance(value, Tensor) else value for value in values]
        given = ", ".join(f"{role} {described(value)}" for role, value in zip(self.roles, values, strict=True))
        named = {self.names[role]: value for role, value in zip(self.roles, values, strict=True) if self.names}
        return guarded(lambda: self.function(**named) if named else self.function(*values), given)


def in_training(code):
    """A copy, in training mode, of a module, or of a module's method with its module; what has no copy as it is."""
    owner = getattr(code, "__self__", code)
    if isinstance(owner, nn.Module):
        # what it keeps of earlier results is kept without its history, which cannot be copied
        results = [one for one in gc.get_objects() if type(one) is Tensor and one.grad_fn is not None]
        with suppress(Exception):  # a lock or an open file in it cannot be copied either
            twin = nn.Module.train(copy.deepcopy(owner, {id(one): one.detach() for one in results}))
            return twin if owner is code else MethodType(code.__func__, twin)
    return code


def guarded(call: Callable, given: str = ""):
    """`call()`; its errors become Halt: "not_started" for an open gap, "raises" for the rest."""
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # the mode it leaves behind is its own
            return call()
    except (Stopped, Halt):
        raise
    except BaseException as error:
        message = one_line(error)
        is_gap = isinstance(error, NotImplementedError) or "ellipsis" in message
        raise Halt("not_started" if is_gap else "raises", input=given, came=message) from None


def described(value) -> str:
    """A value as evidence: a number, the first of a vector's numbers, a larger tensor's shape, or a type."""
    if not isinstance(value, Tensor):
        return f"{value:.4g}" if isinstance(value, int | float) else type(value).__name__
    if value.dim() > 1:
        return str(tuple(value.shape))
    texts = [f"{number:.4g}" for number in value.flatten()[:4].tolist()]
    return f"({', '.join(texts)}{', …' if value.numel() > 4 else ''})" if value.dim() else texts[0]


def as_tensor(result) -> Tensor:
    """What came back as a tensor of floating point; Halt when it is none."""
    if isinstance(result, float | int):  # of .item()
        raise Halt("gradient_cut", came=type(result).__name__, expected="one tensor")
    if not isinstance(result, Tensor) or result.is_complex():
        raise wrong_type(result, "one tensor")
    return result if result.is_floating_point() else result.double()


def slopes_of(total: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """d(total)/d(each input), back through a learner's code; zeros where no path leads, or when an input is frozen."""
    if not all(one.requires_grad for one in (total, *inputs)):
        return [torch.zeros_like(one) for one in inputs]
    options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    return guarded(lambda: list(torch.autograd.grad(total, inputs, **options)), "backward")
