"""The examination of `kl`, `reconstruction` and `loss`: explain the numbers by the table, and the slopes."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations, product

import torch
from torch import Tensor

from vaekit.exercises import wrong
from vaekit.exercises.calling import Halt, Learner, as_tensor, described, slopes_of
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.wrong import BATCH, LATENTS

ARGUMENTS = {"kl": "mu logvar", "reconstruction": "x_logits x", "loss": "x_logits x mu logvar beta"}
ROWS = {"kl": wrong.KL, "reconstruction": wrong.RECONSTRUCTION, "loss": wrong.LOSS + wrong.RECONSTRUCTION + wrong.KL}
BATCHES = {  # how the batch may be put into one number, where each example should have its own
    "mean": [Finding("wrong_shape", note="The batch's mean came back.", reduction="mean over batch")],
    "sum": [Finding("sum_over_batch", reduction="sum over batch")],
    None: [],
}
REDUCTIONS = ("none", "mean over batch", "sum over batch", "mean over pixels", "mean over latents")
LEFT_OUT = {"no KL": 1, "no reconstruction": 0}  # which of a loss's leaves then meets no gradient
BETAS = (3.7, 0.4, 1.0, 2.2)
UNKNOWN = Finding("unrecognized", note="The doctor does not know this mistake.")
ESTIMATE = "As an estimate: the KL by one draw of z is right on average only; its closed form has no noise."


@dataclass
class Probe:
    """One call: its inputs, the value that came back, and its slope with regard to each leaf."""

    inputs: list
    value: Tensor | None = None
    slopes: list[Tensor] = field(default_factory=list)


def make_probes(exercise: str) -> list[Probe]:
    """Four batches: different examples, pixels, latents and β, so that no two mistakes give one number.

    The logits are in (0, 1), for functions that take them as probabilities.
    """
    generator, probes = torch.Generator().manual_seed(4), []
    for beta in BETAS:
        x = torch.rand(BATCH, 1, 28, 28, generator=generator)
        x_logits = (0.05 + 0.9 * torch.rand(x.shape, generator=generator)).requires_grad_()
        mu = (3 * torch.randn(BATCH, LATENTS, generator=generator)).requires_grad_()
        logvar = (5 * torch.rand(BATCH, LATENTS, generator=generator) - 3).requires_grad_()
        inputs = {"x_logits": x_logits, "x": x, "mu": mu, "logvar": logvar, "beta": beta}
        probes.append(Probe([inputs[name] for name in ARGUMENTS[exercise].split()]))
    return probes


def examine(exercise: str, function, declared: set[str]) -> Diagnosis:
    """The verdict on `kl`, `reconstruction` or `loss`. declared: those of REDUCTIONS that are meant."""
    learner = Learner(function, ARGUMENTS[exercise])
    verdict = _examined(exercise, learner, declared)
    if verdict.ok or list(learner.names) in ([], learner.roles):
        return verdict
    learner.names = {}  # the names say another order: is it right in the usual one?
    by_position = _examined(exercise, learner, declared)
    return by_position if by_position.ok else verdict


def _examined(exercise: str, learner: Learner, declared: set[str]) -> Diagnosis:
    probes = make_probes(exercise)
    for probe in probes:
        probe.value, misshapen = _in_shape(as_tensor(learner(*probe.inputs)), exercise, probe.inputs[0])
        probe.slopes = weighted_slopes(probe.value, probe)
    mistakes, options = read(exercise, probes)
    if mistakes == [UNKNOWN] and not misshapen and is_estimate(exercise, learner, probes[0]):
        return Diagnosis(exercise, effective_beta=1.0, remark=ESTIMATE)
    cut = [] if options is None else _cut(exercise, probes, options)
    beta = None if cut else wrong.effective_beta(exercise, options)
    evidence = evidence_of(exercise, probes[0], learner)
    return conclude(exercise, [*cut, *misshapen, *mistakes], beta, declared, evidence)


def conclude(exercise: str, mistakes: list[Finding], beta: float | None, declared: set[str], evidence) -> Diagnosis:
    """The verdict: the mistakes that were not declared to be meant, with this evidence where they have none."""
    mistakes = [one for one in mistakes if one.reduction not in declared]
    findings = [one if one.evidence else replace(one, **evidence) for one in mistakes]
    return Diagnosis(exercise, tuple(findings), None if beta is None else float(f"{beta:.6g}"))


def evidence_of(exercise: str, probe: Probe, learner: Learner | None = None) -> dict[str, str]:
    """Input, what came out and what should have: of a case to work out by hand for `kl`, else of this probe."""
    given, came, due = f"{BATCH} images", probe.value, formula(exercise, probe)
    if exercise == "loss":
        given += f", β = {BETAS[0]}"
    if exercise == "kl":
        mu, logvar = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[4.0, 4.0], [1.0, 1.0]]).log()
        with suppress(Halt):  # it takes 3 latents only
            given, came, due = "μ = (0, 0) and (1, 0), σ = (2, 2) and (1, 1)", learner(mu, logvar), wrong.kl(mu, logvar)
    came, due = described(came), described(due)
    if came == due:  # it is the gradient that is wrong
        return {"input": given}
    return {"input": given, "came": came, "expected": due}


def _in_shape(value: Tensor, exercise: str, first: Tensor) -> tuple[Tensor, list[Finding]]:
    """The value in a shape that can be compared, and the mistake of its shape if it has one."""
    shape, of_batch = tuple(value.shape), exercise == "loss"
    evidence = {"input": f"a batch of {BATCH}", "came": str(shape), "expected": "()" if of_batch else f"({BATCH},)"}
    if shape == () or shape == ((1,) if of_batch else (BATCH,)):
        return (value.reshape(()) if of_batch else value), []
    if shape == (BATCH, BATCH):
        return (value.mean() if of_batch else value.diagonal()), [Finding("broadcast", **evidence)]
    if value.numel() == BATCH:
        return (value.mean() if of_batch else value.flatten()), [Finding("wrong_shape", **evidence)]
    if not of_batch and value.numel() == first.numel() and shape[:1] == (BATCH,):
        unsummed = Finding("wrong_shape", note="The sum is missing.", reduction="none", **evidence)
        return value.flatten(1).sum(1), [unsummed]
    raise Halt("wrong_shape", **evidence)


def weighted_slopes(value: Tensor, probe: Probe) -> list[Tensor]:
    """d(Σ value · w)/d(each leaf), with weights w that tell the examples apart."""
    leaves = [one for one in probe.inputs if isinstance(one, Tensor) and one.requires_grad]
    return slopes_of((value * torch.linspace(1, 2, max(value.numel(), 1)).reshape(value.shape)).sum(), leaves)


def same(value: Tensor, expected: Tensor, rtol: float = 3e-5) -> bool:
    """Equal but for rounding, in shape too; a NaN equals nothing."""
    a, b = value.detach().double(), expected.detach().double()
    return a.shape == b.shape and bool((a - b).abs().max() <= rtol * b.abs().max() + 1e-9)


def formula(exercise: str, probe: Probe, *, batch: str | None = None, **options) -> Tensor:
    """What an exercise should give for a probe, or gives with these options of `wrong`'s formulas."""
    values = getattr(wrong, exercise)(*probe.inputs, **options)
    return getattr(values, batch)() if batch else values


@torch.no_grad()
def read(exercise: str, probes: list[Probe]) -> tuple[list[Finding], dict | None]:
    """The mistakes that explain the values of the probes, and the formula's options that do; None when none do."""
    if not all(probe.value.isfinite().all() for probe in probes):
        return [Finding("unrecognized", note="It is not a finite number.")], None
    if exercise != "kl" and _has_another_target(exercise, probes):
        return [Finding("wrong_target", note="It is not compared with x.")], None
    return _by_the_table(exercise, probes)


def _has_another_target(exercise: str, probes: list[Probe]) -> bool:
    """Is it right but for the target, which is read off ∂/∂logits = w (sigmoid(logits) − target)?"""
    if not all(probe.slopes[0].any() for probe in probes):
        return False
    for probe in probes:
        x_logits, x, *others = probe.inputs
        w = torch.linspace(1, 2, len(x))[:, None, None, None] if probe.value.dim() else 1 / len(x)
        target = x_logits.sigmoid() - probe.slopes[0] / w
        right = getattr(wrong, exercise)(x_logits, target, *others)
        if (target - x).abs().max() < 1e-2 or not same(probe.value, right, 1e-4):
            return False
    return True


def _by_the_table(exercise: str, probes: list[Probe]) -> tuple[list[Finding], dict | None]:
    """The fewest rows of the table that explain all values; two at most, and one more for the batch."""
    is_exact = probes[0].value.dtype in (torch.float32, torch.float64)
    batches = (None,) if exercise == "loss" or probes[0].value.dim() else ("mean", "sum")
    combined = (rows for n in range(3) for rows in combinations(ROWS[exercise], n))
    for rows, batch in product(combined, batches):
        options = {"batch": batch} | {name: value for changes, _ in rows for name, value in changes.items()}
        if len(options) <= sum(len(changes) for changes, _ in rows):
            continue  # two of them change the same thing
        left_out = [probes[0].slopes[i] for weigh, i in LEFT_OUT.items() if options.get("weigh") == weigh]
        if any(slope.any() for slope in left_out):
            continue  # it is there, of a small weight
        rtol = 2e-2 if not is_exact else 1e-4 if rows else 3e-4  # right but for a little, as log(p + 1e-5)
        if all(same(probe.value, formula(exercise, probe, **options), rtol) for probe in probes):
            return [one for _, mistakes in rows for one in mistakes] + BATCHES[batch], options
    return [UNKNOWN], None


@torch.no_grad()
def is_estimate(exercise: str, learner: Learner, probe: Probe, calls: int = 300) -> bool:
    """Is it another number at each call, and right on average? So is a KL by one draw of z."""
    if exercise == "reconstruction":
        return False
    values = torch.stack([as_tensor(learner(*probe.inputs)).double() for _ in range(calls)])
    error = values.std(0) / calls**0.5
    return bool((error > 0).all() and ((values.mean(0) - formula(exercise, probe)).abs() < 6 * error).all())


@torch.enable_grad()
def _cut(exercise: str, probes: list[Probe], options: dict) -> list[Finding]:
    """A mistake when the values have an explanation, but the slopes are not those that go with it."""
    names = [name for name in ARGUMENTS[exercise].split() if name not in ("x", "beta")]
    for probe in probes:
        due = weighted_slopes(formula(exercise, probe, **options), probe)
        for name, slope, expected in zip(names, probe.slopes, due, strict=True):
            if name == "x_logits" and options.get("pixel", "right") != "right":
                continue
            size, off = expected.abs(), (slope - expected).abs()
            if (off > 3e-2 * size + 1e-2 * size.max() + 1e-7).any():
                return [Finding("gradient_cut", note=f"Nothing, or only a part of it, reaches {name}.")]
    return []
