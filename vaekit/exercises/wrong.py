"""The loss's two terms, every mistake that the doctor knows being an option; `wrong.toml` is the table."""

import tomllib
from importlib.resources import files

import torch
import torch.nn.functional as F
from torch import Tensor

from vaekit.exercises.diagnosis import Finding

LATENTS, BATCH = 3, 5  # of the probes, with 784 pixels: without common factors, so that no two mistakes cancel


def _row(code: str, note: str = "", reduction: str = "", **options) -> tuple[dict, list[Finding]]:
    """One row of the table: the options that it changes, and the mistakes that those are, one for each code."""
    return options, [Finding(one, note=note, reduction=reduction) for one in code.split()]


_ROWS = tomllib.loads(files(__package__).joinpath("wrong.toml").read_text(encoding="utf-8"))
KL, RECONSTRUCTION, LOSS = ([_row(**row) for row in _ROWS[name]] for name in ("kl", "reconstruction", "loss"))


def kl(mu, logvar, *, power=1.0, spread=1.0, mean=1.0, one=1.0, log=1.0, half=0.5, kl_sign=1.0, latents=1) -> Tensor:
    """½ Σ (σ² + μ² − 1 − log σ²) of each example, (B, D) → (B,); each number scales its part, `power` is of σ²."""
    terms = spread * torch.exp(power * logvar) + mean * mu.square() - one - log * logvar
    return kl_sign * half / latents * terms.sum(1)


def _logits(x_logits: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(x_logits, x, reduction="none")


def _probabilities(p: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy(p.clamp(0, 1), x, reduction="none")


def _log_softmax(x_logits: Tensor, axis: int | None = None) -> Tensor:
    return x_logits.log_softmax(axis) if axis is not None else x_logits.flatten(1).log_softmax(1).view_as(x_logits)


# Each pixel's loss: the right one, and what stands in its place.
PIXEL = {
    "right": _logits,
    "no sigmoid": _probabilities,
    "two sigmoids": lambda x_logits, x: _logits(x_logits.sigmoid(), x),
    "softmax and sigmoid": lambda x_logits, x: _logits(_log_softmax(x_logits).exp(), x),
    "each with all": lambda x_logits, x: len(x) * F.softplus(x_logits) - x_logits * x.sum(0),
    "itself": lambda x_logits, x: _logits(x_logits, x_logits.sigmoid()),
    "swapped": lambda x_logits, x: _logits(x, x_logits),
    "swapped after a sigmoid": lambda x_logits, x: _probabilities(x, x_logits.sigmoid()),
    "squared error": lambda x_logits, x: (x_logits.sigmoid() - x).square(),
    "squared error of logits": lambda x_logits, x: (x_logits - x).square(),
    "bright only": lambda x_logits, x: -x * F.logsigmoid(x_logits),
    "dark turned round": lambda x_logits, x: -x * F.logsigmoid(x_logits) + (1 - x) * F.logsigmoid(-x_logits),
}
for _part, _axis in {"image": None, "batch": 0, "channels": 1, "columns": 2, "rows": 3}.items():
    PIXEL[f"softmax of the {_part}"] = lambda logits, x, axis=_axis: _probabilities(_log_softmax(logits, axis).exp(), x)
    PIXEL[f"classes in the {_part}"] = lambda logits, x, axis=_axis: -x * _log_softmax(logits, axis)


def reconstruction(x_logits, x, *, pixel="right", r_sign=1.0, pixels=1) -> Tensor:
    """−log p(x|z) of each image, (B, C, H, W) → (B,), with its mistakes."""
    return r_sign / pixels * PIXEL[pixel](x_logits, x).flatten(1).sum(1)


# What β weighs, as the factors of the reconstruction and of the KL.
WEIGHTS = {
    "KL": lambda beta: (1, beta),
    "nothing": lambda beta: (1, 1),
    "both": lambda beta: (beta, beta),
    "reconstruction": lambda beta: (beta, 1),
    "no KL": lambda beta: (1, 0),
    "no reconstruction": lambda beta: (0, beta),
}


def loss(x_logits, x, mu, logvar, beta, *, weigh="KL", total=1, r_batch=1, k_batch=1, **options) -> Tensor:
    """Mean over the batch of reconstruction + β KL, with its mistakes."""
    of_pixels = {name: options.pop(name) for name in ("pixel", "r_sign", "pixels") if name in options}
    r_weight, k_weight = WEIGHTS[weigh](beta)
    r = r_weight * r_batch * reconstruction(x_logits, x, **of_pixels).mean()
    return total * (r + k_weight * k_batch * kl(mu, logvar, **options).mean())


def effective_beta(exercise: str, options: dict | None) -> float | None:
    """The KL's weight beside the reconstruction's at β = 1, by the options that explain an exercise's values.

    None when there are none, or when one of the two is not a multiple of itself.
    """
    right = {"half": 0.5, "kl_sign": 1, "k_batch": 1, "latents": 1, "r_sign": 1, "r_batch": 1, "pixels": 1}
    known = {*right, "weigh", "total", "batch"}
    if options is None or options.keys() - known or options.get("weigh") == "no reconstruction":
        return None
    half, kl_sign, k_batch, latents, r_sign, r_batch, pixels = ((right | options)[name] for name in right)
    summed = {"kl": BATCH, "reconstruction": 1 / BATCH}[exercise] if options.get("batch") == "sum" else 1
    of_kl = 2 * half * kl_sign * k_batch / latents * (options.get("weigh") != "no KL")
    return summed * of_kl * pixels / (r_sign * r_batch)
