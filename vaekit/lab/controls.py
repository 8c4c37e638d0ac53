"""The rows of controls: plain ipywidgets, which hand what the learner does to the lab."""

import threading

import ipywidgets as widgets

from vaekit._checks import first_line
from vaekit._files import short_path
from vaekit.image_files import ARRAYS, ENDINGS, read_images
from vaekit.lab.knobs import make_control, next_value
from vaekit.lab.registry import weakly
from vaekit.losses import LIKELIHOODS
from vaekit.runs.recording import Recording
from vaekit.training import KNOBS

KNOB_ROWS = (("prior", "beta"), ("lr",))  # the lesson's row, which is the prior's, and what is under More
SLIDERS = ("beta",)  # knobs with a slider
PACES = {"full speed": 0.0, "20 steps/s": 20.0, "5 steps/s": 5.0, "1 step/s": 1.0}
SOURCES = {"from the prior": "prior", "from a mixture": "mixture"}
TIPS = {
    "play": "Play or pause the training (space)",
    "step": "Pause, and take one optimizer step (s)",
    "reset": "Back to the first weights and the same seed; the knobs stay",
    "kind": "Reconstruction: which −log p(x|z) is minimised",
    "data": "The images to learn",
    "pace": "Slow motion, for lectures",
    "pair": "Which two latent dimensions the plane shows",
    "angle": "Turn the code in the plane, by 0 to 90 degrees; the decoder turns it back, so that no image changes",
    "digits": "Show each image as its class's digit instead of a dot",
    "posterior": "The chosen image's true posterior: contours that hold as much as the ellipses of σ and 2 σ do",
    "noise": "Noise added to the codes: the draws are code + σ ε. The training does not see it",
    "colour": "What the dots are coloured by: the class, or a factor that the images were drawn from",
    "source": "What new digits are drawn from: the prior, or a mixture of Gaussians fitted to the codes",
    "aggregated": "The aggregated posterior, the mean of all ellipses: contours as high as the prior on its rings; "
    "and the KL in two parts, I(x; z) and KL(q(z) ‖ p(z))",
    "new": "Twenty new images, decoded from draws of the prior (n: others)",
    "draw": "A pad: draw a digit, and see its posterior and its reconstruction",
    "more": "Learning rate, reconstruction, data, pace, what to show, recordings",
    "save": "Save the recording of this run: seed, settings and every knob turned",
    "load": "Load a recording and play it",
    "images": "Learn your own images: an .npz, a .zip of pictures, or pictures, of 10 MB together; from code any size",
    "full": "Full screen (f)",
    "keys": "The keys (?)",
}


class Controls:
    """The controls of `lab`; a twin has knobs for each of its runs, and locks that tie them together.

    knobs: of each run, the control of each knob by name. What they show is always read from the lab's settings.
    """

    def __init__(self, lab, latent_dim: int, has_prior: bool):
        self.lab, self.latent_dim, self.has_prior = lab, latent_dim, has_prior
        self._shown: tuple | None = None
        self._showing, self._quiet = threading.RLock(), threading.local()  # page and trainer have threads of their own
        self.knobs = [{name: make_control(name, run, name in SLIDERS) for name in KNOBS} for run in lab.side_names]
        self.play = _button("Play", "play", "6.2em", button_style="primary")
        self.step = _button("Step", "step-forward", "5.2em")
        self.reset = _button("Start again", "undo", "8.8em")
        self.more = _toggle("More", "ellipsis-h", "5.4em")
        self.full, self.keys = _button("", "expand", "2.6em"), _button("?", "", "2.2em")
        self.full.add_class("vk-full")  # these two are answered in the page
        self.keys.add_class("vk-help")
        self.kind = _menu({row.label: kind for kind, row in LIKELIHOODS.items()}, "11em")
        self.data = _menu(lab.data_names, "11.7em")
        self.pace, self.pair = _menu(PACES, "6.6em"), _menu(_pairs(latent_dim, has_prior), "8.8em")
        self.angle = widgets.FloatSlider(min=0, max=90, step=1, readout_format=".0f", layout={"width": "11em"})
        self.angle.add_class("vk-turn")
        self.digits, self.posterior, self.aggregated = _box("numerals"), _box("p(z|x)"), _box("q(z)")
        self.noise = widgets.FloatSlider(min=0, max=3, step=0.05, layout={"flex": "1 1 10em"}, readout_format=".2f")
        self.noise.add_class("vk-beta")
        self.colour = _menu({"class": ""}, "9em")
        self.coloured = _named("colour", self.colour)
        self.new, self.source = _toggle("New digits", "", "6.6em"), _menu(SOURCES, "8.4em")
        self.draw = _toggle("Draw a digit", "", "7.5em")
        self.no_pad = _label("")
        self.save = _button("Save", "", "3.5em")
        self.load = _upload("Load", "vk-load", [".json"])
        self.images = _upload("Load images", "vk-images", [".zip", *ARRAYS, *ENDINGS], multiple=True)
        self.locks = {name: _lock(name) for name in KNOBS if len(self.knobs) > 1}
        self.knob_parts = [part for knobs in self.knobs for knob in knobs.values() for part in knob.parts]
        for name, tip in TIPS.items():
            getattr(self, name).tooltip = tip
        self.rows = self._rows()
        self.links = self._link([side.plane for side in lab.view.sides])
        self._listen()

    def _rows(self) -> list[widgets.HBox]:
        """Return the lesson's row, of a twin a second one with the knobs of each run, and what is under More."""
        lesson, others = KNOB_ROWS if self.has_prior else ((), KNOB_ROWS[1])
        numbers, twin = range(len(self.knobs)), len(self.knobs) > 1
        drive, ways = [self.play, self.step, self.reset], [self.more, self.full, self.keys]
        if not self.has_prior:
            rows = [[*drive, _label("noise σ"), self.noise, *ways]]
        elif not twin:
            rows = [[*drive, *self._parts(0, lesson), *ways]]
        else:
            rows = [[*drive, _label("together"), *(self.locks[name] for name in lesson), *ways]]
            rows += [[_group("vk-group", *self._parts(number, lesson, True)) for number in numbers]]
        rest = [_group("vk-named", *self._parts(number, others, twin)) for number in numbers]
        rest += [lock for name, lock in self.locks.items() if name in others]
        rest += [self.kind, self.data, self.images, self.pace, self.digits, _group("vk-named", self.save, self.load)]
        rest += [_named("plane", self.pair)] if self.latent_dim > 2 else []
        rest += [_named("angle", self.angle), self.coloured, self.aggregated]
        rest += [self.posterior] if self.has_prior and self.latent_dim == 2 else []
        rest += [_group("vk-named", self.new, self.source), self.draw, self.no_pad]
        self.looks = _group("vk-controls", *rest)
        self.looks.layout.display = "none"
        return [*(_group("vk-controls", *row) for row in rows), self.looks]

    def _parts(self, number: int, names, named: bool = False) -> list:
        """Return the widgets of a run's knobs, after the run's name."""
        parts = [part for name in names for part in self.knobs[number][name].parts]
        return [_label(self.lab.side_names[number]), *parts] if named else parts

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
        """Answer the widgets."""
        self._on_click(self.play, lambda lab: lab.engine.pause() if lab.playing else lab.play())
        self._on_click(self.step, lambda lab: lab.engine.train_for(1))
        self._on_click(self.reset, lambda lab: lab.engine.reset())
        self._on_click(self.save, lambda lab: lab.offer_recording())
        for side, knobs in enumerate(self.knobs):
            for name, control in knobs.items():
                for widget, read in control.readers:
                    self._on_value(widget, lambda c, value, a=(side, name, read): c.answer(*a, value))
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

    def answer(self, side: int, name: str, read, value) -> None:
        """Turn a knob of one run as its control says."""
        wanted = read(value)
        if wanted == self.lab.sides[side].settings[name]:
            self.show()
        else:
            self.turn(side, name, wanted)

    def turn(self, side: int, name: str, value) -> None:
        """Turn a knob of one run; tied, of both."""
        tied = len(self.knobs) == 1 or self.locks[name].value
        self.lab.set(side=None if tied else side, **{name: value})

    def press(self, key: str, side: int) -> None:
        """Answer a key that is pressed in the page, beside the plane of a run: see keys.js."""
        settings = self.lab.sides[side].settings
        if key == " ":
            self.play.click()
        elif key == "s":
            self.step.click()
        elif key in "p[]" and not self.has_prior:
            return
        elif key == "p":
            self.turn(side, "prior", not settings["prior"])
        elif key == "n" and self.lab.plane.draw_number:
            self.lab.engine.ask("draw_new")
        elif key == "n":
            self.new.value = True
        elif key in "[]":
            self.turn(side, "beta", next_value(settings["beta"], 1 if key == "]" else -1))

    def load_recording(self, files) -> None:
        """Play the recording in an uploaded file."""
        for name, content in _taken_from(self.load, files).items():
            text = content.decode("utf-8-sig", errors="replace")
            self.lab.follow(Recording.from_json(text, short_path(name))).play()

    def load_images(self, files) -> None:
        """Learn the images in uploaded files."""
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


def _button(text: str, icon: str, width: str, **looks) -> widgets.Button:
    return widgets.Button(description=text, icon=icon, layout={"width": width}, **looks)


def _toggle(text: str, icon: str, width: str, **looks) -> widgets.ToggleButton:
    return widgets.ToggleButton(description=text, icon=icon, layout={"width": width}, **looks)


def _box(text: str) -> widgets.Checkbox:
    return widgets.Checkbox(description=text, indent=False, layout={"width": "auto"})


def _menu(options, width: str) -> widgets.Dropdown:
    return widgets.Dropdown(options=options, layout={"width": width})


def _upload(text: str, name: str, endings: list[str], **looks) -> widgets.FileUpload:
    upload = widgets.FileUpload(description=text, accept=",".join(endings), layout={"width": "auto"}, **looks)
    upload.add_class(name)
    return upload


def _label(text: str) -> widgets.Label:
    return widgets.Label(text, layout={"width": "auto"})


def _lock(name: str) -> widgets.ToggleButton:
    label = KNOBS[name].metadata["label"].split()[-1].lower()
    return _toggle(label, "link", "5em", value=True, tooltip=f"Turn both runs' {name} together, or each by itself")


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


def _named(name: str, widget) -> widgets.HBox:
    return _group("vk-named", _label(name), widget)


def _pairs(latent_dim: int, has_prior: bool) -> dict[str, tuple[int, ...]]:
    """Return the pairs there are to choose; of very many dimensions, those of the first twelve."""
    dims = range(min(latent_dim, 12))
    pairs = {f"z{i + 1}, z{j + 1}": (i, j) for i in dims for j in dims if i < j}
    # None in place of () would leave the menu blank: to ipywidgets it is no choice
    return {"most active" if has_prior else "first two": ()} | pairs
