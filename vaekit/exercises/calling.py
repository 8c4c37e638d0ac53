"""Calling a learner's code: it may raise, never return, or return anything at all."""

import contextvars
import ctypes
import inspect
import threading
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vaekit._checks import one_line
from vaekit.exercises.diagnosis import Finding

LIMIT_S = 40.0  # for all calls of the learner's code together

# The roles of an exercise's arguments, and the other names that are usual for them.
ROLES = {
    "x_logits": "logits logit output outputs out pred preds prediction predictions y_pred y_hat "
    "recon recons recon_x x_recon x_rec rec reconstruction reconstructed x_hat x_pred decoded output_logits",
    "x": "target targets input inputs image images img imgs y y_true x_true true truth gt ground_truth batch data "
    "original orig label labels",
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
        super().__init__(code)
        self.finding = Finding(code, **evidence)


class Stopped(SystemExit):
    """Thrown into a thread that is out of time; of a kind that a thread may end with in silence."""


class OnCPU(TorchFunctionMode):
    """Whatever device code asks for, it gets the CPU, where the examination is: one verdict on all machines."""

    def __init__(self):
        super().__init__()
        self.generators: dict[torch.Generator, torch.Generator] = {}  # made elsewhere → its likeness here

    def here(self, value, name: str = ""):
        """A value as it would be on the CPU: a device, by a number too, or a generator."""
        if isinstance(value, torch.Generator) and value.device.type != "cpu":
            return self.generators.setdefault(value, torch.Generator().manual_seed(value.initial_seed()))
        is_device = isinstance(value, str | torch.device) and str(value).startswith(("cuda", "mps"))
        return "cpu" if is_device or (name == "device" and isinstance(value, int)) else value

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is Tensor.cuda:
            return args[0]
        if function is Tensor.to and len(args) > 1 and isinstance(args[1], int):
            args = (args[0], "cpu", *args[2:])
        named = {name: self.here(value, name) for name, value in (kwargs or {}).items()}
        return function(*map(self.here, args), **named)


def examined(work: Callable):
    """What `work()` returns, in a thread of its own under a time limit, or the Halt that it ends with."""
    results = []

    def examine() -> None:
        try:
            with OnCPU():
                results.append(work())
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a learner's code included
            results.append(error if isinstance(error, Halt) else Halt("raises", came=said(error)))

    # what it prints goes to the cell that asked
    context, end = contextvars.copy_context(), time.monotonic() + LIMIT_S
    thread = threading.Thread(target=context.run, args=[examine], name="vaekit-exercise", daemon=True)
    thread.start()
    try:
        while thread.is_alive() and time.monotonic() < end:
            thread.join(0.02)
    finally:
        is_late = thread.is_alive()
        for _ in range(10 * is_late):  # again and again: `except BaseException: pass` in a loop swallows one
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))
            thread.join(0.05)
    note = "If the kernel stays busy, restart it: a call into C cannot be stopped from outside."
    return Halt("timeout", came=f"nothing in {LIMIT_S:g} seconds", note=note) if is_late else results[0]


class Learner:
    """A learner's function. It is called by name when all names are known, else by position; any error is a Halt."""

    def __init__(self, function, roles: str):
        if is_open(function):
            raise Halt("not_started")
        if not callable(function):
            raise Halt("wrong_type", came=type(function).__name__, expected="a function")
        self.function, self.roles = uncompiled(function), roles.split()
        try:
            parameters = inspect.signature(self.function).parameters.values()
        except Exception:  # some callables have none
            parameters = []
        names = {ROLE_OF.get(one.name): one.name for one in parameters if one.kind is not one.POSITIONAL_ONLY}
        names = {role: name for role, name in names.items() if role in self.roles}
        self.names = names if len(names) == len(self.roles) else {}

    def __call__(self, *values):
        # clones, and no leaves: what a learner does in place works as it would in a model
        values = [value.clone() if isinstance(value, Tensor) else value for value in values]
        given = ", ".join(f"{role} {described(value)}" for role, value in zip(self.roles, values, strict=True))
        named = {self.names[role]: value for role, value in zip(self.roles, values, strict=True) if self.names}
        return guarded(lambda: self.function(**named) if named else self.function(*values), given)


def is_open(value) -> bool:
    """Is it what a gap that was never filled gives back?"""
    return value is None or value is ... or value is NotImplemented


def uncompiled(code):
    """What lies under `torch.compile`, whose first call may take half a minute."""
    return getattr(code, "_orig_mod", getattr(code, "_torchdynamo_orig_callable", code))


def guarded(call: Callable, given: str = ""):
    """`call()`; its errors become Halt: "not_started" for an open gap, "raises" for the rest."""
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # the mode it leaves behind is its own
            return call()
    except (Stopped, Halt):
        raise
    except BaseException as error:
        message = said(error)
        is_gap = isinstance(error, NotImplementedError) or "ellipsis" in message
        raise Halt("not_started" if is_gap else "raises", input=given, came=message) from None


def said(error: BaseException) -> str:
    """An error in one line."""
    try:
        return one_line(error)
    except Exception:  # an error that cannot be shown
        return type(error).__name__


def described(value) -> str:
    """A value as evidence: a number, a tensor's shape, the first of a vector's numbers, or a type."""
    if isinstance(value, int | float):
        return f"{value:.4g}"
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.dim() > 1:
        return str(tuple(value.shape))
    texts = [f"{number:.4g}" for number in value.detach().flatten()[:4].tolist()]
    return f"({', '.join(texts)}{', …' if value.numel() > 4 else ''})" if value.dim() else texts[0]


def as_tensor(result) -> Tensor:
    """What came back as a tensor of floating point; Halt when it is none."""
    if is_open(result):
        raise Halt("not_started", came=type(result).__name__)
    if isinstance(result, Tensor) and not result.is_complex():
        return result if result.is_floating_point() else result.double()
    if isinstance(result, float | int):  # .item()
        raise Halt("gradient_cut", came="a number without its history", expected="a tensor")
    kind = type(result).__qualname__
    if isinstance(result, tuple):  # `return loss, kl`: which of them is meant?
        kind = f"a tuple of {len(result)}: {', '.join(type(one).__name__ for one in result[:5])}"
    raise Halt("wrong_type", came=kind, expected="one tensor")


def slopes_of(total: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """d(total)/d(each input), back through a learner's code; zeros where no path leads, or when an input is frozen."""
    if not all(one.requires_grad for one in (total, *inputs)):
        return [torch.zeros_like(one) for one in inputs]
    options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    return guarded(lambda: list(torch.autograd.grad(total, inputs, **options)), "backward")
