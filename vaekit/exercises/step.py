"""The examination of `step`: it gets a model whose logits no code changes, so that its loss can be worked out."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from vaekit.exercises.calling import Halt, Learner, as_tensor
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.formulas import BATCH, BETAS, LATENTS, Probe, conclude, is_estimate, loss, read, same
from vaekit.model import VAE


class Standstill(torch.optim.Optimizer):
    """An optimizer that leaves its model as it is. It notes the gradients of those weights that decide the loss.

    leaves: these weights, which decide the logits, mu and logvar. fresh: what has come back to them in this step.
    taken: their gradients when the step was taken, and what was fresh by then; None where it was not.
    """

    def __init__(self):
        self.model = VAE(LATENTS, hidden=16)
        super().__init__(self.model.parameters(), {"lr": 0.0})
        self.logits, mu, logvar = self.model.decoder[2], self.model.encoder.mu, self.model.encoder.logvar
        self.leaves = [self.logits.bias, mu.weight, logvar.weight]
        with torch.no_grad():
            self.logits.weight.zero_()
            self.logits.bias.uniform_(0.05, 0.95)  # for losses that take them as probabilities
            mu.weight *= 20  # so that the codes differ
            logvar.weight *= 8
        for i, leaf in enumerate(self.leaves):
            leaf.register_hook(partial(self._gather, i))

    def _gather(self, i: int, slope: Tensor) -> None:
        self.fresh[i] = self.fresh[i] + slope.detach()

    def step(self, closure=None):
        value = closure() if closure is not None else None
        grads = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in self.leaves]
        self.taken = [grad.detach().clone() for grad in grads], list(self.fresh)
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
    """The verdict on `step`: on its loss, and where that is right on its draw of z."""
    step, optimizer = Learner(function, "model x beta optimizer"), Standstill()
    optimizer.loss_of(step, torch.rand(BATCH, 1, 28, 28), 1.0)  # so that all that follow have one before them
    probes, steps = [], []
    for beta in BETAS:
        x = torch.rand(BATCH, 1, 28, 28)
        mu, logvar = optimizer.model.encode(x)
        inputs = [optimizer.model.decode(mu), x, mu, logvar, beta]
        value = optimizer.loss_of(step, x, beta)
        probes.append(Probe(loss, inputs, optimizer.leaves, value, list(optimizer.fresh)))
        steps.append(optimizer.taken)

    def all_follow(options: dict) -> bool:  # where the gradients were clipped, or scaled, before or after it
        return all(
            probe.follows(grads, options, not all(map(same, grads, fresh))) or probe.follows(fresh, options)
            for probe, (grads, fresh) in zip(probes, steps, strict=True)
        )

    mistakes, options, astray = [], {}, next(filter(None, map(_astray, steps)), "")
    if astray or not all_follow({}):  # a step along the right loss is right, whatever value came back
        mistakes, options = read("loss", probes)
        if astray:
            mistakes = [Finding(astray), *(mistakes if options else [])]
        elif options is None:
            again = lambda _, x, _mu, _logvar, beta: optimizer.loss_of(step, x, beta)  # noqa: E731
            mistakes = [] if is_estimate(again, probes[0]) else mistakes
        elif "pixel" not in options and not all_follow(options):
            is_whole = all(slope.any() for slope in steps[0][0])
            mistakes.append(Finding("wrong_gradient" if is_whole else "gradient_cut"))
    verdict = conclude("loss", mistakes, options, probes)
    return replace(verdict, exercise="step", findings=verdict.findings or tuple(_faults_of_draw(step, optimizer)))


def _astray(taken: tuple | None) -> str:
    """The mistake when no gradient of this step is taken."""
    if taken is None:
        return "step_missing"
    grads, fresh = (torch.cat([one.flatten() for one in ones]) for ones in taken)
    if grads.isnan().any() and fresh.isfinite().all():  # of the step before
        return "zero_grad_missing" if fresh.any() else "wrong_gradient"
    return "" if grads.any() else "wrong_gradient"


def _faults_of_draw(step: Learner, optimizer: Standstill) -> list[Finding]:
    """What is wrong with z, by two steps on the same images, where it decides the logits and the KL weighs nothing."""
    nn.init.uniform_(optimizer.logits.weight, -0.25, 0.25)
    x, steps = torch.rand(BATCH, 1, 28, 28), []
    for _ in range(2):
        optimizer.loss_of(step, x, 1e-9)
        steps.append(optimizer.taken)
    if None in steps:
        return []
    (grads, _), _ = steps
    cut = [name for name, grad in zip(("mu", "logvar"), grads[1:], strict=True) if grad.abs().max() < 1e-6]
    if all(same(a, b, 1e-3) for ones, others in zip(*steps, strict=True) for a, b in zip(ones, others, strict=True)):
        code = "noise_missing" if "logvar" in cut else "noise_reused"
        return [Finding(code, "two steps on the same images", "the same gradients", "a draw of its own for each")]
    came = f"no gradient behind {' and '.join(cut)}"
    return [Finding("gradient_cut", "the reconstruction alone", came, "gradients to the encoder")] if cut else []
