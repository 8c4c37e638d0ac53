"""The loss's two terms with every known slip built in, and the search for the fewest slips that explain a result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

LATENTS, PIXELS, BATCH = 3, 784, 5  # of the probes; without common factors, so that no two slips cancel


def kl(
    mu, logvar, *, power=1.0, spread=1.0, mean=1.0, one=1.0, log=1.0, half=0.5, kl_sign=1.0, latents=1.0, crossed=None
):
    """½ Σ (σ² + μ² − 1 − log σ²) of each example, (B, D) → (B,); each number scales its part, `power` is of σ².

    crossed: (part, "sum" or "mean"): this part of each example met the other part of all examples, reduced like this.
    """
    of_mu = (mean * mu.square()).sum(1)
    of_std = (spread * torch.exp(power * logvar) - one - log * logvar).sum(1)
    if crossed is None:
        return kl_sign * half * latents * (of_mu + of_std)
    own, others = (of_mu, of_std) if crossed[0] == "μ²" else (of_std, of_mu)
    whole = len(own) * own + others.sum()
    return kl_sign * half * latents * (whole if crossed[1] == "sum" else whole / len(own))


def _bce(p: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy(p.clamp(0, 1), x, reduction="none")


def _mass(x_logits: Tensor, x: Tensor, axis: int, both: bool) -> Tensor:
    """Each pixel's loss when a softmax over `axis` stands for the sigmoid; with or without the dark pixels' part."""
    log_p = F.log_softmax(x_logits.flatten(1) if axis == 1 else x_logits, axis).reshape(x.shape)
    return _bce(log_p.exp(), x) if both else -x * log_p


PIXEL = {
    "bernoulli": lambda x_logits, x: F.binary_cross_entropy_with_logits(x_logits, x, reduction="none"),
    "no sigmoid": _bce,
    "two sigmoids": lambda x_logits, x: F.binary_cross_entropy_with_logits(x_logits.sigmoid(), x, reduction="none"),
    "softmax of the image": lambda x_logits, x: _mass(x_logits, x, 1, True),
    "softmax of the rows": lambda x_logits, x: _mass(x_logits, x, -1, True),
    "softmax of the columns": lambda x_logits, x: _mass(x_logits, x, -2, True),
    "softmax of the channels": lambda x_logits, x: _bce(x_logits.softmax(1), x),
    "softmax of the batch": lambda x_logits, x: _mass(x_logits, x, 0, True),
    "classes": lambda x_logits, x: _mass(x_logits, x, 1, False),
    "classes in rows": lambda x_logits, x: _mass(x_logits, x, -1, False),
    "classes in channels": lambda x_logits, x: -x * x_logits.log_softmax(1),
    "softmax, then a sigmoid": lambda x_logits, x: F.binary_cross_entropy_with_logits(
        x_logits.flatten(1).softmax(1).reshape(x.shape), x, reduction="none"
    ),
    "each with all": lambda x_logits, x: len(x) * F.softplus(x_logits) - x_logits * x.sum(0),
    "itself": lambda x_logits, x: F.binary_cross_entropy_with_logits(x_logits, x_logits.sigmoid(), reduction="none"),
    "swapped": lambda x_logits, x: F.binary_cross_entropy_with_logits(x, x_logits, reduction="none"),
    "swapped after a sigmoid": lambda x_logits, x: _bce(x, x_logits.sigmoid()),
    "negative": lambda x_logits, x: F.binary_cross_entropy_with_logits(x_logits, 1 - x, reduction="none"),
    "two colours": lambda x_logits, x: F.binary_cross_entropy_with_logits(x_logits, (x > 0.5).to(x), reduction="none"),
    "squared error": lambda x_logits, x: (x_logits.sigmoid() - x).square(),
    "squared error of logits": lambda x_logits, x: (x_logits - x).square(),
    "bright only": lambda x_logits, x: -x * F.logsigmoid(x_logits),
    "dark turned round": lambda x_logits, x: -x * F.logsigmoid(x_logits) + (1 - x) * F.logsigmoid(-x_logits),
}


def reconstruction(x_logits, x, *, pixel="bernoulli", r_sign=1.0, pixels=1.0):
    """−log p(x|z) of each image, (B, C, H, W) → (B,), with its slips."""
    return r_sign * pixels * PIXEL[pixel](x_logits, x).flatten(1).sum(1)


@dataclass(frozen=True)
class Slip:
    """One mistake: its code, the options it sets, a note, and the words that declare it to be meant.

    parts: the slips it is made of, when it is several that go together.
    """

    code: str
    options: dict = field(hash=False)
    note: str = ""
    reduction: str = ""
    parts: tuple["Slip", ...] = ()


# The formula in circulation, −½ Σ(σ + μ² − 1 − log σ), has three of them at once.
_IN_CIRCULATION = (
    Slip("sign", {"kl_sign": -1.0}, "It is that of the whole KL."),
    Slip("std_for_variance", {"power": 0.5}),
    Slip("log_std_for_logvar", {"log": 0.5}),
)
KL_SLIPS = [
    *_IN_CIRCULATION,
    Slip(
        "sign", {name: value for slip in _IN_CIRCULATION for name, value in slip.options.items()}, parts=_IN_CIRCULATION
    ),
    Slip("missing_half", {"half": 1.0}),
    Slip("exp_logvar_as_std", {"power": 2.0, "log": 2.0}),
    Slip("mean_over_latents", {"latents": 1 / LATENTS}, reduction="mean over latents"),
    Slip("exp_logvar_as_std", {"power": 2.0}),
    Slip("sign", {"log": -1.0}, "It is that of log σ²."),
    Slip("sign", {"mean": -1.0}, "It is that of μ²."),
    Slip("sign", {"spread": -1.0}, "It is that of σ²."),
    Slip("sign", {"one": -1.0}, "It is that of the 1."),
    Slip("missing_half", {"mean": 2.0}, "It is missing before μ² only."),
    Slip("missing_half", {"half": 1.0, "mean": 0.5}, "It stands before μ² only."),
    Slip("missing_half", {"half": 1.0, "spread": 0.5}, "It stands before σ² only."),
    Slip("unrecognized", {"one": 0.0}, "The − 1 is missing in the KL."),
    Slip("unrecognized", {"mean": 0.0}, "The μ² is missing in the KL."),
    Slip("unrecognized", {"log": 0.0}, "The log σ² is missing in the KL."),
    Slip("unrecognized", {"spread": 0.0}, "The σ² is missing in the KL."),
    *[
        Slip("broadcast", {"crossed": (part, how)}, "One term kept a dimension that the other lost.")
        for part in ("μ²", "σ²")
        for how in ("sum", "mean")
    ],
]

RECONSTRUCTION_SLIPS = [
    Slip("sign", {"r_sign": -1.0}, "It is that of the reconstruction: −log p, not log p."),
    Slip("mean_over_pixels", {"pixels": 1 / PIXELS}, reduction="mean over pixels"),
    Slip("mean_over_pixels", {"pixels": 1 / 28}, "Here it is those of a row, or of a column."),
    Slip("logits_as_probabilities", {"pixel": "no sigmoid"}, "The logits were taken as probabilities."),
    Slip("logits_as_probabilities", {"pixel": "two sigmoids"}, "The loss takes the sigmoid itself."),
    Slip("softmax", {"pixel": "softmax of the image"}),
    Slip("softmax", {"pixel": "softmax of the rows"}),
    Slip("softmax", {"pixel": "softmax of the columns"}),
    Slip("softmax", {"pixel": "softmax of the channels"}),
    Slip("softmax", {"pixel": "softmax of the batch"}),
    Slip("softmax", {"pixel": "classes"}, "A cross-entropy over classes takes one."),
    Slip("softmax", {"pixel": "classes in rows"}, "A cross-entropy over classes takes one."),
    Slip("softmax", {"pixel": "classes in channels"}, "A cross-entropy takes one, here over a single class."),
    Slip("softmax", {"pixel": "softmax, then a sigmoid"}, "And the loss takes a sigmoid as well."),
    Slip("broadcast", {"pixel": "each with all"}, "Each reconstruction met all images of the batch."),
    Slip("wrong_target", {"pixel": "itself"}, "It is compared with itself."),
    Slip("wrong_target", {"pixel": "swapped"}, "Logits and target are swapped."),
    Slip("wrong_target", {"pixel": "swapped after a sigmoid"}, "Reconstruction and target are swapped."),
    Slip("wrong_target", {"pixel": "negative"}, "It is compared with the negative of x."),
    Slip("wrong_target", {"pixel": "two colours"}, "x was rounded to black and white."),
    Slip("unrecognized", {"pixel": "squared error"}, "It is the squared error: a Gaussian's loss, not a Bernoulli's."),
    Slip("unrecognized", {"pixel": "squared error of logits"}, "It is the squared error of the logits."),
    Slip("unrecognized", {"pixel": "bright only"}, "The dark pixels' part, (1 − x) log(1 − p), is missing."),
    Slip("sign", {"pixel": "dark turned round"}, "It is that of the dark pixels' part, (1 − x) log(1 − p)."),
]

# The whole batch mixed, where each example should have a number of its own.
BATCH_SLIPS = [
    Slip("wrong_shape", {"batch": "mean"}, "The batch's mean came back.", "mean over batch"),
    Slip("sum_over_batch", {"batch": "sum"}, reduction="sum over batch"),
    Slip("sum_over_batch", {"batch": "sum for each"}, "Each example got the sum of all."),
]

LOSS_SLIPS = [
    Slip("sum_over_batch", {"batch": "sum"}, reduction="sum over batch"),
    Slip("sign", {"r_sign": -1.0, "kl_sign": -1.0}, "It is that of the whole loss."),
    Slip("sum_over_batch", {"r_batch": BATCH}, "In the reconstruction only."),
    Slip("sum_over_batch", {"k_batch": BATCH}, "In the KL only."),
    Slip("beta_ignored", {"weigh": "nothing"}),
    Slip("beta_ignored", {"weigh": "both"}, "It weighs both parts."),
    Slip("beta_ignored", {"weigh": "reconstruction"}, "It weighs the reconstruction."),
    Slip("beta_ignored", {"weigh": "no KL"}, "The KL is not in the loss at all."),
    Slip("unrecognized", {"weigh": "no reconstruction"}, "The reconstruction is not in the loss at all."),
    Slip("mean_over_pixels", {"pixels": 1 / PIXELS, "latents": 1 / PIXELS}, "The KL is divided alike."),
]


def batched(values: Tensor, batch: str | None) -> Tensor:
    """(B,) as it is, the batch in one number, or that number for each example."""
    whole = {None: values, "mean": values.mean(), "sum": values.sum(), "sum for each": values.sum().expand(len(values))}
    return whole[batch]


def loss(x_logits, x, mu, logvar, beta, *, weigh="KL", batch="mean", r_batch=1.0, k_batch=1.0, memo=None, **options):
    """Mean over the batch of reconstruction + β KL, with its slips; a plain number when `memo` keeps the terms."""
    r_options = {name: options.pop(name) for name in ("pixel", "r_sign", "pixels") if name in options}
    r = _kept(memo, reconstruction, x_logits, x, r_options) * r_batch
    k = _kept(memo, kl, mu, logvar, options) * k_batch
    r_weight, k_weight = {
        "KL": (1, beta),
        "nothing": (1, 1),
        "both": (beta, beta),
        "reconstruction": (beta, 1),
        "no KL": (1, 0),
        "no reconstruction": (0, beta),
    }[weigh]
    return (r_weight * r + k_weight * k) * (BATCH if batch == "sum" else 1)


def _kept(memo: dict | None, term: Callable, a: Tensor, b: Tensor, options: dict):
    """The batch's mean of a term; with a memo as a plain number, worked out once."""
    if memo is None:
        return term(a, b, **options).mean()
    key = (term, id(a), id(b), *sorted(options.items()))
    if key not in memo:
        memo[key] = term(a, b, **options).mean().item()
    return memo[key]


def same(came, expected, rtol: float = 3e-5) -> bool:
    """Equal but for rounding, in shape too; a NaN equals nothing."""
    if isinstance(expected, float):
        return abs(came - expected) <= rtol * abs(expected) + 1e-9
    if came.shape != expected.shape:
        return False
    a, b = came.detach().double(), expected.detach().double()
    return bool((a - b).abs().max() <= rtol * b.abs().max() + 1e-9)


def explain(came: list[Tensor], make: Callable, slips: list[Slip], most: int = 3) -> tuple | None:
    """The fewest slips with which `make(i, **options)` is `came[i]` for each i: (slips, options), or None."""
    for count in range(most + 1):
        for chosen in combinations(slips, count):
            options = {name: value for slip in chosen for name, value in slip.options.items()}
            if len(options) < sum(len(slip.options) for slip in chosen):
                continue  # two of them change the same thing
            if all(same(value, make(i, **options)) for i, value in enumerate(came)):
                return [part for slip in chosen for part in slip.parts or (slip,)], options
    return None


def effective_beta(options: dict) -> float | None:
    """The KL's weight beside the reconstruction's at β = 1; None when one of the two is not a multiple of itself."""
    numbers = {"half", "kl_sign", "latents", "r_sign", "pixels", "r_batch", "k_batch"}
    if set(options) - numbers - {"weigh", "batch"} or options.get("weigh") == "no reconstruction":
        return None
    of_kl = options.get("half", 0.5) / 0.5
    for name in ("kl_sign", "latents", "k_batch"):
        of_kl *= options.get(name, 1.0)
    if options.get("weigh") == "no KL":
        of_kl = 0.0
    for name in ("r_sign", "pixels", "r_batch"):
        of_kl /= options.get(name, 1.0)
    return of_kl
