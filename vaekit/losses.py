"""The two terms of the loss, per example and in nats. Pure functions: nothing is averaged or logged here."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = ("bernoulli", "gaussian", "linear")
NOISE_VARIANCE = 0.5  # σ² of p(x|z) in the Gaussian kinds: ½ makes it the squared error, plus a constant


def kl_to_prior(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z|x) ‖ N(0, I)) of each latent dimension, in nats.

    mu, logvar: (B, D); logvar is log σ².
    Returns (B, D), never negative.
    Raises ValueError when the shapes differ.
    Source: Kingma & Welling 2014, appendix B.
    """
    if mu.shape != logvar.shape:
        raise ValueError(f"mu and logvar must have one shape; they have {tuple(mu.shape)} and {tuple(logvar.shape)}")
    # expm1 keeps the small differences of a collapsed posterior: exp(logvar) − 1 would round them away.
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)


def pixel_mean(x_logits: Tensor, kind: str = "bernoulli") -> Tensor:
    """The mean of each pixel under p(x|z): what to show of a decoder's output, and its x_hat.

    x_logits: (B, ...). Returns the same shape: sigmoid(x_logits), in [0, 1];
    for "linear" x_logits itself, which may leave [0, 1]: clamp it to show it.
    Raises ValueError when the kind is none of KINDS.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; not {kind!r}")
    return x_logits if kind == "linear" else torch.sigmoid(x_logits)


def reconstruction_nll(
    x_logits: Tensor, x: Tensor, kind: str = "bernoulli", noise_variance: float = NOISE_VARIANCE
) -> Tensor:
    """−log p(x|z) of each image: the sum over its pixels, in nats.

    x_logits: (B, ...), before the sigmoid; x: the same shape, in [0, 1]. Returns (B,).
    "bernoulli" is the binary cross-entropy; on grey pixels its floor is their entropy, not 0.
    "gaussian" has mean sigmoid(x_logits); at noise_variance ½ it is the squared error plus ½ ln π a pixel.
    "linear" is the same Gaussian with mean x_logits, no sigmoid between.
    Raises ValueError when the shapes differ or the kind is another.
    """
    if x_logits.shape != x.shape:
        raise ValueError(f"x_logits and x must have one shape; they have {tuple(x_logits.shape)} and {tuple(x.shape)}")
    if kind == "bernoulli":
        nll = F.binary_cross_entropy_with_logits(x_logits, x, reduction="none")
    else:
        squared_error = (x - pixel_mean(x_logits, kind)).square()
        nll = squared_error / (2 * noise_variance) + 0.5 * math.log(2 * math.pi * noise_variance)
    return nll.flatten(1).sum(1)  # (B, C, H, W) → (B,)


def neg_elbo(
    x_logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0, kind: str = "bernoulli"
) -> Tensor:
    """Reconstruction plus β times the KL, of each image, in nats; at β = 1 it is −ELBO.

    x_logits, x: (B, ...); mu, logvar: (B, D); logvar is log σ². Returns (B,).
    Source: Kingma & Welling 2014, eq. 3; β from Higgins et al. 2017.
    """
    return reconstruction_nll(x_logits, x, kind) + beta * kl_to_prior(mu, logvar).sum(1)
