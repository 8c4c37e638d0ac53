"""The numbers of the steps: read from the device in one go, and kept for the curves."""

import itertools
import math
import time

import torch

from vaekit.lab.history import History
from vaekit.training import Step

EXPLODED = 1e9  # nats per image: from there no run comes back, though it may take hundreds of steps to become NaN


class Progress:
    """The history of the runs' losses, and their speed in steps per second.

    pending: the steps, one of each run, whose numbers are still on the device.
    """

    def __init__(self, n_runs: int = 1):
        self.n_runs, self.history = n_runs, History(n_runs)
        self.pending: list[tuple[Step, ...]] = []
        self.speed, self._since = 0.0, (0.0, 0)

    def read(self) -> Step | None:
        """Bring the pending numbers into the history. Returns the first step without good ones, if there is one."""
        pending, self.pending = self.pending, []
        if not pending:
            return None
        losses = [torch.stack([s.reconstruction, s.kl.sum(), s.loss]) for steps in pending for s in steps]
        rows = torch.stack(losses).reshape(len(pending), self.n_runs, 3).tolist()
        for steps, row in zip(pending, rows, strict=True):
            for step, (reconstruction, kl, loss) in zip(steps, row, strict=True):
                if not (math.isfinite(loss) and abs(reconstruction) < EXPLODED and kl < EXPLODED):  # NaN is not <
                    return step
            self.history.add(steps[0].number, *itertools.chain(*row))
        return None

    def measure_speed(self, number: int, restart: bool = False) -> None:
        """Note that step `number` is reached now; the speed is a mean over a second or more."""
        now, (then, before) = time.monotonic(), self._since
        if restart or now - then >= 1.0:
            self.speed = 0.0 if restart or not then else (number - before) / (now - then)
            self._since = (now, number)


def explain(step: Step) -> tuple[str, str]:
    """Return what is wrong with a step that has no good numbers, and what to do about it."""
    what = "has exploded" if math.isfinite(step.loss) else "is not a number any more"
    lr, beta = step.knobs.lr, step.knobs.beta
    knobs = f"the learning rate (it was {lr:g}; 0.001 is a good start)" + f" or β (it was {beta:g})" * (lr <= 1e-3)
    return f"Step {step.number}: the loss {what}.", f"Lower {knobs} and press play."
