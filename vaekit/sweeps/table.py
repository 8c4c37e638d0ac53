"""What a sweep found: one row per run, and the ways to look at them."""

from dataclasses import astuple, dataclass, fields
from itertools import groupby

import numpy as np

Job = tuple[float, int]  # β and seed: which run it is
MEASURED = ("rate", "distortion", "loss", "active", "std")


@dataclass(frozen=True)
class Row:
    """One run, measured after its last step on the test images: means over them, in nats per image.

    rate: the KL, summed over dimensions. distortion: the reconstruction, summed over pixels.
    loss: distortion + β · rate. active: how many dimensions say something (`metrics.active_units`).
    std: the mean σ, in units of z; 1 is the prior's. A run that diverged has NaN everywhere, and active = 0.
    """

    beta: float
    seed: int
    rate: float
    distortion: float
    loss: float
    active: int
    std: float


COLUMNS = [(field.name, field.type) for field in fields(Row)]


@dataclass(frozen=True, repr=False)
class Sweep:
    """What `sweep` found: `rows`, sorted by β and seed; `missing`, the (β, seed) that did not finish.

    Printed, it is a plain table. `settings` is what all the runs have in common.
    """

    rows: tuple[Row, ...]
    settings: dict
    missing: tuple[Job, ...] = ()

    def table(self) -> np.ndarray:
        """All rows as a structured array (runs,): `table()["rate"]` is a column."""
        return np.array([astuple(row) for row in self.rows], np.dtype(COLUMNS))

    def frontier(self) -> np.ndarray:
        """The mean over the seeds of each β, as a structured array (βs,), with the number of `runs` behind it.

        One run that diverged makes its mean NaN.
        """
        means = []
        for beta, group in groupby(self.rows, key=lambda row: row.beta):
            rows = list(group)
            means.append((beta, len(rows), *(np.mean([getattr(row, name) for row in rows]) for name in MEASURED)))
        return np.array(means, np.dtype([("beta", float), ("runs", int), *((name, float) for name in MEASURED)]))

    def __repr__(self) -> str:
        head = f"{'β':>9} {'seed':>5} {'rate':>8} {'distortion':>11} {'loss':>9} {'active':>7} {'mean σ':>7}"
        missing = [f"{len(self.missing)} more did not finish: see .missing"] if self.missing else []
        return "\n".join([head, *map(_line, self.rows), *missing])


def _line(row: Row) -> str:
    nats = f"{row.rate:>8.2f} {row.distortion:>11.2f} {row.loss:>9.2f}"
    return f"{row.beta:>9.4g} {row.seed:>5} {nats} {row.active:>7} {row.std:>7.3f}"
