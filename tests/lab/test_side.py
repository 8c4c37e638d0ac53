"""What a side shows of its run: the pair of dimensions, traversals, deaths, and the mean of each pixel."""

import numpy as np
import pytest
import torch
from lab_helpers import done, encoded, say_as_page, small_vae, some_digits

import vaekit
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
    done(lab)
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


def linear(k: int) -> vaekit.LinearVAE:
    return vaekit.LinearVAE(k, init_generator=torch.Generator().manual_seed(0))


def deaths_of(images: torch.Tensor, k: int) -> np.ndarray:
    """λ / ½ of the k largest variances, in plain numpy."""
    x = images.flatten(1).double().numpy() / 255
    return np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1][:k] / 0.5


@pytest.mark.slow
def test_the_deaths_follow_the_kind_and_the_data(labs):
    lab = labs(some_digits(1100), model=linear(2), kind="linear", twin=True)
    done(lab)
    first = [side.plane.deaths for side in lab.view.sides]
    np.testing.assert_allclose(first, [deaths_of(some_digits(1100).images, 2)] * 2, rtol=1e-6)
    lab.set(kind="bernoulli")
    lab.pause()
    assert [side.plane.deaths for side in lab.view.sides] == [[], []]
    lab.set(kind="linear", data="500 digits")
    lab.pause()
    few = [side.plane.deaths for side in lab.view.sides]
    np.testing.assert_allclose(few, [deaths_of(some_digits(500).images, 2)] * 2, rtol=1e-6)


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
    lab = labs(model=linear(3), kind=kind).run(10)
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


def test_a_plain_autoencoder_of_more_than_two_dimensions(labs):
    """No σ and no KL: every dimension counts the same, and nothing is in the way of showing it."""
    lab = labs(model=vaekit.Autoencoder(4, 16, init_generator=torch.Generator().manual_seed(0))).run(20)
    assert lab.error is None and lab.view.plane.pair == [0, 1] and (points(lab)[:, 2:] == 0).all()
    assert lab.view.plane.status["kl"] == [None] * 4  # infinite: no number that JSON has
    assert lab.view.plane.traversals["dims"] == [0, 1, 2, 3]
    check_pictures(lab, "bernoulli")
    assert lab.controls.pair.label == "first two" and "most active" not in lab.controls.pair.options
    for pair in ((3, 1), None):
        lab.show_pair(pair)
        done(lab)
    assert lab.view.plane.pair == [0, 1]
    assert lab.run(2).error is None
    assert lab.figure()


@pytest.mark.parametrize("dims", [2, 3])
def test_a_model_in_double_precision_is_shown(labs, dims):
    model = vaekit.VAE(dims, 16, init_generator=torch.Generator().manual_seed(0)).double()
    lab = labs(model=model).run(3)
    say_as_page(lab, kind="decode", z=[1.0, 0.5])
    assert lab.error is None and lab.view.plane.message == "" and lab.view.plane.decoder


def test_weights_that_are_no_numbers_are_shown_as_such(labs):
    lab = labs(model=(model := small_vae(latent_dim=4)))
    torch.nn.init.constant_(model.encoder.mu.bias, torch.nan)
    lab.run(0)
    done(lab)
    assert lab.error is None and lab.view.plane.message == "" and lab.view.plane.traversals
    with pytest.warns(UserWarning, match="the loss is not a number any more"):
        lab.run(3)
