"""The lab as a still picture, for where a widget cannot live. Never pyplot: a figure of its own."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vaekit.lab.view import marks
from vaekit.plotting import plot_curves, plot_images, plot_latent


def draw_still(view, engine) -> Figure:
    """Plane, chosen image, meters, words and curves, as they were last sent. Reads numpy arrays alone."""
    figure = Figure(figsize=(11, 8), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2, height_ratios=[1, 3.6, 2], width_ratios=[1.25, 1])
    frame, status = view.last, view.plane.status
    plane = figure.add_subplot(grid[:2, 0])
    plot_latent(frame.mu, frame.std, view.labels, extent=frame.extent, ax=plane)
    if view.last_backdrop:
        picture, extent = view.last_backdrop
        plane.imshow(picture.squeeze(), cmap="Greys", alpha=0.25, extent=(-extent, extent, -extent, extent), zorder=-1)
        plane.set(xlim=(-frame.extent, frame.extent), ylim=(-frame.extent, frame.extent))
    if view.plane.pictures:
        images = np.frombuffer(view.plane.pictures, np.uint8).reshape(5, *view.plane.shape)
        ax = plot_images(images, columns=5, ax=figure.add_subplot(grid[0, 1]))
        ax.set_title("x · x̂ at μ · three draws from q(z|x)", fontsize=11)
    _write(figure.add_subplot(grid[1, 1]), status, engine)
    rows = engine.history.array()
    plot_curves(rows, [(m["step"], m["label"]) for m in marks(engine.run.recording)], ax=figure.add_subplot(grid[2, :]))
    return figure


def _write(ax, status: dict, engine) -> None:
    ax.set_axis_off()
    for i, (name, value) in enumerate(status.get("meters", ())):
        x, y = 0.5 * (i % 2), 0.95 - 0.25 * (i // 2)
        ax.text(x, y, name, fontsize=11, color="#59626e", transform=ax.transAxes)
        ax.text(x, y - 0.11, value, fontsize=17, fontweight="bold", transform=ax.transAxes)
    knobs = engine.run.knobs
    ax.text(0, 0.12, status.get("headline", ""), fontsize=13, fontweight="bold", transform=ax.transAxes)
    line = f"step {engine.run.number}, prior {'on' if knobs.prior else 'off'}, β = {knobs.beta:g}"
    ax.text(0, 0.0, line, fontsize=11, color="#59626e", transform=ax.transAxes)


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, in 128 colours: a notebook should stay light."""
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(128)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()
