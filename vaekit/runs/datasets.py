"""The data sets that anyone can have by name, and a recording's images: described, and found again."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain

import torch

from vaekit._checks import short_repr
from vaekit.cartoons import faces
from vaekit.data import ImageSet, mnist
from vaekit.runs.recording import Recording, fingerprint

Load = Callable[[torch.device | str], ImageSet]

# Name → how to make it on a device. One row here puts a set in the lab's menu and in recordings. It bears that name.
DATA_SETS: dict[str, Load] = {
    "Handwritten digits": lambda device: mnist(device=device),
    "Cartoon faces": lambda device: faces(10_000, device=device),
}
# The source that a recording may name → where to look; the sha256 decides.
SOURCES: dict[str, list[Load]] = {name: [load] for name, load in DATA_SETS.items()}
SOURCES["Handwritten digits"].append(lambda device: mnist(train=False, device=device))


def describe_images(images: ImageSet) -> dict:
    """How many, their shape, their sha256, and the source to look for them in, of whose name theirs is, or None."""
    name = images.name.casefold()  # ImageSet.first(500) makes "500 handwritten digits"
    source = next((source for source in SOURCES if name.endswith(source.casefold())), None)
    shape, sha256 = list(images.images.shape[1:]), fingerprint({"images": images.images})
    return {"images": len(images), "shape": shape, "sha256": sha256, "source": source}


def find_images(names: Iterable[str], recording: Recording, data, device: torch.device) -> dict[str, ImageSet]:
    """A recording's data sets of these names, on `device`: from `data`, what the caller gave, or from their source.

    data: None, images (N, C, H, W), an ImageSet, or a dict of ImageSets by name.
    Raises ValueError or TypeError in one line, DataError when the source cannot be had.
    """
    given = data if isinstance(data, dict) else {} if data is None else {"": data}
    given = {name: images if isinstance(images, ImageSet) else ImageSet(images) for name, images in given.items()}
    found = {name: _find(name, recording.data.get(name), given, device) for name in names}
    return {name: images.to(device) for name, images in (given | found).items() if name}


def _find(name: str, description: dict | None, given: dict[str, ImageSet], device: torch.device) -> ImageSet:
    shown = short_repr(name, 60)
    if description is None and given:
        return replace(given.get(name) or next(iter(given.values())), name=name)
    if description is None:
        raise ValueError(f"the recording does not say what the images {shown} are")
    theirs = (load(device) for load in SOURCES.get(description["source"], ()))  # had when none of the given will do
    for images in chain(given.values(), theirs):
        part = images.first(description["images"])
        if describe_images(part)["sha256"] == description["sha256"]:
            return replace(part, name=name)
    hint = "the ones given differ from them" if given else "give them as data="
    of_its_own = f"{description['images']:,} images of its own, {shown}, of the shape {tuple(description['shape'])}"
    raise ValueError(f"the recording was made with {of_its_own}: {hint}")
