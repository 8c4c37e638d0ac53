"""What the meters show of a run, in numbers and in words: from what is measured, never from where a switch stands."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit import metrics
from vaekit.lab.turn import Turn
from vaekit.losses import kl_to_prior

MEASURED = 500  # codes that the overlap is measured on: its cost grows with their square
BINS = 20  # of the MIG
DRAWS = 400  # from the prior, for the completeness: a standard error of 0.025 at most
WALKS, POINTS = 100, 4  # for the continuity
CODES = 1000  # that I(x; z) is estimated on, at most: the cost grows with their square
NEAR = 0.7  # nats from ln N, the most that N codes can show
ROWS = 256  # of the parts' history
OVERLAP, COVERED = 0.6, 0.5  # a cloud has more overlap, and at least so much of the prior's draws
SILENT = 0.1  # nats of KL: codes never say more about the image than their mean KL

# What is said of each picture, a headline and a sentence; the first that holds, see `verdict`.
VERDICTS = {
    "codes": "Points. An autoencoder's code is a point: its training asks nothing of the places between.",
    "untrained": "Untrained. Every image has nearly the same code, close to the prior.",
    "prior": "Posterior = prior. All images share nearly one code: it says nothing about the image, "
    "however high the coverage.",
    "points": "σ → 0. The codes have shrunk to points: hardly any two overlap.",
    "one code": "One code for all. Every image has nearly the same code, but it is not the prior's.",
    "between": "In between. The codes overlap only in part ({overlap:.0%} with the nearest): "
    "there are gaps between them.",
    "beside": "Beside the prior. The codes overlap, but only {completeness:.0%} of the prior's draws fall among them.",
    "part": "A cloud, in part. The codes overlap, but {silent} of {latent_dim} units {say} nothing.",
    "cloud": "A cloud. The codes overlap ({overlap:.0%} with the nearest): a small step in z stays among codes.",
}


@dataclass(frozen=True)
class Measured:
    """What the plane shows, as numbers: see vaekit.metrics. KL in nats per image.

    Overlap, completeness and continuity are measured on the two dimensions that the plane shows. mig: the mutual
    information gap, where the factors of the images are known. information, aggregated_kl: I(x; z) and
    KL(q(z) ‖ p(z)), which make up the KL, where the shown codes are enough to tell; else all three are NaN.
    """

    mean_std: float
    spread: float
    kl: float
    active: int
    latent_dim: int
    overlap: float
    completeness: float = math.nan
    continuity: float = math.nan
    autoencoder: bool = False
    mig: float = math.nan
    information: float = math.nan
    aggregated_kl: float = math.nan

    def meters(self) -> list[list[str]]:
        """What the page's meters say: [name, value], in the order in which they stand there."""
        gap = [] if math.isnan(self.mig) else [["MIG", f"{self.mig:.2f}"]]
        if self.autoencoder:
            return [["spread of means", f"{self.spread:.2f}"], *gap]
        return [
            ["mean σ", f"{self.mean_std:.3f}"],
            ["spread of means", f"{self.spread:.2f}"],
            ["KL, nats", "∞" if math.isinf(self.kl) else f"{self.kl:.2f}"],
            ["active units", f"{self.active} of {self.latent_dim}"],
            ["overlap", f"{self.overlap:.0%}"],
            ["continuity", f"{self.continuity:.0%}"],
            ["completeness", f"{self.completeness:.0%}"],
            *gap,
        ]


def verdict(m: Measured, step: int) -> tuple[str, str]:
    """A headline and a sentence about the picture in the plane."""
    silent = m.latent_dim - m.active
    is_prior = m.kl < SILENT or (m.active == 0 and m.kl < 0.5 * SILENT * m.latent_dim)
    holds = {
        "codes": m.autoencoder,
        "untrained": is_prior and step == 0,
        "prior": is_prior,
        "points": m.mean_std < 0.05 * m.spread and m.overlap < 0.25,
        "one code": m.active == 0,
        "between": m.overlap <= OVERLAP,
        "beside": m.completeness < COVERED,
        "part": silent > 0,
        "cloud": True,
    }
    words = next(VERDICTS[which] for which, true in holds.items() if true)
    headline, sentence = words.split(". ", 1)
    return f"{headline}.", sentence.format(**vars(m), silent=silent, say="says" if silent == 1 else "say")


class Meters:
    """What was measured last: `measured` as numbers, `numbers` for the page, `kl` of each dimension.

    parts: step, I(x; z), KL(q(z) ‖ p(z)) along the run, the last two NaN where not known; why they are not now.
    truth: (N, F), the factors that the shown images were drawn from, where they are known.
    """

    def __init__(self):
        self.measured: Measured | None = None
        self.numbers: dict = {}
        self.kl: list[float] = []
        self.parts: list[tuple[float, float, float]] = []
        self.why = ""
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
            # On the pair that is shown: in many dimensions every code is alone, and the plane shows otherwise.
            self._dear = measure_plane(*(v[:, list(turn.pair)] for v in (mu, logvar)), run.seed)
            if self.truth is not None:
                gaps = metrics.mutual_information_gap(shown, self.truth, min(BINS, len(mu))).gap
                self._dear["mig"] = gaps.mean().item()
            if not autoencoder:
                parts = self.measure_parts(run.number, mu, logvar, run.seed)
                self._dear |= zip(("information", "aggregated_kl"), parts, strict=True)
        self.measured = Measured(std, spread, nats, int(units), mu.shape[1], autoencoder=autoencoder, **self._dear)
        headline, sentence = verdict(self.measured, run.number)
        kl = [round(value, 4) if math.isfinite(value) else None for value in self.kl]
        self.numbers = {"headline": headline, "sentence": sentence, "kl": kl, "meters": self.measured.meters()}

    def measure_parts(self, step: int, mu: Tensor, logvar: Tensor, seed: int) -> tuple[float, float]:
        """Return the two parts of the codes' mean KL at `step`, in nats; what was known of later steps is forgotten."""
        mu, logvar = mu[:CODES], logvar[:CODES]
        self.why, found = "", (math.nan, math.nan)
        if mu.shape[1] > 2:
            self.why = "I(x; z) is estimated in two dimensions only"
        else:
            generator, most = torch.Generator(mu.device).manual_seed(seed), math.log(len(mu))
            information = metrics.mutual_information(mu, logvar, generator).item()
            if information < most - NEAR:
                found = information, kl_to_prior(mu, logvar).sum(1).mean().item() - information
            else:
                self.why = f"I(x; z) is near ln {len(mu)} = {most:.1f}, the most that so many codes can show"
        self.parts = [row for row in self.parts if row[0] < step] + [(step, *found)]
        if len(self.parts) > ROWS:
            del self.parts[-2::-2]
        return found


def measure_plane(mu: Tensor, logvar: Tensor, seed: int) -> dict[str, float]:
    """How well the codes mu, logvar (N, 2) fill the plane."""
    generator = torch.Generator(mu.device).manual_seed(seed)  # the same draws every time: what moves is the model
    completeness = metrics.completeness(mu, logvar, generator, draws=DRAWS).item()
    overlap = continuity = 1.0  # of a single code
    if len(mu) > 1:
        overlap = metrics.overlap(mu[:MEASURED], logvar[:MEASURED]).nan_to_num().item()
        continuity = metrics.continuity(mu, logvar, generator, pairs=WALKS, points=POINTS).item()
    return {"overlap": overlap, "completeness": completeness, "continuity": continuity}
