"""The loss and its two terms, with each mistake as an option; what a learner's functions and step give is read by them.

`wrong.toml` is the table of the mistakes: its rows explain the numbers, and the slopes must be those that go with them.
"""

import math
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.exercises.calling import Halt, Learner, as_tensor, described, slopes_of
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.model import VAE

LATENTS, BATCH = 3, 5  # of the probes, with 784 pixels: without common factors, so that no two mistakes cancel
CALLS = 300  # to tell an estimate from a mistake
ARGUMENTS = {"kl": "mu logvar", "reconstruction": "x_logits x", "loss": "x_logits x mu logvar beta"}
BETAS = (3.7, 0.4, 2.2, 1.0)
BY_HAND = f"{BATCH} codes of {LATENTS}, the first of μ = 0 and σ = 2, the second of μ = (1, 0, 0) and σ = 1"
ESTIMATE = "As an estimate, such as a KL by one draw of z: right on average only; the closed form has no noise."
ROWS = tomllib.loads(files(__package__).joinpath("wrong.toml").read_text(encoding="utf-8"))
ROWS["loss"] += [row for row in ROWS["reconstruction"] + ROWS["kl"] if "batch" not in row]
ROWS["step"] = ROWS["loss"]


# Each formula takes those of the options that are its own.
def kl(mu, logvar, *, power=1.0, spread=1.0, mean=1.0, one=1.0, log=1.0, half=0.5, kl_sign=1.0, latents=1, **_):
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


def reconstruction(x_logits, x, *, pixel="right", r_sign=1.0, pixels=1, **_):
    """−log p(x|z) of each image, (B, C, H, W) → (B,), with its mistakes."""
    return r_sign / pixels * PIXEL[pixel](x_logits, x).flatten(1).sum(1)


def loss(x_logits, x, mu, logvar, beta, *, r_beta=0, k_beta=1, r_times=1, k_times=1, **options):
    """Mean over the batch of reconstruction + β KL, with its mistakes; `r_beta` and `k_beta` are powers of β."""
    r = beta**r_beta * r_times * reconstruction(x_logits, x, **options).mean()
    return r + beta**k_beta * k_times * kl(mu, logvar, **options).mean()


FORMULAS = {"kl": kl, "reconstruction": reconstruction, "loss": loss}


@dataclass
class Probe:
    """One call: the right formula, its inputs, what came back, and its slopes with regard to the leaves.

    taken: the slopes that a step goes along; it may have clipped or scaled those that came back.
    """

    formula: Callable[..., Tensor]
    inputs: list
    leaves: list[Tensor]
    value: Tensor | None = None
    slopes: Sequence[Tensor] = ()
    taken: Sequence[Tensor] = ()

    def due(self, batch: str | None = None, **options) -> Tensor:
        """What should come back; with a row's options, what comes back by that mistake."""
        values = self.formula(*self.inputs, **options)
        return getattr(values, batch)() if batch else values

    def slopes_by(self, value: Tensor) -> list[Tensor]:
        """d(Σ value · w)/d(each leaf), with weights w that tell the examples apart."""
        return slopes_of((value * torch.linspace(1, 2, max(value.numel(), 1)).reshape(value.shape)).sum(), self.leaves)

    def factors(self, slopes: Sequence[Tensor], **options) -> list[float]:
        """What those of the formula with these options are multiplied by to give these slopes; nan if by no number."""
        found = []
        for slope, right in zip(slopes, self.slopes_by(self.due(**options)), strict=True):
            factor = float((slope * right).sum() / right.square().sum()) if right.any() else 1.0
            found.append(factor if same(slope, factor * right, 2e-2) else math.nan)
        return found

    def follows(self, options: dict) -> bool:
        """Are the slopes those of the formula with these options? Or those taken, which may be clipped and scaled?"""
        came, taken = (self.factors(slopes, **options) for slopes in (self.slopes, self.taken))
        ways = (came, 1.0), (taken, 1.0 if all(map(same, self.taken, self.slopes)) else taken[0])
        return any(all(abs(factor - unit) < 3e-2 * unit for factor in factors) for factors, unit in ways)


def make_probes(exercise: str) -> list[Probe]:
    """Batches of different examples, pixels, latents and β, so that no two mistakes give one number."""
    names, probes = ARGUMENTS[exercise].split(), []
    for beta in BETAS:
        # logits in (0, 1), for functions that take them as probabilities
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
    if not verdict.ok and list(learner.names) not in ([], learner.roles):
        learner.names = {}  # the names say another order: is it right in the usual one?
        with suppress(Halt):
            by_position = _examined(exercise, learner)
            return by_position if by_position.ok else verdict
    return verdict


def _examined(exercise: str, learner: Learner) -> Diagnosis:
    probes = make_probes(exercise)
    for probe in probes:
        value, due = as_tensor(learner(*probe.inputs)), probe.due().shape
        probe.value = value.reshape(()) if value.numel() == 1 else value  # of a batch: the mean, or the sum?
        if probe.value.shape not in ((), due):
            code = "broadcast" if value.shape == (BATCH, BATCH) else "wrong_shape"
            raise Halt(code, input=f"a batch of {BATCH}", came=str(tuple(value.shape)), expected=str(tuple(due)))
        probe.slopes = probe.taken = probe.slopes_by(probe.value)
    return conclude(exercise, probes, learner)


class Standstill(torch.optim.Optimizer):
    """An optimizer that leaves its model as it is. It notes the gradients of those weights that decide the loss.

    leaves: these weights, which decide the logits, mu and logvar. fresh: what has come back to them in this step.
    taken, came: their gradients when the step was taken, and what was fresh by then; [] where it was not.
    astray: the mistake when none of this step's gradients is taken.
    """

    def __init__(self):
        self.model = VAE(LATENTS, hidden=16)
        super().__init__(self.model.parameters(), {"lr": 0.0})
        self.logits, mu, logvar = self.model.decoder[2], self.model.encoder.mu, self.model.encoder.logvar
        self.leaves = [self.logits.bias, mu.weight, logvar.weight]
        with torch.no_grad():
            self.logits.weight.zero_()
            self.logits.bias.uniform_(0.05, 0.95)  # for losses that take them as probabilities
            mu.weight *= 20  # so that the codes differ
            logvar.weight *= 8
        for i, leaf in enumerate(self.leaves):
            leaf.register_hook(partial(self._gather, i))

    def _gather(self, i: int, slope: Tensor) -> None:
        self.fresh[i] = self.fresh[i] + slope.detach()

    def step(self, closure=None):
        value = closure() if closure is not None else None
        grads = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad.detach().clone() for leaf in self.leaves]
        self.taken, self.came = grads, list(self.fresh)
        taken, fresh = (torch.cat([one.flatten() for one in ones]) for ones in (grads, self.fresh))
        if taken.isnan().any() and fresh.isfinite().all():  # of the step before: see loss_of
            self.astray = "zero_grad_missing" if fresh.any() else "wrong_gradient"
        else:
            self.astray = "" if taken.any() else "wrong_gradient"
        return value

    def loss_of(self, step: Learner, x: Tensor, beta: float) -> Tensor:
        """What a step returns. Gradients left from before are nan: it will show where they are not cleared."""
        for leaf in self.leaves:
            if leaf.grad is not None and leaf.grad.any():
                leaf.grad.fill_(torch.nan)
        self.fresh = [torch.zeros_like(leaf) for leaf in self.leaves]
        self.taken, self.came, self.astray = [], [], "step_missing"
        value = step(self.model, x, beta, self)
        self.model.requires_grad_(True)
        if value is None and self.taken:
            raise Halt("wrong_type", came="None", expected="the loss: is a `return` missing?")
        # a plain number is as good here: the step is done
        value = torch.tensor(float(value)) if isinstance(value, int | float) else as_tensor(value).detach()
        if value.numel() != 1:
            raise Halt("wrong_shape", came=str(tuple(value.shape)), expected="()")
        return value.reshape(())


def examine_step(function) -> Diagnosis:
    """The verdict on `step`: on its loss, and where that is right on its draw of z."""
    step, optimizer = Learner(function, "model x beta optimizer"), Standstill()
    optimizer.loss_of(step, torch.rand(BATCH, 1, 28, 28), 1.0)  # so that all that follow have one before them
    probes, astray = [], ""
    for beta in BETAS:
        x = torch.rand(BATCH, 1, 28, 28)
        mu, logvar = optimizer.model.encode(x)
        inputs = [optimizer.model.decode(mu), x, mu, logvar, beta]
        value = optimizer.loss_of(step, x, beta)
        slopes = list(optimizer.fresh) if optimizer.astray else optimizer.came
        probes.append(Probe(loss, inputs, optimizer.leaves, value, slopes, optimizer.taken))
        astray = astray or optimizer.astray
    verdict = Diagnosis("step", effective_beta=1.0)  # along the right loss, whatever value came back
    if astray or not all(probe.follows({}) for probe in probes):
        verdict = conclude("step", probes, lambda _, x, _mu, _logvar, beta: optimizer.loss_of(step, x, beta), astray)
    return verdict if verdict.findings else replace(verdict, findings=tuple(_faults_of_draw(step, optimizer)))


def _faults_of_draw(step: Learner, optimizer: Standstill) -> list[Finding]:
    """What is wrong with z, by two steps on the same images, where it decides the logits and the KL weighs nothing."""
    nn.init.uniform_(optimizer.logits.weight, -0.25, 0.25)
    x, steps = torch.rand(BATCH, 1, 28, 28), []
    for _ in range(2):
        optimizer.loss_of(step, x, 1e-9)
        steps.append(optimizer.taken + optimizer.came)
    if not all(steps):
        return []
    cut = [name for name, grad in zip(("mu", "logvar"), steps[0][1:3], strict=True) if grad.abs().max() < 1e-6]
    if all(same(a, b, 1e-3) for a, b in zip(*steps, strict=True)):
        code = "noise_missing" if "logvar" in cut else "noise_reused"
        return [Finding(code, "two steps on the same images", "the same gradients", "a draw of its own for each")]
    came = f"no gradient behind {' and '.join(cut)}"
    return [Finding("gradient_cut", "the reconstruction alone", came, "gradients to the encoder")] if cut else []


def conclude(exercise: str, probes: list[Probe], learner: Callable, astray: str = "") -> Diagnosis:
    """The verdict on what came back, by the table, and on the slopes that go with it.

    astray: the mistake when those taken are not of this step.
    """
    mistakes, options = read(exercise, probes)
    if astray:
        mistakes = [Finding(astray), *(mistakes if options else [])]
    elif options is None and is_estimate(learner, probes[0]):
        return Diagnosis(exercise, effective_beta=1.0, remark=ESTIMATE)
    elif options is not None and "pixel" not in options and not all(probe.follows(options) for probe in probes):
        is_whole = exercise == "step" and all(slope.any() for slope in probes[0].taken)
        mistakes.append(Finding("wrong_gradient" if is_whole else "gradient_cut"))
    if not mistakes:
        return Diagnosis(exercise, effective_beta=1.0)
    given = {"kl": BY_HAND, "reconstruction": f"{BATCH} images"}.get(exercise, f"{BATCH} images, β = {BETAS[0]}")
    came, due = described(probes[0].value), described(probes[0].due())
    evidence = {"input": given} | ({"came": came, "expected": due} if came != due else {})  # else it is the gradient
    findings = tuple(replace(one, **evidence) for one in mistakes)
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
        changes = [(name, value) for row in rows for name, value in row.items() if name not in ("code", "note")]
        options = dict(changes)
        if len(options) < len(changes):
            continue  # two of them change the same thing
        rtol = 2e-2 if not is_exact else 1e-5 if rows else 3e-4  # right but for a little, as log(p + 1e-5)
        if all(same(probe.value, probe.due(**options), rtol) for probe in probes):
            return [Finding(code, note=row.get("note", "")) for row in rows for code in row["code"].split()], options
    return [Finding("unrecognized", note="The doctor does not know this mistake.")], None


def is_estimate(learner: Callable, probe: Probe) -> bool:
    """Is it another number at each call, and right on average? So is a KL by one draw of z."""
    values = torch.stack([as_tensor(learner(*probe.inputs)).detach().double() for _ in range(CALLS)])
    error, due = values.std(0) / CALLS**0.5, probe.due()
    return values.shape[1:] == due.shape and bool(((values.mean(0) - due).abs() < 6 * error).all())
