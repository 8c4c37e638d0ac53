"""The exact linear β-VAE: beside NumPy, a case by hand, probabilistic PCA and known figures (trained: lecture 05)."""

import math

import numpy as np
import pytest
import torch

import vaekit
from vaekit import theory
from vaekit.data import as_floats
from vaekit.model import LinearVAE

TOY = [6.0, 3.0, 2.5, 1.0, 0.25]  # variances of a toy world of five pixels


@pytest.mark.slow
def test_variances_and_optimum_of_the_digits(digits):
    found = theory.eigenvalues(digits.images)
    largest = [5.117, 3.741, 3.253, 2.842, 2.567, 2.274, 1.725, 1.521, 1.456, 1.243]
    assert [*found[:10].tolist(), float(found.sum())] == pytest.approx([*largest, 52.725], abs=5e-4)
    for beta, *figures in ((1, 33.69, 6.725, 8), (4, 44.93, 1.391, 6)):
        optimum = theory.linear_vae(found, 8, 0.5, beta)
        assert [optimum.distortion, optimum.rate, int(optimum.live.sum())] == pytest.approx(figures, abs=5e-3)


@pytest.mark.parametrize("n", [40, 513])
def test_eigenvalues_equal_numpy_whatever_the_number_of_images(n):
    images = torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    images[..., 0] = 0  # dark in all of them
    before = images.clone()
    x = images.numpy().reshape(n, 60) / 255
    expected = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 / n  # by another road than the covariance
    expected = np.pad(expected, (0, 60 - len(expected)))
    found = theory.eigenvalues(images)
    assert found.dtype == torch.float64 and (found >= 0).all() and (found.diff() <= 0).all()
    np.testing.assert_allclose(found, expected, atol=1e-13)
    np.testing.assert_allclose(theory.eigenvalues(torch.from_numpy(x).view(n, 3, 4, 5)), expected, atol=1e-13)
    np.testing.assert_allclose(theory.eigenvalues(as_floats(images)), expected, atol=1e-6)
    assert torch.equal(images, before)


def test_a_case_by_hand():
    """λ = 8, 2, 1 with θ = 2: one dimension lives, at ½ ln 4 nats; the error is 2 + 2 + 1."""
    optimum = theory.linear_vae([2, 8, 1], k=2, noise_variance=1.0, beta=2)
    assert optimum.deaths.tolist() == [8, 2]
    assert optimum.live.tolist() == [True, False]
    assert optimum.rate_per_dim.tolist() == pytest.approx([math.log(2), 0])
    assert (optimum.rate, optimum.distortion) == pytest.approx((math.log(2), 5))
    assert optimum.elbo == pytest.approx(-5 / 2 - 1.5 * math.log(2 * math.pi) - math.log(2))


@pytest.mark.parametrize("noise_variance", [0.5, 2.0, 100.0])
def test_elbo_at_beta_1_is_the_likelihood_at_any_noise_dead_dimensions_too(noise_variance):
    """log N(x; 0, WWᵀ + σ²I) in the mean over data of covariance S, with Tipping & Bishop's W."""
    s, k = np.diag(TOY), 4
    w = np.diag(np.sqrt(np.clip(np.array(TOY) - noise_variance, 0, None)))[:, :k]
    c = w @ w.T + noise_variance * np.eye(5)
    likelihood = -0.5 * (5 * math.log(2 * math.pi) + np.linalg.slogdet(c)[1] + np.trace(np.linalg.solve(c, s)))
    optimum = theory.linear_vae(TOY, k, noise_variance)
    assert int(optimum.live.sum()) == {0.5: 4, 2.0: 3, 100.0: 0}[noise_variance]
    assert optimum.elbo == pytest.approx(likelihood, rel=1e-12)


def test_without_a_prior_the_rate_is_infinite_and_the_error_is_pca_s():
    optimum = theory.linear_vae([*TOY, 0.0], 2, 0.5, beta=0)
    assert (optimum.rate, optimum.elbo) == (math.inf, -math.inf)
    assert optimum.distortion == pytest.approx(sum(TOY[2:]))
    assert optimum.live.tolist() == [True, True]
    nothing = theory.linear_vae([0.0, 0.0], 1, 0.5, beta=0)  # images that are all the same have nothing to say
    assert (nothing.rate, nothing.distortion, nothing.live.tolist()) == (0, 0, [False])


def test_the_order_and_the_container_do_not_matter():
    expected = theory.linear_vae(TOY, 3, 0.5)
    ascending = np.linalg.eigvalsh(np.diag(TOY).astype(np.float32))  # its zeros may come out as −1e-8
    for values in (TOY[::-1], tuple(TOY), ascending, ascending[::-1], torch.tensor(TOY), torch.tensor(TOY).bfloat16()):
        assert theory.linear_vae(values, 3, 0.5).elbo == pytest.approx(expected.elbo)
    given = torch.tensor([1.0, 2.0, -1e-5], dtype=torch.float64, requires_grad=True)
    assert theory.linear_vae(given, 3, 0.5, 0.1).distortion == pytest.approx(0.1, rel=1e-9)
    assert given.tolist() == [1.0, 2.0, -1e-5]


def test_applies_to():
    linear = LinearVAE(2, (1, 4, 4))
    assert theory.applies_to(linear, "linear")
    assert not theory.applies_to(linear, "gaussian")  # a sigmoid stands between
    assert not theory.applies_to(vaekit.VAE(), "linear")


@pytest.mark.parametrize(
    ("error", "words", "given"),
    [
        (ValueError, r"^eigenvalues .*finite and not negative.*; not \[1.0, -0.5\]", ([1.0, -0.5], 1, 0.5)),
        (ValueError, r"^eigenvalues .*; not \[\]", ([], 1, 0.5)),
        (ValueError, r"theory.eigenvalues\(images\); not tensor", (torch.zeros(5, 1, 4, 4), 1, 0.5)),
        (TypeError, "^eigenvalues must be variances.*; not 'many'", ("many", 1, 0.5)),
        (TypeError, r"; not \[\[1.0\], \[1.0, 2.0\]\]", ([[1.0], [1.0, 2.0]], 1, 0.5)),
        (ValueError, "^k must be a whole number from 1 to 5, not 6", (TOY, 6, 0.5)),
        (ValueError, "^noise_variance must be a finite number above 0", (TOY, 2, 0)),
        (TypeError, "^noise_variance must be a finite number above 0", (TOY, 2, "half")),
        (ValueError, "^beta must be a finite number from 0 up", (TOY, 2, 0.5, -1)),
    ],
)
def test_what_makes_no_sense_gets_one_line(refuses, error, words, given):
    with refuses(error, words):
        theory.linear_vae(*given)
