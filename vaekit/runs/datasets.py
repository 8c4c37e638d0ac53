"""The data sets that anyone can have by name, and a recording's images: described, and found again."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from itertools import chain

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from vaekit._checks import short_repr
from vaekit.cartoons import faces
from vaekit.data import DataError, ImageSet, mnist
from vaekit.runs.recording import Recording, digest

Load = Callable[[torch.device | str], ImageSet]

# Name → how to make it on a device. One row here puts a set in the lab's menu and in recordings. It bears that name.
DATA_SETS: dict[str, Load] = {
    "Handwritten digits": lambda device: mnist(device=device),
    "Cartoon faces": lambda device: faces(10_000, device=device),
}

# The source that a recording may name → the name that the set bears, and how to make it. The digits' are older.
SOURCES: dict[str, tuple[str, Load]] = {name: (name, load) for name, load in DATA_SETS.items()}
SOURCES["mnist"] = SOURCES.pop("Handwritten digits")
SOURCES["mnist test"] = ("Handwritten digits", lambda device: mnist(train=False, device=device))

_known: WeakIdKeyDictionary = WeakIdKeyDictionary()  # images → (version, sha256): 60,000 digits take 0.1 s


def images_print(images: Tensor) -> str:
    """The sha256 of images, taken once."""
    version = None if images.is_inference() else images._version
    if images not in _known or _known[images][0] != version:
        _known[images] = version, digest({"images": images})
    return _known[images][1]


def describe_images(images: ImageSet) -> dict:
    """How many, their shape, their sha256, and the source that anyone can have them from, or None."""
    shape, sha256 = list(images.images.shape[1:]), images_print(images.images)
    return {"images": len(images), "shape": shape, "sha256": sha256, "source": _source_of(images)}


def _source_of(images: ImageSet) -> str | None:
    """The source that these images are the first of: their name says where to look, their sha256 decides."""
    name = re.sub(r"^(\d+ )+", "", images.name).casefold()  # ImageSet.first(500) makes "500 handwritten digits"
    for source, (set_name, _) in SOURCES.items():
        if set_name.casefold() == name:
            with suppress(DataError):  # it cannot be had here: then nobody knows
                if _print_of_source(source, len(images), images.images.device) == images_print(images.images):
                    return source
    return None


@lru_cache(maxsize=32)  # it takes a second to draw 10,000 faces
def _print_of_source(source: str, n: int, device: torch.device) -> str:
    return images_print(SOURCES[source][1](device).images[:n])


def find_images(names: Iterable[str], recording: Recording, data, device: torch.device) -> dict[str, ImageSet]:
    """A recording's data sets of these names, on `device`: from `data`, what the caller gave, or from their source.

    data: None, images (N, C, H, W), an ImageSet, or a dict of ImageSets by name.
    Raises ValueError or TypeError in one line, DataError when the source cannot be had.
    """
    data = ImageSet(data) if isinstance(data, Tensor) else data
    given = {data.name: data} if isinstance(data, ImageSet) else data or {}
    if not isinstance(given, dict) or not all(isinstance(images, ImageSet) for images in given.values()):
        raise TypeError(f"data must be images (N, C, H, W), an ImageSet or a dict of them, not {type(data).__name__}")
    found = {name: _find(name, recording.data.get(name), given, device) for name in names}
    return {name: images.to(device) for name, images in (given | found).items()}


def _find(name: str, description: dict | None, given: dict[str, ImageSet], device: torch.device) -> ImageSet:
    if description is None and name in given:
        return given[name]
    shown = short_repr(name, 60)
    if description is None:
        raise ValueError(f"the recording does not say what the images {shown} are: give data={{{shown}: ImageSet}}")
    n, source = description["images"], description["source"]
    theirs = (SOURCES[source][1](device) for _ in range(source in SOURCES))  # had only when none of the given will do
    for images in chain(given.values(), theirs):
        part = images if len(images) == n else images.first(n)
        if images_print(part.images) == description["sha256"]:
            return part
    hint = "the ones given differ from them" if given else "give them as data="
    of_its_own = f"{n:,} images of its own, {shown}, of the shape {tuple(description['shape'])}"
    raise ValueError(f"the recording was made with {of_its_own}: {hint}")
