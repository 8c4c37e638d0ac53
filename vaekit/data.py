"""Images as one uint8 tensor on the device, and the order in which they are visited."""

import gzip
import hashlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaekit._checks import check_type, check_whole, short_repr
from vaekit._images import find_fault

# The canonical files and their MD5 sums, the ones that torchvision checks.
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


class DataError(RuntimeError):
    """A data file is damaged or cannot be had; the message says which, and what to do."""


@dataclass(frozen=True)
class ImageSet:
    """Images (N, C, H, W), uint8, and their class labels (N,), int64, or None, on one device.

    labels: whole numbers from 0 up, as a list, an array or a tensor. Raises TypeError or ValueError for others.
    """

    images: Tensor
    labels: Tensor | None = None
    name: str = "Your images"

    def __post_init__(self):
        if not isinstance(self.images, Tensor) or not self.images.ndim:
            check_images(self.images)
        check_type("name", self.name, str, "a str")
        if self.labels is not None:
            object.__setattr__(self, "labels", _as_labels(self.labels, self.images))

    def __len__(self) -> int:
        return len(self.images)

    def first(self, n: int) -> "ImageSet":
        """The first `n` images, as a set of its own."""
        n = min(check_whole("n", n, 0), len(self))
        is_phrase = self.name == self.name.capitalize() and self.name.replace(" ", "").isalpha()  # and not CIFAR-10
        return self._with(lambda rows: rows[:n], name=f"{n} {self.name.lower() if is_phrase else self.name}")

    def to(self, where: str | torch.device) -> "ImageSet":
        """The same set on another device."""
        return self._with(lambda rows: rows.to(where))

    def _with(self, change: Callable[[Tensor], Tensor], **others) -> "ImageSet":
        changed = {field: change(value) for field, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **changed, **others)


def _as_labels(given, images: Tensor) -> Tensor:
    """Labels of any type, if they are whole, as int64 (N,), beside their images."""
    allowed = f"labels must be {len(images)} whole numbers from 0 up, one an image"
    try:
        labels = given.detach() if isinstance(given, Tensor) else torch.tensor(np.array(given).tolist())
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{allowed}; not {short_repr(given)}") from None
    if labels.shape != images.shape[:1]:
        narrow = "squeeze" if labels.shape[1:] == (1,) else "argmax"  # a column, or one-hot
        hint = f": try labels.{narrow}(1)" if labels.ndim == 2 and hasattr(given, narrow) else ""
        raise ValueError(f"{allowed}; the shape of these is {tuple(labels.shape)}{hint}")
    whole = labels.to(torch.int64)
    is_broken = whole != labels if labels.is_floating_point() else labels.is_complex()  # MPS has no float64
    if labels.device.type != "meta" and ((whole < 0) | is_broken).any():
        raise ValueError(f"{allowed}; not {short_repr(given)}")
    return whole.to(images.device)


def choose_device(name: str | torch.device | None = None) -> torch.device:
    """The device to work on: `name`, else `VAEKIT_DEVICE`, else CUDA, then MPS, then CPU.

    A device that is asked for but not there is answered with a warning, and the CPU.
    Raises ValueError when the name is not a device's at all.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = name or os.environ.get("VAEKIT_DEVICE") or next(kind for kind in has if has[kind])
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f"device {name!r} is unknown: use 'cpu', 'cuda', 'cuda:0' or 'mps'") from None
    if not has.get(device.type) or (device.index and device.index >= torch.cuda.device_count()):
        warnings.warn(f"device '{device}' is not available on this machine: using the CPU instead", stacklevel=2)
        return torch.device("cpu")
    return device


def mnist(train: bool = True, device: str | torch.device | None = None) -> ImageSet:
    """The MNIST digits: 60,000 to train on, or with `train=False` the 10,000 of the test set.

    Returns an `ImageSet`: images (N, 1, 28, 28), uint8 in 0..255; labels (N,), int64 in 0..9.
    The files come from `VAEKIT_DATA`, else from `data/` of the clone, else from a download to the user's cache.
    On a CPU they are shared by all calls: clone them before you change them in place.
    Raises DataError when a file is damaged or cannot be had.
    Source: LeCun, Cortes & Burges, the MNIST database.
    """
    images, labels = _mnist_on_cpu(str(data_root()), train)
    return ImageSet(images, labels, "Handwritten digits").to(choose_device(device))


def data_root() -> Path:
    """The folder that holds `MNIST/raw`: `VAEKIT_DATA`, else the clone's `data/`, else a user cache."""
    if chosen := os.environ.get("VAEKIT_DATA"):
        return Path(chosen).expanduser()
    clone = Path(__file__).resolve().parent.parent / "data"
    if (clone / "MNIST" / "raw").is_dir():
        return clone
    from platformdirs import user_cache_path

    return user_cache_path("vaekit")


@lru_cache(maxsize=4)
def _mnist_on_cpu(root: str, train: bool) -> tuple[Tensor, Tensor]:
    raw = Path(root) / "MNIST" / "raw"
    if not all((raw / name).is_file() for name in MNIST_FILES):
        from torchvision.datasets import MNIST  # slow to import

        try:
            MNIST(root, download=True)
            [(raw / name).stat() for name in MNIST_FILES]  # it is content with unpacked ones
        except (OSError, RuntimeError, ValueError) as error:
            *_, why = str(error).strip().splitlines() or [type(error).__name__]
            raise DataError(
                f"the MNIST files are not in {raw} and could not be fetched or unpacked there ({why[:200]}): "
                "put the four .gz files there, or set VAEKIT_DATA to a folder that has them in MNIST/raw"
            ) from error
    return tuple(_read(raw / name) for name in list(MNIST_FILES)[slice(2) if train else slice(2, 4)])


def _read(path: Path) -> Tensor:
    """A packed file as a tensor: images (N, 1, 28, 28), after a head of 16 bytes, or labels (N,), after one of 8."""
    packed = path.read_bytes()
    md5, expected = hashlib.md5(packed, usedforsecurity=False).hexdigest(), MNIST_FILES[path.name]
    if md5 != expected:
        advice = "Delete it and run again (in a clone, `git checkout data` brings the .gz files back)"
        raise DataError(f"{path} is damaged: its MD5 sum is {md5}, expected {expected}. {advice}")
    has_images = "images" in path.name
    values = torch.frombuffer(bytearray(gzip.decompress(packed)), dtype=torch.uint8, offset=16 if has_images else 8)
    return values.view(-1, 1, 28, 28) if has_images else values.long()


def check_images(images: Tensor, batch_size: int = 1) -> None:
    """Refuse what `train` cannot use, in one line that ends with the code to try, where there is any.

    images: (N, C, H, W), C 1 or 3, uint8 in 0..255 or floating point in [0, 1], N ≥ batch_size.
    Raises TypeError on a wrong type or dtype, ValueError on a wrong shape, range or number.
    """
    if fault := find_fault(images):
        allowed = "images must be a tensor (N, C, H, W), C 1 or 3, uint8 in 0..255 or floating point in [0, 1]"
        hint = f": try {fault.mending}" if fault.mending else ""
        raise fault.error(f"{allowed}; {fault.words}{hint}")
    check_whole("batch_size", batch_size)
    if len(images) < batch_size:
        n = len(images)
        raise ValueError(f"{n} images do not fill one batch of {batch_size}: give more, or batch_size={n}")


def as_floats(images: Tensor) -> Tensor:
    """uint8 in 0..255 → float32 in [0, 1]; what is floating point already stays as it is. Any shape."""
    return images.to(torch.float32).mul_(1 / 255) if images.dtype == torch.uint8 else images


class Batches:
    """Endless shuffled batches: each `next` gives the indices (B,) of one, epoch after epoch.

    Every image comes once an epoch; the last batch of an epoch holds what is left. A single image left over
    joins the batch before it: batch norm cannot work with one.
    All order comes from `generator`; `state_dict` and `load_state_dict` resume in mid-epoch.
    """

    def __init__(self, n: int, batch_size: int, generator: torch.Generator):
        self.n, self.batch_size, self.generator = n, batch_size, generator
        self.taken = 0  # images seen so far, all epochs together
        self.order, self.order_state = None, None

    @property
    def epoch(self) -> float:
        return self.taken / self.n

    def __iter__(self):
        return self

    def __next__(self) -> Tensor:
        start = self.taken % self.n
        if start == 0:
            self._shuffle(self.generator.get_state())
        left_over = self.n - start - self.batch_size
        batch = self.order[start : start + self.batch_size + (left_over == 1 < self.batch_size)]
        self.taken += len(batch)
        return batch

    def _shuffle(self, state: Tensor) -> None:
        self.order_state = state
        self.order = torch.randperm(self.n, generator=self.generator, device=self.generator.device)

    def state_dict(self) -> dict:
        """Where we are: the images taken, and the generator's state that this epoch's order came from."""
        return {"taken": self.taken, "order_state": self.order_state}

    def load_state_dict(self, state: dict) -> None:
        """Go back to a `state_dict`. The generator itself is left as it is: restore it beside this."""
        now = self.generator.get_state()
        self.taken = state["taken"]
        if state["order_state"] is not None:
            self.generator.set_state(state["order_state"])
            self._shuffle(state["order_state"])
        self.generator.set_state(now)
