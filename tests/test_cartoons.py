"""The faces: what each factor moves and what it leaves alone, and how smoothly."""

import pytest
import torch

import vaekit
from vaekit.cartoons import FACTORS, SKIN, FaceSet, draw_faces, faces

SIZES = (16, 32, 64)


def some(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, len(FACTORS), generator=torch.Generator().manual_seed(seed))


def walk(name: str, values: torch.Tensor, size: int, n: int = 12, **held: float) -> torch.Tensor:
    """`n` random faces, each drawn with every one of these values of one factor: (n, values, 3, H, W), float."""
    factors = some(n, 5)[:, None].repeat(1, len(values), 1)
    for factor, value in (held | {name: values}).items():
        factors[:, :, FACTORS.index(factor)] = value
    return draw_faces(factors.flatten(0, 1), size).view(n, len(values), 3, size, size).float()


def test_the_set_and_its_first_keep_the_factors():
    with torch.device("meta"):  # what is not made beside the factors would be lost
        found = faces(7, 16, device="cpu")
    few, moved = found.first(3), found.to("meta")
    for images, n, name in ((found, 7, "Cartoon faces"), (few, 3, "3 cartoon faces")):
        assert isinstance(images, FaceSet) and isinstance(images, vaekit.ImageSet)
        assert (images.images.shape, images.images.dtype) == ((n, 3, 16, 16), torch.uint8)
        assert (images.factors.shape, images.factors.dtype) == ((n, 8), torch.float32)
        assert (images.labels, images.name, images.factor_names, len(images)) == (None, name, FACTORS, n)
        assert torch.equal(images.images, draw_faces(images.factors, 16))
    assert torch.equal(found.factors, some(7)) and torch.equal(few.factors, some(7)[:3])  # uniform, from its own dice
    assert (moved.images.device.type, moved.factors.device.type, moved.name) == ("meta", "meta", "Cartoon faces")
    assert faces(2, device="cpu").images.shape == draw_faces(some(2)).shape == (2, 3, 32, 32)


def test_one_seed_one_set_and_the_first_of_many_are_the_few():
    many, few = faces(700, device="cpu"), faces(301, device="cpu")  # drawn in chunks of 256
    assert torch.equal(many.images, faces(700, device="cpu").images)
    assert torch.equal(many.factors[:301], few.factors) and torch.equal(many.images[:301], few.images)
    assert not torch.equal(many.factors, faces(700, seed=1, device="cpu").factors)


# Where pictures may change, in shares of the height and the width from the top left: top, bottom, left, right.
REGIONS = {
    "smile": (0.56, 0.82, 0.34, 0.66),
    "skin tone": (0.15, 0.98, 0.1, 0.9),
    "hair length": (0.25, 1.0, 0.1, 0.9),
    "hair colour": (0.1, 1.0, 0.1, 0.9),
    "glasses": (0.34, 0.63, 0.23, 0.77),
    "beard": (0.42, 0.86, 0.15, 0.85),
    "eye opening": (0.36, 0.6, 0.26, 0.74),
    "head width": (0.1, 1.0, 0.1, 0.9),
}


def inside(region: tuple, size: int) -> torch.Tensor:
    """The pixels (size, size) that a region touches."""
    top, bottom, left, right = region
    at = torch.arange(size) / size
    rows, columns = ((at + 1 / size > low) & (at < high) for low, high in ((top, bottom), (left, right)))
    return rows[:, None] & columns


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_moves_the_picture_where_it_should_and_nowhere_else(name, size):
    pictures = walk(name, torch.tensor([0.0, 0.3, 0.7, 1.0]), size)
    moved = (pictures - pictures[:, :1]).abs().amax((1, 2))  # (n, H, W)
    assert moved[:, ~inside(REGIONS[name], size)].max() == 0
    assert (moved.amax((1, 2)) > 20).all()  # on every face, even a beard of the skin's own colour
    steps = (pictures[:, 1:] - pictures[:, :-1]).abs().amax((2, 3, 4))
    assert (steps > 3).all()  # and all along its way


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["hair colour", "glasses", "eye opening", "hair length", "head width"])
def test_hair_colour_and_glasses_leave_the_mouth_alone(name, size):
    shaven = walk(name, torch.tensor([0.0, 0.3, 0.7, 1.0]), size, beard=0)
    assert not shaven[..., inside((0.65, 0.7, 0.44, 0.56), size)].diff(dim=1).any()


def test_the_range_of_skin_tones():
    """A forehead's colour: from light to dark without a jump, red > green > blue all the way, as skin is."""
    factors = torch.tensor([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]).repeat(101, 1)
    factors[:, FACTORS.index("skin tone")] = torch.linspace(0, 1, 101)
    between_the_brows = draw_faces(factors, 64)[:, :, 26, 32].float()
    assert between_the_brows[[0, -1]].tolist() == [list(SKIN[0]), list(SKIN[-1])]
    assert between_the_brows[27].tolist() == [234, 186, 147]  # 35 % of the way from the second to the third
    steps = (between_the_brows @ torch.tensor([0.2126, 0.7152, 0.0722])).diff()
    assert ((steps < 0) & (steps > -3)).all()
    assert (between_the_brows.diff(dim=1) < 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "most"), [(16, 7), (32, 9), (64, 10)])
@pytest.mark.parametrize("name", FACTORS)
def test_a_small_step_changes_the_picture_a_little(name, size, most):
    """A step of 0.01 at most `most` grey levels of 255 (and one of rounding); a tenth of it about a tenth: no jump."""
    assert walk(name, torch.linspace(0, 1, 101), size, 6).diff(dim=1).abs().max() <= most
    here = 0.999 * torch.rand(40, generator=torch.Generator().manual_seed(1))
    pairs = walk(name, torch.stack([here, here + 0.001], 1).flatten(), size, 6)
    assert (pairs[:, 1::2] - pairs[:, ::2]).abs().max() <= most / 10 + 1


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: faces(0), "n must be a whole number from 1 .*, not 0"),
        (lambda: faces(3, 15, device="cpu"), "size must be a whole number from 16 .*, not 15"),
        (lambda: faces(3, seed=-1), "seed must be a whole number from 0 .*, not -1"),
        (lambda: draw_faces([0.5] * 8), "factors must be a tensor .*not \\[0.5, "),
        (lambda: draw_faces(some(3)[0]), r"shape of these is \(8,"),
        (lambda: draw_faces(some(3)[:, :7]), r"shape of these is \(3, 7"),
        (lambda: draw_faces(some(3)[:0]), r"shape of these is \(0,"),
        (lambda: draw_faces(some(3) + 1), r"reach from .*try factors.clamp\(0, 1\)"),
        (lambda: draw_faces(some(3) * torch.nan), r"these hold NaN: try factors\[~factors.isnan\(\).any\(1\)\]$"),
    ],
)
def test_what_is_refused(refuses, draw, words):
    with refuses((TypeError, ValueError), words):
        draw()
