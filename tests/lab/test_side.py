"""What a side shows of its run: the pair of dimensions, traversals, deaths, and the mean of each pixel."""

import numpy as np
import pytest
import torch
from lab_helpers import done, encoded, say_as_page, small_vae, some_digits

import vaekit
from vaekit import theory
from vaekit.data import ImageSet, as_floats
from vaekit.latent import grid


class Dims(vaekit.VAE):
    """A model whose KL in each dimension is what `kl` says: μ = ±√(2 kl), σ = 1."""

    def __init__(self, *kl: float):
        super().__init__(len(kl), 4)
        self.register_buffer("kl", torch.tensor(kl))

    def encode(self, x):
        sign = 1 - 2 * (torch.arange(len(x), device=x.device) % 2)[:, None]
        mu = sign * (2 * self.kl).sqrt()
        return mu, torch.zeros_like(mu)


def say_nats(lab, *kl: float, side: int = 0) -> None:
    """From here on the dimensions have this much KL, and the lab has looked."""
    lab.sides[side].model.kl.copy_(torch.tensor(kl))
    lab.pause()


def points(lab, side: int = 0) -> np.ndarray:
    return np.frombuffer(lab.view.sides[side].plane.frame["points"], np.float16).reshape(-1, 4).astype(np.float32)


def test_the_two_dimensions_that_say_most_are_shown(labs):
    lab = labs(model=Dims(0.5, 3.0, 0.1, 2.0, 0.2))
    assert lab.view.plane.pair == [1, 3] and lab.controls.pair.label == "most active"
    kl = lab.view.plane.status["kl"]
    np.testing.assert_allclose(kl, [0.5, 3.0, 0.1, 2.0, 0.2], atol=1e-3)
    np.testing.assert_allclose(np.abs(points(lab)[:, :2]), [[6**0.5, 2.0]] * 100, rtol=1e-3)
    say_nats(lab, 5.0, 0.0, 0.0, 0.0, 4.0)
    assert lab.view.plane.pair == [0, 4]


def test_a_pair_that_is_nearly_as_good_stays(labs):
    lab = labs(model=Dims(4.0, 2.0, 0.1, 0.1))
    for nats, pair in (((2.0, 4.0, 2.1), [0, 1]), ((2.0, 4.0, 2.5), [1, 2]), ((2.6, 4.0, 2.5), [1, 2])):
        say_nats(lab, *nats, 0.1)
        assert lab.view.plane.pair == lab.run(3).view.plane.pair == pair
    lab.show_pair(None)  # asked for: at once the two that say most
    done(lab)
    assert lab.view.plane.pair == [0, 1]


def test_of_a_twin_both_show_the_same_pair_the_one_that_says_most_in_both_together(labs):
    lab = labs(model=Dims(1.0, 1.0, 1.0, 1.0), twin=True)
    say_nats(lab, 5.0, 0.0, 0.0, 2.0)
    say_nats(lab, 0.0, 1.0, 6.0, 2.0, side=1)
    assert [side.plane.pair for side in lab.view.sides] == [[0, 2]] * 2  # 5, 1, 6 and 4 nats
    say_nats(lab, 2.0, 0.0, 0.0, 3.0)
    assert [side.plane.pair for side in lab.view.sides] == [[2, 3]] * 2  # 2, 1, 6 and 5
    np.testing.assert_allclose(np.abs(points(lab, 1)[:, :2]), [[12**0.5, 2.0]] * 100, rtol=1e-3)


def test_a_pair_asked_for_stays_in_the_order_asked(labs):
    lab = labs(model=Dims(0.5, 3.0, 0.1, 2.0), pair=(np.int64(2), 0))
    assert lab.run(2).view.plane.pair == [2, 0]
    np.testing.assert_allclose(np.abs(points(lab)[0, :2]), [0.2**0.5, 1.0], rtol=1e-3)
    say_nats(lab, 9.0, 0.0, 0.0, 9.0)
    assert lab.view.plane.pair == [2, 0]
    say_as_page(lab, kind="pair", pair=[3, 1])  # a bar was clicked
    assert lab.view.plane.pair == [1, 3] and lab.controls.pair.label == "z2, z4"


@pytest.mark.slow
def test_the_deaths_follow_the_kind_and_the_data(labs):
    lab = labs(some_digits(1100), model=vaekit.LinearVAE(2), kind="linear", twin=True)
    few, other, back = {"data": "500 digits"}, {"kind": "bernoulli"}, {"kind": "linear"}
    for changes, n in (({}, 1100), (few, 500), (other, 0), (back, 500)):
        lab.set(**changes)
        lab.pause()
        deaths = theory.linear_vae(theory.eigenvalues(some_digits(n).images), 2, 0.5).deaths.tolist() if n else []
        assert [side.plane.deaths for side in lab.view.sides] == [pytest.approx(deaths)] * 2


def test_more_dimensions_than_pixels_have_as_many_deaths_as_there_are(labs):
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    lab = labs(images, model=vaekit.LinearVAE(80, (1, 8, 8)), kind="linear").run(2)
    assert len(lab.view.sides[0].plane.deaths) == 64 and lab.view.plane.message == ""


MEAN = {"bernoulli": torch.sigmoid, "gaussian": torch.sigmoid, "linear": lambda x: x.clamp(0, 1)}


def check_pictures(lab, kind: str, side: int = 0) -> None:
    """Backdrop, chosen image and decoder against the model itself."""
    view, model = lab.view.sides[side], lab.sides[side].model
    c, h, w = view.plane.shape
    header = view.plane.backdrop
    assert header["size"] == (15 * h, 15 * w) and header["channels"] == c
    with torch.no_grad():
        codes = torch.zeros(225, view.latent_dim)
        codes[:, view.plane.pair] = grid(header["extent"], 15)
        tiles = MEAN[kind](model.decode(codes)).mul(255).numpy()
        x_hat = MEAN[kind](model.decode(encoded(lab, side)[0][:1])).mul(255)[0].numpy()
    picture = np.frombuffer(header["pixels"], np.uint8).reshape(15, h, 15, w, c)
    np.testing.assert_allclose(picture.transpose(0, 2, 4, 1, 3).reshape(225, c, h, w), tiles, atol=0.52)
    pictures = np.frombuffer(view.plane.pictures, np.uint8).reshape(5, c, h, w)
    np.testing.assert_allclose(pictures[1], x_hat, atol=0.52)
    assert view.plane.decoder["kind"] == kind


@pytest.mark.parametrize("kind", ["gaussian", "linear"])
def test_pictures_are_the_pixels_means_and_change_with_the_kind(labs, kind):
    lab = labs(model=vaekit.LinearVAE(3), kind=kind).run(10)
    check_pictures(lab, kind)
    lab.set(kind="bernoulli")
    lab.run(1)
    check_pictures(lab, "bernoulli")


@pytest.mark.parametrize("twin", [False, True])
def test_colour_images_that_are_not_square(labs, twin):
    images = torch.randint(0, 256, (150, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lab = labs(images, latent_dim=3, twin=twin).run(5)
    for number, side in enumerate(lab.view.sides):
        assert side.plane.shape == [3, 6, 5]
        check_pictures(lab, "bernoulli", number)
        header = side.plane.traversals  # against torch: test_turn.py
        assert len(header["images"]) == 3 * header["across"] * 90
    assert lab.figure() and lab.error is None


def test_an_autoencoder_has_no_prior_to_show_and_more_than_two_dimensions_that_count_the_same(labs):
    lab = labs(model=vaekit.Autoencoder(4, 16)).run(20)
    plane, controls, status = lab.view.plane, lab.controls, lab.view.plane.status
    assert lab.error is None and plane.pair == [0, 1] and plane.autoencoder and (points(lab)[:, 2:] == 0).all()
    assert [name for name, _ in status["meters"]] == ["spread of means", "reconstruction"]
    assert status["headline"] == "Points." and status["kl"] == [None] * 4  # infinite: no number that JSON has
    assert plane.traversals["dims"] == [0, 1, 2, 3]
    check_pictures(lab, "bernoulli")
    knobs = {part for name in ("prior", "beta") for part in controls.knobs[0][name].parts}
    assert not knobs & set(controls.rows[0].children)
    say_as_page(lab, kind="key", key="p", side=0)
    assert lab.settings["prior"]
    assert controls.pair.label == "first two" and "most active" not in controls.pair.options
    for pair in ((3, 1), None):
        lab.show_pair(pair)
        done(lab)
    assert plane.pair == [0, 1]
    assert lab.run(2).error is None
    assert lab.figure()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_a_model_in_double_precision_is_shown_and_a_drawing_to_it(labs, request, default, dims):
    """Made so by its owner, or as torch's default has it; of bytes, or of doubles."""
    images, model = some_digits(300), small_vae(latent_dim=dims).double()
    if dims == 3:
        images = ImageSet(as_floats(images.images).double())
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(default)
    lab = labs(images, model=model) if default == torch.float32 else labs(images, latent_dim=dims)
    lab.run(3).draw([[(0.5, 0.1), (0.5, 0.9)]])
    say_as_page(lab, kind="decode", z=[1.0, 0.5])
    plane = lab.view.plane
    assert lab.error is None and plane.message == "" and plane.decoder and plane.pictures and plane.drawn["mark"]
    assert lab.view.sides[0].drawing.dtype == next(lab.model.parameters()).dtype


def test_weights_that_are_no_numbers_are_shown_as_such(labs):
    lab = labs(model=(model := small_vae(latent_dim=4)))
    torch.nn.init.constant_(model.encoder.mu.bias, torch.nan)
    lab.run(0)
    assert lab.error is None and lab.view.plane.message == "" and lab.view.plane.traversals
    with pytest.warns(UserWarning, match="the loss is not a number any more"):
        lab.run(3)
