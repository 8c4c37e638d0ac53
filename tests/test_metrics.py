"""The meters' figures, beside closed forms, NumPy, numerical integration and models whose likelihood is known."""

import copy
import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, Normal

import vaekit
from vaekit import metrics


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mean_std_is_the_mean_of_sigma_not_of_its_square():
    assert metrics.mean_std(2 * torch.tensor([[0.1, 0.5], [1.0, 2.0]]).log()).item() == pytest.approx(0.9)


def test_spread_and_active_units_are_of_the_variances_of_the_means():
    mu = torch.tensor([[0.09, 0.11, 5.0], [-0.09, -0.11, -5.0]])  # variances 0.0081, 0.0121, 25
    mu = mu + torch.tensor([10.0, 0.0, 0.0])  # where they lie doesn't matter
    assert metrics.spread(mu).item() == pytest.approx(np.sqrt(mu.numpy().var(0).mean()), rel=1e-5)
    torch.testing.assert_close(metrics.active_units(mu), torch.tensor([False, True, True]))
    torch.testing.assert_close(metrics.active_units(mu, threshold=1.0), torch.tensor([False, False, True]))


def test_overlap_is_with_the_nearest_and_never_with_itself():
    """∫ √(p q) of each two codes by the trapezoid rule, dimension by dimension."""
    mu = torch.tensor([[0.0, 1.0], [1.0, -0.5], [5.0, 0.0]], dtype=torch.float64)
    std = torch.tensor([[1.0, 0.5], [0.7, 1.5], [0.5, 0.3]], dtype=torch.float64)
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    root = Normal(mu, std).log_prob(x[:, None, None]).exp().sqrt()  # (X, N, D)
    coefficients = torch.trapezoid(root[:, :, None] * root[:, None], x, dim=0).prod(2)  # (N, N)
    nearest = coefficients.fill_diagonal_(0).amax(1)
    assert metrics.overlap(mu, 2 * std.log()).item() == pytest.approx(nearest.mean().item(), abs=1e-9)


def some_codes(n: int, dim: int, seed: int = 0):
    generator = seeded(seed)
    return torch.randn(n, dim, generator=generator), torch.randn(n, dim, generator=generator) - 1


@pytest.mark.parametrize(
    ("n", "dim", "std"), [(1, 1, None), (1, 3, None), (40, 1, None), (40, 3, None), (100, 2, 1e-3)]
)
def test_covered_equals_the_distances_in_numpy(n, dim, std):
    """Of the narrowest posteriors as well, at places near them."""
    mu, logvar = some_codes(n, dim)
    z = torch.randn(400, dim, generator=seeded(1))
    if std:
        z, logvar = mu.repeat(4, 1) + 1.5 * std * z, torch.full_like(mu, 2 * math.log(std))
    away = (z[:, None].double() - mu.double()) * torch.exp(-0.5 * logvar.double())  # (400, n, dim)
    distance = np.linalg.norm(away, axis=2).min(1)
    assert abs(distance[:, None] - [2, 1.1]).min() > 1e-5  # none where rounding decides
    hit = metrics.covered(z, mu, logvar)
    assert hit.tolist() == (distance <= 2).tolist()
    assert metrics.covered(z, mu, logvar, radius=1.1).tolist() == (distance <= 1.1).tolist()
    assert metrics.covered(z.view(20, 20, dim), mu, logvar).equal(hit.view(20, 20))


def test_what_has_no_width_or_is_not_a_number_covers_nothing_and_hides_nothing():
    mu, logvar = some_codes(30, 2)
    assert not metrics.covered(mu, mu, None).any()
    assert metrics.completeness(mu, None, seeded()).item() == metrics.continuity(mu, None, seeded()).item() == 0
    z = torch.cat([torch.randn(200, 2, generator=seeded(1)), mu])
    for field, bad in ((mu, math.nan), (mu, math.inf), (logvar, math.nan), (logvar, -math.inf), (logvar, -200.0)):
        broken = field.clone()
        broken[0, 1] = bad  # in one dimension is enough
        found = metrics.covered(z, broken if field is mu else mu, broken if field is logvar else logvar)
        assert found.equal(metrics.covered(z, mu[1:], logvar[1:]))
    z[3, 0] = math.nan
    assert not metrics.covered(z, mu, torch.zeros_like(mu))[3]


@pytest.mark.parametrize(("dim", "share"), [(1, math.erf(2**0.5)), (2, 1 - math.exp(-2)), (4, 1 - 3 * math.exp(-2))])
def test_completeness_of_one_code_like_the_prior_is_chi_squared_at_4(dim, share):
    draws = 40_000
    found = metrics.completeness(torch.zeros(1, dim), torch.zeros(1, dim), seeded(), draws)
    assert found.item() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / draws))


def test_continuity_between_two_codes_is_the_share_that_their_ellipses_take():
    mu, logvar = torch.tensor([[0.0, 0.0], [6.0, 8.0]]), torch.full((2, 2), 2 * math.log(0.5))
    pairs = 20_000  # 2σ = 1 at either end of a walk of 10
    found = metrics.continuity(mu, logvar, seeded(), pairs, points=1)
    assert found.item() == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / pairs))


def test_walks_lead_from_every_code_to_every_other_in_even_steps():
    mu = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    n, points = 12_000, 4
    z = metrics.walks(mu, n, points, seeded())
    steps, counts = z.diff(dim=1), []
    assert z.shape == (n, points, 2) and torch.allclose(steps, steps[:, :1].expand_as(steps), atol=1e-12)
    for a, b in permutations(range(3), 2):
        this = (points * steps[:, 0] - (mu[b] - mu[a])).norm(dim=1) < 1e-9
        t = (z[this, 0] - mu[a]).norm(dim=1) / (mu[b] - mu[a]).norm()
        assert 0 <= t.min() < 0.01 and 0.24 < t.max() <= 1 / points
        counts.append(int(this.sum()))
    assert sum(counts) == n  # never from a code to itself
    assert max(abs(c - n / 6) for c in counts) < 4 * math.sqrt(n * (1 / 6) * (5 / 6))


def test_the_meters_draw_from_their_generator_alone_and_stay_on_the_codes_device():
    mu, logvar = some_codes(20, 2)

    def found(seed):
        drawn = (metrics.completeness, metrics.continuity, metrics.mutual_information)
        meters = [measure(mu, logvar, seeded(seed)) for measure in drawn]
        bound = metrics.log_likelihood(SMALL, BLACK, 5, seeded(seed))
        return [*meters, *bound, *metrics.mutual_information_gap(mu, logvar).gap]

    before, plain = torch.get_rng_state(), found(1)
    with torch.device("meta"):  # what is made without naming a device lands there, and meets the codes in an error
        assert found(1) == plain
    assert torch.get_rng_state().equal(before)
    assert found(2)[0] != plain[0]


def draws(columns: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(4000, columns, generator=seeded(seed))


MU, LOGVAR = some_codes(20, 2)
DICE, SMALL, BLACK = seeded(), vaekit.VAE(2, 16, (1, 8, 8)), torch.zeros(2, 1, 8, 8)
GAP, TWO = metrics.mutual_information_gap, draws(2)
REFUSED = [
    (metrics.covered, (torch.zeros(7, 3), MU, LOGVAR), r"z must be .*\(7, 3\) meets \(20, 2\)"),
    (metrics.covered, (torch.tensor(0.0), MU, LOGVAR), r"dimensions as mu; \(\)"),
    (metrics.overlap, (MU, LOGVAR[:1]), r"N from 2 up; .*\(20, 2\) and \(1, 2\)"),
    (metrics.overlap, (MU[:1], LOGVAR[:1]), r"N from 2 up; .*\(1, 2\)"),
    (metrics.completeness, (MU.numpy(), LOGVAR.numpy(), DICE), "mu must be a tensor"),
    (metrics.completeness, (MU[:0], LOGVAR[:0], DICE), "N from 1 up"),
    (metrics.completeness, (MU[0], LOGVAR[0], DICE), r"^mu must be \(N, D\), N from 0 up; not \(2,\)"),
    (metrics.completeness, (MU, LOGVAR, DICE, 0), "draws must be a whole number from 1 up, not 0"),
    (metrics.continuity, (MU[:1], LOGVAR[:1], DICE), r"^mu must be \(N, D\), N from 2 up; not \(1, 2\)"),
    (metrics.continuity, (MU, LOGVAR, 0), "generator must be such as .*, not 0"),
    (metrics.continuity, (MU, LOGVAR, DICE, 0), "pairs must be a whole number from 1 up, not 0"),
    (metrics.continuity, (MU, LOGVAR, DICE, 5, 2.5), "points must be a whole number"),
    (metrics.mutual_information, (MU, None, DICE), "logvar must be a tensor .*not None"),
    (metrics.mutual_information, (MU, LOGVAR[:, :1], DICE), r"\(N, D\) both.*\(20, 2\) and \(20, 1\)"),
    (metrics.recall, (MU, MU, 20), "k = 20 neighbours need 21 generated samples or more, not 20"),
    (metrics.recall, (MU, MU[:, :1]), r"one shape.*\(20, 2\) and \(20, 1\)"),
    (metrics.log_likelihood, ("model", BLACK), "model must be .* not 'model'"),
    (metrics.log_likelihood, (SMALL, BLACK, 0), "samples must be a whole number from 1 up"),
    (metrics.log_likelihood, (SMALL, BLACK, 5, 1), "generator must be such as .*, not 1"),
    (metrics.log_likelihood, (vaekit.Autoencoder(2, 16, (1, 8, 8)), BLACK), "a plain autoencoder has no q"),
    (GAP, ([[1.0]], TWO), "codes must be a tensor .*, not"),
    (GAP, (TWO, TWO[:, 0]), r"factors must be \(N, columns\).*\(4000,\)"),
    (GAP, (TWO[:, :0], TWO), r"codes must be .*\(4000, 0\)"),
    (GAP, (TWO, TWO[:10]), r"factors must be .* one row per image; these are \(10, 2\)"),
    (GAP, (TWO * torch.nan, TWO), "codes must be finite.*NaN"),
    (GAP, (TWO, TWO * torch.tensor([1.0, 0.0])), "factor 1 has one value in all 4000 rows"),
    *((GAP, (TWO, TWO, n), f"bins must be a whole number from 2 to 4000, not {n}") for n in (1, 4001, 20.0, True)),
]


@pytest.mark.parametrize(("measure", "given", "words"), REFUSED)
def test_they_say_what_does_not_fit(refuses, measure, given, words):
    with refuses((ValueError, TypeError), words):
        measure(*given)


@pytest.mark.slow
@pytest.mark.parametrize(("ways", "size", "k"), [(6, 1.0, 1), (6, 1.0, 5), (2, 1e-4, 1)])
def test_recall_equals_scikit_learns_neighbours(ways, size, k):
    """Also of images that are nearly alike, as a nearly collapsed model draws them."""
    from sklearn.neighbors import NearestNeighbors  # slow to import

    generator = seeded()
    mixed = size * torch.rand(ways, 784, generator=generator)
    real, generated = (0.5 + torch.randn(n, ways, generator=generator) @ mixed for n in (70, 60))
    # scikit-learn leaves each sample out itself when it is asked for the neighbours of those it was fitted on.
    radius = NearestNeighbors(n_neighbors=k).fit(generated.double()).kneighbors()[0][:, -1]
    distance = np.linalg.norm(real.double()[:, None] - generated.double(), axis=2)
    expected = (distance <= radius).any(1).mean()
    assert 0.1 < expected < 0.97
    found = metrics.recall(real.unflatten(1, (1, 28, 28)), generated.unflatten(1, (1, 28, 28)), k)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_recall_at_its_ends():
    x = torch.rand(100, 784, generator=seeded())
    assert metrics.recall(x, x).item() == 1
    assert metrics.recall(x + 10, x).item() == 0
    same = x[:1].expand(100, -1)  # a collapsed model's draws: balls of radius 0, and still it reaches itself
    assert metrics.recall(same, same).item() == 1
    assert metrics.recall(x[1:], same).item() == 0
    whole = (255 * x).to(torch.uint8)
    assert metrics.recall(x.double(), x).item() == metrics.recall(x.half(), x.half()).item() == 1
    floats = metrics.recall(whole[:40].float(), whole[40:].float())
    assert metrics.recall(whole[:40], whole[40:]).item() == pytest.approx(floats.item())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bernoulli", "linear"])
def test_many_samples_find_the_integral_over_z_from_below(kind):
    model = vaekit.VAE(1, 16, (1, 3, 3), init_generator=seeded()).double()
    x = torch.rand(5, 1, 3, 3, generator=seeded(1), dtype=torch.float64).round()
    with torch.no_grad():
        model.decoder[2].weight *= 4  # so that z matters
        z = torch.linspace(-9, 9, 6001, dtype=torch.float64)
        x_logits = model.decode(z[:, None])[:, None]  # (Z, 1, C, H, W)
        likelihood = Bernoulli(logits=x_logits) if kind == "bernoulli" else Normal(x_logits, 0.5**0.5)
        log_joint = likelihood.log_prob(x).flatten(2).sum(2) + Normal(0, 1).log_prob(z)[:, None]  # (Z, B)
    exact = torch.logsumexp(log_joint, 0) + math.log(z[1] - z[0])
    assert torch.allclose(metrics.log_likelihood(model, x, 5_000, seeded(), kind), exact, atol=0.06)
    many = x.repeat(400, 1, 1, 1)  # more than are decoded at once
    one, five = (metrics.log_likelihood(model, many, k, seeded(), kind).view(400, 5).mean(0) for k in (1, 5))
    assert (one < five).all() and (five < exact).all()


def test_looking_at_the_bound_changes_nothing(toys, toy_model):
    model = toy_model()
    model.encoder = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), model.encoder)
    model.encoder[0].eval()  # a part that was frozen stays frozen
    modes, state = [part.training for part in model.modules()], copy.deepcopy(model.state_dict())
    before = torch.get_rng_state()
    first = metrics.log_likelihood(model, toys[:9], 5, seeded(0))
    assert metrics.log_likelihood(model, toys[:9], 5).equal(first) and not first.requires_grad  # no dropout
    for images in (toys[:9].float() / 255, toys[:9].double() / 255):  # and a model has its own precision
        assert metrics.log_likelihood(model, images, 5, seeded(0)).allclose(first)
    assert torch.get_rng_state().equal(before) and torch.is_grad_enabled()
    assert [part.training for part in model.modules()] == modes
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())


def test_with_the_kl_of_the_mixture_to_the_prior_it_makes_up_the_mean_kl():
    """KL(q(z) ‖ p(z)) by a sum over a fine grid of the plane."""
    mu = torch.randn(60, 2, generator=seeded()) * torch.tensor([1.0, 0.5]) + torch.tensor([0.5, 0.0])
    logvar = torch.randn(60, 2, generator=seeded(1)) * 0.5 - 2
    posteriors = Independent(Normal(mu.double(), torch.exp(0.5 * logvar.double())), 1)
    line = torch.linspace(-5, 5, 151, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    log_q = MixtureSameFamily(Categorical(torch.ones(60)), posteriors).log_prob(z)
    mixture = float((log_q.exp() * (log_q - Normal(0, 1).log_prob(z).sum(1))).sum() / 15**2)
    nats = float(vaekit.kl_to_prior(mu, logvar).sum(1).mean())
    assert mixture > 0.3 and nats - mixture > 0.5
    generator = seeded()
    found = torch.stack([metrics.mutual_information(mu, logvar, generator) for _ in range(100)]).mean()
    assert found.item() == pytest.approx(nats - mixture, abs=0.03)


def test_of_points_it_is_ln_n_and_never_more_and_of_a_collapsed_model_or_one_image_nothing():
    mu = 20 * torch.randn(300, 2, generator=seeded())
    for std in (1e-3, 1e-9):
        found = metrics.mutual_information(mu, torch.full_like(mu, 2 * math.log(std)), seeded(1)).item()
        assert found == pytest.approx(math.log(300), abs=1e-3) and found <= math.log(300) + 1e-5
    assert metrics.mutual_information(torch.ones(100, 3), torch.zeros(100, 3), seeded()).abs() < 1e-5
    assert metrics.mutual_information(torch.randn(1, 2), torch.zeros(1, 2), seeded()).abs() < 1e-6


def by_rank(column: torch.Tensor, bins: int) -> np.ndarray:
    """Bins of equal number by each value's rank: another way to cut at the quantiles, when no two are equal."""
    return column.numpy().argsort().argsort() * bins // len(column)


@pytest.mark.slow
@pytest.mark.parametrize("bins", [5, 20])
def test_information_is_that_of_scikit_learn_on_the_same_bins(bins):
    """A factor of few values, the last one here, is taken as it is."""
    from sklearn.metrics import mutual_info_score  # slow to import

    a, b, c, noise = draws(4).T
    kinds = torch.multinomial(torch.tensor([0.7, 0.28, 0.02]), 4000, replacement=True, generator=seeded(1))
    codes = torch.stack([a + 0.3 * b, b**2, noise, -c, 10 * kinds + noise], 1)
    found = metrics.mutual_information_gap(codes, torch.stack([a, b, c, kinds], 1), bins)
    cut = [*(by_rank(factor, bins) for factor in (a, b, c)), kinds.numpy()]
    expected = np.array([[mutual_info_score(by_rank(code, bins), factor) for factor in cut] for code in codes.T])
    assert found.information.numpy() == pytest.approx(expected, abs=1e-5)
    second, best = np.sort(expected, 0)[-2:]
    entropy = [mutual_info_score(factor, factor) for factor in cut]
    assert found.gap.numpy() == pytest.approx((best - second) / entropy, abs=1e-5)


def test_a_collapsed_latent_knows_nothing_and_a_lone_one_has_no_rival():
    factors = draws(2)
    codes = torch.cat([torch.full((4000, 1), 0.3), factors, torch.zeros(4000, 1)], 1)
    found = metrics.mutual_information_gap(codes, factors)
    assert found.information[[0, 3]].tolist() == [[0, 0], [0, 0]] and found.latent.tolist() == [1, 2]
    found = metrics.mutual_information_gap(factors[:, :1], factors)
    assert (found.gap.shape, found.information.shape, found.latent.tolist()) == ((2,), (1, 2), [0, 0])
    assert found.gap[0].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("most", [0.0, 0.5, 1.0])
def test_a_factor_of_mostly_one_value_is_that_and_the_rest(most):
    values = draws(1)
    values[draws(1, 1) < 0.97] = most
    found = metrics.mutual_information_gap(torch.cat([values, draws(1, 2)], 1), values)
    assert 0.9 < found.gap.item() <= 1 + 1e-5
