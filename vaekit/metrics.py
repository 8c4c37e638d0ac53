"""What the lab's meters show: pure functions of the posteriors' means and log-variances."""

import math

import torch
from torch import Tensor


def spread(mu: Tensor) -> Tensor:
    """How far the codes lie apart: the standard deviation of the means, root mean square over dimensions.

    mu: (N, D). Returns (), in units of z; 1 for codes spread like the prior.
    """
    return mu.var(0, correction=0).mean().sqrt()


def mean_std(logvar: Tensor) -> Tensor:
    """The mean σ of the posteriors. logvar: (N, D), log σ². Returns (), in units of z; 1 is the prior's."""
    return torch.exp(0.5 * logvar).mean()


def active_units(mu: Tensor, threshold: float = 0.01) -> Tensor:
    """Which latent dimensions say something about the image: the variance of their means exceeds `threshold`.

    mu: (N, D). Returns (D,), bool.
    Source: Burda et al. 2016, section 5.2.
    """
    return mu.var(0, correction=0) > threshold


def overlap(mu: Tensor, logvar: Tensor) -> Tensor:
    """How much each posterior overlaps the one nearest to it: the mean Bhattacharyya coefficient, 0 to 1.

    mu, logvar: (N, D) with N ≥ 2; logvar is log σ². Returns (). Takes N² D operations: some hundred codes will do.
    A collapsed or untrained model overlaps fully and says nothing: read it beside the reconstruction.
    Source: Bhattacharyya 1943, for two Gaussians with diagonal covariance.
    """
    var = torch.exp(logvar)
    mean_var = 0.5 * (var[:, None] + var[None])  # (N, N, D)
    distance = (mu[:, None] - mu[None]).square() / (8 * mean_var)
    distance = distance + 0.5 * (torch.log(mean_var) - 0.5 * (logvar[:, None] + logvar[None]))
    coefficient = torch.exp(-distance.sum(2)).fill_diagonal_(0)  # (N, N); not with itself
    return coefficient.amax(1).mean()


def bits(nats: Tensor | float) -> Tensor | float:
    """The same information in bits: 1 nat is 1 / ln 2 ≈ 1.443 bits."""
    return nats / math.log(2)
