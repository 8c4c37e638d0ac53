"""The KL in its two parts, I(x; z) and KL(q(z) ‖ p(z)), along the steps, where codes are enough to tell them apart."""

import math

import numpy as np
import torch
from torch import Tensor

from vaekit import metrics
from vaekit.lab.frames import pack_json
from vaekit.losses import kl_to_prior

CODES = 1000  # that it is estimated on, at most: the cost grows with their square
NEAR = 0.7  # nats from ln N, the most that N codes can show
ROWS = 256  # of the history


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
    """JSON: of each run why, and its rows, f32: see frames.pack_json."""
    rows = [np.array(parts.rows, "<f4").tobytes() for parts in runs]
    return pack_json({"why": [parts.why for parts in runs], "rows": rows})
