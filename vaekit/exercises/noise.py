"""The noise in z = μ + σ ⊙ ε: is it there, fresh, each example's own, normal, and of the right size?"""

import re
from collections.abc import Callable
from itertools import takewhile

import torch
from torch import Tensor

from vaekit.exercises.calling import Halt, Learner, as_tensor, described, numbers
from vaekit.exercises.diagnosis import Diagnosis, Finding

ROWS, LATENTS, CALLS = 64, 2, 30
LEVELS = torch.tensor([-2.4, -0.4, 1.6])  # of logvar: each code meets all three in turn
POWERS = {0.5: None, 1.0: "exp_logvar_as_std", 0.25: "std_for_variance"}  # σ = exp(power · logvar): ½ is right
SIZES = {0.5: "σ", 1.0: "σ²", 0.25: "√σ"}
EXPECTED = "μ + σ ε, with a draw of its own for every code and call"


def codes(rows: int, latents: int, call: int = 0) -> tuple[Tensor, Tensor]:
    """mu and logvar of a call, (rows, latents) each: mu is always the same, logvar takes its levels in turn."""
    mu = 2 * torch.randn(rows, latents, generator=torch.Generator().manual_seed(6))
    places = torch.arange(rows)[:, None] + torch.arange(latents) + call
    return mu, LEVELS[places % len(LEVELS)]


def examine(function) -> Diagnosis:
    """The verdict on `reparameterize`."""
    learner = Learner(function, "mu logvar")
    odd: dict[str, Finding] = {}

    def draw(mu: Tensor, logvar: Tensor) -> Tensor:
        z, code = as_tensor(learner(mu, logvar))
        if code:
            odd[code] = Finding(code, came="no tensor", expected="a tensor")
        if z.shape != mu.shape:
            raise Halt("wrong_shape", input=f"mu {described(mu)}", came=described(z), expected=described(mu))
        return z

    rows, latents = _fitting(draw)
    findings = faults_of(draw, latents, rows)
    if not odd and "unrecognized" not in {finding.code for finding in findings}:
        findings += _path(draw, power_of(findings), codes(rows, latents))
    return Diagnosis("reparameterize", (*odd.values(), *findings))


@torch.no_grad()
def _fitting(draw: Callable) -> tuple[int, int]:
    """The shape of codes that `draw` takes: noise that was drawn beforehand has one of its own, named by torch."""
    shape = [ROWS, LATENTS]
    for _ in shape:
        try:
            draw(*codes(*shape))
        except Halt as halt:
            sizes = re.search(r"tensor a \((\d+)\) .* tensor b \((\d+)\) .* dimension ([01])$", halt.finding.came)
            if sizes is None:
                raise
            first, second, place = map(int, sizes.groups())
            shape[place] = second if first == shape[place] else first
    return tuple(shape)


@torch.no_grad()
def faults_of(draw: Callable, latents: int = LATENTS, rows: int = ROWS) -> list[Finding]:
    """What is wrong with the noise of `draw(mu, logvar)` → z: it is asked for many draws of the same codes.

    It gives None where it is not to be seen which noise belongs to which code.
    """
    draws = list(takewhile(lambda z: z is not None, (draw(*codes(rows, latents, call)) for call in range(CALLS))))
    return _faults(torch.stack(draws).float()) if len(draws) == CALLS else []


def power_of(findings: list[Finding]) -> float:
    """The power of exp(power · logvar) that was found to be the noise's size: ½ where nothing else was."""
    found = {finding.code for finding in findings}
    return next((power for power, code in POWERS.items() if code in found), 0.5)


def _faults(z: Tensor) -> list[Finding]:
    """What is wrong with draws z (calls, B, D)."""
    mu = codes(*z.shape[1:])[0]
    logvar = torch.stack([codes(*z.shape[1:], call)[1] for call in range(len(z))])
    off = z - mu
    if not off.isfinite().all():
        return [Finding("unrecognized", came="nan or inf", expected="finite numbers")]
    if (z == 0).any() and not (z == 0).all():
        return []  # dropout on z: what is left of the noise is another one's matter
    if (off.abs() < 1e-4 * (1 + mu.abs())).all():
        return [Finding("noise_missing", came="z = μ", expected=EXPECTED, note="z is μ itself.")]
    sizes = torch.stack([off[logvar == level].abs().clamp_min(1e-9).log().mean() for level in LEVELS])
    power = float((sizes[2] - sizes[0]) / (LEVELS[2] - LEVELS[0]))
    nearest = min(POWERS, key=lambda known: abs(known - power))
    if abs(power - nearest) > 0.08 or abs(2 * sizes[1] - sizes[0] - sizes[2]) > 0.3:
        is_about_zero = abs(float((z * torch.exp(-0.5 * logvar)).std()) - 1) < 0.1
        note = "μ is missing." if is_about_zero else "σ is not exp(logvar / 2)."
        return [Finding("unrecognized", "", f"noise like exp({power:.2g} · logvar)", "exp(0.5 · logvar)", note)]
    return _of_power(nearest, off * torch.exp(-nearest * logvar))


def _of_power(power: float, eps: Tensor) -> list[Finding]:
    """What is wrong with noise of the size exp(power · logvar)."""
    given, found = f"mu {tuple(eps.shape[1:])}", []
    if code := POWERS[power]:
        note = "Here √σ stands where σ belongs: z = μ + σ ε." if code == "std_for_variance" else ""
        found.append(Finding(code, given, f"noise of the size exp({power} · logvar)", "exp(0.5 · logvar)", note))
    fixed = [_is_constant(eps, axis) for axis in range(3)]
    always = round(float(eps.mean()), 2)
    if all(fixed) and (eps - always).abs().max() < 1e-3:  # no draw is as round as that
        text = f"μ + {always:g} {SIZES[power]}"
        return [*found, Finding("noise_missing", came=f"z = {text}", expected="μ + σ ε", note=f"z is always {text}.")]
    kinds = (
        ("noise_reused", f"ε = {numbers(eps[0, 0])} for the first example, at every call"),
        ("noise_shared", f"ε = {numbers(eps[0, 0])} for every example"),
        ("broadcast", f"ε = {numbers(eps[0, 0])}: one number for all latents of an example"),
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


def _path(draw: Callable, power: float, at: tuple[Tensor, Tensor]) -> list[Finding]:
    """A finding when ∂Σz/∂μ is not 1, or ∂Σz/∂logvar not power · (z − μ), at these mu and logvar."""
    mu, logvar = (value.requires_grad_() for value in at)
    z = draw(mu, logvar)
    total = z.sum() + 0 * (mu.sum() + logvar.sum())  # has a history, whatever z has
    slopes = torch.autograd.grad(total, [mu, logvar])
    due = [torch.ones_like(mu), power * (z - mu).detach()]
    for name, slope, expected in zip(("mu", "logvar"), slopes, due, strict=True):
        off = (slope - expected).abs() - 1e-2 * expected.abs() - 1e-3 * (1 + mu.abs())
        if off.max() > 0:
            worst = off.argmax()
            came, right = (f"{float(value.flatten()[worst]):.3g}" for value in (slope, expected))
            return [Finding("gradient_cut", f"∂z/∂{name}", came, right)]
    return []
