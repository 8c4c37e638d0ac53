"""The loss doctor: one call for every exercise."""

import sys
from contextlib import nullcontext
from functools import partial

import numpy
import torch

from vaekit._checks import short_repr
from vaekit._contract import underneath
from vaekit.exercises import formulas, model, noise, step
from vaekit.exercises.calling import Halt, examined, in_training
from vaekit.exercises.diagnosis import Diagnosis

EXERCISES = {name: partial(formulas.examine, name) for name in formulas.ARGUMENTS}
EXERCISES |= {"reparameterize": noise.examine, "step": step.examine, "model": model.examine}


def diagnose(*, shape: tuple[int, ...] | None = None, **exercise) -> Diagnosis:
    """Examine a learner's code: exactly one of kl, reconstruction, loss, reparameterize, step, model.

    kl(mu, logvar) → (B,); reconstruction(x_logits, x) → (B,); loss(x_logits, x, mu, logvar, beta) → ();
    reparameterize(mu, logvar) → z; step(model, x, beta, optimizer) → loss; model: a VAE or its class.
    shape: of the model's images, (C, H, W); found out when it is not given.
    Returns a verdict whatever the code does; raises TypeError or ValueError when this call itself makes no sense.
    """
    if len(exercise) != 1 or not exercise.keys() <= EXERCISES.keys():
        allowed = f"give exactly one of {', '.join(EXERCISES)}, such as kl=kl"
        raise TypeError(f"{allowed}; not {short_repr(sorted(exercise))}")
    [(name, code)] = exercise.items()
    sides = () if shape is None else tuple(numpy.ravel(shape).tolist())
    if shape is not None and not (len(sides) == 3 and all(isinstance(side, int) and side > 0 for side in sides)):
        raise ValueError(f"shape must be (C, H, W), whole numbers from 1 up; not {short_repr(shape)}")
    examine = partial(EXERCISES[name], **({"shape": sides} if name == "model" else {}))
    dtype = torch.get_default_dtype()
    is_compiled = "torch._dynamo" in sys.modules  # a compiled function's first call may take half a minute
    eager = torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()
    with eager, torch.random.fork_rng(devices=[]):
        torch.set_default_dtype(torch.float32)
        torch.default_generator.manual_seed(20130131)  # what a verdict shows does not depend on what ran before it
        try:
            return examined(lambda: examine(in_training(underneath(code))))
        except Halt as halt:
            return Diagnosis(name, (halt.finding,))
        finally:
            torch.set_default_dtype(dtype)
