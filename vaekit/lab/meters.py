"""What the meters show of a run: measured on the shown images' posteriors."""

import math

import torch
from torch import Tensor

from vaekit import metrics
from vaekit.lab import probe, words
from vaekit.lab.parts import Parts
from vaekit.lab.turn import Turn
from vaekit.losses import kl_to_prior

MEASURED = 500  # codes that the overlap is measured on: its cost grows with their square
BINS = 20  # of the MIG


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
        values = torch.stack([overlap, *probe.measure(*seen, run.seed)]).tolist()
        return dict(zip(("overlap", "completeness", "continuity"), values, strict=True))

    def _gap(self, mu: Tensor) -> float:
        """The MIG of the codes, the mean over the factors; NaN where they are not known."""
        if self.truth is None or not mu.isfinite().all():
            return math.nan
        return metrics.mutual_information_gap(mu, self.truth, min(BINS, len(mu))).gap.mean().item()
