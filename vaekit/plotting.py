"""matplotlib helpers: arrays in, the `ax` out. Nothing is shown and nothing is saved here."""

from itertools import combinations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Polygon

from vaekit._checks import check_whole

# Blue, orange, green, red, purple, brown, pink, grey, yellow and teal, on a light ground and on a dark one: for every
# kind of colour blindness they keep 20 apart in CIELAB (Machado et al. 2009; a test holds them to it).
PALETTE = (
    ["#0c0096", "#e47800", "#3ca860", "#fc3c48", "#9c06fc", "#4a1404", "#e04cc0", "#8c9a9e", "#6c661e", "#005a66"],
    ["#426cfc", "#fcae42", "#54ea8a", "#f00c06", "#c08afc", "#a2724e", "#f672c6", "#727e78", "#fce406", "#b4f6f0"],
)
# For a value from 0 to 1: viridis, without what is too near to the ground.
RAMP = tuple(
    [to_hex(colormaps["viridis"](low + i * (high - low) / 15)) for i in range(16)] for low, high in ((0, 0.9), (0.3, 1))
)
ORANGE, BLUE = "#b3470b", "#0b57d0"  # the two terms of the loss
PURPLE, GREY, INK = "#8705ff", "#59626e", "#1b1f24"  # for a third and a fourth curve, and for what is drawn over them
# matplotlib's style for a lecture, legible from the back row: plt.style.use(LECTURE).
LECTURE = {
    "font.size": 14,
    "axes.titlesize": 16,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}

# The parts of the model's drawing: where each stands, its outline (of a half the heights of its two ends), what is
# written in it, and the parts that its arrows come from.
MODEL_PARTS = {
    "x": (0.0, 0.0, "square", "$x$", []),
    "encoder": (1.6, 0.0, (0.95, 0.6), "encoder\n$q_\\phi(z|x)$", ["x"]),
    "mu": (3.2, 0.5, "circle", r"$\mu$", ["encoder"]),
    "sigma": (3.2, -0.5, "circle", r"$\sigma$", ["encoder"]),
    "eps": (4.4, -1.25, "circle", r"$\varepsilon$", []),
    "z": (4.4, 0.0, "circle", "$z$", ["mu", "sigma", "eps"]),
    "decoder": (6.0, 0.0, (0.6, 0.95), "decoder\n$p_\\theta(x|z)$", ["z"]),
    "x_hat": (7.6, 0.0, "square", r"$\hat x$", ["decoder"]),
    "reconstruction": (3.8, 1.6, "round", r"reconstruction loss: $\hat x$ beside $x$", ["x", "x_hat"]),
    "kl": (2.2, -1.75, "round", "KL: $q_\\phi(z|x)$ beside the prior $p(z)$", ["mu", "sigma"]),
}
# An autoencoder's instead: halves without distributions, and between them nothing but the code.
_PLAIN = {
    "x": (0.4, 0.0, "square", "$x$", []),
    "encoder": (2.0, 0.0, (0.95, 0.6), "encoder\n$f_\\phi(x)$", ["x"]),
    "z": (3.8, 0.0, "circle", "$z$", ["encoder"]),
    "decoder": (5.6, 0.0, (0.6, 0.95), "decoder\n$g_\\theta(z)$", ["z"]),
    "x_hat": (7.2, 0.0, "square", r"$\hat x$", ["decoder"]),
    "reconstruction": MODEL_PARTS["reconstruction"],
}


def plot_model(highlight=(), *, variational: bool = True, ax: Axes | None = None):
    """The drawing of the model: x → encoder → μ, σ → z = μ + σ ⊙ ε → decoder → x̂, and the two terms of its loss.

    highlight: the parts in colour, of `MODEL_PARTS`. variational: False for an autoencoder, x → z → x̂.
    Returns the ax. Raises ValueError when a part is none of the drawing's.
    """
    parts = MODEL_PARTS if variational else _PLAIN
    if unknown := set(highlight) - parts.keys():
        raise ValueError(f"highlight takes parts of {', '.join(parts)}; not {', '.join(sorted(unknown))}")
    ax = _axes(ax, (9.6, 4.2 if variational else 3.4))
    ax.set(xlim=(-0.6, 8.2), ylim=(-2.15 if variational else -1.2, 2.0), aspect="equal")
    ax.set_axis_off()
    if variational:
        ax.text(4.85, -1.25, r"$z = \mu + \sigma \odot \varepsilon$", fontsize=15, va="center", color=INK)
    for name, (x, y, outline, words, sources) in parts.items():
        for source in sources:
            _draw_arrow(ax, parts[source], parts[name], name)
        fill, edge, ink = (BLUE, BLUE, "white") if name in highlight else ("#eef1f4", GREY, INK)
        style = {"fontsize": 15, "ha": "center", "va": "center", "zorder": 4, "color": ink}
        if isinstance(outline, tuple):
            left, right = outline
            corners = [(x - 0.8, -left), (x - 0.8, left), (x + 0.8, right), (x + 0.8, -right)]
            ax.add_patch(Polygon(corners, fc=fill, ec=edge, lw=1.5, zorder=3))
            ax.text(x, y, words, **style)
        else:
            ax.text(x, y, words, **style, bbox={"boxstyle": f"{outline},pad=0.45", "fc": fill, "ec": edge, "lw": 1.5})
    return ax


def _draw_arrow(ax: Axes, start: tuple, end: tuple, name: str) -> None:
    """An arrow to the rim of a part; a dotted line to a term of the loss, round the halves."""
    (x0, y0, *_), (x1, y1, outline, *_) = start, end
    half = isinstance(outline, tuple)
    looks = {"arrowstyle": "-|>", "mutation_scale": 16, "lw": 1.5, "shrinkB": 1 if half else 19}
    if outline == "round":
        bend = "angle,angleA=90,angleB=0" if name == "reconstruction" else "arc3"
        looks = {"arrowstyle": "-", "ls": ":", "lw": 2, "shrinkB": 0, "connectionstyle": bend}
    ax.annotate("", (x1 - 0.8 * half, y1), (x0, y0), arrowprops=looks | {"color": GREY, "shrinkA": 0}, zorder=1)


def plot_latent(mu, std=None, labels=None, *, values=None, extent=None, rings=True, tilt=0.0, ax: Axes | None = None):
    """The latent plane: each image a dot at its posterior's mean and a soft ellipse of 2 σ, the prior's rings behind.

    mu, std: (N, 2); labels: (N,) whole numbers, which choose the colours. values: (N,) in 0..1 to colour by, from dark
    to light. extent: show ± extent. tilt: of all ellipses, degrees to the left. Returns the ax.
    """
    ax, mu = _axes(ax), _array(mu)
    if mu.ndim != 2 or mu.shape[1] != 2:
        raise ValueError(f"mu must have the shape (N, 2): choose two dimensions of your {mu.shape}")
    one_each = mu.shape[:1]
    for name, given, shape in (("std", std, mu.shape), ("labels", labels, one_each), ("values", values, one_each)):
        if given is not None and np.shape(given) != shape:
            raise ValueError(f"{name} must have the shape {shape}, as mu has {mu.shape}; it has {np.shape(given)}")
    labels = np.zeros(len(mu), int) if labels is None else _array(labels)
    if labels.dtype.kind not in "iub":
        raise TypeError(f"labels must be whole numbers; these are {labels.dtype}")
    if values is None:
        colours = np.asarray(PALETTE[0])[labels % len(PALETTE[0])]
    else:
        colours = np.asarray(RAMP[0])[np.round(15 * _array(values).clip(0, 1)).astype(int)]
    if std is not None and len(mu):
        _draw_ellipses(ax, mu, _array(std), colours, tilt)
    ax.scatter(*mu.T, s=4, c=colours, linewidths=0)
    for radius in (1, 2, 3) if rings else ():
        ax.add_patch(Circle((0, 0), radius, fill=False, ls="--", ec=GREY))
    reach = extent or 1.05 * max(3.2, float(np.abs(mu).max(initial=0)))
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="$z_1$", ylabel="$z_2$")
    if len(np.unique(labels)) > 1:
        _draw_numerals(ax, mu, labels, reach)
    return ax


def _draw_numerals(ax: Axes, mu, labels, reach: float, size: float = 13) -> None:
    """The classes' numerals at their centres, out of each other's way; where all centres are one, one label says so."""
    classes = np.unique(labels)
    centres = np.stack([mu[labels == label].mean(0) for label in classes])
    box = ax.get_window_extent()
    em = size * ax.figure.dpi / 72 * 2 * reach / min(box.width, box.height)  # a numeral's size, on the plane's scale
    style = {"ha": "center", "va": "center", "fontsize": size, "fontweight": "bold"}
    style["bbox"] = {"fc": "white", "ec": "none", "pad": 0.5}
    if np.linalg.norm(centres - centres[0], axis=1).max() < em / 2:
        ax.text(*centres[0], f"{classes[0]} to {classes[-1]}", **style)
        return
    for label, place in zip(classes, make_way(centres, 1.3 * em, 2 * em), strict=True):
        ax.text(*place, str(label), color=PALETTE[0][label % 10], **style)


def make_way(places, room: float, most: float):
    """Labels' places (N, 2), pushed apart until they are `room` apart, or `most` away from where they were."""
    moved = np.array(places, float)
    for _ in range(6):
        for i, j in combinations(range(len(moved)), 2):
            way = moved[j] - moved[i]
            apart = np.linalg.norm(way)
            push = max(0.0, (room - apart) / 2) * (way / apart if apart else np.array([1.0, 0.0]))
            moved[i] -= push
            moved[j] += push
    way = moved - places
    apart = np.linalg.norm(way, axis=1, keepdims=True)
    return places + way * np.minimum(1, most / np.maximum(apart, 1e-12))


def _draw_ellipses(ax: Axes, mu, std, colours, tilt: float) -> None:
    """Ellipses of 2 σ to both sides, so faint that one can see through them."""
    width, height = 4 * std.T
    cloud = 4 * mu.std(0) + (width.mean(), height.mean())
    depth = float((width * height).sum() / max(cloud.prod(), 1e-9))  # how many lie upon each other, on average
    every = max(1, round(depth / 33))  # many very faint ones add up to a wrong colour: a pixel has 256 steps
    place = {"units": "xy", "offsets": mu[::every], "offset_transform": ax.transData, "linewidths": 0}
    ellipses = EllipseCollection(width[::every], height[::every], np.full(len(mu[::every]), tilt), **place)
    ellipses.set(facecolors=colours[::every], alpha=float(np.clip(every / max(depth, 1e-9), 0.03, 0.2)))
    ax.add_collection(ellipses)


def plot_images(images, *, columns: int = 10, ax: Axes | None = None):
    """Images side by side, row by row. images: (N, C, H, W), in 0..255 or [0, 1]. Returns the ax."""
    ax, images = _axes(ax), _array(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4) or not len(images):
        raise ValueError(f"images must have the shape (N, C, H, W), with C 1, 3 or 4; these have {images.shape}")
    if images.dtype.kind == "f" and images.max() > 25:  # no decoder's values in [0, 1], which may go a little beyond
        images = images / 255
    n, c, h, w = images.shape
    columns = min(check_whole("columns", columns), n)
    rows = -(-n // columns)
    sheet = np.concatenate([images, np.zeros((rows * columns - n, c, h, w), images.dtype)])
    picture = sheet.reshape(rows, columns, c, h, w).transpose(0, 3, 1, 4, 2).reshape(rows * h, columns * w, c)
    top = 255 if images.dtype.kind in "iu" else 1
    ax.imshow(picture[..., 0] if c == 1 else picture, cmap="gray" if c == 1 else None, vmin=0, vmax=top)
    ax.set_axis_off()
    return ax


def plot_curves(rows, marks=(), *, ax: Axes | None = None):
    """Reconstruction (left axis) and KL (right axis) over the steps, a dashed line where a knob was turned.

    rows: (N, ≥3): step, reconstruction, KL in nats per image; (N, 7) is a twin's, with total before the right run's
    three, which are drawn dashed. marks: (step, label) pairs. Returns the left ax.
    """
    ax, rows = _axes(ax), _array(rows)
    if rows.ndim != 2 or rows.shape[1] < 3:
        raise ValueError(f"rows must be (step, reconstruction, KL) each: (N, 3); these have the shape {rows.shape}")
    first_columns = (1, 4) if rows.shape[1] == 7 else (1,)  # of each run
    for axis, offset, name, colour in ((ax, 0, "reconstruction", ORANGE), (ax.twinx(), 1, "KL", BLUE)):
        for column, line in zip(first_columns, ("-", "--"), strict=False):
            axis.plot(rows[:, 0], rows[:, column + offset], line, color=colour)
        axis.set_ylabel(f"{name}, nats", color=colour)
    reconstruction = rows[:, first_columns]
    if len(reconstruction := reconstruction[np.isfinite(reconstruction)]):
        low = reconstruction.min()
        ax.set_ylim(low - 3, max(np.quantile(reconstruction, 0.97), low + 10))
    for step, label in marks:
        ax.axvline(step, ls="--", lw=1, color=INK)
        ax.annotate(label, (step, 1.02), xycoords=("data", "axes fraction"), fontsize=9)
    ax.set_xlabel("step" if len(first_columns) == 1 else "step (solid: left, dashed: right)")
    return ax


def plot_rate_distortion(points, *, ax: Axes | None = None, **style):
    """The plane of the trade-off: each run a dot at its rate and distortion, with its β beside it.

    points: (N, 3): β, rate, distortion, in nats per image, joined in this order. style: as of `Axes.plot`.
    Returns the ax. Raises ValueError when the shape is another.
    """
    ax, points = _axes(ax), _array(points).astype(float)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be (β, rate, distortion) each: (N, 3); these have the shape {points.shape}")
    ax.plot(points[:, 1], points[:, 2], **{"marker": "o", "color": BLUE} | style)
    for beta, *where in points:
        ax.annotate(f"β = {beta:g}", where, xytext=(7, 5), textcoords="offset points")
    ax.margins(x=0.22, y=0.12)  # room for what is written beside the dots furthest right and highest
    ax.set(xlabel="rate R, nats per image", ylabel="distortion D, nats per image")
    return ax


def plot_graph(nodes, arrows, gradients, *, random=(), ax: Axes | None = None):
    """A computation graph: grey arrows forward, and orange ones back to each node that a gradient has reached.

    nodes: name → (x, y). arrows: (start, end), two names. gradients: name → a number, or None where none came back; of
    a node that is not among them none was asked for. random: the nodes that are drawn at random, round. Returns the ax.
    """
    ax = _axes(ax)
    ax.set_axis_off()
    ax.margins(0.08, 0.25)  # room for the nodes at the rim
    for start, end in arrows:
        looks = {"arrowstyle": "-|>", "mutation_scale": 22, "shrinkA": 38, "shrinkB": 38}
        ax.annotate("", nodes[end], nodes[start], arrowprops=looks | {"color": GREY, "lw": 1.8})
        if gradients.get(start) is not None:
            looks |= {"color": ORANGE, "lw": 4, "connectionstyle": "arc3,rad=0.3"}
            ax.annotate("", nodes[start], nodes[end], arrowprops=looks)
    for name, (x, y) in nodes.items():
        asked, number = name in gradients, gradients.get(name)
        size, marker, fill = (5200, "o", "#ffe3c2") if name in random else (3600, "s", "white")
        ax.scatter(x, y, size, marker=marker, fc=fill, ec=INK, lw=1.8, zorder=3)
        style = {"ha": "center", "textcoords": "offset points", "zorder": 4}
        ax.annotate(name, (x, y), (0, 4 if asked else -7), fontsize=20, **style)
        if asked:
            words, colour = ("none", GREY) if number is None else (f"{number:.1f}".replace("-", "−"), ORANGE)
            ax.annotate(words, (x, y), (0, -21), fontsize=16, color=colour, weight="bold", **style)
    return ax


def _axes(ax: Axes | None, size: tuple[float, float] | None = None) -> Axes:
    """The ax that was given, else pyplot's own; or one of a new figure of this size."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size).gca() if size else plt.gca()


def _array(values) -> np.ndarray:
    """Values as an array: a tensor too that has gradients, is on another device, or of half precision."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    return (values.float() if values.itemsize == 2 and values.is_floating_point() else values).numpy(force=True)
