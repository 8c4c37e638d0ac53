"""The widgets: what the page is sent, trait by trait. The layouts of the bytes stand in frames.py."""

import re
from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets

from vaekit.plotting import PALETTE, RAMP

STATIC = Path(__file__).parent / "static"
STYLE = (STATIC / "lab.css").read_text(encoding="utf-8")
ENTRIES = {"lab.js": [], "alone.js": [], "still.js": ["lab.js"]}  # modules that no other asks for but these
MODULE = re.compile(r'^import [^;]* from "\./\w+\.js";\n|^export (?!default)', re.MULTILINE)


def bundle(entry: str) -> str:
    """The ES module `entry` of static/ and those that it may import, as a single one: anywidget takes no more than one.

    They come into one scope: what they name at their top level must be unique, which a test sees to.
    """
    others = sorted({path.name for path in STATIC.glob("*.js")} - ENTRIES.keys())
    names = [*others, *ENTRIES[entry], entry]
    return "\n".join(MODULE.sub("", (STATIC / name).read_text(encoding="utf-8")) for name in names)


class Plane(anywidget.AnyWidget):
    """One run's latent plane and what belongs to it; with `twin` the page shows that run's as well.

    The loss curves are of all runs. history: f32 rows of History; marks: [{step, label}]; parts: of each why and
    rows, f32: see Meters.
    """

    _esm = bundle("lab.js")
    _css = STYLE
    twin = traitlets.Instance(widgets.Widget, allow_none=True).tag(sync=True, **widgets.widget_serialization)
    frame = traitlets.Dict({}).tag(sync=True)
    classes = traitlets.Bytes(b"").tag(sync=True)  # u8 of each shown image; empty: no classes
    decoder = traitlets.Dict({}).tag(sync=True)
    backdrop = traitlets.Dict({}).tag(sync=True)
    pictures = traitlets.Bytes(b"").tag(sync=True)  # u8: the chosen x, x̂ at μ, three draws, (C, H, W) each
    sheet = traitlets.Bytes(b"").tag(sync=True)  # u8: images decoded from new draws of the prior, while they are shown
    traversals = traitlets.Dict({}).tag(sync=True)  # with more than two dimensions: each varied in turn
    chosen = traitlets.Int(0).tag(sync=True)
    pad = traitlets.Bool(False).tag(sync=True)  # is there a pad to draw a digit on?
    strokes = traitlets.List([]).tag(sync=True)  # on the pad, each [[x, y], ...] in 0..1: the page's or the kernel's
    drawn = traitlets.Dict({}).tag(sync=True)  # {mark: [μ₁, μ₂, σ₁, σ₂], words}: of the drawing, while it is shown
    autoencoder = traitlets.Bool(False).tag(sync=True)  # then there is no prior, σ or KL to show
    noise = traitlets.Float(0.0).tag(sync=True)  # an autoencoder's, added to its codes: σ of the draws that are shown
    shape = traitlets.List([1, 28, 28]).tag(sync=True)
    pair = traitlets.List([0, 1]).tag(sync=True)
    turn = traitlets.Float(0.0).tag(sync=True)  # degrees: the page turns places in the plane, which come as they were
    palette = traitlets.List(list(PALETTE)).tag(sync=True)
    shades = traitlets.Bytes(b"").tag(sync=True)  # u8 of each shown image, 0 to 255: how much of `factor` it has
    factor = traitlets.Unicode("").tag(sync=True)  # what the dots are coloured by; empty: their class
    ramp = traitlets.List(list(RAMP)).tag(sync=True)
    deaths = traitlets.List([]).tag(sync=True)  # of a linear model: the β at which each dimension dies
    digits = traitlets.Bool(False).tag(sync=True)  # class numerals instead of dots
    history = traitlets.Bytes(b"").tag(sync=True)
    marks = traitlets.List([]).tag(sync=True)
    parts = traitlets.Dict({}).tag(sync=True)
    aggregated = traitlets.Bool(False).tag(sync=True)  # contours of q(z), and in the curves bands: the KL in its parts
    posterior = traitlets.Dict({}).tag(sync=True)  # of the chosen image, the true one: see pictures.true_posterior
    scrub = traitlets.Int(-1).tag(sync=True)  # the step that is looked back at; -1: the run as it is now
    tasks = traitlets.List([]).tag(sync=True)  # {text, ticked} each
    uploads = traitlets.List([]).tag(sync=True, **widgets.widget_serialization)  # what learners give files to
    status = traitlets.Dict({}).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)
    with_posterior = traitlets.Bool(False)  # these two are the kernel's own: is `posterior` asked for?
    draw_number = traitlets.Int(0)  # which draw `sheet` is made from; 0: none
