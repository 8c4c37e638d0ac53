"""Pictures that a model makes on request, as the page is sent them."""

import math

import numpy as np
import torch
from torch import Tensor

from vaekit.lab.frames import decoder_state, to_bytes
from vaekit.lab.turn import Turn
from vaekit.latent import traversal
from vaekit.losses import pixel_mean, reconstruction_nll

STEPS_ACROSS = 9  # images of a traversal, from −3 to 3
REACH, LATTICE = 4.0, 41  # the true posterior: so many σ of its own to each side, so many points along one side
NEARER = 3  # times that its lattice is laid nearer to it
HELD = (1 - math.exp(-0.5), 1 - math.exp(-2.0))  # what a Gaussian's ellipses of σ and 2 σ hold


def decoded(run, codes: Tensor) -> np.ndarray:
    """Codes (n, D) → the means of their pixels, uint8 (n, C, H, W)."""
    return to_bytes(pixel_mean(run.model.decode(codes), run.settings["kind"]))


def traversals(run, mu: Tensor, dims: list[int], turn: Turn) -> dict:
    """The code mu (1, D) with one of `dims` at a time, as they are turned, varied from −3 to 3.

    Returns dims, across: how many images each, and images, u8.
    """
    values = torch.linspace(-3, 3, STEPS_ACROSS, device=mu.device, dtype=mu.dtype)
    codes = torch.cat([traversal(turn.codes(mu)[0], dim, values) for dim in dims])
    return {"dims": dims, "across": STEPS_ACROSS, "images": decoded(run, turn.back(codes)).tobytes()}


def true_posterior(run, x: Tensor) -> dict:
    """p(z|x) ∝ p(x|z) p(z) of an image x (1, C, H, W), on a lattice around it, two dimensions.

    Returns centre, scale: its mean and σ; mu, std: those of q(z|x); reach, squares; levels: the heights that hold
    HELD of it; weights, f32, from below.
    """
    line = torch.linspace(-REACH, REACH, LATTICE, device=x.device, dtype=x.dtype)
    lattice = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)  # (41², 2)
    mu, logvar = (some[0] for some in run.model.encode(x))
    centre, scale = mu, torch.ones_like(mu)
    for _ in range(NEARER):
        z = centre + scale * lattice
        nll = reconstruction_nll(run.model.decode(z), x.expand(len(z), *x.shape[1:]), run.settings["kind"])
        p = torch.softmax(-nll - 0.5 * z.square().sum(1), 0)
        around, mean = (centre, scale), p @ z
        std = (p @ (z - mean).square()).sqrt()
        centre, scale = mean, std.maximum(scale * (line[1] - line[0]))  # no nearer than one of its squares
    weights = p.float().cpu().numpy()
    falling = np.sort(weights)[::-1]
    levels = [float(falling[np.searchsorted(falling.cumsum(), held).clip(0, len(z) - 1)]) for held in HELD]
    pairs = zip(("centre", "scale", "mu", "std"), (*around, mu, torch.exp(0.5 * logvar)), strict=True)
    lattice = {"reach": REACH, "squares": LATTICE - 1, "levels": levels, "weights": weights.astype("<f4").tobytes()}
    return lattice | {name: some.tolist() for name, some in pairs}


def page_decoder(run, latent_dim: int, like: Tensor) -> dict:
    """Return the state of the model's `decoder` when it alone is what `decode` does; else the page asks by message."""
    z = torch.linspace(-2, 2, 3 * latent_dim, device=like.device, dtype=like.dtype).reshape(3, latent_dim)
    try:
        is_all = torch.equal(run.model.decoder(z), run.model.decode(z))
    except Exception:  # no such part, or one that takes something else than codes
        return {}
    return decoder_state(run.model.decoder, run.number, latent_dim, run.settings["kind"]) if is_all else {}
