"""The line in words: always from what is measured, never from where a switch stands."""

import math
from dataclasses import dataclass

OVERLAP, COVERED = 0.6, 0.5  # a cloud has more overlap, and at least so much of the prior's draws
SILENT = 0.1  # nats of KL: codes never say more about the image than their mean KL

# What each state is called, and what is said of it.
VERDICTS = {
    "untrained": "Untrained. Every image has nearly the same code, close to the prior.",
    "prior": "Posterior = prior. All images share nearly one code: it says nothing about the image, "
    "however high the coverage.",
    "points": "σ → 0. The codes have shrunk to points: hardly any two overlap.",
    "codes": "Points. An autoencoder's code is a point: its training asks nothing of the places between.",
    "cloud": "A cloud. The codes overlap ({overlap:.0%} with the nearest): a small step in z stays among codes.",
    "beside": "Beside the prior. The codes overlap, but only {completeness:.0%} of the prior's draws fall among them.",
    "cloud in part": "A cloud, in part. The codes overlap, but {silent} of {dims} units {say} nothing.",
    "one code": "One code for all. Every image has nearly the same code, but it is not the prior's.",
    "between": "In between. The codes overlap only in part ({overlap:.0%} with the nearest): "
    "there are gaps between them.",
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


def state(m: Measured) -> str:
    """One of "points", "prior", "cloud", "between": which of the pictures the plane shows."""
    if m.kl < SILENT or (m.active == 0 and m.kl < 0.5 * SILENT * m.latent_dim):
        return "prior"
    if m.mean_std < 0.05 * m.spread and m.overlap < 0.25:
        return "points"
    if m.active and m.overlap > OVERLAP and not m.completeness < COVERED:  # not measured yet: it counts as covered
        return "cloud"
    return "between"


def verdict(m: Measured, step: int) -> tuple[str, str]:
    """A headline and a sentence about the picture in the plane."""
    which, silent = state(m), m.latent_dim - m.active
    if m.autoencoder:
        which = "codes"
    elif which == "prior" and step == 0:
        which = "untrained"
    elif which == "cloud" and silent:
        which = "cloud in part"
    elif which == "between" and m.active == 0:
        which = "one code"
    elif which == "between" and m.overlap > OVERLAP:
        which = "beside"
    headline, sentence = VERDICTS[which].split(". ", 1)
    say = "says" if silent == 1 else "say"
    numbers = {"overlap": m.overlap, "completeness": m.completeness, "silent": silent, "dims": m.latent_dim}
    return f"{headline}.", sentence.format(**numbers, say=say)
