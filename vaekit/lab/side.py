"""One run as the page sees it: its plane, its images and its meters, filled on the trainer thread."""

import math
from functools import partial

import numpy as np
import torch

from vaekit import metrics, theory
from vaekit.data import as_floats
from vaekit.lab import pictures, probe
from vaekit.lab.clock import Pace
from vaekit.lab.drawing import SHAPE, digit, in_words, look
from vaekit.lab.frames import Frame, mosaic, pack_decoder, pack_json, to_bytes, view_extent
from vaekit.lab.meters import Meters
from vaekit.lab.mixture import CODES, Mixture
from vaekit.lab.page import Plane
from vaekit.lab.turn import Turn
from vaekit.latent import grid
from vaekit.losses import NOISE_VARIANCE
from vaekit.model import watching

TILES = 15  # decoded images along one side of the backdrop
MEASURE_SHARE = 0.03  # of the time may go into what is dear to measure, and what is shown of it
MEASURE_SECONDS = 1.0  # between two such measurements while playing, at least
TRAVERSED = 5  # latent dimensions that are traversed: those that say most
NEW = 20  # images on the sheet of new ones


class Side:
    """Fills one `Plane` from a run; its methods are called on the trainer thread, between steps.

    It draws from a generator of its own and puts the model back as it was: looking changes nothing.
    """

    def __init__(self, n_shown: int = 1000, pair: tuple[int, int] = (0, 1), share: float = MEASURE_SHARE):
        self.plane = Plane(pair=list(pair))
        self.n_shown, self.pair, self.pace = n_shown, pair, Pace(MEASURE_SECONDS, share)
        self.meters = Meters()
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
        self._predicted: tuple | None = None

    # -- what the engine asks for -------------------------------------------------------------------------

    def frame(self, run, playing: bool, looked_at: bool = True) -> None:
        """Show the cloud, and where somebody looks its numbers."""
        self.load(run)
        mu, logvar = self._encode(run)
        std = torch.full_like(mu, self.noise) if self.noise else torch.exp(0.5 * logvar)
        places = torch.cat([mu[:, list(self.pair)], std[:, list(self.pair)]], 1)  # (N, 4)
        centres, std = np.split(places.float().cpu().numpy(), 2, axis=1)
        self.number, self.extent = self.number + 1, view_extent(centres @ self.turn.matrix.T, std, self.extent)
        self.last = Frame(self.number, run.number, centres, std, self.extent, run.knobs.effective_beta)
        self.plane.frame = self.last.pack()
        if looked_at or not playing:
            dear = self.pace.begins(playing)
            self.meters.measure(run, mu, logvar, self.turn, self.plane.autoencoder, dear)
            if dear:
                self._send_probe(run, mu, logvar)
                self.pace.ends()

    def details(self, run) -> None:
        """Show what is large or slow to change."""
        self.load(run)
        self._predict_deaths(run)
        with watching(run.model):
            decoder = pictures.page_decoder(run.model, self.latent_dim, self.images)
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
            pixels = to_bytes(pictures.decoded(run, self._place(self.images.new_tensor([z]))))
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
            self.show_turned(run, playing=False)  # overlap and the like are the plane's

    def show_turned(self, run, playing: bool) -> None:
        """Show what hangs on the pair of dimensions, and on the angle by which their code is turned, `plane.turn`."""
        self.frame(run, playing)
        with watching(run.model):
            self._send_backdrop(run)
            self._send_traversals(run)
        self.follow_drawing(run)

    @property
    def turn(self) -> Turn:
        """How the code is turned in the plane; the page turns what it is sent by itself."""
        return Turn(self.pair, self.plane.turn)

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
        varied = [i for i in range(len(names)) if len(factors[:, i].unique()) > 1]
        self.meters.truth = factors[:, varied] if varied else None
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

    def _send_probe(self, run, mu, logvar) -> None:
        with watching(run.model):
            ends = (self.chosen, self._other())
            about = (self.pair, run.seed, partial(pictures.decoded, run))
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
        """Points of the plane (n, 2) → codes for the decoder (n, D): the dimensions that are not shown are 0."""
        codes = self.images.new_zeros(len(pairs), self.latent_dim)
        codes[:, list(self.pair)] = pairs.to(codes.dtype)
        return self.turn.back(codes)

    def _send_backdrop(self, run) -> None:
        places = self._place(grid(self.extent, TILES, device=self.images.device))
        picture = mosaic(pictures.decoded(run, places), TILES)
        self.last_backdrop = (picture, self.extent)
        header = {"extent": self.extent, "size": [*picture.shape[:2]], "channels": picture.shape[2]}
        self.plane.backdrop = pack_json(header, picture.tobytes())

    def _send_chosen(self, run) -> None:
        self._send_pictures(run)
        self._send_traversals(run)

    def _send_traversals(self, run) -> None:
        """Of more than two dimensions, the shown code with those that say most varied."""
        if self.latent_dim > 2:
            kl = self.meters.kl or [0.0] * self.latent_dim  # not a number from the start
            dims = sorted(range(self.latent_dim), key=lambda dim: -kl[dim])[:TRAVERSED]
            x = self.images[self.chosen : self.chosen + 1] if self.drawing is None else self.drawing
            decode = partial(pictures.decoded, run)
            self.plane.traversals = pictures.traversals(run.model.encode(x)[0], dims, self.turn, decode)

    def _send_posterior(self, run) -> None:
        x = self.images[self.chosen : self.chosen + 1]
        self.plane.posterior = pictures.true_posterior(run, x) if self.true_posterior else b""

    def _send_sheet(self, run) -> None:
        if self.draw_number is None:
            self.plane.sheet = b""
            return
        generator = torch.Generator(self.images.device).manual_seed(run.seed + self.draw_number)
        prior = self.images.new_empty(0, self.latent_dim)
        z = self.mixture.draw(NEW, generator) if self.mixture else metrics.prior_draws(prior, NEW, generator)
        self.plane.sheet = to_bytes(pictures.decoded(run, z)).tobytes()

    def _send_pictures(self, run) -> None:
        """x, x̂ at μ and three draws, of the drawing where there is one."""
        x, draws, drawn = self.images[self.chosen : self.chosen + 1], self.draws, self.drawing is not None
        if drawn:  # the same ε each time: what moves while it is drawn is the posterior, not the dice
            x, draws = self.drawing, torch.Generator(self.images.device).manual_seed(run.seed)
        mu, logvar, images = look(run.model, x, run.settings["kind"], draws, self.noise)
        self.plane.pictures = images.tobytes()
        self.plane.drawn = self._mark(mu, logvar) if drawn else {}

    def _mark(self, mu, logvar) -> dict:
        """Where the drawing is in the plane: see Plane.drawn."""
        std = torch.zeros_like(mu) if logvar is None else torch.exp(0.5 * logvar)
        mark = torch.stack([mu[0], std[0]])[:, list(self.pair)].flatten().tolist()
        finite = all(math.isfinite(v) for v in mark)
        logvar = None if logvar is None else self.turn.logvar(logvar)
        return {"mark": mark if finite else [], "words": in_words(self.turn.codes(mu), logvar, self.pair)}
