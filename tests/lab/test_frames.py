"""What goes to the page, read back as the page reads it."""

import json
import struct

import numpy as np
import pytest
import torch
from lab_helpers import small_vae
from torch import nn

from vaekit import VAE, Decoder, mnist, train
from vaekit.lab.frames import Frame, mosaic, pack_decoder, pack_json, to_bytes, view_extent
from vaekit.latent import grid


def frame(mu, std, **values) -> Frame:
    rest = {"number": 7, "step": 70_000, "extent": 4.75, "beta": 0.5, "lr": 1e-3} | values
    return Frame(mu=np.asarray(mu, np.float32), std=np.asarray(std, np.float32), **rest)


def unpack(data: bytes) -> tuple[tuple, np.ndarray]:
    return struct.unpack("<IIIfff", data[:24]), np.frombuffer(data[24:], "<f2").reshape(-1, 4)


def test_the_layout_of_a_frame():
    mu, std = torch.randn(5, 2).numpy(), torch.rand(5, 2).numpy()
    data = frame(mu, std).pack()
    assert len(data) == 24 + 5 * 8
    header, points = unpack(data)
    assert header[:3] == (7, 70_000, 5)
    assert header[3:] == pytest.approx((4.75, 0.5, 1e-3))
    np.testing.assert_allclose(points[:, :2], mu, rtol=1e-3)
    np.testing.assert_allclose(points[:, 2:], std, rtol=1e-3)


def test_a_frame_of_nothing():
    assert unpack(frame(np.zeros((0, 2)), np.zeros((0, 2))).pack())[1].shape == (0, 4)


def test_numbers_beyond_the_formats_are_clipped_without_a_word():
    header, points = unpack(
        frame([[1e30, -np.inf]], [[np.inf, np.nan]], beta=1e300, lr=1e200, extent=float("inf")).pack()
    )
    assert np.isfinite(header[3:]).all() and min(header[3:]) > 3e38
    assert points[0, :3].tolist() == [65504, -65504, 65504] and np.isnan(points[0, 3])


# -- how far the plane reaches ----------------------------------------------------------------------------


def cloud(reach: float, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Codes on a circle, with σ a tenth of its radius: together they reach as far as `reach`."""
    angle = np.linspace(0, 2 * np.pi, n)
    mu = np.stack([np.cos(angle), np.sin(angle)], 1) * reach / 1.1
    return mu.astype(np.float32), np.full((n, 2), reach / 11, np.float32)


def test_the_plane_always_holds_the_priors_rings():
    for reach in (0.01, 1.0, 3.0):
        assert view_extent(*cloud(reach), now=3.8) == 3.8
    assert view_extent(*cloud(1.0), now=0.5) == 3.8
    assert view_extent(*cloud(4.0), now=0.5) == 3.8 * 1.25


def test_it_grows_at_once_in_steps_of_a_quarter():
    assert view_extent(*cloud(4.0), now=3.8) == pytest.approx(3.8 * 1.25)
    for reach in (5, 10, 100, 1e6):
        extent = view_extent(*cloud(reach), now=3.8)
        assert reach <= extent < 1.25 * reach + 0.1
        assert np.log(extent / 3.8) / np.log(1.25) == pytest.approx(round(np.log(extent / 3.8) / np.log(1.25)))


def test_it_comes_back_when_there_is_room_and_not_before():
    wide = 3.8 * 1.25**3
    assert view_extent(*cloud(0.95 * wide), wide) == wide
    assert view_extent(*cloud(0.8 * wide), wide) == wide  # it would fit the smaller one just so: it stays
    assert view_extent(*cloud(0.6 * wide), wide) < wide
    assert view_extent(*cloud(1.0), wide) == pytest.approx(3.8)


def test_a_cloud_that_trembles_does_not_make_the_plane_jump():
    for reach in np.linspace(3, 40, 200):
        extent = view_extent(*cloud(reach), now=3.8)
        extents = {view_extent(*cloud(reach * wobble), extent) for wobble in (0.96, 1.0, 0.97, 0.99)}
        assert extents == {extent}


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
    std[:how_many] = bad
    assert view_extent(*cloud(10.0)[:1], std, now=1.0) == 3.8


def test_the_largest_numbers_come_to_an_end():
    mu = np.full((10, 2), 3e38, np.float32)
    extent = view_extent(mu, np.zeros((10, 2), np.float32), now=3.8)
    assert np.isfinite(extent) and view_extent(*cloud(1.0), extent) == pytest.approx(3.8)


def test_no_codes_no_change():
    assert view_extent(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), now=3.8) == 3.8


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


# -- the decoder in the page ------------------------------------------------------------------------------


def read_json(data: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack("<I", data[:4])
    assert length % 4 == 0
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def decode_as_the_page_does(data: bytes, z: np.ndarray) -> np.ndarray:
    """The packed layers in numpy: (n, D) → (n, pixels) in 0..255."""
    header, payload = read_json(data)
    weights, h = np.frombuffer(payload, "<f2").astype(np.float32), z.astype(np.float32)
    for layer in header["layers"]:
        if layer["kind"] == "linear":
            size = layer["rows"] * layer["cols"]
            w, b, weights = weights[:size], weights[size : size + layer["rows"]], weights[size + layer["rows"] :]
            h = h @ w.reshape(layer["rows"], layer["cols"]).T + b
        else:
            h = {"relu": lambda v: np.maximum(v, 0), "tanh": np.tanh}[layer["kind"]](h)
    assert len(weights) == 0
    return 255 / (1 + np.exp(-h))


def test_json_is_padded_so_that_the_payload_can_be_read_in_place():
    for text in ("", "a", "ab", "abc", "ß"):
        header, payload = read_json(pack_json({"text": text}, b"payload"))
        assert header == {"text": text} and payload == b"payload"


def trained(model: VAE, steps: int = 60) -> VAE:
    for step in train(model, mnist(device="cpu").images, generator=torch.Generator().manual_seed(0)):
        if step.number == steps:
            return model


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_the_packed_decoder_gives_torchs_picture_within_one_grey(latent_dim):
    model = trained(small_vae(latent_dim=latent_dim, hidden=400))
    z = 4 * torch.randn(500, latent_dim, generator=torch.Generator().manual_seed(1))
    data = pack_decoder(model.decoder, 60, latent_dim, "bernoulli")
    header, _ = read_json(data)
    assert (header["step"], header["latent_dim"], header["kind"]) == (60, latent_dim, "bernoulli")
    with torch.no_grad():
        expected = torch.sigmoid(model.decode(z)).mul(255).flatten(1).numpy()
    np.testing.assert_allclose(decode_as_the_page_does(data, z.numpy()), expected, rtol=0, atol=0.3)  # of 255


def test_other_layers_that_the_page_knows():
    decoder = nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Identity(), nn.Linear(9, 12), nn.Unflatten(1, (3, 2, 2)))
    z = torch.randn(4, 2)
    packed = decode_as_the_page_does(pack_decoder(decoder, 0, 2, "bernoulli"), z.numpy())
    np.testing.assert_allclose(packed, torch.sigmoid(decoder(z)).mul(255).flatten(1).detach(), atol=0.5)
    assert pack_decoder(nn.Linear(2, 4), 0, 2, "bernoulli")


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


def test_the_kits_own_decoder_is_packed():
    assert pack_decoder(Decoder(), 0, 2, "bernoulli")
