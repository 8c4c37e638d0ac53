"""The loss and its two terms, with each mistake as an option; what a learner's functions give is read by them.

`wrong.toml` is the table of the mistakes: its rows explain the numbers, and the slopes must be those that go with them.
"""

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from vaekit.exercises.calling import Halt, Learner, as_tensor, described, slopes_of
from vaekit.exercises.diagnosis import Diagnosis, Finding

LATENTS, BATCH = 3, 5  # of the probes, with 784 pixels: without common factors, so that no two mistakes cancel
CALLS = 300  # to tell an estimate from a mistake
ARGUMENTS = {"kl": "mu logvar", "reconstruction": "x_logits x", "loss": "x_logits x mu logvar beta"}
BETAS = (3.7, 0.4, 2.2, 1.0)
BY_HAND = f"{BATCH} codes of {LATENTS}, the first of μ = 0 and σ = 2, the second of μ = (1, 0, 0) and σ = 1"
UNKNOWN = Finding("unrecognized", note="The doctor does not know this mistake.")
ESTIMATE = "As an estimate, such as a KL by one draw of z: right on average only; the closed form has no noise."


def _row(code: str, note: str = "", **options) -> tuple[dict, list[Finding]]:
    """One row of the table: the options that it changes, and the mistakes that those are, one for each code."""
    return options, [Finding(one, note=note) for one in code.split()]


_TABLE = tomllib.loads(files(__package__).joinpath("wrong.toml").read_text(encoding="utf-8"))
ROWS = {name: [_row(**row) for row in rows] for name, rows in _TABLE.items()}
ROWS["loss"] += [row for row in ROWS["reconstruction"] + ROWS["kl"] if "batch" not in row[0]]


def kl(mu, logvar, *, power=1.0, spread=1.0, mean=1.0, one=1.0, log=1.0, half=0.5, kl_sign=1.0, latents=1) -> Tensor:
    """½ Σ (σ² + μ² − 1 − log σ²) of each example, (B, D) → (B,); each number scales its part, `power` is of σ²."""
    terms = spread * torch.exp(power * logvar) + mean * mu.square() - one - log * logvar
    return kl_sign * half / latents * terms.sum(1)


_logits = partial(F.binary_cross_entropy_with_logits, reduction="none")
_probabilities = partial(F.binary_cross_entropy, reduction="none")


def _log_softmax(x_logits: Tensor) -> Tensor:
    return x_logits.flatten(1).log_softmax(1).view_as(x_logits)


# Each pixel's loss: the right one, and what stands in its place.
PIXEL = {
    "right": _logits,
    "no sigmoid": _probabilities,
    "two sigmoids": lambda x_logits, x: _logits(x_logits.sigmoid(), x),
    "softmax": lambda x_logits, x: _probabilities(_log_softmax(x_logits).exp(), x),
    "softmax and sigmoid": lambda x_logits, x: _logits(_log_softmax(x_logits).exp(), x),
    "classes": lambda x_logits, x: -x * _log_softmax(x_logits),
    "each with all": lambda x_logits, x: len(x) * F.softplus(x_logits) - x_logits * x.sum(0),
    "itself": lambda x_logits, x: _logits(x_logits, x_logits.sigmoid()),
    "swapped": lambda x_logits, x: _logits(x, x_logits),
    "swapped after a sigmoid": lambda x_logits, x: _probabilities(x, x_logits.sigmoid()),
    "squared error": lambda x_logits, x: (x_logits.sigmoid() - x).square(),
    "squared error of logits": lambda x_logits, x: (x_logits - x).square(),
    "bright only": lambda x_logits, x: -x * F.logsigmoid(x_logits),
    "dark turned round": lambda x_logits, x: -x * F.logsigmoid(x_logits) + (1 - x) * F.logsigmoid(-x_logits),
}


def reconstruction(x_logits, x, *, pixel="right", r_sign=1.0, pixels=1) -> Tensor:
    """−log p(x|z) of each image, (B, C, H, W) → (B,), with its mistakes."""
    return r_sign / pixels * PIXEL[pixel](x_logits, x).flatten(1).sum(1)


def loss(x_logits, x, mu, logvar, beta, *, r_beta=0, k_beta=1, r_times=1, k_times=1, **options) -> Tensor:
    """Mean over the batch of reconstruction + β KL, with its mistakes; `r_beta` and `k_beta` are powers of β."""
    of_pixels = {name: options.pop(name) for name in ("pixel", "r_sign", "pixels") if name in options}
    r = beta**r_beta * r_times * reconstruction(x_logits, x, **of_pixels).mean()
    return r + beta**k_beta * k_times * kl(mu, logvar, **options).mean()


FORMULAS = {"kl": kl, "reconstruction": reconstruction, "loss": loss}


@dataclass
class Probe:
    """One call: the right formula, its inputs, what came back, and its slopes with regard to the leaves."""

    formula: Callable[..., Tensor]
    inputs: list
    leaves: list[Tensor]
    value: Tensor | None = None
    slopes: list[Tensor] = field(default_factory=list)

    def due(self, batch: str | None = None, **options) -> Tensor:
        """What should come back; with a row's options, what comes back by that mistake."""
        values = self.formula(*self.inputs, **options)
        return getattr(values, batch)() if batch else values

    def slopes_by(self, value: Tensor) -> list[Tensor]:
        """d(Σ value · w)/d(each leaf), with weights w that tell the examples apart."""
        return slopes_of((value * torch.linspace(1, 2, max(value.numel(), 1)).reshape(value.shape)).sum(), self.leaves)

    def factors(self, slopes: list[Tensor], **options) -> list[float]:
        """What those of the formula with these options are multiplied by to give these slopes; nan if by no number."""
        found = []
        for slope, right in zip(slopes, self.slopes_by(self.due(**options)), strict=True):
            factor = float((slope * right).sum() / right.square().sum()) if right.any() else 1.0
            found.append(factor if same(slope, factor * right, 2e-2) else math.nan)
        return found

    def follows(self, slopes: list[Tensor], options: dict, is_scaled: bool = False) -> bool:
        """Are these the slopes of the formula with these options, but for one factor where they are scaled?"""
        factors = self.factors(slopes, **options)
        unit = factors[0] if is_scaled else 1.0
        return unit > 0 and all(abs(factor / unit - 1) < 3e-2 for factor in factors)


def make_probes(exercise: str) -> list[Probe]:
    """Batches of different examples, pixels, latents and β, so that no two mistakes give one number.

    The logits are in (0, 1), for functions that take them as probabilities.
    """
    names, probes = ARGUMENTS[exercise].split(), []
    for beta in BETAS:
        x, x_logits = torch.rand(BATCH, 1, 28, 28), 0.05 + 0.9 * torch.rand(BATCH, 1, 28, 28)
        mu, logvar = 3 * torch.randn(BATCH, LATENTS), 5 * torch.rand(BATCH, LATENTS) - 3
        mu[:2], logvar[:2] = torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.tensor([[4.0], [1]]).log()  # BY_HAND
        inputs = {"x_logits": x_logits, "x": x, "mu": mu, "logvar": logvar, "beta": beta}
        leaves = [inputs[name].requires_grad_() for name in names if name not in ("x", "beta")]
        probes.append(Probe(FORMULAS[exercise], [inputs[name] for name in names], leaves))
    return probes


def examine(exercise: str, function) -> Diagnosis:
    """The verdict on `kl`, `reconstruction` or `loss`."""
    learner = Learner(function, ARGUMENTS[exercise])
    verdict = _examined(exercise, learner)
    if verdict.ok or list(learner.names) in ([], learner.roles):
        return verdict
    learner.names = {}  # the names say another order: is it right in the usual one?
    by_position = _examined(exercise, learner)
    return by_position if by_position.ok else verdict


def _examined(exercise: str, learner: Learner) -> Diagnosis:
    probes = make_probes(exercise)
    for probe in probes:
        value, due = as_tensor(learner(*probe.inputs)), probe.due().shape
        probe.value = value.reshape(()) if value.numel() == 1 else value  # of a batch: the mean, or the sum?
        if probe.value.shape not in ((), due):
            code = "broadcast" if value.shape == (BATCH, BATCH) else "wrong_shape"
            raise Halt(code, input=f"a batch of {BATCH}", came=str(tuple(value.shape)), expected=str(tuple(due)))
        probe.slopes = probe.slopes_by(probe.value)
    mistakes, options = read(exercise, probes)
    if options is None and is_estimate(learner, probes[0]):
        mistakes = []
    is_read = options is not None and "pixel" not in options
    if is_read and not all(probe.follows(probe.slopes, options) for probe in probes):
        mistakes.append(Finding("gradient_cut"))
    return conclude(exercise, mistakes, options, probes)


def conclude(exercise: str, mistakes: list[Finding], options: dict | None, probes: list[Probe]) -> Diagnosis:
    """The verdict: the mistakes, with the first of the probes as evidence where they have none, and the effective β."""
    if not mistakes:
        return Diagnosis(exercise, effective_beta=1.0, remark=ESTIMATE if options is None else "")
    given = {"kl": BY_HAND, "reconstruction": f"{BATCH} images"}.get(exercise, f"{BATCH} images, β = {BETAS[0]}")
    came, due = described(probes[0].value), described(probes[0].due())
    evidence = {"input": given} | ({"came": came, "expected": due} if came != due else {})  # else it is the gradient
    findings = tuple(one if one.evidence else replace(one, **evidence) for one in mistakes)
    # the KL's weight beside the reconstruction's at β = 1, by the slopes; None where they have other directions
    factors = probes[-1].factors(probes[-1].slopes, batch=None if probes[-1].value.dim() else "mean")
    of_pixels, of_mu, of_logvar = {"kl": [1, *factors], "reconstruction": [*factors, 1, 1]}.get(exercise, factors)
    is_one = abs(of_mu - of_logvar) <= 1e-3 * abs(of_mu) and abs(of_pixels) > 0
    return Diagnosis(exercise, findings, float(f"{of_mu / of_pixels:.6g}") if is_one else None)


def same(value: Tensor, expected: Tensor, rtol: float = 3e-5) -> bool:
    """Equal but for rounding, in shape too; a NaN equals nothing."""
    a, b = value.detach().double(), expected.detach().double()
    return a.shape == b.shape and bool((a - b).abs().max() <= rtol * b.abs().max() + 1e-9)


@torch.no_grad()
def read(exercise: str, probes: list[Probe]) -> tuple[list[Finding], dict | None]:
    """The fewest rows of the table that explain the values of all probes, two at most.

    Returns their mistakes, and the formula's options that do; None when none do.
    """
    is_exact = probes[0].value.dtype in (torch.float32, torch.float64)
    for rows in (rows for n in range(3) for rows in combinations(ROWS[exercise], n)):
        options = {name: value for changes, _ in rows for name, value in changes.items()}
        if len(options) < sum(len(changes) for changes, _ in rows):
            continue  # two of them change the same thing
        rtol = 2e-2 if not is_exact else 1e-5 if rows else 3e-4  # right but for a little, as log(p + 1e-5)
        if all(same(probe.value, probe.due(**options), rtol) for probe in probes):
            return [one for _, mistakes in rows for one in mistakes], options
    return [UNKNOWN], None


def is_estimate(learner: Callable, probe: Probe) -> bool:
    """Is it another number at each call, and right on average? So is a KL by one draw of z."""
    values = torch.stack([as_tensor(learner(*probe.inputs)).detach().double() for _ in range(CALLS)])
    error, due = values.std(0) / CALLS**0.5, probe.due()
    return values.shape[1:] == due.shape and bool(((values.mean(0) - due).abs() < 6 * error).all())
