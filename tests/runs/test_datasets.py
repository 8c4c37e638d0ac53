"""The data sets that anyone can have by name, and a recording's images: described, and found again."""

from dataclasses import replace

import pytest
import torch
from lab_helpers import SETTINGS, go_to, small_vae

import vaekit
from vaekit.data import ImageSet, mnist
from vaekit.runs.datasets import DATA_SETS, SOURCES, describe_images, find_images
from vaekit.runs.recording import Recording, fingerprint
from vaekit.runs.run import Run, replay

CPU = torch.device("cpu")


def found_again(images: ImageSet, data=None, **other) -> ImageSet:
    """What a recording of these images finds by what it says of them."""
    described = {images.name: describe_images(images) | other}
    recording = Recording(0, SETTINGS | {"data": images.name}, data=described)
    return find_images([images.name], recording.checked(), data, CPU)[images.name]


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_SETS)
def test_each_set_bears_the_name_of_its_row(name):
    images = DATA_SETS[name](CPU)
    assert images.name == name and images.images.dtype == torch.uint8
    assert describe_images(DATA_SETS[name](CPU)) == describe_images(images)  # the same each time


@pytest.mark.slow
def test_what_anyone_can_have_is_found_again_and_the_sha256_decides_not_the_name(refuses):
    digits, test, people = mnist(device="cpu"), mnist(train=False, device="cpu"), vaekit.faces(200, device="cpu")
    for images in (digits.first(300).first(20), test.first(7), people):
        assert torch.equal(found_again(images).images, images.images)
    for images in (
        ImageSet(digits.images[:300] ^ 1, name="Handwritten digits"),
        replace(digits.first(9), name="Cartoon faces"),
        vaekit.faces(20, seed=1, device="cpu"),
    ):
        for source in ({}, {"source": "tomorrow"}):  # which is not known here
            with refuses(ValueError, f"images of its own, '{images.name}', .*: give them as data="):
                found_again(images, **source)
        with refuses(ValueError, "the ones given differ"):
            found_again(images, ImageSet(images.images.flip(3)))
        assert torch.equal(found_again(images, images.images).images, images.images)
        assert torch.equal(found_again(images.first(5), {"any": images}).images, images.images[:5])


def test_a_new_set_is_its_row_alone(monkeypatch, toys):
    """And a recording of it is played again without its images."""
    clothes = ImageSet(toys, name="Clothes")
    monkeypatch.setitem(SOURCES, "Clothes", [lambda device: clothes])
    few = clothes.first(200)
    run = Run(small_vae(image_shape=(1, 8, 8)), {few.name: few}, SETTINGS | {"data": few.name})
    recording = go_to(run, 3, {}).record()
    assert recording.data["200 clothes"]["source"] == "Clothes"
    assert fingerprint(replay(recording).model.state_dict()) == recording.result


def test_without_a_description_the_images_given_are_taken(refuses, toys):
    recording = Recording(0, SETTINGS | {"data": "toys"})
    for data in (toys, {"toys": toys, "any": toys[:9]}, {"any": toys[:9], "toys": ImageSet(toys)}):
        assert torch.equal(find_images(["toys"], recording, data, CPU)["toys"].images, toys)
    with refuses(ValueError, "images of its own, 'toys', not described: give them as data="):
        find_images(["toys"], recording, None, CPU)


def test_what_is_no_data(refuses):
    for data in (3, [torch.zeros(3)], {"a": 3}):
        with refuses(TypeError, "^images must be a tensor .N, C, H, W., "):
            find_images([], Recording(0, SETTINGS), data, CPU)
