"""The faces: what each factor moves and what it leaves alone, how smoothly, and that they can be read and learnt."""

import pytest
import torch

import vaekit
from vaekit.cartoons import FACTORS, SKIN, FaceSet, draw_faces, faces
from vaekit.data import as_floats

SIZES = (16, 32, 64)


def some(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, len(FACTORS), generator=torch.Generator().manual_seed(seed))


def walk(name: str, values: torch.Tensor, size: int, n: int = 12) -> torch.Tensor:
    """`n` random faces, each drawn with every one of these values of one factor: (n, values, 3, H, W), float."""
    factors = some(n, 5)[:, None].repeat(1, len(values), 1)
    factors[:, :, FACTORS.index(name)] = values
    return draw_faces(factors.flatten(0, 1), size).view(n, len(values), 3, size, size).float()


def test_the_set():
    found = faces(7, device="cpu")
    assert isinstance(found, FaceSet)
    assert isinstance(found, vaekit.ImageSet)
    assert (found.images.shape, found.images.dtype) == ((7, 3, 32, 32), torch.uint8)
    assert (found.factors.shape, found.factors.dtype) == ((7, 8), torch.float32)
    assert (found.labels, found.name, found.factor_names, len(found)) == (None, "Cartoon faces", FACTORS, 7)
    assert torch.equal(found.images, draw_faces(found.factors))
    assert faces(2, 48, device="cpu").images.shape == (2, 3, 48, 48)
    assert torch.equal(found.factors, some(7))  # uniform, from a generator of its own


def test_first_and_to_keep_the_factors():
    found = faces(7, 16, device="cpu")
    few = found.first(3)
    assert (type(few), len(few), few.name, few.factor_names) == (FaceSet, 3, "3 cartoon faces", FACTORS)
    assert torch.equal(few.factors, found.factors[:3])
    assert torch.equal(few.images, found.images[:3])
    moved = found.to("meta")
    assert (moved.images.device.type, moved.factors.device.type, moved.name) == ("meta", "meta", "Cartoon faces")


def test_one_seed_one_set_and_the_first_of_many_are_the_few():
    many = faces(700, device="cpu")  # drawn in chunks of 256
    assert torch.equal(many.images, faces(700, device="cpu").images)
    few = faces(301, device="cpu")
    assert torch.equal(many.factors[:301], few.factors)
    assert torch.equal(many.images[:301], few.images)
    assert not torch.equal(many.factors, faces(700, seed=1, device="cpu").factors)


def test_everything_is_made_on_the_factors_device():
    """Where the default device is another, whatever is not put beside the factors would be lost."""
    with torch.device("meta"):
        found = faces(20, 16, device="cpu")
    assert torch.equal(found.images, faces(20, 16, device="cpu").images)


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
def test_hair_colour_and_glasses_leave_the_mouth_alone(size):
    mouth = inside((0.65, 0.7, 0.44, 0.56), size)
    clean = some(12, 5)
    clean[:, FACTORS.index("beard")] = 0
    for name in ("hair colour", "glasses", "eye opening", "hair length", "head width"):
        other = clean.clone()
        other[:, FACTORS.index(name)] = 1 - clean[:, FACTORS.index(name)]
        difference = draw_faces(clean, size).float() - draw_faces(other, size).float()
        assert difference[:, :, mouth].abs().max() == 0, name
        assert difference.abs().max() > 0, name


def test_the_range_of_skin_tones():
    """A forehead's colour: from light to dark without a jump, red > green > blue all the way, as skin is."""
    factors = torch.tensor([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]).repeat(101, 1)
    factors[:, FACTORS.index("skin tone")] = torch.linspace(0, 1, 101)
    between_the_brows = draw_faces(factors, 64)[:, :, 26, 32].float()
    assert between_the_brows[0].tolist() == list(SKIN[0])
    assert between_the_brows[-1].tolist() == list(SKIN[-1])
    assert between_the_brows[27].tolist() == [234, 186, 147]  # 35 % of the way from the second to the third
    light = between_the_brows @ torch.tensor([0.2126, 0.7152, 0.0722])
    assert (light.diff() < 0).all()
    assert (light.diff().abs() < 3).all()
    assert (between_the_brows[:, 0] > between_the_brows[:, 1]).all()
    assert (between_the_brows[:, 1] > between_the_brows[:, 2]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "most"), [(16, 7), (32, 9), (64, 10)])
@pytest.mark.parametrize("name", FACTORS)
def test_a_small_step_changes_the_picture_a_little(name, size, most):
    """A step of 0.01 at most `most` grey levels of 255 (and one of rounding); a tenth of it about a tenth: no jump."""
    assert walk(name, torch.linspace(0, 1, 101), size, 6).diff(dim=1).abs().max() <= most
    here = 0.999 * torch.rand(40, generator=torch.Generator().manual_seed(1))
    pairs = walk(name, torch.stack([here, here + 0.001], 1).flatten(), size, 6)
    assert (pairs[:, 1::2] - pairs[:, ::2]).abs().max() <= most / 10 + 1


def test_a_large_picture_shrunk_is_the_small_one():
    """Antialiasing by an independent way: the mean of 8 × 8 pixels. They differ where shapes are thinner than one."""
    factors = some(20, 7)
    small = draw_faces(factors, 32).float()
    shrunk = torch.nn.functional.avg_pool2d(draw_faces(factors, 256).float(), 8)
    assert (small - shrunk).abs().mean() < 1.5
    assert (small - shrunk).abs().quantile(0.99) < 25


def read_off(train: torch.Tensor, factors: torch.Tensor, test: torch.Tensor, weight: float) -> torch.Tensor:
    """Ridge regression by least squares with `weight` added as rows. Returns the factors it reads from `test`."""
    middle, rows = train.mean(0), (weight**0.5) * torch.eye(train.shape[1])
    targets = torch.cat([factors - 0.5, torch.zeros(len(rows), factors.shape[1])])
    return (test - middle) @ torch.linalg.lstsq(torch.cat([train - middle, rows]), targets).solution + 0.5


def r_squared(read: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return 1 - (read - truth).square().sum(0) / (truth - truth.mean(0)).square().sum(0)


@pytest.mark.slow
def test_a_line_through_the_pixels_reads_off_every_factor():
    train, test = faces(3000, 16, device="cpu"), faces(500, 16, seed=1, device="cpu")
    x, unseen = (as_floats(part.images).flatten(1) for part in (train, test))
    score = r_squared(read_off(x, train.factors, unseen, 1.0), test.factors)
    assert (score > 0.8).all(), dict(zip(FACTORS, score.tolist(), strict=True))
    shuffled = read_off(x, train.factors.flip(0), unseen, 1.0)
    assert (r_squared(shuffled, test.factors) < 0.1).all()  # the probe itself knows nothing


@pytest.mark.parametrize(
    "given, message",
    [
        ({"n": 0}, "n must be a whole number from 1 up, not 0"),
        ({"size": 15}, "size must be a whole number from 16 up, not 15"),
        ({"seed": 2**63}, "seed must be .*not 9223372036854775808"),
    ],
)
def test_what_faces_refuses(refuses, given, message):
    with refuses(ValueError, message):
        faces(**({"n": 3, "device": "cpu"} | given))


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ([0.5] * 8, "factors must be a tensor .*not \\[0.5, .*: try"),
        (some(3).to(torch.complex64), "not tensor.*: try torch.tensor of real"),
        (some(3)[0], r"shape of these is \(8,"),
        (some(3)[:, :7], r"shape of these is \(3, 7"),
        (some(3)[:0], r"shape of these is \(0,"),
        (some(3) + 1, r"reach from .*try factors.clamp\(0, 1\)"),
        (some(3) * torch.nan, "reach from nan to nan$"),
    ],
)
def test_what_draw_faces_refuses(refuses, factors, words):
    with refuses((TypeError, ValueError), words):
        draw_faces(factors)
