"""Cartoon faces drawn from known factors: what a VAE finds in them can be held against the truth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.data import ImageSet, choose_device
from vaekit.messages import check_whole

FACTORS = ("smile", "skin tone", "hair length", "hair colour", "glasses", "beard", "eye opening", "head width")

# RGB in 0..255. The two ramps run from factor 0 to factor 1, straight lines between even steps.
SKIN = ((250, 222, 200), (240, 196, 160), (222, 168, 124), (186, 130, 90), (142, 94, 64), (96, 64, 46))
HAIR = ((36, 30, 34), (88, 56, 42), (160, 88, 50), (226, 184, 112), (222, 220, 216))
PAPER, SHIRT, FRAME, LASH, IRIS = (198, 221, 228), (224, 116, 98), (32, 76, 168), (58, 42, 40), (74, 50, 42)
WHITE = (248, 240, 232)
# Cheeks and lips in tones of each face's own skin: its colour times the first, plus the second.
BLUSH = (1.0, 0.78, 0.74), (0, 0, 0)
LIPS = (0.52, 0.28, 0.28), (80, 34, 38)


@dataclass(frozen=True)
class FaceSet(ImageSet):
    """Faces (N, 3, H, W), uint8, with what they were drawn from: factors (N, F) in [0, 1], float32, and their names."""

    factors: Tensor | None = None
    factor_names: tuple[str, ...] = FACTORS

    def first(self, n: int) -> "FaceSet":
        """The first `n` faces with their factors, as a set of its own."""
        return self._with(super().first(n), self.factors[:n])

    def to(self, where: str | torch.device) -> "FaceSet":
        """The same set on another device."""
        return self._with(super().to(where), self.factors.to(where))

    def _with(self, part: ImageSet, factors: Tensor) -> "FaceSet":
        return FaceSet(part.images, part.labels, part.name, factors, self.factor_names)


def faces(n: int, size: int = 32, seed: int = 0, device: str | torch.device | None = None) -> FaceSet:
    """`n` random cartoon faces of size × size pixels, in colour, with the factors they were drawn from.

    Returns a `FaceSet`: images (n, 3, size, size), uint8; factors (n, 8), uniform in [0, 1] and independent.
    The same seed gives the same factors on every device, and the first k of them are those of `faces(k)`.
    Raises ValueError when n < 1, size < 16, or the seed is negative or no whole number.
    """
    check_whole("n", n, 1)
    check_whole("size", size, 16)
    check_whole("seed", seed, 0, 2**63 - 1)
    factors = torch.rand(n, len(FACTORS), generator=torch.Generator("cpu").manual_seed(seed), device="cpu")
    factors = factors.to(choose_device(device))
    return FaceSet(draw_faces(factors, size), None, "Cartoon faces", factors)


def draw_faces(factors: Tensor, size: int = 32) -> Tensor:
    """The faces that belong to these factors: vary one column and see what it does.

    factors: (n, 8) in [0, 1], in the order of `FACTORS`. Returns (n, 3, size, size), uint8, on the same device.
    Every pixel is a continuous function of every factor.
    Raises TypeError or ValueError when the factors are not such a tensor, or size < 16.
    """
    _check_factors(factors)
    check_whole("size", size, 16)
    images = torch.empty(len(factors), 3, size, size, dtype=torch.uint8, device=factors.device)
    chunk = max(1, 2**18 // size**2)  # one megabyte per plane: fits the cache, whatever n
    with torch.no_grad():
        for some, out in zip(factors.to(torch.float32).split(chunk), images.split(chunk), strict=True):
            out.copy_(_draw(some, size).clamp_(0, 255).round_())
    return images


def _check_factors(factors) -> None:
    wanted = f"factors must be a tensor (n, {len(FACTORS)}) of values in [0, 1], in the order {', '.join(FACTORS)}"
    if not isinstance(factors, Tensor):
        raise TypeError(f"{wanted}; this is a {type(factors).__name__}: try torch.tensor(factors)")
    if factors.is_complex():
        raise TypeError(f"{wanted}; these are {factors.dtype}: try factors.real")
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS) or len(factors) == 0:
        raise ValueError(f"{wanted}; the shape of these is {tuple(factors.shape)}")
    low, high = (float(v) for v in factors.aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{wanted}; these reach from {low:g} to {high:g}: try factors.clamp(0, 1)")


# -- drawing ----------------------------------------------------------------------------------------------
# x runs from -1 to 1 from left to right, y from -1 to 1 from top to bottom. A shape is its signed distance d:
# below 0 inside, above 0 outside, in the units of x and y. B faces at once: everything is (B, 1, H, W) or less.


class _Canvas:
    """The picture (B, 3, H, W) under the brush, and where its pixels lie."""

    def __init__(self, n: int, size: int, device: torch.device):
        middle = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) * (2 / size) - 1
        self.x, self.y = middle.view(1, 1, 1, size), middle.view(1, 1, size, 1)
        # An edge is one pixel wide, but not below 0.055: so large pictures change as slowly as small ones.
        self.edge = max(2 / size, 0.055)
        self.rgb = self.colour(PAPER).expand(n, 3, size, size).clone()

    def colour(self, rgb: tuple[float, float, float]) -> Tensor:
        """One colour for all faces: (1, 3, 1, 1)."""
        return torch.tensor(rgb, dtype=torch.float32, device=self.x.device).view(1, 3, 1, 1)

    def toned(self, skin: Tensor, tone: tuple) -> Tensor:
        """A colour that goes with each skin: (B, 3, 1, 1)."""
        return skin * self.colour(tone[0]) + self.colour(tone[1])

    def cover(self, d: Tensor) -> Tensor:
        """The share of each pixel that lies inside: 1 to 0 over the width of an edge."""
        return (0.5 - d / self.edge).clamp_(0, 1)

    def line(self, d: Tensor, width) -> Tensor:
        """The share of each pixel under a line along d = 0; right for lines thinner than a pixel too."""
        return self.cover(d - width / 2) - self.cover(d + width / 2)

    def ellipse(self, x, y, rx, ry, side: Tensor | None = None) -> Tensor:
        """Signed distance to an ellipse around (x, y), to first order."""
        u, v = ((self.x if side is None else side) - x) / rx, (self.y - y) / ry
        near = (u.square() + v.square() + 1e-6).sqrt()
        return near * (near - 1) / ((u / rx).square() + (v / ry).square() + 1e-6).sqrt()

    def paint(self, share: Tensor, colour: Tensor) -> None:
        """Lay a colour over the picture where `share` (B, 1, H, W) is above 0."""
        self.rgb.lerp_(colour, share)


def _on_ramp(ramp: tuple, where: Tensor) -> Tensor:
    """The colours (B, 3, 1, 1) at `where` (B, 1, 1, 1) in [0, 1] on a ramp of evenly spaced ones."""
    colours = torch.tensor(ramp, dtype=torch.float32, device=where.device)
    steps = where.flatten() * (len(ramp) - 1)
    below = steps.long().clamp(max=len(ramp) - 2)
    return torch.lerp(colours[below], colours[below + 1], (steps - below)[:, None])[:, :, None, None]


def _draw(factors: Tensor, size: int) -> Tensor:
    """factors (B, 8) → pictures (B, 3, size, size), float32 in 0..255, painted from back to front."""
    smile, tone, length, hue, glasses, beard, opening, width = factors[:, :, None, None, None].unbind(1)
    canvas = _Canvas(len(factors), size, factors.device)
    skin, hair = _on_ramp(SKIN, tone), _on_ramp(HAIR, hue)
    half = 0.46 + 0.12 * width  # of the head's width
    head = canvas.ellipse(0, 0.03, half * (1 - 0.1 * canvas.y), 0.6)
    mane, ends = _mane(canvas, half, length)
    _shoulders(canvas)
    _hair_behind(canvas, mane, ends, hair)
    _neck_and_ears(canvas, half, skin)
    _head(canvas, head, skin)
    _beard(canvas, head, half, beard, hair)
    _mouth(canvas, smile, skin)
    _eyes(canvas, opening)
    _brows(canvas, hair)
    _hair_in_front(canvas, head, ends, half, hair)
    _glasses(canvas, glasses)
    return canvas.rgb


def _shoulders(canvas: _Canvas) -> None:
    canvas.paint(canvas.cover(canvas.ellipse(0, 1.16, 0.8, 0.42)), canvas.colour(SHIRT))


def _mane(canvas: _Canvas, half: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The outline of all hair, as a distance, and the share that is left at each height: the tips thin out softly."""
    side = canvas.x.abs()
    locks = 0.07 * (16 * canvas.x + 1).cos()
    ends = (0.5 + (-0.1 + 0.96 * length - canvas.y - 0.4 * side.square() + locks) / 0.36).clamp(0, 1)
    crown = canvas.ellipse(0, -0.12, half + 0.1, 0.62)
    falling = side - (half + 0.11 + 0.06 * canvas.y)
    return torch.minimum(crown, torch.maximum(falling, -0.12 - canvas.y)), ends


def _hair_behind(canvas: _Canvas, mane: Tensor, ends: Tensor, hair: Tensor) -> None:
    chest = canvas.ellipse(0, 1.05, 0.34, 0.4)
    shade = (1.4 - (canvas.x / 0.5).square() - ((canvas.y - 0.55) / 0.3).square()).clamp(0, 1)  # under the chin
    canvas.paint(canvas.cover(torch.maximum(mane, -chest)) * ends, hair * (1 - 0.22 * shade))


def _hair_in_front(canvas: _Canvas, head: Tensor, ends: Tensor, half: Tensor, hair: Tensor) -> None:
    """What falls over the head: all but an opening for the face, which leans to one side; and a soft shine."""
    face = canvas.ellipse(0.05 - 0.1 * canvas.y, 0.2, half * 0.94, 0.59)
    over = torch.minimum(head - 0.04, _ear(canvas, half) - 0.04)
    canvas.paint(canvas.cover(torch.maximum(over, -face)) * ends, hair)
    shine = (1 - ((canvas.x + 0.22).square() + 2 * (canvas.y + 0.52).square()) / 0.08).clamp(min=0)
    canvas.paint(0.3 * shine * canvas.cover(-face), hair * 0.6 + 102)


def _ear(canvas: _Canvas, half: Tensor) -> Tensor:
    return canvas.ellipse(half - 0.02, 0.04, 0.08, 0.13, canvas.x.abs())


def _neck_and_ears(canvas: _Canvas, half: Tensor, skin: Tensor) -> None:
    side = canvas.x.abs()
    neck = torch.maximum(side - 0.16, (canvas.y - 0.55).abs() - 0.25)
    neck = torch.minimum(neck, canvas.ellipse(0, 0.77, 0.23, 0.13))
    canvas.paint(canvas.cover(neck), skin * 0.84)
    canvas.paint(canvas.cover(_ear(canvas, half)), skin * 0.92)


def _head(canvas: _Canvas, head: Tensor, skin: Tensor) -> None:
    """The face with two soft cheeks and a button of a nose, both in tones of this very skin."""
    side, inside = canvas.x.abs(), canvas.cover(head)
    canvas.paint(inside, skin)
    cheek = 1 - ((side - 0.31).square() + (canvas.y - 0.2).square()) / 0.17**2
    canvas.paint(0.5 * cheek.clamp(min=0) * inside, canvas.toned(skin, BLUSH))
    canvas.paint(canvas.cover(canvas.ellipse(0, 0.14, 0.06, 0.045)), skin * 0.82)


def _beard(canvas: _Canvas, head: Tensor, half: Tensor, beard: Tensor, hair: Tensor) -> None:
    """Along the jaw, under the nose and a little below the chin; it leaves two round cheeks bare."""
    cheeks = canvas.ellipse(0.21, 0.0, half * 0.58, 0.3, canvas.x.abs())
    shape = torch.maximum(torch.maximum(head - 0.035, -cheeks), 0.2 - canvas.y - 0.9 * (canvas.x.abs() - 0.2))
    canvas.paint(canvas.cover(shape) * beard * 0.95, hair * 0.82)


def _mouth(canvas: _Canvas, smile: Tensor, skin: Tensor) -> None:
    """A curve between two corners; from a faint smile on it opens and shows its teeth."""
    bend, reach = -0.05 + 0.17 * smile, 0.16 + 0.06 * smile
    along = (canvas.x / reach).clamp(-1, 1)
    slope = (1 + (2 * bend * along / reach).square()).sqrt()
    upper = (canvas.y - 0.36 - bend * (0.4 - along.square())) / slope
    lower = upper - 0.12 * (smile - 0.3).clamp(min=0) * (1 - along.square())
    beyond = (canvas.x.abs() - reach).clamp(min=0)
    outside = torch.maximum(-upper, lower).clamp(min=0)
    lips = canvas.cover((outside.square() + beyond.square()).sqrt() - 0.03)
    canvas.paint(lips, canvas.toned(skin, LIPS))
    canvas.paint((canvas.cover(-upper) + canvas.cover(lower) - 1).clamp(min=0), canvas.colour(WHITE))


def _eyes(canvas: _Canvas, opening: Tensor) -> None:
    side = canvas.x.abs()
    high = 0.004 + 0.116 * opening
    lash = _almond(canvas, -0.058, 0.155, high + 0.026)
    white = _almond(canvas, -0.04, 0.145, high)
    iris = canvas.cover(canvas.ellipse(0.215, -0.04, 0.066, 0.08, side))
    glint = canvas.cover(canvas.ellipse(0.235, -0.075, 0.022, 0.022, side)) * (0.055 / canvas.edge) ** 2
    for share, colour in ((lash, LASH), (white, WHITE), (white * iris, IRIS), (white * glint, WHITE)):
        canvas.paint(share, canvas.colour(colour))


def _almond(canvas: _Canvas, y: float, rx: float, ry: Tensor) -> Tensor:
    """The share of each pixel inside the two eyes; taken column by column where an eye is all but closed."""
    side = canvas.x.abs()
    reach = (1 - ((side - 0.22) / rx).square()).clamp(min=0).sqrt()
    return torch.minimum(canvas.line(canvas.y - y, 2 * ry * reach), canvas.cover(canvas.ellipse(0.22, y, rx, ry, side)))


def _brows(canvas: _Canvas, hair: Tensor) -> None:
    side = canvas.x.abs() - 0.23
    arch = canvas.y + 0.275 - 1.8 * side.square()
    canvas.paint(canvas.line(arch, 0.05) * canvas.cover(side.abs() - 0.12), hair * 0.7)


def _glasses(canvas: _Canvas, glasses: Tensor) -> None:
    """Two rings and a bridge; strength and weight grow together."""
    side, width = canvas.x.abs(), 0.02 + 0.028 * glasses
    lens = canvas.ellipse(0.22, -0.035, 0.19, 0.185, side)
    bridge = canvas.line(canvas.y + 0.05, width) * canvas.cover(side - 0.05)
    canvas.paint(canvas.cover(lens) * glasses * 0.08, canvas.colour(WHITE))
    canvas.paint(torch.maximum(canvas.line(lens, width), bridge) * glasses, canvas.colour(FRAME))
