"""The line in words: always from what is measured, never from where a switch stands."""

import math
from dataclasses import dataclass

# The kinds of reconstruction, as the page names them.
KIND_NAMES = {"bernoulli": "BCE", "gaussian": "squared error", "linear": "squared error, linear"}
SILENT = 0.1  # nats of KL: codes never say more about the image than their mean KL


@dataclass(frozen=True)
class Measured:
    """What the plane shows, as numbers: see vaekit.metrics. KL in nats per image.

    Overlap, completeness and continuity are measured on the two dimensions that the plane shows.
    """

    mean_std: float
    spread: float
    kl: float
    active: int
    latent_dim: int
    overlap: float
    completeness: float = math.nan
    continuity: float = math.nan

    def meters(self) -> list[list[str]]:
        """What the page's meters say: [name, value], in the order in which they stand there."""
        return [
            ["mean σ", f"{self.mean_std:.3f}"],
            ["spread of means", f"{self.spread:.2f}"],
            ["KL, nats", "∞" if math.isinf(self.kl) else f"{self.kl:.2f}"],
            ["active units", f"{self.active} of {self.latent_dim}"],
            ["overlap", f"{self.overlap:.0%}"],
            ["continuity", f"{self.continuity:.0%}"],
            ["completeness", f"{self.completeness:.0%}"],
        ]


def state(m: Measured) -> str:
    """One of "points", "prior", "cloud", "between": which of the pictures the plane shows."""
    if m.kl < SILENT or (m.active == 0 and m.kl < 0.5 * SILENT * m.latent_dim):
        return "prior"
    if m.mean_std < 0.05 * m.spread and m.overlap < 0.25:
        return "points"
    if m.active and m.overlap > 0.6:
        return "cloud"
    return "between"


def verdict(m: Measured, step: int) -> tuple[str, str]:
    """A headline and a sentence about the picture in the plane."""
    kind = state(m)
    if kind == "prior":
        if step == 0:
            return "Untrained.", "Every image has nearly the same code, close to the prior."
        return (
            "Posterior = prior.",
            "All images share nearly one code: it says nothing about the image, however high the coverage.",
        )
    if kind == "points":
        return (
            "σ → 0.",
            "The codes have shrunk to points: hardly any two overlap.",
        )
    if kind == "cloud":
        silent = m.latent_dim - m.active
        if silent:
            say = "says" if silent == 1 else "say"
            return "A cloud, in part.", f"The codes overlap, but {silent} of {m.latent_dim} units {say} nothing."
        return "A cloud.", f"The codes overlap ({m.overlap:.0%} with the nearest): a small step in z stays among codes."
    if m.active == 0:
        return "One code for all.", "Every image has nearly the same code, but it is not the prior's."
    return (
        "In between.",
        f"The codes overlap only in part ({m.overlap:.0%} with the nearest): there are gaps between them.",
    )
