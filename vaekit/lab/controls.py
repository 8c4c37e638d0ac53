"""The rows of controls: plain ipywidgets, which hand what the learner does to the lab."""

import threading
from functools import partial

import ipywidgets as widgets
from ipywidgets import Button, Checkbox, Dropdown, FileUpload, FloatSlider, ToggleButton

from vaekit._checks import first_line
from vaekit._files import short_path
from vaekit.image_files import ARRAYS, ENDINGS, read_images
from vaekit.lab.knobs import KnobControl, Label, next_value
from vaekit.lab.registry import weakly
from vaekit.losses import LIKELIHOODS
from vaekit.runs.recording import Recording
from vaekit.training import KNOBS

KNOB_ROWS = (("prior", "beta"), ("lr",))  # the lesson's row, which is the prior's, and what is under More
SLIDERS = ("beta",)  # knobs with a slider
SOURCES = {"from the prior": "prior", "from a mixture": "mixture"}
TRUE_POSTERIOR = "The chosen image's true posterior: contours that hold as much as the ellipses of σ and 2 σ do"
AGGREGATED = (
    "The aggregated posterior, the mean of all ellipses: contours as high as the prior on its rings; "
    "and the KL in two parts, I(x; z) and KL(q(z) ‖ p(z))"
)
NEW_FROM = "What new digits are drawn from: the prior, or a mixture of Gaussians fitted to the codes"
OWN_IMAGES = "Learn your own images: an .npz, a .zip of pictures, or pictures, 10 MB together; from code any size"
Box = partial(Checkbox, indent=False)
CONTROLS = {  # what is no knob: its kind, width, text, and the tip, which names it for those who cannot see
    "play": (Button, "6.2em", "Play", "Play or pause the training (space)"),
    "step": (Button, "5.2em", "Step", "Pause, and take one optimizer step (s)"),
    "reset": (Button, "8.8em", "Start again", "Back to the first weights and the same seed; the knobs stay"),
    "more": (ToggleButton, "5.4em", "More", "Learning rate, reconstruction, data, pace, what to show, recordings"),
    "full": (Button, "2.6em", "", "Full screen (f)"),
    "keys": (Button, "2.2em", "?", "The keys (?)"),
    "kind": (Dropdown, "11em", "", "Reconstruction: which −log p(x|z) is minimised"),
    "data": (Dropdown, "11.7em", "", "The images to learn"),
    "pace": (Dropdown, "6.6em", "", "Slow motion, for lectures"),
    "pair": (Dropdown, "8.8em", "", "Which two latent dimensions the plane shows"),
    "angle": (FloatSlider, "11em", "", "Turn the code by 0 to 90 degrees; the decoder turns it back: no image changes"),
    "digits": (Box, "auto", "numerals", "Show each image as its class's digit instead of a dot"),
    "posterior": (Box, "auto", "p(z|x)", TRUE_POSTERIOR),
    "aggregated": (Box, "auto", "q(z)", AGGREGATED),
    "noise": (FloatSlider, "auto", "", "Noise added to the codes: the draws are code + σ ε. Training does not see it"),
    "colour": (Dropdown, "9em", "", "What colours the dots: the class, or a factor that the images were drawn from"),
    "new": (ToggleButton, "6.6em", "New digits", "Twenty new images, decoded from draws of the prior (n: others)"),
    "source": (Dropdown, "8.4em", "", NEW_FROM),
    "draw": (ToggleButton, "7.5em", "Draw a digit", "A pad: draw a digit, and see its posterior and reconstruction"),
    "save": (Button, "3.5em", "Save", "Save the recording of this run: seed, settings and every knob turned"),
    "load": (FileUpload, "auto", "Load", "Load a recording and play it"),
    "images": (FileUpload, "auto", "Load images", OWN_IMAGES),
}
LOOKS = {  # what else some of them have
    "play": {"icon": "play", "button_style": "primary"},
    "step": {"icon": "step-forward"},
    "reset": {"icon": "undo"},
    "more": {"icon": "ellipsis-h"},
    "full": {"icon": "expand"},
    "kind": {"options": {row.label: kind for kind, row in LIKELIHOODS.items()}},
    "pace": {"options": {"full speed": 0.0, "20 steps/s": 20.0, "5 steps/s": 5.0, "1 step/s": 1.0}},
    "colour": {"options": {"class": ""}},
    "source": {"options": SOURCES},
    "angle": {"max": 90, "step": 1, "readout_format": ".0f"},
    "noise": {"max": 3, "step": 0.05},
    "load": {"accept": ".json"},
    "images": {"accept": ",".join([".zip", *ARRAYS, *ENDINGS]), "multiple": True},
}
NAMES = {"full": "vk-full", "keys": "vk-help", "angle": "vk-turn", "noise": "vk-beta"}  # which the page knows them by
NAMES |= {"load": "vk-load", "images": "vk-images"}


class Controls:
    """The controls of `lab`, those in CONTROLS as attributes; a twin has knobs for each run, and locks that tie them.

    knobs: of each run, the control of each knob by name. What they show is always read from the lab's settings.
    """

    def __init__(self, lab, latent_dim: int, has_prior: bool):
        self.lab, self.latent_dim, self.has_prior = lab, latent_dim, has_prior
        self._shown: tuple | None = None
        self._showing, self._quiet = threading.RLock(), threading.local()  # page and trainer have threads of their own
        self.knobs = [{name: KnobControl(name, run, name in SLIDERS) for name in KNOBS} for run in lab.side_names]
        self.locks = {name: _lock(name) for name in KNOBS if len(self.knobs) > 1}
        self.knob_parts = [part for knobs in self.knobs for knob in knobs.values() for part in knob.parts]
        looks = LOOKS | {"pair": {"options": _pairs(latent_dim, has_prior)}}
        for name, row in CONTROLS.items():
            setattr(self, name, _made(*row, **looks.get(name, {})))
        for name, in_page in NAMES.items():
            getattr(self, name).add_class(in_page)
        self.noise.layout.flex = "1 1 10em"
        self.coloured, self.no_pad = _group("vk-named", Label("colour"), self.colour), Label("")
        self.rows = self._rows()
        self.links = self._link([side.plane for side in lab.view.sides])
        self._listen()

    def _rows(self) -> list[widgets.HBox]:
        """Return the lesson's row, of a twin a second one with the knobs of each run, and what is under More."""
        lesson, others = KNOB_ROWS if self.has_prior else ((), KNOB_ROWS[1])
        numbers = range(len(self.knobs))
        drive, ways = [self.play, self.step, self.reset], [self.more, self.full, self.keys]
        if not self.has_prior:
            rows = [[*drive, Label("noise σ"), self.noise, *ways]]
        elif not self.locks:
            rows = [[*drive, *self._parts(0, lesson), *ways]]
        else:
            rows = [[*drive, Label("together"), *(self.locks[name] for name in lesson), *ways]]
            rows += [[_group("vk-group", *self._parts(number, lesson)) for number in numbers]]
        rest = [_group("vk-named", *self._parts(number, others)) for number in numbers]
        rest += [lock for name, lock in self.locks.items() if name in others]
        rest += [self.kind, self.data, self.images, self.pace, self.digits, _group("vk-named", self.save, self.load)]
        rest += [_group("vk-named", Label("plane"), self.pair)] if self.latent_dim > 2 else []
        rest += [_group("vk-named", Label("angle"), self.angle), self.coloured, self.aggregated]
        rest += [self.posterior] if self.has_prior and self.latent_dim == 2 else []
        rest += [_group("vk-named", self.new, self.source), self.draw, self.no_pad]
        self.looks = _group("vk-controls", *rest)
        self.looks.layout.display = "none"
        return [*(_group("vk-controls", *row) for row in rows), self.looks]

    def _parts(self, number: int, names) -> list:
        """Return the widgets of a run's knobs, of a twin's after the run's name."""
        parts = [part for name in names for part in self.knobs[number][name].parts]
        return [Label(self.lab.side_names[number]), *parts] if self.locks else parts

    def _link(self, planes: list) -> list:
        """Tie the controls of what is shown to the planes' traits, in the page what it can do without the kernel."""
        alike = {"turn": self.angle, "noise": self.noise, "factor": self.colour}
        alike |= {"with_posterior": self.posterior, "pad": self.draw}
        for plane in planes:
            for trait, box in alike.items():
                widgets.link((plane, trait), (box, "value"))
        in_page = {"digits": self.digits, "aggregated": self.aggregated}.items()
        return [widgets.jslink((box, "value"), (plane, trait)) for plane in planes for trait, box in in_page]

    # -- what the learner does ----------------------------------------------------------------------------

    def _listen(self) -> None:
        self._on_click(self.play, lambda lab: lab.engine.pause() if lab.playing else lab.play())
        self._on_click(self.step, lambda lab: lab.engine.train_for(1))
        self._on_click(self.reset, lambda lab: lab.engine.reset())
        self._on_click(self.save, lambda lab: lab.offer_recording())
        for side, knobs in enumerate(self.knobs):
            for name, control in knobs.items():
                for widget, read, _ in control.ways:
                    self._on_value(widget, lambda c, value, of=(side, name), read=read: c.turn(*of, read(value)))
        self._on_value(self.kind, lambda c, value: c.lab.set(kind=value))
        self._on_value(self.data, lambda c, value: c.lab.set(data=value))
        for name, lock in self.locks.items():
            self._on_value(lock, lambda c, tied, name=name: tied and c.lab.set(**{name: c.lab.settings[name]}))
        self._on_value(self.load, lambda c, files: c.load_recording(files))
        self._on_value(self.images, lambda c, files: c.load_images(files))
        self._on_value(self.pace, lambda c, pace: setattr(c.lab.engine, "pace", pace or None))
        self._on_value(self.more, lambda c, more: setattr(c.looks.layout, "display", None if more else "none"))
        self._on_value(self.new, lambda c, shown: c.lab.new_digits(shown, c.source.value))
        self._on_value(self.source, lambda c, source: c.lab.new_digits(c.new.value, source))
        self._on_value(self.pair, lambda c, pair: c.lab.show_pair(pair or None))

    def _on_click(self, button, answer) -> None:
        button.on_click(weakly(self.lab, lambda lab, _: answer(lab)))

    def _on_value(self, widget, answer) -> None:
        """Have `answer(controls, value)` called when a learner changes the widget; what does not fit is said."""
        asked = weakly(self.lab, lambda lab, change: lab.controls.try_to(answer, change.new))
        widget.observe(asked, "value")

    def try_to(self, answer, *arguments) -> None:
        if getattr(self._quiet, "now", False):  # it is `show`, on this thread, that changes the widget
            return
        try:
            answer(self, *arguments)
        except Exception as error:
            self.lab.say(first_line(error))
            self.show()

    def turn(self, side: int, name: str, value) -> None:
        """Turn a knob of one run, tied that of both; where it stands so already, nothing."""
        if value == self.lab.sides[side].settings[name]:
            return self.show()
        tied = not self.locks or self.locks[name].value
        self.lab.set(side=None if tied else side, **{name: value})

    def press(self, key: str, side: int) -> None:
        """Answer a key that is pressed in the page, beside the plane of a run: see keys.js."""
        settings = self.lab.sides[side].settings
        if key == " ":
            self.play.click()
        elif key == "s":
            self.step.click()
        elif key == "n" and self.lab.plane.draw_number:
            self.lab.engine.ask("draw_new")
        elif key == "n":
            self.new.value = True
        elif key == "p" and self.has_prior:
            self.turn(side, "prior", not settings["prior"])
        elif key in ("[", "]") and self.has_prior:
            self.turn(side, "beta", next_value(settings["beta"], 1 if key == "]" else -1))

    def load_recording(self, files) -> None:
        for name, content in _taken_from(self.load, files).items():
            text = content.decode("utf-8-sig", errors="replace")
            self.lab.follow(Recording.from_json(text, short_path(name))).play()

    def load_images(self, files) -> None:
        if files:
            self.lab.say("Reading your images …")
            self.lab.learn(read_images(_taken_from(self.images, files)))

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
            every, new = [side.settings for side in self.lab.sides], self.lab.view.new_wanted
            if only_news and (every, new) == self._shown:
                return
            was_quiet = getattr(self._quiet, "now", False)  # a task may turn a knob while this is shown
            self._shown, self._quiet.now = (every, new), True
            try:
                self._show(every, new)
            finally:
                self._quiet.now = was_quiet

    def _show(self, every: list, new: tuple[bool, str]) -> None:
        self.new.value, self.source.value = new
        for knobs, settings in zip(self.knobs, every, strict=True):
            for name, control in knobs.items():
                control.show(settings[name])
        for name, lock in self.locks.items():  # knobs that stand apart are not together
            lock.value = lock.value and every[0][name] == every[-1][name]
        if list(self.data.options) != self.lab.data_names:
            self.data.options = self.lab.data_names
        factors = self.lab.view.sides[0].factors
        if list(self.colour.options.values()) != ["", *factors]:
            self.colour.options = {"class": ""} | {name: name for name in factors}
        self.coloured.layout.display = None if factors else "none"
        self.kind.value, self.data.value = every[0]["kind"], every[0]["data"]
        why = self.lab.why_no_pad()
        self.draw.disabled, self.no_pad.value, self.no_pad.layout.display = bool(why), why, None if why else "none"
        self.draw.value = self.draw.value and not why

    def show_playing(self, playing: bool) -> None:
        self.play.description, self.play.icon = ("Pause", "pause") if playing else ("Play", "play")


def _made(kind: type, width: str, text: str, tip: str, **looks) -> widgets.DOMWidget:
    made = kind(description=text, layout={"width": width}, **looks)
    made.tooltip = tip  # to ipywidgets 7 some kinds have none
    return made


def _lock(name: str) -> widgets.ToggleButton:
    label = KNOBS[name].metadata["label"].split()[-1].lower()
    tip = f"Turn both runs' {name} together, or each by itself"
    return _made(ToggleButton, "5em", label, tip, icon="link", value=True)


def _taken_from(upload: widgets.FileUpload, files) -> dict[str, bytes]:
    """Return uploaded files by name. The widget does not keep them, so that the same may be chosen again."""
    if files:
        upload.set_trait("value", type(files)())
    if isinstance(files, dict):  # ipywidgets 7
        files = [{"name": name, "content": file["content"]} for name, file in files.items()]
    return {file["name"]: bytes(file["content"]) for file in files}


def _group(name: str, *children) -> widgets.HBox:
    group = widgets.HBox(children)
    group.add_class(name)
    return group


def _pairs(latent_dim: int, has_prior: bool) -> dict[str, tuple[int, ...]]:
    """The pairs there are to choose; of very many dimensions, those of the first twelve."""
    dims = range(min(latent_dim, 12))
    pairs = {f"z{i + 1}, z{j + 1}": (i, j) for i in dims for j in dims if i < j}
    # None in place of () would leave the menu blank: to ipywidgets it is no choice
    return {"most active" if has_prior else "first two": ()} | pairs
