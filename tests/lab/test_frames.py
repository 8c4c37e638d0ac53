"""What goes to the page, read back as the page reads it."""

import struct

import numpy as np
import pytest
import torch
from torch import nn

from vaekit import Decoder
from vaekit.lab.frames import Frame, mosaic, pack_decoder, to_bytes, unpack_json, view_extent
from vaekit.latent import grid


def frame(mu, std, **values) -> Frame:
    header = {"number": 7, "step": 70_000, "extent": 4.75, "beta": 0.5} | values
    return Frame(mu=np.asarray(mu, np.float32), std=np.asarray(std, np.float32), **header)


def unpack(data: bytes) -> tuple[tuple, np.ndarray]:
    return struct.unpack("<IIIff", data[:20]), np.frombuffer(data[20:], "<f2").reshape(-1, 4)


@pytest.mark.parametrize("count", [0, 5])
def test_the_layout_of_a_frame(count):
    mu, std = torch.randn(count, 2).numpy(), torch.rand(count, 2).numpy()
    header, points = unpack(frame(mu, std).pack())
    assert header == (7, 70_000, count, 4.75, 0.5)
    np.testing.assert_array_equal(points, np.concatenate([mu, std], 1).astype(np.float16))


def test_numbers_beyond_the_formats_are_clipped_without_a_word():
    header, points = unpack(frame([[1e30, -np.inf]], [[np.inf, np.nan]], beta=1e300, extent=float("inf")).pack())
    assert np.isfinite(header[3:]).all() and min(header[3:]) > 3e38
    assert points[0, :3].tolist() == [65504, -65504, 65504] and np.isnan(points[0, 3])


# -- how far the plane reaches ----------------------------------------------------------------------------


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


def test_a_few_outliers_do_not_decide():
    mu, std = cloud(3.0)
    mu[:2] = 50
    assert view_extent(mu, std, now=3.8) == 3.8


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("how_many", [1, 1000])
def test_what_is_no_number_leaves_the_plane_as_it_is(bad, how_many):
    mu, std = cloud(10.0)
    mu[:how_many] = bad
    assert view_extent(mu, std, now=5.9375) == 5.9375
    assert view_extent(mu, std, now=1.0) == 3.8


def test_the_largest_numbers_and_none_come_to_an_end():
    mu = np.full((10, 2), 3e38, np.float32)
    extent = view_extent(mu, np.zeros((10, 2), np.float32), now=3.8)
    assert np.isfinite(extent) and view_extent(*cloud(1.0), extent) == pytest.approx(3.8)
    assert view_extent(mu[:0], mu[:0], now=3.8) == 3.8


# -- pictures ---------------------------------------------------------------------------------------------


def test_to_bytes_rounds_and_clips():
    x = torch.tensor([-1.0, 0.0, 0.499 / 255, 0.501 / 255, 0.5, 1.0, 2.0])
    assert to_bytes(x).tolist() == [0, 0, 0, 1, 128, 255, 255] and to_bytes(x).dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3])
def test_the_mosaic_puts_each_tile_in_its_place(channels):
    n, h, w = 3, 2, 4
    x = torch.arange(n * n * channels * h * w).reshape(n * n, channels, h, w) / 255
    picture = mosaic(x, n)
    assert picture.shape == (n * h, n * w, channels) and picture.flags["C_CONTIGUOUS"]
    for tile in range(n * n):
        row, column = divmod(tile, n)
        cut = picture[row * h : (row + 1) * h, column * w : (column + 1) * w]
        np.testing.assert_array_equal(cut, to_bytes(x[tile]).transpose(1, 2, 0))


def test_in_the_backdrop_z1_grows_to_the_right_and_z2_upwards():
    """A decoder that paints its code: the red channel is z₁, the green one z₂."""
    z = grid(4.0, 5)  # (25, 2)
    colours = ((z + 4) / 8).reshape(25, 2, 1, 1).expand(25, 2, 6, 6)
    picture = mosaic(torch.cat([colours, torch.zeros(25, 1, 6, 6)], 1), 5).astype(int)
    assert (np.diff(picture[:, ::6, 0], axis=1) > 0).all() and (np.diff(picture[::6, :, 1], axis=0) < 0).all()
    assert picture[15, 15].tolist() == [128, 128, 0]  # the middle tile is the origin


# -- the decoder for the page: what node makes of it is in test_page_js -------------------------------------


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Backwards(nn.Sequential):
    def forward(self, x):
        return -super().forward(x)


@pytest.mark.parametrize(
    "decoder",
    [
        nn.Sequential(nn.Linear(2, 4), nn.LeakyReLU(), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)),
        nn.Sequential(nn.Linear(2, 4, bias=False)),
        nn.Sequential(nn.Linear(2, 4), nn.Sequential(nn.ReLU())),
        nn.Sequential(nn.ConvTranspose2d(2, 1, 4)),
        nn.Sequential(Doubling(2, 4)),
        Backwards(nn.Linear(2, 4)),
        nn.Sequential(nn.Flatten()),
        nn.Identity(),
    ],
)
def test_layers_that_the_page_does_not_know_are_not_packed(decoder):
    assert pack_decoder(decoder, 0, 2, "bernoulli") == b""


def test_the_kits_own_decoder_is_packed_and_its_weights_can_be_read_in_place():
    packed = pack_decoder(Decoder(), 9, 2, "bernoulli")
    header, payload = unpack_json(packed)
    assert (header["step"], header["latent_dim"], header["kind"]) == (9, 2, "bernoulli")
    assert len(payload) == 2 * (3 * 400 + 401 * 784) and packed.index(payload) % 4 == 0
    assert pack_decoder(nn.Linear(2, 4), 0, 2, "bernoulli")
