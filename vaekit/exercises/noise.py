"""The noise in z = μ + σ ⊙ ε: is it there, fresh, each example's own, normal, of the right size, and no gradient's end?

One probe for `reparameterize` and `model`: each is asked for many draws of codes that are chosen here.
"""

from collections.abc import Callable
from itertools import takewhile

import torch
from torch import Tensor

from vaekit.exercises.calling import Halt, Learner, as_tensor, described, slopes_of
from vaekit.exercises.diagnosis import Diagnosis, Finding

ROWS, LATENTS, CALLS = 64, 2, 30
LEVELS = torch.tensor([-2.4, -0.4, 1.6])  # of logvar: each code meets all three in turn
SIZES = {  # the noise's size is exp(power · logvar); the wrong powers' mistakes
    0.5: ("σ", None),
    1.0: ("σ²", Finding("exp_logvar_as_std", "", "μ + σ² ε", "μ + σ ε")),
    0.25: ("√σ", Finding("std_for_variance", "", "μ + √σ ε", "μ + σ ε", "Here √σ stands where σ belongs.")),
}
IS_MEAN = "z is μ itself."
AXES = {  # of ε, (calls, B, D): what it is when it is one and the same along an axis
    "noise_reused": "for the first example, at every call",
    "noise_shared": "for every example",
    "broadcast": "for all latents of an example",
}


def examine(function) -> Diagnosis:
    """The verdict on `reparameterize`."""
    learner = Learner(function, "mu logvar")

    def draw(mu: Tensor, logvar: Tensor) -> Tensor:
        z = as_tensor(learner(mu, logvar))
        if z.shape != mu.shape:
            raise Halt("wrong_shape", input=f"mu {described(mu)}", came=described(z), expected=described(mu))
        return with_slopes(z, mu, logvar)

    try:  # noise that was drawn beforehand has a shape of its own, and gives it to a single code
        rows, latents = as_tensor(learner(torch.zeros(1, 1), torch.zeros(1, 1))).shape
    except (Halt, ValueError):  # it will be said of the usual shape
        rows = latents = 1
    found = faults_of(draw, rows if rows > 1 else ROWS, latents if latents > 1 else LATENTS)
    return Diagnosis("reparameterize", tuple(found))


def with_slopes(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """The draw z of these codes, ∂z/∂μ and ∂z/∂logvar: (3, B, D). The slopes are 0 where no path leads."""
    return torch.stack([z.detach().float(), *slopes_of(z.sum(), [mu, logvar])])


def faults_of(draw: Callable, rows: int = ROWS, latents: int = LATENTS) -> list[Finding]:
    """What is wrong with the noise of `draw(mu, logvar)` → z with its slopes, or None where it is not to be seen."""
    mu, places = 2 * torch.randn(rows, latents), torch.arange(rows)[:, None] + torch.arange(latents)
    logvar = torch.stack([LEVELS[(places + call) % len(LEVELS)] for call in range(CALLS)])
    asked = ((mu.clone().requires_grad_(), one.clone().requires_grad_()) for one in logvar)
    draws = list(takewhile(lambda one: one is not None, (draw(*one) for one in asked)))
    if len(draws) < CALLS:
        return []
    z, of_mu, of_logvar = torch.stack(draws, 1)
    off = z - mu
    if (z == 0).any() and not (z == 0).all():
        return []  # dropout on z: what is left of the noise is another one's matter
    # the slope of log |z − μ| over logvar
    slope = float((off.abs().clamp_min(1e-9).log() * (logvar - logvar.mean())).mean() / logvar.var())
    is_mean = (off.abs() < 1e-4 * (1 + mu.abs())).all()
    power = 0.5 if is_mean else next((power for power in SIZES if abs(power - slope) < 0.06), None)
    if power is None:
        return [Finding("unrecognized", expected="μ + σ ε", note="It is not μ and noise of the size of σ.")]
    found = _of_size(power, off * torch.exp(-power * logvar))
    for name, slope, due in (("mu", of_mu, torch.ones_like(z)), ("logvar", of_logvar, power * off)):
        wrong = (slope - due).abs() > 1e-2 * due.abs() + 1e-3 * (1 + mu.abs())
        if wrong.any() and all(finding.code != "unrecognized" for finding in found):
            came, expected = described(slope[wrong][0]), described(due[wrong][0])
            return [*found, Finding("gradient_cut", f"∂z/∂{name}", came, expected)]
    return found


def _of_size(power: float, eps: Tensor) -> list[Finding]:
    """What is wrong with noise of the size exp(power · logvar), whose ε is (calls, B, D)."""
    size, mistake = SIZES[power]
    found = [mistake] if mistake else []
    always = round(float(eps.mean()), 2)
    if (eps - always).abs().max() < 1e-3:  # no draw is as round as that
        text = f"z is always μ + {always:g} {size}." if always else IS_MEAN
        return [*found, Finding("noise_missing", expected="μ + σ ε", note=text)]
    due = "a draw of its own for every code and call"
    constant = [code for axis, code in enumerate(AXES) if eps.shape[axis] > 1 and (eps.std(axis) < 1e-3).all()]
    found += [Finding(code, "", f"ε = {described(eps[0, 0])} {AXES[code]}", due) for code in constant]
    mean, std, error = float(eps.mean()), float(eps.std()), 6 / eps.numel() ** 0.5
    if constant or (abs(mean) < error and abs(std - 1) < max(error, 0.05)):
        return found
    came = f"ε of mean {mean:.2g} and s.d. {std:.2g}"
    return [*found, Finding("unrecognized", "", came, "mean 0, s.d. 1", "ε is not drawn from N(0, 1).")]
