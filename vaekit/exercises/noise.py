"""The noise in z = μ + σ ⊙ ε: is it there, fresh, each example's own, and of the right size?"""

import functools
import inspect
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.exercises.calling import Halt, Learner, as_tensor, described, numbers
from vaekit.exercises.diagnosis import Diagnosis, Finding

# σ = exp(power · logvar): ½ is right. The noise's size is read off as this power, to about ± 0.02.
_POWERS = {0.5: None, 1.0: "exp_logvar_as_std", 0.25: "std_for_variance"}
ROWS = 1000


@dataclass
class Draws:
    """Two draws of z for the same mu and logvar, all (B, D); power when it is known already."""

    mu: Tensor
    logvar: Tensor
    z: Tensor
    again: Tensor
    power: float | None = None

    @classmethod
    def of_two(cls, one: tuple, two: tuple) -> "Draws":
        """Of two passes' (mu, logvar, z), which with dropout have not quite the same mu and logvar."""
        (mu, logvar, z), (other_mu, other_logvar, other_z) = one, two
        return cls(mu, logvar, z, mu + (other_z - other_mu) * torch.exp(0.5 * (logvar - other_logvar)))


def faults_of(draws: Draws) -> list[Finding]:
    """What is wrong with the noise, from two draws. The rows should be many, and logvar spread over a few nats."""
    mu, logvar = draws.mu, draws.logvar
    off, off_again = draws.z - mu, draws.again - mu
    if not (off.isfinite() & off_again.isfinite()).all():
        return [Finding("unrecognized", came="nan or inf", expected="finite numbers")]
    if (off.abs() <= 1e-5 * (1 + mu.abs())).all():
        return [Finding("noise_missing", came="z = μ", expected="μ + σ ε", note="z is μ itself.")]
    power, error = _power(logvar, off) if draws.power is None else (draws.power, 0.0)
    near = [known for known in _POWERS if abs(known - power) < max(0.12, 6 * error)]
    if not near:
        return _not_a_power(draws, power)
    verdicts = [_as_power(draws, one) for one in near]  # ½ comes first: when in doubt, it is right
    named = [found for found in verdicts if all(one.code != "unrecognized" for one in found)]
    return (named or verdicts)[0] if named or 0.5 in near else _not_a_power(draws, power)


def power_of(found: list[Finding]) -> float:
    """The power of exp(power · logvar) that was found to be the noise's size: ½ where nothing else was."""
    codes = [finding.code for finding in found]
    return next((power for power, code in _POWERS.items() if code and code in codes), 0.5)


def _as_power(draws: Draws, power: float) -> list[Finding]:
    """What is wrong with the noise, if its size is exp(power · logvar)."""
    mu, logvar = draws.mu, draws.logvar
    off, off_again = draws.z - mu, draws.again - mu
    eps = off * torch.exp(-power * logvar)
    found = []
    if code := _POWERS[power]:
        size = f"noise of the size exp({power} · logvar)"
        note = "Here √σ stands where σ belongs: z = μ + σ ε." if code == "std_for_variance" else ""
        found.append(Finding(code, f"mu {described(mu)}", size, "exp(0.5 · logvar)", note))
    reused = bool(((off - off_again).abs() <= 1e-5 * (1 + mu.abs())).all())
    shared = len(eps) > 1 and _constant(eps, 0, logvar, power)
    broadcast = eps.shape[1] > 1 and _constant(eps, 1, logvar, power)
    always = round(float(eps.mean()), 2)
    if reused and shared and broadcast and (eps - always).abs().median() < 1e-5:  # no draw is as round as that
        size = {0.25: "√σ", 0.5: "σ", 1.0: "σ²"}[power]
        z = f"μ {'−' if always < 0 else '+'} {'' if abs(always) == 1 else f'{abs(always):g} '}{size}"
        return [*found, Finding("noise_missing", came=f"z = {z}", expected="μ + σ ε", note=f"z is always {z}.")]
    for is_so, code, came in (
        (reused, "noise_reused", f"ε = {numbers(eps[0])} for the first example, twice"),
        (shared, "noise_shared", f"ε = {numbers(eps[0])} for every example"),
        (broadcast, "broadcast", f"ε = {numbers(eps[0])}: one number for all latents of an example"),
    ):
        if is_so:
            found.append(Finding(code, f"mu {described(mu)}", came, "a draw of its own for every code and call"))
    return found + _not_normal(eps, len(eps) if broadcast else eps.numel(), shared)


def _power(logvar: Tensor, off: Tensor) -> tuple[float, float]:
    """The slope of log |z − μ| over logvar, and its standard error: log |ε| has the s.d. 1.11.

    Each latent has an offset of its own: noise that all rows share cancels.
    """
    x = logvar - logvar.mean(0)
    y = off.abs().clamp_min(1e-12).log()
    squares = float(x.square().sum().clamp_min(1e-12))
    return float((x * (y - y.mean(0))).sum()) / squares, 1.11 / squares**0.5


def _constant(eps: Tensor, axis: int, logvar: Tensor, power: float) -> bool:
    """Is ε one and the same along this axis, up to the rounding of z?"""
    middle = eps.median(axis, keepdim=True).values
    rounding = 1e-5 * (5 + middle.abs()) * torch.exp(-power * logvar).clamp_min(1)
    return bool(((eps - middle).abs() <= rounding).all())


def _not_a_power(draws: Draws, power: float) -> list[Finding]:
    off = draws.z - draws.mu
    about_zero = draws.z / torch.exp(0.5 * draws.logvar)
    note = "σ is not exp(logvar / 2)."
    if (off + draws.mu).std() > 0 and abs(float(about_zero.std()) - 1) < 0.1:
        note = "μ is missing."
    elif (draws.z - draws.again).abs().max() == 0:
        return [Finding("noise_missing", came="twice the same z, and not μ", expected="μ + σ ε")]
    size = f"noise like exp({power:.2g} · logvar)"
    return [Finding("unrecognized", came=size, expected="exp(0.5 · logvar)", note=note)]


def _not_normal(eps: Tensor, independent: int, shared: bool) -> list[Finding]:
    """ε should have mean 0, spread 1 and a normal's tails, within six standard errors."""
    if shared or independent < 50:
        return []
    error = 6 / independent**0.5
    mean, spread = float(eps.mean()), float(eps.std())
    tails = float(((eps - mean) / spread).pow(4).mean()) - 3
    if abs(mean) < error and abs(spread - 1) < max(error, 0.05) and abs(tails) < max(5 * error, 0.5):
        return []
    came = f"ε of mean {mean:.2g} and s.d. {spread:.2g}"
    return [Finding("unrecognized", came=came, expected="mean 0, s.d. 1, normal", note="ε is not drawn from N(0, 1).")]


def _path_cut(draws: Draws, slopes: list[Tensor | None], power: float) -> Finding | None:
    """A finding when ∂Σz/∂μ is not 1, or ∂Σz/∂logvar not power · (z − μ)."""
    due = [torch.ones_like(draws.mu), power * (draws.z - draws.mu)]
    for name, slope, expected in zip(("mu", "logvar"), slopes, due, strict=True):
        if slope is None or not slope.abs().max() > 0:
            return Finding("gradient_cut", f"∂z/∂{name}", "none", "not 0", f"None reaches {name}.")
        off = (slope - expected).abs() - 1e-2 * expected.abs() - 1e-3 * (1 + draws.mu.abs())
        if off.max() > 0:
            worst = off.argmax()
            came, right = (f"{float(value.flatten()[worst]):.3g}" for value in (slope, expected))
            return Finding("gradient_cut", f"∂z/∂{name}", came, right, f"Only a part of it reaches {name}.")
    return None


def examine(function) -> Diagnosis:
    """The verdict on `reparameterize`."""
    learner, halted = Learner(function, "mu logvar"), None
    for rows, latents in _shapes(function):
        try:
            return _examine(learner, rows, latents)
        except Halt as halt:
            if halt.finding.code not in ("raises", "wrong_shape"):
                raise
            halted = halted or halt
    raise halted


def _examine(learner: Learner, rows: int, latents: int) -> Diagnosis:
    generator = torch.Generator().manual_seed(6)
    mu = (2 * torch.randn(rows, latents, generator=generator)).requires_grad_()
    logvar = (5 * torch.rand(rows, latents, generator=generator) - 3).requires_grad_()
    drawn, odd = [], {}
    for _ in range(2):
        z, code = as_tensor(learner(mu, logvar))
        if code:
            odd[code] = Finding(code, came="not a tensor", expected="a tensor")
        if z.shape != mu.shape:
            raise Halt("wrong_shape", input=f"mu {described(mu)}", came=described(z), expected=described(mu))
        drawn.append(z)
    draws = Draws(mu.detach(), logvar.detach(), drawn[0].detach(), drawn[1].detach())
    if draws.z.equal(draws.again):  # the noise stands still: one nat more of logvar tells its power exactly
        wider = as_tensor(learner(mu, logvar + 1))[0].detach()
        ratio = ((wider - draws.mu) / (draws.z - draws.mu)).abs().log().median()
        draws.power = float(ratio.nan_to_num(0.0, 0.0, 0.0))
    found = faults_of(draws)
    codes = {finding.code for finding in found}
    if not odd and not codes & {"noise_missing", "unrecognized"}:
        slopes = [None, None]
        if drawn[0].requires_grad:
            slopes = torch.autograd.grad(drawn[0].sum(), [mu, logvar], allow_unused=True)
        if cut := _path_cut(draws, slopes, power_of(found)):
            found.append(cut)
    if "noise_missing" in codes and not odd and not drawn[0].requires_grad:
        found.append(Finding("gradient_cut", "∂z/∂mu", "none", "1"))
    return Diagnosis("reparameterize", (*odd.values(), *found))


def _shapes(function) -> list[tuple[int, int]]:
    """The probe's shapes: the first, and those that noise drawn beforehand would fit."""
    shapes = {(ROWS, 3): None}  # in their order, each once
    for value in _held(function):
        if isinstance(value, Tensor) and value.dim() in (1, 2) and value.shape[-1] > 1:
            shapes[ROWS, value.shape[-1]] = None
            if value.dim() == 2 and len(value) > 1:
                shapes[tuple(value.shape)] = None
    return list(shapes)


def _held(function) -> list:
    """The values that a function has at hand besides its arguments."""
    held = []
    if isinstance(function, functools.partial):
        held = [*function.args, *function.keywords.values()]
        function = function.func
    try:
        owner = getattr(function, "__self__", function)
        held += [*vars(owner).values(), *getattr(owner, "_buffers", {}).values()]
        known = inspect.getclosurevars(function)
        held += [*known.nonlocals.values(), *known.globals.values()]
        held += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    except Exception:  # a callable that has no such thing
        pass
    return held
