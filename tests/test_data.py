"""The data: the real files, damaged ones, missing ones; where they are found; the device."""

import shutil
from pathlib import Path

import pytest
import torch

import vaekit
from vaekit import data
from vaekit.data import DataError, ImageSet

CLONE = Path(vaekit.__file__).resolve().parent.parent
RAW = CLONE / "data" / "MNIST" / "raw"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of our own with the four packed files, that `VAEKIT_DATA` points to; nothing is remembered of others."""
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for name in data.MNIST_FILES:
        shutil.copy(RAW / name, tmp_path / "MNIST" / "raw")
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    data._mnist_on_cpu.cache_clear()
    yield tmp_path / "MNIST" / "raw"
    data._mnist_on_cpu.cache_clear()


@pytest.fixture
def no_network(monkeypatch):
    """torchvision's mirrors are a port of this machine where nobody listens."""
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.slow
def test_the_digits(digits):
    test = vaekit.mnist(train=False)
    for found, n in ((digits, 60_000), (test, 10_000)):
        assert (found.images.shape, found.images.dtype) == ((n, 1, 28, 28), torch.uint8)
        assert (found.labels.shape, found.labels.dtype) == ((n,), torch.int64)
        assert found.images.device.type == found.labels.device.type == "cpu"
        assert found.images.is_contiguous() and len(found) == n
    assert digits.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # each class, counted in the training set, and the mean and deviation that every tutorial normalises by
    assert digits.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    pixels = digits.images.double() / 255
    assert (round(pixels.mean().item(), 4), round(pixels.std().item(), 4)) == (0.1307, 0.3081)


@pytest.mark.slow
def test_torchvision_works_on_the_folder_unchanged_and_offline(folder, no_network):
    from torchvision.datasets import MNIST

    digits = MNIST(root=folder.parent.parent, train=False, download=True)
    assert torch.equal(digits.data, vaekit.mnist(train=False).images.squeeze(1))
    assert torch.equal(digits.targets, vaekit.mnist(train=False).labels)


def test_where_the_data_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("VAEKIT_DATA", raising=False)
    assert data.data_root() == CLONE / "data"
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    assert data.data_root() == tmp_path
    monkeypatch.setenv("VAEKIT_DATA", "~/digits")
    assert data.data_root() == Path.home() / "digits"
    monkeypatch.delenv("VAEKIT_DATA")
    monkeypatch.setattr(data, "__file__", str(tmp_path / "site-packages" / "vaekit" / "data.py"))  # a plain pip install
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data.data_root().name == "vaekit" and "site-packages" not in data.data_root().parts


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_a_damaged_packed_file_is_named_with_its_sums(folder, no_network, refuses, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"!")
    sums = f"its MD5 sum is [0-9a-f]{{32}}, expected {data.MNIST_FILES[name]}"
    with refuses(DataError, f"{name} is damaged: {sums}.*Delete it"):
        vaekit.mnist(train=name.startswith("train"))


@pytest.mark.parametrize("left", [3, 0])
def test_missing_files_and_no_network(folder, no_network, refuses, left):
    for name in list(data.MNIST_FILES)[left:]:
        (folder / name).unlink()
    with refuses(DataError, "could not be fetched or unpacked .*put the four .gz files there, or set VAEKIT_DATA"):
        vaekit.mnist(train=False)


def test_image_set(refuses):
    images, labels = torch.zeros(10, 1, 2, 2, dtype=torch.uint8), torch.arange(10)
    few = ImageSet(images, labels, "Handwritten digits").first(3)
    assert (len(few), few.labels.tolist(), few.name) == (3, [0, 1, 2], "3 handwritten digits")
    few = ImageSet(images).first(1000)
    assert (few.name, few.labels, few.to("cpu").labels) == ("10 your images", None, None)
    for name in ("CIFAR-10", "Photos.zip", "Fashion-MNIST"):
        assert ImageSet(images, name=name).first(3).name == f"3 {name}"
    moved = ImageSet(images, labels).to("meta")
    assert moved.images.device.type == moved.labels.device.type == "meta"
    for given, error, words in (
        ([torch.tensor(1), [1]], ValueError, r"the shape of these is \(\)$"),
        ([images.numpy()], TypeError, r"this is a ndarray: try torch.as_tensor\(images\)$"),
        ([images, None, None], TypeError, "^name must be a str, not None$"),
    ):
        with refuses(error, words):
            ImageSet(*given)
    with refuses(ValueError, "^n must be a whole number from 0 up, not -1$"):
        ImageSet(images).first(-1)


@pytest.fixture
def bare(monkeypatch):
    """A machine with nothing but a CPU, and nobody has asked for a device."""
    monkeypatch.delenv("VAEKIT_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


def test_cuda_then_mps_then_cpu_if_neither_the_environment_nor_the_argument_names_one(bare):
    assert vaekit.device() == torch.device("cpu")
    bare.setattr(torch.backends.mps, "is_available", lambda: True)
    assert vaekit.device() == torch.device("mps")
    bare.setattr(torch.cuda, "is_available", lambda: True)
    bare.setattr(torch.cuda, "device_count", lambda: 2)
    bare.setenv("VAEKIT_DEVICE", "")
    assert vaekit.device() == torch.device("cuda")
    bare.setenv("VAEKIT_DEVICE", "cpu")
    assert vaekit.device() == torch.device("cpu")
    assert vaekit.device("cuda:1") == vaekit.device(torch.device("cuda", 1)) == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_warns_and_gives_the_cpu(bare, name):
    bare.setattr(torch.cuda, "is_available", lambda: name == "cuda:1")  # it is the only one's second number
    bare.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.warns(UserWarning, match=f"^device '{name}' is not available on this machine: using the CPU instead$"):
        assert vaekit.device(name) == torch.device("cpu")
    bare.setenv("VAEKIT_DEVICE", name)
    with pytest.warns(UserWarning, match="using the CPU instead"):
        assert vaekit.mnist(train=False).images.device == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", 3.5])
def test_nonsense_is_refused(bare, refuses, name):
    with refuses(ValueError, f"device {name!r} is unknown: use 'cpu', 'cuda', 'cuda:0' or 'mps'"):
        vaekit.device(name)
    bare.setenv("VAEKIT_DEVICE", "quantum")
    with refuses(ValueError, "device 'quantum' is unknown"):
        vaekit.device()
