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

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Where a container may hold its pictures: the first expression that gives a plain tensor is the hint.
HELD = (
    *("images.images", "torch.as_tensor(images.toarray())", "images.data"),  # an ImageSet; scipy's; torchvision's
    *("torch.as_tensor(images.data)", "images.tensors[0]", "images.dataset.tensors[0][images.indices]"),
    *("torch.as_tensor(images.dataset.data[images.indices])", "images.to_dense()", "images.dequantize()"),
    *("torch.nested.to_padded_tensor(images, 0)", "vaekit.load_images(images).images"),
)
ARRAYS = tuple(f"torch.as_tensor({it})" for it in ("images", "np.array(images)", "np.array(images, float)"))
ARRAYS += ("torch.as_tensor(np.stack(images))",)  # a column of pandas
PAIR = ("images[0]", "torch.as_tensor(images[0])")  # of pictures and their labels
# One by one, as a data set gives them: pictures, or pictures with a label.
ITEMS = [f"images[i]{part} for i in range(len(images))" for part in ("", "[0]", "['image']")]
ITEMS = [it for item in ITEMS for it in (f"torch.stack([{item}])", f"torch.as_tensor(np.stack([{item}]))")]
TRIED = 64  # of these, before the hint is given: a data set may read each from a file
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
        is_sum = any(sign in expression for sign in (" + ", " - ", " * ", " / "))
        expression = fault.mending.replace("images", f"({expression})" if is_sum else expression)
        images = _run(fault.mending, images)
        fault = _next_fault(images)
    return first and first._replace(mending="" if fault else expression)


def mended(images) -> Tensor:
    """Images with all put right that a hint can. Raises TypeError or ValueError, in one line, where none does."""
    for _ in range(8):
        fault = _next_fault(images)
        if not (fault and fault.mending):
            break
        images = _run(fault.mending, images)
    if fault:
        raise fault.error(f"images must be (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3; {fault.words}")
    return images


def _run(mending: str, images):
    names = {"torch": torch, "np": np, "vaekit": sys.modules["vaekit"], "images": images}
    if not isinstance(images, tuple | list):
        names["range"] = lambda n: range(min(n, TRIED))
    return eval(mending, names)  # an expression of this file


def _is_dense(images) -> bool:
    is_strided = isinstance(images, Tensor) and images.layout == torch.strided
    return is_strided and not (images.is_quantized or images.is_nested)


def _next_fault(images) -> Fault | None:
    if not _is_dense(images):
        words = "this is no dense one" if isinstance(images, Tensor) else f"this is a {type(images).__name__}"
        return Fault(TypeError, words, _out_of_container(images))
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        return _layout_fault(tuple(images.shape))
    if images.dtype not in (torch.uint8, *FLOATS):
        low, high = (0, 1) if images.is_floating_point() or images.is_complex() else _extent(images)
        are_bytes = low == 0 == high or (low >= 0 and 1 < high <= 255)
        mending = "images.to(torch.uint8)" if are_bytes else "images.float()"
        return Fault(TypeError, f"these are {images.dtype}", mending)
    return None if images.device.type == "meta" else _range_fault(images)


def _out_of_container(images) -> str:
    """The first expression that takes the pictures out of what holds them; "" where none does."""
    if isinstance(images, DataLoader):
        return re.sub(r"(?<![.\w])images\b", "images.dataset", _out_of_container(images.dataset))
    if isinstance(images, Mapping):  # an .npz, a dict: the array of most axes, by its name
        held = f"images[{max(images, key=lambda name: _axes(images, name), default=None)!r}]"
        tries = (held, f"torch.as_tensor({held})")
    elif isinstance(images, tuple | list):
        are_two = len(images) == 2 and getattr(images[0], "ndim", 0) > getattr(images[1], "ndim", 0)
        items = ITEMS[4:] if images and isinstance(images[0], Mapping) else ITEMS[:4]
        tries = ("torch.stack(images)", *ARRAYS[1:], *items, *PAIR * are_two)
    else:
        is_array = hasattr(images, "__array__") or not hasattr(images, "__getitem__")
        tries = (*ARRAYS, *HELD) if is_array else (*HELD, *ITEMS)
    for mending in tries:
        try:
            with warnings.catch_warnings(action="error"):
                if _is_dense(_run(mending, images)):
                    return mending
        except Exception:  # whatever a stranger's container raises: the next one
            continue
    return ""


def _axes(arrays: Mapping, name) -> int:
    with suppress(Exception):  # one of Python objects, which an .npz does not give
        return arrays[name].ndim
    return 0


def _layout_fault(shape: tuple[int, ...]) -> Fault:
    words, mending = f"the shape of these is {shape}", ""
    match shape:
        case (0, _, _, _):
            words = "this data set is empty: give at least one batch of images"
        case (_, c, _, w) if 0 not in shape and (w in (1, 3) or w <= 4 < c):
            words, mending = f"{words}, which looks like (N, H, W, C)", "images.permute(0, 3, 1, 2)"
        case (h, w, *c, n) if h == w and tuple(c) in ((), (1,), (3,)) and (h if c else 2 * h) < n:  # as Matlab has them
            mending = "images.movedim(-1, 0)"
        case (1 | 3, h, w, n) if h == w and n > 4:
            words, mending = f"{words}, which looks like (C, H, W, N)", "images.movedim(-1, 0)"
        case (_, 2 | 4 as c, _, _):
            words, mending = f"{words}: {c} channels, not 1 or 3", f"images[:, :{c - 1}]"
        case (*_, h, w, 1 | 3) if len(shape) > 4 and h == w:
            mending = "images.flatten(0, -4)"
        case (*_, 1 | 3, _, _) if len(shape) > 4:
            mending = "images.flatten(0, -4)"
        case (n, 1 | 3, d) | (n, d, 1) if d > 3 and isqrt(d) ** 2 == d and (n != d or shape[2] == d):  # in one row
            mending = f"images.unflatten({1 if shape[2] == 1 else 2}, {(isqrt(d), isqrt(d))})"
        case (_, h, c):  # a single picture in colour, or many grey ones
            mending = "images[None]" if c <= 4 < h or shape[0] == 3 else "images.unsqueeze(1)"
        case (_, d):
            sizes = [(c, isqrt(d // c), isqrt(d // c)) for c in (1, 3) if d > 3 and c * isqrt(d // c) ** 2 == d]
            mending = f"images.unflatten(1, {sizes[0]})" if sizes else ""
    return Fault(ValueError, words, mending)


def _range_fault(images: Tensor) -> Fault | None:
    low, high = _extent(images)
    words, white = f"these reach from {low:g} to {high:g}", 255 if images.dtype == torch.uint8 else 1
    if not (isfinite(low) and isfinite(high)):
        finite = images[images.isfinite()]
        inside = f"images.nan_to_num(0, {finite.max():g}, {finite.min():g})" if len(finite) else ""
        return Fault(ValueError, f"these hold {'NaN' if isnan(low) else 'infinity'}: {words}", inside)
    if low >= 0 and 0 < high <= 16.01 * white / 255:  # 16 grey levels, or 0 and 1, as bytes; or divided twice
        mending = "images * 255" if 0.99 * white <= 255 * high <= 1.001 * white else f"images / {high:.9g}"
        return Fault(ValueError, f"{words}, where white is {white}: all but black", mending)
    if low >= 0 and high <= white:
        return None
    whole = bool((images == images.round()).all())
    guesses = (  # into [0, 1], and the picture kept, as far as one can tell
        (low >= -0.1 and high <= 1.1, "images.clamp(0, 1)"),  # rounding, or a resize that overshoots
        (-0.5 <= low < 0 and high - low <= 1.001, f"images + {-low:.9g}"),
        (low >= -1.1 and high <= 1.1, "(images + 1) / 2"),
        (-0.425 <= low < 0 and high <= 2.823, "images * 0.3081 + 0.1307"),  # MNIST's mean and deviation
        (low >= -25 and 128 < high <= 280, "images / 255"),
        (whole and -128 <= low < 0 and high <= 127, "(images + 128) / 255"),
        (low >= 0, "images / 65535" if whole and 32767 < high <= 65535 else f"images / {high:.9g}"),
        (True, BY_COLOUR),
    )
    return Fault(ValueError, words, next(mending for fits, mending in guesses if fits))


def _extent(images: Tensor) -> tuple[float, float]:
    """The smallest and the largest value; both NaN where one is."""
    if images.dtype in (torch.uint16, torch.uint32, torch.uint64):  # which torch stores, and little more
        images = images.to(torch.int64)
    low, high = images.aminmax()
    return low.item(), high.item()
