"""Own images: each kind of file is read, each kind of bad one refused in one line, and nothing is unpickled."""

import io
import pickle
import stat
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from vaekit.data import DataError
from vaekit.image_files import read_images

RANDOM = np.random.default_rng(0)


def written(save) -> bytes:
    """What `save` writes into a file."""
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def packed(pixels, kind: str = "PNG", **options) -> bytes:
    """Pixels, or a picture, as the bytes of a picture file."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    return written(lambda file: picture.save(file, kind, **options))


def some(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape).astype(np.uint8)


def zipped(files: dict) -> bytes:
    """A .zip of files, by their names or what zipfile knows of them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as folder:
        for name, content in files.items():
            folder.writestr(name, content)
    return file.getvalue()


def arrays(**named) -> bytes:
    return written(lambda file: np.savez_compressed(file, **named))


def test_a_zip_of_pictures_with_a_folder_for_each_class(tmp_path):
    pictures = {f"all/{name}/{i}.png": packed(some(40, 60)) for name in ("cats", "dogs") for i in range(3)}
    rubbish = {"all/cats/._0.png": b"x", "__MACOSX/all/1.png": b"x", "all/notes.txt": b"x"}
    (tmp_path / "pets.zip").write_bytes(zipped(pictures | rubbish))
    images = vaekit.load_images(tmp_path / "pets.zip")
    assert images.images.shape == (6, 1, 28, 28) and images.images.dtype == torch.uint8 and images.name == "pets.zip"
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    made = "6 pictures, cut square from the middle, made 28 × 28 and grey; classes: 0 cats, 1 dogs."
    assert images.told == made
    for name, content in pictures.items():  # the same, unpacked
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    again = vaekit.load_images(tmp_path / "all")
    assert torch.equal(again.images, images.images) and (again.told, again.name) == (made, "all/")


def test_small_square_pictures_stay_as_they_are_and_numbered_folders_are_the_classes():
    colours, greys = some(3, 16, 16, 3), some(3, 16, 16)
    found = read_images({f"{7 + i}/a.png": packed(pixels) for i, pixels in enumerate(colours)})
    assert torch.equal(found.images, torch.from_numpy(colours).permute(0, 3, 1, 2))
    assert found.labels.tolist() == [7, 8, 9] and found.told == "3 pictures, 16 × 16 and in colour; 3 classes."
    found = read_images({"a.zip": zipped({f"{c}\\a.jfif": packed(some(9, 9)) for c in ("cats", "dogs")})})
    assert found.labels.tolist() == [0, 1]  # as some programs on Windows pack them
    found = read_images({f"{i}.png": packed(pixels) for i, pixels in enumerate(greys)})
    assert torch.equal(found.images[:, 0], torch.from_numpy(greys)) and found.labels is None
    assert (found.name, found.told) == ("Your pictures", "3 pictures, 16 × 16 and grey; no classes.")


def test_pictures_of_every_mode_are_read_as_they_look():
    ramp = np.tile(np.linspace(0, 255, 28).round().astype(np.uint8), (28, 1))
    colour = np.stack([ramp] * 3, -1)
    see_through = Image.fromarray(np.dstack([0 * colour, 255 - ramp]))  # black, the more transparent to the right
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    files = {
        "rgb.png": packed(colour),
        "deep.png": packed(ramp.astype(np.uint16) * 257),
        "clear.png": packed(see_through),
        "palette.gif": packed(Image.fromarray(ramp), "GIF"),
        "turned.jpg": packed(Image.fromarray(ramp).rotate(180), "JPEG", quality=100, exif=turned),
    }
    found = read_images(files)
    assert found.images.shape == (5, 1, 28, 28)
    assert (found.images[:, 0].int() - torch.from_numpy(ramp).int()).abs().max() <= 3


LEVELS = RANDOM.integers(0, 10, (3, 28, 28))
HOLED = (LEVELS / 9 * 1.05).astype(np.float32)  # and a little too bright, as after a resize
HOLED[0, 0, :3] = np.nan, np.inf, -np.inf


@pytest.mark.parametrize(
    ("pixels", "white", "kind"),
    [
        ((LEVELS / 9).astype(np.float32), 1, "TIFF"),
        (HOLED, 1, "TIFF"),
        ((LEVELS * 455).astype(np.float32), 4095, "TIFF"),
        ((LEVELS * 455).astype(np.uint16), 4095, "PNG"),
        ((LEVELS * 7281).astype(np.uint16), 65535, "PNG"),
        ((LEVELS * 28).astype(np.int32), 255, "TIFF"),
        ((LEVELS * 110_000).astype(np.int32), 990_000, "TIFF"),
        (LEVELS.astype(np.uint8), 9, "PNG"),
        ((LEVELS > 4).astype(np.uint8), 1, "PNG"),
    ],
    ids=["fractions", "holes", "12 bit floats", "12 bit", "16 bit", "32 bit", "brighter", "ten levels", "masks"],
)
def test_pictures_of_any_depth_are_not_all_but_black(pixels, white, kind):
    found = read_images({f"{i}.{kind.lower()[:3]}": packed(one, kind) for i, one in enumerate(pixels)})
    expected = np.nan_to_num(pixels).clip(0, white) * (255 / white)
    np.testing.assert_allclose(found.images[:, 0], expected, atol=0.51)


PIXELS = some(5, 28, 28)


@pytest.mark.parametrize(
    ("named", "labels"),
    [
        ({"X": PIXELS, "Y": np.arange(5), "names": np.array([None] * 5)}, [0, 1, 2, 3, 4]),
        ({"labels": np.arange(5.0), "another": PIXELS.reshape(5, 784)}, [0, 1, 2, 3, 4]),
        ({"a": np.eye(5), "pictures": PIXELS[:, None], "target": np.arange(5) > 2}, [0, 0, 0, 1, 1]),
        ({"other": np.arange(3), "x": PIXELS[..., None], "y": np.array([[4], [1], [0], [9], [4]])}, [4, 1, 0, 9, 4]),
        ({"images": PIXELS / 255, "labels": np.arange(5) - 1}, "no classes: labels must be a whole number from 0"),
        ({"images": (PIXELS / 255).astype(">f4"), "label": np.eye(5)}, "no classes: label must be a whole number"),
        ({"images": (PIXELS / 255).astype(np.longdouble)}, "no classes."),
    ],
)
def test_arrays_by_any_usual_name(named, labels):
    """And of any layout and type."""
    found = read_images({"a.npz": arrays(**named)})
    assert torch.equal(found.images[:, 0], torch.from_numpy(PIXELS))
    assert found.told.startswith("5 pictures, 28 × 28 and grey; ")
    assert labels in found.told if isinstance(labels, str) else found.labels.tolist() == labels


def test_an_array_alone_and_a_size_of_ones_own(tmp_path):
    np.save(tmp_path / "a.npy", some(4, 64, 64, 3))
    found = vaekit.load_images(tmp_path / "a.npy", size=48)
    assert found.images.shape == (4, 3, 48, 48) and found.told == "4 pictures, made 48 × 48 and in colour; no classes."


class Explodes:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def liar() -> bytes:
    """A .zip whose picture is 100 MB of zeros, and said to be of 100 bytes."""
    content = bytearray(zipped({"a.png": bytes(10**8)}))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 100)
    return bytes(content)


def vast(*shape: int) -> bytes:
    """A .npy whose header speaks of more numbers than there are."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    return written(lambda file: np.lib.format.write_array_header_1_0(file, header)) + bytes(10)


GOOD = packed(some(28, 28))
LINK = zipfile.ZipInfo("a.png")  # to another file
LINK.create_system, LINK.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
LOCKED = bytearray(zipped({"a.png": GOOD}))
LOCKED[LOCKED.rindex(b"PK\x01\x02") + 8] |= 1  # "encrypted"
DAMAGED = bytearray(arrays(images=PIXELS))
DAMAGED[len(DAMAGED) // 2] ^= 1
OBJECTS = arrays(images=np.array([Explodes(), 1], dtype=object))
BAD = {
    "another kind": ({"notes.pdf": b"%PDF"}, "^notes.pdf is no picture: choose one .npz, one .zip of pictures, or"),
    "two archives": ({"a.zip": zipped({}), "b.zip": zipped({})}, "^a.zip is no picture: choose one .npz"),
    "one picture": ({"a.png": GOOD}, "^a.png holds a single picture, too few to learn from: choose"),
    "a damaged picture": ({"a.png": GOOD, "b.png": GOOD[:-40]}, "^b.png cannot be read as a picture .*: leave it out"),
    "no picture": ({"a.png": GOOD, "b.png": b""}, "^b.png .* .it is empty, damaged, or of another kind.: leave"),
    "a vast picture": ({"a.png": packed(Image.new("1", (8000, 8000)))}, "^a.png has 8,000 × 8,000 pixels"),
    "an empty zip": ({"a.zip": zipped({"b.txt": b""})}, "^a.zip holds no pictures: choose"),
    "no zip": ({"a.zip": b"PK"}, "^a.zip cannot be unpacked .File is not a zip file.: pack it anew$"),
    "a locked zip": ({"a.zip": bytes(LOCKED)}, "^a.zip cannot be unpacked .*encrypted"),
    "a bomb": ({"a.zip": zipped({f"{i}.png": bytes(10**8) for i in range(6)})}, "^a.zip has 6 .* 600 MB .* a part$"),
    "a bomb that lies": ({"a.zip": liar()}, "^a.zip cannot be unpacked .Bad CRC"),
    "objects": ({"a.npz": OBJECTS}, "^a.npz cannot be read .* Python objects are not read.: save numbers"),
    "no images": ({"a.npz": arrays(y=np.arange(9))}, "^a.npz cannot be read .no array .N, H, W. is in it"),
    "a pickle": ({"a.npz": pickle.dumps([1])}, "^a.npz cannot be read .*pickled [^.]*: save numbers"),
    "no npz": ({"a.npz": OBJECTS[:-30]}, "^a.npz cannot be read .*: save numbers"),
    "a link": ({"a.zip": zipped({LINK: __file__, "b.png": GOOD})}, "^a.png cannot be read as a picture .it is empty"),
    "a path out of the zip": ({"a.zip": zipped({"../a.png": GOOD, "../b.png": GOOD})}, "^a.zip holds no pictures"),
    "9 TB": ({"a.npy": vast(10**6, 10**6, 9)}, "^a.npy cannot be read .Unable to allocate .*: save numbers"),
    "9 TB packed": ({"a.npz": zipped({"x.npy": vast(10**6, 10**6, 9)})}, "^a.npz cannot be read .*Unable to allocate"),
    "a cut array": ({"a.npz": zipped({"x.npy": vast(5, 28, 28)})}, "^a.npz .*x in it seems to be damaged: EOF.*: save"),
    "a damaged array": ({"a.npz": bytes(DAMAGED)}, "^a.npz cannot be read .images in it seems to be damaged: .*: save"),
    "a header without end": ({"a.npy": b"\x93NUMPY\x01\0\xff\xff" + b"(" * 65_535}, "^a.npy cannot be read"),
    "words": ({"a.npz": arrays(images=np.array([["a"], ["b"]]))}, "^a.npz .*images must be .*; this is a ndarray"),
    "no such layout": ({"a.npz": arrays(images=some(5, 7))}, r"^a.npz .*images must be .N, H, W.*\(5, 7\)\): save"),
    "not numbers": ({"a.npz": arrays(images=np.full((3, 8, 8), np.nan))}, "^a.npz .*images must be .* NaN"),
    "nothing": ({"a.npz": arrays(images=some(0, 28, 28))}, "^a.npz .*images must be .* this data set is empty"),
    "many": ({"a.npz": arrays(images=np.zeros((70_001, 1, 1), np.uint8))}, "^a.npz has 70,001 .* 70,000 of"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_bad_is_refused_in_one_line(name, refuses):
    files, line = BAD[name]
    with refuses(DataError, line):
        read_images(files)


def test_a_path_without_a_file(tmp_path, refuses):
    with refuses(DataError, "none.zip: it cannot be read .No such file"):
        vaekit.load_images(tmp_path / "none.zip")
    with refuses(DataError, "holds no pictures: choose one .npz"):
        vaekit.load_images(tmp_path)
    with refuses(ValueError, "^size must be a whole number from 8 up, not 3$"):
        vaekit.load_images(tmp_path, size=3)
