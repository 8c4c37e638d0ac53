"""The examination of `step`: it gets a model whose logits no code changes, so that its loss can be worked out."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vaekit.exercises.calling import Halt, Learner, as_tensor
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.formulas import BATCH, BETAS, ESTIMATE, LATENTS, Probe, conclude, is_estimate, loss, read, same
from vaekit.model import VAE

Taken = tuple[list[Tensor], list[Tensor]]  # gradients at a step, and what had come back by then


class Standstill(torch.optim.Optimizer):
    """An optimizer that leaves its model as it is. It notes the gradients of those weights that decide the loss.

    leaves: these weights, which decide the logits, mu and logvar. fresh: what has come back to them in this step.
    """

    def __init__(self):
        self.model = VAE(LATENTS, hidden=16)
        super().__init__(self.model.parameters(), {"lr": 0.0})
        logits, mu, logvar = self.model.decoder[2], self.model.encoder.mu, self.model.encoder.logvar
        self.leaves = [logits.bias, mu.weight, logvar.weight]
        with torch.no_grad():
            logits.weight.zero_()
            logits.bias.uniform_(0.05, 0.95)  # for losses that take them as probabilities
            mu.weight *= 20  # so that the codes differ
            logvar.weight *= 8
        for i, leaf in enumerate(self.leaves):
            leaf.register_hook(partial(self._gather, i))

    def _gather(self, i: int, slope: Tensor) -> None:
        self.fresh[i] += slope

    def step(self, closure=None):
        value = closure() if closure is not None else None
        grads = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in self.leaves]
        self.taken = tuple([slope.detach().clone() for slope in slopes] for slopes in (grads, self.fresh))
        return value

    def loss_of(self, step: Learner, x: Tensor, beta: float) -> Tensor:
        """What a step returns. Gradients left from before are nan: it will show where they are not cleared."""
        for leaf in self.leaves:
            if leaf.grad is not None and leaf.grad.any():
                leaf.grad.fill_(torch.nan)
        self.fresh, self.taken = [torch.zeros_like(leaf) for leaf in self.leaves], None
        value = step(self.model, x, beta, self)
        self.model.requires_grad_(True)
        if value is None and self.taken:
            raise Halt("wrong_type", came="None", expected="the loss: is a `return` missing?")
        # a plain number is as good here: the step is done
        value = torch.tensor(float(value)) if isinstance(value, int | float) else as_tensor(value).detach()
        if value.numel() != 1:
            raise Halt("wrong_shape", came=str(tuple(value.shape)), expected="()")
        return value.reshape(())


def examine(function) -> Diagnosis:
    """The verdict on `step`; the noise is the model's."""
    step, optimizer = Learner(function, "model x beta optimizer"), Standstill()
    optimizer.loss_of(step, torch.rand(BATCH, 1, 28, 28), 1.0)  # so that all that follow have one before them
    probes, steps = [], []
    for beta in BETAS:
        x = torch.rand(BATCH, 1, 28, 28)
        mu, logvar = optimizer.model.encode(x)
        inputs, value = [optimizer.model.decode(mu), x, mu, logvar, beta], optimizer.loss_of(step, x, beta)
        fresh = [slope.clone() for slope in optimizer.fresh]  # as the hooks hear of what is differentiated below, too
        probes.append(Probe(loss, inputs, optimizer.leaves, value, fresh))
        steps.append(optimizer.taken)

    def all_follow(options: dict) -> bool:
        return all(_follows(taken, probe, options) for taken, probe in zip(steps, probes, strict=True))

    astray = next(filter(None, map(_astray, steps)), "")
    if not astray and all_follow({}):  # a step along the right loss is right, whatever value came back
        return Diagnosis("step", effective_beta=1.0)
    mistakes, options = read("loss", probes)
    if astray:
        mistakes = [Finding(astray), *(mistakes if options else [])]
    elif options is None:
        again = lambda x_logits, x, mu, logvar, beta: optimizer.loss_of(step, x, beta)  # noqa: E731
        if is_estimate(again, probes[0]):
            return Diagnosis("step", effective_beta=1.0, remark=ESTIMATE)
    elif "pixel" not in options and not all_follow(options):
        is_whole = all(slope.any() for slope in steps[0][0])
        mistakes.append(Finding("wrong_gradient" if is_whole else "gradient_cut"))
    return replace(conclude("loss", mistakes, probes), exercise="step")


def _astray(taken: Taken | None) -> str:
    """The mistake when no gradient of this step is taken."""
    if taken is None:
        return "step_missing"
    grads, fresh = (torch.cat([one.flatten() for one in ones]) for ones in taken)
    if grads.isnan().any() and fresh.isfinite().all():  # of the step before
        return "zero_grad_missing" if fresh.any() else "wrong_gradient"
    return "" if grads.any() else "wrong_gradient"


def _follows(taken: Taken, probe: Probe, options: dict) -> bool:
    """Are the gradients, or were they before they were clipped, those of the loss with these options?"""
    grads, fresh = taken
    if probe.follows(grads, options) or probe.follows(fresh, options):
        return True
    first, *others = probe.factors(grads, probe.due(**options))
    is_clipped = not all(map(same, grads, fresh))
    return is_clipped and first > 0 and all(abs(factor / first - 1) < 3e-2 for factor in others)
