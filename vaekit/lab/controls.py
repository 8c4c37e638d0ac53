"""The rows of controls: plain ipywidgets, which hand what the learner does to the lab."""

import threading

import ipywidgets as widgets

from vaekit._checks import first_line
from vaekit._files import short_path
from vaekit.lab.knobs import make_control
from vaekit.losses import LIKELIHOODS
from vaekit.runs.recording import Recording
from vaekit.training import KNOBS

KNOB_ROWS = (("prior", "beta"), ("lr",))  # the place of each knob; a twin has all those of a run in one row
SLIDERS = {"beta": ("200px", "310px")}  # knobs with a slider; wider where a linear model's marks stand close on it
PACES = {"full speed": 0.0, "20 steps/s": 20.0, "5 steps/s": 5.0, "1 step/s": 1.0}
PROBES = {"nothing more": "", "draws from the prior": "draws", "a walk between two codes": "walk"}


class Controls:
    """The controls of `lab`; a twin has knobs for each of its runs, and locks that tie them together.

    knobs: of each run, the control of each knob by name. What they show is always read from the lab's settings.
    """

    def __init__(self, lab, latent_dim: int, linear: bool):
        self.lab, self.latent_dim = lab, latent_dim
        self._shown: list = []
        self._showing, self._quiet = threading.Lock(), threading.local()  # page and trainer have threads of their own
        widths = {name: pair[linear] for name, pair in SLIDERS.items()}
        self.knobs = [{name: make_control(name, run, widths.get(name)) for name in KNOBS} for run in lab.side_names]
        kinds = {row.label: kind for kind, row in LIKELIHOODS.items()}
        self.play = _button("Play", "play", "104px", "Play or pause the training", button_style="primary")
        self.step = _button("Step", "step-forward", "90px", "Pause, and take one optimizer step")
        self.reset = _button(
            "Start again", "undo", "146px", "Back to the first weights and the same seed; the knobs stay"
        )
        self.kind = _menu(kinds, "186px", "Reconstruction: which −log p(x|z) is minimised")
        self.data = _menu(lab.data_names, "184px", "The images to learn")
        self.pace = _menu(PACES, "112px", "Slow motion, for lectures")
        self.showing = _menu(PROBES, "226px", "Show in the plane what completeness or continuity is measured on")
        self.pair = _menu(_pairs(latent_dim), "130px", "Which two latent dimensions the plane shows")
        self.digits = widgets.Checkbox(description="digits as marks", indent=False, layout={"width": "136px"})
        self.digits.tooltip = "Show each image as its class's digit instead of a dot"
        tip = "A pad: draw a digit, and see its posterior and its reconstruction"
        self.draw, self.no_pad = _toggle("Draw a digit", "pencil", "146px", tip), _label("")
        self.more = _toggle("More", "ellipsis-h", "90px", "More to show, and recordings to save and load")
        tip = "Save the recording of this run: seed, settings and every knob turned"
        self.save = _button("Save", "download", "90px", tip)
        self.load = widgets.FileUpload(accept=".json", description="Load", layout={"width": "96px"})
        self.load.tooltip = "Load a recording and play it"
        self.locks = {name: _lock(name) for name in KNOBS}
        self.rows = self._rows()
        self.links = [widgets.jslink((self.digits, "value"), (side.plane, "digits")) for side in lab.view.sides]
        self._listen()

    def _rows(self) -> list[widgets.HBox]:
        drive, choice = [self.play, self.step, self.reset], [self.kind, self.data, self.pace, self.more]
        if len(self.knobs) == 1:
            first, second = [[part for name in names for part in self.knobs[0][name].parts] for names in KNOB_ROWS]
            rows = [[*drive, *first], [*second, *choice]]
        else:
            order = [name for names in KNOB_ROWS for name in names]
            left, right = [[part for name in order for part in knobs[name].parts] for knobs in self.knobs]
            names = [_label(name) for name in self.lab.side_names]
            locks = [_label("together"), *(self.locks[name] for name in order)]
            rows = [[*drive, *choice], [names[0], *left], [names[1], *right, *locks]]
        pair = [_label("plane"), self.pair] if self.latent_dim > 2 else []
        looks = [_label("show"), self.showing, *pair, self.digits, _label("recording"), self.save, self.load]
        *rows, self.looks = [_row(row) for row in (*rows, [*looks, self.draw, self.no_pad])]
        self.looks.layout.display = "none"
        return [*rows, self.looks]

    # -- what the learner does ----------------------------------------------------------------------------

    def _listen(self) -> None:
        """Answer the widgets: through the lab's handle, so that they do not hold the lab."""
        handle = self.lab.handle
        handle.on_click(self.play, lambda lab: lab.engine.pause() if lab.playing else lab.play())
        handle.on_click(self.step, lambda lab: lab.engine.train_for(1))
        handle.on_click(self.reset, lambda lab: lab.engine.reset())
        handle.on_click(self.save, lambda lab: lab.offer_recording())
        for side, knobs in enumerate(self.knobs):
            for name, control in knobs.items():
                for widget, read in control.readers:
                    self._on_value(widget, lambda c, value, a=(side, name, read): c.turn(*a, value))
        self._on_value(self.kind, lambda c, value: c.lab.set(kind=value))
        self._on_value(self.data, lambda c, value: c.lab.set(data=value))
        for name, lock in self.locks.items():
            self._on_value(lock, lambda c, tied, name=name: tied and c.lab.set(**{name: c.lab.settings[name]}))
        self._on_value(self.load, lambda c, files: c.load_recording(files))
        self._on_value(self.pace, lambda c, pace: setattr(c.lab.engine, "pace", pace or None))
        self._on_value(self.more, lambda c, more: setattr(c.looks.layout, "display", None if more else "none"))
        handle.observe(self.draw, "value", lambda lab, shown: lab.show_pad(shown))
        self._on_value(self.showing, lambda c, what: c.lab.show(what))
        self._on_value(self.pair, lambda c, pair: c.lab.show_pair(pair or None))

    def _on_value(self, widget, answer) -> None:
        """Have `answer(controls, value)` called when a learner changes the widget; what does not fit is said."""
        self.lab.handle.observe(widget, "value", lambda lab, value: lab.controls.try_to(answer, value))

    def try_to(self, answer, *arguments) -> None:
        if getattr(self._quiet, "now", False):  # it is `show`, on this thread, that changes the widget
            return
        try:
            answer(self, *arguments)
        except Exception as error:
            self.lab.say(first_line(error))
            self.show()

    def turn(self, side: int, name: str, read, value) -> None:
        """Turn a knob of one run as its control says; tied, of both."""
        now = self.lab.sides[side].settings[name]
        wanted = read(value, now)
        if wanted == now:
            self.show()
        else:
            tied = len(self.knobs) == 1 or self.locks[name].value
            self.lab.set(side=None if tied else side, **{name: wanted})

    def load_recording(self, files) -> None:
        """Play the recording in an uploaded file."""
        if files:
            self.load.value = ()  # the same file may be chosen again
            text = bytes(files[0]["content"]).decode("utf-8-sig", errors="replace")
            self.lab.follow(Recording.from_json(text, short_path(files[0]["name"]))).play()

    def choose_pair(self, pair: tuple[int, int]) -> None:
        """Show a pair that was chosen in the page: one of the menu's, or of dimensions beyond those in it."""
        if pair in self.pair.options.values():
            self.pair.value = pair
        else:
            self.lab.show_pair(pair)

    # -- what they show -----------------------------------------------------------------------------------

    def show(self, only_news: bool = False) -> None:
        """Set the controls to the lab's settings; on any thread. only_news: when they are others than last time."""
        with self._showing:
            every = [side.settings for side in self.lab.sides]
            if only_news and every == self._shown:
                return
            self._shown, self._quiet.now = every, True
            try:
                self._show(every)
            finally:
                self._quiet.now = False

    def _show(self, every: list) -> None:
        for knobs, settings in zip(self.knobs, every, strict=True):
            for name, control in knobs.items():
                control.show(settings[name])
        for name, lock in self.locks.items():  # knobs that stand apart are not together
            lock.value = lock.value and every[0][name] == every[-1][name]
        if list(self.data.options) != self.lab.data_names:
            self.data.options = self.lab.data_names
        self.kind.value, self.data.value = every[0]["kind"], every[0]["data"]
        why = self.lab.why_no_pad()
        self.draw.disabled, self.no_pad.value = bool(why), why
        self.draw.value = self.draw.value and not why

    def show_playing(self, playing: bool) -> None:
        self.play.description, self.play.icon = ("Pause", "pause") if playing else ("Play", "play")


def _button(text: str, icon: str, width: str, tip: str, **looks) -> widgets.Button:
    return widgets.Button(description=text, icon=icon, layout={"width": width}, tooltip=tip, **looks)


def _toggle(text: str, icon: str, width: str, tip: str, on: bool = False) -> widgets.ToggleButton:
    return widgets.ToggleButton(on, description=text, icon=icon, layout={"width": width}, tooltip=tip)


def _menu(options, width: str, tip: str) -> widgets.Dropdown:
    return widgets.Dropdown(options=options, layout={"width": width}, tooltip=tip)


def _label(text: str) -> widgets.Label:
    return widgets.Label(text, layout={"width": "auto"})


def _lock(name: str) -> widgets.ToggleButton:
    label = KNOBS[name].metadata["label"].split()[-1].lower()
    return _toggle(label, "link", "70px", f"Turn both runs' {name} together, or each by itself", on=True)


def _row(children: list) -> widgets.HBox:
    row = widgets.HBox(children)
    row.add_class("vk-controls")
    return row


def _pairs(latent_dim: int) -> dict[str, tuple[int, ...]]:
    """Return the pairs there are to choose; of very many dimensions, those of the first twelve."""
    dims = range(min(latent_dim, 12))
    pairs = {f"z{i + 1}, z{j + 1}": (i, j) for i in dims for j in dims if i < j}
    return {"most active": ()} | pairs  # None would leave the menu blank: to ipywidgets it is no choice
