"""The data sets that anyone can have by name, and a recording's images: described, and found again."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

import torch

from vaekit._checks import short_repr
from vaekit.cartoons import faces
from vaekit.data import ImageSet, mnist
from vaekit.runs.recording import Recording, fingerprint

# The source that a recording may name → how to make it on a device: where to look; the sha256 decides.
SOURCES = {
    "Handwritten digits": [lambda device: mnist(device=device), lambda device: mnist(train=False, device=device)],
    "Cartoon faces": [lambda device: faces(10_000, device=device)],
}
DATA_SETS = {name: loads[0] for name, loads in SOURCES.items()}  # the lab's menu: each set bears its row's name


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


def _find(name: str, described: dict | None, given: dict[str, ImageSet], device: torch.device) -> ImageSet:
    """The images that are as described, of those given, else of their source; without a description those given."""
    ours = [given[known] for known in sorted(given, key=lambda known: known != name)]  # those of the name first
    theirs = (load(device) for load in SOURCES.get(described["source"], ())) if described else ()
    for images in chain(ours, theirs):  # theirs are had when none of ours will do
        part = images.first(described["images"]) if described else images
        if not described or describe_images(part)["sha256"] == described["sha256"]:
            return replace(part, name=name)
    hint = "the ones given differ from them" if given else "give them as data="
    what = f"{described['images']:,} of the shape {tuple(described['shape'])}" if described else "not described"
    raise ValueError(f"the recording was made with images of its own, {short_repr(name, 60)}, {what}: {hint}")
