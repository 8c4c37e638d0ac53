"""One run as the page sees it: its plane, its images and its meters, filled on the trainer thread."""

import math
import time
from functools import partial

import numpy as np
import torch

from vaekit import metrics, theory
from vaekit.data import as_floats
from vaekit.lab import probe, words
from vaekit.lab.drawing import SHAPE, digit, in_words, look
from vaekit.lab.frames import Frame, mosaic, pack_decoder, pack_json, to_bytes, view_extent
from vaekit.lab.mixture import CODES, Mixture
from vaekit.lab.page import Plane
from vaekit.latent import grid, traversal
from vaekit.losses import NOISE_VARIANCE, kl_to_prior, pixel_mean, reconstruction_nll
from vaekit.model import watching

TILES = 15  # decoded images along one side of the backdrop
MEASURED = 500  # codes that the overlap is measured on: its cost grows with their square
MEASURE_SHARE = 0.03  # of the time may go into overlap, continuity and completeness
MEASURE_SECONDS = 1.0  # between two such measurements while playing, at least
TRAVERSED = 5  # latent dimensions that are traversed: those that say most
REACH, LATTICE = 4.0, 41  # the true posterior: so many σ to each side, so many points along one side
HELD = (1 - math.exp(-0.5), 1 - math.exp(-2.0))  # what a Gaussian's ellipses of σ and 2 σ hold
NEW = 20  # images on the sheet of new ones
STEPS_ACROSS = 9  # images of a traversal, from −3 to 3


class Side:
    """Fills one `Plane` from a run; its methods are called on the trainer thread, between steps.

    It draws from a generator of its own and puts the model back as it was: looking changes nothing.
    """

    def __init__(self, n_shown: int = 1000, pair: tuple[int, int] = (0, 1), share: float = MEASURE_SHARE):
        self.plane = Plane(pair=list(pair))
        self.n_shown, self.pair, self.share = n_shown, pair, share
        self.number, self.extent = 0, 3.8
        self.last: Frame | None = None
        self.last_backdrop: tuple[np.ndarray, float] | None = None
        self.labels: np.ndarray | None = None
        self.chosen, self.images, self._source = 0, None, None
        self.drawing: torch.Tensor | None = None  # (1, 1, 28, 28): it is shown in the chosen image's place
        self.true_posterior, self.noise = False, 0.0
        self.factors: dict[str, np.ndarray] = {}  # of each shown image, 0 to 1, where the data set knows them
        self.mixture: Mixture | None = None  # what new images are drawn from; None: the prior
        self.draw_number: int | None = None  # of the sheet of new images that is shown
        self.measured: words.Measured | None = None
        self.numbers: dict = {}
        self.kl: list[float] = []
        self._predicted: tuple | None = None
        self._measured_at, self._measure_cost = -math.inf, 0.0
        self._shared: dict[str, float] = {}

    # -- what the engine asks for -------------------------------------------------------------------------

    def frame(self, run, playing: bool, looked_at: bool = True) -> None:
        """Show the cloud, and where somebody looks its numbers."""
        self.load(run)
        mu, logvar = self._encode(run)
        std = torch.full_like(mu, self.noise) if self.noise else torch.exp(0.5 * logvar)
        places = torch.cat([mu[:, list(self.pair)], std[:, list(self.pair)]], 1)  # (N, 4)
        centres, std = np.split(places.float().cpu().numpy(), 2, axis=1)
        self.number, self.extent = self.number + 1, view_extent(centres, std, self.extent)
        self.last = Frame(self.number, run.number, centres, std, self.extent, run.knobs.effective_beta)
        self.plane.frame = self.last.pack()
        if looked_at or not playing:
            self._measure(run, mu, logvar, playing)

    def details(self, run) -> None:
        """Show what is large or slow to change."""
        self.load(run)
        self._predict_deaths(run)
        with watching(run.model):
            decoder = _page_decoder(run.model, self.latent_dim, self.images)
            about = (run.number, self.latent_dim, run.settings["kind"])
            self.plane.decoder = pack_decoder(decoder, *about) if decoder else b""
            self._send_backdrop(run)
            self._send_chosen(run)
            self._send_sheet(run)

    # -- what the page asks for ---------------------------------------------------------------------------

    def choose(self, run, index: int) -> None:
        """Show the image `index` in full."""
        if 0 <= index < len(self.images):
            self.chosen = self.plane.chosen = index
            with watching(run.model):
                self._send_chosen(run)
                self._send_posterior(run)
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
            pixels = to_bytes(_decode(run, self._place(self.images.new_tensor([z]))))
        self.plane.send({"kind": "decoded", "z": z}, buffers=[pixels.tobytes()])

    def show(self, run, what: str) -> None:
        """Show "draws" from the prior or a "walk" in the plane, or neither: ""."""
        self.plane.showing = what
        self._send_probe(run, *self._encode(run))

    def colour_by(self, _, factor: str) -> None:
        """Colour the dots by one of `factors`; "": by their class."""
        self.plane.shades = (255 * self.factors[factor]).round().astype(np.uint8).tobytes() if factor else b""
        self.plane.factor = factor

    def codes(self, run) -> torch.Tensor:
        """The codes of the data set's first images, (N, D)."""
        images = run.images[:CODES]
        with watching(run.model):
            parts = [run.model.encode(as_floats(some).to(self.images.dtype))[0] for some in images.split(1000)]
        return torch.cat(parts).detach()

    def add_noise(self, run, noise: float) -> None:
        """Show draws at a distance of noise · ε from an autoencoder's codes."""
        self.noise = self.plane.noise = noise
        self.frame(run, playing=True, looked_at=False)  # the cloud alone: nothing else has changed
        with watching(run.model):
            self._send_pictures(run)

    def show_posterior(self, run, shown: bool) -> None:
        """Show the true posterior p(z|x) of the chosen image; of two dimensions."""
        self.true_posterior = shown
        self.follow_posterior(run)

    def follow_posterior(self, run) -> None:
        """The true posterior by now."""
        with watching(run.model):
            self._send_posterior(run)

    def show_new(self, run, number: int | None) -> None:
        """Show images decoded from draw `number` of the prior; None: no more."""
        self.draw_number = number
        with watching(run.model):
            self._send_sheet(run)

    def show_pair(self, run, pair: tuple[int, int]) -> None:
        """Show these two dimensions of the latent space."""
        if pair != self.pair:
            self.pair, self.plane.pair = pair, list(pair)
            self.frame(run, playing=False)  # overlap and the like are the plane's
            with watching(run.model):
                self._send_backdrop(run)
            self.follow_drawing(run)

    # -- inside -------------------------------------------------------------------------------------------

    def load(self, run) -> None:
        """Take the shown images from the run's data set when it is another than before."""
        images = run.sets[run.settings["data"]]
        if self._source is images:
            return
        self._source, self.mixture, shown = images, None, images.first(self.n_shown)
        self.images = as_floats(shown.images).to(next(run.model.parameters()).dtype)
        self.labels = None if shown.labels is None else shown.labels.cpu().numpy()
        self.plane.shape = list(self.images.shape[1:])
        self.plane.classes = b"" if self.labels is None else self.labels.astype(np.uint8).tobytes()
        factors = getattr(shown, "factors", None)
        names = () if factors is None else shown.factor_names
        self.factors = {name: factors[:, i].cpu().numpy() for i, name in enumerate(names)}
        self.colour_by(run, self.plane.factor if self.plane.factor in self.factors else "")
        self.chosen = self.plane.chosen = min(self.chosen, len(self.images) - 1)
        self.drawing = self.drawing if self.images.shape[1:] == SHAPE else None
        self.draws = torch.Generator(self.images.device).manual_seed(run.seed)

    def _encode(self, run):
        with watching(run.model):
            mu, logvar = run.model.encode(self.images)
        self.latent_dim = mu.shape[1]
        self.plane.autoencoder = logvar is None
        logvar = torch.full_like(mu, -math.inf) if logvar is None else logvar
        return mu.detach(), logvar.detach()  # a logvar that is a parameter has a gradient all the same

    @torch.no_grad()
    def _measure(self, run, mu, logvar, playing: bool) -> None:
        kl = kl_to_prior(mu, logvar).mean(0)  # (D,)
        values = [metrics.mean_std(logvar), metrics.spread(mu), kl.sum(), metrics.active_units(mu).sum()]
        std, spread, nats, units, *per_dim = torch.cat([torch.stack([v.float() for v in values]), kl]).tolist()
        if math.isnan(std + spread):
            return  # no numbers any more: the run is about to go back to where there were
        self.kl = per_dim
        self._measure_sharing(run, mu, logvar, playing)
        about = {"autoencoder": self.plane.autoencoder, **self._shared}
        self.measured = words.Measured(std, spread, nats, int(units), mu.shape[1], **about)
        headline, sentence = words.verdict(self.measured, run.number)
        self.numbers = {"state": words.state(self.measured), "headline": headline, "sentence": sentence}
        self.numbers["kl"] = [round(value, 4) if math.isfinite(value) else None for value in per_dim]
        self.numbers["meters"] = self.measured.meters()

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
            ends = (self.chosen, self._other())
            about = (self.pair, run.seed, partial(_decode, run))
            self.plane.probe = probe.picture(self.plane.showing, mu, logvar, ends, *about)

    def _other(self) -> int:
        """An image to walk to from the chosen one: the next of another class."""
        n, labels = len(self.images), self.labels
        order = [(self.chosen + i) % n for i in range(1, n)] or [self.chosen]
        return next((i for i in order if labels is None or labels[i] != labels[self.chosen]), order[0])

    def _predict_deaths(self, run) -> None:
        """Of a linear model, where on the scale of β the theory has each dimension die."""
        now = (run.settings["data"], run.settings["kind"])
        if self._predicted != now:
            self._predicted, self.plane.deaths = now, []
            if theory.applies_to(run.model, run.settings["kind"]):
                variances = theory.eigenvalues(run.images, self.latent_dim)
                self.plane.deaths = theory.linear_vae(variances, self.latent_dim, NOISE_VARIANCE).deaths.tolist()

    def _place(self, pairs: torch.Tensor) -> torch.Tensor:
        """Points of the plane (n, 2) → codes (n, D): the dimensions that are not shown are 0."""
        codes = self.images.new_zeros(len(pairs), self.latent_dim)
        codes[:, list(self.pair)] = pairs.to(codes.dtype)
        return codes

    def _send_backdrop(self, run) -> None:
        picture = mosaic(_decode(run, self._place(grid(self.extent, TILES, device=self.images.device))), TILES)
        self.last_backdrop = (picture, self.extent)
        header = {"extent": self.extent, "size": [*picture.shape[:2]], "channels": picture.shape[2]}
        self.plane.backdrop = pack_json(header, picture.tobytes())

    def _send_chosen(self, run) -> None:
        """The pictures, and of more than two dimensions μ's code with one at a time varied from −3 to 3."""
        mu = self._send_pictures(run)
        if self.latent_dim > 2:
            kl = self.kl or [0.0] * self.latent_dim  # not a number from the start
            dims = sorted(range(self.latent_dim), key=lambda dim: -kl[dim])[:TRAVERSED]
            values = torch.linspace(-3, 3, STEPS_ACROSS, device=mu.device, dtype=mu.dtype)
            codes = torch.cat([traversal(mu[0], dim, values) for dim in dims])
            images = to_bytes(_decode(run, codes)).tobytes()
            self.plane.traversals = pack_json({"dims": dims, "across": STEPS_ACROSS}, images)

    def _send_posterior(self, run) -> None:
        """p(z|x) ∝ p(x|z) p(z) on a lattice around the chosen image's ellipse, and the heights that hold HELD of it."""
        if not self.true_posterior:
            self.plane.posterior = b""
            return
        x = self.images[self.chosen : self.chosen + 1]
        mu, logvar = run.model.encode(x)
        std, line = torch.exp(0.5 * logvar), torch.linspace(-REACH, REACH, LATTICE, device=x.device, dtype=x.dtype)
        z = mu + std * torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)  # (41², 2), from below
        nll = reconstruction_nll(run.model.decode(z), x.expand(len(z), *x.shape[1:]), run.settings["kind"])
        weights = torch.softmax(-nll - 0.5 * z.square().sum(1), 0).float().cpu().numpy()
        falling = np.sort(weights)[::-1]
        levels = [float(falling[np.searchsorted(falling.cumsum(), held).clip(0, len(z) - 1)]) for held in HELD]
        header = {"centre": mu[0].tolist(), "scale": std[0].tolist(), "reach": REACH, "levels": levels}
        self.plane.posterior = pack_json(header | {"squares": LATTICE - 1}, weights.astype("<f4").tobytes())

    def _send_sheet(self, run) -> None:
        if self.draw_number is None:
            self.plane.sheet = b""
            return
        generator = torch.Generator(self.images.device).manual_seed(run.seed + self.draw_number)
        prior = self.images.new_empty(0, self.latent_dim)
        z = self.mixture.draw(NEW, generator) if self.mixture else metrics.prior_draws(prior, NEW, generator)
        self.plane.sheet = to_bytes(_decode(run, z)).tobytes()

    def _send_pictures(self, run) -> torch.Tensor:
        """x, x̂ at μ and three draws, of the drawing where there is one. Returns μ (1, D)."""
        x, draws, drawn = self.images[self.chosen : self.chosen + 1], self.draws, self.drawing is not None
        if drawn:  # the same ε each time: what moves while it is drawn is the posterior, not the dice
            x, draws = self.drawing, torch.Generator(self.images.device).manual_seed(run.seed)
        mu, logvar, pictures = look(run.model, x, run.settings["kind"], draws, self.noise)
        self.plane.pictures = pictures.tobytes()
        self.plane.drawn = self._mark(mu, logvar) if drawn else {}
        return mu

    def _mark(self, mu, logvar) -> dict:
        """Where the drawing is in the plane: see Plane.drawn."""
        std = torch.zeros_like(mu) if logvar is None else torch.exp(0.5 * logvar)
        mark = torch.stack([mu[0], std[0]])[:, list(self.pair)].flatten().tolist()
        finite = all(math.isfinite(v) for v in mark)
        return {"mark": mark if finite else [], "words": in_words(mu, logvar, self.pair)}


def _decode(run, codes: torch.Tensor) -> torch.Tensor:
    """Codes (n, D) → the means of their pixels, (n, C, H, W) in [0, 1]."""
    return pixel_mean(run.model.decode(codes), run.settings["kind"])


def _page_decoder(model, latent_dim: int, like: torch.Tensor):
    """Return the model's `decoder` when it alone is what `decode` does; else the page asks by message."""
    z = torch.linspace(-2, 2, 3 * latent_dim, device=like.device, dtype=like.dtype).reshape(3, latent_dim)
    try:
        return model.decoder if torch.equal(model.decoder(z), model.decode(z)) else None
    except Exception:  # no such part, or one that takes something else than codes
        return None
