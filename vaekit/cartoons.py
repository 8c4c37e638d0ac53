"""Cartoon faces drawn from known factors: what a VAE finds in them can be held against the truth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit._checks import check_seed, check_type, check_whole
from vaekit.data import ImageSet, choose_device

FACTORS = ("smile", "skin tone", "hair length", "hair colour", "glasses", "beard", "eye opening", "head width")

# RGB in 0..255. The two ramps run from factor 0 to factor 1, straight lines between even steps.
SKIN = ((250, 222, 200), (240, 196, 160), (222, 168, 124), (186, 130, 90), (142, 94, 64), (96, 64, 46))
HAIR = ((36, 30, 34), (88, 56, 42), (160, 88, 50), (226, 184, 112), (222, 220, 216))
PAPER, SHIRT, FRAME, LASH, IRIS = (198, 221, 228), (224, 116, 98), (32, 76, 168), (58, 42, 40), (74, 50, 42)
WHITE = (248, 240, 232)
# Cheeks and lips in tones of each face's own skin: its colour times these, the lips' with some red added.
BLUSH, LIPS, LIPS_RED = (1.0, 0.78, 0.74), (0.52, 0.28, 0.28), (80, 34, 38)


@dataclass(frozen=True)
class FaceSet(ImageSet):
    """Faces (N, 3, H, W), uint8, with what they were drawn from: factors (N, F) in [0, 1], float32, and their names."""

    factors: Tensor | None = None
    factor_names: tuple[str, ...] = FACTORS


def faces(n: int, size: int = 32, seed: int = 0, device: str | torch.device | None = None) -> FaceSet:
    """`n` random cartoon faces of size × size pixels, in colour, with the factors they were drawn from.

    Returns a `FaceSet`: images (n, 3, size, size), uint8; factors (n, 8), uniform in [0, 1] and independent.
    The same seed gives the same factors on every device, and the first k of them are those of `faces(k)`.
    Raises ValueError when n < 1, size < 16, or the seed is negative or no whole number.
    """
    generator = torch.Generator("cpu").manual_seed(check_seed(seed))
    factors = torch.rand(check_whole("n", n), len(FACTORS), generator=generator, device="cpu")
    factors = factors.to(choose_device(device))
    return FaceSet(draw_faces(factors, size), None, "Cartoon faces", factors)


@torch.no_grad()
def draw_faces(factors: Tensor, size: int = 32) -> Tensor:
    """The faces that belong to these factors: vary one column and see what it does.

    factors: (n, 8) in [0, 1], in the order of `FACTORS`. Returns (n, 3, size, size), uint8, on the same device.
    Every pixel is a continuous function of every factor.
    Raises TypeError or ValueError when the factors are not such a tensor, or size < 16.
    """
    check_whole("size", size, 16)
    wanted = f"a tensor (n, {len(FACTORS)}) of values in [0, 1], in the order {', '.join(FACTORS)}"
    check_type("factors", factors, Tensor, wanted)
    if factors.shape[1:] != (len(FACTORS),) or not len(factors):
        raise ValueError(f"factors must be {wanted}; the shape of these is {tuple(factors.shape)}")
    low, high = factors.aminmax()
    if not (low >= 0 and high <= 1):
        reach = f"reach from {low:g} to {high:g}: try factors.clamp(0, 1)"
        fault = "hold NaN: try factors[~factors.isnan().any(1)]" if low.isnan() else reach
        raise ValueError(f"factors must be {wanted}; these {fault}")
    chunk = max(1, 2**18 // size**2)  # one megabyte per plane: fits the cache, whatever n
    pictures = (_Portrait(some, size).painted() for some in factors.to(torch.float32).split(chunk))
    return torch.cat([picture.clamp_(0, 255).round_().to(torch.uint8) for picture in pictures])


def _on_ramp(ramp: tuple, where: Tensor) -> Tensor:
    """The colours (B, 3, 1, 1) at `where` (B, 1, 1, 1) in [0, 1] on a ramp of evenly spaced ones."""
    colours = torch.tensor(ramp, dtype=torch.float32, device=where.device)
    steps = where.flatten() * (len(ramp) - 1)
    below = steps.long().clamp(max=len(ramp) - 2)
    return torch.lerp(colours[below], colours[below + 1], (steps - below)[:, None])[:, :, None, None]


class _Portrait:
    """B faces at once: the picture (B, 3, H, W) under the brush, and all that is painted on it.

    x runs from -1 to 1 from left to right, y from -1 to 1 from top to bottom. A shape is its signed distance d:
    below 0 inside, above 0 outside, in the units of x and y. Everything is (B, 1, H, W) or less.
    """

    def __init__(self, factors: Tensor, size: int):
        middle = (torch.arange(size, device=factors.device, dtype=torch.float32) + 0.5) * (2 / size) - 1
        self.x, self.y = middle.view(1, 1, 1, size), middle.view(1, 1, size, 1)
        self.side = self.x.abs()
        # An edge is one pixel wide, but not below 0.055: so large pictures change as slowly as small ones.
        self.edge = max(2 / size, 0.055)
        self.rgb = self.colour(PAPER).expand(len(factors), 3, size, size).clone()
        self.factors = dict(zip(FACTORS, factors[:, :, None, None, None].unbind(1), strict=True))
        self.skin = _on_ramp(SKIN, self.factors["skin tone"])
        self.hair = _on_ramp(HAIR, self.factors["hair colour"])
        self.half = 0.46 + 0.12 * self.factors["head width"]
        self.head = self.ellipse(0, 0.03, self.half * (1 - 0.1 * self.y), 0.6)
        self.ear = self.ellipse(self.half - 0.02, 0.04, 0.08, 0.13, self.side)
        reach = -0.1 + 0.96 * self.factors["hair length"] - self.y - 0.4 * self.side.square()
        end = reach + 0.07 * (16 * self.x + 1).cos()  # in locks
        self.tips = (0.5 + end / 0.36).clamp(0, 1)  # the share of the hair that is left at each height

    def painted(self) -> Tensor:
        """The pictures, float32 in 0..255, painted from back to front."""
        self.paint(self.cover(self.ellipse(0, 1.16, 0.8, 0.42)), self.colour(SHIRT))
        for part in (self.hair_behind, self.face, self.beard, self.mouth, self.eyes, self.hair_in_front, self.glasses):
            part()
        return self.rgb

    def colour(self, rgb: tuple[float, float, float]) -> Tensor:
        """One colour for all faces: (1, 3, 1, 1)."""
        return torch.tensor(rgb, dtype=torch.float32, device=self.x.device).view(1, 3, 1, 1)

    def cover(self, d: Tensor) -> Tensor:
        """The share of each pixel that lies inside: 1 to 0 over the width of an edge."""
        return (0.5 - d / self.edge).clamp_(0, 1)

    def line(self, d: Tensor, width) -> Tensor:
        """The share of each pixel under a line along d = 0; right for lines thinner than a pixel too."""
        return self.cover(d - width / 2) - self.cover(d + width / 2)

    def ellipse(self, x, y, rx, ry, side: Tensor | None = None) -> Tensor:
        """Signed distance to an ellipse around (x, y), to first order; with `side`, to one on each side."""
        u, v = ((self.x if side is None else side) - x) / rx, (self.y - y) / ry
        near = (u.square() + v.square() + 1e-6).sqrt()
        return near * (near - 1) / ((u / rx).square() + (v / ry).square() + 1e-6).sqrt()

    def paint(self, share: Tensor, colour: Tensor) -> None:
        """Lay a colour over the picture where `share` (B, 1, H, W) is above 0."""
        self.rgb.lerp_(colour, share)

    def hair_behind(self) -> None:
        crown = self.ellipse(0, -0.12, self.half + 0.1, 0.62)
        falling = self.side - (self.half + 0.11 + 0.06 * self.y)
        mane = torch.minimum(crown, torch.maximum(falling, -0.12 - self.y))
        chest = self.ellipse(0, 1.05, 0.34, 0.4)
        shade = (1.4 - (self.x / 0.5).square() - ((self.y - 0.55) / 0.3).square()).clamp(0, 1)  # under the chin
        self.paint(self.cover(torch.maximum(mane, -chest)) * self.tips, self.hair * (1 - 0.22 * shade))

    def hair_in_front(self) -> None:
        """What falls over the head: all but an opening for the face, which leans to one side; and a soft shine."""
        face = self.ellipse(0.05 - 0.1 * self.y, 0.2, self.half * 0.94, 0.59)
        over = torch.minimum(self.head - 0.04, self.ear - 0.04)
        self.paint(self.cover(torch.maximum(over, -face)) * self.tips, self.hair)
        shine = (1 - ((self.x + 0.22).square() + 2 * (self.y + 0.52).square()) / 0.08).clamp(min=0)
        self.paint(0.3 * shine * self.cover(-face), self.hair * 0.6 + 102)

    def face(self) -> None:
        """Neck, ears, and the face with two soft cheeks and a button of a nose, in tones of this very skin."""
        neck = torch.maximum(self.side - 0.16, (self.y - 0.55).abs() - 0.25)
        neck = torch.minimum(neck, self.ellipse(0, 0.77, 0.23, 0.13))
        self.paint(self.cover(neck), self.skin * 0.84)
        self.paint(self.cover(self.ear), self.skin * 0.92)
        inside = self.cover(self.head)
        self.paint(inside, self.skin)
        cheek = 1 - ((self.side - 0.31).square() + (self.y - 0.2).square()) / 0.17**2
        self.paint(0.5 * cheek.clamp(min=0) * inside, self.skin * self.colour(BLUSH))
        self.paint(self.cover(self.ellipse(0, 0.14, 0.06, 0.045)), self.skin * 0.82)

    def beard(self) -> None:
        """Along the jaw, under the nose and a little below the chin; it leaves two round cheeks bare."""
        cheeks = self.ellipse(0.21, 0.0, self.half * 0.58, 0.3, self.side)
        shape = torch.maximum(torch.maximum(self.head - 0.035, -cheeks), 0.2 - self.y - 0.9 * (self.side - 0.2))
        self.paint(self.cover(shape) * self.factors["beard"] * 0.95, self.hair * 0.82)

    def mouth(self) -> None:
        """A curve between two corners; from a faint smile on it opens and shows its teeth."""
        smile = self.factors["smile"]
        bend, reach = -0.05 + 0.17 * smile, 0.16 + 0.06 * smile
        along = (self.x / reach).clamp(-1, 1)
        slope = (1 + (2 * bend * along / reach).square()).sqrt()
        upper = (self.y - 0.36 - bend * (0.4 - along.square())) / slope
        lower = upper - 0.12 * (smile - 0.3).clamp(min=0) * (1 - along.square())
        beyond = (self.side - reach).clamp(min=0)
        outside = torch.maximum(-upper, lower).clamp(min=0)
        lips = self.cover((outside.square() + beyond.square()).sqrt() - 0.03)
        self.paint(lips, self.skin * self.colour(LIPS) + self.colour(LIPS_RED))
        self.paint((self.cover(-upper) + self.cover(lower) - 1).clamp(min=0), self.colour(WHITE))

    def eyes(self) -> None:
        high = 0.004 + 0.116 * self.factors["eye opening"]
        white = self.almond(-0.04, 0.145, high)
        iris = self.cover(self.ellipse(0.215, -0.04, 0.066, 0.08, self.side))
        glint = self.cover(self.ellipse(0.235, -0.075, 0.022, 0.022, self.side)) * (0.055 / self.edge) ** 2
        self.paint(self.almond(-0.058, 0.155, high + 0.026), self.colour(LASH))
        for share, colour in ((white, WHITE), (white * iris, IRIS), (white * glint, WHITE)):
            self.paint(share, self.colour(colour))
        brow = self.side - 0.23
        arch = self.y + 0.275 - 1.8 * brow.square()
        self.paint(self.line(arch, 0.05) * self.cover(brow.abs() - 0.12), self.hair * 0.7)

    def almond(self, y: float, rx: float, ry: Tensor) -> Tensor:
        """The share of each pixel inside the two eyes; taken column by column where an eye is all but closed."""
        reach = (1 - ((self.side - 0.22) / rx).square()).clamp(min=0).sqrt()
        columns = self.line(self.y - y, 2 * ry * reach)
        return torch.minimum(columns, self.cover(self.ellipse(0.22, y, rx, ry, self.side)))

    def glasses(self) -> None:
        """Two rings and a bridge; strength and weight grow together."""
        strength = self.factors["glasses"]
        width = 0.02 + 0.028 * strength
        lens = self.ellipse(0.22, -0.035, 0.19, 0.185, self.side)
        bridge = self.line(self.y + 0.05, width) * self.cover(self.side - 0.05)
        self.paint(self.cover(lens) * strength * 0.08, self.colour(WHITE))
        self.paint(torch.maximum(self.line(lens, width), bridge) * strength, self.colour(FRAME))
