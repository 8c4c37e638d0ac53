"""What is due when: steps, frames, details, snapshots."""

import math
import time

FRAME_SECONDS = 0.1  # between frames while somebody looks
HIDDEN_SECONDS = 2.0  # between tries while nobody answers
RUN_SECONDS = 0.3  # between frames of a synchronous run: nobody sees them, but the timeline is made of them
SILENCE_SECONDS = 3.0  # without a heartbeat nobody is looking
PATIENCE_SECONDS = 120.0  # unseen for so long, a run pauses itself
KEEP_SECONDS = 0.5  # between snapshots to go back to
DETAIL_SECONDS = 1.0  # between the messages that are large or slow to change
FRAME_SHARE = 0.12  # of the time may go into frames


class Clock:
    """Remembers when each kind of event happened last, and what a frame costs."""

    def __init__(self):
        self._last: dict[str, float] = {}
        self._frame_cost = 0.0

    def mark(self, event: str, only_again: bool = False) -> None:
        """Note that `event` happens now; `only_again`: if it ever did."""
        if not only_again or event in self._last:
            self._last[event] = time.monotonic()

    def since(self, event: str) -> float:
        """Return the seconds since `event` happened last; infinity when it never did."""
        return time.monotonic() - self._last.get(event, -math.inf)

    def due(self, event: str, seconds: float) -> bool:
        """Return whether `event` happened `seconds` ago or more; if so, it happens now."""
        due = self.since(event) >= seconds
        if due:
            self.mark(event)
        return due

    def frame_is_due(self, seen: bool, synchronous: bool) -> bool:
        unseen = RUN_SECONDS if synchronous else HIDDEN_SECONDS
        return self.since("frame") > (max(FRAME_SECONDS, self._frame_cost / FRAME_SHARE) if seen else unseen)

    def frame_took(self, seconds: float) -> None:
        self.mark("frame")
        self._frame_cost = 0.8 * self._frame_cost + 0.2 * seconds
