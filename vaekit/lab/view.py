"""What the page is sent: one side for each run, the curves they share, and the timeline to look back on."""

import ipywidgets as widgets
import torch

from vaekit._checks import one_line
from vaekit.lab.frames import pack_json
from vaekit.lab.marks import marks
from vaekit.lab.page import Curves
from vaekit.lab.side import MEASURE_SHARE, Side
from vaekit.lab.trail import Trail


class View:
    """Fills the widgets from a `State` of the engine, on the trainer thread, between steps.

    What returns a line has the engine show it.
    """

    def __init__(self, n_shown: int = 1000, pair: tuple[int, int] | None = None, runs: int = 1):
        self.pair = pair  # None: the two dimensions that say most
        self.sides = [Side(n_shown, pair or (0, 1), MEASURE_SHARE / runs) for _ in range(runs)]
        self.curves = Curves(runs=runs)
        self.trail, self.data = Trail(), None
        self.plane = self.sides[0].plane  # the page draws the other's as well
        if runs > 1:
            self.plane.twin = self.sides[1].plane
        self.links = [widgets.jslink((self.plane, "scrub"), (self.curves, "scrub"))]

    # -- what the engine shows ----------------------------------------------------------------------------

    def frame(self, state, whole: bool = False) -> str | None:
        """Show the clouds; their numbers too, unless it plays unseen. `whole`: then as well."""
        shown = state.looked_at or whole or not state.playing
        for side, run in self._pairs(state):
            side.frame(run, state.playing and not whole, shown)
        self._add_to_trail(state)
        return self._try_drawing(state, Side.follow_drawing) if shown else None

    def details(self, state) -> None:
        """Show what is large or slow to change."""
        self._choose_pair(state)
        for side, run in self._pairs(state):
            side.details(run)
        self.trail.keep(state.runs[0].number, [side.plane.decoder for side in self.sides], self.sides[0].pair)
        self.curves.history = state.history.array().tobytes()
        self.curves.marks = marks([run.recording for run in state.runs])

    def status(self, state) -> None:
        """Show the meters, the settings and the message."""
        run = state.runs[0]
        common = {
            "step": run.number,
            "epoch": run.batches.epoch,
            "playing": state.playing,
            "replaying": run.replaying is not None,
            "speed": state.speed,
            "device": _describe(run.images.device),
        }
        self.curves.status = common
        for (side, run), nats in zip(self._pairs(state), state.history.recent(), strict=True):
            meters = side.numbers.get("meters", []) + [["reconstruction", f"{nats:.1f}" if nats else "–"]]
            side.plane.status = side.numbers | common | {"meters": meters, "settings": dict(run.settings)}
        self.plane.message = state.message

    # -- what somebody asks to see ------------------------------------------------------------------------

    def choose(self, state, index: int) -> None:
        """Show the image `index` in full."""
        self.each(state, "choose", index)

    def draw(self, state, strokes: list) -> str | None:
        """Show a digit of one's own in place of the chosen image; without strokes, the chosen image again."""
        return self._try_drawing(state, lambda side, run: side.draw(run, strokes))

    def each(self, state, method: str, *arguments) -> None:
        """Have each side do what is asked for: `side.method(run, *arguments)`."""
        for side, run in self._pairs(state):
            getattr(side, method)(run, *arguments)

    def show_pair(self, state, pair: tuple[int, int] | None) -> None:
        """Show these two dimensions; None: the two that say most, whichever they are."""
        self.pair = pair
        self._choose_pair(state, at_once=True)
        self.status(state)

    def catch_up(self, state) -> None:
        """Show everything as it is now: a run that plays unseen has not been looked at for long."""
        self.frame(state, whole=True)
        self.details(state)
        self.status(state)

    def send_trail(self, state) -> None:
        """Send a page that looks back the frames along the run, and the decoders kept on the way."""
        self.plane.send({"kind": "trail"}, buffers=[pack_json(*self.trail.pack())])

    def offer(self, state, name: str, text: str) -> None:
        """Have the page save `text` as a file."""
        self.plane.send({"kind": "file", "name": name}, buffers=[text.encode()])

    # -- inside -------------------------------------------------------------------------------------------

    def _pairs(self, state):
        return zip(self.sides, state.runs, strict=True)

    def _try_drawing(self, state, show) -> str | None:
        """Show a drawing. A model that fails on it loses it, and not the run; the line says so."""
        try:
            for side, run in self._pairs(state):
                show(side, run)
        except Exception as error:
            self.each(state, "draw", [])
            return f"The model could not show your drawing ({one_line(error)})."
        return None

    def _choose_pair(self, state, at_once: bool = False) -> None:
        """Show the pair asked for, or the two dimensions with most KL; a pair that is nearly as good stays."""
        shown = self.sides[0].pair
        pair = self.pair or shown
        if self.pair is None and all(side.kl for side in self.sides):  # no KL: never yet a number
            kl = [sum(nats) for nats in zip(*(side.kl for side in self.sides), strict=True)]
            best = sorted(range(len(kl)), key=lambda dim: -kl[dim])[:2]
            stays = not at_once and min(kl[dim] for dim in shown) >= 0.9 * kl[best[1]]
            pair = shown if stays else tuple(sorted(best))
        self.each(state, "show_pair", pair)

    def _add_to_trail(self, state) -> None:
        run = state.runs[0]
        if self.data != run.settings["data"]:  # the points were other images'
            self.trail, self.data = Trail(), run.settings["data"]
        turned = max((run.recording.events[-1][0] for run in state.runs if run.recording.events), default=0)
        self.trail.add(run.number, [side.last for side in self.sides], self.sides[0].pair, turned)


def _describe(device: torch.device) -> str:
    n = torch.get_num_threads()
    return f"CPU, {n} thread{'s' if n > 1 else ''}" if device.type == "cpu" else device.type.upper()
