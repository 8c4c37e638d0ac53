"""The code turned in the plane: against a rotation by matrix product, and full covariances where it has them."""

import math

import numpy as np
import pytest
import torch
from lab_helpers import encoded, greys, say_as_page, with_methods
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import vaekit
from vaekit.cartoons import FaceSet
from vaekit.latent import grid


def rotation(degrees: float, dims: int = 2, pair: tuple[int, int] = (0, 1)) -> torch.Tensor:
    """R (D, D): in the plane of a pair, from its first dimension towards its second."""
    angle, matrix = math.radians(degrees), torch.eye(dims)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix[np.ix_(pair, pair)] = torch.tensor([[cos, -sin], [sin, cos]])
    return matrix


@pytest.fixture
def three(labs):
    """Three latents, of which the plane shows the third to the right and the first upwards."""
    return labs(latent_dim=3, pair=(2, 0)).run(40)


def test_backdrop_and_traversals_decode_what_the_turn_turns_back(three):
    three.turn_code(30)
    plane, back = three.view.plane, rotation(30, 3, (2, 0))  # row by row, z′ @ R is R⁻¹ z′
    header = plane.backdrop
    codes = torch.zeros(225, 3)
    codes[:, [2, 0]] = grid(header["extent"], 15)
    tiles = np.frombuffer(header["pixels"], np.uint8).reshape(15, 28, 15, 28).swapaxes(1, 2).reshape(225, 28, 28)
    np.testing.assert_allclose(tiles, greys(three.model, codes @ back), atol=0.6)

    header = plane.traversals
    shown = (encoded(three)[0][:1] @ back.T).repeat(len(header["dims"]) * 9, 1)
    for row, dim in enumerate(header["dims"]):
        shown[9 * row : 9 * row + 9, dim] = torch.linspace(-3, 3, 9)
    images = np.frombuffer(header["images"], np.uint8).reshape(-1, 28, 28)
    np.testing.assert_allclose(images, greys(three.model, shown @ back), atol=0.6)


def test_a_page_that_cannot_decode_asks_and_where_an_image_lies_now_it_is_decoded_as_before(three):
    sent, expected = [], greys(three.model, torch.tensor([[-1.1, 0.0, 0.8]]))
    three.view.plane.send = lambda content, buffers: sent.append((content, np.frombuffer(buffers[0], np.uint8)))
    for degrees in (0, 25, 90):
        three.turn_code(degrees)
        z = (torch.tensor([0.8, -1.1]) @ rotation(degrees).T).tolist()
        say_as_page(three, kind="decode", z=z)
        assert sent[-1][0] == {"kind": "decoded", "z": z}
        np.testing.assert_allclose(sent[-1][1].reshape(1, 28, 28), expected, atol=0.6)
    say_as_page(three, kind="decode", z=[0, 0])  # as JSON writes 0.0
    assert len(sent) == 4 and expected.std() > 5


def test_the_loss_cannot_see_the_angle_and_each_dimension_can(three):
    before, shown = three.measured, three.view.plane.status["kl"]
    three.turn_code(40)
    mu, logvar = encoded(three)
    matrix = rotation(40, 3, (2, 0))
    mu, covariance = mu @ matrix.T, matrix @ torch.diag_embed(logvar.exp()) @ matrix.T
    turned = kl_divergence(MultivariateNormal(mu, covariance), MultivariateNormal(torch.zeros(3), torch.eye(3)))
    assert three.measured.kl == before.kl == pytest.approx(turned.mean().item(), rel=1e-4)
    alone = Normal(mu, covariance.diagonal(dim1=1, dim2=2).sqrt())
    expected = kl_divergence(alone, Normal(torch.zeros(3), torch.ones(3))).mean(0)
    np.testing.assert_allclose(three.view.plane.status["kl"], expected, atol=2e-4)
    assert np.abs(np.subtract(three.view.plane.status["kl"], shown)).max() > 0.02
    assert three.measured.active == (mu.var(0, correction=0) > 0.01).sum()
    for name in ("mean_std", "spread", "overlap", "completeness", "continuity"):
        assert getattr(three.measured, name) == getattr(before, name)


def test_the_mig_sees_the_angle(labs):
    truth = torch.rand(150, 3, generator=torch.Generator().manual_seed(0))
    truth[:, 2] = 0.5  # one that is held has nothing to be known
    pixels = truth[:, :2].mul(255).to(torch.uint8)
    images = torch.cat([pixels, torch.zeros(150, 62, dtype=torch.uint8)], 1).view(150, 1, 8, 8)
    # a model whose code is what it was told: the first two pixels
    told = with_methods(encode=lambda self, x: (4 * x.flatten(1)[:, :2] - 2, torch.full((len(x), 2), -4.0)))
    lab = labs(FaceSet(images, None, "told", truth, ("one", "two", "held")), model=told(2, 4, (1, 8, 8)))
    for degrees, least, most in ((0, 0.4, 1.0), (45, 0.0, 0.1)):
        lab.turn_code(degrees)
        codes = encoded(lab)[0] @ rotation(degrees).T
        expected = vaekit.metrics.mutual_information_gap(codes, truth[:100, :2]).gap.mean().item()
        assert lab.measured.mig == pytest.approx(expected, abs=0.01) and least <= expected <= most
        assert ["MIG", f"{lab.measured.mig:.2f}"] in lab.view.plane.status["meters"]
    assert "MIG" not in dict(labs().run(1).view.plane.status["meters"])  # digits: the factors are not known


def test_at_0_degrees_nothing_is_another(labs):
    lab = labs().run(10)
    plane = lab.view.plane
    seen = []
    for degrees in (0, 33, 0):
        lab.turn_code(degrees)
        seen.append((plane.backdrop, plane.frame["points"], plane.decoder))
    assert seen[0] == seen[2] and seen[0][0] != seen[1][0] and seen[0][1:] == seen[1][1:]  # these the page turns


def test_slider_and_code_turn_both_runs_of_a_twin_and_the_pair_stays(labs, refuses):
    lab = labs(twin=True, latent_dim=3)
    lab.controls.angle.value = 20
    assert [side.plane.turn for side in lab.view.sides] == [20, 20]
    pair = lab.view.plane.pair
    lab.turn_code(45.5)
    assert lab.controls.angle.value == 45.5
    assert lab.run(30).view.plane.pair == pair  # whichever would say most
    for wrong in (-1, 91, math.nan, "45"):
        with refuses((TypeError, ValueError), "degrees must be a number from 0 to 90, not"):
            lab.turn_code(wrong)
    assert lab.view.plane.turn == 45.5


def test_an_autoencoders_points_are_turned_and_a_drawings_words_are_those_of_the_turned_code(labs):
    points = labs(model=vaekit.Autoencoder(hidden=16)).run(5)
    points.turn_code(45)
    assert points.run(2).error is None and points.figure()
    lab = labs().run(5)
    lab.draw([[(0.5, 0.1), (0.5, 0.9)]])
    mark = lab.view.plane.drawn["mark"]
    lab.turn_code(70)
    assert lab.view.plane.drawn["mark"] == pytest.approx(mark, abs=1e-5)  # the page turns it
    z1, z2 = rotation(70).numpy() @ mark[:2]
    assert f"z₁ = {z1:.2f}".replace("-", "−") in lab.view.plane.drawn["words"]
    assert f"z₂ = {z2:.2f}".replace("-", "−") in lab.view.plane.drawn["words"]
