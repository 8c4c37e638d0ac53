"""A run as one HTML file: whole, without a request to anywhere, and of a size to send to somebody."""

import base64
import gzip
import json
import re
from pathlib import Path

import pytest
import torch
from lab_helpers import is_plain, some_digits, wait_for
from torch import nn

import vaekit
from vaekit.lab.frames import shrunk, to_bytes
from vaekit.lab.trail import POINTS

pytestmark = pytest.mark.slow  # all of them together


def exported(lab, path: Path) -> tuple[str, dict]:
    """The file's text, and what its page reads: see frames.pack_json."""
    assert lab.export_html(path) == path
    text = path.read_text(encoding="utf-8")
    [packed] = re.findall(r'id="run">([A-Za-z0-9+/=]*)</script>', text)
    packed = gzip.decompress(base64.b64decode(packed, validate=True))
    start = 4 + int.from_bytes(packed[:4], "little")

    def fill(part: dict):
        return packed[start + part["at"] :][: part["length"]] if part.keys() == {"at", "length"} else part

    return text, json.loads(packed[4:start], object_hook=fill)


def test_what_it_holds_is_what_the_view_does(labs, tmp_path):
    """That the page can use it: tests/browser/test_html_page.py."""
    lab = labs(twin=True, latent_dim=3).run(20)
    lab.set(beta=4.0)
    lab.run(20)
    _, state = exported(lab, tmp_path / "run.html")
    for plane, side in zip(state["planes"], lab.view.sides, strict=True):
        for name in ("classes", "pictures", "traversals", "chosen", "pair", "palette", "status"):
            assert plane[name] == getattr(side.plane, name) != b"", name
        assert plane["backdrop"]["pixels"] == side.plane.backdrop["pixels"]
        assert plane["frame"] == side.last.state(POINTS)
        assert plane["decoder"] == shrunk(side.plane.decoder) != {}
    for name in ("history", "marks"):
        assert state["planes"][0][name] == getattr(lab.view.plane, name), name
    assert [k["parts"] for k in state["trail"]["frames"]] == [k.parts for k in lab.view.trail.frames]
    decoders, half = state["trail"]["decoders"], lab.view.trail.decoders[len(lab.view.trail.decoders) // 2]
    assert [k["step"] for k in decoders] == [half.step, 40]  # the last and one half-way
    assert state["images"] == to_bytes(lab.view.sides[0].images[:POINTS]).tobytes()


def test_colour_without_classes_and_a_decoder_that_the_page_cannot_run(labs, tmp_path):
    images = torch.randint(0, 256, (150, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    _, state = exported(labs(images), tmp_path / "run.html")  # before its first step
    assert state["planes"][0]["shape"] == [3, 6, 5] and state["planes"][0]["classes"] == b""
    assert state["images"] == images[:100].numpy().tobytes() and state["planes"][0]["history"] == b""
    decoder = nn.Sequential(nn.Linear(2, 49), nn.Unflatten(1, (1, 7, 7)), nn.ConvTranspose2d(1, 1, 4, 4))
    _, state = exported(labs(model=vaekit.VAE(2, 16, decoder=decoder)).run(3), tmp_path / "run.html")
    assert state["planes"][0]["decoder"] == {} != state["planes"][0]["backdrop"]


def test_of_a_lab_that_plays_unseen_it_shows_the_step_it_has_come_to_and_stands_still(labs, tmp_path):
    """Right after the images were changed: the trail has just begun."""
    lab = labs(some_digits(1100))
    lab.play()
    wait_for(lambda: lab.steps_taken > 20)
    lab.set(data="500 digits")
    wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 5)
    before = lab.steps_taken
    text, state = exported(lab, tmp_path / "run.html")
    assert lab.playing and lab.error is None
    [plane], trail = state["planes"], state["trail"]
    step = trail["frames"][-1]["step"]
    title = f"A variational autoencoder in training: 500 digits, {step:,} steps"
    assert step >= before and f"<title>{title}</title>" in text
    assert plane["status"]["playing"] is False
    assert plane["status"]["step"] == step  # else the page takes the trail for another run's
    assert plane["decoder"]["step"] == trail["decoders"][-1]["step"] == step
    assert plane["frame"]["step"] == step and plane["status"]["headline"] != "Untrained."
    lab.pause()
    assert is_plain(lab.engine.run)  # and the run is what it was


def test_where_it_cannot_be_written_is_one_line_and_the_lab_plays_on(labs, tmp_path, refuses):
    lab = labs()
    lab.play()
    with refuses(OSError, "could not be written"):
        lab.export_html(tmp_path / "no folder" / "run.html")
    with refuses(TypeError, "path"):
        lab.export_html(None)
    assert lab.playing and lab.error is None and list(tmp_path.iterdir()) == []


def test_of_a_real_twin_it_is_some_megabytes(labs, tmp_path):
    exported(labs(some_digits(6000), hidden=400, shown=1000, twin=True).run(40), tmp_path / "run.html")
    assert 0.3e6 < (tmp_path / "run.html").stat().st_size < 3e6
