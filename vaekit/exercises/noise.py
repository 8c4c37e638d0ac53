"""The noise in z = μ + σ ⊙ ε: is it there, fresh, each example's own, normal, of the right size, and no gradient's end?

One probe for `reparameterize`, `step` and `model`: each is asked for many draws of codes that are chosen here.
"""

from collections.abc import Callable
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from vaekit.exercises.calling import Halt, Learner, as_tensor, described
from vaekit.exercises.diagnosis import Diagnosis, Finding

ROWS, LATENTS, CALLS = 64, 2, 30
LEVELS = torch.tensor([-2.4, -0.4, 1.6])  # of logvar: each code meets all three in turn
POWERS = {0.5: "σ", 1.0: "σ²", 0.25: "√σ"}  # the noise's size is exp(power · logvar): ½ is right
EXPECTED = "μ + σ ε, with a draw of its own for every code and call"


class Draw(NamedTuple):
    """Codes z, (B, D), and the slopes ∂z/∂μ and ∂z/∂logvar of each; 0 where no path leads."""

    z: Tensor
    of_mu: Tensor
    of_logvar: Tensor


@torch.enable_grad()
def with_slopes(z: Tensor, mu: Tensor, logvar: Tensor) -> Draw:
    """The draw z of these codes."""
    if not (z.requires_grad and mu.requires_grad and logvar.requires_grad):
        return Draw(z.detach(), torch.zeros_like(mu), torch.zeros_like(mu))
    options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    slopes = torch.autograd.grad(z.sum(), [mu, logvar], **options)
    mu.grad = logvar.grad = None  # where it is kept, these slopes are none of it
    return Draw(z.detach(), *slopes)


class Tap:
    """On two methods of a model, an encoder's and a decoder's: it writes down what passes.

    While `codes` are set, the encoder gives them in place of its own, and two images stand for the whole batch.
    """

    def __init__(self, encoder, encode: str, decoder, decode: str):
        self.encode, self.decode = getattr(encoder, encode), getattr(decoder, decode)
        self.codes: tuple[Tensor, Tensor] | None = None
        self.clear()
        # as functions, which a copy of the model shares
        vars(encoder)[encode] = lambda *given, **named: self._encode(*given, **named)
        vars(decoder)[decode] = lambda *given, **named: self._decode(*given, **named)

    def clear(self) -> None:
        self.encoded: list[tuple[Tensor, Tensor, Tensor]] = []  # x, mu, logvar
        self.decoded: list[tuple[Draw, Tensor]] = []  # and the logits

    def draw(self, mu: Tensor, logvar: Tensor, call: Callable) -> tuple[list[tuple[Draw, Tensor]], object]:
        """What is decoded in `call()` when the encoder gives these codes, and what it returns."""
        self.clear()
        self.codes = (mu, logvar)
        result = call()
        self.codes = None
        return self.decoded, result

    def _encode(self, x: Tensor, *others, **named) -> tuple[Tensor, Tensor]:
        if self.codes is None or len(x) != len(self.codes[0]):
            mu, logvar = self.encode(x, *others, **named)
        else:
            results = self.encode(x[:2], *others, **named)
            mu, logvar = (code + 0 * result[:1] for code, result in zip(self.codes, results, strict=True))
        self.encoded.append((x, kept(mu), kept(logvar)))
        return mu.clone(), logvar.clone()  # whose values may be changed in place

    def _decode(self, *given, **named) -> Tensor:
        z, *others = (*given, *named.values())
        x_logits = self.decode(*given, **named) if self.codes is None else self.decode(z[:2], *others)[:1]
        x_logits = kept(x_logits.clone() if self.codes is None else x_logits.expand(len(z), *x_logits.shape[1:]))
        draw = with_slopes(z, *self.encoded[-1][1:]) if self.encoded else Draw(z, z, z)
        self.decoded.append((draw, x_logits))
        return x_logits


def kept(value: Tensor) -> Tensor:
    """The tensor; it will keep the gradient that comes back to it."""
    if value.requires_grad:
        value.retain_grad()
    return value


def codes(rows: int, latents: int, call: int = 0) -> tuple[Tensor, Tensor]:
    """mu and logvar of a call, (rows, latents) each: mu is always the same, logvar takes its levels in turn."""
    mu = 2 * torch.randn(rows, latents, generator=torch.Generator().manual_seed(6))
    places = torch.arange(rows)[:, None] + torch.arange(latents) + call
    return mu.requires_grad_(), LEVELS[places % len(LEVELS)].requires_grad_()


def examine(function) -> Diagnosis:
    """The verdict on `reparameterize`."""
    learner = Learner(function, "mu logvar")

    def draw(mu: Tensor, logvar: Tensor) -> Draw:
        z = as_tensor(learner(mu, logvar))
        if z.shape != mu.shape:
            raise Halt("wrong_shape", input=f"mu {described(mu)}", came=described(z), expected=described(mu))
        return with_slopes(z, mu, logvar)

    return Diagnosis("reparameterize", tuple(faults_of(draw, *_fitting(learner))))


def _fitting(learner: Learner) -> tuple[int, int]:
    """The shape of codes to ask for: held noise has one of its own, and gives it to a single code."""
    try:
        shape = as_tensor(learner(*codes(1, 1))).shape
    except Halt:  # it will be said of the usual shape
        shape = ()
    rows, latents = shape if len(shape) == 2 else (1, 1)
    return rows if rows > 1 else ROWS, latents if latents > 1 else LATENTS


def faults_of(draw: Callable, rows: int = ROWS, latents: int = LATENTS) -> list[Finding]:
    """What is wrong with the noise of `draw(mu, logvar)` → Draw.

    It gives None where it is not to be seen which noise belongs to which code.
    """
    asked = [codes(rows, latents, call) for call in range(CALLS)]
    draws = list(takewhile(lambda one: one is not None, (draw(*one) for one in asked)))
    if len(draws) < CALLS:
        return []
    mu, logvar = (torch.stack(ones).detach() for ones in zip(*asked, strict=True))
    z, of_mu, of_logvar = (torch.stack(ones).float() for ones in zip(*draws, strict=True))
    off = z - mu
    if not off.isfinite().all():
        return [Finding("unrecognized", came="nan or inf", expected="finite numbers")]
    if (z == 0).any() and not (z == 0).all():
        return []  # dropout on z: what is left of the noise is another one's matter
    if (off.abs() < 1e-4 * (1 + mu.abs())).all():
        power, found = 0.5, [Finding("noise_missing", came="z = μ", expected=EXPECTED, note="z is μ itself.")]
    else:
        power = next((power for power in POWERS if _is_size(off, logvar, power)), None)
        if power is None:
            is_about_zero = abs(float((z * torch.exp(-0.5 * logvar)).std()) - 1) < 0.1
            note = "μ is missing." if is_about_zero else "The noise's size is not σ = exp(logvar / 2)."
            return [Finding("unrecognized", expected="μ + σ ε", note=note)]
        found = _of_power(power, off * torch.exp(-power * logvar))
    for name, slope, due in (("mu", of_mu, torch.ones_like(z)), ("logvar", of_logvar, power * off)):
        wrong = (slope - due).abs() > 1e-2 * due.abs() + 1e-3 * (1 + mu.abs())
        if wrong.any() and all(finding.code != "unrecognized" for finding in found):
            came, expected = described(slope[wrong][0]), described(due[wrong][0])
            return [*found, Finding("gradient_cut", f"∂z/∂{name}", came, expected)]
    return found


def _is_size(off: Tensor, logvar: Tensor, power: float) -> bool:
    """Is ε = (z − μ) / exp(power · logvar) of one size, whatever logvar is?"""
    logs = (off.abs().clamp_min(1e-9)).log() - power * logvar
    sizes = torch.stack([logs[logvar == level].mean() for level in LEVELS])
    return bool(sizes.max() - sizes.min() < 0.3)


def _of_power(power: float, eps: Tensor) -> list[Finding]:
    """What is wrong with noise of the size exp(power · logvar), whose ε is (calls, B, D)."""
    given, found = f"mu {tuple(eps.shape[1:])}", []
    if power != 0.5:
        code, note = "exp_logvar_as_std", ""
        if power < 0.5:
            code, note = "std_for_variance", "Here √σ stands where σ belongs: z = μ + σ ε."
        found.append(Finding(code, given, f"noise of the size exp({power} · logvar)", "exp(0.5 · logvar)", note))
    fixed = [_is_constant(eps, axis) for axis in range(3)]
    always = round(float(eps.mean()), 2)
    if all(fixed) and (eps - always).abs().max() < 1e-3:  # no draw is as round as that
        text = f"μ + {always:g} {POWERS[power]}"
        return [*found, Finding("noise_missing", came=f"z = {text}", expected="μ + σ ε", note=f"z is always {text}.")]
    kinds = (
        ("noise_reused", f"ε = {described(eps[0, 0])} for the first example, at every call"),
        ("noise_shared", f"ε = {described(eps[0, 0])} for every example"),
        ("broadcast", f"ε = {described(eps[0, 0])}: one number for all latents of an example"),
    )
    found += [Finding(code, given, came, EXPECTED) for is_so, (code, came) in zip(fixed, kinds, strict=True) if is_so]
    if fixed[0] or fixed[1] or _is_normal(eps[:, :, :1] if fixed[2] else eps):
        return found
    came = f"ε of mean {float(eps.mean()):.2g} and s.d. {float(eps.std()):.2g}"
    return [*found, Finding("unrecognized", "", came, "mean 0, s.d. 1, normal", "ε is not drawn from N(0, 1).")]


def _is_constant(eps: Tensor, axis: int) -> bool:
    """Is ε one and the same along this axis, up to the rounding of z?"""
    return eps.shape[axis] > 1 and bool((eps - eps.mean(axis, keepdim=True)).abs().max() < 2e-3)


def _is_normal(eps: Tensor) -> bool:
    """Mean 0, spread 1 and a normal's tails, within six standard errors."""
    error = 6 / eps.numel() ** 0.5
    mean, spread = eps.mean(), eps.std()
    tails = ((eps - mean) / spread).pow(4).mean() - 3
    return bool(abs(mean) < error and abs(spread - 1) < max(error, 0.05) and abs(tails) < max(5 * error, 0.5))
