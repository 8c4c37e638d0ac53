"""The data sets that anyone can have by name, and a recording's images: described, and found again."""

from dataclasses import replace

import pytest
import torch
from lab_helpers import SETTINGS, small_vae

import vaekit
import vaekit.runs.datasets
from vaekit.data import DataError, ImageSet, mnist
from vaekit.runs.datasets import DATA_SETS, SOURCES, describe_images, find_images, images_print
from vaekit.runs.playback import replay
from vaekit.runs.recording import Recording, fingerprint
from vaekit.runs.run import Run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def faces() -> ImageSet:
    return DATA_SETS["Cartoon faces"](CPU)


def found_again(images: ImageSet, data=None) -> ImageSet:
    """What a recording of these images finds by what it says of them."""
    recording = Recording(0, SETTINGS | {"data": images.name}, data={images.name: describe_images(images)})
    return find_images([images.name], recording.checked(), data, CPU)[images.name]


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_SETS)
def test_each_set_bears_the_name_of_its_row(name):
    images = DATA_SETS[name](CPU)
    assert images.name == name and images.images.dtype == torch.uint8
    assert images_print(DATA_SETS[name](CPU).images) == images_print(images.images)  # the same each time


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "source"),
    [
        (lambda faces: mnist(device="cpu"), "mnist"),
        (lambda faces: mnist(device="cpu").first(300).first(20), "mnist"),
        (lambda faces: mnist(train=False, device="cpu").first(7), "mnist test"),
        (lambda faces: faces.first(500), "Cartoon faces"),
        (lambda faces: vaekit.faces(200, device="cpu"), "Cartoon faces"),
    ],
)
def test_what_anyone_can_have_is_found_again(faces, make, source):
    images = make(faces)
    assert describe_images(images)["source"] == source in SOURCES
    assert torch.equal(found_again(images).images, images.images)


@pytest.mark.slow
def test_the_sha256_decides_and_not_the_name(faces, refuses):
    for images in (
        ImageSet(mnist(device="cpu").images[:300] ^ 1, name="Handwritten digits"),
        ImageSet(faces.images[:5], name="Handwritten digits"),
        replace(mnist(device="cpu").first(9), name="Cartoon faces"),
        vaekit.faces(20, seed=1, device="cpu"),
    ):
        assert describe_images(images)["source"] is None
        with refuses(ValueError, f"images of its own, '{images.name}', .*: give them as data="):
            found_again(images)
        with refuses(ValueError, "the ones given differ"):
            found_again(images, ImageSet(images.images.flip(3)))
        assert torch.equal(found_again(images, images.images).images, images.images)


def test_a_new_set_is_its_row_alone(monkeypatch, toys):
    """And a recording of it is played again without its images."""
    clothes = ImageSet(toys, name="Clothes")
    for table, row in ((DATA_SETS, lambda device: clothes), (SOURCES, ("Clothes", lambda device: clothes))):
        monkeypatch.setitem(table, "Clothes", row)
    few = clothes.first(200)
    run = Run(small_vae(image_shape=(1, 8, 8)), {few.name: few}, SETTINGS | {"data": few.name})
    for _ in range(3):
        run.advance()
    recording = run.record()
    assert recording.data["200 clothes"]["source"] == "Clothes"
    assert fingerprint(replay(recording).model.state_dict()) == recording.result


def test_a_source_that_is_not_known_here_needs_its_images(refuses, toys):
    images = ImageSet(toys, name="toys")
    recording = Recording(
        0, SETTINGS | {"data": "toys"}, data={"toys": describe_images(images) | {"source": "tomorrow"}}
    )
    with refuses(ValueError, "give them as data="):
        find_images(["toys"], recording.checked(), None, CPU)
    assert torch.equal(find_images(["toys"], recording, images, CPU)["toys"].images, toys)


def test_digits_that_cannot_be_had(monkeypatch):
    """A run of images of that name is recorded all the same; a replay says what is missing."""

    def missing(device):
        raise DataError("the files are not there")

    images = ImageSet(mnist(device="cpu").images[:11], name="Handwritten digits")
    described = describe_images(images)
    monkeypatch.setitem(SOURCES, "mnist", ("Handwritten digits", missing))
    vaekit.runs.datasets._print_of_source.cache_clear()
    assert describe_images(images) == described | {"source": None}
    recording = Recording(0, SETTINGS | {"data": images.name}, data={images.name: described})
    with pytest.raises(DataError, match="the files are not there"):
        find_images([images.name], recording, None, CPU)


def test_what_is_no_data(refuses):
    for data in (3, [torch.zeros(3)], {"a": torch.zeros(3)}):
        with refuses(TypeError, "data must be images .N, C, H, W., an ImageSet or a dict of them"):
            find_images([], Recording(0, SETTINGS), data, CPU)


def test_images_are_hashed_once_and_again_when_they_were_changed(monkeypatch, toys):
    asked, digest = [], vaekit.runs.datasets.digest
    monkeypatch.setattr(vaekit.runs.datasets, "digest", lambda tensors: asked.append(1) or digest(tensors))
    images = toys.clone()
    first = images_print(images)
    assert images_print(images) == first == fingerprint({"images": images}) and len(asked) == 1
    assert images_print(images.clone()) == first and images_print(images[:19]) != first
    images[3] = 0
    assert images_print(images) == fingerprint({"images": images}) != first
