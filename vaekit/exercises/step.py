"""The examination of `step`: a small VAE that writes down what it is asked, an optimizer that keeps its gradients."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from vaekit.exercises import noise, wrong
from vaekit.exercises.calling import OPEN, Halt, Learner, as_tensor
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.formulas import BETAS, Probe, Reading, conclude, evidence_of, read, same
from vaekit.exercises.wrong import BATCH, LATENTS, Mistake
from vaekit.model import VAE


class Descent(torch.optim.SGD):
    """Plain gradient descent in tiny steps; it keeps the gradients of the last one."""

    taken: list[Tensor] | None = None

    def step(self, closure=None):
        value = closure() if closure is not None else None
        self.taken = gradients_of(self.param_groups[0]["params"])
        super().step()
        return value


def gradients_of(weights: list[Tensor]) -> list[Tensor]:
    """The gradient of each weight; zeros where there is none."""
    return [torch.zeros_like(weight) if weight.grad is None else weight.grad.clone() for weight in weights]


def make_model() -> VAE:
    """A VAE whose codes are far from 0, whose variances are far from 1, and whose logits are in (0, 1)."""
    model = VAE(LATENTS, 16, init_generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        model.encoder.mu.weight *= 24
        model.encoder.logvar.weight *= 24
        model.decoder[2].weight *= 3
    model.decoder.append(nn.Sigmoid())  # for steps that take the logits as probabilities
    return model


def images(count: int, seed: int) -> Tensor:
    """Patches of grey, bright and dark ones: (count, 1, 28, 28) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 4, 4, generator=generator).repeat_interleave(7, 2).repeat_interleave(7, 3)
    return coarse * torch.rand(count, 1, 1, 1, generator=generator)


@dataclass
class Record:
    """What one step did: as a call of `loss`, and the gradients that it found, got back and stepped along."""

    probe: Probe
    given: Tensor  # to the encoder
    z: Tensor
    is_plain: bool  # a row for each image: no several draws of z, no batch in parts
    rtol: float  # of gradients; in half precision they have two digits
    before: list[Tensor]
    left: list[Tensor]
    fresh: list[Tensor]
    taken: list[Tensor] | None
    has_moved: bool

    def alike(self, ones: list[Tensor], others: list[Tensor]) -> bool:
        """Two gradients that are equal, weight by weight."""
        return all(same(one, other, self.rtol) for one, other in zip(ones, others, strict=True))


class Examiner:
    """A model and an optimizer to hand to a step, and an account of what it does with them."""

    def __init__(self, learner: Learner):
        self.learner, self.model, self.plain = learner, make_model(), make_model()
        self.weights = list(self.model.parameters())
        self.optimizer = Descent(self.weights, lr=1e-7)
        self.codes: tuple[Tensor, Tensor] | None = None  # what the encoder gives in place of its own
        own = (self.model.encoder, self.model.decoder)
        for half in own:  # and no copy of it, which has the same hooks
            half.register_forward_hook(lambda half, given, out: self.note(half, given[0], out) if half in own else out)
        for i, weight in enumerate(self.weights):
            weight.register_hook(partial(self.gather, i))

    def gather(self, i: int, slope: Tensor) -> None:
        """A gradient that came back to a weight."""
        self.fresh[i] += slope

    def note(self, half: nn.Module, given: Tensor, out):
        """Write a pass down: what went in and what came out, which keeps the gradient that comes back to it."""
        is_encoder = half is self.model.encoder
        results = [result.clone() for result in (out if is_encoder else (out,))]
        if self.codes and is_encoder and len(given) == len(self.codes[0]):
            results = [code + 0 * result for code, result in zip(self.codes, results, strict=True)]
        for result in results:
            if result.requires_grad:
                result.retain_grad()
        self.passes[half].append([given, *results])
        return tuple(results) if is_encoder else results[0]

    @torch.enable_grad()
    def call(self, x: Tensor, beta: float) -> Record:
        """The learner's step, and what it did."""
        self.passes = {self.model.encoder: [], self.model.decoder: []}
        self.fresh, self.optimizer.taken = [torch.zeros_like(weight) for weight in self.weights], None
        before, left = [weight.detach().clone() for weight in self.weights], gradients_of(self.weights)
        value = self.learner(self.model, x, beta, self.optimizer, gap_is_none=False)
        if any(value is nothing for nothing in OPEN):
            is_started = self.passes[self.model.encoder] or self.optimizer.taken
            raise Halt("wrong_type" if is_started else "not_started", came=type(value).__name__, expected="the loss")
        value = as_tensor(value)[0].detach()  # a plain number is as good here: the step is done
        if value.numel() != 1:
            raise Halt("wrong_shape", came=str(tuple(value.shape)), expected="()")
        encoded, decoded = (taking_part(passes) for passes in self.passes.values())
        (given, mu, logvar), (z, x_logits) = encoded[-1], decoded[-1]
        is_plain = len(encoded) == len(decoded) == 1 and len(given) == len(z) == len(x)
        is_exact = all(one.dtype == torch.float32 for one in (mu, logvar, x_logits))
        slopes = [None if x_logits.grad is None else x_logits.grad.float()]
        given, z, x_logits, mu, logvar = (one.detach().float() for one in (given, z, x_logits, mu, logvar))
        probe = Probe([x_logits, targets(given, x), mu, logvar, beta], value.reshape(()), (), slopes)
        has_moved = any(not old.equal(new) for old, new in zip(before, self.weights, strict=True))
        rtol = 1e-2 if is_exact else 0.1
        return Record(probe, given, z, is_plain, rtol, before, left, self.fresh, self.optimizer.taken, has_moved)

    def draw(self, mu: Tensor, logvar: Tensor) -> Tensor | None:
        """The z that the step makes of these codes; None when it makes several of each."""
        self.codes = (mu, logvar)
        record = self.call(images(len(mu), 8), 1.0)
        self.codes = None
        if record.z.shape[1:] != mu.shape[1:]:
            raise Halt("wrong_shape", came=f"z {tuple(record.z.shape)}", expected=f"z {tuple(mu.shape)}")
        return record.z if record.is_plain else None

    def due(self, record: Record, power: float, options: dict, by_draw=False) -> list[Tensor]:
        """The gradients of the loss with these options, for the noise that the step drew.

        by_draw: with log q(z|x) − log p(z) in place of the KL.
        """
        weights = list(self.plain.parameters())
        for weight, old in zip(weights, record.before, strict=True):
            weight.data.copy_(old)
        mu, logvar = self.plain.encoder(record.given)
        std = torch.exp(power * logvar)
        z = mu + std * ((record.z - mu) / std).detach()
        beta, x_logits, x = record.probe.inputs[4], self.plain.decoder(z), record.probe.inputs[1]
        value = wrong.loss(x_logits, x, mu, logvar, beta, **options)
        if by_draw:
            of_z = (z.square() - (z - mu).square() / logvar.exp() - logvar).sum(1) / 2
            value = (wrong.reconstruction(x_logits, x) + beta * of_z).mean()
        return list(torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True))

    def is_right(self, record: Record, power: float) -> bool:
        """Did it step along the gradients of the right loss, clipped perhaps, whatever was done on the way?"""
        if record.taken is None or not record.is_plain:
            return False
        for by_draw in (False, True):
            due = self.due(record, power, {}, by_draw)
            factor = factor_of(record.taken, due)
            if record.alike(record.taken, [factor * one for one in due]):
                return abs(factor - 1) < 0.05 or (0 < factor < 1 and not record.alike(record.taken, record.fresh))
            if record.alike(record.fresh, due) and not astray(record):
                return True
        return False


def taking_part(passes: list[list[Tensor]]) -> list[list[Tensor]]:
    """The passes that gradients came back to, or else the last."""
    if not passes:
        raise Halt("unrecognized", came="the model's encoder or decoder was not called")
    return [one for one in passes if any(result.grad is not None for result in one[1:])] or passes[-1:]


def targets(given: Tensor, x: Tensor) -> Tensor:
    """What each row should be compared with: its image; the step may have put them in another order."""
    if given.shape != x.shape or len(x) > BATCH:  # of the noise's examination: too many to look for
        return x
    return given if (given[:, None] == x[None]).flatten(2).all(2).any(1).all() else x


@torch.enable_grad()
def warm_up() -> None:
    """Make a step: torch loads seconds' worth of modules at the first, which no learner should pay for."""
    weight = torch.zeros(1, requires_grad=True)
    weight.sum().backward()
    Descent([weight], lr=0.1).step()


def examine(function, declared: set[str]) -> Diagnosis:
    """The verdict on `step`. declared: those of formulas.REDUCTIONS that are meant."""
    examiner = Examiner(Learner(function, "model x beta optimizer"))
    noisy = noise.faults_of(examiner.draw, LATENTS)
    power = noise.power_of(noisy)
    records = [examiner.call(images(BATCH, seed), beta) for seed, beta in enumerate(BETAS, 9)]
    if all(examiner.is_right(record, power) for record in records) and not declared:
        return Diagnosis("step", tuple(noisy), 1.0)
    mistakes = list({one.code: one for record in records if (one := astray(record))}.values())
    if not all(record.is_plain for record in records):  # which value would be right is not known
        return Diagnosis("step", (*(Finding(one.code, note=one.note) for one in mistakes), *noisy), 1.0)
    probes = [record.probe for record in records]
    reading = read("loss", probes)
    if not mistakes and (unlike := _unlike(examiner, records, power, reading)):
        is_cut = unlike.code == "gradient_cut"
        if not is_cut or all(finding.code != "unrecognized" for finding in noisy):
            mistakes, reading.beta = [unlike], None if is_cut else reading.beta
    mistakes += reading.mistakes
    verdict = conclude("step", mistakes, reading.beta, declared, probes, evidence_of("loss", probes))
    return replace(verdict, findings=(*verdict.findings, *noisy))


def factor_of(slopes: list[Tensor], due: list[Tensor]) -> float:
    """What the gradient that was due must be multiplied by to come closest to these slopes."""
    product = sum(float((one * other).sum()) for one, other in zip(slopes, due, strict=True))
    return product / sum(float(one.square().sum()) for one in due)


def astray(record: Record) -> Mistake | None:
    """A mistake when what was stepped along is not this call's gradient, which may have been clipped, but no more."""
    has_come = any(slope.any() for slope in record.fresh)
    if not record.has_moved and record.taken and not has_come:
        return Mistake("gradient_cut", note="No gradient came back: is there a `loss.backward()`?")
    if not record.has_moved:
        return Mistake("step_missing", note="The gradients were cleared just before." if record.taken else "")
    if not record.taken:
        return Mistake("step_missing", note="The weights were changed, but not by the optimizer that was given.")
    old, new, now = (torch.cat([one.flatten() for one in ones]) for ones in (record.left, record.fresh, record.taken))
    if not now.isfinite().all():
        return None
    if has_come and same(now, new * (now @ new) / (new @ new), 1e-2):
        return None
    both = torch.stack([old, new], 1)
    factors = torch.linalg.lstsq(both, now[:, None]).solution
    of_old, of_new = factors.flatten().tolist()
    if same(both @ factors, now[:, None], 1e-2) and of_old > 1e-3 * abs(of_new):
        note = "It follows that of the call before: `step()` comes before `backward()`."
        return Mistake("zero_grad_missing") if of_new > 1e-3 * of_old else Mistake("wrong_gradient", note=note)
    if new.abs()[now * new <= 0].sum() > 0.02 * new.abs().sum():
        return Mistake("wrong_gradient", note="A part of it was cleared, or turned round, on the way.")
    return None


def _unlike(examiner: Examiner, records: list[Record], power: float, reading: Reading) -> Mistake | None:
    """A mistake when the values have an explanation, but the gradients are not those that go with it."""
    has_dropout = any((record.z == 0).any() for record in records)  # then z has other gradients
    if reading.options is None or reading.options.get("pixel") == "itself" or has_dropout:
        return None
    for record in records:
        due = examiner.due(record, power, reading.options)
        factor = factor_of(record.fresh, due)
        if abs(factor) < 1e-6 or not record.alike(record.fresh, [factor * one for one in due]):
            return Mistake("gradient_cut", note="Only a part of the loss's gradient reaches the weights.")
        if abs(factor + 1) < 1e-2:
            return Mistake("sign", note="The steps go up the loss, not down.")
        if abs(factor - BATCH) < 1e-2:
            return Mistake("sum_over_batch", note="`backward()` is called on the sum.", reduction="sum over batch")
        if abs(factor - 1) > 0.1:
            return Mistake("unrecognized", note=f"`backward()` is called on {factor:.4g} times the loss.")
    return None
