"""The mutual information gap, beside scikit-learn and closed cases."""

import math

import numpy as np
import pytest
import torch

from vaekit.metrics import mutual_information_gap

N = 4000


def draws(columns: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(N, columns, generator=torch.Generator().manual_seed(seed))


def by_rank(column: torch.Tensor, bins: int) -> np.ndarray:
    """Bins of equal number by each value's rank: another way to cut at the quantiles, when no two are equal."""
    return column.numpy().argsort().argsort() * bins // len(column)


def information(code: torch.Tensor, factor: np.ndarray, bins: int) -> float:
    from sklearn.metrics import mutual_info_score  # slow to import

    return mutual_info_score(by_rank(code, bins), factor)


@pytest.mark.slow
@pytest.mark.parametrize("bins", [5, 20])
def test_information_is_that_of_scikit_learn_on_the_same_bins(bins):
    factors = draws(3)
    codes = torch.stack([factors[:, 0] + 0.3 * factors[:, 1], factors[:, 1] ** 2, draws(1, 1)[:, 0], -factors[:, 2]], 1)
    found = mutual_information_gap(codes, factors, bins)
    expected = [[information(codes[:, d], by_rank(factors[:, f], bins), bins) for f in range(3)] for d in range(4)]
    assert found.information.numpy() == pytest.approx(np.array(expected), abs=2e-5)
    ranked = np.sort(expected, 0)
    assert found.gap.numpy() == pytest.approx((ranked[-1] - ranked[-2]) / math.log(bins), abs=2e-5)
    assert found.latent.tolist() == np.argmax(expected, 0).tolist() == [0, 1, 3]


@pytest.mark.slow
def test_discrete_factors_are_taken_as_they_are():
    generator = torch.Generator().manual_seed(0)
    kinds = torch.multinomial(torch.tensor([0.7, 0.28, 0.02]), N, replacement=True, generator=generator)
    codes = torch.stack([kinds * 10 + draws(1)[:, 0], draws(1, 1)[:, 0]], 1)
    found = mutual_information_gap(codes, kinds[:, None])
    expected = [information(codes[:, d], kinds.numpy(), 20) for d in range(2)]
    assert found.information[:, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_collapsed_latent_knows_nothing_and_a_lone_one_has_no_rival():
    factors = draws(2)
    codes = torch.cat([torch.full((N, 1), 0.3), factors, torch.zeros(N, 1)], 1)
    found = mutual_information_gap(codes, factors)
    assert found.information[[0, 3]].tolist() == [[0, 0], [0, 0]] and found.latent.tolist() == [1, 2]
    found = mutual_information_gap(factors[:, :1], factors)
    assert (found.gap.shape, found.information.shape, found.latent.tolist()) == ((2,), (1, 2), [0, 0])
    assert found.gap[0].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("most", [0.0, 0.5, 1.0])
def test_a_factor_of_mostly_one_value_is_that_and_the_rest(most):
    values = draws(1)
    values[draws(1, 1) < 0.97] = most
    found = mutual_information_gap(torch.cat([values, draws(1, 2)], 1), values)
    assert 0.9 < found.gap.item() <= 1 + 1e-5


GOOD = draws(2)


@pytest.mark.parametrize(
    ("codes", "factors", "words"),
    [
        ([[1.0]], GOOD, "codes must be a tensor .*, not"),
        (GOOD, GOOD[:, 0], r"factors must be \(N, columns\).*\(4000,\)"),
        (GOOD[:, :0], GOOD, r"codes must be .*\(4000, 0\)"),
        (GOOD, GOOD[:10], r"factors must be .* one row per image; these are \(10, 2\)"),
        (GOOD * torch.nan, GOOD, "codes must be finite.*NaN"),
        (GOOD, torch.cat([GOOD[:, :1], torch.ones(N, 1)], 1), "factor 1 has one value in all 4000 rows"),
    ],
)
def test_what_is_refused(refuses, codes, factors, words):
    with refuses((TypeError, ValueError), words):
        mutual_information_gap(codes, factors)
    for bins in (1, 4001, 20.0, True):
        with refuses(ValueError, f"bins must be a whole number from 2 to 4000, not {bins}"):
            mutual_information_gap(GOOD, GOOD, bins)
