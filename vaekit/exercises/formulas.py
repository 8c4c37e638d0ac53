"""The examination of `kl`, `reconstruction` and `loss`: explain the numbers by the table, and the slopes."""

from dataclasses import dataclass, replace
from itertools import combinations, product

import torch
from torch import Tensor

from vaekit.exercises import wrong
from vaekit.exercises.calling import Halt, Learner, as_tensor, described, guarded
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.wrong import BATCH, LATENTS, Mistake

ARGUMENTS = {"kl": "mu logvar", "reconstruction": "x_logits x", "loss": "x_logits x mu logvar beta"}
TABLES = {
    "kl": wrong.KL,
    "reconstruction": wrong.RECONSTRUCTION,
    "loss": wrong.LOSS + wrong.RECONSTRUCTION + wrong.KL,
}
BATCHES = {  # how the batch may be put into one number, where each example should have its own
    "mean": Mistake("wrong_shape", note="The batch's mean came back.", reduction="mean over batch"),
    "sum": Mistake("sum_over_batch", reduction="sum over batch"),
}
REDUCTIONS = ("none", "mean over batch", "sum over batch", "mean over pixels", "mean over latents")
BETAS = (3.7, 0.4, 1.0, 2.2)
UNKNOWN = Mistake("unrecognized", note="The doctor does not know this mistake.")
ESTIMATE = "As an estimate: the KL by one draw of z is right on average only; its closed form has no noise."


@dataclass
class Probe:
    """One call: its inputs, the value that came back, its shape, and its slope with regard to each leaf."""

    inputs: list
    value: Tensor | None = None
    shape: tuple = ()
    gradients: list[Tensor | None] | None = None


@dataclass
class Reading:
    """What explains the values: mistakes, the effective β, and the options of the formula that they make."""

    mistakes: list[Mistake]
    beta: float | None = None
    options: dict | None = None  # None: nothing in the table does


def make_probes(exercise: str) -> list[Probe]:
    """Four batches: different examples, pixels, latents and β, so that no two mistakes give one number.

    The logits are in (0, 1), for functions that take them as probabilities.
    """
    generator, made = torch.Generator().manual_seed(4), []
    for beta in BETAS:
        x = torch.rand(BATCH, 1, 28, 28, generator=generator)
        x_logits = (0.05 + 0.9 * torch.rand(x.shape, generator=generator)).requires_grad_()
        mu = (3 * torch.randn(BATCH, LATENTS, generator=generator)).requires_grad_()
        logvar = (5 * torch.rand(BATCH, LATENTS, generator=generator) - 3).requires_grad_()
        inputs = {"x_logits": x_logits, "x": x, "mu": mu, "logvar": logvar, "beta": beta}
        made.append(Probe([inputs[name] for name in ARGUMENTS[exercise].split()]))
    return made


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
        value = as_tensor(learner(*probe.inputs))
        probe.shape = tuple(value.shape)
        probe.value, misshapen = _in_shape(value, exercise, probe.inputs[0])
        probe.gradients = gradients(probe.value, probe)
    reading = read(exercise, probes)
    if reading.mistakes == [UNKNOWN] and not misshapen and _is_estimate(exercise, learner, probes[0]):
        return Diagnosis(exercise, effective_beta=1.0, remark=ESTIMATE)
    mistakes = [*misshapen, *reading.mistakes]
    if reading.options is not None and (cut := _cut(exercise, probes, reading.options)):
        mistakes, reading.beta = [cut, *mistakes], None
    return conclude(exercise, mistakes, reading.beta, declared, probes, evidence_of(exercise, probes, learner))


def conclude(exercise, mistakes: list[Mistake], beta, declared: set[str], probes, evidence: Finding) -> Diagnosis:
    """The verdict: the mistakes that were not declared to be meant."""
    mistakes = [one for one in mistakes if not one.reduction or one.reduction not in declared]
    due = "()" if exercise in ("loss", "step") else f"({BATCH},)"
    findings = tuple(_finding(one, evidence, str(probes[0].shape), due) for one in mistakes)
    return Diagnosis(exercise, findings, None if beta is None else float(f"{beta:.6g}"))


def _finding(mistake: Mistake, evidence: Finding, shape: str, due: str) -> Finding:
    code, note = mistake.code, mistake.note
    if code in ("wrong_shape", "broadcast") and shape != due:
        return Finding(code, f"a batch of {BATCH}", shape, due, note)
    if evidence.came == evidence.expected or code == "gradient_cut":  # not the loss is wrong, but its gradient
        return Finding(code, evidence.input, note=note)
    return replace(evidence, code=code, note=note)


def _in_shape(value: Tensor, exercise: str, first: Tensor) -> tuple[Tensor, list[Mistake]]:
    """The value in a shape that can be compared, and the mistake of its shape if it has one."""
    shape, of_batch = tuple(value.shape), exercise == "loss"
    if shape == () or shape == ((1,) if of_batch else (BATCH,)):
        return (value.reshape(()) if of_batch else value), []
    if shape == (BATCH, BATCH):
        return (value.mean() if of_batch else value.diagonal()), [Mistake("broadcast")]
    if value.numel() == BATCH:
        return (value.mean() if of_batch else value.reshape(BATCH)), [Mistake("wrong_shape")]
    if not of_batch and value.numel() == first.numel() and shape[:1] == (BATCH,):
        return value.flatten(1).sum(1), [Mistake("wrong_shape", note="The sum is missing.", reduction="none")]
    raise Halt("wrong_shape", input=described(first), came=str(shape), expected="()" if of_batch else "(B,)")


def gradients(value: Tensor, probe: Probe) -> list[Tensor | None]:
    """d(Σ value · w)/d(each leaf), with weights w that tell the examples apart; None where no path leads."""
    leaves = [one for one in probe.inputs if isinstance(one, Tensor) and one.requires_grad]
    if not value.requires_grad:
        return [None] * len(leaves)
    total = (value * torch.linspace(1, 2, max(value.numel(), 1)).reshape(value.shape)).sum()
    return list(guarded(lambda: torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True), "backward"))


def same(value: Tensor, expected: Tensor, rtol: float = 3e-5) -> bool:
    """Equal but for rounding, in shape too; a NaN equals nothing."""
    a, b = value.detach().double(), expected.detach().double()
    return a.shape == b.shape and bool((a - b).abs().max() <= rtol * b.abs().max() + 1e-9)


def formula(exercise: str, probe: Probe, *, batch: str | None = None, **options) -> Tensor:
    """What an exercise should give for a probe, or gives with these options of `wrong`'s formulas."""
    values = getattr(wrong, exercise)(*probe.inputs, **options)
    return getattr(values, batch)() if batch else values


@torch.no_grad()
def read(exercise: str, probes: list[Probe]) -> Reading:
    """What explains the values that came out of the probes."""
    if not all(probe.value.isfinite().all() for probe in probes):
        return Reading([Mistake("unrecognized", note="It is not a finite number.")])
    return _by_its_target(exercise, probes) or _by_the_table(exercise, probes) or Reading([UNKNOWN])


def _by_the_table(exercise: str, probes: list[Probe]) -> Reading | None:
    """The fewest rows of the table that explain all values; two at most, and one more for the batch."""
    is_exact = probes[0].value.dtype in (torch.float32, torch.float64)
    batches = (None,) if exercise == "loss" or probes[0].value.dim() else ("mean", "sum")
    combined = (rows for n in range(3) for rows in combinations(TABLES[exercise], n))
    for rows, batch in product(combined, batches):
        options = {name: value for row in rows for name, value in row.options.items()}
        if len(options) < sum(len(row.options) for row in rows):
            continue  # two of them change the same thing
        rtol = 2e-2 if not is_exact else 1e-4 if rows else 3e-4  # right but for a little, as log(p + 1e-5)
        if all(same(probe.value, formula(exercise, probe, batch=batch, **options), rtol) for probe in probes):
            return _of_rows(exercise, rows, options, batch)
    return None


def _of_rows(exercise: str, rows: tuple, options: dict, batch: str | None) -> Reading:
    mistakes = [replace(row, code=code) for row in rows for code in row.code.split()]
    mistakes += [BATCHES[batch]] if batch else []
    beta = wrong.effective_beta(options)
    if beta is not None and batch == "sum":
        beta = beta * BATCH if exercise == "kl" else beta / BATCH
    return Reading(mistakes, beta, options | ({"batch": batch} if batch else {}))


def _by_its_target(exercise: str, probes: list[Probe]) -> Reading | None:
    """Right but for the target, which is read off ∂/∂logits = w (sigmoid(logits) − target)."""
    if exercise == "kl" or any(probe.gradients[0] is None for probe in probes):
        return None
    for probe in probes:
        x_logits, x, *others = probe.inputs
        w = torch.linspace(1, 2, len(x))[:, None, None, None] if probe.value.dim() else 1 / len(x)
        target = x_logits.sigmoid() - probe.gradients[0] / w
        right = getattr(wrong, exercise)(x_logits, target, *others)
        if (target - x).abs().max() < 1e-2 or not same(probe.value, right, 1e-4):
            return None
    return Reading([Mistake("wrong_target", note="It is not compared with x.")])


@torch.no_grad()
def _is_estimate(exercise: str, learner: Learner, probe: Probe, calls: int = 300) -> bool:
    """Is it another number at each call, and right on average? So is a KL by one draw of z."""
    if exercise == "reconstruction":
        return False
    values = torch.stack([as_tensor(learner(*probe.inputs)).double() for _ in range(calls)])
    error = values.std(0) / calls**0.5
    return bool((error > 0).all() and ((values.mean(0) - formula(exercise, probe)).abs() < 6 * error).all())


def _cut(exercise: str, probes: list[Probe], options: dict) -> Mistake | None:
    """A mistake when the values have an explanation, but the slopes are not those that go with it."""
    names = [name for name in ARGUMENTS[exercise].split() if name not in ("x", "beta")]
    for probe in probes:
        due = gradients(formula(exercise, probe, **options), probe)
        for name, slope, expected in zip(names, probe.gradients, due, strict=True):
            if name == "x_logits" and options.get("pixel", "right") != "right":
                continue
            size, off = expected.abs(), (expected if slope is None else slope - expected).abs()
            if (off > 3e-2 * size + 3e-3 * size.max() + 1e-7).any():
                return Mistake("gradient_cut", note=f"Nothing, or only a part of it, reaches {name}.")
    return None


def evidence_of(exercise: str, probes: list[Probe], learner: Learner | None = None) -> Finding:
    """For `kl` a case that can be worked out by hand, for the others the first probe."""
    if exercise == "kl":
        mu, logvar = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[4.0, 4.0], [1.0, 1.0]]).log()
        try:
            value = as_tensor(learner(mu, logvar))
            given = "μ = (0, 0) and (1, 0), σ = (2, 2) and (1, 1)"
            return Finding("", given, described(value), described(wrong.kl(mu, logvar)))
        except Halt:  # it takes 3 latents only
            pass
    given = {"kl": "5 examples of 3 latents", "reconstruction": "5 images"}.get(exercise, f"5 images, β = {BETAS[0]}")
    return Finding("", given, described(probes[0].value), described(formula(exercise, probes[0])))
