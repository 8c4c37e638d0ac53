"""The losses: values and gradients beside closed forms, torch.distributions and sampling."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Normal, kl_divergence

from vaekit import kl_to_prior, neg_elbo, reconstruction_nll, reparameterize
from vaekit.losses import KINDS, pixel_mean


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_values_and_gradients_equal_torch_distributions(kind, beta):
    """In float64; of grey pixels, pure black and white ones among them; σ reaches from about 0.1 to 5."""
    x_logits, x = 3 * torch.randn(50, 1, 5, 5, dtype=torch.float64), torch.rand(50, 1, 5, 5, dtype=torch.float64)
    x[:, :, 0], x[:, :, 1] = 0, 1
    mu, logvar = 2 * torch.randn(2, 50, 3, dtype=torch.float64)
    inputs = [values.requires_grad_() for values in (x_logits, mu, logvar)]
    likelihood = Bernoulli(logits=x_logits, validate_args=False)
    if kind != "bernoulli":
        likelihood = Normal(x_logits if kind == "linear" else torch.sigmoid(x_logits), 0.1**0.5)
    torch.testing.assert_close(pixel_mean(x_logits, kind), likelihood.mean)
    kl = kl_divergence(Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.zeros_like(mu), 1.0))
    torch.testing.assert_close(kl_to_prior(mu, logvar), kl)
    loss = neg_elbo(x_logits, x, mu, logvar, beta, kind, noise_variance=0.1)
    expected = beta * kl.sum(1) - likelihood.log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(loss, expected)  # (50,)
    weights = torch.linspace(1, 2, 50, dtype=torch.float64)  # so that no two images count alike
    ours, theirs = (torch.autograd.grad(losses @ weights, inputs) for losses in (loss, expected))
    torch.testing.assert_close(ours, theirs)


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
    """In float32, beside float64, black and white pixels, logits of 0 and of ± 200 among them; gradients to the bit."""
    generator = torch.Generator().manual_seed(0)
    x_logits, x = 8 * torch.randn(64, 784, generator=generator), torch.rand(64, 784, generator=generator)
    x[:, :200], x[:, 200:400] = 0, 1
    x_logits[:, ::50], x_logits[:, 1::50], x_logits[:, 2::50] = 0, 200, -200
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
    x_logits, x = torch.randn(2, 8, dtype=torch.float64), torch.rand(2, 8, dtype=torch.float64)
    inputs = (x_logits.requires_grad_(), x.requires_grad_())
    assert torch.autograd.gradcheck(reconstruction_nll, inputs)
    assert torch.autograd.gradgradcheck(reconstruction_nll, inputs)
    by_image = torch.func.vmap(torch.func.grad(lambda z, x: reconstruction_nll(z[None], x[None]).sum()))(*inputs)
    torch.testing.assert_close(by_image, torch.sigmoid(x_logits) - x)


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
