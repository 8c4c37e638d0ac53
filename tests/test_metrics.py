"""The meters' figures, beside closed forms, NumPy and numerical integration."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from vaekit import kl_to_prior
from vaekit.metrics import active_units, bits, mean_std, overlap, spread


def test_spread_is_the_rms_of_the_standard_deviations():
    mu = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 0.0]) + 7
    assert spread(mu).item() == pytest.approx(np.sqrt(mu.numpy().var(0).mean()), rel=1e-5)
    assert spread(torch.tensor([[3.0, 0.0], [-3.0, 0.0]])).item() == pytest.approx(math.sqrt(4.5))
    assert spread(torch.ones(10, 2)).item() == 0


def test_mean_std_is_the_mean_of_sigma_not_of_its_square():
    std = torch.tensor([[0.1, 0.5], [1.0, 2.0]])
    assert mean_std(2 * std.log()).item() == pytest.approx(0.9)


def test_active_units_by_the_variance_of_the_means():
    mu = torch.tensor([[0.09, 0.11, 5.0], [-0.09, -0.11, -5.0]])  # variances 0.0081, 0.0121, 25
    mu = mu + torch.tensor([10.0, 0.0, 0.0])  # where they lie doesn't matter
    assert active_units(mu).tolist() == [False, True, True]
    assert active_units(mu, threshold=1.0).tolist() == [False, False, True]
    assert active_units(mu).dtype == torch.bool


def coefficient(p, q, reach=12.0, n=4001):
    """∫ √(p q) by the trapezoid rule, dimension by dimension. p, q: means and σ, both (D,)."""
    x = np.linspace(-reach, reach, n)

    def density(m, s):
        return np.exp(-0.5 * ((x - m) / s) ** 2) / (s * math.sqrt(2 * math.pi))

    return math.prod(np.trapezoid(np.sqrt(density(a, s) * density(b, t)), x) for a, s, b, t in zip(*p, *q, strict=True))


def coefficient_2d(p, q, reach=10.0, n=801):
    """∫∫ √(p q) on a grid of the plane, the densities from torch.distributions."""
    x = torch.linspace(-reach, reach, n, dtype=torch.float64)
    points = torch.cartesian_prod(x, x)
    log_p, log_q = (Normal(torch.tensor(m), torch.tensor(s)).log_prob(points).sum(1) for m, s in (p, q))
    return float(torch.exp(0.5 * (log_p + log_q)).sum() * (x[1] - x[0]) ** 2)


PAIRS = [
    (([0.0], [1.0]), ([2.0], [1.0])),
    (([0.5], [0.3]), ([0.0], [2.0])),
    (([0.0, 1.0], [1.0, 0.5]), ([1.0, -0.5], [0.7, 1.5])),
]


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_overlap_of_two_equals_numerical_integration(p, q):
    mu, std = (torch.tensor([p[i], q[i]], dtype=torch.float64) for i in (0, 1))
    found = overlap(mu, 2 * std.log()).item()
    assert found == pytest.approx(coefficient(p, q), abs=1e-9)
    if len(p[0]) == 2:
        assert found == pytest.approx(coefficient_2d(p, q), abs=1e-6)


def test_overlap_is_with_the_nearest_and_never_with_itself():
    codes = [([0.0], [1.0]), ([1.0], [1.0]), ([5.0], [0.5])]
    mu, std = (torch.tensor([code[i] for code in codes], dtype=torch.float64) for i in (0, 1))
    pairs = {(i, j): coefficient(codes[i], codes[j]) for i in range(3) for j in range(3) if i != j}
    nearest = [max(pairs[i, j] for j in range(3) if j != i) for i in range(3)]
    assert overlap(mu, 2 * std.log()).item() == pytest.approx(np.mean(nearest), abs=1e-9)


def test_overlap_of_pinpricks_is_0_and_of_a_collapsed_cloud_1():
    mu = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    assert overlap(mu, torch.full((100, 2), -20.0)) < 0.02
    assert overlap(torch.zeros(100, 2), torch.zeros(100, 2)).item() == pytest.approx(1)


def test_bits():
    assert bits(math.log(8)) == pytest.approx(3)
    kl = kl_to_prior(torch.zeros(1, 1), torch.tensor([[2 * math.log(2)]]))  # 0.80685 nats
    assert bits(kl).item() == pytest.approx(0.80685 / 0.693147, abs=1e-5)
