"""The exact linear β-VAE: what must happen, before it is run.

Encoder q(z|x) = N(V(x − m), diag s²), decoder p(x|z) = N(Wz + m, σ²I); m is the data's mean. Training minimizes
D / 2σ² + β R, with the squared error D and the rate R (the KL to the prior), or what is the same D + 2θR with θ = βσ².
Take one principal direction of the data, of variance λ, and one dimension of z to carry it (weights v and w):

    D = (1 − wv)² λ + w² s²        R = ½ (v² λ + s² − 1 − ln s²)

1. Scaling z (v → cv, s → cs, w → w/c) leaves D alone, and R is least where v² λ + s² = 1: there R = −½ ln s².
2. The best w is then the regression of x on z, and leaves D = λ − (vλ)² = λ s².
3. λ s² − θ ln s² is least at s² = min(1, θ/λ): D = min(λ, θ), R = ½ ln(λ/θ) if λ > θ, else 0 (reverse water-filling).
4. A direction that is carried saves λ − θ − θ ln(λ/θ), the more the larger λ: the k dimensions take the k largest.

Hence dD/dR = −2θ, that is −β for the distortion D / 2σ² in nats (Alemi et al. 2018). At β = 1 it is probabilistic PCA
(Tipping & Bishop 1999), at any other the same with θ for σ². That taking one direction per dimension is best, that
a diagonal posterior loses nothing by it, and that no other optimum is a trap: Lucas et al. 2019.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vaekit._checks import check_number, check_whole, short_repr
from vaekit.data import check_images
from vaekit.model import LinearVAE
from vaekit.training import Knobs

CHUNK = 512  # images at a time: a few megabytes in float64


@dataclass(frozen=True, eq=False)
class LinearOptimum:
    """Where training the linear β-VAE ends. Of k dimensions, in descending order of the variance they carry.

    rate: nats per image; rate_per_dim: (k,). distortion: squared error per image, summed over its pixels.
    live: (k,), bool; deaths: (k,), the β from which on each dimension is dead, λ/σ².
    elbo: nats per image; at β = 1 it is probabilistic PCA's log-likelihood.
    """

    rate: float
    rate_per_dim: Tensor
    distortion: float
    live: Tensor
    deaths: Tensor
    elbo: float


def linear_vae(eigenvalues, k: int, noise_variance: float, beta: float = 1.0) -> LinearOptimum:
    """The optimum of a linear β-VAE with k latent dimensions, from the data's covariance eigenvalues alone.

    eigenvalues: (d,), one a pixel, in any order. noise_variance: σ² of p(x|z); `train(kind="linear")` has ½.
    Live means λ > βσ² exactly. Seen from outside a dimension fades: `metrics.active_units` (0.01) counts it as dead
    from 1 % below its death on, where it carries 0.005 nats. At β = 0 the rate is infinite and the ELBO −∞.
    Raises ValueError or TypeError, in one line.
    Source: derived above; Lucas et al. 2019.
    """
    variances = _check_eigenvalues(eigenvalues)  # (d,), descending
    allowed = "a finite number above 0 (train has 0.5)"
    noise_variance = check_number("noise_variance", noise_variance, allowed, lambda variance: variance > 0)
    beta = Knobs(beta=beta).beta
    check_whole("k", k, 1, len(variances))
    kept, lost = variances[:k], variances[k:]
    deaths = kept / noise_variance
    live = deaths > beta
    rate_per_dim = torch.where(live, 0.5 * torch.log(deaths / beta), 0.0)
    rate = float(rate_per_dim.sum())
    distortion = float(torch.where(live, beta * noise_variance, kept).sum() + lost.sum())
    log_normalizer = 0.5 * len(variances) * math.log(2 * math.pi * noise_variance)
    elbo = -distortion / (2 * noise_variance) - log_normalizer - rate
    return LinearOptimum(rate, rate_per_dim, distortion, live, deaths, elbo)


def eigenvalues(images: Tensor) -> Tensor:
    """The eigenvalues of the images' covariance over pixels: the variances along their principal directions.

    images: (N, C, H, W), uint8 in 0..255 or floating point in [0, 1]; read as numbers in [0, 1].
    Returns (C·H·W,), float64, descending, never negative; divided by N, not N − 1.
    Takes min(N, C·H·W)³ operations: of large images, give a thousand. Raises as `check_images` does.
    """
    check_images(images)
    n, d = len(images), images[0].numel()
    mean = sum(x.sum(0) for x in _chunks(images)) / n  # (C·H·W,)
    if n < d:  # x xᵀ has the eigenvalues of xᵀ x, but for d − n zeros, and is smaller
        x = torch.cat([x - mean for x in _chunks(images)])  # (N, C·H·W)
        products = x @ x.T / n
    else:
        products = sum((x - mean).T @ (x - mean) for x in _chunks(images)) / n
    values = torch.linalg.eigvalsh(products).flip(0).clamp(min=0)  # a pixel that never varies comes out as ± 1e-16
    return nn.functional.pad(values, (0, d - len(values)))


def applies_to(model: nn.Module, kind: str) -> bool:
    """Is this what the theory is about: a `LinearVAE`, trained with the reconstruction "linear"?"""
    return isinstance(model, LinearVAE) and kind == "linear"


def _chunks(images: Tensor):
    """The images as numbers in [0, 1], some at a time: (≤ CHUNK, C·H·W), float64."""
    scale = 1 / 255 if images.dtype == torch.uint8 else 1.0
    for chunk in images.detach().split(CHUNK):
        chunk = chunk.cpu() if chunk.device.type == "mps" else chunk  # which has no float64
        yield chunk.to(torch.float64).flatten(1) * scale


def _check_eigenvalues(values) -> Tensor:
    wanted = "eigenvalues must be variances (d,), finite and not negative, such as vaekit.theory.eigenvalues(images)"
    try:
        found = np.array(values.cpu().double().numpy(force=True) if isinstance(values, Tensor) else values, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{wanted}; not {short_repr(values)}") from None
    # What an eigenvalue solver leaves of a zero, in single precision at worst, is one.
    if found.ndim != 1 or not found.size or not (-1e-5 * abs(found.max()) <= found.min() <= found.max() < math.inf):
        raise ValueError(f"{wanted}; not {short_repr(values)}")
    return torch.from_numpy(found).clamp(min=0).sort(descending=True).values
