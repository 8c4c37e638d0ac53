"""What the page is sent: one side for each run, the curves they share, and the timeline to look back on."""

import threading
from collections.abc import Callable

import numpy as np
import torch

from vaekit._checks import check_whole, one_line
from vaekit.data import ImageSet
from vaekit.lab.frames import pack_json
from vaekit.lab.recipe import check_pair
from vaekit.lab.side import DETAILS, HANGS_ON, MEASURE_SHARE, Side
from vaekit.lab.tasks import TaskList
from vaekit.lab.trail import Trail
from vaekit.losses import LIKELIHOODS
from vaekit.training import KNOBS

FITTING = "Fitting a mixture to the codes …"
NEAR = 40  # steps: a slider's many small turns are one mark
MOST = 60  # marks


class View:
    """Fills the widgets from the engine, on the trainer thread, between steps.

    What returns a line has the engine show it.
    """

    def __init__(self, n_shown: int, pair: tuple[int, int] | None, runs: int, tasks: TaskList):
        check_whole("shown", n_shown)
        self.pair = check_pair(pair)  # None: the two dimensions that say most
        self.sides = [Side(n_shown, self.pair or (0, 1), MEASURE_SHARE / runs) for _ in range(runs)]
        self.trail, self._images = Trail(), None
        self.new_wanted, self.n_draws = (False, "prior"), 0  # are new images wanted, and drawn from what?
        self._fitting: ImageSet | None = None  # the images to whose codes a mixture is being fitted
        self._followed: dict = {}  # of traits of the plane, the values that are shown
        self.tasks, self.lab = tasks, lambda: None  # lab(): what they are asked of, when it is there
        self.plane = self.sides[0].plane  # the page draws the other's as well
        if runs > 1:
            self.plane.twin = self.sides[1].plane

    # -- what the engine shows ----------------------------------------------------------------------------

    def frame(self, engine, whole: bool = False) -> str | None:
        """Show the clouds; their numbers too, unless it plays unseen. `whole`: then as well."""
        shown = engine.looked_at or whole or not engine.playing
        self.each(engine, "frame", engine.playing and not whole, shown)
        self._add_to_trail(engine)
        return self._send_drawing(engine, "drawing") if shown else None

    def details(self, engine) -> None:
        """Show what is large or slow to change."""
        self._choose_pair(engine)
        self.each(engine, "send", *DETAILS, *["posterior"] * (not engine.playing))  # of one that plays it is not shown
        self.trail.keep(engine.runs[0].number, [side.plane.decoder for side in self.sides], self.sides[0].pair)
        self.plane.history = engine.history.array().tobytes()
        meters = [side.meters for side in self.sides]
        rows = [np.array(each.parts, "<f4").tobytes() for each in meters]
        self.plane.parts = {"why": [each.why for each in meters], "rows": rows}
        self.plane.marks = marks([run.recording for run in engine.runs])

    def status(self, engine) -> str | None:
        """Show the meters, the settings, the tasks and the message."""
        run, line = engine.runs[0], self.tasks.look(self.lab())
        self.plane.tasks = [{"text": task.text, "ticked": task.ticked} for task in self.tasks.tasks]
        common = {"step": run.number, "epoch": run.batches.epoch, "playing": engine.playing}
        common |= {"speed": engine.history.speed, "replaying": run.replaying is not None, "new": list(self.new_wanted)}
        n, device = torch.get_num_threads(), run.images.device.type
        common["device"] = f"CPU, {n} thread{'s' * (n > 1)}" if device == "cpu" else device.upper()
        for side, run, nats in zip(self.sides, engine.runs, engine.history.recent(), strict=True):
            said = f"{nats:.{1 if nats < 1000 else 0}f}" if nats else "–"
            meters = side.meters.numbers.get("meters", []) + [["reconstruction", said]]
            side.plane.status = side.meters.numbers | common | {"meters": meters, "settings": dict(run.settings)}
        self.plane.message = engine.notice or line or engine.error or ""
        return line

    # -- what somebody asks to see: see Engine.ask --------------------------------------------------------

    def each(self, engine, method: str, *arguments) -> None:
        """Have each side do what is asked for: `side.method(run, *arguments)`."""
        for side, run in zip(self.sides, engine.runs, strict=True):
            getattr(side, method)(run, *arguments)

    def follow(self, engine, trait: str) -> str | None:
        """Show what hangs on a trait of the plane that was set; of many who ask for the same, the first has it done."""
        value = getattr(self.plane, trait)
        if self._followed.get(trait) == value:
            return None
        self._followed[trait] = value
        if trait == "strokes":
            self.each(engine, "draw", value)
            return self._send_drawing(engine, *HANGS_ON[trait])
        self.each(engine, "send", *HANGS_ON[trait])

    def choose(self, engine, index: int) -> None:
        if 0 <= index < len(self.sides[0].images):  # else a click on a dot that is gone
            self.each(engine, "put", "chosen", index)

    def show_pair(self, engine, pair: tuple[int, int] | None) -> None:
        """Show these two dimensions; None: the two that say most, whichever they are."""
        self.pair = pair
        self._choose_pair(engine, at_once=True)

    def show_new(self, engine, wanted: tuple[bool, str], fit: Callable) -> str | None:
        """Show new images, or none, as `wanted`. From a mixture: `fit(codes, images)` has it shown, on a thread."""
        self.new_wanted, images = wanted, _images(engine)
        if wanted != (True, "mixture"):
            if engine.notice == FITTING:
                engine.notice = None
            return self.draw_new(engine, [None] * len(self.sides))
        if self._fitting is not images:  # else one is under way
            codes = [side.codes(run) for side, run in zip(self.sides, engine.runs, strict=True)]
            self._fitting = images
            threading.Thread(target=fit, args=(codes, images), daemon=True).start()
        return FITTING

    def show_fitted(self, engine, mixtures: list | None, images: ImageSet, said: str) -> str | None:
        """Show draws of mixtures, or where there are none of the prior, unless something else is wanted by now."""
        if self._fitting is images:
            self._fitting = None
        if self.new_wanted != (True, "mixture") or images is not _images(engine):
            return None
        if not mixtures:
            self.new_wanted = (True, "prior")
        self.draw_new(engine, mixtures or [None] * len(self.sides))
        return said

    def draw_new(self, engine, mixtures: list | None = None) -> None:
        """Show another draw of the new images, of a twin from the same z; from mixtures, where there are new ones."""
        for side, mixture in zip(self.sides, mixtures or (), strict=False):
            side.mixture = mixture
        self.n_draws += 1
        self.each(engine, "put", "draw_number", self.n_draws if self.new_wanted[0] else 0)

    def send_trail(self, engine) -> None:
        """Send a page that looks back the frames along the run, and the decoders kept on the way."""
        self.plane.send({"kind": "trail"}, buffers=[pack_json(self.trail.state())])

    # -- inside -------------------------------------------------------------------------------------------

    def _send_drawing(self, engine, *parts: str) -> str | None:
        """Send parts that show a drawing. A model that fails on it loses it, and not the run; the line says so."""
        try:
            self.each(engine, "send", *parts)
        except Exception as error:
            self.plane.strokes = []  # which `follow` hears of at once
            return f"The model could not show your drawing ({one_line(error)})."

    def _choose_pair(self, engine, at_once: bool = False) -> None:
        """Show the pair asked for, or the two dimensions with most KL; a pair that is nearly as good stays."""
        shown = self.sides[0].pair
        pair = self.pair or shown
        stands = self.plane.turn and not at_once  # a code that is turned in a plane stays in it
        if self.pair is None and not stands and all(side.meters.kl for side in self.sides):  # else no number yet
            kl = [sum(nats) for nats in zip(*(side.meters.kl for side in self.sides), strict=True)]
            best = sorted(range(len(kl)), key=lambda dim: -kl[dim])[:2]
            stays = not at_once and min(kl[dim] for dim in shown) >= 0.9 * kl[best[1]]
            pair = shown if stays else tuple(sorted(best))
        if pair != shown:
            for side in self.sides:
                side.playing = False  # overlap and the like are the plane's: they are measured at once
            self.each(engine, "put", "pair", list(pair))

    def _add_to_trail(self, engine) -> None:
        run, images = engine.run, _images(engine)
        if self._images is not images:  # the points were other images', and so were the codes
            self.trail, self._images = Trail(), images
            if self._fitting is not images:
                self.new_wanted = (self.new_wanted[0], "prior")
            if self.new_wanted == (True, "prior") and not self.plane.draw_number:
                self.draw_new(engine)
        turned = max((run.recording.events[-1][0] for run in engine.runs if run.recording.events), default=0)
        self.trail.add(run.number, [side.last for side in self.sides], self.sides[0].pair, turned)


def _images(engine) -> ImageSet:
    return engine.run.sets[engine.run.settings["data"]]


def marks(recordings: list) -> list[dict]:
    """Return the recordings' events as marks {step, label}, the last ones of too many.

    The turns of a number that follow each other closely become one mark with the last value. What was turned in
    one of two runs alone says in which.
    """
    turned: dict[tuple, list[str]] = {}  # (step, knob, its value) → where
    for recording, where in zip(recordings, (" (left)", " (right)"), strict=False):
        for step, changes in recording.events:
            for name, value in changes.items():
                turned.setdefault((step, name, value), []).append(where)
    found, last = [], (None, 0)
    for (step, name, value), where in sorted(turned.items(), key=lambda item: item[0][0]):
        knob = name + (where[0] if len(where) < len(recordings) else "")
        if not isinstance(value, float) or knob != last[0] or step - last[1] > NEAR:
            found.append({"step": step})
        found[-1]["label"] = _label(name, value) + knob.removeprefix(name)
        last = (knob, step)
    return found[-MOST:]


def _label(name: str, value) -> str:
    if name not in KNOBS:
        return LIKELIHOODS[value].label if name == "kind" else value
    short = min(name, KNOBS[name].metadata["label"], key=len)
    return f"{short} {'on' if value else 'off'}" if isinstance(value, bool) else f"{short} = {value:.3g}"
