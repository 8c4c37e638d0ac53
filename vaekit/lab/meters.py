"""What the meters show of a run: measured on the shown images' posteriors."""

import math

import numpy as np
import torch
from torch import Tensor

from vaekit import metrics
from vaekit.lab import words
from vaekit.lab.frames import pack_json
from vaekit.lab.turn import Turn
from vaekit.losses import kl_to_prior

MEASURED = 500  # codes that the overlap is measured on: its cost grows with their square
BINS = 20  # of the MIG
DRAWS = 400  # from the prior, for the completeness: a standard error of 0.025 at most
WALKS, POINTS = 100, 4  # for the continuity
CODES = 1000  # that I(x; z) is estimated on, at most: the cost grows with their square
NEAR = 0.7  # nats from ln N, the most that N codes can show
ROWS = 256  # of the parts' history


class Meters:
    """What was measured last: `measured` as numbers, `numbers` for the page, `kl` of each dimension, `parts` of the KL.

    truth: (N, F), the factors that the shown images were drawn from, where they are known.
    """

    def __init__(self):
        self.measured: words.Measured | None = None
        self.numbers: dict = {}
        self.kl: list[float] = []
        self.parts = Parts()
        self.truth: Tensor | None = None
        self._dear: dict[str, float] = {}

    @torch.no_grad()
    def measure(self, run, mu: Tensor, logvar: Tensor, turn: Turn, autoencoder: bool, dear: bool) -> None:
        """Measure codes mu, logvar (N, D), as they are shown; `dear`: also what costs more than a frame may."""
        shown = turn.codes(mu)
        kl = kl_to_prior(shown, turn.logvar(logvar)).mean(0)  # (D,); turned, they leave out what the two share
        values = [metrics.mean_std(logvar), metrics.spread(mu), kl_to_prior(mu, logvar).mean(0).sum()]
        values.append(metrics.active_units(shown).sum())
        std, spread, nats, units, *per_dim = torch.cat([torch.stack([v.float() for v in values]), kl]).tolist()
        if math.isnan(std + spread):
            return  # no numbers any more: the run is about to go back to where there were
        self.kl = per_dim
        if dear or not self._dear:
            self._dear = self._plane(run, mu, logvar, list(turn.pair)) | {"mig": self._gap(shown)}
            if not autoencoder:
                names = ("information", "aggregated_kl")
                self._dear |= zip(names, self.parts.measure(run.number, mu, logvar, run.seed), strict=True)
        about = {"autoencoder": autoencoder, **self._dear}
        self.measured = words.Measured(std, spread, nats, int(units), mu.shape[1], **about)
        headline, sentence = words.verdict(self.measured, run.number)
        self.numbers = {"state": words.state(self.measured), "headline": headline, "sentence": sentence}
        self.numbers["kl"] = [round(value, 4) if math.isfinite(value) else None for value in per_dim]
        self.numbers["meters"] = self.measured.meters()

    def _plane(self, run, mu: Tensor, logvar: Tensor, pair: list[int]) -> dict[str, float]:
        # On the pair that is shown: in many dimensions every code is alone, and the plane shows otherwise.
        seen = [v[:, pair] for v in (mu, logvar)]
        overlap = metrics.overlap(*(v[:MEASURED] for v in seen)).nan_to_num() if len(mu) > 1 else mu.new_tensor(1.0)
        values = torch.stack([overlap, *measure_places(*seen, run.seed)]).tolist()
        return dict(zip(("overlap", "completeness", "continuity"), values, strict=True))

    def _gap(self, mu: Tensor) -> float:
        """The MIG of the codes, the mean over the factors; NaN where they are not known."""
        if self.truth is None or not mu.isfinite().all():
            return math.nan
        return metrics.mutual_information_gap(mu, self.truth, min(BINS, len(mu))).gap.mean().item()


def measure_places(mu: Tensor, logvar: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """(completeness, continuity) of the codes mu, logvar (N, D), each ().

    At the same draws every time: what moves is then the model, not the dice. The run's generator is not touched.
    """
    generator = torch.Generator(mu.device).manual_seed(seed)
    completeness = metrics.completeness(mu, logvar, generator, draws=DRAWS)
    if len(mu) < 2:
        return completeness, torch.ones_like(completeness)
    return completeness, metrics.continuity(mu, logvar, generator, pairs=WALKS, points=POINTS)


class Parts:
    """rows: step, I(x; z), KL(q(z) ‖ p(z)), the last two NaN where they are not known. why: they are not known now."""

    def __init__(self):
        self.rows: list[tuple[float, float, float]] = []
        self.why = ""

    def measure(self, step: int, mu: Tensor, logvar: Tensor, seed: int) -> tuple[float, float]:
        """Return the two parts of the codes' mean KL at `step`, in nats; what was known of later steps is forgotten."""
        self.why, found = "", (math.nan, math.nan)
        if mu.shape[1] > 2:
            self.why = "I(x; z) is estimated in two dimensions only"
        else:
            found = self._estimate(mu[:CODES], logvar[:CODES], torch.Generator(mu.device).manual_seed(seed))
        self.rows = [row for row in self.rows if row[0] < step] + [(step, *found)]
        if len(self.rows) > ROWS:
            del self.rows[-2::-2]
        return found

    def _estimate(self, mu: Tensor, logvar: Tensor, generator: torch.Generator) -> tuple[float, float]:
        information, most = metrics.mutual_information(mu, logvar, generator).item(), math.log(len(mu))
        if information < most - NEAR:
            return information, kl_to_prior(mu, logvar).sum(1).mean().item() - information
        self.why = f"I(x; z) is near ln {len(mu)} = {most:.1f}, the most that so many codes can show"
        return math.nan, math.nan


def pack_parts(runs: list[Parts]) -> bytes:
    """Of each run why, and its rows, f32: see frames.pack_json."""
    rows = [np.array(parts.rows, "<f4").tobytes() for parts in runs]
    return pack_json({"why": [parts.why for parts in runs], "rows": rows})
