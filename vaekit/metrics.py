"""What the lab's meters show, functions of the posteriors' means and log-variances; and how tight the bound is."""

import math
from functools import partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vaekit._checks import check_number, check_type, check_whole
from vaekit.data import as_floats, check_images
from vaekit.losses import reconstruction_nll
from vaekit.model import reparameterize, watching

IMAGES = 512  # decoded at once
PLACES = 64  # measured against all codes at once: (64, N) numbers stay in a CPU's cache


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
    _check_codes(2, mu=mu, logvar=logvar)
    var = torch.exp(logvar)
    mean_var = 0.5 * (var[:, None] + var[None])  # (N, N, D)
    distance = (mu[:, None] - mu[None]).square() / (8 * mean_var)
    distance = distance + 0.5 * (torch.log(mean_var) - 0.5 * (logvar[:, None] + logvar[None]))
    coefficient = torch.exp(-distance.sum(2)).fill_diagonal_(0)  # (N, N); not with itself
    return coefficient.amax(1).mean()


def covered(z: Tensor, mu: Tensor, logvar: Tensor | None, radius: float = 2.0) -> Tensor:
    """Has the decoder been here: is the place within `radius` σ of at least one code?

    Within means √Σ_d ((z_d − μ_d) / σ_d)² ≤ radius, in 2-D the ellipse that the lab draws. It holds 86 % of its
    code's posterior in 2-D, 59 % in 4-D, 5 % in 10-D: compare at equal D only, or on a pair of dimensions.
    z: (..., D); mu, logvar: (N, D), N ≥ 1; logvar is log σ²; None or −inf (σ = 0) covers nothing, nor does NaN.
    Returns (...), bool. Raises ValueError when the shapes do not fit.
    """
    _check_codes(1, mu=mu, **{} if logvar is None else {"logvar": logvar})
    check_number("radius", radius, "a number from 0 up", lambda radius: radius >= 0)
    if z.shape[-1:] != mu.shape[1:]:
        raise ValueError(f"z must be (..., D), of as many dimensions as mu; {tuple(z.shape)} meets {tuple(mu.shape)}")
    if logvar is None:
        return torch.zeros(z.shape[:-1], dtype=torch.bool, device=z.device)
    near = [(_squared(some, mu, logvar) <= radius**2).any(1) for some in z.reshape(-1, z.shape[-1]).split(PLACES)]
    return torch.cat(near).view(z.shape[:-1])


def _check_codes(least: int, generator: torch.Generator | None = None, **codes: Tensor) -> None:
    """Refuse, in one line, codes, by name, that are not `least` or more of one shape, and what is no generator."""
    for name, value in codes.items():
        check_type(name, value, Tensor, "a tensor (N, D), such as model.encode gives")
    shapes = [tuple(value.shape) for value in codes.values()]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2 or shapes[0][0] < least:
        wanted = f"{' and '.join(codes)} must be (N, D){' both' * (len(codes) > 1)}, N from {least} up"
        raise ValueError(f"{wanted}; not {' and '.join(map(str, shapes))}")
    check_type("generator", generator, torch.Generator | None, "such as torch.Generator().manual_seed(0)")


def _squared(places: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Σ_d ((z_d − μ_d) / σ_d)² of places (n, D) and codes (N, D). Returns (n, N)."""
    # The difference itself: z²/σ² − 2zμ/σ² + μ²/σ² as matrix products is off by several units at σ = 0.003.
    codes = zip(places.T, mu.T.contiguous(), torch.exp(-0.5 * logvar).T.contiguous(), strict=True)
    return sum(((z[:, None] - m) * s).square() for z, m, s in codes)


def prior_draws(mu: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Draws from the prior N(0, I) of codes like these: the places that are decoded to generate.

    mu: (N, D). Returns z (draws, D), of mu's type and on its device, where the generator must be too.
    """
    check_whole("draws", draws)
    _check_codes(0, generator, mu=mu)
    return torch.randn(draws, mu.shape[1], generator=generator, device=mu.device, dtype=mu.dtype)


def walks(mu: Tensor, pairs: int, points: int, generator: torch.Generator) -> Tensor:
    """Places on straight walks, each between the means of two different codes drawn at random.

    The points of a walk are evenly spaced, t = (i + u) / points with one u ~ U(0, 1) a walk: on average they count
    the whole walk, whatever their number, and its two ends, covered by themselves, no more than any other place.
    mu: (N, D), N ≥ 2. Returns z (pairs, points, D), in the order of the walk.
    """
    check_whole("pairs", pairs)
    check_whole("points", points)
    _check_codes(2, generator, mu=mu)
    start = torch.randint(len(mu), (pairs,), generator=generator, device=mu.device)
    step = torch.randint(1, len(mu), (pairs,), generator=generator, device=mu.device)  # never 0: another code
    shift = torch.rand(pairs, 1, generator=generator, device=mu.device, dtype=mu.dtype)
    t = (torch.arange(points, device=mu.device) + shift)[:, :, None] / points  # (pairs, points, 1)
    return torch.lerp(mu[start][:, None], mu[(start + step) % len(mu)][:, None], t)


def completeness(mu: Tensor, logvar: Tensor | None, generator: torch.Generator, draws: int = 1000) -> Tensor:
    """The share of draws from the prior that are `covered` by at least one code, as defined here.

    mu, logvar: (N, D), by convention those of 1,000 test images: more codes cover more. Returns (), 0 to 1; its
    standard error is at most ½ / √draws. It does not look at the images. A plain autoencoder (logvar None) scores 0, a
    collapsed or untrained model high, each posterior being the prior itself (86 % in 2-D): never show this without
    the reconstruction and the active units.
    """
    return covered(prior_draws(mu, draws, generator), mu, logvar).float().mean()


def continuity(
    mu: Tensor, logvar: Tensor | None, generator: torch.Generator, pairs: int = 100, points: int = 10
) -> Tensor:
    """The share of places on straight walks between two codes that are `covered` by at least one, as defined here.

    mu, logvar: (N, D), N ≥ 2. Returns (), 0 to 1; its standard error is at most ½ / √pairs. What is said of
    `completeness` holds here too: a decoder may jump within an ellipse, or go smoothly where none is.
    """
    return covered(walks(mu, pairs, points, generator), mu, logvar).float().mean()


def mutual_information(mu: Tensor, logvar: Tensor, generator: torch.Generator) -> Tensor:
    """I(x; z) in nats: how much a draw z ~ q(z|x) says about which of these N images x is. By one draw for each.

    mu, logvar: (N, D); logvar is log σ². Returns (), at most ln N: where it comes near, N images are too few to tell.
    Their mean KL to the prior is I(x; z) + KL(q(z) ‖ p(z)), q(z) being the mixture of the N posteriors. Takes
    N² D operations; its standard error is that of a mean over N. Raises ValueError when the shapes do not fit.
    Source: Hoffman & Johnson 2016, section 2.
    """
    _check_codes(1, generator, mu=mu, logvar=logvar)
    z, shares = reparameterize(mu, logvar, generator), []
    heights = -0.5 * logvar.sum(1)  # (N,): log q(μ|x); all densities have the same 2π
    for numbers in torch.arange(len(mu), device=mu.device).split(PLACES):
        parts = heights - 0.5 * _squared(z[numbers], mu, logvar)  # (n, N): log q(z|x) of every x, not its own alone
        shares.append(parts.log_softmax(1)[:, numbers].diagonal())  # log of q(z|x) / N q(z)
    return torch.cat(shares).mean() + math.log(len(mu))


def recall(real: Tensor, generated: Tensor, k: int = 5) -> Tensor:
    """How much of `real` is within reach of `generated`: the share inside at least one generated sample's ball.

    A ball reaches to the sample's k-th nearest other sample. real: (N, ...), such as reconstructions at μ of test
    images; generated: (M, ...), M > k, such as decoded draws of the prior; equal shapes, distances in pixels.
    Returns (), 0 to 1. Grows with M and k, and few outliers make large balls: compare at equal M and k only.
    Not measured: whether the generated look real (precision), or x is reconstructed; a collapsed model scores high.
    Source: Kynkäänniemi et al. 2019, eq. 1 and 2 (there on features of a network, k = 3).
    """
    check_whole("k", k)
    if k >= len(generated):
        raise ValueError(f"k = {k} neighbours need {k + 1} generated samples or more, not {len(generated)}")
    if real.shape[1:] != generated.shape[1:]:
        raise ValueError(f"images must have one shape; these have {tuple(real.shape)} and {tuple(generated.shape)}")
    dtype = reduce(torch.promote_types, (real.dtype, generated.dtype, torch.float32))
    real, generated = (as_floats(some).to(dtype).flatten(1) for some in (real, generated))
    # By differences: as a matrix product equal images would lie a random little apart.
    distance = partial(torch.cdist, x2=generated, compute_mode="donot_use_mm_for_euclid_dist")
    # k + 1, as each sample is its own nearest
    radius = torch.cat([distance(some).kthvalue(k + 1).values for some in generated.split(PLACES)])  # (M,)
    return torch.cat([(distance(some) <= radius).any(1) for some in real.split(PLACES)]).float().mean()


def log_likelihood(
    model: nn.Module, x: Tensor, samples: int = 50, generator: torch.Generator | None = None, kind: str = "bernoulli"
) -> Tensor:
    """The importance-weighted bound of log p(x), in nats: log (1/k) Σ p(x|z) p(z) / q(z|x), k = `samples` draws z ~ q.

    x: (B, C, H, W), uint8 or floating point. Returns (B,): at k = 1 the ELBO by one draw; on average below log p(x),
    and closer with every k. No gradients. Without a generator: one seeded with 0.
    "bernoulli" is a likelihood on black and white pixels (0 and 1) only: BCE on grey ones bounds no log p(x).
    Raises ValueError for a plain autoencoder, which has no q; TypeError or ValueError when something does not fit.
    Source: Burda et al. 2016, eq. 8.
    """
    check_whole("samples", samples)
    check_type("model", model, nn.Module, "a torch.nn.Module such as vaekit.VAE()")
    check_images(x)
    generator = torch.Generator(x.device).manual_seed(0) if generator is None else generator
    check_type("generator", generator, torch.Generator, "such as torch.Generator().manual_seed(0)")
    dtype = next(model.parameters(), torch.empty(0)).dtype
    with watching(model):
        parts = x.split(IMAGES)
        return torch.cat([_bound(model, as_floats(part).to(dtype), samples, generator, kind) for part in parts])


def _bound(model, x: Tensor, samples: int, generator: torch.Generator, kind: str) -> Tensor:
    mu, logvar = model.encode(x)
    if logvar is None:
        raise ValueError("a plain autoencoder has no q(z|x), so no bound of log p(x): give a VAE")
    log_weights = []
    for _ in range(samples):
        eps = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
        z = mu + torch.exp(0.5 * logvar) * eps
        # log p(z) − log q(z|x): both have the same 2π, and (z − μ)/σ is ε, exact for the narrowest q
        log_ratio = 0.5 * (eps.square() + logvar - z.square()).sum(1)
        log_weights.append(log_ratio - reconstruction_nll(model.decode(z), x, kind))
    return torch.logsumexp(torch.stack(log_weights), 0) - math.log(samples)  # (samples, B) → (B,)


class Gap(NamedTuple):
    """How well single latents read off single factors; D latents, F factors.

    gap: (F,), 0 to 1. information: (D, F), nats. latent: (F,), int64, the latent that knows most about each factor.
    """

    gap: Tensor
    information: Tensor
    latent: Tensor


def mutual_information_gap(codes: Tensor, factors: Tensor, bins: int = 20) -> Gap:
    """MIG: what the best latent knows of each factor beyond the second best, as a share of the factor's entropy.

    codes: (N, D), posterior means; factors: (N, F), the truth. A column of more than `bins` values is cut at its
    quantiles, so no rescaling that keeps the order matters. Of nothing it reads some (bins - 1)² / 2N nats too much.
    1: one latent holds the factor alone. Near 0: none knows it, or two share it. Not seen: a latent of many factors.
    Raises TypeError or ValueError when the two do not fit together, or a factor is constant.
    Source: Chen et al. 2018, section 4; they take samples from q(z|x), the means here are read without its noise.
    """
    for name, values in {"codes": codes, "factors": factors}.items():
        check_type(name, values, Tensor, "a tensor (N, columns)")
        if values.ndim != 2 or 0 in values.shape or len(values) != len(codes):
            raise ValueError(f"{name} must be (N, columns), one row per image; these are {tuple(values.shape)}")
        if not values.isfinite().all():
            raise ValueError(f"{name} must be finite; these hold NaN or infinity: has the training diverged?")
    check_whole("bins", bins, 2, len(codes))
    in_bin = [nn.functional.one_hot(_binned(values, bins), bins).float() for values in (codes, factors)]
    joint = torch.einsum("ndi,nfj->dfij", *in_bin) / len(codes)  # the share of the images in each two bins
    code, factor = (each.sum(0) / len(codes) for each in in_bin)  # (D, bins) and (F, bins)
    independent = code[:, None, :, None] * factor[:, None]  # (D, F, bins, bins)
    information = (torch.xlogy(joint, joint) - torch.xlogy(joint, independent)).sum((2, 3)).clamp(min=0)  # (D, F)
    entropy = -torch.xlogy(factor, factor).sum(1)  # (F,)
    if not (entropy > 0).all():
        raise ValueError(f"factor {int(entropy.argmin())} has one value in all {len(factors)} rows: leave it out")
    no_rival = torch.zeros_like(information[:1])  # for a lone latent
    best, second = torch.cat([information, no_rival]).topk(2, 0).values  # (F,) each
    return Gap((best - second) / entropy, information, information.argmax(0))


def _binned(values: Tensor, bins: int) -> Tensor:
    """(N, K) → the bin of each value in its own column, (N, K), int64 in 0..bins - 1; equal values share one."""
    columns = []
    for column in values.T.contiguous():
        _, place, count = column.unique(return_inverse=True, return_counts=True)
        if len(count) > bins:  # by the middle of the ranks that equal values share
            place = ((2 * count.cumsum(0) - count) * bins // (2 * len(column)))[place]
        columns.append(place)
    return torch.stack(columns, 1)
