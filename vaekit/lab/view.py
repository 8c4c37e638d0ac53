"""What the page is sent, and when: one side for each run, the curves they share, and the trail to look back on."""

import ipywidgets as widgets
import torch

from vaekit.lab.frames import pack_json
from vaekit.lab.page import Curves
from vaekit.lab.side import MEASURE_SHARE, Side
from vaekit.lab.trail import Trail
from vaekit.lab.words import KIND_NAMES
from vaekit.messages import one_line


class View:
    """Looks at an engine's runs and fills the widgets; called on the trainer thread, between steps."""

    def __init__(self, shown: int = 1000, pair: tuple[int, int] | None = None, runs: int = 1):
        self.pair = pair  # None: the two dimensions that say most
        self.sides = [Side(shown, pair or (0, 1), MEASURE_SHARE / runs) for _ in range(runs)]
        self.curves = Curves(runs=runs)
        self.trail, self.data = Trail(), None
        self.plane = self.sides[0].plane  # the page draws the other's as well
        if runs > 1:
            self.plane.twin = self.sides[1].plane
        widgets.jslink((self.plane, "scrub"), (self.curves, "scrub"))

    # -- called by the engine -----------------------------------------------------------------------------

    def frame(self, engine, whole: bool = False) -> None:
        """The clouds; while it plays unseen, or seldom seen, their numbers too only when asked for the `whole`."""
        playing = engine.playing and not whole
        for side, run in self._both(engine):
            side.frame(run, playing, engine.looked_at)
        if engine.looked_at or not playing:
            self._with_drawing(engine, lambda side, run: side.follow_drawing(run))
        self._add_to_trail(engine)
        if engine.looked_at or not playing:
            self.status(engine)

    def rest(self, engine) -> None:
        self._choose_pair(engine)
        for side, run in self._both(engine):
            side.rest(run)
        self.trail.keep(engine.run.number, [side.plane.decoder for side in self.sides], self.sides[0].pair)
        self.curves.history = engine.history.array().tobytes()
        self.curves.marks = marks([run.recording for run in engine.runs])

    def status(self, engine) -> None:
        run = engine.run
        common = {
            "step": run.number,
            "epoch": run.batches.epoch,
            "playing": engine.playing,
            "following": run.following is not None,
            "speed": engine.speed,
            "device": _describe(run.images.device),
        }
        self.curves.status = common
        reconstructions = engine.history.recent()
        for side, run, nats in zip(self.sides, engine.runs, reconstructions, strict=True):
            meters = side.numbers.get("meters", []) + [["reconstruction", f"{nats:.1f}" if nats else "–"]]
            side.plane.status = side.numbers | common | {"meters": meters, "settings": run.settings}
        self.plane.message = engine.notice or engine.error or ""

    # -- called by commands, on the trainer thread as well ------------------------------------------------

    def choose(self, engine, index: int) -> None:
        for side, run in self._both(engine):
            side.choose(run, index)

    def draw(self, engine, strokes: list) -> None:
        """Show a digit of one's own in place of the chosen image; without strokes, the chosen image again."""
        self._with_drawing(engine, lambda side, run: side.draw(run, strokes))

    def _with_drawing(self, engine, show) -> None:
        """A model that fails on a drawing loses it, and not the run."""
        try:
            for side, run in self._both(engine):
                show(side, run)
        except Exception as error:
            engine.notice = f"The model could not show your drawing ({one_line(error)})."
            for side, run in self._both(engine):
                side.draw(run, [])
            self.status(engine)

    def decode(self, engine, z: list[float]) -> None:
        for side, run in self._both(engine):
            side.decode(run, z)

    def show(self, engine, what: str) -> None:
        for side, run in self._both(engine):
            side.show(run, what)

    def show_pair(self, engine, pair: tuple[int, int] | None) -> None:
        """Show these two dimensions; None: the two that say most, whichever they are."""
        self.pair = pair
        self._choose_pair(engine, at_once=True)
        self.status(engine)

    def catch_up(self, engine) -> None:
        """All of it as the run is now: one that plays unseen has not been looked at for long."""
        self.frame(engine, whole=True)
        self.rest(engine)
        self.status(engine)

    def send_trail(self) -> None:
        """To a page that looks back: the frames along the run, and the decoders kept on the way."""
        header, payload = self.trail.pack()
        self.plane.send({"kind": "trail"}, buffers=[pack_json(header, payload)])

    def _choose_pair(self, engine, at_once: bool = False) -> None:
        """The pair asked for, or the two dimensions with most KL; a pair that is nearly as good stays."""
        pair = self.pair or self.sides[0].pair
        if self.pair is None and all(side.kl for side in self.sides):  # no KL: never yet a number
            now = self.sides[0].pair
            kl = [sum(nats) for nats in zip(*(side.kl for side in self.sides), strict=True)]
            best = sorted(range(len(kl)), key=lambda dim: -kl[dim])[:2]
            stays = not at_once and min(kl[dim] for dim in now) >= 0.9 * kl[best[1]]
            pair = now if stays else tuple(sorted(best))
        for side, run in self._both(engine):
            side.show_pair(run, pair)

    def _add_to_trail(self, engine) -> None:
        run = engine.run
        if self.data != run.data:  # the points were other images'
            self.trail, self.data = Trail(), run.data
        turned = max((run.recording.events[-1][0] for run in engine.runs if run.recording.events), default=0)
        self.trail.add(run.number, [side.last for side in self.sides], self.sides[0].pair, turned)

    def offer(self, name: str, text: str) -> None:
        """Have the page save `text` as a file."""
        self.plane.send({"kind": "file", "name": name}, buffers=[text.encode()])

    def _both(self, engine):
        return zip(self.sides, engine.runs, strict=True)


def marks(recordings: list, near: int = 40, most: int = 60) -> list[dict]:
    """The recordings' events as labelled marks; a slider's many small turns become one mark with the last value.

    What was turned in one of two runs alone says in which.
    """
    found: list[dict] = []
    for step, name, value, where in _events(recordings):
        label = _label(name, value) + where
        slid = name in ("beta", "lr")  # a switch that is turned off and on again has been turned twice
        if slid and found and found[-1]["name"] == name + where and step - found[-1]["last"] <= near:
            found[-1] |= {"label": label, "last": step}
        else:
            found.append({"name": name + where, "step": step, "label": label, "last": step})
    return [{"step": m["step"], "label": m["label"]} for m in found[-most:]]


def _events(recordings: list):
    """(step, knob, its value, where) of all recordings in order; where is empty for what was turned in all."""
    sides = ("",) if len(recordings) == 1 else (" (left)", " (right)")
    seen: dict[tuple, list[str]] = {}
    for recording, side in zip(recordings, sides, strict=True):
        for step, changes in recording.events:
            for name, value in changes.items():
                seen.setdefault((step, name, value), []).append(side)
    for (step, name, value), where in sorted(seen.items(), key=lambda item: item[0][0]):
        yield step, name, value, where[0] if len(where) < len(recordings) else ""


def _label(name: str, value) -> str:
    if name == "prior":
        return f"prior {'on' if value else 'off'}"
    if name == "kind":
        return KIND_NAMES[value]
    return str(value) if name == "data" else f"{'β' if name == 'beta' else name} = {value:.3g}"


def _describe(device: torch.device) -> str:
    if device.type != "cpu":
        return device.type.upper()
    n = torch.get_num_threads()
    return f"CPU, {n} thread{'s' if n > 1 else ''}"
