"""A run as one HTML file: whole, without a request to anywhere, and of a size to send to somebody."""

import base64
import gzip
import html
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_helpers import playing_on, same_bits, some_digits, wait_for, weights
from torch import nn

import vaekit
import vaekit.lab.export
from vaekit.data import ImageSet
from vaekit.lab.frames import pack_decoder, shrink_decoder, to_bytes, unpack_json
from vaekit.lab.trail import FRAMES, POINTS

pytestmark = pytest.mark.slow  # all of them together

MEGABYTE = 1e6


def exported(lab, path: Path) -> str:
    assert lab.export_html(path) == path
    return path.read_text(encoding="utf-8")


def unpacked(text: str) -> dict:
    """What the file's page reads: the state, with the bytes put where a {at, length} stands."""
    [packed] = re.findall(r'id="run">([A-Za-z0-9+/=]*)</script>', text)
    state, payload = unpack_json(gzip.decompress(base64.b64decode(packed, validate=True)))

    def fill(value):
        if isinstance(value, dict) and value.keys() == {"at", "length"}:
            part = payload[value["at"] :][: value["length"]]
            assert len(part) == value["length"]
            return part
        if isinstance(value, dict):
            return {name: fill(its) for name, its in value.items()}
        return [fill(its) for its in value] if isinstance(value, list) else value

    return fill(state)


def run_decoder(packed: bytes, z: np.ndarray) -> np.ndarray:
    """As the page does: layers one after the other, 8-bit weights times their row's scale. z (n, D) → (n, pixels)."""
    header, payload = unpack_json(packed)
    at, h = 0, z.astype(np.float32)

    def take(n: int, kind: str) -> np.ndarray:
        nonlocal at
        found = np.frombuffer(payload, kind, n, at)
        at += found.nbytes
        return found.astype(np.float32)

    for layer in header["layers"]:
        if layer["kind"] == "linear":
            rows, cols = layer["rows"], layer["cols"]
            scale = take(rows, "<f2")[:, None] if layer.get("bits") == 8 else 1
            weight = take(rows * cols, "i1" if layer.get("bits") == 8 else "<f2").reshape(rows, cols) * scale
            h = h @ weight.T + take(rows, "<f2")
        else:
            h = np.maximum(h, 0) if layer["kind"] == "relu" else np.tanh(h)
    assert at == len(payload)
    return np.clip(np.round(255 * (h if header["kind"] == "linear" else 1 / (1 + np.exp(-h)))), 0, 255)


def pixels(model: nn.Module, z: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.sigmoid(model.decode(torch.tensor(z, dtype=torch.float32))).flatten(1).mul(255).numpy()


# -- the file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twin", [False, True])
def test_it_is_one_file_that_asks_for_nothing_from_anywhere(labs, tmp_path, twin):
    text = exported(labs(twin=twin).run(5), tmp_path / "run.html")
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]
    code = re.sub(r'id="run">[A-Za-z0-9+/=]*<', "<", text)  # base64 may spell anything
    assert len(code) < len(text)
    for word in ("http", "src=", "url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "import(", "//cdn"):
        assert word not in code, word
    assert not re.search(r"<(link|img|iframe|base|object|embed)\b", code)
    assert not re.search(r"^\s*(import|export)\b", code, re.MULTILINE)
    assert text.startswith("<!doctype html>") and 'charset="utf-8"' in text and 'name="viewport"' in text
    assert text.count("<script") == text.count("</script>") == 2 and text.count("<style") == text.count("</style>") == 1
    twins = "Two variational autoencoders" if twin else "A variational autoencoder"
    assert f"<title>{twins} in training: digits, 5 steps</title>" in text


def test_a_name_that_looks_like_html_is_text(labs, tmp_path):
    images = some_digits(300)
    lab = labs(ImageSet(images.images, images.labels, "</title><script>{alert(1)} & more"))
    text = exported(lab, tmp_path / "run.html")
    title = re.findall(r"<title>(.*)</title>", text)[0]
    assert html.unescape(title).endswith("</title><script>{alert(1)} & more, 0 steps") and "<" not in title
    assert text.count("<script") == 2
    assert unpacked(text)["planes"][0]["status"]["settings"]["data"] == lab.settings["data"]


# -- what it holds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("twin", [False, True])
def test_what_it_holds_is_what_the_view_does(labs, tmp_path, twin):
    lab = labs(some_digits(1100), twin=twin, latent_dim=3, shown=500)
    for changes in ({"beta": 4.0}, {"prior": False}, {"lr": 2e-3}):
        lab.run(10)
        lab.set(**changes)
    lab.run(10).show("draws")
    lab.pause()
    state = unpacked(exported(lab, tmp_path / "run.html"))
    assert state.keys() == {"planes", "curves", "trail", "images"} and len(state["planes"]) == 1 + twin
    for plane, side in zip(state["planes"], lab.view.sides, strict=True):
        assert plane["frame"] == side.last.first(POINTS).pack() and plane["classes"] == side.plane.classes[:POINTS]
        for name in ("backdrop", "pictures", "probe", "traversals"):
            assert plane[name] == getattr(side.plane, name) != b"", name
        for name in ("chosen", "shape", "pair", "palette", "deaths", "message", "status"):
            assert plane[name] == getattr(side.plane, name), name
        assert plane["decoder"] == shrink_decoder(side.plane.decoder) != b""
    curves = lab.view.curves
    assert state["curves"]["history"] == curves.history and len(curves.history) == 40 * 4 * (4 + 3 * twin)
    assert state["curves"]["runs"] == 1 + twin and len(state["curves"]["marks"]) == 3
    assert state["curves"]["marks"] == curves.marks
    trail = lab.view.trail
    for kept, its in zip(state["trail"]["frames"], trail.frames, strict=True):
        assert kept == {"step": its.step, "pair": its.pair, "parts": its.parts}
    assert state["trail"]["frames"][0]["step"] == 0 and state["trail"]["frames"][-1]["step"] == 40
    assert state["images"] == to_bytes(lab.view.sides[0].images[:POINTS]).tobytes()
    assert len(state["images"]) == POINTS * 784


@pytest.mark.parametrize("twin", [False, True])
def test_of_the_decoders_the_last_and_one_half_way_are_there(labs, tmp_path, twin):
    lab = labs(twin=twin)
    for _ in range(8):
        lab.run(3)
    state = unpacked(exported(lab, tmp_path / "run.html"))
    decoders, kept = state["trail"]["decoders"], lab.view.trail.decoders
    assert len(decoders) == 2 and decoders[0]["step"] == kept[len(kept) // 2].step and decoders[-1]["step"] == 24
    for its in decoders:
        [same] = [k for k in kept if k.step == its["step"]]
        assert its["parts"] == [shrink_decoder(part) for part in same.parts] and its["pair"] == same.pair
    assert decoders[-1]["parts"] == [plane["decoder"] for plane in state["planes"]]


def test_what_is_there_twice_is_kept_once(labs, tmp_path):
    text = exported(labs().run(3), tmp_path / "run.html")
    [packed] = re.findall(r'id="run">([^<]*)<', text)
    state, _ = unpack_json(gzip.decompress(base64.b64decode(packed)))
    assert state["planes"][0]["decoder"] == state["trail"]["decoders"][-1]["parts"][0]


def test_before_the_first_step(labs, tmp_path):
    state = unpacked(exported(labs(), tmp_path / "run.html"))
    assert [kept["step"] for kept in state["trail"]["frames"]] == [0] and state["curves"]["history"] == b""
    assert len(state["trail"]["decoders"]) == 1 and state["planes"][0]["decoder"]


def test_a_decoder_that_the_page_cannot_run_is_left_out(labs, tmp_path):
    decoder = nn.Sequential(nn.Linear(2, 49), nn.Unflatten(1, (1, 7, 7)), nn.ConvTranspose2d(1, 1, 4, 4))
    lab = labs(model=vaekit.VAE(2, 16, decoder=decoder)).run(3)
    state = unpacked(exported(lab, tmp_path / "run.html"))
    assert state["planes"][0]["decoder"] == b"" and state["planes"][0]["backdrop"] and state["planes"][0]["pictures"]
    assert all(kept["parts"] == [b""] for kept in state["trail"]["decoders"])


def test_images_in_colour_and_without_classes(labs, tmp_path):
    images = torch.randint(0, 256, (150, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    state = unpacked(exported(labs(images).run(3), tmp_path / "run.html"))
    assert state["planes"][0]["shape"] == [3, 6, 5] and state["planes"][0]["classes"] == b""
    assert state["images"] == images[:100].numpy().tobytes()


# -- of a lab that plays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [False, True])
def test_of_a_lab_that_plays_it_shows_the_step_it_has_come_to_and_stands_still(labs, tmp_path, seen):
    """Seen or not, right after the images were changed: the trail has just begun."""
    lab = labs(some_digits(1100))
    if seen:
        lab.engine.seen()
    lab.play()
    wait_for(lambda: lab.steps_taken > 20)
    lab.set(data="500 digits")
    wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 5)
    before = lab.steps_taken
    text = exported(lab, tmp_path / "run.html")
    assert lab.playing and lab.error is None
    state = unpacked(text)
    [plane], trail = state["planes"], state["trail"]
    step = trail["frames"][-1]["step"]
    assert step >= before and f"500 digits, {step:,} steps" in text
    assert plane["status"]["playing"] is False and state["curves"]["status"]["playing"] is False
    assert plane["status"]["step"] == step  # else the page takes the trail for another run's
    assert unpack_json(plane["decoder"])[0]["step"] == trail["decoders"][-1]["step"] == step
    assert plane["frame"][4:8] == np.uint32(step).tobytes()
    assert dict(plane["status"]["meters"])["KL, nats"] == f"{sum(plane['status']['kl']):.2f}" != "0.00"
    assert plane["status"]["headline"] != "Untrained."


def test_exporting_changes_nothing(labs, tmp_path):
    lab, alone = labs(), labs().run(20)
    for number in range(4):
        lab.run(5).export_html(tmp_path / f"{number}.html")
    assert same_bits(weights(lab.model), weights(alone.model))
    first, again = exported(lab, tmp_path / "a.html"), exported(lab, tmp_path / "b.html")
    assert unpacked(first)["curves"] == unpacked(again)["curves"] and lab.recording == alone.recording


# -- where it goes ----------------------------------------------------------------------------------------


def test_where_it_cannot_be_written_is_one_line_and_the_lab_plays_on(labs, tmp_path, refuses):
    lab = labs()
    with playing_on(lab):
        for path in (tmp_path / "no folder" / "run.html", tmp_path):
            with refuses(OSError, "could not be written"):
                lab.export_html(path)
        with refuses(TypeError, "path"):
            lab.export_html(None)
        with refuses(ValueError, "no path"):
            lab.export_html("")
    assert list(tmp_path.iterdir()) == []


def test_it_is_written_whole_or_not_at_all(labs, tmp_path, monkeypatch, refuses):
    lab, path = labs().run(2), tmp_path / "run.html"
    before = exported(lab, path)
    lab.run(2)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with refuses(OSError, "No space left on device"):
            lab.export_html(path)
    assert path.read_text(encoding="utf-8") == before and [its.name for its in tmp_path.iterdir()] == ["run.html"]
    assert "4 steps" in exported(lab, str(path) and path)


def test_a_path_may_be_a_word(labs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert labs().export_html("run.html") == Path("run.html") and Path("run.html").stat().st_size > 10_000


# -- how large it is, and how good ------------------------------------------------------------------------


def test_the_smaller_decoder_is_half_the_size_and_nearly_as_good():
    """Rows of very different size, one of them all 0: each has a scale of its own."""
    model = vaekit.VAE(2, 64, (1, 12, 12), init_generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.decoder[2].weight.mul_(torch.logspace(-2, 1.3, 144)[:, None])
        model.decoder[2].weight[7] = 0
    packed = pack_decoder(model.decoder, 3, 2, "bernoulli")
    small = shrink_decoder(packed)
    header, payload = unpack_json(small)
    assert header["step"] == 3 and [layer.get("bits") for layer in header["layers"]] == [None, None, 8]
    assert len(payload) == 2 * 64 * 2 + 2 * 64 + 2 * 144 + 64 * 144 + 2 * 144
    z = np.random.default_rng(0).uniform(-3, 3, (200, 2)).astype(np.float16)
    np.testing.assert_allclose(run_decoder(packed, z), pixels(model, z), atol=1.5)
    assert np.abs(run_decoder(small, z) - pixels(model, z)).max() < 8
    flat = np.abs(run_decoder(small, z)[:, 7] - run_decoder(packed, z)[:, 7])
    assert flat.max() == 0 and shrink_decoder(b"") == b""
    assert shrink_decoder(packed, least=10**6) == packed


@pytest.mark.slow
@pytest.mark.parametrize("twin", [False, True])
def test_of_the_real_model_it_is_about_a_megabyte_and_its_digits_are_the_models(labs, tmp_path, monkeypatch, twin):
    monkeypatch.setattr(vaekit.lab.engine, "RUN_SECONDS", 0.0)
    lab = labs(some_digits(6000), hidden=400, shown=1000, twin=twin).run(FRAMES + 20)
    monkeypatch.setattr(vaekit.lab.engine, "RUN_SECONDS", 10.0)
    for _ in range(7):
        lab.run(60)
    state = unpacked(exported(lab, tmp_path / "run.html"))
    size = (tmp_path / "run.html").stat().st_size
    print(f"{size / MEGABYTE:.2f} MB")
    assert 0.3 * MEGABYTE < size < (2.8 if twin else 1.6) * MEGABYTE
    assert len(state["trail"]["frames"]) == FRAMES and len(state["images"]) == POINTS * 784
    for plane, side in zip(state["planes"], lab.sides, strict=True):
        x = lab.engine.run.images[:200].float() / 255
        with torch.no_grad():
            mu = side.model.encode(x)[0].numpy()
        z = np.concatenate([mu, np.random.default_rng(0).standard_normal((200, 2))]).astype(np.float16)
        error = np.abs(run_decoder(plane["decoder"], z) - pixels(side.model, z))
        # Where a logit is large next to the row's largest weight, as far out, a step of 1/127 may show in some pixel.
        print(f"largest {error.max():.1f}, mean {error.mean():.2f} of 255, over 4: {(error > 4).mean():.1e}")
        assert (error > 4).mean() < 5e-3 and error.mean() < 0.5
