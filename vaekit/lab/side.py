"""One run as the page sees it: its plane, its images and its meters, filled on the trainer thread."""

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from vaekit import metrics, theory
from vaekit.data import as_floats
from vaekit.lab import pictures
from vaekit.lab.drawing import SHAPE, digit, in_words, look
from vaekit.lab.frames import LEAST, Frame, view_extent
from vaekit.lab.meters import Meters
from vaekit.lab.mixture import CODES
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
LARGE = 1024  # values in an image, beyond which the variances take seconds: no deaths are marked

# What hangs on a trait of the plane, and is sent anew when that changes: see Side.send.
TURNED = ("cloud", "meters", "backdrop", "traversals", "drawing")
HANGS_ON = {
    "pair": TURNED,
    "turn": TURNED,
    "noise": ("cloud", "pictures"),
    "factor": ("shades",),
    "chosen": ("pictures", "traversals", "posterior"),
    "strokes": ("pictures", "traversals"),
    "with_posterior": ("posterior",),
    "draw_number": ("sheet",),
    "aggregated": (),  # drawn in the page alone, as is the next; but a task may ask for them
    "scrub": (),
}
DETAILS = ("deaths", "decoder", "backdrop", "pictures", "traversals", "sheet")  # what is large or slow to change


class Side:
    """Fills one `Plane` from a run; its methods are called on the trainer thread, between steps.

    It draws from a generator of its own and puts the model back as it was: looking changes nothing.
    """

    def __init__(self, n_shown: int, pair: tuple[int, int], share: float):
        self.plane, self.meters = Plane(pair=list(pair)), Meters()
        self.n_shown, self.share, self.playing = n_shown, share, False
        self._dear_again = 0.0  # when what is dear to measure is due, so that it takes no more than `share` of the time
        self.number, self.extent = 0, LEAST  # of the last frame
        self.last: Frame | None = None
        self.images, self._source, self._code = None, None, None
        self.drawing: torch.Tensor | None = None  # (1, 1, 28, 28): it is shown in the chosen image's place
        self.factors: dict[str, np.ndarray] = {}  # of each shown image, 0 to 1, where the data set knows them
        self.mixture: Callable | None = None  # what new images are drawn from; None: the prior
        self._predicted: tuple | None = None

    chosen = property(lambda self: self.plane.chosen)
    pair = property(lambda self: tuple(self.plane.pair))
    turn = property(lambda self: Turn(self.pair, self.plane.turn), doc="The page turns what it is sent by itself.")

    def frame(self, run, playing: bool, looked_at: bool) -> None:
        """Show the cloud, and where somebody looks its numbers."""
        self.playing = playing
        self._load(run)
        self.send(run, "cloud", *["meters"] * looked_at)

    def put(self, run, trait: str, value) -> None:
        """Set a trait of the plane, and send what hangs on it."""
        setattr(self.plane, trait, value)
        self.send(run, *HANGS_ON[trait])

    def send(self, run, *parts: str) -> None:
        """Send these parts to the page: each is a method below."""
        with watching(run.model):
            for part in parts:
                getattr(self, f"_send_{part}")(run)

    def draw(self, _, strokes: list) -> None:
        """Have a drawing in the chosen image's place; without strokes, the chosen image again. "strokes" sends it."""
        self.drawing = digit(strokes)[None].to(self.images) if strokes and self.images.shape[1:] == SHAPE else None

    def decode(self, run, z: list[float]) -> None:
        """For decoders that the page cannot run: the image at `z` on the shown pair."""
        with watching(run.model):
            pixels = pictures.decoded(run, self._place(self.images.new_tensor([z])))
        self.plane.send({"kind": "decoded", "z": z}, buffers=[pixels.tobytes()])

    def codes(self, run) -> torch.Tensor:
        """The codes of the data set's first images, (N, D)."""
        images = run.images[:CODES]
        with watching(run.model):
            parts = [run.model.encode(as_floats(some).to(self.images.dtype))[0] for some in images.split(1000)]
        return torch.cat(parts).detach()

    def _load(self, run) -> None:
        """Take the shown images from the run's data set when it is another than before."""
        images = run.sets[run.settings["data"]]
        if self._source is images:
            return
        self._source, self.mixture, shown = images, None, images.first(self.n_shown)
        self.images = as_floats(shown.images).to(next(run.model.parameters()).dtype)
        has_classes = shown.labels is not None and shown.labels.max() < 256  # the page has a byte for each
        self.plane.shape = list(self.images.shape[1:])
        self.plane.classes = shown.labels.cpu().numpy().astype(np.uint8).tobytes() if has_classes else b""
        factors = getattr(shown, "factors", None)
        self.factors = {} if factors is None else dict(zip(shown.factor_names, factors.T.cpu().numpy(), strict=True))
        varied = [i for i, values in enumerate(self.factors.values()) if np.ptp(values)]
        self.meters.truth = factors[:, varied] if varied else None
        self.put(run, "factor", self.plane.factor if self.plane.factor in self.factors else "")
        self.plane.chosen = min(self.chosen, len(self.images) - 1)
        self.drawing = self.drawing if self.images.shape[1:] == SHAPE else None
        self.draws = torch.Generator(self.images.device).manual_seed(run.seed)

    def _place(self, pairs: torch.Tensor) -> torch.Tensor:
        """Points of the plane (n, 2) → codes for the decoder (n, D): the dimensions that are not shown are 0."""
        codes = self.images.new_zeros(len(pairs), self.latent_dim)
        codes[:, list(self.pair)] = pairs.to(codes.dtype)
        return self.turn.back(codes)

    # -- the parts ----------------------------------------------------------------------------------------

    def _send_cloud(self, run) -> None:
        mu, logvar = run.model.encode(self.images)
        self.latent_dim, self.plane.autoencoder = mu.shape[1], logvar is None
        logvar = torch.full_like(mu, -math.inf) if logvar is None else logvar
        self._codes = mu, logvar = mu.detach(), logvar.detach()  # one that is a parameter has a gradient all the same
        std = torch.full_like(mu, self.plane.noise) if self.plane.noise else torch.exp(0.5 * logvar)
        places = torch.cat([mu[:, list(self.pair)], std[:, list(self.pair)]], 1)  # (N, 4)
        centres, std = np.split(places.float().cpu().numpy(), 2, axis=1)
        self.number, self.extent = self.number + 1, view_extent(centres @ self.turn.matrix.T, std, self.extent)
        self.last = Frame(self.number, run.number, centres, std, self.extent, run.knobs.effective_beta)
        self.plane.frame = self.last.state()

    def _send_meters(self, run) -> None:
        began = time.monotonic()
        dear = not self.playing or began >= self._dear_again
        self.meters.measure(run, *self._codes, self.turn, self.plane.autoencoder, dear)
        if dear:
            ended = time.monotonic()
            self._dear_again = ended + max(MEASURE_SECONDS, (ended - began) / self.share)

    def _send_shades(self, _) -> None:
        factor = self.plane.factor
        self.plane.shades = (255 * self.factors[factor]).round().astype(np.uint8).tobytes() if factor else b""

    def _send_deaths(self, run) -> None:
        """Of a linear model, where on the scale of β the theory has each dimension die."""
        now = (run.settings["data"], run.settings["kind"])
        if self._predicted != now:
            self._predicted, self.plane.deaths = now, []
            if run.images[0].numel() <= LARGE and theory.applies_to(run.model, run.settings["kind"]):
                variances = theory.eigenvalues(run.images)
                dims = min(self.latent_dim, len(variances))  # those beyond have nothing to say
                self.plane.deaths = theory.linear_vae(variances, dims, NOISE_VARIANCE).deaths.tolist()

    def _send_decoder(self, run) -> None:
        self.plane.decoder = pictures.page_decoder(run, self.latent_dim, self.images)

    def _send_backdrop(self, run) -> None:
        places = self._place(grid(self.extent, TILES, device=self.images.device))
        tiles = pictures.decoded(run, places)  # (15², C, H, W)
        _, c, h, w = tiles.shape
        pixels = tiles.reshape(TILES, TILES, c, h, w).transpose(0, 3, 1, 4, 2).tobytes()  # row by row
        size = TILES * h, TILES * w
        self.plane.backdrop = {"extent": self.extent, "size": size, "channels": c, "pixels": pixels}

    def _send_pictures(self, run) -> None:
        """x, x̂ at μ and three draws, of the drawing where there is one."""
        x, draws, drawn = self.images[self.chosen : self.chosen + 1], self.draws, self.drawing is not None
        if drawn:  # the same ε each time: what moves while it is drawn is the posterior, not the dice
            x, draws = self.drawing, torch.Generator(self.images.device).manual_seed(run.seed)
        self._code, logvar, images = look(run.model, x, run.settings["kind"], draws, self.plane.noise)
        self.plane.pictures = images.tobytes()
        self.plane.drawn = self._mark(self._code, logvar) if drawn else {}

    def _mark(self, mu: torch.Tensor, logvar: torch.Tensor) -> dict:
        """Where the drawing is in the plane: see Plane.drawn."""
        mark = torch.cat([mu, torch.exp(0.5 * logvar)])[:, list(self.pair)]
        words = in_words(self.turn.codes(mu), self.turn.logvar(logvar), self.pair)
        return {"mark": mark.flatten().tolist() if mark.isfinite().all() else [], "words": words}

    def _send_drawing(self, run) -> None:
        if self.drawing is not None:
            self._send_pictures(run)

    def _send_traversals(self, run) -> None:
        """Of more than two dimensions, the code of what is in full view with those that say most varied."""
        if self.latent_dim > 2 and self._code is not None:
            kl = self.meters.kl or [0.0] * self.latent_dim  # not a number from the start
            dims = sorted(range(self.latent_dim), key=lambda dim: -kl[dim])[:TRAVERSED]
            self.plane.traversals = pictures.traversals(run, self._code, dims, self.turn)

    def _send_posterior(self, run) -> None:
        x = self.images[self.chosen : self.chosen + 1]
        self.plane.posterior = pictures.true_posterior(run, x) if self.plane.with_posterior else {}

    def _send_sheet(self, run) -> None:
        if not self.plane.draw_number:
            self.plane.sheet = b""
            return
        seed, like = run.seed + self.plane.draw_number, self.images.new_empty(0, self.latent_dim)
        draws = torch.Generator(like.device).manual_seed(seed)
        z = self.mixture(NEW, seed) if self.mixture else metrics.prior_draws(like, NEW, draws)
        self.plane.sheet = pictures.decoded(run, z).tobytes()
