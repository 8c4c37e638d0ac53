"""The curves' memory: every step counts, and it never grows past a fixed size."""

import numpy as np

ROWS = 1024


class History:
    """Means over runs of `stride` steps; when the rows are full, neighbours are merged and the stride doubles.

    Each row is the step, and of each run reconstruction, KL and total, nats per image; the total is
    reconstruction + β·KL.
    """

    def __init__(self, runs: int = 1):
        self.rows = np.zeros((ROWS, 1 + 3 * runs), np.float64)
        self.stride, self.full, self.count = 1, 0, 0  # complete rows; steps in the row under way

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
        return known.mean(0).tolist() if len(known) else [None] * ((self.rows.shape[1] - 1) // 3)

    def array(self) -> np.ndarray:
        """(rows, 1 + 3 · runs) float32, the row under way included."""
        return self.rows[: self.full + bool(self.count)].astype(np.float32)
