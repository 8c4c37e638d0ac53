"""The losses: values and gradients beside closed forms, torch.distributions and sampling."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Normal, kl_divergence

from vaekit import kl_to_prior, neg_elbo, reconstruction_nll, reparameterize
from vaekit.losses import KINDS, pixel_mean


def posteriors(n=50, d=3, seed=0):
    """Means and log-variances of many posteriors, float64; σ reaches from about 0.1 to 5."""
    generator = torch.Generator().manual_seed(seed)
    mu, logvar = 2 * torch.randn(2, n, d, dtype=torch.float64, generator=generator)
    return mu.requires_grad_(), logvar.requires_grad_()


def pictures(n=6, seed=0):
    """Logits and grey images (n, 1, 5, 5), float64; pure black and white pixels are among them."""
    generator = torch.Generator().manual_seed(seed)
    x_logits = 3 * torch.randn(n, 1, 5, 5, dtype=torch.float64, generator=generator)
    x = torch.rand(n, 1, 5, 5, dtype=torch.float64, generator=generator)
    x[:, :, 0], x[:, :, 1] = 0, 1
    return x_logits.requires_grad_(), x


def test_kl_and_gradients_equal_torch_distributions():
    mu, logvar = posteriors()
    kl = kl_to_prior(mu, logvar)
    reference = kl_divergence(Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.zeros_like(mu), 1.0))
    assert kl.shape == mu.shape
    torch.testing.assert_close(kl, reference)
    weights = torch.linspace(1, 2, kl.numel(), dtype=kl.dtype).view_as(kl)  # so that no two elements count alike
    ours = torch.autograd.grad((weights * kl).sum(), (mu, logvar))
    torch.testing.assert_close(ours, torch.autograd.grad((weights * reference).sum(), (mu, logvar)))


def test_kl_of_a_nearly_collapsed_posterior_keeps_its_digits():
    logvar = torch.tensor([[1e-3, -1e-3, 1e-4]])  # float32, where exp(logvar) − 1 would lose most of them
    exact = 0.5 * (np.expm1(logvar.double().numpy()) - logvar.double().numpy())
    np.testing.assert_allclose(kl_to_prior(torch.zeros(1, 3), logvar).numpy(), exact, rtol=2e-3)
    assert (kl_to_prior(torch.zeros(1, 2001), torch.linspace(-1e-3, 1e-3, 2001)[None]) >= 0).all()


@pytest.mark.parametrize("std", [0.3, 1.0, 2.5])
def test_reparameterize_draws_from_the_posterior_whose_kl_is_computed(std):
    """logvar is log σ² in both: the mean of log q − log p over draws is the KL, within the standard error."""
    n = 40_000
    mu = torch.tensor([0.7, -1.5], dtype=torch.float64)
    logvar = torch.full_like(mu, 2 * math.log(std))
    z = reparameterize(mu.expand(n, 2), logvar.expand(n, 2), torch.Generator().manual_seed(1))  # (n, 2)

    assert (abs(z.mean(0) - mu) < 4 * std / n**0.5).all()
    assert (abs(z.std(0) - std) < 4 * std / (2 * n) ** 0.5).all()
    log_ratio = Normal(mu, std).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    standard_error = log_ratio.std(0) / n**0.5
    assert (abs(log_ratio.mean(0) - kl_to_prior(mu[None], logvar[None])[0]) < 4 * standard_error).all()


def test_bernoulli_is_as_near_to_the_truth_as_pytorch_s_own():
    """In float32, beside float64, black and white pixels and logits of exactly 0 among them; gradients to the bit."""
    generator = torch.Generator().manual_seed(0)
    x_logits, x = 8 * torch.randn(64, 784, generator=generator), torch.rand(64, 784, generator=generator)
    x[:, :200], x[:, 200:400], x_logits[:, ::50] = 0, 1, 0
    ours, theirs, exact = (values.clone().requires_grad_() for values in (x_logits, x_logits, x_logits.double()))
    losses = [
        reconstruction_nll(ours, x),
        *(F.binary_cross_entropy_with_logits(z, x.to(z.dtype), reduction="none").sum(1) for z in (theirs, exact)),
    ]
    torch.autograd.backward([loss.sum() for loss in losses])
    error, their_error = ((loss.double() - losses[2]).abs().max() for loss in losses[:2])
    assert error < 2 * their_error
    assert torch.equal(ours.grad, theirs.grad)


def test_bernoulli_can_be_derived_twice_and_by_its_images():
    x_logits, x = (values.flatten(1)[:2, :8].detach().clamp(0.1, 0.9) for values in pictures())
    inputs = (x_logits.requires_grad_(), x.requires_grad_())
    assert torch.autograd.gradcheck(reconstruction_nll, inputs)
    assert torch.autograd.gradgradcheck(reconstruction_nll, inputs)
    by_image = torch.func.vmap(torch.func.grad(lambda z, x: reconstruction_nll(z[None], x[None]).sum()))(*inputs)
    torch.testing.assert_close(by_image, torch.sigmoid(x_logits) - x)


def test_bernoulli_stays_finite_at_extreme_logits():
    x_logits = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)
    nll = reconstruction_nll(x_logits, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert nll.tolist() == [0, 400]
    (gradient,) = torch.autograd.grad(nll.sum(), x_logits)
    assert gradient.tolist() == [[0, 0], [1, -1]]


def test_bernoulli_floor_on_grey_pixels_is_their_entropy():
    x = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)[None]  # (1, 19)
    best = torch.logit(x).requires_grad_()
    nll = reconstruction_nll(best, x)
    torch.testing.assert_close(nll, Bernoulli(x).entropy().sum(1))
    (gradient,) = torch.autograd.grad(nll.sum(), best)
    assert gradient.abs().max() < 1e-12


def test_pixel_mean_is_the_mean_of_the_likelihood():
    x_logits, _ = pictures()
    torch.testing.assert_close(pixel_mean(x_logits), Bernoulli(logits=x_logits).mean)
    assert torch.equal(pixel_mean(x_logits, "gaussian"), torch.sigmoid(x_logits))
    assert torch.equal(pixel_mean(x_logits, "linear"), x_logits)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_neg_elbo_sums_over_pixels_and_dimensions(kind, beta):
    x_logits, x = pictures(n=6)
    mu, logvar = posteriors(n=6)
    loss = neg_elbo(x_logits, x, mu, logvar, beta, kind, noise_variance=0.1)
    likelihood = Bernoulli(logits=x_logits, validate_args=False)
    if kind != "bernoulli":
        likelihood = Normal(x_logits if kind == "linear" else torch.sigmoid(x_logits), 0.1**0.5)
    kl = kl_divergence(Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.zeros_like(mu), 1.0))
    assert loss.shape == (6,)
    torch.testing.assert_close(loss, beta * kl.sum(1) - likelihood.log_prob(x).sum((1, 2, 3)))


def test_errors_are_one_line(refuses):
    with refuses(ValueError, r"\(3, 2\) and \(3, 4\)"):
        kl_to_prior(torch.zeros(3, 2), torch.zeros(3, 4))
    with refuses(ValueError, r"\(3, 2\) and \(2,\)"):
        reparameterize(torch.zeros(3, 2), torch.zeros(2))
    with refuses(ValueError, r"\(3, 784\) and \(3, 1, 28, 28\)"):
        reconstruction_nll(torch.zeros(3, 784), torch.zeros(3, 1, 28, 28))
    with refuses(ValueError, "bernoulli, gaussian, linear; not 'mse'"):
        reconstruction_nll(torch.zeros(3, 4), torch.zeros(3, 4), "mse")
    with refuses(ValueError, "bernoulli, gaussian, linear; not 'mse'"):
        pixel_mean(torch.zeros(3, 4), "mse")
    with refuses(TypeError, r"x must be floating point in \[0, 1\], not torch.uint8: use vaekit.data.as_floats"):
        reconstruction_nll(torch.zeros(3, 4), torch.zeros(3, 4, dtype=torch.uint8))
