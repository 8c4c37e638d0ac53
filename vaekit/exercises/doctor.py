"""The loss doctor: one call for every exercise."""

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import numpy
import torch
from torch import nn

from vaekit._checks import short_repr
from vaekit.exercises import formulas, model, noise, step
from vaekit.exercises.calling import Halt, examined, uncompiled
from vaekit.exercises.diagnosis import Diagnosis

EXERCISES = ("kl", "reconstruction", "reparameterize", "loss", "step", "model")


def diagnose(
    *, reduction: str | tuple[str, ...] = (), mean_at_eval=False, shape: tuple[int, ...] | None = None, **exercise
) -> Diagnosis:
    """Examine a learner's code: exactly one of kl, reconstruction, reparameterize, loss, step, model.

    kl(mu, logvar) → (B,); reconstruction(x_logits, x) → (B,); reparameterize(mu, logvar) → z;
    loss(x_logits, x, mu, logvar, beta) → (); step(model, x, beta, optimizer) → loss; model: a VAE or its class.
    reduction: those of "none", "mean over batch", "sum over batch", "mean over pixels", "mean over latents" you mean.
    mean_at_eval: the model should draw no noise after .eval(). shape: of the model's images, (C, H, W).
    Returns a verdict whatever the code does; raises TypeError or ValueError when this call itself makes no sense.
    """
    if len(exercise) != 1 or not exercise.keys() <= set(EXERCISES):
        allowed = f"give exactly one of {', '.join(EXERCISES)}, such as kl=kl"
        raise TypeError(f"{allowed}; not {short_repr(sorted(exercise))}")
    [(name, code)] = exercise.items()
    declared = [reduction] if isinstance(reduction, str) or not isinstance(reduction, Iterable) else reduction
    declared = set(map(str, declared))
    if not declared <= set(formulas.REDUCTIONS):
        raise ValueError(f"reduction must be among {', '.join(formulas.REDUCTIONS)}; not {short_repr(reduction)}")
    sides = [] if shape is None else numpy.ravel(shape).tolist()
    if shape is not None and not (len(sides) == 3 and all(isinstance(side, int) and side > 0 for side in sides)):
        raise ValueError(f"shape must be (C, H, W), whole numbers from 1 up; not {short_repr(shape)}")
    code = uncompiled(code)
    examine = {
        "reparameterize": lambda: noise.examine(code),
        "step": lambda: step.examine(code, declared),
        "model": lambda: model.examine(code, mean_at_eval, tuple(sides)),
    }.get(name, lambda: formulas.examine(name, code, declared))
    with state_kept(code):
        verdict = examined(examine)
    return Diagnosis(name, (verdict.finding,)) if isinstance(verdict, Halt) else verdict


@contextmanager
def state_kept(code) -> Iterator[None]:
    """The global random states, the default dtype and a module's mode come out as they went in.

    In between the dtype is float32, a module is in training mode, and what was compiled runs as it was written.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    dtype, drawn, drawn_by_numpy = torch.get_default_dtype(), random.getstate(), numpy.random.get_state()
    owner = getattr(code, "__self__", code)
    modes = {part: part.training for part in owner.modules()} if isinstance(owner, nn.Module) else {}
    torch.set_default_dtype(torch.float32)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=devices))
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            torch.default_generator.manual_seed(20130131)  # what a verdict shows does not depend on what ran before it
            for part in modes:
                part.training = True
            yield
    finally:
        torch.set_default_dtype(dtype)
        random.setstate(drawn)
        numpy.random.set_state(drawn_by_numpy)
        for part, mode in modes.items():
            part.training = mode
