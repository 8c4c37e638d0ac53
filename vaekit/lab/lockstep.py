"""The runs of a lab, one or two in lockstep, and the one place where their settings stand."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from vaekit.runs.run import Run


class Lockstep:
    """Runs that take their steps together.

    All but `set_knobs` and `settings` is the trainer thread's.
    """

    def __init__(self):
        self._lock = threading.RLock()
        self.runs: tuple[Run, ...] = ()
        self._asked: list[dict] = []  # of each run, the changes that it does not know of yet

    def adopt(self, runs: tuple[Run, ...], changes: Mapping | None = None) -> None:
        """Go on with these runs; with `changes`, under the knobs as they stand but for these."""
        with self._lock:  # a knob that is turned meanwhile is turned before or after
            for run, settings in zip(runs, self.settings if changes is not None else (), strict=False):
                run.set_knobs({**settings, **changes})
            self.runs = runs
            self._asked = [{} for _ in runs]

    @property
    def settings(self) -> tuple[Mapping, ...]:
        """Of each run, what acts on its next step. Only `set_knobs` changes it, and a recording that is replayed."""
        with self._lock:
            pairs = zip(self.runs, self._asked, strict=True)
            return tuple(MappingProxyType({**run.settings, **asked}) for run, asked in pairs)

    @property
    def number(self) -> int:
        """How many steps all of them have taken."""
        return min(run.number for run in self.runs)

    @property
    def is_replaying(self) -> bool:
        return any(run.replaying is not None for run in self.runs)

    def set_knobs(self, changes: Mapping, sides: Sequence[int] | None = None) -> None:
        """Change the settings of all runs, or of those at `sides`; `apply_knobs` must follow: see Engine.set_knobs."""
        sides = range(len(self.runs)) if sides is None else sides
        if "data" in changes and len(sides) < len(self.runs):
            raise ValueError("the two runs of a twin see the same batches: set data for both, without side")
        with self._lock:
            sound = {side: self.runs[side].check_knobs(changes) for side in sides}
            self._asked = [asked | sound.get(side, {}) for side, asked in enumerate(self._asked)]

    def apply_knobs(self) -> set[str]:
        """Have what was asked for act, and be recorded, from the next step on. Returns the names of what was."""
        with self._lock:
            asked, self._asked = self._asked, [{} for _ in self.runs]
            for run, changes in zip(self.runs, asked, strict=True):
                run.set_knobs(changes)
        if any(run.replaying is None for run in self.runs):
            for run in self.runs:
                run.replaying = None  # who takes over one of a twin takes over both
        return set().union(*asked)

    def go_back(self, number: int) -> None:
        """Take all runs to step `number`, or to the nearest one before it that all of them reach with finite weights.

        A model may raise where another one's loss is NaN: one step later, when its weights are no numbers already.
        """
        with self._lock:  # on the way the settings are those of earlier steps
            for last_good in (number, number - 1):
                for run in self.runs:
                    with suppress(KeyboardInterrupt, SystemExit):  # the model's doing: the run is at its snapshot
                        run.go_back(max(0, last_good))
                for run in self.runs:
                    if run.number > self.number:
                        run.go_back(self.number)
                if all(bool(weight.isfinite().all()) for run in self.runs for weight in run.model.parameters()):
                    break
