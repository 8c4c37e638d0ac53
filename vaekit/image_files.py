"""A learner's own images, read from files: pictures, a .zip or a folder of them, or the arrays of an .npz."""

import io
import os
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps

from vaekit._checks import check_whole, first_line
from vaekit._files import as_path, read_whole, short_path
from vaekit._images import as_bytes
from vaekit.data import DataError, ImageSet

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # Pillow's names: none that runs another program
ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pbm", ".pgm", ".ppm")
ARRAYS = (".npz", ".npy")
ALLOWED = "choose one .npz, one .zip of pictures, or pictures (.png, .jpg, .gif, .bmp, .webp, .tif)"
IMAGES = ("images", "x", "x_train", "train_images", "imgs", "data", "arr_0")  # names in an .npz, the best first
LABELS = ("labels", "y", "y_train", "train_labels", "targets", "target", "label", "arr_1")
SIDE = 28  # what pictures are made; those that are square and from 8 to 32 already stay as they are
KEPT = range(8, 33)
MOST, MOST_BYTES, MOST_PIXELS = 70_000, 2**29, 50_000_000  # pictures; unpacked, of all; pixels of one
CLASSES = 100  # folders; more are no classes, and of labels 256: the page has a byte for each
DEEP = ("I", "F")  # the first letters of Pillow's modes of more than 8 bits
NEARLY_GREY = 4  # grey levels that the colours of a grey picture may be apart: a .jpg's rounding


@dataclass(frozen=True)
class LoadedImages(ImageSet):
    """Images that were read from files; `told` says in one line what was made of them."""

    told: str = ""


def load_images(path: str | os.PathLike, size: int | None = None) -> LoadedImages:
    """Read a learner's own images: an .npz or .npy, a .zip or a folder of pictures, or one picture.

    Pictures are cut square from the middle and made `size` × `size` (28, when they are not small and square already);
    grey when all are grey, else in colour. Labels: an .npz's `labels`, or the folders' names in order.
    Returns images (N, 1 or 3, size, size), uint8, and labels (N,) or None; `told` says what was done.
    Raises DataError, in one line, when a file cannot be read, or is too large. Nothing is ever unpickled.
    """
    place = as_path(path)
    if not place.is_dir():
        return read_images({place.name: read_whole(path, DataError)}, size)
    found = {it.relative_to(place).as_posix(): it for it in sorted(place.rglob("*")) if it.is_file()}
    found = {name: it for name, it in found.items() if is_picture(name)}
    _check_room(short_path(path), [it.stat().st_size for it in found.values()])
    return read_images({name: read_whole(it, DataError) for name, it in found.items()}, size, f"{place.name}/")


def read_images(files: dict[str, bytes], size: int | None = None, name: str = "") -> LoadedImages:
    """The images in the contents of files, by the files' names: see `load_images`. name: of the set."""
    size = None if size is None else check_whole("size", size, 8)
    first, *others = files or [name]
    name = name or ("Your pictures" if others else first)
    ending = PurePosixPath(first.lower()).suffix if len(files) == 1 else ""
    if ending in ARRAYS:
        pictures, labels, classes = _read_arrays(first, files[first])
    else:
        files = _unzip(first, files[first]) if ending == ".zip" else files
        pictures = [_open(file, content) for file, content in files.items()]
        labels, classes = _labels_of_folders(list(files))
    if len(pictures) < 2:
        held = "a single picture, too few to learn from" if pictures else "no pictures"
        raise DataError(f"{short_path(name)} holds {held}: {ALLOWED}")
    _check_room(name, [3 * (size or SIDE) ** 2] * len(pictures))  # as they will be
    images, done = _as_one(pictures, size)
    name = name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"  # for the menu
    return LoadedImages(images, labels, name, f"{len(images):,} pictures, {done}; {classes}.")


def is_picture(name: str) -> bool:
    """Is a file a picture by its name? What systems leave beside them, such as ._cat.png, is none."""
    parts = PurePosixPath(name).parts
    return name.lower().endswith(ENDINGS) and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _check_room(name: str, sizes: list[int]) -> None:
    """Refuse too many files, or too large ones, by sizes known before they are unpacked."""
    if len(sizes) > MOST or sum(sizes) > MOST_BYTES:
        has = f"{len(sizes):,} pictures of {sum(sizes) / 1e6:,.0f} MB together"
        raise DataError(f"{short_path(name)} has {has}: {MOST:,} of {MOST_BYTES / 1e6:.0f} MB at most; take a part")


@contextmanager
def _reading(name: str, done: str = "read as a picture", advice: str = "leave it out, or save it anew"):
    """What goes wrong within is said of the file, in one line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        is_none = isinstance(error, Image.UnidentifiedImageError)
        why = "it is empty, damaged, or of another kind" if is_none else first_line(error)
        why = why.split(". ")[0]  # of a pickle numpy says next how to read it all the same
        raise DataError(f"{short_path(name)} cannot be {done} ({why}): {advice}") from None


def _unzip(name: str, content: bytes) -> dict[str, bytes]:
    """The pictures in a .zip. What it says of their sizes is believed, and no more than that is unpacked."""
    with _reading(name, "unpacked", "pack it anew"), zipfile.ZipFile(io.BytesIO(content)) as packed:
        members = [it for it in packed.infolist() if is_picture(it.filename)]
        _check_room(name, [it.file_size for it in members])
        return {it.filename.replace("\\", "/"): packed.open(it).read(it.file_size) for it in members}


def _open(name: str, content: bytes) -> Image.Image:
    """A picture whose pixels are not read yet."""
    if not name.lower().endswith(ENDINGS):
        raise DataError(f"{short_path(name)} is no picture: {ALLOWED}")
    with _reading(name):
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    picture.info["name"] = name
    if picture.width * picture.height > MOST_PIXELS:
        size = f"{picture.width:,} × {picture.height:,} pixels"
        raise DataError(f"{short_path(name)} has {size}, {MOST_PIXELS // 10**6} million are allowed: make it smaller")
    return picture


def _as_one(pictures: list[Image.Image], size: int | None) -> tuple[torch.Tensor, str]:
    """Pictures of any sizes → images (N, C, size, size), uint8, and what was done, in words."""
    sizes = {picture.size for picture in pictures}
    side = size or next((w for w, h in sizes if len(sizes) == 1 and w == h and w in KEPT), SIDE)
    white = max((_white(picture) for picture in pictures if picture.mode[0] in DEEP), default=255)
    square = np.stack([_square(picture, side, white) for picture in pictures])  # (N, size, size, 3)
    grey = int(np.ptp(square, axis=3).max()) <= NEARLY_GREY
    images = as_bytes(square[..., 1:2] if grey else square).contiguous()
    cut = "cut square from the middle, " if any(w != h for w, h in sizes) else ""
    made = "" if sizes == {(side, side)} else "made "
    return images, f"{cut}{made}{side} × {side} and {'grey' if grey else 'in colour'}"


def _white(picture: Image.Image) -> float:
    """White in pictures of more than 8 bits such as this: 1 for fractions, 2ᵏ − 1 as cameras have it, or 65,535 up."""
    with _reading(picture.info.get("name", "a picture")):
        pixels = np.asarray(picture)
        top = float(pixels[np.isfinite(pixels)].max(initial=1))
    return 2 ** round(top).bit_length() - 1 if top < 4096 else max(65535, top)  # a resize overshoots a little


def _square(picture: Image.Image, side: int, white: float) -> np.ndarray:
    """A picture as (side, side, 3), uint8: upright, on white where it is transparent, cut from the middle."""
    with _reading(picture.info.get("name", "a picture")):
        if picture.mode[0] in DEEP:
            pixels = np.nan_to_num(np.asarray(picture)).clip(0, white)
            picture = Image.fromarray((pixels * (255 / white)).round().astype(np.uint8))
        picture.draft("RGB", (2 * side, 2 * side))  # a large .jpg need not be read in full
        picture = ImageOps.exif_transpose(picture)
        if picture.has_transparency_data:
            ground = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(ground, picture.convert("RGBA"))
        return np.asarray(ImageOps.fit(picture.convert("RGB"), (side, side)))


def _labels_of_folders(names: list[str]) -> tuple[torch.Tensor | None, str]:
    """A class for each folder that directly holds pictures, its number or its place; and what they are, in words."""
    folders = [PurePosixPath(name).parent.name for name in names]
    classes = sorted(set(folders))
    if not 1 < len(classes) <= CLASSES:
        return None, "no classes"
    numbers = {name: int(name) for name in classes if name.isdecimal() and len(name) < 4 and int(name) < 256}
    if len(set(numbers.values())) == len(classes):
        return torch.tensor([numbers[name] for name in folders]), f"{len(classes)} classes"
    named = [f"{number} {name or 'in no folder'}" for number, name in enumerate(classes)]
    told = f"classes: {', '.join(named[:4])}{', …' if named[4:] else ''}"
    return torch.tensor([classes.index(name) for name in folders]), told


def _read_arrays(name: str, content: bytes) -> tuple[list[Image.Image], torch.Tensor | None, str]:
    """The pictures in an .npz or .npy; labels, or None; and which classes there are, in words."""
    with _reading(name, "read", "save numbers (N, H, W) by np.savez(file, images=..., labels=...)"):
        found, arrays = np.load(io.BytesIO(content), allow_pickle=False), {}
        if isinstance(found, np.ndarray):
            found = {"images": found}
        else:
            _check_room(name, [it.file_size for it in found.zip.infolist()])
        for key in found:
            try:
                arrays[key.lower()] = np.asarray(found[key])
            except Exception as error:
                if "Object arrays" not in str(error):  # Python objects, which may run anything, stay unread
                    raise ValueError(f"{key} in it seems to be damaged: {first_line(error)}") from None
        sizes = {key: array.size for key, array in arrays.items() if array.ndim > 1}
        if not sizes:
            raise ValueError("no array (N, H, W) is in it, and Python objects are not read")
        images = arrays[next(filter(sizes.get, IMAGES), max(sizes, key=sizes.get))]
        _check_room(name, [images[:1].nbytes] * len(images))
        images = as_bytes(images)
    pixels = images.permute(0, 2, 3, 1).squeeze(3).numpy()  # (N, H, W) or (N, H, W, 3)
    return [Image.fromarray(each) for each in pixels], *_find_labels(arrays, images)


def _find_labels(arrays: dict[str, np.ndarray], images: torch.Tensor) -> tuple[torch.Tensor | None, str]:
    """Whole numbers from 0 to 255, one an image, or None where there are none; and what is there, in words."""
    keys = [key for key in LABELS if key in arrays]
    for key in keys:
        with suppress(TypeError, ValueError):
            labels = ImageSet(images, arrays[key].squeeze()).labels
            if labels.max() < 256:
                return labels, f"{len(labels.unique())} classes"
    why = f": {keys[0]} must be a whole number from 0 to 255 for each picture" if keys else ""
    return None, f"no classes{why}"
