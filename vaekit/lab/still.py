"""The lab as a still picture, for where a widget cannot live. Never pyplot: a figure of its own."""

import math
import textwrap

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from vaekit.lab.drawing import latent_name
from vaekit.plotting import BLUE, GREY, INK, plot_curves, plot_images, plot_latent

SOFT, YOURS = "#59626e", "#b0007a"  # the page's

# Where the parts stand: left, bottom, width, height, as shares of the figure. Laid out by hand: matplotlib takes 0.2 s.
CURVES = (0.08, 0.075, 0.84, 0.14)
PLANE, TWIN_PLANES = (0.07, 0.4, 0.46, 0.552), ((0.07, 0.51, 0.38, 0.456), (0.57, 0.51, 0.38, 0.456))
TWIN_WORDS = ((0.05, 0.335, 0.44, 0.1), (0.55, 0.335, 0.44, 0.1))
CHOSEN, WORDS = (0.57, 0.84, 0.42, 0.1), (0.57, 0.44, 0.42, 0.36)
KL, TRAVERSALS, WORDS_BELOW = (0.63, 0.715, 0.36, 0.09), (0.57, 0.515, 0.42, 0.13), (0.57, 0.385, 0.42, 0.1)


@style.context("default")  # whatever style the notebook's own figures have
def draw_still(view) -> Figure:
    """Planes, chosen image, meters, words and curves, as they were last sent. Reads numpy arrays alone."""
    figure, plane = Figure(figsize=(8.4, 7), dpi=150), view.plane
    FigureCanvasAgg(figure)
    if plane.twin:
        for side, name, place, words in zip(view.sides, ("left: ", "right: "), TWIN_PLANES, TWIN_WORDS, strict=True):
            _draw_plane(figure.add_axes(place), side, name)
            _write(figure.add_axes(words), side.plane.status)
    else:
        _draw_plane(figure.add_axes(PLANE), view.sides[0])
        _draw_panel(figure, plane)
    rows = np.frombuffer(plane.history, np.float32).reshape(-1, 1 + 3 * len(view.sides))
    if len(rows):
        plot_curves(rows, [(mark["step"], mark["label"]) for mark in plane.marks], ax=figure.add_axes(CURVES))
        figure.axes[-1].set_visible(not plane.autoencoder)  # the KL's scale
    for ax in figure.axes:  # said, as ticks are made when they are drawn
        ax.tick_params(labelsize=10)
    return figure


def _draw_plane(ax, side, name: str = "") -> None:
    plane, frame, settings = side.plane, side.last, side.plane.status["settings"]
    look = {"extent": frame.extent, "rings": not plane.autoencoder, "tilt": plane.turn}
    if plane.shades:
        look["values"] = np.frombuffer(plane.shades, np.uint8) / 255
        ax.annotate(f"{plane.factor}: 0 dark, 1 light", (0.02, 0.94), xycoords="axes fraction", fontsize=10)
    elif plane.classes:
        look["labels"] = np.frombuffer(plane.classes, np.uint8)
    if sent := plane.backdrop:
        picture = np.frombuffer(sent["pixels"], np.uint8).reshape(*sent["size"], sent["channels"])
        edges = [sign * sent["extent"] for sign in (-1, 1, -1, 1)]
        ax.imshow(picture.squeeze(), cmap="Greys", alpha=0.16, extent=edges, zorder=-1)
    plot_latent(frame.mu @ side.turn.matrix.T, frame.std, **look, ax=ax)
    prime = "'" if plane.turn else ""
    ax.set(**{f"{axis}label": latent_name(dim) + prime for axis, dim in zip("xy", side.pair, strict=True)})
    if plane.posterior:
        _draw_truth(ax, plane.posterior, side.turn)
    prior = f"prior on, β = {settings['beta']:g}" if settings["prior"] else "prior off"
    title = f"{name}{'autoencoder' if plane.autoencoder else prior}, step {plane.status['step']:,}"
    ax.set_title(title, fontsize=11, fontweight="bold")


def _draw_truth(ax, truth: dict, turn) -> None:
    """The chosen image's ellipses of σ and 2 σ, and its true posterior's contours: see pictures.true_posterior."""
    line = np.linspace(-truth["reach"], truth["reach"], truth["squares"] + 1)
    lattice = (truth["centre"] + np.stack(np.meshgrid(line, line), -1) * truth["scale"]) @ turn.matrix.T
    weights = np.frombuffer(truth["weights"], "<f4").reshape(lattice.shape[:2])
    levels = np.unique(np.minimum(truth["levels"], 0.99 * weights.max()))  # of one that a single square holds, too
    ax.contour(*np.moveaxis(lattice, -1, 0), weights, levels, colors=YOURS, linewidths=2)
    for size in np.outer((2, 4), truth["std"]):
        ax.add_patch(Ellipse(turn.matrix @ truth["mu"], *size, angle=turn.degrees, fill=False, ec=INK, lw=1.5))


def _draw_panel(figure, plane) -> None:
    """The chosen image, with more than two dimensions their KL and traversals, the meters and the words."""
    many = plane.traversals and not plane.autoencoder
    if plane.pictures:
        images = np.frombuffer(plane.pictures, np.uint8).reshape(5, *plane.shape)
        what, n = ("x · x̂", 2) if plane.autoencoder else ("x · x̂ at μ · three draws from q(z|x)", 5)
        plot_images(images[:n], columns=n, ax=figure.add_axes(CHOSEN)).set_title(what, fontsize=10)
    if many:
        kl = np.array(plane.status.get("kl", []), float)  # None, which JSON has for it, is NaN
        bars, varied = figure.add_axes(KL), figure.add_axes(TRAVERSALS)
        bars.bar(range(1, len(kl) + 1), kl, color=[BLUE if dim in plane.pair else GREY for dim in range(len(kl))])
        bars.set(ylabel="KL, nats", xticks=range(1, len(kl) + 1, 1 + len(kl) // 10))
        found = plane.traversals
        images = np.frombuffer(found["images"], np.uint8).reshape(-1, *plane.shape)
        plot_images(images, columns=found["across"], ax=varied)
        names = ", ".join(map(latent_name, found["dims"]))
        varied.set_title(f"{names}: each from −3 to 3", fontsize=10)
    _write(figure.add_axes(WORDS_BELOW if many else WORDS), plane.status)


def _write(ax, status: dict) -> None:
    """Write the meters, four in a row, and the words below them."""
    ax.set_axis_off()
    about = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    meters = status.get("meters", ())
    rows = math.ceil(len(meters) / 4)
    apart = 30 if rows < 3 else 24  # points; the words end above the curves
    for i, (name, value) in enumerate(meters):
        where, down = (0.26 * (i % 4), 1), -apart * (i // 4)
        ax.annotate(name, where, (0, down), fontsize=7, color=SOFT, **about)
        ax.annotate(value, where, (0, down - 10), fontsize=10, fontweight="bold", **about)
    words = textwrap.fill(f"{status.get('headline', '')} {status.get('sentence', '')}", 50)
    ax.annotate(words, (0, 1), (0, -apart * rows - 4), fontsize=9, **about)
