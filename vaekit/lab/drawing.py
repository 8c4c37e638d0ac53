"""A digit of one's own: strokes become an image such as MNIST's, and a model shows what it makes of it."""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from vaekit._checks import short_repr
from vaekit.lab.frames import to_bytes
from vaekit.losses import pixel_mean
from vaekit.model import reparameterize, watching

SHAPE = (1, 28, 28)
BOX, CENTRE = 20, 14  # pixels of MNIST: the ink's larger side, and where its centre of mass is
PEN = 2.4  # pixels of MNIST: what the ink of its upright ones is over their height
FINE = 10  # pixels of the fine drawing along one of MNIST's
LEAST = 0.2  # of the pad: what is smaller, such as a first dot, is not made as large as a digit
NAMED = 8  # latent dimensions whose numbers are written out
NOTHING = "nothing drawn yet"
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def digit(strokes) -> Tensor:
    """Strokes, each a list of points (x, y) in 0..1, right and down → the image (1, 28, 28) in [0, 1].

    Size and place are as in MNIST, and so is the pen, however large it was drawn. Raises as `check_strokes` does.
    """
    return torch.from_numpy(centred(_ink(check_strokes(strokes)), least=BOX * FINE))[None]


def centred(ink: Image.Image, least: int = 1) -> np.ndarray:
    """White ink on black, of any size → float32 (28, 28), put where MNIST puts its digits.

    Its bounding box is scaled to 20 × 20, its aspect kept, but counts as `least` pixels; then its centre of mass
    comes to the middle, to the nearest pixel. Source: LeCun, Cortes & Burges, the MNIST database.
    """
    ink = ink.crop(ink.getbbox())
    size = [max(1, round(side * BOX / max(*ink.size, least))) for side in ink.size]
    small = np.asarray(ink.resize(size, Image.Resampling.BOX), np.float32) / 255
    image = np.zeros(SHAPE[1:], np.float32)
    centres = [(np.arange(n) * small.sum(1 - axis)).sum() / small.sum() for axis, n in enumerate(small.shape)]
    top, left = (int(np.clip(round(CENTRE - c), 0, 28 - n)) for c, n in zip(centres, small.shape, strict=True))
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image


def check_strokes(strokes) -> list[list[list[float]]]:
    """The strokes as lists of numbers. Raises TypeError or ValueError, in one line, when they are none."""
    wanted = "strokes must be lists of points (x, y) in 0..1, such as [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.9)]]"
    try:
        made = [np.asarray(stroke, float) for stroke in strokes]
    except (TypeError, ValueError):
        raise TypeError(f"{wanted}; not {short_repr(strokes)}") from None
    if not made or not all(s.shape == (len(s), 2) and len(s) and ((s >= 0) & (s <= 1)).all() for s in made):
        raise ValueError(f"{wanted}; not {short_repr(strokes)}")
    return [stroke.tolist() for stroke in made]


def _ink(strokes: list) -> Image.Image:
    """The strokes, drawn large: as they will be in the box of 20 × 20, with FINE pixels for each of its."""
    points = np.concatenate([np.array(stroke) for stroke in strokes])  # (P, 2)
    low, high = points.min(0), points.max(0)
    scale = (BOX - PEN) * FINE / max((high - low).max(), LEAST)
    side, radius = (BOX + 2) * FINE, (PEN * FINE - 1) / 2
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    for stroke in strokes:
        places = (np.array(stroke) - (low + high) / 2) * scale + side / 2
        pen.line([tuple(place) for place in places], fill=255, width=round(PEN * FINE))
        for x, y in places:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return picture


def look(model: nn.Module, x: Tensor, kind: str, generator: torch.Generator, noise: float = 0.0):
    """What a model makes of an image x (1, C, H, W): mu, logvar (1, D) each, and pictures, uint8 (5, C, H, W).

    The pictures: x itself, x̂ at μ, and what three draws from q(z|x) decode to. logvar is None for a plain code; its
    draws are the code + noise · ε.
    """
    with watching(model):
        mu, logvar = model.encode(x)
        codes = mu.expand(4, -1)
        if logvar is not None or noise:
            spread = torch.full_like(mu, 2 * math.log(noise)) if logvar is None else logvar
            draws = reparameterize(mu.expand(3, -1), spread.expand(3, -1), generator)
            codes = torch.cat([mu, draws])  # (4, D)
        decoded = pixel_mean(model.decode(codes), kind)
        return mu.detach(), None if logvar is None else logvar.detach(), to_bytes(torch.cat([x, decoded]))


def in_words(mu: Tensor, logvar: Tensor | None, dims=None) -> str:
    """μ ± σ of a code, mu and logvar (1, D): of `dims`, or of the first few."""
    dims = range(min(mu.shape[1], NAMED)) if dims is None else dims
    mu = mu[0].tolist()
    spread = [""] * len(mu) if logvar is None else [f" ± {std:.2f}" for std in torch.exp(0.5 * logvar[0]).tolist()]
    told = [f"z{dim + 1} = ".translate(SUBSCRIPTS) + f"{mu[dim]:.2f}{spread[dim]}".replace("-", "−") for dim in dims]
    return ("a point: " if logvar is None else "") + ", ".join(told)
