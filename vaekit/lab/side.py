"""One run as the page sees it: its plane, its images and its meters, filled on the trainer thread."""

import math
import time

import numpy as np
import torch

from vaekit import metrics, theory
from vaekit.data import as_floats
from vaekit.lab import probe, words
from vaekit.lab.drawing import SHAPE, digit, in_words, look
from vaekit.lab.frames import Frame, mosaic, pack_decoder, pack_json, to_bytes, view_extent
from vaekit.lab.page import Plane
from vaekit.latent import grid, traversal
from vaekit.losses import NOISE_VARIANCE, kl_to_prior, pixel_mean
from vaekit.model import watching

TILES = 15  # decoded images along one side of the backdrop
MEASURED = 500  # codes that the overlap is measured on: its cost grows with their square
MEASURE_SHARE = 0.03  # of the time may go into overlap, continuity and completeness
MEASURE_SECONDS = 1.0  # between two such measurements while playing, at least
TRAVERSED = 5  # latent dimensions that are traversed: those that say most
STEPS_ACROSS = 9  # images of a traversal, from −3 to 3


class Side:
    """Fills one `Plane` from a run; its methods are called on the trainer thread, between steps.

    It draws from a generator of its own and puts the model back as it was: looking changes nothing.
    """

    def __init__(self, shown: int = 1000, pair: tuple[int, int] = (0, 1), share: float = MEASURE_SHARE):
        self.plane = Plane(pair=list(pair))
        self.shown, self.pair, self.share = shown, pair, share
        self.number, self.extent = 0, 3.8
        self.last: Frame | None = None
        self.last_backdrop: tuple[np.ndarray, float] | None = None
        self.labels: np.ndarray | None = None
        self.chosen, self.images, self._source = 0, None, None
        self.drawing: torch.Tensor | None = None  # (1, 1, 28, 28): it is shown in the chosen image's place
        self.measured: words.Measured | None = None
        self.numbers: dict = {}
        self.kl: list[float] = []
        self._predicted: tuple | None = None
        self._measured_at, self._measure_cost = -math.inf, 0.0
        self._shared: dict[str, float] = {}

    # -- what the engine asks for -------------------------------------------------------------------------

    def frame(self, run, playing: bool, looked_at: bool) -> None:
        """The cloud, and where somebody looks its numbers."""
        self.load(run)
        mu, logvar = self._encode(run)
        self.last = self._make_frame(run, mu, logvar)
        self.plane.frame = self.last.pack()
        if looked_at or not playing:
            self._measure(run, mu, logvar, playing)

    def rest(self, run) -> None:
        """What is large or slow to change."""
        self.load(run)
        self._predict_deaths(run)
        with watching(run.model):
            self.plane.decoder = self.packed_decoder(run)
            self._send_backdrop(run)
            self._send_chosen(run)

    def packed_decoder(self, run) -> bytes:
        """The decoder for the page, or nothing when the page can't run it."""
        decoder = _page_decoder(run.model, self.latent_dim, self.images.device)
        return pack_decoder(decoder, run.number, self.latent_dim, run.kind) if decoder else b""

    # -- what the page asks for ---------------------------------------------------------------------------

    def choose(self, run, index: int) -> None:
        """Show the image `index` in full."""
        if 0 <= index < len(self.images):
            self.chosen = self.plane.chosen = index
            with watching(run.model):
                self._send_chosen(run)
            if self.plane.showing:
                self._send_probe(run, *self._encode(run))

    def draw(self, run, strokes: list) -> None:
        """Show a drawing in the chosen image's place; without strokes, the chosen image again."""
        self.drawing = digit(strokes)[None].to(self.images) if strokes and self.images.shape[1:] == SHAPE else None
        with watching(run.model):
            self._send_chosen(run)

    def follow_drawing(self, run) -> None:
        """What the model makes of the drawing by now."""
        if self.drawing is not None:
            self._send_pictures(run)

    def decode(self, run, z: list[float]) -> None:
        """For decoders that the page cannot run: the image at `z` on the shown pair."""
        with watching(run.model):
            codes = self._place(torch.tensor([z], dtype=self.images.dtype, device=self.images.device))
            pixels = to_bytes(pixel_mean(run.model.decode(codes), run.kind))
        self.plane.send({"kind": "decoded", "z": z}, buffers=[pixels.tobytes()])

    def show(self, run, what: str) -> None:
        """Show "draws" from the prior or a "walk" in the plane, or neither: ""."""
        self.plane.showing = what
        self._send_probe(run, *self._encode(run))

    def show_pair(self, run, pair: tuple[int, int]) -> None:
        """Show these two dimensions of the latent space."""
        if pair != self.pair:
            self.pair, self.plane.pair = pair, list(pair)
            mu, logvar = self._encode(run)
            self.last = self._make_frame(run, mu, logvar)
            self.plane.frame = self.last.pack()
            with watching(run.model):
                self._send_backdrop(run)
            self.follow_drawing(run)
            self._measure(run, mu, logvar, playing=False)  # overlap and the like are the plane's

    # -- inside -------------------------------------------------------------------------------------------

    def load(self, run) -> None:
        """Take the shown images from the run's data set when it is another than before."""
        images = run.sets[run.data]
        if self._source is images:
            return
        self._source, shown = images, images.first(self.shown)
        self.images = as_floats(shown.images)
        self.labels = None if shown.labels is None else shown.labels.cpu().numpy()
        self.plane.shape = list(self.images.shape[1:])
        self.plane.classes = b"" if self.labels is None else self.labels.astype(np.uint8).tobytes()
        self.chosen = self.plane.chosen = min(self.chosen, len(self.images) - 1)
        self.drawing = self.drawing if self.images.shape[1:] == SHAPE else None
        self.draws = torch.Generator(self.images.device).manual_seed(run.seed)

    def _encode(self, run):
        with watching(run.model):
            mu, logvar = run.model.encode(self.images)
        self.latent_dim = mu.shape[1]
        logvar = torch.full_like(mu, -math.inf) if logvar is None else logvar
        return mu.detach(), logvar.detach()  # a logvar that is a parameter has a gradient all the same

    def _make_frame(self, run, mu, logvar) -> Frame:
        pair = list(self.pair)
        both = torch.cat([mu[:, pair], torch.exp(0.5 * logvar[:, pair])], 1).float().cpu().numpy()  # (N, 4)
        self.number += 1
        self.extent = view_extent(both[:, :2], both[:, 2:], self.extent)
        knobs = run.knobs
        return Frame(self.number, run.number, both[:, :2], both[:, 2:], self.extent, knobs.effective_beta, knobs.lr)

    @torch.no_grad()
    def _measure(self, run, mu, logvar, playing: bool) -> None:
        kl = kl_to_prior(mu, logvar).mean(0)  # (D,)
        values = [metrics.mean_std(logvar), metrics.spread(mu), kl.sum(), metrics.active_units(mu).sum()]
        std, spread, nats, units, *per_dim = torch.cat([torch.stack([v.float() for v in values]), kl]).tolist()
        if math.isnan(std + spread):
            return  # no numbers any more: the run is about to go back to where there were
        self.kl = per_dim
        self._measure_sharing(run, mu, logvar, playing)
        self.measured = words.Measured(std, spread, nats, int(units), mu.shape[1], **self._shared)
        headline, sentence = words.verdict(self.measured, run.number)
        self.numbers = {
            "state": words.state(self.measured),
            "headline": headline,
            "sentence": sentence,
            "kl": [round(value, 4) if math.isfinite(value) else None for value in per_dim],
            "meters": self.measured.meters(),
        }

    def _measure_sharing(self, run, mu, logvar, playing: bool) -> None:
        """Overlap, continuity and completeness, and what is shown of them: dear, so not at every frame."""
        start = time.monotonic()
        if playing and start - self._measured_at < max(MEASURE_SECONDS, self._measure_cost / self.share):
            return
        # On the pair that is shown: in many dimensions every code is alone, and the plane shows otherwise.
        seen = [v[:, list(self.pair)] for v in (mu, logvar)]
        overlap = metrics.overlap(*(v[:MEASURED] for v in seen)).nan_to_num() if len(mu) > 1 else mu.new_tensor(1.0)
        completeness, continuity = probe.measure(*seen, run.seed)
        shared = torch.stack([overlap, completeness, continuity]).tolist()
        self._shared = dict(zip(("overlap", "completeness", "continuity"), shared, strict=True))
        self._send_probe(run, mu, logvar)
        self._measured_at = time.monotonic()
        self._measure_cost = self._measured_at - start

    def _send_probe(self, run, mu, logvar) -> None:
        with watching(run.model):
            self.plane.probe = probe.picture(
                self.plane.showing,
                mu,
                logvar,
                (self.chosen, self._other()),
                self.pair,
                run.seed,
                lambda z: pixel_mean(run.model.decode(z), run.kind),
            )

    def _other(self) -> int:
        """An image to walk to from the chosen one: the next of another class."""
        n = len(self.images)
        order = [(self.chosen + i) % n for i in range(1, n)] or [self.chosen]
        if self.labels is None:
            return order[0]
        return next((i for i in order if self.labels[i] != self.labels[self.chosen]), order[0])

    def _predict_deaths(self, run) -> None:
        """Of a linear model, where on the scale of β the theory has each dimension die."""
        if self._predicted != (run.data, run.kind):
            self._predicted = (run.data, run.kind)
            self.plane.deaths = []
            if theory.applies_to(run.model, run.kind):
                optimum = theory.linear_vae(theory.eigenvalues(run.images), self.latent_dim, NOISE_VARIANCE)
                self.plane.deaths = optimum.deaths.tolist()

    def _place(self, pairs: torch.Tensor) -> torch.Tensor:
        """Points of the plane (n, 2) → codes (n, D): the dimensions that are not shown are 0."""
        codes = torch.zeros(len(pairs), self.latent_dim, device=self.images.device)
        codes[:, list(self.pair)] = pairs
        return codes

    def _send_backdrop(self, run) -> None:
        codes = self._place(grid(self.extent, TILES, device=self.images.device))
        picture = mosaic(pixel_mean(run.model.decode(codes), run.kind), TILES)
        self.last_backdrop = (picture, self.extent)
        header = {"extent": self.extent, "size": [*picture.shape[:2]], "channels": picture.shape[2]}
        self.plane.backdrop = pack_json(header, picture.tobytes())

    def _send_chosen(self, run) -> None:
        mu = self._send_pictures(run)
        if self.latent_dim > 2:
            self._send_traversals(run, mu[0])

    def _send_pictures(self, run) -> torch.Tensor:
        """x, x̂ at μ and three draws, of the drawing where there is one. Returns μ (1, D)."""
        x, draws, drawn = self.images[self.chosen : self.chosen + 1], self.draws, self.drawing is not None
        if drawn:  # the same ε each time: what moves while it is drawn is the posterior, not the dice
            x, draws = self.drawing, torch.Generator(self.images.device).manual_seed(run.seed)
        mu, logvar, pictures = look(run.model, x, run.kind, draws)
        self.plane.pictures = pictures.tobytes()
        self.plane.drawn = self._mark(mu, logvar) if drawn else {}
        return mu

    def _mark(self, mu, logvar) -> dict:
        """Where the drawing is in the plane: see Plane.drawn."""
        std = torch.zeros_like(mu) if logvar is None else torch.exp(0.5 * logvar)
        mark = torch.stack([mu[0], std[0]])[:, list(self.pair)].flatten().tolist()
        finite = all(math.isfinite(v) for v in mark)
        return {"mark": mark if finite else [], "words": in_words(mu, logvar, self.pair)}

    def _send_traversals(self, run, mu: torch.Tensor) -> None:
        """The chosen image's code with one dimension at a time varied from −3 to 3."""
        dims = sorted(range(self.latent_dim), key=lambda dim: -self.kl[dim])[:TRAVERSED]
        values = torch.linspace(-3, 3, STEPS_ACROSS, device=mu.device)
        codes = torch.cat([traversal(mu, dim, values) for dim in dims])
        images = to_bytes(pixel_mean(run.model.decode(codes), run.kind))
        self.plane.traversals = pack_json({"dims": dims, "across": STEPS_ACROSS}, images.tobytes())


def _page_decoder(model, latent_dim: int, device):
    """The model's `decoder`, when it alone is what `decode` does; else the page asks by message."""
    z = torch.linspace(-2, 2, 3 * latent_dim, device=device).reshape(3, latent_dim)
    try:
        return model.decoder if torch.equal(model.decoder(z), model.decode(z)) else None
    except Exception:  # no such part, or one that takes something else than codes
        return None
