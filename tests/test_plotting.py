"""The pictures: what is drawn, read back from matplotlib's own objects; and that pyplot is left alone."""

import io
from functools import partial
from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image, ImageColor

from vaekit._pictures import lighter
from vaekit.plotting import (
    BLUE,
    MODEL_PARTS,
    ORANGE,
    PALETTE,
    RAMP,
    plot_curves,
    plot_graph,
    plot_images,
    plot_latent,
    plot_model,
    plot_rate_distortion,
)

ROWS = np.array([[1, 200.0, 5.0], [2, 180.0, 6.0], [3, 170.0, 7.0]])


@pytest.fixture
def ax():
    """Axes of a figure that pyplot knows nothing of."""
    return FigureCanvasAgg(Figure()).figure.subplots()


def cloud(n=30, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, 2)), draw.uniform(0.1, 0.4, size=(n, 2)), draw.integers(0, 10, n)


def texts(ax):
    return [text.get_text() for text in ax.texts]


CALLS = {
    "plot_latent": lambda ax: plot_latent(*cloud(), ax=ax),
    "plot_images": lambda ax: plot_images(np.zeros((3, 1, 4, 4), np.uint8), ax=ax),
    "plot_curves": lambda ax: plot_curves(ROWS, [(2, "β = 2")], ax=ax),
    "plot_rate_distortion": lambda ax: plot_rate_distortion(ROWS, ax=ax),
    "plot_graph": lambda ax: plot_graph({"a": (0, 0), "z": (1, 0)}, [("a", "z")], {"a": None}, random=["z"], ax=ax),
}


@pytest.mark.parametrize("name", CALLS)
def test_pyplot_knows_of_what_is_drawn_only_without_an_ax(ax, name):
    import matplotlib.pyplot as plt

    plt.close("all")
    assert CALLS[name](ax) is ax and plt.get_fignums() == []
    ax.figure.canvas.draw()  # and it can be drawn
    with matplotlib.rc_context({"backend": "agg"}):
        figure, current = plt.subplots()
        assert CALLS[name](None) is current
        plt.close(figure)


def test_latent_dots_ellipses_of_two_sigma_rings_and_numerals(ax):
    mu, std, labels = cloud()
    plot_latent(torch.nn.Parameter(torch.tensor(mu)), torch.tensor(std), labels, tilt=30, ax=ax)
    (ellipses,) = (c for c in ax.collections if isinstance(c, EllipseCollection))
    (dots,) = (c for c in ax.collections if not isinstance(c, EllipseCollection))
    sizes = np.stack([ellipses.get_widths(), ellipses.get_heights()], 1)
    np.testing.assert_allclose(sizes, 4 * std)  # 2 σ to either side
    np.testing.assert_allclose(ellipses.get_angles(), 30)
    colours = np.array([to_rgba(PALETTE[0][label]) for label in labels])
    for drawn in (dots, ellipses):
        np.testing.assert_allclose(drawn.get_offsets(), mu)
        np.testing.assert_allclose(drawn.get_facecolors()[:, :3], colours[:, :3])
    assert 0 < ellipses.get_alpha() <= 0.2
    assert [p.get_radius() for p in ax.patches if isinstance(p, Circle)] == [1, 2, 3]
    assert ax.get_xlim() == ax.get_ylim() and ax.get_xlim()[1] >= max(3.2, np.abs(mu).max())
    assert ax.get_aspect() == 1
    for text in ax.texts:
        np.testing.assert_allclose(text.get_position(), mu[labels == int(text.get_text())].mean(0), atol=0.6)


def test_little_or_nothing_to_draw(ax):
    plot_latent(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, int), ax=ax)
    assert ax.get_xlim() == pytest.approx((-3.36, 3.36))
    ax.clear()
    plot_latent(torch.zeros(5, 2), extent=7.0, rings=False, ax=ax)
    assert (len(ax.collections), len(ax.patches), texts(ax), ax.get_xlim()) == (1, 0, [], (-7, 7))
    assert plot_curves(np.zeros((0, 3)), ax=ax) is ax
    for bad in (np.nan, np.inf):  # as a training that diverges has them
        low, high = plot_curves([*ROWS, [4, bad, bad]], ax=ax).get_ylim()
        assert (low, high) == pytest.approx((167, 198.8))
    assert plot_curves([[1, np.nan, np.nan]], ax=ax) is ax
    plot_images(np.zeros((3, 1, 4, 5)), columns=10, ax=ax)
    assert ax.get_images()[0].get_array().shape == (4, 15)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_type_lie_row_by_row_and_are_shown_as_bright_as_they_are(ax, channels):
    from torchvision.utils import make_grid  # slow to import

    true = torch.rand(5, channels, 4, 5)
    sheet, whole = make_grid(true, nrow=2, padding=0)[:channels], (255 * true).round()
    for images in (torch.nn.Parameter(true), true.bfloat16(), true.double(), 255 * true, whole.long(), whole.byte()):
        ax.clear()
        plot_images(images, columns=2, ax=ax)
        (picture,) = ax.get_images()
        shown = picture.to_rgba(picture.get_array(), norm=True)[..., :channels]
        white = 255 if shown.dtype == np.uint8 else 1
        np.testing.assert_allclose(shown / white, sheet.permute(1, 2, 0), atol=0.01)
    plot_images(true > 2, ax=ax)
    assert not ax.axison


def test_curves_and_marks(ax):
    plot_curves(ROWS, [(2, "β = 50"), (3, "prior off")], ax=ax)
    (right,) = (other for other in ax.figure.axes if other is not ax)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), ROWS[:, [0, 1]])
    np.testing.assert_array_equal(right.lines[0].get_xydata(), ROWS[:, [0, 2]])
    assert [line.get_xdata()[0] for line in ax.lines[1:]] == [2, 3]
    assert texts(ax) == ["β = 50", "prior off"]
    assert "nats" in ax.get_ylabel() and "nats" in right.get_ylabel()


def test_rate_distortion_dots_labels_and_style(ax):
    where = [(30.0, 110.0), (13.5, 120.0), (1.5, 174.0)]
    plot_rate_distortion(np.column_stack([(0.1, 1, 10), where]), ax=ax, linestyle="--", marker="s")
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), where)
    assert (line.get_linestyle(), line.get_marker()) == ("--", "s")
    assert texts(ax) == ["β = 0.1", "β = 1", "β = 10"] and [text.xy for text in ax.texts] == where
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rate R, nats per image", "distortion D, nats per image")


# What is left of linear red, green and blue to the colour-blind: Machado, Oliveira & Fernandes 2009, severity 1.
SEEN_AS = {
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colours, matrix):
    """CIELAB under D65 of sRGB colours as they are seen, (N, 3)."""
    rgb = np.array([to_rgba(colour)[:3] for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.transpose(matrix)).clip(0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    t = seen @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("eye", SEEN_AS)
@pytest.mark.parametrize(("palette", "ground"), [(0, "white"), (1, "#111111")])
def test_ten_colours_that_every_eye_tells_apart(eye, palette, ground):
    """No two of the ten, nor one and the ground, are closer than 20 in CIELAB; 2.3 is just noticeable."""
    assert len(PALETTE[palette]) == 10
    colours = lab([*PALETTE[palette], ground], SEEN_AS[eye])
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=2)[np.triu_indices(11, 1)]
    assert distances.min() > 20


def test_a_still_in_few_colours_keeps_those_of_rare_classes():
    """Small squares of the kit's colours, on a ground of many others that are near them."""
    colours = [ImageColor.getrgb(name) for name in (*PALETTE[0], *RAMP[0], ORANGE, BLUE)]
    near = np.array(colours)[np.random.default_rng(0).integers(0, 28, (300, 600))]
    picture = near // 2 + np.random.default_rng(1).integers(0, 128, (300, 600, 3))
    for i, colour in enumerate(colours):
        picture[10:20, 20 * i : 20 * i + 10] = colour
    still = Image.open(io.BytesIO(lighter(Image.fromarray(picture.astype(np.uint8)))))
    assert (still.size, len(still.getcolors())) == ((600, 300), 256)
    found = np.asarray(still.convert("RGB")).astype(int)
    off = [np.abs(found[15, 20 * i + 5] - colour).max() for i, colour in enumerate(colours)]
    assert max(off) <= 3, off


@pytest.mark.parametrize(
    ("words", "plot", "given"),
    [
        (r"points must be .*\(N, 3\); these have the shape \(3,\)", plot_rate_distortion, [[1, 2, 3]]),
        (r"\(N, 2\): choose two dimensions of your \(5, 3\)", plot_latent, [np.zeros((5, 3))]),
        (r"std .* \(5, 2\), as mu has \(5, 2\); it has \(4, 2\)", plot_latent, [np.zeros((5, 2)), np.ones((4, 2))]),
        (r"labels must .* \(5,\).*it has \(5, 2\)", plot_latent, [np.zeros((5, 2)), None, np.zeros((5, 2), int)]),
        ("^labels must be whole numbers; these are ", plot_latent, [np.zeros((5, 2)), None, ["a"] * 5]),
        ("^labels must be whole numbers; these are ", plot_latent, [np.zeros((5, 2)), None, torch.zeros(5)]),
        ("^columns must be .* from 1 up, not 0$", partial(plot_images, columns=0), [np.zeros((5, 1, 4, 4))]),
        (r"images must have the shape \(N, C, H, W\).*\(28, 28\)", plot_images, [np.zeros((28, 28))]),
        (r"images must have the shape .*\(0, 1, 8, 8\)", plot_images, [np.zeros((0, 1, 8, 8))]),
        (r"rows must be \(step, reconstruction, KL\) each.*\(0,\)", plot_curves, [[]]),
        (r"rows must be .*\(4, 2\)", plot_curves, [np.zeros((4, 2))]),
    ],
)
def test_errors_are_one_line(ax, refuses, words, plot, given):
    with refuses((TypeError, ValueError), words):
        plot(*given, ax=ax)


def test_the_drawing_of_the_model_colours_the_parts_that_are_asked_for(ax, refuses):
    plot_model(["mu", "kl"], ax=ax)
    boxes = {text.get_text(): text.get_bbox_patch() for text in ax.texts if text.get_bbox_patch()}
    lit = {words for words, box in boxes.items() if to_hex(box.get_facecolor()) == BLUE}
    assert lit == {MODEL_PARTS[name][3] for name in ("mu", "kl")}
    ax.clear()
    words = {text.get_text() for text in plot_model(["z"], variational=False, ax=ax).texts}
    assert "$z$" in words and not words & {r"$\mu$", r"$\sigma$", r"$\varepsilon$"}  # an autoencoder has none
    with refuses(ValueError, "parts of x, .*, reconstruction; not kl"):
        plot_model(["kl"], variational=False, ax=ax)


def test_numerals_do_not_cover_each_other_and_one_stands_for_all_that_are_one(ax):
    mu, _, labels = cloud(400)
    mu[:, 0] += labels / 5
    plot_latent(mu, labels=labels, ax=ax)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert texts(ax) == list("0123456789") and not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    ax.clear()
    plot_latent(mu / 400, labels=labels, ax=ax)
    assert texts(ax) == ["0 to 9"]


def test_a_graph_has_a_way_back_only_where_a_gradient_came(ax):
    nodes = {"a": (0, 0), "z": (1, 0), "w": (1, 1), "loss": (2, 0)}
    plot_graph(nodes, [("a", "z"), ("z", "loss"), ("w", "loss")], {"a": None, "w": -0.4}, random=["z"], ax=ax)
    arrows = [it for it in ax.texts if it.arrow_patch]
    back = [it for it in arrows if to_hex(it.arrow_patch.get_edgecolor()) == ORANGE]
    assert len(arrows) == 4 and [it.xy for it in back] == [nodes["w"]]
    assert {"none", "−0.4"} < set(texts(ax)) and len(texts(ax)) == 4 + 4 + 2
