"""The examination of `step`: its value is read like a loss's, its gradient held against the one due."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from vaekit.exercises import noise, wrong
from vaekit.exercises.calling import Halt, Learner, as_tensor, is_open
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.formulas import BETAS, Probe, conclude, evidence_of, formula, read, same
from vaekit.exercises.noise import Draw, Tap
from vaekit.exercises.wrong import BATCH, LATENTS, Mistake
from vaekit.model import VAE

FACTORS = {  # what the gradient due may have been multiplied by
    -1: Mistake("sign", note="The steps go up the loss, not down."),
    BATCH: Mistake("sum_over_batch", note="`backward()` is called on the sum.", reduction="sum over batch"),
}


class Standstill(torch.optim.Optimizer):
    """An optimizer that leaves the model as it is, and keeps the gradients of the last step."""

    def __init__(self, weights: list[Tensor]):  # not by Optimizer's own, which loads a second's worth of modules
        self.weights, self.param_groups = weights, [{"params": weights, "lr": 0.0}]
        self.clear()
        for i, weight in enumerate(weights):
            weight.register_hook(partial(self._gather, i))

    def clear(self) -> None:
        """Begin anew. What was left from before becomes nan: it will show where it is not cleared."""
        for weight in self.weights:
            if weight.grad is not None and weight.grad.any():
                weight.grad.fill_(torch.nan)
        self.fresh, self.taken = [torch.zeros_like(weight) for weight in self.weights], None

    def _gather(self, i: int, slope: Tensor) -> None:
        self.fresh[i] += slope

    def zero_grad(self, set_to_none: bool = True) -> None:
        for weight in self.weights:
            weight.grad = None

    def step(self, closure=None):
        value = closure() if closure is not None else None
        taken = [torch.zeros_like(weight) if weight.grad is None else weight.grad.clone() for weight in self.weights]
        self.taken = taken, [slope.clone() for slope in self.fresh]
        return value


def make_model() -> VAE:
    """A VAE whose codes are far from 0, whose variances are far from 1, and whose logits are in (0, 1)."""
    model = VAE(LATENTS, 16, init_generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        for layer, size in ((model.encoder.mu, 24), (model.encoder.logvar, 24), (model.decoder[2], 3)):
            layer.weight *= size
    model.decoder.append(nn.Sigmoid())  # for steps that take the logits as probabilities
    return model


def images(count: int, seed: int) -> Tensor:
    """Patches of grey, bright and dark ones: (count, 1, 28, 28) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(count, 1, 4, 4, generator=generator) * torch.rand(count, 1, 1, 1, generator=generator)
    return patches.repeat_interleave(7, 2).repeat_interleave(7, 3)


@dataclass
class Record:
    """What one step did: as a call of `loss`, and the weights' gradients that the optimizer took."""

    probe: Probe  # its gradient is the one that came back to x_logits
    given: Tensor  # to the encoder
    draw: Draw
    is_plain: bool  # a row for each image: no several draws of z, no batch in parts
    rtol: float  # of gradients; in half precision they have two digits
    taken: tuple[list[Tensor], list[Tensor]] | None  # and what had come back to the weights by then

    def astray(self) -> Mistake | None:
        """A mistake when the gradient taken is not this call's, which may have been clipped, but no more."""
        if self.taken is None:
            return Mistake("step_missing", note="`step()` of the optimizer that was given was not called.")
        taken, fresh = (torch.cat([one.flatten() for one in ones]) for ones in self.taken)
        if not taken.any():
            note = "No gradient came back: is there a `loss.backward()`?"
            cleared = Mistake("step_missing", note="The gradients were cleared just before.")
            return cleared if fresh.any() else Mistake("gradient_cut", note=note)
        if not fresh.any():
            note = "It follows that of the call before: `step()` comes before `backward()`."
            return Mistake("wrong_gradient", note=note)
        if taken.isnan().any() and fresh.isfinite().all():
            return Mistake("zero_grad_missing")
        if fresh.abs()[taken * fresh <= 0].sum() > 0.02 * fresh.abs().sum():
            return Mistake("wrong_gradient", note="A part of it was cleared, or turned round, on the way.")
        return None

    def factor(self, due: tuple[Tensor, ...]) -> float | None:
        """What the gradients due were multiplied by for the step, but for clipping; None if they are others."""
        for gradients in self.taken:
            product = sum(float((one * other).sum()) for one, other in zip(gradients, due, strict=True))
            factor = product / sum(float(one.square().sum()) for one in due)
            if all(same(one, factor * other, self.rtol) for one, other in zip(gradients, due, strict=True)):
                is_clipped = 0 < factor < 1 and not all(map(same, *self.taken))
                return None if abs(factor) < 1e-6 else 1.0 if is_clipped else factor
        return None


class Examiner:
    """A model and an optimizer to hand to a step, and an account of what it does with them."""

    def __init__(self, learner: Learner):
        self.learner, self.model = learner, make_model()
        self.optimizer = Standstill(list(self.model.parameters()))
        self.tap = Tap(self.model.encoder, "forward", self.model.decoder, "forward")

    @torch.enable_grad()
    def step(self, x: Tensor, beta: float) -> Tensor:
        """The learner's step, and the loss that it returns."""
        self.optimizer.clear()
        value = self.learner(self.model, x, beta, self.optimizer)
        if is_open(value):
            is_started = self.tap.encoded or self.optimizer.taken is not None
            raise Halt("wrong_type" if is_started else "not_started", came=type(value).__name__, expected="the loss")
        if not (self.tap.encoded and self.tap.decoded):
            raise Halt("unrecognized", came="the model's encoder or decoder was not called")
        # a plain number is as good here: the step is done
        value = torch.tensor(float(value)) if isinstance(value, int | float) else as_tensor(value).detach()
        if value.numel() != 1:
            raise Halt("wrong_shape", came=str(tuple(value.shape)), expected="()")
        return value.reshape(())

    def draw(self, mu: Tensor, logvar: Tensor) -> Draw | None:
        """The z that the step makes of these codes; None when it makes several of each."""
        decoded, _ = self.tap.draw(mu, logvar, lambda: self.step(images(len(mu), 8), 1.0))
        (draw, _), *more = taking_part(decoded)
        return None if more or draw.z.shape != mu.shape else draw

    def record(self, x: Tensor, beta: float) -> Record:
        """What the step does with these images."""
        self.tap.clear()
        value = self.step(x, beta)
        encoded, decoded = taking_part(self.tap.encoded), taking_part(self.tap.decoded)
        (given, mu, logvar), (draw, x_logits) = encoded[-1], decoded[-1]
        is_plain = len(encoded) == len(decoded) == 1 and len(given) == len(draw.z) == len(x)
        # it may have put the images in another order
        is_shuffled = given.shape == x.shape and (given[:, None] == x[None]).flatten(2).all(2).any(1).all()
        is_exact = all(one.dtype == torch.float32 for one in (mu, logvar, x_logits))
        slopes = [None if x_logits.grad is None else x_logits.grad.float()]
        x_logits, mu, logvar = (one.detach().float() for one in (x_logits, mu, logvar))
        probe = Probe([x_logits, given if is_shuffled else x, mu, logvar, beta], value, slopes)
        return Record(probe, given.float(), draw, is_plain, 1e-2 if is_exact else 0.1, self.optimizer.taken)

    def due(self, record: Record, options: dict, by_draw: bool = False) -> tuple[Tensor, ...]:
        """The gradients of the loss with these options, with the z that the step drew.

        by_draw: with log q(z|x) − log p(z) in place of the KL.
        """
        self.model.requires_grad_(True)
        mu, logvar = self.tap.encode(record.given)
        z = record.draw.z + record.draw.of_mu * (mu - mu.detach()) + record.draw.of_logvar * (logvar - logvar.detach())
        x, beta = record.probe.inputs[1], record.probe.inputs[4]
        value = formula("loss", Probe([self.tap.decode(z), x, mu, logvar, beta]), **options)
        if by_draw:
            of_z = (z.square() - (z - mu).square() / logvar.exp() - logvar).sum(1) / 2
            value = value + beta * (of_z - wrong.kl(mu, logvar)).mean()
        return noise.slopes_of(value, list(self.model.parameters()))


def taking_part(passes: list[tuple]) -> list[tuple]:
    """The passes that gradients came back to, or else the last."""
    return [one for one in passes if any(isinstance(out, Tensor) and out.grad is not None for out in one)] or passes[
        -1:
    ]


def examine(function, declared: set[str]) -> Diagnosis:
    """The verdict on `step`. declared: those of formulas.REDUCTIONS that are meant."""
    examiner = Examiner(Learner(function, "model x beta optimizer"))
    noisy = noise.faults_of(examiner.draw, latents=LATENTS)
    records = [examiner.record(images(BATCH, seed), beta) for seed, beta in enumerate(BETAS, 9)]
    mistakes = list({one.code: one for record in records if (one := record.astray())}.values())
    if not all(record.is_plain for record in records):  # which value would be right is not known
        return Diagnosis("step", (*(Finding(one.code, note=one.note) for one in mistakes), *noisy), 1.0)
    probes, beta = [record.probe for record in records], 1.0
    if mistakes or not any(_is_along(examiner, records, by_draw) for by_draw in (False, True)):
        reading = read("loss", probes)
        beta, options = reading.beta, reading.options
        if not mistakes and options is not None and options.get("pixel") != "itself":
            factors = [record.factor(examiner.due(record, options)) for record in records]
            if None in factors:
                beta, cut = None, "Only a part of the loss's gradient reaches the weights."
                mistakes = [Mistake("gradient_cut", note=cut)]
            elif abs(factors[0] - 1) > 0.1:
                unknown = Mistake("unrecognized", note=f"`backward()` is called on {factors[0]:.4g} times the loss.")
                mistakes = [FACTORS.get(round(factors[0], 2), unknown)]
        mistakes += reading.mistakes
    verdict = conclude("step", mistakes, beta, declared, evidence_of("loss", probes[0]))
    return replace(verdict, findings=(*verdict.findings, *noisy))


def _is_along(examiner: Examiner, records: list[Record], by_draw: bool) -> bool:
    """Were all steps along the gradients of the right loss, whatever value came back?"""
    factors = [record.factor(examiner.due(record, {}, by_draw)) for record in records]
    return all(factor is not None and abs(factor - 1) < 0.05 for factor in factors)
