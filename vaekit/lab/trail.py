"""The run so far, to look back on: frames along it, and decoders at some waypoints. It never grows past a size."""

from dataclasses import dataclass

from vaekit.lab.frames import Frame

FRAMES = 96
POINTS = 400  # of each frame
WAYPOINTS = 6  # with decoders: 0.6 MB each
EVENTFUL = 200  # steps after a knob was turned, in which frames may lie closer


@dataclass(frozen=True)
class Kept:
    """What each run sent at `step`; `weight` says how much closer than elsewhere such things may lie."""

    step: int
    pair: list[int]
    parts: list[dict]
    weight: float = 1.0


class Trail:
    """Frames and decoders by step, of one run or two. What is full is thinned where it is densest."""

    def __init__(self):
        self.frames: list[Kept] = []
        self.decoders: list[Kept] = []

    def add(self, step: int, frames: list[Frame], pair: tuple[int, int], turned: int = 0) -> None:
        """A frame of each run at `step`; `turned` is when a knob was last. What lay after it is forgotten."""
        weight = 5.0 if turned > 0 and step - turned < EVENTFUL else 1.0
        new = Kept(step, [*pair], [frame.state(POINTS) for frame in frames], weight)
        self.frames = _with(self.frames, new, FRAMES)

    def keep(self, step: int, decoders: list[dict], pair: tuple[int, int]) -> None:
        """The decoders as the page has them at `step`."""
        self.decoders = _with(self.decoders, Kept(step, [*pair], decoders), WAYPOINTS)

    def state(self) -> dict:
        return {"frames": [vars(kept) for kept in self.frames], "decoders": [vars(kept) for kept in self.decoders]}


def _with(kept: list[Kept], new: Kept, most: int) -> list[Kept]:
    """Those before `new`, and it; with too many, without the one whose neighbours lie nearest to each other."""
    kept = [point for point in kept if point.step < new.step] + [new]
    if len(kept) > most:
        neighbours = zip(kept, kept[1:], kept[2:], strict=False)
        gaps = [point.weight * (after.step - before.step) for before, point, after in neighbours]
        del kept[1 + gaps.index(min(gaps))]
    return kept
