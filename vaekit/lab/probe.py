"""Continuity and completeness, live: measured at seeded places, and some such places to look at."""

from collections.abc import Callable

import torch
from torch import Tensor

from vaekit import metrics
from vaekit.lab.frames import pack_json, to_bytes
from vaekit.latent import walk

DRAWS = 400  # from the prior: a standard error of 0.025 at most
WALKS, POINTS = 100, 4
SHOWN = 100  # draws in the plane
STOPS = 21  # of the walk in the plane, its ends included
DECODED = 10  # of either, as images


def measure(mu: Tensor, logvar: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """(completeness, continuity) of the codes mu, logvar (N, D), each ().

    At the same draws every time: what moves is then the model, not the dice. The run's generator is not touched.
    """
    generator = torch.Generator(mu.device).manual_seed(seed)
    completeness = metrics.completeness(mu, logvar, generator, draws=DRAWS)
    if len(mu) < 2:
        return completeness, torch.ones_like(completeness)
    return completeness, metrics.continuity(mu, logvar, generator, pairs=WALKS, points=POINTS)


def picture(
    what: str, mu: Tensor, logvar: Tensor, ends: tuple[int, int], pair: tuple[int, int], seed: int, decode: Callable
) -> bytes:
    """Places for the plane of `pair`, hits and misses in it apart, some decoded; empty when nothing is asked for.

    what: "draws" from the prior, or a "walk" between the codes number `ends`. decode(z): codes → images in [0, 1].
    Returns JSON (what, points: [z₁, z₂, hit], decoded: which of them) and u8 pictures: see frames.pack_json.
    """
    if what == "draws":
        z = metrics.prior_draws(mu, SHOWN, torch.Generator(mu.device).manual_seed(seed))
        decoded = range(DECODED)
    elif what == "walk":
        z = walk(mu[ends[0]], mu[ends[1]], STOPS)
        decoded = range(0, STOPS, (STOPS - 1) // DECODED)
    else:
        return b""
    shown = list(pair)
    hits = metrics.covered(z[:, shown], mu[:, shown], logvar[:, shown])
    places = torch.cat([z[:, shown], hits[:, None].to(z.dtype)], 1).nan_to_num(0, 0, 0)
    header = {"what": what, "points": [[round(v, 3) for v in row] for row in places.tolist()], "decoded": [*decoded]}
    return pack_json(header, to_bytes(decode(z[list(decoded)])).tobytes())
