"""The lab as a still picture, for where a widget cannot live. Never pyplot: a figure of its own."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaekit.plotting import plot_curves, plot_images, plot_latent

SOFT = "#59626e"


def draw_still(view) -> Figure:
    """Planes, chosen image, meters, words and curves, as they were last sent. Reads numpy arrays alone."""
    figure = Figure(figsize=(11, 8), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    if len(view.sides) == 1:
        grid = figure.add_gridspec(3, 2, height_ratios=[1, 3.6, 2], width_ratios=[1.25, 1])
        _draw_chosen(figure.add_subplot(grid[0, 1]), view.plane)
        places = [(grid[:2, 0], grid[1, 1], "")]
    else:
        grid = figure.add_gridspec(3, 2, height_ratios=[3.2, 1.6, 1.6])
        places = [(grid[0, i], grid[1, i], name) for i, name in enumerate(("left", "right"))]
    for side, (plane, words, name) in zip(view.sides, places, strict=True):
        _draw_plane(figure.add_subplot(plane), side).set_title(name, fontsize=12, fontweight="bold")
        _write(figure.add_subplot(words), side.plane.status)
    curves = view.curves
    rows = np.frombuffer(curves.history, np.float32).reshape(-1, 1 + 3 * curves.runs)
    plot_curves(rows, [(mark["step"], mark["label"]) for mark in curves.marks], ax=figure.add_subplot(grid[2, :]))
    return figure


def _draw_plane(ax, side):
    frame = side.last
    plot_latent(frame.mu, frame.std, side.labels, extent=frame.extent, ax=ax)
    ax.set(**{f"{axis}label": f"$z_{{{dim + 1}}}$" for axis, dim in zip("xy", side.pair, strict=True)})
    if side.last_backdrop:
        picture, extent = side.last_backdrop
        ax.imshow(picture.squeeze(), cmap="Greys", alpha=0.25, extent=(-extent, extent, -extent, extent), zorder=-1)
        ax.set(xlim=(-frame.extent, frame.extent), ylim=(-frame.extent, frame.extent))
    return ax


def _draw_chosen(ax, plane) -> None:
    ax.set_axis_off()
    if plane.pictures:
        images = np.frombuffer(plane.pictures, np.uint8).reshape(5, *plane.shape)
        plot_images(images, columns=5, ax=ax).set_title("x · x̂ at μ · three draws from q(z|x)", fontsize=11)


def _write(ax, status: dict) -> None:
    ax.set_axis_off()
    for i, (name, value) in enumerate(status.get("meters", ())):
        x, y = 0.36 * (i % 3), 0.95 - 0.27 * (i // 3)
        ax.text(x, y, name, fontsize=10, color=SOFT, transform=ax.transAxes)
        ax.text(x, y - 0.11, value, fontsize=13, fontweight="bold", transform=ax.transAxes)
    ax.text(0, 0.1, status.get("headline", ""), fontsize=13, fontweight="bold", transform=ax.transAxes)
    knobs = status["settings"]
    line = f"step {status['step']}, prior {'on' if knobs['prior'] else 'off'}, β = {knobs['beta']:g}"
    ax.text(0, 0.0, line, fontsize=11, color=SOFT, transform=ax.transAxes)
