"""The exact linear β-VAE: beside published figures, scikit-learn, a numerical optimizer, and real training."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

import vaekit
from vaekit import theory
from vaekit.data import as_floats
from vaekit.losses import kl_to_prior, reconstruction_nll
from vaekit.metrics import active_units
from vaekit.model import LinearVAE

TOY = [6.0, 3.0, 2.5, 1.0, 0.25]  # variances of a toy world of five pixels


@pytest.fixture(scope="module")
def mnist_variances(digits):
    return theory.eigenvalues(digits.images)


def evaluate(model: LinearVAE, images: torch.Tensor):
    """Squared error and KL per dimension, mean over the images, exact: the expectation over ε is Σ σ² ‖w‖²."""
    with torch.no_grad():
        x = as_floats(images)
        mu, logvar = model.encode(x)
        error = (x - model.decode(mu)).square().flatten(1).sum(1).mean()
        noise = logvar[0].exp() @ model.decoder[0].weight.square().sum(0)
        return float(error + noise), kl_to_prior(mu, logvar).mean(0), mu


def solved(images: torch.Tensor, k: int, noise_variance: float, beta: float) -> LinearVAE:
    """A model put at the optimum by its closed form: probabilistic PCA's, with θ = βσ² in σ²'s place."""
    x = images.double().flatten(1)
    values, vectors = np.linalg.eigh(np.cov(x.numpy().T, bias=True))
    variances, directions = torch.tensor(values[::-1][:k].copy()), torch.tensor(vectors[:, ::-1][:, :k].copy())
    w = (variances - beta * noise_variance).clamp(min=0).sqrt()  # (k,)
    model = LinearVAE(k, tuple(images.shape[1:]), mean=images.double().mean(0)).double()
    with torch.no_grad():
        model.encoder.mean.copy_(x.mean(0))
        model.decoder[0].bias.copy_(x.mean(0))
        model.decoder[0].weight.copy_(directions * w)
        model.encoder.mu.weight.copy_((directions * w / variances).T)
        model.encoder.mu.bias.zero_()
        model.encoder.logvar.copy_((beta * noise_variance / variances).clamp(max=1).log())
    return model


def test_eigenvalues_of_the_digits(mnist_variances):
    seen = [5.117, 3.741, 3.253, 2.842, 2.567, 2.274, 1.725, 1.521, 1.456, 1.243]
    assert mnist_variances.shape == (784,) and mnist_variances.dtype == torch.float64
    assert mnist_variances[:10].tolist() == pytest.approx(seen, abs=5e-4)
    assert float(mnist_variances.sum()) == pytest.approx(52.725, abs=5e-4)
    assert (mnist_variances >= 0).all() and (mnist_variances.diff() <= 0).all()


@pytest.mark.parametrize("n", [1, 40, 512, 513, 1300])
def test_eigenvalues_equal_numpy_whatever_the_number_of_images(n):
    images = torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    before = images.clone()
    x = images.numpy().reshape(n, 60) / 255
    expected = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 / n  # by another road than the covariance
    expected = np.pad(expected, (0, 60 - len(expected)))
    np.testing.assert_allclose(theory.eigenvalues(images), expected, atol=1e-13)
    np.testing.assert_allclose(theory.eigenvalues(torch.from_numpy(x).view(n, 3, 4, 5)), expected, atol=1e-13)
    np.testing.assert_allclose(theory.eigenvalues(as_floats(images)), expected, atol=1e-6)
    assert torch.equal(images, before)


def test_eigenvalues_leave_float64_images_as_they_are(toys):
    images = toys.double() / 255
    before = images.clone()
    theory.eigenvalues(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("beta", "distortion", "rate", "live"), [(1, 33.69, 6.725, 8), (4, 44.93, 1.391, 6)])
def test_known_figures_of_the_digits(mnist_variances, beta, distortion, rate, live):
    optimum = theory.linear_vae(mnist_variances, 8, 0.5, beta)
    assert optimum.distortion == pytest.approx(distortion, abs=5e-3)
    assert optimum.rate == pytest.approx(rate, abs=5e-4)
    assert int(optimum.live.sum()) == live


def test_a_case_by_hand():
    """λ = 8, 2, 1 with θ = 2: one dimension lives, at ½ ln 4 nats; the error is 2 + 2 + 1."""
    optimum = theory.linear_vae([2, 8, 1], k=2, noise_variance=1.0, beta=2)
    assert optimum.deaths.tolist() == [8, 2]
    assert optimum.live.tolist() == [True, False]
    assert optimum.rate_per_dim.tolist() == pytest.approx([math.log(2), 0])
    assert (optimum.rate, optimum.distortion) == pytest.approx((math.log(2), 5))
    assert optimum.elbo == pytest.approx(-5 / 2 - 1.5 * math.log(2 * math.pi) - math.log(2))


@pytest.mark.parametrize("k", [1, 8, 30])
def test_elbo_at_beta_1_is_the_score_of_scikit_learn_s_probabilistic_pca(digits, k):
    images = digits.images[:3000]
    x = images.double().flatten(1).numpy() / 255
    x -= x.mean(0)
    n = len(x)
    pca = PCA(k, svd_solver="covariance_eigh").fit(x * ((n - 1) / n) ** 0.5)  # it divides by n − 1
    optimum = theory.linear_vae(theory.eigenvalues(images), k, float(pca.noise_variance_))
    assert optimum.live.all()
    assert optimum.elbo == pytest.approx(pca.score(x), rel=1e-9)


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


@pytest.mark.parametrize("noise_variance", [0.5, 0.1])
@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0, 3.2, 4.0, 7.0])
def test_the_slope_of_the_frontier_is_minus_beta(mnist_variances, noise_variance, beta):
    low, high = (theory.linear_vae(mnist_variances, 8, noise_variance, beta * f) for f in (1 - 1e-5, 1 + 1e-5))
    by_nats = (high.distortion - low.distortion) / (2 * noise_variance)
    assert by_nats / (high.rate - low.rate) == pytest.approx(-beta, rel=1e-8)


def test_more_beta_never_raises_the_rate_nor_lowers_the_distortion(mnist_variances):
    optima = [theory.linear_vae(mnist_variances, 8, 0.5, float(b)) for b in np.geomspace(0.01, 100, 200)]
    rate, distortion = (np.array([getattr(o, name) for o in optima]) for name in ("rate", "distortion"))
    died = float(optima[0].deaths[0])
    assert died == pytest.approx(5.117 / 0.5, abs=1e-3)
    before = np.geomspace(0.01, 100, 200) < died
    assert (np.diff(rate[before]) < 0).all() and (np.diff(distortion[before]) > 0).all()
    assert (rate[~before] == 0).all() and distortion[~before] == pytest.approx(float(mnist_variances.sum()))
    assert (np.diff([o.elbo for o in optima])[np.geomspace(0.01, 100, 200)[1:] < 1] > 0).all()  # best at β = 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("d", "k", "beta"), [(3, 2, 1.0), (5, 3, 0.5), (5, 3, 2.8), (5, 3, 5.5), (5, 2, 20.0), (4, 4, 1.5)]
)
def test_a_numerical_optimizer_finds_the_same(d, k, beta):
    """The β-ELBO's exact expectation over data of covariance S, for any W, V and s, minimized from three starts."""
    noise_variance = 0.5
    generator = torch.Generator().manual_seed(d)
    turn = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator)).Q
    s = turn @ torch.diag(torch.tensor(TOY[:d], dtype=torch.float64)) @ turn.T

    def terms(w, v, logvar):
        left = torch.eye(d, dtype=torch.float64) - w @ v
        distortion = torch.trace(left @ s @ left.T) + logvar.exp() @ w.square().sum(0)
        return distortion, 0.5 * (torch.diagonal(v @ s @ v.T) + logvar.exp() - 1 - logvar)

    def minimize():
        start = [torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((d, k), (k, d), (k,))]
        weights = [p.requires_grad_() for p in start]
        search = torch.optim.LBFGS(
            weights, max_iter=3000, tolerance_grad=1e-11, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def loss():
            search.zero_grad()
            distortion, kl = terms(*weights)
            value = distortion / (2 * noise_variance) + beta * kl.sum()
            value.backward()
            return value

        search.step(loss)
        return loss().item(), *(t.detach() for t in terms(*weights))

    _, distortion, kl = min((minimize() for _ in range(3)), key=lambda found: found[0])
    optimum = theory.linear_vae(torch.linalg.eigvalsh(s), k, noise_variance, beta)
    assert float(distortion) == pytest.approx(optimum.distortion, rel=1e-6)
    found = kl.sort(descending=True).values
    torch.testing.assert_close(found, optimum.rate_per_dim, rtol=1e-4, atol=1e-6)
    assert (found > 1e-3).tolist() == optimum.live.tolist()


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.2, 50.0])
def test_a_model_put_at_the_optimum_has_the_numbers_foretold(toys, beta):
    """Through the package's own encoder, decoder and losses."""
    images, k, noise_variance = toys.double() / 255, 6, 0.07
    model, optimum = (
        solved(images, k, noise_variance, beta),
        theory.linear_vae(theory.eigenvalues(images), k, noise_variance, beta),
    )
    distortion, kl, mu = evaluate(model, images)
    assert distortion == pytest.approx(optimum.distortion, rel=1e-10)
    torch.testing.assert_close(kl, optimum.rate_per_dim)
    assert active_units(mu).tolist() == optimum.live.tolist()
    # and −ELBO, whose expectation over ε is the value at ε = 0 plus the noise's share of the squared error
    with torch.no_grad():
        _, logvar = model.encode(images)
        at_the_mean = reconstruction_nll(model.decode(mu), images, "linear", noise_variance).mean()
        noise = logvar[0].exp() @ model.decoder[0].weight.square().sum(0) / (2 * noise_variance)
    assert float(at_the_mean + noise + kl.sum()) == pytest.approx(-optimum.elbo, rel=1e-10)


def test_near_its_death_a_dimension_lives_in_theory_only(toys):
    """The threshold named in the docstring: 1 % below, where 0.005 nats are left."""
    images = toys.double() / 255
    variances = theory.eigenvalues(images)
    death = float(theory.linear_vae(variances, 1, 0.5).deaths[0])
    for beta, seen, live in ((0.989 * death, True, True), (0.991 * death, False, True), (death, False, False)):
        _, kl, mu = evaluate(solved(images, 1, 0.5, beta), images)
        optimum = theory.linear_vae(variances, 1, 0.5, beta)
        assert active_units(mu).tolist() == [seen]
        assert optimum.live.tolist() == [live]
        assert (float(kl[0]) > 0.005025) == seen  # −½ ln 0.99
    assert optimum.rate == 0


@pytest.mark.parametrize("noise_variance", [0.5, 0.3, 0.07, 1 / 3])
def test_every_dimension_is_dead_exactly_at_its_death(mnist_variances, noise_variance):
    """Whatever way λ / σ² is rounded."""
    for i, death in enumerate(theory.linear_vae(mnist_variances, 8, noise_variance).deaths.tolist()):
        at, before = (theory.linear_vae(mnist_variances, 8, noise_variance, b) for b in (death, death * (1 - 1e-12)))
        assert at.live.tolist() == [j < i for j in range(8)] and at.rate_per_dim[i] == 0
        assert before.live.tolist() == [j <= i for j in range(8)]


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
    for values in (TOY[::-1], tuple(TOY), ascending, ascending[::-1], torch.tensor(TOY), torch.tensor(TOY).double()):
        found = theory.linear_vae(values, 3, 0.5)
        assert (found.rate, found.distortion, found.elbo) == pytest.approx(
            (expected.rate, expected.distortion, expected.elbo)
        )
    given = torch.tensor([1.0, 2.0, -1e-5], dtype=torch.float64, requires_grad=True)
    assert theory.linear_vae(given, 3, 0.5, 0.1).distortion == pytest.approx(0.1, rel=1e-9)
    assert given.tolist() == [1.0, 2.0, -1e-5]


def test_applies_to():
    linear = LinearVAE(2, (1, 4, 4))
    assert theory.applies_to(linear, "linear")
    assert not theory.applies_to(linear, "gaussian")  # a sigmoid stands between
    assert not theory.applies_to(linear, "bernoulli")
    assert not theory.applies_to(vaekit.VAE(), "linear")
    assert not theory.applies_to(nn.Linear(2, 2), "linear")


BAD_EIGENVALUES = [
    (ValueError, [1.0, -0.5], "not negative, these reach from -0.5 to 1"),
    (ValueError, [1.0, math.nan], "finite"),
    (ValueError, [1.0, math.inf], "finite"),
    (ValueError, [-1.0, -2.0], "not negative"),
    (ValueError, [], r"shape of these is \(0,\)"),
    (ValueError, 3.0, r"shape of these is \(\)"),
    (ValueError, torch.zeros(5, 1, 4, 4), r"such as vaekit.theory.eigenvalues\(images\); the shape .* \(5, 1, 4, 4\)"),
    (TypeError, "many", "this str is not"),
    (TypeError, None, "this NoneType is not"),
    (TypeError, ["a", "b"], "this list is not"),
    (TypeError, [[1.0], [1.0, 2.0]], "this list is not"),
    (TypeError, np.array([1 + 2j]), "this ndarray is not"),
    (TypeError, torch.tensor([1 + 2j]), "this Tensor is not"),
    (TypeError, [True, False], "this list is not"),
]


@pytest.mark.parametrize(("error", "value", "pattern"), BAD_EIGENVALUES)
def test_bad_eigenvalues_get_one_line(refuses, error, value, pattern):
    with refuses(error, f"^eigenvalues must be real numbers.*{pattern}"):
        theory.linear_vae(value, 1, 0.5)


@pytest.mark.parametrize("k", [0, -1, 6, 2.0, True, "2", None, torch.zeros(99, 99)])
def test_a_bad_k_gets_one_line(refuses, k):
    with refuses(ValueError, "^k must be a whole number from 1 to 5, the number of eigenvalues; not "):
        theory.linear_vae(TOY, k, 0.5)


@pytest.mark.parametrize(
    "value",
    [0, 0.0, -1, math.nan, math.inf, pytest.param(10**400, id="1e400"), "half", None, True, [0.5], torch.zeros(99, 9)],
)
def test_a_bad_noise_variance_gets_one_line(refuses, value):
    wrong_type = isinstance(value, bool | str | list | torch.Tensor) or value is None
    with refuses(TypeError if wrong_type else ValueError, "^noise_variance must be a finite number above 0"):
        theory.linear_vae(TOY, 2, value)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "one", None, True])
def test_a_bad_beta_gets_one_line(refuses, value):
    wrong_type = isinstance(value, bool | str) or value is None
    with refuses(TypeError if wrong_type else ValueError, "^beta must be a finite number from 0 up"):
        theory.linear_vae(TOY, 2, 0.5, value)


def test_eigenvalues_refuse_what_train_refuses(refuses):
    with refuses(TypeError, "this is a list"):
        theory.eigenvalues([1.0, 2.0])
    with refuses(ValueError, r"\(3, 28, 28\): try images.unsqueeze\(1\)"):
        theory.eigenvalues(torch.zeros(3, 28, 28))
    with refuses(ValueError, "this data set is empty"):
        theory.eigenvalues(torch.zeros(0, 1, 4, 4))
    with refuses(ValueError, "reach from 0 to 255"):
        theory.eigenvalues(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1))


def trained(images, k, beta, steps, lr=2e-2):
    """By `train()`: Adam with its learning rate on a cosine down to 0, as a learner's hand would turn it."""
    model = LinearVAE(
        k, tuple(images.shape[1:]), mean=as_floats(images).mean(0), init_generator=torch.Generator().manual_seed(0)
    )
    knobs = vaekit.Knobs(beta=beta, lr=lr)
    for step in islice(vaekit.train(model, images, knobs, kind="linear"), steps):
        knobs.lr = lr * 0.5 * (1 + math.cos(math.pi * step.number / (steps + 1)))
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "live"), [(1.0, 3), (2.0, 2)])
def test_training_ends_where_the_theory_says_on_toy_images(beta, live):
    """Three factors that lighten and darken stripes and checks, ± 0.2, 0.15 and 0.1: λ = 2.56, 1.44, 0.64."""
    row, column = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    patterns = torch.stack([(-1.0) ** row, (-1.0) ** column, (-1.0) ** (row + column)]).flatten(1)  # (3, 64)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).repeat(64, 1)  # (512, 3), uncorrelated
    images = (0.5 + (signs * torch.tensor([0.2, 0.15, 0.1])) @ patterns).view(-1, 1, 8, 8)
    variances = theory.eigenvalues(images)
    assert variances[:4].tolist() == pytest.approx([2.56, 1.44, 0.64, 0], abs=1e-6)
    agrees(trained(images, 3, beta, steps=1500), images, theory.linear_vae(variances, 3, 0.5, beta), live)


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "live"), [(0.5, 8), (1.0, 8), (2.0, 8), (4.0, 6)])
def test_training_ends_where_the_theory_says_on_the_digits(digits, mnist_variances, beta, live):
    model = trained(digits.images, 8, beta, steps=4000)
    agrees(model, digits.images, theory.linear_vae(mnist_variances, 8, 0.5, beta), live)


def agrees(model, images, optimum, live):
    """Distortion and rate within 2 %, the same number of live dimensions (in training they come in any order)."""
    distortion, kl, mu = evaluate(model, images)
    assert distortion == pytest.approx(optimum.distortion, rel=0.02)
    assert float(kl.sum()) == pytest.approx(optimum.rate, rel=0.02)
    assert int(active_units(mu).sum()) == int(optimum.live.sum()) == live
