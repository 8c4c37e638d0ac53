"""The keys, as the kernel answers them; and what is shown on request: new digits, colours, the true posterior."""

import threading

import numpy as np
import pytest
import torch
from lab_helpers import SECONDS, done, greys, say_as_page, some_digits, wait_for
from matplotlib.colors import to_rgba
from torch.distributions import MultivariateNormal

from vaekit import Autoencoder, LinearVAE, faces, metrics
from vaekit.data import as_floats
from vaekit.lab.knobs import next_value
from vaekit.plotting import RAMP


def test_a_key_brings_beta_to_the_next_quarter_of_a_power_of_ten():
    next_ones = {1.0: (1.8, 0.56), 1.8: (3.2, 1.0), 0.0: (0.018, 0.01), 100.0: (100.0, 56.0)}
    next_ones |= {0.01: (0.018, 0.01), 7.0: (10.0, 5.6)}
    for value, (up, down) in next_ones.items():
        assert (next_value(value, 1), next_value(value, -1)) == (up, down)


def test_keys_turn_what_the_controls_turn_and_of_a_twin_that_run_unless_they_are_tied(labs):
    lab = labs(twin=True)
    for key, prior, beta in (("p", False, 1.0), ("]", False, 1.8), ("[", False, 1.0), ("p", True, 1.0)):
        say_as_page(lab, kind="key", key=key, side=1)  # β is tied at first
        assert [side.settings["prior"] for side in lab.sides] == [False, prior]
        assert [side.settings["beta"] for side in lab.sides] == [beta, beta]
    say_as_page(lab, kind="key", key="s", side=0)
    wait_for(lambda: lab.steps_taken == 1)
    for playing in (True, False):
        say_as_page(lab, kind="key", key=" ", side=0)
        assert lab.playing is playing


def sheets(lab) -> list[np.ndarray]:
    done(lab)
    return [np.frombuffer(side.plane.sheet, np.uint8) for side in lab.view.sides]


def test_new_digits_are_draws_of_the_prior_decoded_of_a_twin_the_same(labs):
    lab = labs(twin=True, latent_dim=3).run(30)
    assert [sheet.size for sheet in sheets(lab)] == [0, 0]
    lab.new_digits()
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    for side, sheet in zip(lab.sides, sheets(lab), strict=True):
        np.testing.assert_allclose(sheet, greys(side.model, z).ravel(), atol=1)
    before = sheets(lab)
    lab.run(20)
    after = sheets(lab)
    assert all((a != b).any() for a, b in zip(before, after, strict=True))  # the same z, the model has learned
    lab.new_digits()
    assert all((a != b).any() for a, b in zip(after, sheets(lab), strict=True))  # other z
    lab.controls.new.value = True
    lab.controls.new.value = False
    assert [sheet.size for sheet in sheets(lab)] == [0, 0]


def test_dots_are_coloured_by_a_factor_of_the_images(labs, refuses):
    people = faces(150, device="cpu")
    lab = labs(people)
    plane, menu = lab.view.plane, lab.controls.colour
    assert plane.shades == b"" and list(menu.options.values()) == ["", *people.factor_names]
    lab.colour_by("skin tone")
    expected = people.factors[:100, people.factor_names.index("skin tone")].mul(255).round()
    assert list(plane.shades) == expected.tolist() and (plane.factor, menu.value) == ("skin tone", "skin tone")
    menu.value = "smile"
    done(lab)
    smiles = people.factors[:100, 0]
    assert list(plane.shades) == smiles.mul(255).round().tolist()
    dots = lab.figure().axes[0].collections[-1].get_facecolors()  # in a still, too
    assert np.allclose(dots, [to_rgba(RAMP[0][round(15 * smile)]) for smile in smiles.tolist()], atol=0.1)
    lab.colour_by()
    assert plane.shades == b"" and menu.value == ""
    with refuses(ValueError, "factor must be one of '', smile, .*; not 'age'"):
        lab.colour_by("age")
    digits = labs()
    assert digits.controls.coloured.layout.display == "none"
    with refuses(ValueError, "factor must be one of ''; not 'smile'"):
        digits.colour_by("smile")


@pytest.mark.slow
def test_the_true_posterior_of_a_linear_decoder_is_the_gaussian_that_it_is_known_to_be(labs, refuses):
    """x = W z + b + noise of variance ½: p(z|x) has the precision I + 2 WᵀW and the mean 2 C Wᵀ (x − b)."""
    lab = labs(model=LinearVAE(), kind="linear", lr=0.01).run(200)
    lab.show_posterior()
    header = lab.view.plane.posterior
    weights = np.frombuffer(header["weights"], "<f4").reshape(41, 41).astype(float)
    w, b = (p.detach().double().numpy() for p in lab.model.decoder[0].parameters())
    x = lab.view.sides[0].images[0].double().flatten().numpy()
    precision = torch.from_numpy(np.eye(2) + 2 * w.T @ w)
    truth = MultivariateNormal(precision.inverse() @ torch.from_numpy(2 * w.T @ (x - b)), precision_matrix=precision)
    np.testing.assert_allclose(header["centre"], truth.mean, atol=0.02)  # around it, wherever the encoder's ellipse is
    np.testing.assert_allclose(header["scale"], truth.stddev, rtol=0.05)
    line = torch.linspace(-4, 4, 41).double()
    lattice = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    p = truth.log_prob(torch.tensor(header["centre"]) + torch.tensor(header["scale"]) * lattice).exp()
    np.testing.assert_allclose(weights, p / p.sum(), atol=1e-4)
    one, two = header["levels"]
    for level, held in ((one, 0.393), (two, 0.865)):
        assert weights[weights >= level].sum() == pytest.approx(held, abs=0.05)
    assert any(hasattr(drawn, "levels") for drawn in lab.figure().axes[0].collections)  # in a still, too
    lab.show_posterior(False)
    assert lab.view.plane.posterior == {}
    for other in (labs(latent_dim=3), labs(model=Autoencoder(hidden=16))):
        assert other.controls.posterior not in other.controls.looks.children
        with refuses(ValueError, "the true posterior is shown of a VAE with two latent dimensions"):
            other.show_posterior()


def test_noise_is_added_to_an_autoencoders_codes_and_not_to_its_training(labs, refuses):
    plain = labs(model=Autoencoder(hidden=16, init_generator=torch.Generator().manual_seed(0))).run(30)
    lab = labs(model=Autoencoder(hidden=16, init_generator=torch.Generator().manual_seed(0))).run(10)
    images = lambda: np.frombuffer(lab.view.plane.pictures, np.uint8).reshape(5, 784).astype(int)  # noqa: E731
    assert (images()[1] == images()[2:]).all()  # a code is a point
    lab.controls.noise.value = 1.5
    done(lab)
    assert len({image.tobytes() for image in images()[2:]}) == 3
    assert (lab.view.sides[0].last.std == 1.5).all() and lab.view.plane.noise == 1.5
    lab.run(20)
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), lab.model.parameters(), strict=True))
    lab.add_noise(0)
    assert (lab.view.sides[0].last.std == 0).all() and (images()[1] == images()[2:]).all()
    with refuses(ValueError, "sigma must be a finite number from 0 up, not -1"):
        lab.add_noise(-1)
    with refuses(ValueError, "this model has a σ of its own"):
        labs().add_noise(1)


@pytest.mark.slow
def test_new_digits_from_a_mixture_lie_among_the_codes_and_those_of_the_prior_do_not(labs):
    lab = labs(some_digits(2000), prior=False).run(150)
    before = [weight.clone() for weight in lab.model.parameters()]
    lab.controls.source.value = "mixture"
    say_as_page(lab, kind="key", key="n", side=0)
    side = lab.view.sides[0]
    wait_for(lambda: side.mixture is not None and side.plane.sheet != b"")
    mu, logvar = lab.model.encode(as_floats(lab.engine.run.images))
    z = side.mixture(400, 0)
    covered = [metrics.covered(draws, mu, logvar).float().mean() for draws in (z, torch.randn(400, 2))]
    assert covered[0] > 2 * covered[1]
    assert all(torch.equal(a, b) for a, b in zip(before, lab.model.parameters(), strict=True))
    lab.controls.source.value = "prior"
    done(lab)
    assert side.mixture is None


@pytest.fixture
def fits(monkeypatch):
    """Mixtures that are not fitted before `go`; `begun`: the threads that fit them; `error`: it fails."""

    def fit(codes, seed):
        fit.begun.append(threading.current_thread())
        assert fit.go.wait(SECONDS)
        if fit.error:
            raise fit.error
        return lambda n, seed: torch.randn(n, codes.shape[1], generator=torch.Generator().manual_seed(seed))

    fit.begun, fit.go, fit.error = [], threading.Event(), None
    monkeypatch.setattr("vaekit.lab.display.fit", fit)
    return fit


def come_to_an_end(fits, lab) -> None:
    wait_for(lambda: fits.begun)
    fits.go.set()
    for thread in fits.begun:
        thread.join(SECONDS)
    done(lab)


def shown(lab) -> tuple[bool, bool, str]:
    """Are new digits on the page, is its toggle pressed, and what does the menu say they are drawn from?"""
    done(lab)
    return lab.plane.sheet != b"", lab.controls.new.value, lab.controls.source.value


@pytest.mark.parametrize(
    ("meanwhile", "at_last"),
    [
        (lambda lab: lab.new_digits(False), (False, False, "prior")),
        (lambda lab: setattr(lab.controls.source, "value", "prior"), (True, True, "prior")),
        (lambda lab: lab.set(data="500 digits"), (True, True, "prior")),
    ],
)
def test_a_mixture_that_nobody_wants_any_more_is_not_shown(labs, fits, meanwhile, at_last):
    lab = labs(some_digits(1100))
    lab.new_digits(source="mixture")
    assert shown(lab) == (False, True, "mixture")
    meanwhile(lab)
    come_to_an_end(fits, lab)
    assert lab.view.sides[0].mixture is None and shown(lab) == at_last


def test_a_mixture_is_fitted_once_however_often_n_is_pressed(labs, fits):
    lab = labs()
    lab.new_digits(source="mixture")
    for _ in range(4):
        assert shown(lab) == (False, True, "mixture")
        say_as_page(lab, kind="key", key="n", side=0)
    come_to_an_end(fits, lab)
    mixture, before = lab.view.sides[0].mixture, lab.plane.sheet
    say_as_page(lab, kind="key", key="n", side=0)
    assert len(fits.begun) == 1 and mixture is not None and before != lab.plane.sheet != b""
    assert lab.view.sides[0].mixture is mixture


def test_a_mixture_that_cannot_be_fitted_or_is_of_other_images_is_not_shown_as_turned_on(labs, fits):
    lab = labs(some_digits(1100))
    fits.error = ImportError("a mixture is fitted by scikit-learn: pip install scikit-learn")
    lab.new_digits(source="mixture")
    come_to_an_end(fits, lab)
    assert "No mixture could be fitted" in lab.plane.message and shown(lab) == (True, True, "prior")
    fits.error = None
    lab.new_digits(source="mixture")
    wait_for(lambda: lab.view.sides[0].mixture)
    assert shown(lab) == (True, True, "mixture")
    lab.set(data="500 digits")
    assert shown(lab) == (True, True, "prior")
    lab.new_digits(source="mixture")  # of these
    wait_for(lambda: lab.view.sides[0].mixture)
    assert shown(lab) == (True, True, "mixture")
    lab.new_digits(False)
    assert shown(lab) == (False, False, "prior")
