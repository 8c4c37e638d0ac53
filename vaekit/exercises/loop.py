"""The examination of `step`: a real small VAE that writes down what it was asked, and how the gradients came back."""

import copy

import torch
from torch import Tensor, nn

from vaekit.exercises import slips
from vaekit.exercises.calling import OPEN, Halt, Learner, as_tensor
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.formulas import BETAS, Probe, first_probe, judge, untamed_or_tame
from vaekit.exercises.noise import Draws, faults_of, power_of
from vaekit.exercises.slips import Slip
from vaekit.model import VAE


class _Noted:
    """A tensor on its way through the model: its value, and the gradient that came back to it."""

    def __init__(self, value: Tensor):
        self.value, self.slope, self.learns = value.detach().clone().float(), None, value.requires_grad
        self.passed = value.clone()
        if self.passed.requires_grad:
            self.passed.register_hook(self._add)

    @classmethod
    def joined(cls, parts: tuple["_Noted", ...]) -> "_Noted":
        """Of a batch that went through in parts."""
        whole = cls(torch.cat([part.value for part in parts]))
        whole.learns = all(part.learns for part in parts)
        if all(part.slope is not None for part in parts):
            whole.slope = torch.cat([part.slope for part in parts])
        return whole

    def _add(self, slope: Tensor) -> None:
        self.slope = slope.clone().float() if self.slope is None else self.slope + slope


class _Half(nn.Module):
    """The encoder or the decoder; keeps a note of every pass: the first is of what came out."""

    tame = False  # the decoder's logits in (0, 1), for steps that take them as probabilities

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.notes = inner, []

    def __deepcopy__(self, memo: dict) -> "_Half":
        """Without the notes, whose history cannot be copied."""
        copied = type(self)(copy.deepcopy(self.inner, memo))
        copied.tame = self.tame
        return copied

    def used(self, rows: int) -> list[_Noted]:
        """The notes of the last pass that gradients came back to, or of the last; with the slopes of all passes.

        Passes of fewer than `rows` images, one after the other, are put together when they make up the batch.
        """
        if not self.notes:
            raise Halt("unrecognized", came="the model's encoder or decoder was not called")
        learnt = [noted for noted in self.notes if noted[0].slope is not None or noted[1].slope is not None]
        parts = learnt or self.notes
        last = parts[-1]
        if len(last[0].value) < rows == sum(len(noted[0].value) for noted in parts):
            last = [_Noted.joined(every) for every in zip(*parts, strict=True)]
        else:
            for earlier in learnt[:-1]:
                for kept, noted in zip(last, earlier, strict=True):
                    if noted.slope is not None and noted.slope.shape == kept.value.shape:
                        kept._add(noted.slope)
        self.notes = [last]
        return last


class _EncoderHalf(_Half):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = map(_Noted, self.inner(x))
        self.notes.append([mu, logvar])
        return mu.passed, logvar.passed


class _DecoderHalf(_Half):
    def forward(self, z: Tensor) -> Tensor:
        z = _Noted(z)
        x_logits = _Noted(self.logits(z.passed))
        self.notes.append([x_logits, z])
        return x_logits.passed

    def logits(self, z: Tensor) -> Tensor:
        x_logits = self.inner(z)
        return 0.05 + 0.9 * x_logits.sigmoid() if self.tame else x_logits


class _Descent(torch.optim.SGD):
    """Plain gradient descent in tiny steps; counts them, and keeps the gradients of the last one."""

    steps = 0
    taken: list | None = None

    def step(self, closure=None):
        value = closure() if closure is not None else None
        self.steps += 1
        weights = self.param_groups[0]["params"]
        self.taken = [None if weight.grad is None else weight.grad.clone() for weight in weights]
        super().step()
        return value


def _model(tame: bool) -> VAE:
    generator = torch.Generator().manual_seed(7)
    model = VAE(slips.LATENTS, 16, init_generator=generator)
    with torch.no_grad():  # codes far from 0, and variances far from 1: the default weights hardly leave them
        model.encoder.mu.weight *= 24
        model.encoder.logvar.weight *= 24
        model.decoder[2].weight *= 3
    model.encoder, model.decoder = _EncoderHalf(model.encoder), _DecoderHalf(model.decoder)
    model.decoder.tame = tame
    return model


def _images(count: int, generator: torch.Generator) -> Tensor:
    """Patches of grey, bright and dark ones: (count, 1, 28, 28) in [0, 1]."""
    coarse = torch.rand(count, 1, 4, 4, generator=generator).repeat_interleave(7, 2).repeat_interleave(7, 3)
    return coarse * torch.rand(count, 1, 1, 1, generator=generator)


def examine(function, declared: set[str]) -> Diagnosis:
    """The verdict on `step`. declared: those of formulas.REDUCTIONS that are meant."""
    learner = Learner(function, "model x beta optimizer")
    return untamed_or_tame(lambda tame: _examine(learner, declared, tame), "step")


def _examine(learner: Learner, declared: set[str], tame: bool) -> Diagnosis:
    model, generator = _model(tame), torch.Generator().manual_seed(8)
    optimizer = _Descent(model.parameters(), lr=1e-7)
    noise = _noise(learner, model, optimizer, _images(400, generator))
    odd: dict[str, Slip] = {}
    asked = []
    for beta in BETAS:
        probe, slip = _one_step(learner, model, optimizer, _images(slips.BATCH, generator), beta, power_of(noise))
        asked.append(probe)
        if slip:
            odd[slip.code] = slip
    verdict = judge("step", asked, list(odd.values()), declared, first_probe("step", asked))
    findings = verdict.findings
    if any(finding.code == "unrecognized" for finding in noise):
        # which part of mu's gradient came through such noise, and which straight from the loss, cannot be told
        findings = tuple(finding for finding in findings if finding.code != "gradient_cut")
    return Diagnosis("step", (*findings, *noise), verdict.effective_beta)


@torch.enable_grad()
def prepare() -> None:
    """Make a step: torch loads seconds' worth of modules at the first, which no learner should pay for."""
    weight = torch.zeros(1, requires_grad=True)
    weight.sum().backward()
    _Descent([weight], lr=0.1).step()


def _one_step(learner, model, optimizer, x: Tensor, beta: float, power: float) -> tuple[Probe, Slip | None]:
    """One step, written down as a call of `loss`; with a slip when the weights or their gradients are not in order."""
    weights = list(model.parameters())
    before = [weight.detach().clone() for weight in weights]
    left = [None if weight.grad is None else weight.grad.clone() for weight in weights]
    steps = optimizer.steps
    came = _call(learner, model, x, beta, optimizer)
    (mu, logvar), (x_logits, z) = model.encoder.used(len(x)), model.decoder.used(len(x))
    direct = [x_logits.slope, _less(mu.slope, z.slope, 1.0), _less(logvar.slope, z.slope, power * (z.value - mu.value))]
    inputs = [x_logits.value, x, mu.value, logvar.value, beta]
    for value in (inputs[0], inputs[2], inputs[3]):
        value.requires_grad_()
    probe = Probe(inputs, came, direct)
    if optimizer.steps > steps and _rightly(model, before, x, z.value, beta, optimizer.taken):
        probe.rightly = True
        return probe, None
    moved = any(not old.equal(new) for old, new in zip(before, weights, strict=True))
    if not z.learns:
        return probe, Slip("gradient_cut", {}, "None goes through z.")
    stepped = optimizer.steps > steps
    if not stepped and moved:
        return probe, Slip(
            "step_missing", {}, "The weights were changed by other means: the optimizer that was given is not used."
        )
    if not moved:
        if x_logits.slope is None and stepped:
            return probe, Slip("gradient_cut", {}, "No gradient came back: is there a `loss.backward()`?")
        return probe, Slip("step_missing", {}, "The gradients were cleared just before." if stepped else "")
    return probe, _astray(left, optimizer.taken, model.fresh)


@torch.enable_grad()
def _rightly(model: VAE, before: list, x: Tensor, z: Tensor, beta: float, taken: list) -> bool:
    """Were the gradients that were stepped along those of the right loss, with the noise that was drawn?"""
    if any(slope is None for slope in taken):
        return False
    start = _model(model.decoder.tame)
    weights = list(start.parameters())
    with torch.no_grad():
        for weight, old in zip(weights, before, strict=True):
            weight.copy_(old)
    mu, logvar = start.encoder.inner(x)
    std = torch.exp(0.5 * logvar)
    if z.shape != mu.shape:
        return False
    x_logits = start.decoder.logits(mu + std * ((z - mu) / std).detach())
    due = torch.autograd.grad(slips.loss(x_logits, x, mu, logvar, beta), weights)
    return all(slips.same(came, right, 1e-2) for came, right in zip(taken, due, strict=True))


def _astray(left: list, taken: list, fresh: list) -> Slip | None:
    """A slip when what was stepped along is not this call's gradient, which may have been clipped, but no more."""
    known = [i for i, slope in enumerate(fresh) if slope is not None]
    if not known:
        return None
    parts = [[_or_zeros(grads[i], fresh[i]) for grads in (left, fresh, taken)] for i in known]
    old, new, now = (torch.cat(every) for every in zip(*parts, strict=True))
    if old.any() and slips.same(now, now.norm() / old.norm() * old, 1e-3):
        note = "It follows that of the call before: `step()` comes before `backward()`."
        return Slip("wrong_gradient", {}, note)
    if any(_piled_up(*part) for part in parts):
        return Slip("zero_grad_missing", {})
    if new.abs()[now * new <= 0].sum() > 0.02 * new.abs().sum():
        return Slip("wrong_gradient", {}, "A part of it was cleared, or turned round, on the way.")
    return None


def _piled_up(old: Tensor, new: Tensor, now: Tensor) -> bool:
    """Is one weight's `now` the sum of `old` and `new`, up to a factor?"""
    off = now - new * (now @ new) / (new @ new).clamp_min(1e-30)
    rest = old - new * (old @ new) / (new @ new).clamp_min(1e-30)  # without what goes the same way as `new`
    if len(new) < 10 or not rest.norm() > 1e-3 * old.norm() > 0:
        return False
    of_old = float(off @ rest / rest.square().sum())
    sum_of_both = of_old * (old + new)
    return of_old > 0 and slips.same(now, sum_of_both, 1e-3)


def _or_zeros(slope: Tensor | None, like: Tensor) -> Tensor:
    return (torch.zeros_like(like) if slope is None else slope).flatten()


def _less(slope: Tensor | None, through_z: Tensor | None, factor) -> Tensor | None:
    """The gradient without the part that came along z: what is left came straight from the loss."""
    return slope if slope is None or through_z is None else slope - factor * through_z


def _call(learner: Learner, model: nn.Module, x: Tensor, beta: float, optimizer: _Descent) -> Tensor:
    """The learner's step; `model.fresh` then holds the gradients that came back in it."""
    model.encoder.notes, model.decoder.notes = [], []
    weights = list(model.parameters())
    model.fresh = [None] * len(weights)

    def hold(i: int):
        def add(slope: Tensor) -> None:
            model.fresh[i] = slope.clone() if model.fresh[i] is None else model.fresh[i] + slope

        return add

    hooks = [weight.register_hook(hold(i)) for i, weight in enumerate(weights) if weight.requires_grad]
    steps = optimizer.steps
    try:
        came = learner(model, x, beta, optimizer, gap_is_none=False)
    finally:
        for hook in hooks:
            hook.remove()
    if any(came is nothing for nothing in OPEN):
        started = model.encoder.notes or optimizer.steps > steps
        raise Halt("wrong_type" if started else "not_started", came=type(came).__name__, expected="the loss")
    came, _ = as_tensor(came)  # a plain number is as good here: the step is done
    if came.numel() != 1:
        raise Halt("wrong_shape", came=str(tuple(came.shape)), expected="()")
    return came.detach().reshape(())


def _noise(learner: Learner, model: nn.Module, optimizer: _Descent, x: Tensor) -> list[Finding]:
    """Two steps on the same 400 images: what is wrong with the noise between encoder and decoder."""
    start, seen = copy.deepcopy(model.state_dict()), []
    for _ in range(2):
        model.load_state_dict(start)
        _call(learner, model, x, 1.0, optimizer)
        (mu, logvar), (_, z) = model.encoder.used(len(x)), model.decoder.used(len(x))
        if z.value.shape != mu.value.shape:
            raise Halt("wrong_shape", came=f"z {tuple(z.value.shape)}", expected=f"z {tuple(mu.value.shape)}")
        seen.append((mu.value, logvar.value, z.value))
    return faults_of(Draws.of_two(*seen))
