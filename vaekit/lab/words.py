"""The line in words: always from what is measured, never from where a switch stands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """What the plane shows, as numbers: see vaekit.metrics. KL in nats per image."""

    mean_std: float
    spread: float
    kl: float
    active: int
    latent_dim: int
    overlap: float


def state(m: Measured) -> str:
    """One of "points", "prior", "cloud", "between": which of the pictures the plane shows."""
    if m.active == 0 and m.kl < 0.2 * m.latent_dim:
        return "prior"
    if m.mean_std < 0.05 * m.spread and m.overlap < 0.25:
        return "points"
    if m.overlap > 0.6:
        return "cloud"
    return "between"


def verdict(m: Measured, step: int) -> tuple[str, str]:
    """A headline and a sentence about the picture in the plane."""
    kind = state(m)
    if kind == "prior":
        why = "Nothing is learned yet: " if step == 0 else ""
        return (
            "Posterior = prior.",
            f"{why}every image has nearly the same code; the codes say nothing about the image.",
        )
    if kind == "points":
        return (
            "σ → 0.",
            "The codes have shrunk to points: hardly any two overlap, and no image claims the plane between them.",
        )
    if kind == "cloud":
        silent = m.latent_dim - m.active
        if silent:
            return "A cloud, in part.", f"The codes overlap, but {silent} of {m.latent_dim} units say nothing."
        return "A cloud.", f"The codes overlap ({m.overlap:.0%} with the nearest): a small step in z stays among codes."
    return (
        "In between.",
        f"The codes overlap only in part ({m.overlap:.0%} with the nearest): there are gaps between them.",
    )
