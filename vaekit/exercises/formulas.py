"""The doctor's examination of `kl`, `reconstruction` and `loss`: probe, explain, look at the gradients."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaekit.exercises import slips
from vaekit.exercises.calling import Halt, Learner, as_tensor, described, numbers
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.slips import Slip, batched, explain, same

NAMES = {
    "kl": "mu logvar",
    "reconstruction": "x_logits x",
    "loss": "x_logits x mu logvar beta",
    "step": "x_logits x mu logvar beta",  # as its model writes them down
}
WHOLE = ("loss", "step")  # one number for the whole batch
REDUCTIONS = ("none", "mean over batch", "sum over batch", "mean over pixels", "mean over latents")
BETAS = (3.7, 0.4, 1.0, 2.2)
UNKNOWN = "The doctor does not know this mistake."


@dataclass
class Probe:
    """Inputs of one call, the shape and the value of what came out, and its gradients.

    rightly: of a step, the weights moved along the right loss's gradient, whatever was done on the way.
    """

    inputs: list
    came: Tensor | None = None
    gradients: list | None = None
    shape: tuple = ()
    rightly: bool = False

    @property
    def leaves(self) -> list[Tensor]:
        return [value for value in self.inputs if isinstance(value, Tensor) and value.requires_grad]


def probes(exercise: str, tame: bool = False) -> list[Probe]:
    """Four batches: different examples, pixels, latents and β, so that no two mistakes give one number.

    tame: logits in (0, 1), for functions that take them as probabilities.
    """
    generator = torch.Generator().manual_seed(4)
    made = []
    for beta in BETAS:
        shape = (slips.BATCH, 1, 28, 28)
        x = torch.rand(shape, generator=generator)
        x_logits = 1.5 * torch.randn(shape, generator=generator)
        x_logits = (0.05 + 0.9 * x_logits.sigmoid() if tame else x_logits).requires_grad_()
        mu = (3 * torch.randn(slips.BATCH, slips.LATENTS, generator=generator)).requires_grad_()
        logvar = (5 * torch.rand(slips.BATCH, slips.LATENTS, generator=generator) - 3).requires_grad_()
        inputs = {"x_logits": x_logits, "x": x, "mu": mu, "logvar": logvar, "beta": beta}
        made.append(Probe([inputs[name] for name in NAMES[exercise].split()]))
    return made


def examine(exercise: str, function, declared: set[str]) -> Diagnosis:
    """The verdict on `kl`, `reconstruction` or `loss`. declared: those of REDUCTIONS that are meant."""
    learner = Learner(function, NAMES[exercise])
    if exercise == "kl":
        return _examine(exercise, learner, probes(exercise), declared)
    return untamed_or_tame(lambda tame: _examine(exercise, learner, probes(exercise, tame), declared), exercise)


def untamed_or_tame(examination: Callable, exercise: str) -> Diagnosis:
    """`examination(tame=False)`; after an error or nonsense the tame one, if it finds logits taken as probabilities."""
    try:
        verdict = examination(False)
        if "unrecognized" not in verdict.faults:
            return verdict
    except Halt as halt:
        if halt.finding.code != "raises":
            raise
        verdict = Diagnosis(exercise, (halt.finding,))
    try:
        second = examination(True)
    except Halt:
        return verdict
    return second if "logits_as_probabilities" in second.faults else verdict


def _examine(exercise: str, learner: Learner, asked: list[Probe], declared: set[str]) -> Diagnosis:
    odd: dict[tuple, Slip] = {}  # of type and shape, each once
    for probe in asked:
        came, code = as_tensor(learner(*probe.inputs))
        probe.shape = tuple(came.shape)
        probe.came, slip = _in_shape(came, exercise, probe)
        if code:
            odd[code, ""] = Slip(code, {})
        if slip:
            odd[slip.code, slip.reduction] = slip
        probe.gradients = gradients(probe.came, probe.leaves)
    return judge(exercise, asked, list(odd.values()), declared, _evidence(exercise, learner, asked))


def judge(exercise: str, asked: list[Probe], odd: list[Slip], declared: set[str], evidence: Finding) -> Diagnosis:
    """The verdict on what came out of the probes. odd: what is known to be wrong before any value is looked at."""
    rightly = all(probe.rightly for probe in asked)
    found, options, targets = ([], {}, None) if rightly else _explained(exercise, asked)
    if found is None and _nearly_right(exercise, asked):
        found, options = [], {}
    if found is None:
        beta, slip = _unexplained(exercise, asked)
        found = [slip]
    else:
        beta = _whole_batch(slips.effective_beta(options), exercise, options)
        if not {slip.code for slip in odd} & {"wrong_type", "gradient_cut", "step_missing"}:
            if exercise == "step" and (rightly or _cut(exercise, asked, {}, targets) is None):
                found, beta = [], 1.0  # what it returns, to be shown, is not what it steps along
            elif exercise == "step" and (scaled := _scaled(asked, options, targets)):
                found = [*found, scaled]
            elif cut := _cut(exercise, asked, options, targets):
                odd, beta = [*odd, cut], None
    if targets is not None:
        found, beta = [*found, Slip("wrong_target", {}, "It is compared with another example of the batch.")], None
    every = _undeclared([*odd, *found], declared, exercise)
    beta = None if beta is None else float(f"{beta:.6g}")
    return Diagnosis(exercise, tuple(_finding(slip, evidence, asked[0], exercise) for slip in every), beta)


def _whole_batch(beta: float | None, exercise: str, options: dict) -> float | None:
    """The effective β when one of the two terms alone is summed over the batch."""
    if beta is None or options.get("batch") not in ("sum", "sum for each"):
        return beta
    return {"kl": beta * slips.BATCH, "reconstruction": beta / slips.BATCH}.get(exercise, beta)


def _in_shape(came: Tensor, exercise: str, probe: Probe) -> tuple[Tensor, Slip | None]:
    """What came, in a shape that can be compared, and the slip of its shape if it has one."""
    batch, shape = slips.BATCH, tuple(came.shape)
    whole = exercise in WHOLE
    if shape == ((1,) if whole else (batch,)) or shape == ():
        return (came.reshape(()) if whole else came), None
    slip = Slip("wrong_shape", {}, "")
    if shape == (batch, batch):
        return (came.mean() if whole else came.diagonal()), Slip("broadcast", {}, "")
    if whole and shape == (batch,):
        return came.mean(), slip
    if not whole and came.numel() == batch:
        return came.reshape(batch), slip
    each = probe.inputs[0]
    if not whole and came.numel() == each.numel() and shape[:1] == (batch,):
        return came.flatten(1).sum(1), Slip(slip.code, {}, "The sum is missing.", "none")
    raise Halt("wrong_shape", input=described(each), came=str(shape), expected="()" if whole else "(B,)")


def gradients(came: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
    """d(Σ came · w)/d(each leaf), with weights w that tell the examples apart; None where no path leads."""
    if not came.requires_grad:
        return [None] * len(leaves)
    weights = torch.linspace(1, 2, max(came.numel(), 1)).reshape(came.shape).to(came)
    try:
        return list(torch.autograd.grad((came * weights).sum(), leaves, allow_unused=True, retain_graph=True))
    except RuntimeError:
        return [None] * len(leaves)


def _maker(exercise: str, asked: list[Probe], targets: list | None):
    memo: dict = {}
    inputs = [list(probe.inputs) for probe in asked]
    for i, order in enumerate(targets or ()):
        inputs[i][1] = inputs[i][1][order]

    def make(i: int, *, keep: bool = True, **options) -> Tensor:
        if exercise in WHOLE:
            return slips.loss(*inputs[i], memo=memo if keep else None, **options)
        batch = options.pop("batch", None)
        return batched(getattr(slips, exercise)(*inputs[i], **options), batch)

    return make


def _explained(exercise: str, asked: list[Probe]) -> tuple:
    """(slips, options, order of the targets or None); slips None when nothing explains what came."""
    known = {
        "kl": slips.KL_SLIPS + slips.BATCH_SLIPS,
        "reconstruction": slips.RECONSTRUCTION_SLIPS + slips.BATCH_SLIPS,
    }.get(exercise, slips.LOSS_SLIPS + slips.RECONSTRUCTION_SLIPS + slips.KL_SLIPS)
    came = [probe.came.item() if exercise in WHOLE else probe.came for probe in asked]
    if not all(probe.came.isfinite().all() for probe in asked):
        return None, {}, None
    targets = None
    if exercise != "kl":
        orders = [_order(probe) for probe in asked]
        if all(order is not None for order in orders) and any(order != list(range(len(order))) for order in orders):
            targets = orders
        # Two slips make the reconstruction 0: with a gradient to the logits it is a softmax, without it is left out.
        gone = "classes in channels" if any(probe.gradients[0] is None for probe in asked) else "no reconstruction"
        known = [slip for slip in known if gone not in slip.options.values()]
    with torch.no_grad():
        found = explain(came, _maker(exercise, asked, targets), known)
    return (*found, targets) if found else (None, {}, None)


def _order(probe: Probe) -> list[int] | None:
    """Which example each reconstruction was compared with, read off ∂/∂logits = w (sigmoid(logits) − target)."""
    slope = probe.gradients[0]
    if slope is None:
        return None
    gap = (probe.inputs[0].detach().sigmoid()[:, None] - probe.inputs[1][None]).flatten(2)  # (B, B, P)
    likeness = torch.cosine_similarity(slope.flatten(1)[:, None], gap, dim=2).abs()
    best = likeness.max(1)
    return best.indices.tolist() if bool((best.values > 0.999).all()) else None


def _nearly_right(exercise: str, asked: list[Probe]) -> bool:
    """Right but for rounding, as with log(p + 1e-5)."""
    make = _maker(exercise, asked, None)
    with torch.no_grad():
        right = [torch.as_tensor(make(i)) for i in range(len(asked))]
    return all(same(probe.came, value.to(probe.came), 3e-4) for probe, value in zip(asked, right, strict=True))


def _unexplained(exercise: str, asked: list[Probe]) -> tuple[float | None, Slip]:
    """The effective β and a slip for what no slips in the lists explain."""
    if not all(probe.came.isfinite().all() for probe in asked):
        return None, Slip("unrecognized", {}, "It is not a finite number.")
    if note := _other_target(exercise, asked):
        return None, Slip("wrong_target", {}, note)
    make = _maker(exercise, asked, None)
    came = torch.cat([probe.came.double().flatten() for probe in asked])
    with torch.no_grad():
        if exercise not in WHOLE:
            right = [make(i).double() for i in range(len(asked))]
            ones = [value if probe.came.dim() else value.mean() for value, probe in zip(right, asked, strict=True)]
            factor = _factors(came, torch.cat([value.flatten() for value in ones]))
            if factor is None:
                return None, Slip("unrecognized", {}, UNKNOWN)
            beta = factor[0] if exercise == "kl" else 1 / factor[0]
            return beta, Slip("unrecognized", {}, f"It is {factor[0]:.4g} times what it should be.")
        r = torch.tensor([make(i, weigh="no KL") for i in range(len(asked))]).double()
        k = torch.tensor([make(i, weigh="nothing") for i in range(len(asked))]).double() - r
    beta = torch.tensor(BETAS).double()
    if of := _factors(came, r):
        note = f"It is {of[0]:.4g} times the reconstruction alone: the KL is not in it."
        return 0.0, Slip("beta_ignored", {}, note)
    if of := _factors(came, r, beta * k):
        note = f"The reconstruction is {of[0]:.4g} times what it should be, the KL {of[1]:.4g} times."
        return of[1] / of[0], Slip("unrecognized", {}, note)
    if of := _factors(came, r, k):
        return of[1] / of[0], Slip("beta_ignored", {}, f"The KL counts {of[1] / of[0]:.4g} times, whatever β is.")
    if _factors(came, r, k, beta):
        return None, Slip("beta_ignored", {}, "β is added to the loss, and multiplies nothing.")
    return None, Slip("unrecognized", {}, UNKNOWN)


def _factors(came: Tensor, *columns: Tensor) -> list[float] | None:
    """The numbers that the columns must be multiplied by to add up to what came; None where none do, or one is 0."""
    matrix = torch.stack(columns, 1)
    found = torch.linalg.lstsq(matrix, came[:, None]).solution.flatten()
    counts = (found * matrix).abs().amax(0) > 1e-4 * came.abs().max()  # more than rounding
    return found.tolist() if same(matrix @ found, came) and counts.all() else None


@torch.no_grad()
def _other_target(exercise: str, asked: list[Probe]) -> str:
    """A note when it is right but for the target, which then is read off ∂/∂logits = w (sigmoid(logits) − target)."""
    if exercise == "kl" or any(probe.gradients[0] is None for probe in asked):
        return ""
    said = []
    for probe in asked:
        x_logits, x, *rest = probe.inputs
        w = torch.linspace(1, 2, len(x))[:, None, None, None] if probe.came.dim() else 1 / len(x)
        target = x_logits.sigmoid() - probe.gradients[0] / w
        if (target - x).abs().max() < 1e-2:
            return ""
        right = slips.loss(x_logits, target, *rest) if rest else slips.reconstruction(x_logits, target)
        if not same(probe.came, right, 1e-4):
            return ""
        said.append(_named(target, x))
    return said[0] if len(set(said)) == 1 else "It is not compared with x."


def _named(target: Tensor, x: Tensor) -> str:
    for name, known in (
        ("the image turned upside down", x.flip(-2)),
        ("the image's mirror image", x.flip(-1)),
        ("the image turned by 180 degrees", x.flip(-1, -2)),
        ("the image with rows and columns swapped", x.transpose(-1, -2)),
        ("the mean image of the batch", x.mean(0).expand_as(x)),
        ("a black image", torch.zeros_like(x)),
        ("a white image", torch.ones_like(x)),
        ("2x − 1", 2 * x - 1),
        ("255 x", 255 * x),
    ):
        if (target - known).abs().max() < 1e-2:
            return f"It is compared with {name}."
    if torch.minimum(target.abs(), (target - 1).abs()).max() < 1e-2:
        return "x was turned into black and white."
    return "It is not compared with x."


def _scaled(asked: list[Probe], options: dict, targets: list | None) -> Slip | None:
    """Of a step, a slip when `backward` got the loss that came back, but for a factor."""
    make = _maker("step", asked, targets)
    factor = None
    for i, probe in enumerate(asked):
        right = gradients(make(i, keep=False, **options), probe.leaves)
        if any(one is None for one in (*right, *probe.gradients)):
            return None
        came, due = (torch.cat([one.flatten() for one in every]) for every in (probe.gradients, right))
        factor = float(came @ due / due.square().sum()) if factor is None else factor
        if not same(came, factor * due, 1e-2):
            return None
    if factor == 0 or abs(factor - 1) < 1e-2:
        return None
    if abs(factor + 1) < 1e-2:
        return Slip("sign", {}, "The steps go up the loss, not down.")
    if abs(factor - slips.BATCH) < 1e-2:
        return Slip("sum_over_batch", {}, "`backward()` is called on the sum.", "sum over batch")
    return Slip("unrecognized", {}, f"`backward()` is called on {factor:.4g} times the loss that comes back.")


def _cut(exercise: str, asked: list[Probe], options: dict, targets: list | None) -> Slip | None:
    """A slip when the values have an explanation, but the gradients are not those that go with it."""
    make = _maker(exercise, asked, targets)
    names = [name for name in NAMES[exercise].split() if name not in ("x", "beta")]
    for i, probe in enumerate(asked):
        right = gradients(make(i, keep=False, **options), probe.leaves)
        for name, came, expected in zip(names, probe.gradients, right, strict=True):
            none_due = expected is None or not expected.abs().max() > 1e-7
            none_came = came is None or not came.abs().max() > 1e-7
            pixel = options.get("pixel", "bernoulli") if name == "x_logits" else "bernoulli"
            if none_due or pixel == "itself":  # a loss that is compared with itself may well have no slope
                continue
            if none_came:
                return Slip("gradient_cut", {}, f"None reaches {name}.")
            size = expected.abs()
            if pixel == "bernoulli" and ((came - expected).abs() > 1e-2 * size + 1e-4 * size.max()).any():
                return Slip("gradient_cut", {}, f"Only a part of it reaches {name}.")
    return None


def _undeclared(found: list[Slip], declared: set[str], exercise: str) -> list[Slip]:
    """Without the reductions that were declared; with those that were declared, but are not there."""
    there = {slip.reduction for slip in found} | ({"mean over batch"} if exercise in WHOLE else set())
    note = "You declared “{}”; that is not what it does."
    missing = [Slip("wrong_shape", {}, note.format(name)) for name in sorted(declared - there)]
    return [slip for slip in found if not slip.reduction or slip.reduction not in declared] + missing


def _evidence(exercise: str, learner: Learner, asked: list[Probe]) -> Finding:
    """For `kl` a case that can be worked out by hand, for the others the first probe."""
    if exercise == "kl":
        mu, logvar = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[4.0, 4.0], [1.0, 1.0]]).log()
        try:
            came = as_tensor(learner(mu, logvar))[0]
            given = "μ = (0, 0) and (1, 0), σ = (2, 2) and (1, 1)"
            return Finding("", given, numbers(came), numbers(slips.kl(mu, logvar)))
        except Halt:  # it takes 3 latents only
            pass
    return first_probe(exercise, asked)


def first_probe(exercise: str, asked: list[Probe]) -> Finding:
    """The first probe's input, what came out and what should have."""
    given = {"kl": "5 examples of 3 latents", "reconstruction": "5 images"}.get(exercise, f"5 images, β = {BETAS[0]}")
    return Finding("", given, numbers(asked[0].came), numbers(_maker(exercise, asked, None)(0, keep=False)))


def _finding(slip: Slip, evidence: Finding, first: Probe, exercise: str) -> Finding:
    if slip.code in ("gradient_cut", "zero_grad_missing", "wrong_gradient", "step_missing"):
        return Finding(slip.code, f"a batch of {slips.BATCH}", note=slip.note)
    should = "()" if exercise in WHOLE else f"({slips.BATCH},)"
    if slip.code in ("wrong_shape", "broadcast") and str(first.shape) != should:
        return Finding(slip.code, f"a batch of {slips.BATCH}", str(first.shape), should, slip.note)
    if evidence.came == evidence.expected:  # the loss is right, its gradient is not
        return Finding(slip.code, evidence.input, note=slip.note)
    return replace(evidence, code=slip.code, note=slip.note)
