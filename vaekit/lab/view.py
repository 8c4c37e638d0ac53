"""What the page is sent: the two widgets, and the view that fills them from the trainer thread."""

import math
import time
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets

from vaekit import metrics
from vaekit.data import as_floats
from vaekit.lab import words
from vaekit.lab.engine import Engine
from vaekit.lab.frames import Frame, mosaic, pack_decoder, pack_json, to_bytes, view_extent
from vaekit.latent import grid
from vaekit.losses import kl_to_prior
from vaekit.model import reparameterize
from vaekit.plotting import PALETTE

STATIC = Path(__file__).parent / "static"
TILES = 15  # decoded images along one side of the backdrop
MEASURED = 500  # codes that the overlap is measured on: its cost grows with their square
OVERLAP_SECONDS = 0.5  # between two such measurements while playing


def _static(*names: str) -> str:
    """Some of `static/`, one after the other: a widget's script is a single module."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


class Plane(anywidget.AnyWidget):
    """The latent plane and what belongs beside it. The layouts of the bytes stand in frames.py."""

    _esm = _static("decode.js", "page.js", "plane.js")
    _css = _static("lab.css")
    frame = traitlets.Bytes(b"").tag(sync=True)
    classes = traitlets.Bytes(b"").tag(sync=True)  # u8 of each shown image; empty: no classes
    decoder = traitlets.Bytes(b"").tag(sync=True)
    backdrop = traitlets.Bytes(b"").tag(sync=True)
    pictures = traitlets.Bytes(b"").tag(sync=True)  # u8: the chosen x, x̂ at μ, three draws, (C, H, W) each
    chosen = traitlets.Int(0).tag(sync=True)
    shape = traitlets.List([1, 28, 28]).tag(sync=True)
    pair = traitlets.List([0, 1]).tag(sync=True)
    palette = traitlets.List(list(PALETTE)).tag(sync=True)
    digits = traitlets.Bool(False).tag(sync=True)  # class numerals instead of dots
    status = traitlets.Dict({}).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)


class Curves(anywidget.AnyWidget):
    """The loss curves. history: f32 rows of History; marks: [{step, label}]."""

    _esm = _static("decode.js", "page.js", "curves.js")
    _css = _static("lab.css")
    history = traitlets.Bytes(b"").tag(sync=True)
    marks = traitlets.List([]).tag(sync=True)
    status = traitlets.Dict({}).tag(sync=True)


class View:
    """Looks at an engine's model and fills the widgets; called on the trainer thread, between steps.

    It draws from a generator of its own and puts the model back as it was: looking changes nothing.
    """

    def __init__(self, shown: int = 1000, pair: tuple[int, int] = (0, 1)):
        self.plane, self.curves = Plane(pair=list(pair)), Curves()
        self.shown, self.pair = shown, pair
        self.number, self.extent = 0, 3.8
        self.last: Frame | None = None
        self.last_backdrop: tuple[np.ndarray, float] | None = None
        self.labels: np.ndarray | None = None
        self.chosen, self.data = 0, None
        self.measured: words.Measured | None = None
        self.numbers: dict = {}
        self._overlap_at, self._last_overlap = 0.0, torch.tensor(0.0)

    # -- called by the engine -----------------------------------------------------------------------------

    def frame(self, engine: Engine) -> None:
        run = engine.run
        self._load(run)
        mu, logvar = self._encode(run)
        self.last = self._make_frame(run, mu, logvar)
        self.plane.frame = self.last.pack()
        if engine.looked_at or not engine.playing:
            self._measure(run, mu, logvar, engine.playing)
            self.status(engine)

    def rest(self, engine: Engine) -> None:
        run = engine.run
        self._load(run)
        with watching(run.model):
            packed = _page_decoder(run.model, self.latent_dim, self.images.device)
            self.plane.decoder = pack_decoder(packed, run.number, self.latent_dim, self.pair) if packed else b""
            self._send_backdrop(run)
            self._send_chosen(run)
        self.curves.history = engine.history.array().tobytes()
        self.curves.marks = marks(run.recording)

    def status(self, engine: Engine) -> None:
        run = engine.run
        status = self.numbers | {
            "step": run.number,
            "epoch": run.batches.epoch,
            "playing": engine.playing,
            "speed": engine.speed,
            "device": _describe(run.images.device),
        }
        self.plane.status = status
        self.curves.status = {name: status[name] for name in ("step", "epoch", "speed", "device")}
        self.plane.message = engine.notice or engine.error or ""

    # -- called by commands, on the trainer thread as well ------------------------------------------------

    def choose(self, engine: Engine, index: int) -> None:
        if 0 <= index < len(self.images):
            self.chosen = self.plane.chosen = index
            with watching(engine.run.model):
                self._send_chosen(engine.run)

    def decode(self, engine: Engine, z: list[float]) -> None:
        """For decoders that the page cannot run: the image at `z` on the shown pair."""
        with watching(engine.run.model):
            codes = self._place(torch.tensor([z], device=self.images.device))
            pixels = to_bytes(torch.sigmoid(engine.run.model.decode(codes)))
        self.plane.send({"kind": "decoded", "z": z}, buffers=[pixels.tobytes()])

    # -- inside -------------------------------------------------------------------------------------------

    def _load(self, run) -> None:
        """Take the shown images from the run's data set when it is another than before."""
        if self.data == run.data:
            return
        self.data, shown = run.data, run.sets[run.data].first(self.shown)
        self.images = as_floats(shown.images)
        self.labels = None if shown.labels is None else shown.labels.cpu().numpy()
        self.plane.shape = list(self.images.shape[1:])
        self.plane.classes = b"" if self.labels is None else self.labels.astype(np.uint8).tobytes()
        self.chosen = self.plane.chosen = min(self.chosen, len(self.images) - 1)
        self.draws = torch.Generator(self.images.device).manual_seed(run.seed)

    def _encode(self, run):
        with watching(run.model):
            mu, logvar = run.model.encode(self.images)
        self.latent_dim = mu.shape[1]
        return mu, torch.full_like(mu, -float("inf")) if logvar is None else logvar

    def _make_frame(self, run, mu, logvar) -> Frame:
        pair = list(self.pair)
        both = torch.cat([mu[:, pair], torch.exp(0.5 * logvar[:, pair])], 1).float().cpu().numpy()  # (N, 4)
        self.number += 1
        self.extent = view_extent(both[:, :2], both[:, 2:], self.extent)
        knobs = run.knobs
        return Frame(self.number, run.number, both[:, :2], both[:, 2:], self.extent, knobs.effective_beta, knobs.lr)

    def _measure(self, run, mu, logvar, playing: bool) -> None:
        with torch.no_grad():
            kl = kl_to_prior(mu, logvar)
            active = metrics.active_units(mu)
            overlap = self._overlap(mu[:MEASURED], logvar[:MEASURED], playing)
            values = [metrics.mean_std(logvar), metrics.spread(mu), kl.sum(1).mean(), active.sum(), overlap]
            std, spread, nats, units, shared = torch.stack([v.float() for v in values]).tolist()
        if math.isnan(std + spread):
            return  # no numbers any more: the run is about to go back to where there were
        self.measured = words.Measured(std, spread, nats, int(units), mu.shape[1], shared)
        headline, sentence = words.verdict(self.measured, run.number)
        self.numbers = {
            "state": words.state(self.measured),
            "headline": headline,
            "sentence": sentence,
            "meters": [
                ["mean σ of q(z|x)", f"{std:.3f}"],
                ["spread of the means", f"{spread:.2f}"],
                ["KL, nats", f"{nats:.2f}"],
                ["active units", f"{int(units)} of {mu.shape[1]}"],
                ["overlap", f"{shared:.0%}"],
                ["KL, bits", f"{metrics.bits(nats):.2f}"],
            ],
        }

    def _overlap(self, mu, logvar, playing: bool):
        now = time.monotonic()
        if not playing or now - self._overlap_at >= OVERLAP_SECONDS:
            self._overlap_at = now
            self._last_overlap = metrics.overlap(mu, logvar).nan_to_num() if len(mu) > 1 else mu.new_tensor(1.0)
        return self._last_overlap

    def _place(self, pairs: torch.Tensor) -> torch.Tensor:
        """Points of the plane (n, 2) → codes (n, D): the dimensions that are not shown are 0."""
        codes = torch.zeros(len(pairs), self.latent_dim, device=self.images.device)
        codes[:, list(self.pair)] = pairs
        return codes

    def _send_backdrop(self, run) -> None:
        codes = self._place(grid(self.extent, TILES, device=self.images.device))
        picture = mosaic(torch.sigmoid(run.model.decode(codes)), TILES)
        self.last_backdrop = (picture, self.extent)
        header = {"extent": self.extent, "size": picture.shape[0], "channels": picture.shape[2]}
        self.plane.backdrop = pack_json(header, picture.tobytes())

    def _send_chosen(self, run) -> None:
        x = self.images[self.chosen : self.chosen + 1]
        mu, logvar = run.model.encode(x)
        codes = mu.expand(4, -1)
        if logvar is not None:
            draws = reparameterize(mu.expand(3, -1), logvar.expand(3, -1), self.draws)
            codes = torch.cat([mu, draws])  # (4, D)
        decoded = torch.sigmoid(run.model.decode(codes))
        self.plane.pictures = to_bytes(torch.cat([x, decoded])).tobytes()


def _page_decoder(model, latent_dim: int, device):
    """The model's `decoder`, when it alone is what `decode` does; else the page asks by message."""
    z = torch.linspace(-2, 2, 3 * latent_dim, device=device).reshape(3, latent_dim)
    try:
        return model.decoder if torch.equal(model.decoder(z), model.decode(z)) else None
    except Exception:  # no such part, or one that takes something else than codes
        return None


class watching:
    """No gradients, evaluation mode, and every part's mode put back: batch norm and dropout must not notice."""

    def __init__(self, model):
        self.model, self.no_grad = model, torch.no_grad()

    def __enter__(self):
        self.modes = [(part, part.training) for part in self.model.modules()]
        self.no_grad.__enter__()
        self.model.eval()

    def __exit__(self, *error):
        for part, training in self.modes:
            part.training = training
        self.no_grad.__exit__(*error)


def marks(recording, near: int = 40, most: int = 60) -> list[dict]:
    """The recording's events as labelled marks; a slider's many small turns become one mark with the last value."""
    found: list[dict] = []
    for step, changes in recording.events:
        for name, value in changes.items():
            label = _label(name, value)
            if found and found[-1]["name"] == name and step - found[-1]["last"] <= near:
                found[-1] |= {"label": label, "last": step}
            else:
                found.append({"name": name, "step": step, "label": label, "last": step})
    return [{"step": m["step"], "label": m["label"]} for m in found[-most:]]


def _label(name: str, value) -> str:
    if name == "prior":
        return f"prior {'on' if value else 'off'}"
    if name == "kind":
        return {"bernoulli": "BCE", "gaussian": "squared error"}[value]
    return str(value) if name == "data" else f"{'β' if name == 'beta' else name} = {value:.3g}"


def _describe(device: torch.device) -> str:
    if device.type != "cpu":
        return device.type.upper()
    n = torch.get_num_threads()
    return f"CPU, {n} thread{'s' if n > 1 else ''}"
