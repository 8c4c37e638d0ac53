"""A learner's own images in the lab: what fits is learnt, by a model made for it or by the learner's own; no more."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from lab_helpers import same_bits, say_as_page, small_vae, some_digits, upload, weights
from traitlets import Dict, HasTraits

import vaekit
from vaekit.image_files import read_images
from vaekit.lab.controls import _taken_from


def npz(shape: tuple[int, ...], name: str = "own.npz") -> dict[str, bytes]:
    """An upload: noise, and labels."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.savez_compressed(file, images=noise, labels=np.arange(len(noise)) % 3)
    return {name: file.getvalue()}


@pytest.mark.slow
@pytest.mark.parametrize("twin", [False, True])
def test_images_of_another_kind_have_a_model_made_for_them(labs, twin):
    lab = labs(twin=twin, latent_dim=3).run(3)
    lab.set(beta=7.0)
    told = upload(lab, "images", npz((40, 24, 24, 3)))
    assert told == "40 pictures, 24 × 24 and in colour; 3 classes."
    assert lab.settings["data"] == lab.controls.data.value == "own.npz" and lab.settings["beta"] == 7.0
    assert lab.steps_taken == 0 and lab.engine.run.batch_size == 40
    lab.run(2)
    assert lab.error is None and lab.view.sides[0].latent_dim == 3 and list(lab.view.plane.shape) == [3, 24, 24]
    assert sorted(set(lab.view.plane.classes)) == [0, 1, 2]
    lab.set(data="digits")  # and back
    assert list(lab.view.plane.shape) == [1, 28, 28] and lab.run(2).steps_taken == 2
    assert lab.data_names == ["digits", "own.npz"]


def test_a_model_of_ones_own_goes_on_with_images_that_fit_and_refuses_others(labs):
    model = small_vae()
    lab = labs(model=model, batch_size=50, twin=True).run(3)
    before = weights(lab.sides[1].model)
    for shape, says in (
        ((60, 24, 24), "this model learns images of 1 × 28 × 28; it cannot learn these, of 1 × 24 × 24"),
        ((40, 28, 28), "40 images do not fill one batch of 50: give more"),
    ):
        assert upload(lab, "images", npz(shape)).startswith(says) and lab.settings["data"] == "digits"
    assert upload(lab, "images", npz((60, 28, 28))).startswith("60 pictures")
    assert lab.model is model and lab.steps_taken == 3 and same_bits(weights(lab.sides[1].model), before)
    assert [side.settings["data"] for side in lab.sides] == ["own.npz"] * 2
    assert lab.run(2).recording.events[-1] == (4, {"data": "own.npz"})


def test_no_name_hides_another(labs):
    """A recording may speak of the earlier one."""
    lab = labs(model=small_vae())
    for name, known in (("x (2)", "x (2)"), ("x", "x"), ("x", "x (3)")):
        lab.learn(replace(some_digits(150), name=name))
        assert lab.settings["data"] == known
    assert lab.data_names == ["digits", "x (2)", "x", "x (3)"]


def test_ipywidgets_7_hands_uploads_over_in_another_form(labs):
    class Upload(HasTraits):
        value = Dict({"a.npz": {"metadata": {}, "content": b"1"}}, read_only=True)

    upload = Upload()
    assert _taken_from(upload, upload.value) == {"a.npz": b"1"} and upload.value == {}


def test_a_bad_upload_is_one_line_and_the_run_goes_on(labs):
    lab = labs().run(3)
    lab.play()
    message = upload(lab, "images", {"notes.pdf": b"%PDF"})
    assert message.startswith("notes.pdf is no picture: choose one .npz") and "\n" not in message
    assert lab.playing and lab.settings["data"] == "digits"
    lab.pause()
    assert lab.steps_taken >= 3


def test_from_code_and_two_pictures_are_enough(labs, refuses):
    lab, images = labs(), read_images(npz((2, 28, 28)))
    lab.learn(replace(images, name="mine"))
    assert lab.settings["data"] == "mine" and torch.equal(lab.engine.run.images, images.images)
    assert lab.run(2).steps_taken == 2 and lab.error is None
    with refuses(TypeError, "^images must be a tensor .*; this is a int$"):
        lab.learn(7)
    with refuses(ValueError, "^images must be a tensor .N, C, H, W.*"):
        lab.learn(vaekit.ImageSet(torch.zeros(5, 5, 5)))
    assert lab.settings["data"] == "mine"
    lab.learn(vaekit.ImageSet(images.images.repeat(75, 1, 1, 1), 258 - torch.arange(150), "many"))
    assert lab.view.plane.classes == b""  # it has a byte for each: none is shown as another
    lab.learn(images.images.repeat(75, 1, 1, 1).half() / 255)  # a tensor is a set without labels
    assert lab.settings["data"] == "Your images" and lab.run(1).error is None
    assert next(lab.model.parameters()).dtype == torch.float32


def test_what_is_too_large_to_be_sent_is_said(labs):
    lab = labs()
    say_as_page(lab, kind="too large", name="photos.zip", size=24e6)
    assert lab.view.plane.message.startswith("photos.zip has 24 MB, and a page can send 10: give fewer")
