"""What there is to show of a lab, and when."""

from dataclasses import dataclass

from vaekit.lab.history import History
from vaekit.runs.run import Run

EVERYTHING = ("frame", "details", "status")
SHOWN = {"pause": EVERYTHING, "restart": EVERYTHING, "other images": EVERYTHING}  # event → what the view shows
SHOWN |= {"knob": ("frame", "status"), "seen frame": ("frame", "status"), "unseen frame": ("frame",)}
SHOWN |= {"play": ("status",), "notice": ("status",), "details": ("details",)}


@dataclass(frozen=True)
class State:
    """What there is to show: the runs, two of a twin, and what the engine says about them; speed: steps per second."""

    runs: tuple[Run, ...]
    history: History
    playing: bool
    looked_at: bool
    speed: float
    message: str
