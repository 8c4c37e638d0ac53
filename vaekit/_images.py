"""What is wrong with a learner's images, and the code that mends it: a hint is run before it is given."""

import re
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite, isnan, isqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
# How pictures are taken out of what holds them: the first expression that gives a plain tensor is the hint.
ARRAYS = ("torch.as_tensor({0})", "torch.stack({0})", "torch.as_tensor(np.array({0}))")
ARRAYS += ("torch.as_tensor(np.array({0}, float))",)  # of another byte order, or long doubles
HELD = ("{0}.images", "{0}.tensors[0]", "torch.as_tensor({0}.data)", "vaekit.load_images({0}).images")
# A data set's, one by one: pictures alone, with a label, or by name.
EACH = [f"{{0}}[i]{part} for i in range(len({{0}}))" for part in ("", "[0]", "['image']")]
ITEMS = [way for each in EACH for way in (f"torch.stack([{each}])", f"torch.as_tensor(np.stack([{each}]))")]
TRIED = 64  # of these, before the hint is given: a data set may read each from a file
# What the axes may be, the likeliest first; when they are; how to go on. D: each picture, or each of its colours.
LAYOUTS = (
    ("NHWC", lambda n, h, w, c: _is_picture(h, w, c), "images.permute(0, 3, 1, 2)"),
    ("NCHW", lambda n, c, h, w: _is_picture(h, w, c), "images[:, :-1]"),  # grey or colours, and how opaque they are
    ("HWCN", lambda h, w, c, n: _is_picture(h, w, c) and h == w < n, "images.movedim(-1, 0)"),  # as Matlab has them
    ("CHWN", lambda c, h, w, n: _is_picture(h, w, c) and h == w < n, "images.movedim(-1, 0)"),
    ("HWN", lambda h, w, n: _is_picture(h, w) and h == w < n / 2, "images.movedim(-1, 0)"),
    ("CHW", lambda c, h, w: _is_picture(h, w) and c == 3, "images[None]"),
    ("HWC", lambda h, w, c: _is_picture(h, w, c) and (h == w or c > 1), "images[None]"),
    ("NHW", lambda n, h, w: _is_picture(h, w), "images.unsqueeze(1)"),
    ("NNCHW", lambda m, n, c, h, w: _is_picture(h, w, c), "images.flatten(0, 1)"),
    ("NNHWC", lambda m, n, h, w, c: _is_picture(h, w, c), "images.flatten(0, 1)"),
    ("ND", lambda n, d: _is_square(d), "images.unflatten(1, (1, {side}, {side}))"),
    ("ND", lambda n, d: _is_square(d / 3), "images.unflatten(1, (3, {side}, {side}))"),
    ("NCD", lambda n, c, d: _is_square(d) and 0 < c <= 4, "images.unflatten(2, ({side}, {side}))"),
    ("NDC", lambda n, d, c: _is_square(d) and 0 < c <= 4, "images.unflatten(1, ({side}, {side}))"),
)
# Each colour to 0..1 by itself: what had a mean and a deviation of each colour is then as it was.
BY_COLOUR = "(images - images.amin((0, 2, 3), True)) / (images.amax((0, 2, 3), True) - images.amin((0, 2, 3), True))"


class Fault(NamedTuple):
    """What is wrong, as an error and in words; and the expression of `images` that mends it, "" if none does."""

    error: type[Exception]
    words: str
    mending: str


def find_fault(images) -> Fault | None:
    """The first thing that keeps images from being trained on; its `mending` mends all that is wrong."""
    first = fault = _next_fault(images)
    expression = "images"
    while fault and fault.mending and len(expression) < 400:
        is_sum = re.search(r" [-+*/] ", expression)
        expression = fault.mending.replace("images", f"({expression})" if is_sum else expression)
        images = _run(fault.mending, images)
        fault = _next_fault(images)
    return first and first._replace(mending="" if fault else expression)


def as_bytes(images: np.ndarray | Tensor) -> Tensor:
    """Images of any kind that a hint mends as (N, C, H, W), uint8. Raises TypeError or ValueError, in one line."""
    for _ in range(8):
        fault = _next_fault(images)
        if not (fault and fault.mending):
            break
        images = _run(fault.mending, images)
    if fault:
        raise fault.error(f"images must be (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3; {fault.words}")
    return (255 * images).round().to(torch.uint8) if images.is_floating_point() else images


def _run(mending: str, images):
    names = {"torch": torch, "np": np, "vaekit": sys.modules["vaekit"], "images": images}
    return eval(mending, names | {"range": lambda n: range(min(n, TRIED))})  # an expression of this file


def _next_fault(images) -> Fault | None:
    if not _is_dense(images):
        words = "this is no dense one" if isinstance(images, Tensor) else f"this is a {type(images).__name__}"
        return Fault(TypeError, words, _out_of_container(images))
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        return _layout_fault(tuple(images.shape))
    if images.is_complex():
        return Fault(TypeError, f"these are {images.dtype}", "")
    if images.dtype not in DTYPES:
        low, high = images.float().aminmax()
        are_bytes = not images.is_floating_point() and low >= 0 and 1 < high <= 255
        return Fault(TypeError, f"these are {images.dtype}", f"images.{'to(torch.uint8)' if are_bytes else 'float()'}")
    return _range_fault(images)


def _is_dense(images) -> bool:
    is_strided = isinstance(images, Tensor) and images.layout == torch.strided
    return is_strided and not (images.is_quantized or images.is_nested or images.is_meta)


def _out_of_container(images) -> str:
    """The first expression that takes the pictures out of what holds them; "" where none does."""
    places, least, ways = ["images"], 2, (*HELD, *ITEMS)
    if hasattr(images, "__array__") or isinstance(images, Mapping | tuple | list):
        ways = (*ARRAYS, *ITEMS[:4])  # which have no names
    if isinstance(images, DataLoader):
        places = ["images.dataset"]
    elif isinstance(images, Mapping):  # an .npz, a dict, with labels that may be one-hot
        places, least = [f"images[{name!r}]" for name in images], 3
    elif isinstance(images, tuple | list) and [getattr(it, "ndim", 0) > 2 for it in images[:3]] == [True, False]:
        places = ["images[0]"]  # pictures, and their labels
    for way in ways:
        for mending in map(way.format, places):
            with suppress(Exception), warnings.catch_warnings(action="error"):  # whatever a stranger's container raises
                found = _run(mending, images)
                if _is_dense(found) and found.ndim >= least:
                    return mending
    return ""


def _layout_fault(shape: tuple[int, ...]) -> Fault:
    if shape[:1] == (0,):
        return Fault(ValueError, "this data set is empty: give at least one batch of images", "")
    words = f"the shape of these is {shape}"
    for layout, fits, mending in LAYOUTS:
        if len(layout) == len(shape) and fits(*shape):
            words += f", which looks like ({', '.join(layout)})" if "C" in layout else ""
            line = shape[layout.find("D")]
            return Fault(ValueError, words, mending.format(side=isqrt(line if _is_square(line) else line // 3)))
    return Fault(ValueError, words, "")


def _is_picture(height: int, width: int, colours: int = 1) -> bool:
    return min(height, width) > 4 and 0 < colours <= 4


def _is_square(pixels: float) -> bool:
    return pixels > 3 and (pixels**0.5).is_integer()


def _range_fault(images: Tensor) -> Fault | None:
    low, high = (end.item() for end in images.aminmax())
    words, white = f"these reach from {low:g} to {high:g}", 255 if images.dtype == torch.uint8 else 1
    if not (isfinite(low) and isfinite(high)):
        finite = images[images.isfinite()]
        inside = f"images.nan_to_num(0, {finite.max():g}, {finite.min():g})" if len(finite) else ""
        return Fault(ValueError, f"these hold {'NaN' if isnan(low) else 'infinity'}: {words}", inside)
    if low >= 0 and 0 < high <= 16.01 * white / 255:  # 16 grey levels, or 0 and 1, as bytes; or divided twice
        mending = "images.float()" if high == 1 else f"images / {high:.9g}"
        return Fault(ValueError, f"{words}, where white is {white}: all but black", mending)
    if low >= 0 and high <= white:
        return None
    guesses = (  # into [0, 1], and the picture kept, as far as one can tell
        (low >= -0.1 and high <= 1.1, "images.clamp(0, 1)"),  # rounding, or a resize that overshoots
        (-0.5 <= low < 0 and high - low <= 1.001, f"images + {-low:.9g}"),
        (low >= -1.1 and high <= 1.1, "(images + 1) / 2"),
        (low >= -25 and 128 < high <= 280, "images / 255"),
        (low >= 0 and 32767 < high <= 65535, "images / 65535"),
        (low >= 0, f"images / {high:.9g}"),
        (True, BY_COLOUR),
    )
    return Fault(ValueError, words, next(mending for fits, mending in guesses if fits))
