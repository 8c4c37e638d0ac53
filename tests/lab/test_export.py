"""A run as one HTML file: whole, without a request to anywhere, and of a size to send to somebody."""

import base64
import gzip
import html
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_helpers import playing_on, same_bits, some_digits, wait_for, weights
from PIL import Image
from torch import nn

import vaekit
from vaekit.data import ImageSet
from vaekit.lab.frames import pack_decoder, shrink_decoder, to_bytes, unpack_json
from vaekit.lab.trail import POINTS

pytestmark = pytest.mark.slow  # all of them together


def exported(lab, path: Path) -> str:
    assert lab.export_html(path) == path
    return path.read_text(encoding="utf-8")


def unpacked(text: str) -> dict:
    """What the file's page reads: the state, with the bytes put where a {at, length} stands."""
    [packed] = re.findall(r'id="run">([A-Za-z0-9+/=]*)</script>', text)
    state, payload = unpack_json(gzip.decompress(base64.b64decode(packed, validate=True)))

    def fill(value):
        if isinstance(value, dict) and value.keys() == {"at", "length"}:
            return payload[value["at"] :][: value["length"]]
        if isinstance(value, dict):
            return {name: fill(part) for name, part in value.items()}
        return [fill(part) for part in value] if isinstance(value, list) else value

    return fill(state)


@pytest.mark.parametrize("twin", [False, True])
def test_it_is_one_file_that_asks_for_nothing_from_anywhere(labs, tmp_path, twin):
    text = exported(labs(twin=twin).run(5), tmp_path / "run.html")
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]
    code = re.sub(r'(id="run">|base64,)[A-Za-z0-9+/=]*', "", text)  # base64 may spell anything
    for word in ("http", "url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "import(", "//cdn"):
        assert word not in code, word
    assert not re.search(r"<(link|iframe|base|object|embed)\b", code)
    assert re.findall(r'src="([^"]*)', code) == ["data:image/png;"]
    assert not re.search(r"^\s*(import|export)\b", code, re.MULTILINE)
    assert text.startswith("<!doctype html>") and 'charset="utf-8"' in text and 'name="viewport"' in text
    assert text.count("<script") == text.count("</script>") == 2
    twins = "Two variational autoencoders" if twin else "A variational autoencoder"
    assert f"<title>{twins} in training: digits, 5 steps</title>" in text


def test_without_scripts_there_are_a_line_and_a_picture(labs, tmp_path):
    text = exported(labs().run(5), tmp_path / "run.html")
    assert "no scripts run" in re.findall(r"<noscript>(.*?)</noscript>", text, re.DOTALL)[0]
    [picture] = re.findall(r'src="data:image/png;base64,([^"]*)', text)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50 and pixels.shape == (640, 880, 3)


def test_a_name_that_looks_like_html_is_text(labs, tmp_path):
    images = some_digits(300)
    lab = labs(ImageSet(images.images, images.labels, "</title><script>{alert(1)} & more"))
    text = exported(lab, tmp_path / "run.html")
    title = re.findall(r"<title>(.*)</title>", text)[0]
    assert html.unescape(title).endswith("</title><script>{alert(1)} & more, 0 steps") and "<" not in title
    assert text.count("<script") == 2 and "</title><script>" in str(unpacked(text)["planes"][0]["status"])


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
        assert {"pad", "strokes", "drawn"}.isdisjoint(plane)
    curves, trail = lab.view.curves, lab.view.trail
    assert state["curves"]["history"] == curves.history and len(curves.history) == 40 * 4 * (4 + 3 * twin)
    assert state["curves"]["runs"] == 1 + twin and state["curves"]["marks"] == curves.marks != []
    assert [k["parts"] for k in state["trail"]["frames"]] == [k.parts for k in trail.frames]
    assert [k["step"] for k in state["trail"]["frames"]][:: len(trail.frames) - 1] == [0, 40]
    decoders, half = state["trail"]["decoders"], trail.decoders[len(trail.decoders) // 2]
    assert [k["step"] for k in decoders] == [half.step, 40]  # the last and one half-way
    assert decoders[0]["parts"] == [shrink_decoder(part) for part in half.parts]
    assert decoders[1]["parts"] == [plane["decoder"] for plane in state["planes"]]
    assert state["images"] == to_bytes(lab.view.sides[0].images[:POINTS]).tobytes()


def test_colour_without_classes_and_a_decoder_that_the_page_cannot_run(labs, tmp_path):
    images = torch.randint(0, 256, (150, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    state = unpacked(exported(labs(images), tmp_path / "run.html"))  # before its first step
    assert state["planes"][0]["shape"] == [3, 6, 5] and state["planes"][0]["classes"] == b""
    assert state["images"] == images[:100].numpy().tobytes() and state["curves"]["history"] == b""
    decoder = nn.Sequential(nn.Linear(2, 49), nn.Unflatten(1, (1, 7, 7)), nn.ConvTranspose2d(1, 1, 4, 4))
    state = unpacked(exported(labs(model=vaekit.VAE(2, 16, decoder=decoder)).run(3), tmp_path / "run.html"))
    assert state["planes"][0]["decoder"] == b"" != state["planes"][0]["backdrop"]


@pytest.mark.parametrize("seen", [False, True])
def test_of_a_lab_that_plays_it_shows_the_step_it_has_come_to_and_stands_still(labs, tmp_path, seen):
    """Seen or not, right after the images were changed: the trail has just begun."""
    lab = labs(some_digits(1100))
    if seen:
        lab.engine.heartbeat()
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
    assert plane["frame"][4:8] == np.uint32(step).tobytes() and plane["status"]["headline"] != "Untrained."


def test_exporting_changes_nothing(labs, tmp_path):
    lab, alone = labs(), labs().run(20)
    for number in range(4):
        lab.run(5).export_html(tmp_path / f"{number}.html")
    assert same_bits(weights(lab.model), weights(alone.model)) and lab.recording == alone.recording


def test_where_it_cannot_be_written_is_one_line_and_the_lab_plays_on(labs, tmp_path, refuses):
    lab = labs()
    with playing_on(lab):
        for path in (tmp_path / "no folder" / "run.html", tmp_path):
            with refuses(OSError, "could not be written"):
                lab.export_html(path)
        with refuses(TypeError, "path"):
            lab.export_html(None)
    assert list(tmp_path.iterdir()) == []


def test_the_smaller_decoder_is_half_the_size():
    """How good it is: see test_page_js."""
    model = vaekit.VAE(2, 64, (1, 12, 12), init_generator=torch.Generator().manual_seed(0))
    packed = pack_decoder(model.decoder, 3, 2, "bernoulli")
    header, payload = unpack_json(shrink_decoder(packed))
    assert header["step"] == 3 and [layer.get("bits") for layer in header["layers"]] == [None, None, 8]
    assert len(payload) == 2 * 64 * 2 + 2 * 64 + 2 * 144 + 64 * 144 + 2 * 144
    assert shrink_decoder(packed, least=10**6) == packed and shrink_decoder(b"") == b""


@pytest.mark.parametrize(("twin", "most"), [(False, 1.7e6), (True, 3e6)])
def test_of_the_real_model_it_is_about_a_megabyte(labs, tmp_path, twin, most):
    lab = labs(some_digits(6000), hidden=400, shown=1000, twin=twin).run(40)
    exported(lab, tmp_path / "run.html")
    assert 0.3e6 < (tmp_path / "run.html").stat().st_size < most
