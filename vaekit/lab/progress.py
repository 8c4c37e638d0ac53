"""The numbers of the steps: read from the device in one go, and kept for the curves."""

import itertools
import math
import time

import numpy as np
import torch

from vaekit.training import Step

ROWS = 1024  # of the history
EXPLODED = 1e9  # nats per image: from there no run comes back, though it may take hundreds of steps to become NaN


class History:
    """What the steps gave, in means over `stride` of them, and the speed in steps per second.

    Each row is the step, and of each run reconstruction, KL and total, nats per image; the total is
    reconstruction + β·KL. When the rows are full, neighbours are merged and the stride doubles.
    pending: the steps, one of each run, whose numbers are still on the device.
    """

    def __init__(self, n_runs: int = 1):
        self.n_runs, self.rows = n_runs, np.zeros((ROWS, 1 + 3 * n_runs), np.float64)
        self.stride, self.full, self.count = 1, 0, 0  # complete rows; steps in the row under way
        self.pending: list[tuple[Step, ...]] = []
        self.speed, self._since = 0.0, (0.0, 0)

    def add(self, *row: float) -> None:
        if self.full == ROWS:
            self.rows[: ROWS // 2] = self.rows.reshape(ROWS // 2, 2, -1).mean(1)
            self.full, self.stride = ROWS // 2, self.stride * 2
        mean = self.rows[self.full]
        mean[:] = (mean * self.count + row) / (self.count + 1)
        self.count += 1
        if self.count == self.stride:
            self.full, self.count = self.full + 1, 0

    def cut(self, step: int) -> None:
        """Forget what came after step number `step`."""
        known = self.full + bool(self.count)
        self.full, self.count = int((self.rows[:known, 0] <= step).sum()), 0

    def recent(self, rows: int = 10) -> list[float | None]:
        """The reconstruction of each run, the mean over the last `rows`; None before the first step."""
        known = self.array()[-rows:, 1::3]
        return known.mean(0).tolist() if len(known) else [None] * self.n_runs

    def array(self) -> np.ndarray:
        """(rows, 1 + 3 · runs) float32, the row under way included."""
        return self.rows[: self.full + bool(self.count)].astype(np.float32)

    def read(self) -> Step | None:
        """Take in the pending numbers. Returns the first step without good ones, if there is one."""
        pending, self.pending = self.pending, []
        if not pending:
            return None
        losses = [torch.stack([s.reconstruction, s.kl.sum(), s.loss]) for steps in pending for s in steps]
        rows = torch.stack(losses).reshape(len(pending), self.n_runs, 3).tolist()
        for steps, row in zip(pending, rows, strict=True):
            for step, (reconstruction, kl, loss) in zip(steps, row, strict=True):
                if not (math.isfinite(loss) and abs(reconstruction) < EXPLODED and kl < EXPLODED):  # NaN is not <
                    return step
            self.add(steps[0].number, *itertools.chain(*row))
        return None

    def measure_speed(self, number: int, restart: bool = False) -> None:
        """Note that step `number` is reached now; the speed is a mean over a second or more."""
        now, (then, before) = time.monotonic(), self._since
        if restart or now - then >= 1.0:
            self.speed = 0.0 if restart or not then else (number - before) / (now - then)
            self._since = (now, number)


def explain(step: Step) -> tuple[int, str, str]:
    """Of a step that has no good numbers: the last good one, what is wrong, and what to do about it."""
    what = "has exploded" if math.isfinite(step.loss) else "is not a number any more"
    lr, beta = step.knobs.lr, step.knobs.beta
    knobs = f"the learning rate (it was {lr:g}; 0.001 is a good start)" + f" or β (it was {beta:g})" * (lr <= 1e-3)
    # The step before gave it its weights, and so it was that failed.
    return step.number - 2, f"Step {step.number}: the loss {what}.", f"Lower {knobs} and press play."
