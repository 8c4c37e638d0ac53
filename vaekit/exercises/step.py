"""The examination of `step`: it gets a model whose weights are the codes and the logits, and is read like a loss."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from vaekit.exercises import formulas, noise, wrong
from vaekit.exercises.calling import Halt, Learner, as_tensor, is_open
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.wrong import BATCH, LATENTS
from vaekit.model import VAE

FACTORS = {  # what the gradient due may have been multiplied by
    -1: Finding("sign", note="The steps go up the loss, not down."),
    BATCH: Finding("sum_over_batch", note="`backward()` is called on the sum.", reduction="sum over batch"),
}


class Codes(nn.Module):
    """An encoder whose weights are the codes of its images, (N, D) each: it gives those of the images most alike."""

    def __init__(self, images: Tensor, mu: Tensor, logvar: Tensor):
        super().__init__()
        self.images, self.rows = images, torch.arange(len(images))
        self.mu, self.logvar = nn.Parameter(mu.detach().clone()), nn.Parameter(logvar.detach().clone())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.rows = torch.cdist(x.detach().flatten(1).float(), self.images.flatten(1)).argmin(1)
        return self.mu[self.rows], self.logvar[self.rows]


class Logits(nn.Module):
    """A decoder whose weights are the logits of the encoder's images; it gives those of the images encoded last."""

    def __init__(self, encoder: Codes, x_logits: Tensor):
        super().__init__()
        self.encoders, self.x_logits = (encoder,), nn.Parameter(x_logits.detach().clone())

    def forward(self, z: Tensor) -> Tensor:
        rows = self.encoders[0].rows
        return self.x_logits[rows[torch.arange(len(z)) % len(rows)]] + 0 * z.sum()


class Standstill(torch.optim.Optimizer):
    """An optimizer that leaves the model as it is, and keeps the gradients of the last step."""

    def __init__(self, weights: list[Tensor]):
        super().__init__(weights, {"lr": 0.0})
        self.weights = weights
        self.begin()
        for i, weight in enumerate(weights):
            weight.register_hook(partial(self._gather, i))

    def begin(self) -> None:
        """Begin anew. What was left from before becomes nan: it will show where it is not cleared."""
        for weight in self.weights:
            if weight.grad is not None and weight.grad.any():
                weight.grad.fill_(torch.nan)
        self.fresh, self.taken = [torch.zeros_like(weight) for weight in self.weights], None

    def _gather(self, i: int, slope: Tensor) -> None:
        self.fresh[i] += slope

    def step(self, closure=None):
        value = closure() if closure is not None else None
        slopes = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self.weights]
        self.taken = tuple([slope.detach().clone() for slope in ones] for ones in (slopes, self.fresh))
        return value


Taken = tuple[list[Tensor], list[Tensor]]  # the weights' gradients at a step, and what had come back by then


def _astray(taken: Taken | None) -> Finding | None:
    """A mistake when the gradient taken is not this call's, which may have been clipped, but no more."""
    if taken is None:
        return Finding("step_missing", note="`step()` of the optimizer that was given was not called.")
    taken, fresh = (torch.cat([one.flatten() for one in ones]) for ones in taken)
    if not taken.any():
        note = "No gradient came back: is there a `loss.backward()`?"
        cleared = Finding("step_missing", note="The gradients were cleared just before.")
        return cleared if fresh.any() else Finding("gradient_cut", note=note)
    if not fresh.any() and taken.isnan().any():
        note = "It follows that of the call before: `step()` comes before `backward()`."
        return Finding("wrong_gradient", note=note)
    if taken.isnan().any() and fresh.isfinite().all():
        return Finding("zero_grad_missing")
    if fresh.any() and fresh.abs()[taken * fresh <= 0].sum() > 0.02 * fresh.abs().sum():
        return Finding("wrong_gradient", note="A part of it was cleared, or turned round, on the way.")
    return None


def _factor(taken: Taken, probe: formulas.Probe, options: dict) -> float | None:
    """What the gradients of the loss with these options were multiplied by, but for clipping; None if by no number."""
    due = formulas.weighted_slopes(formulas.formula("loss", probe, **options), probe)
    for gradients in taken:
        product = sum(float((one * other).sum()) for one, other in zip(gradients, due, strict=True))
        factor = product / sum(float(one.square().sum()) for one in due)
        if all(formulas.same(one, factor * other, 1e-2) for one, other in zip(gradients, due, strict=True)):
            is_clipped = 0 < factor < 1 and not all(map(formulas.same, *taken))
            return None if abs(factor) < 1e-6 else 1.0 if is_clipped else factor
    return None


class Stage:
    """A model and an optimizer to hand to a step. x_logits, images: (N, C, H, W); mu, logvar: (N, D)."""

    def __init__(self, learner: Learner, x_logits: Tensor, images: Tensor, mu: Tensor, logvar: Tensor):
        encoder = Codes(images, mu, logvar)
        self.learner, self.model = learner, VAE(LATENTS, encoder=encoder, decoder=Logits(encoder, x_logits))
        self.weights = [self.model.decoder.x_logits, encoder.mu, encoder.logvar]
        self.optimizer = Standstill(self.weights)

    @torch.enable_grad()
    def __call__(self, x_logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Tensor:
        """The loss that the step returns where encoder and decoder give these."""
        self.model.encoder.images = x
        self.model.requires_grad_(True)
        for weight, value in zip(self.weights, (x_logits, mu, logvar), strict=True):
            weight.data.copy_(value)
        self.optimizer.begin()
        value = self.learner(self.model, x, beta, self.optimizer)
        if is_open(value):
            is_started = self.optimizer.taken is not None
            raise Halt("wrong_type" if is_started else "not_started", came=type(value).__name__, expected="the loss")
        # a plain number is as good here: the step is done
        value = torch.tensor(float(value)) if isinstance(value, int | float) else as_tensor(value).detach()
        if value.numel() != 1:
            raise Halt("wrong_shape", came=str(tuple(value.shape)), expected="()")
        return value.reshape(())


def _noise(learner: Learner) -> list[Finding]:
    """What is wrong with the noise that the step draws itself."""
    (mu, logvar), images = noise.codes(noise.ROWS, LATENTS), torch.rand(noise.ROWS, 1, 28, 28)
    stage, draws = Stage(learner, images, images, mu, logvar), []
    _, *codes = stage.weights

    def see(_, given: tuple) -> None:
        rows = stage.model.encoder.rows
        is_own = stage.model.encoder.mu is codes[0]  # else torch.func has put others in its weights' place
        if is_own and torch.is_grad_enabled() and len(rows) == len(given[0]):  # else it is to be looked at only
            z = given[0][rows.argsort()]  # the images may have been shuffled
            draws.append(noise.with_slopes(z, *codes) if z.shape == mu.shape else None)

    stage.model.decoder.register_forward_pre_hook(see)

    def draw(mu: Tensor, logvar: Tensor) -> Tensor | None:
        draws.clear()
        stage(images, images, mu, logvar, 1.0)
        return draws[0] if len(draws) == 1 else None  # it may make several of each

    return noise.faults_of(draw, latents=LATENTS)


def examine(function, declared: set[str]) -> Diagnosis:
    """The verdict on `step`. declared: those of formulas.REDUCTIONS that are meant."""
    learner, probes = Learner(function, "model x beta optimizer"), formulas.make_probes("loss")
    noisy, stage = _noise(learner), Stage(learner, *probes[0].inputs[:4])
    stage(*probes[0].inputs)  # so that all that follow have one before them
    taken, astray = [], {}
    for probe in probes:
        probe.value, probe.slopes = stage(*probe.inputs), stage.optimizer.fresh
        taken.append(stage.optimizer.taken)
        if mistake := _astray(taken[-1]):
            astray[mistake.code] = mistake

    def factors(options: dict) -> list[float | None]:
        return [_factor(one, probe, options) for one, probe in zip(taken, probes, strict=True)]

    mistakes, beta = list(astray.values()), 1.0
    # a step along the right loss is right, whatever value came back
    if mistakes or not all(factor and abs(factor - 1) < 0.05 for factor in factors({})):
        explaining, options = formulas.read("loss", probes)
        beta = wrong.effective_beta("loss", options)
        if not mistakes and explaining == [formulas.UNKNOWN] and formulas.is_estimate("loss", stage, probes[0]):
            return Diagnosis("step", tuple(noisy), 1.0, formulas.ESTIMATE)
        if not mistakes and options is not None and options.get("pixel") != "itself":
            found = factors(options)
            if None in found:
                beta, cut = None, "Only a part of the loss's gradient reaches the weights."
                mistakes = [Finding("gradient_cut", note=cut)]
            elif abs(found[0] - 1) > 0.1:
                unknown = Finding("unrecognized", note=f"`backward()` is called on {found[0]:.4g} times the loss.")
                mistakes = [FACTORS.get(round(found[0], 2), unknown)]
        mistakes += explaining
    verdict = formulas.conclude("step", mistakes, beta, declared, formulas.evidence_of("loss", probes[0]))
    return replace(verdict, findings=(*verdict.findings, *noisy))
