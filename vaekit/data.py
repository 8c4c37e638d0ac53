"""Images as one uint8 tensor on the device, and the order in which they are visited."""

import gzip
import hashlib
import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from vaekit.files import write_whole
from vaekit.messages import check_whole, first_line

# MD5 of the canonical files, and of what they unpack to. The first are the sums that torchvision checks.
MNIST_FILES = {
    "train-images-idx3-ubyte": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
}


class DataError(RuntimeError):
    """A data file is damaged or cannot be had; the message says which, and what to do."""


@dataclass(frozen=True)
class ImageSet:
    """Images (N, C, H, W), uint8, and their class labels (N,), int64, or None, on one device."""

    images: Tensor
    labels: Tensor | None = None
    name: str = "Your images"

    def __len__(self) -> int:
        return len(self.images)

    def first(self, n: int) -> "ImageSet":
        """The first `n` images, as a set of its own."""
        labels = None if self.labels is None else self.labels[:n]
        return ImageSet(self.images[:n], labels, f"{n} {self.name[:1].lower()}{self.name[1:]}")

    def to(self, where: str | torch.device) -> "ImageSet":
        """The same set on another device."""
        labels = None if self.labels is None else self.labels.to(where)
        return ImageSet(self.images.to(where), labels, self.name)


def choose_device(name: str | torch.device | None = None) -> torch.device:
    """The device to work on: `name`, else `VAEKIT_DEVICE`, else CUDA, then MPS, then CPU.

    A device that is asked for but not there is answered with a warning, and the CPU.
    Raises ValueError when the name is not a device's at all.
    """
    asked = name or os.environ.get("VAEKIT_DEVICE")
    if not asked:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        found = torch.device(asked)
    except (RuntimeError, TypeError):
        raise ValueError(f"device {asked!r} is unknown: use 'cpu', 'cuda', 'cuda:0' or 'mps'") from None
    if not _is_there(found):
        warnings.warn(f"device '{found}' is not available on this machine: using the CPU instead", stacklevel=2)
        return torch.device("cpu")
    return found


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _is_there(dev: torch.device) -> bool:
    if dev.type == "cuda":
        return torch.cuda.is_available() and (dev.index or 0) < torch.cuda.device_count()
    return dev.type == "cpu" or (dev.type == "mps" and _has_mps())


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
    from torchvision.datasets import MNIST

    raw = Path(root) / "MNIST" / "raw"
    for name, (packed_md5, unpacked_md5) in MNIST_FILES.items():
        _check(raw / f"{name}.gz", packed_md5)
        _unpack(raw / name)
        _check(raw / name, unpacked_md5)
    try:
        digits = MNIST(root, train=train, download=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"the MNIST files are not in {raw} and could not be fetched or unpacked there ({first_line(error)}): "
            "put the four .gz files there, or set VAEKIT_DATA to a folder that has them in MNIST/raw"
        ) from error
    return digits.data.unsqueeze(1).contiguous(), digits.targets


def _unpack(path: Path) -> None:
    """Unpack a file whole or not at all: another process may be looking for it. Else torchvision will try."""
    packed = path.with_name(f"{path.name}.gz")
    if packed.is_file() and not path.exists():
        with suppress(OSError):
            write_whole(path, gzip.decompress(packed.read_bytes()))


def _check(path: Path, expected: str) -> None:
    """Name a damaged file before torchvision trips over it; a missing one is torchvision's to fetch."""
    if not path.is_file():
        return
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is damaged: its MD5 sum is {found}, expected {expected}. "
            "Delete it and run again (in a clone, `git checkout data` brings the .gz files back)"
        )


def check_images(images: Tensor, batch_size: int = 1) -> None:
    """Refuse what `train` cannot use, in one line.

    images: (N, C, H, W), uint8 in 0..255 or floating point in [0, 1], N ≥ batch_size.
    Raises TypeError on a wrong type or dtype, ValueError on a wrong shape, range or number.
    """
    wanted = "images must be a tensor (N, C, H, W), uint8 in 0..255 or floating point in [0, 1]"
    if not isinstance(images, Tensor):
        raise TypeError(f"{wanted}; this is a {type(images).__name__}: try torch.as_tensor(images)")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"{wanted}; these are {images.dtype}: try images.to(torch.uint8)")
    if images.ndim != 4 or 0 in images.shape[1:]:
        hint = ": try images.unsqueeze(1)" if images.ndim == 3 else ""
        raise ValueError(f"{wanted}; the shape of these is {tuple(images.shape)}{hint}")
    if len(images) == 0:
        raise ValueError(f"{wanted}; this data set is empty: give at least one batch of images")
    if images.is_floating_point():
        low, high = (float(v) for v in images.aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{wanted}; these reach from {low:g} to {high:g}: try images / {high:g} or clamp(0, 1)")
    check_whole("batch_size", batch_size)
    if len(images) < batch_size:
        raise ValueError(
            f"{len(images)} images do not fill one batch of {batch_size}: give more, or batch_size={len(images)}"
        )


def as_floats(images: Tensor) -> Tensor:
    """uint8 in 0..255 → float32 in [0, 1]; what is floating point already stays as it is. Any shape."""
    return images.to(torch.float32).mul_(1 / 255) if images.dtype == torch.uint8 else images


class Batches:
    """Endless shuffled batches: each `next` gives the indices (B,) of one, epoch after epoch.

    Every image comes once an epoch; the last batch of an epoch holds what is left.
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
        batch = self.order[start : start + self.batch_size]
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
