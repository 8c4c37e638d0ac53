"""What goes to the page, read back as the page reads it. How a frame is laid out: test_page_js."""

import numpy as np
import pytest
from torch import nn

from vaekit.lab.frames import Frame, decoder_state, view_extent


def test_numbers_beyond_float16_are_clipped_without_a_word():
    mu, std = np.array([[[1e30, -np.inf]], [[np.inf, np.nan]]], np.float32)
    points = np.frombuffer(Frame(7, 70_000, mu, std, 3.8, 1.0).state()["points"], "<f2")
    assert points[:3].tolist() == [65504, -65504, 65504] and np.isnan(points[3])


def cloud(reach: float, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Codes on a circle, with σ a tenth of its radius: together they reach as far as `reach`."""
    angle = np.linspace(0, 2 * np.pi, n)
    mu = np.stack([np.cos(angle), np.sin(angle)], 1) * reach / 1.1
    return mu.astype(np.float32), np.full((n, 2), reach / 11, np.float32)


WIDE = 3.8 * 1.25**3


@pytest.mark.parametrize(
    ("reach", "now", "then"),
    [
        *[(0.01, 3.8, 3.8), (3.0, 3.8, 3.8), (1.0, 0.5, 3.8)],  # the prior's rings are always there
        *[(4.0, 0.5, 3.8 * 1.25), (4.0, 3.8, 3.8 * 1.25), (7.0, 3.8, WIDE)],  # out at once, in steps of a quarter
        *[(0.95 * WIDE, WIDE, WIDE), (0.8 * WIDE, WIDE, WIDE)],  # it would fit the smaller one just so: it stays
        *[(0.6 * WIDE, WIDE, WIDE / 1.25), (1.0, WIDE, 3.8)],  # back when there is room
    ],
)
def test_the_plane_follows_the_cloud_in_steps(reach, now, then):
    extent = view_extent(*cloud(reach), now)
    assert extent == pytest.approx(then)
    assert view_extent(*cloud(0.97 * reach), extent) == extent  # a cloud that trembles does not make it jump


def test_a_few_outliers_and_what_is_no_number_do_not_decide():
    mu, std = cloud(3.0)
    mu[:2] = 50
    assert view_extent(mu, std, now=3.8) == 3.8
    for how_many in (1, 1000):
        mu, std = cloud(10.0)
        mu[:how_many] = np.nan
        assert view_extent(mu, std, now=5.9375) == 5.9375 and view_extent(mu, std, now=1.0) == 3.8
    mu = np.full((10, 2), 3e38, np.float32)
    extent = view_extent(mu, np.zeros((10, 2), np.float32), now=3.8)
    assert np.isfinite(extent) and view_extent(*cloud(1.0), extent) == pytest.approx(3.8)


@pytest.mark.parametrize(
    "decoder",
    [
        nn.Sequential(nn.Linear(2, 4), nn.LeakyReLU(), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(2, 4), nn.Sequential(nn.ReLU())),
        nn.Sequential(nn.ConvTranspose2d(2, 1, 4)),
        nn.Sequential(type("Doubling", (nn.Linear,), {})(2, 4)),  # another class may do something else
        nn.Identity(),
    ],
)
def test_layers_that_the_page_does_not_know_are_not_packed(decoder):
    assert decoder_state(decoder, 0, 2, "bernoulli") == {} != decoder_state(nn.Linear(2, 4), 0, 2, "bernoulli")
