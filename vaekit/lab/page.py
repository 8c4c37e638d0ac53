"""The widgets: what the page is sent, trait by trait. The layouts of the bytes stand in frames.py."""

from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets

from vaekit.plotting import PALETTE

STATIC = Path(__file__).parent / "static"
SCRIPTS = {
    "plane": ("decode.js", "page.js", "draw.js", "panel.js", "pad.js", "plane.js", "lab.js"),
    "pad": ("decode.js", "page.js", "panel.js", "pad.js", "alone.js"),
    "curves": ("decode.js", "page.js", "curves.js"),
    "gaussians": ("page.js", "gaussians.js"),
}


def script(widget: str) -> str:
    """The files of `static/` that make up a widget's script, one after the other: it is a single module."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS[widget])


STYLE = (STATIC / "lab.css").read_text(encoding="utf-8")


class Plane(anywidget.AnyWidget):
    """One run's latent plane and what belongs beside it; with `twin` the page shows that run's as well."""

    _esm = script("plane")
    _css = STYLE
    twin = traitlets.Instance(widgets.Widget, allow_none=True).tag(sync=True, **widgets.widget_serialization)
    frame = traitlets.Bytes(b"").tag(sync=True)
    classes = traitlets.Bytes(b"").tag(sync=True)  # u8 of each shown image; empty: no classes
    decoder = traitlets.Bytes(b"").tag(sync=True)
    backdrop = traitlets.Bytes(b"").tag(sync=True)
    pictures = traitlets.Bytes(b"").tag(sync=True)  # u8: the chosen x, x̂ at μ, three draws, (C, H, W) each
    probe = traitlets.Bytes(b"").tag(sync=True)  # draws from the prior or a walk: what `showing` asks for
    traversals = traitlets.Bytes(b"").tag(sync=True)  # with more than two dimensions: each varied in turn
    chosen = traitlets.Int(0).tag(sync=True)
    pad = traitlets.Bool(False).tag(sync=True)  # is there a pad to draw a digit on?
    strokes = traitlets.List([]).tag(sync=True)  # on the pad, each [[x, y], ...] in 0..1: the page's or the kernel's
    drawn = traitlets.Dict({}).tag(sync=True)  # {mark: [μ₁, μ₂, σ₁, σ₂], words}: of the drawing, while it is shown
    shape = traitlets.List([1, 28, 28]).tag(sync=True)
    pair = traitlets.List([0, 1]).tag(sync=True)
    palette = traitlets.List(list(PALETTE)).tag(sync=True)
    deaths = traitlets.List([]).tag(sync=True)  # of a linear model: the β at which each dimension dies
    digits = traitlets.Bool(False).tag(sync=True)  # class numerals instead of dots
    showing = traitlets.Unicode("").tag(sync=True)  # "", "draws" or "walk"
    scrub = traitlets.Int(-1).tag(sync=True)  # the step that is looked back at; -1: the run as it is now
    status = traitlets.Dict({}).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)


class Pad(anywidget.AnyWidget):
    """A pad on its own, and what a model makes of the drawing. pictures as in `Plane`."""

    _esm = script("pad")
    _css = STYLE
    strokes = traitlets.List([]).tag(sync=True)
    pictures = traitlets.Bytes(b"").tag(sync=True)
    words = traitlets.Unicode("").tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)


class Curves(anywidget.AnyWidget):
    """The loss curves. history: f32 rows of History, of `runs` runs; marks: [{step, label}]."""

    _esm = script("curves")
    _css = STYLE
    history = traitlets.Bytes(b"").tag(sync=True)
    runs = traitlets.Int(1).tag(sync=True)
    marks = traitlets.List([]).tag(sync=True)
    scrub = traitlets.Int(-1).tag(sync=True)
    status = traitlets.Dict({}).tag(sync=True)
