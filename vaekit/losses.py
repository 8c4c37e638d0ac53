"""The two terms of the loss, per example and in nats. Pure functions: nothing is averaged or logged here."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vaekit._checks import check_choice

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


class _BinaryCrossEntropy(torch.autograd.Function):
    """−x log p − (1 − x) log(1 − p) of each pixel, p = sigmoid(x_logits), in a third of PyTorch's own time on a CPU.

    It is relu(l) − x·l + log(1 + exp(−|l|)), whose last term is −log sigmoid(|l|); its derivative by l is p − x.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x_logits: Tensor, x: Tensor) -> Tensor:
        log_likelier = x_logits.abs().sigmoid_().log_()  # log p or log (1 − p), the larger of the two
        return torch.addcmul(x_logits.relu(), x, x_logits, value=-1).sub_(log_likelier)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        x_logits, x = ctx.saved_tensors
        return (x_logits.sigmoid() - x).mul_(grad), -grad * x_logits if ctx.needs_input_grad[1] else None


def _gaussian(mean: Tensor, x: Tensor, variance: float) -> Tensor:
    return (x - mean).square() / (2 * variance) + 0.5 * math.log(2 * math.pi * variance)


class Likelihood(NamedTuple):
    """A kind of p(x|z), a row of the table: its name in the lab, the mean of each pixel, and −log p of each in nats."""

    label: str
    mean: Callable[[Tensor], Tensor]  # x_logits → mean
    nll: Callable[[Tensor, Tensor, float], Tensor]  # x_logits, x, noise_variance → nats


LIKELIHOODS = {
    "bernoulli": Likelihood("BCE", torch.sigmoid, lambda x_logits, x, _: _BinaryCrossEntropy.apply(x_logits, x)),
    "gaussian": Likelihood(
        "squared error", torch.sigmoid, lambda x_logits, *given: _gaussian(x_logits.sigmoid(), *given)
    ),
    "linear": Likelihood("squared error, linear", lambda x_logits: x_logits, _gaussian),
}
KINDS = tuple(LIKELIHOODS)


def pixel_mean(x_logits: Tensor, kind: str = "bernoulli") -> Tensor:
    """The mean of each pixel under p(x|z): what to show of a decoder's output, and its x_hat.

    x_logits: (B, ...). Returns the same shape: sigmoid(x_logits), in [0, 1];
    for "linear" x_logits itself, which may leave [0, 1]: clamp it to show it.
    Raises ValueError when the kind is none of KINDS.
    """
    return LIKELIHOODS[check_choice("kind", kind, KINDS)].mean(x_logits)


def reconstruction_nll(
    x_logits: Tensor, x: Tensor, kind: str = "bernoulli", noise_variance: float = NOISE_VARIANCE
) -> Tensor:
    """−log p(x|z) of each image: the sum over its pixels, in nats.

    x_logits: (B, ...), before the sigmoid; x: the same shape, in [0, 1]. Returns (B,).
    "bernoulli" is the binary cross-entropy; on grey pixels its floor is their entropy, not 0.
    "gaussian" has mean sigmoid(x_logits); at noise_variance ½ it is the squared error plus ½ ln π a pixel.
    "linear" is the same Gaussian with mean x_logits, no sigmoid between.
    Raises ValueError when the shapes differ or the kind is another, TypeError when x is not floating point.
    """
    if x_logits.shape != x.shape:
        raise ValueError(f"x_logits and x must have one shape; they have {tuple(x_logits.shape)} and {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"x must be floating point in [0, 1], not {x.dtype}: use vaekit.data.as_floats(x)")
    x_logits = x_logits.to(torch.promote_types(x_logits.dtype, x.dtype))
    nll = LIKELIHOODS[check_choice("kind", kind, KINDS)].nll(x_logits, x, noise_variance)
    return nll.flatten(1).sum(1)  # (B, C, H, W) → (B,)


def neg_elbo(
    x_logits: Tensor,
    x: Tensor,
    mu: Tensor,
    logvar: Tensor,
    beta: float = 1.0,
    kind: str = "bernoulli",
    noise_variance: float = NOISE_VARIANCE,
) -> Tensor:
    """Reconstruction plus β times the KL, of each image, in nats; at β = 1 it is −ELBO.

    x_logits, x: (B, ...); mu, logvar: (B, D); logvar is log σ². Returns (B,).
    Source: Kingma & Welling 2014, eq. 3; β from Higgins et al. 2017.
    """
    return reconstruction_nll(x_logits, x, kind, noise_variance) + beta * kl_to_prior(mu, logvar).sum(1)
