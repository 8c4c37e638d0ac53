"""The knobs and buttons: plain ipywidgets, which hand what the learner does to the lab."""

import math

import ipywidgets as widgets

from vaekit.files import short_path
from vaekit.lab.words import KIND_NAMES
from vaekit.recording import Recording

PACES = {"full speed": 0.0, "20 steps/s": 20.0, "5 steps/s": 5.0, "1 step/s": 1.0}
KINDS = {name: kind for kind, name in KIND_NAMES.items()}
SHOWN = {"nothing more": "", "draws from the prior": "draws", "a walk between two codes": "walk"}
LOWEST, HIGHEST = 0.01, 100.0
SLIDER_STEP = 0.05  # of log₁₀ β


class Knobs:
    """The knobs of one run: prior, β and learning rate. `show(settings)` sets them to what acts."""

    def __init__(self, name: str, slider_width: str = "200px"):
        self.name = name
        self.placed: set[float] = set()  # where `show` has put the slider
        self.prior = widgets.ToggleButton(value=True, description="Prior on", layout={"width": "112px"})
        self.beta = widgets.FloatLogSlider(
            value=1, base=10, min=-2, max=2, step=SLIDER_STEP, readout=False, layout={"width": slider_width}
        )
        self.beta_text = widgets.Text(continuous_update=False, layout={"width": "72px"})
        self.lr = widgets.Text(continuous_update=False, layout={"width": "70px"})
        side = f"{name}: " if name else ""
        self.prior.tooltip = f"{side}The prior's pull, β·KL, in the loss: on or off"
        self.beta.tooltip = f"{side}β, the weight of the KL, on a log scale"
        self.beta_text.tooltip = f"{side}β, typed: any number from 0 up"
        self.lr.tooltip = f"{side}The learning rate of Adam, above 0"
        self.beta.add_class("vk-beta")

    def turned(self):
        """Each control, with the function that turns its value into a change of the settings."""
        yield self.prior, lambda value, _: {"prior": value}
        yield self.beta, self._slid
        yield self.beta_text, lambda text, _: {"beta": _number("β", text)}
        yield self.lr, lambda text, _: {"lr": _number("the learning rate", text)}

    def _slid(self, value: float, now: dict) -> dict:
        if _at(value, now["beta"]) or self._is_answer(value):
            return {}
        return {"beta": float(f"{value:.2g}")}

    def _is_answer(self, value: float) -> bool:
        """Is this what a page's slider says when it is set? It does where its power of ten differs in the last digit.

        The answer may come late, when β is another: it is not the learner's doing.
        """
        asked = next((it for it in self.placed if it != value and math.isclose(it, value, rel_tol=1e-9)), None)
        self.placed.discard(asked)
        return asked is not None

    def show(self, settings: dict) -> None:
        self.prior.value = settings["prior"]
        self.prior.description = f"Prior {'on' if settings['prior'] else 'off'}"
        self.prior.button_style = "info" if settings["prior"] else ""
        self.prior.icon = "check" if settings["prior"] else "times"
        if not _at(self.beta.value, settings["beta"]):  # else an answer would pull at the slider in the hand
            self.beta.value = _place_for(settings["beta"])
            self.placed.add(self.beta.value)
        self.beta_text.value, self.lr.value = f"{settings['beta']:g}", f"{settings['lr']:g}"


class Controls:
    """The rows of controls for `lab`; a twin has knobs for each of its runs, and locks that tie them together."""

    def __init__(self, lab, latent_dim: int, linear: bool):
        self.lab, self.quiet = lab, False
        button = widgets.Button
        self.play = button(icon="play", description="Play", button_style="primary", layout={"width": "104px"})
        self.step = button(icon="step-forward", description="Step", layout={"width": "90px"})
        self.reset = button(icon="undo", description="Start again", layout={"width": "146px"})
        # A linear model's slider carries marks that lie close together.
        self.knobs = [Knobs(name, "310px" if linear else "200px") for name in lab.side_names]
        self.kind = widgets.Dropdown(options=KINDS, layout={"width": "186px"})
        self.data = widgets.Dropdown(options=lab.data_names, layout={"width": "184px"})
        self.pace = widgets.Dropdown(options=PACES, layout={"width": "112px"})
        self.showing = widgets.Dropdown(options=SHOWN, layout={"width": "226px"})
        self.pair = widgets.Dropdown(options=_pairs(latent_dim), layout={"width": "130px"})
        self.digits = widgets.Checkbox(description="digits as marks", indent=False, layout={"width": "136px"})
        self.draw = widgets.ToggleButton(description="Draw a digit", icon="pencil", layout={"width": "146px"})
        self.no_pad = self._label("")
        self.more = widgets.ToggleButton(description="More", icon="ellipsis-h", layout={"width": "90px"})
        self.save = button(icon="download", description="Save", layout={"width": "90px"})
        self.load = widgets.FileUpload(accept=".json", description="Load", layout={"width": "96px"})
        self.locks = {
            name: widgets.ToggleButton(value=name != "prior", description=shown, icon="link", layout={"width": "70px"})
            for name, shown in (("prior", "prior"), ("beta", "β"), ("lr", "rate"))
        }
        self._tips()
        self.rows = self._rows(latent_dim)
        self._listen()

    def _rows(self, latent_dim: int) -> list[widgets.HBox]:
        label, drive, choice = (
            self._label,
            (self.play, self.step, self.reset),
            (self.kind, self.data, self.pace, self.more),
        )
        looks = [label("show"), self.showing, self.digits, label("recording"), self.save, self.load]
        looks += [self.draw, self.no_pad]
        looks[2:2] = [label("plane"), self.pair] if latent_dim > 2 else []
        self.looks = self._row(*looks)
        self.looks.layout.display = "none"
        if len(self.knobs) == 1:
            (k,) = self.knobs
            rows = [
                self._row(*drive, k.prior, label("β"), k.beta, k.beta_text),
                self._row(label("learning rate"), k.lr, *choice),
            ]
        else:
            left, right = [
                (label(k.name), k.prior, label("β"), k.beta, k.beta_text, label("learning rate"), k.lr)
                for k in self.knobs
            ]
            together = (label("together"), *self.locks.values())
            rows = [self._row(*drive, *choice), self._row(*left), self._row(*right, *together)]
        return [*rows, self.looks]

    @staticmethod
    def _label(text: str) -> widgets.Label:
        return widgets.Label(text, layout={"width": "auto"})

    @staticmethod
    def _row(*children) -> widgets.HBox:
        row = widgets.HBox(children)
        row.add_class("vk-controls")
        return row

    def _tips(self) -> None:
        for widget, tip in (
            (self.play, "Play or pause the training"),
            (self.step, "Pause, and take one optimizer step"),
            (self.reset, "Back to the first weights and the same seed; the knobs stay"),
            (self.kind, "Reconstruction: which −log p(x|z) is minimised"),
            (self.data, "The images to learn"),
            (self.pace, "Slow motion, for lectures"),
            (self.showing, "Show in the plane what completeness or continuity is measured on"),
            (self.pair, "Which two latent dimensions the plane shows"),
            (self.digits, "Show each image as its class's digit instead of a dot"),
            (self.draw, "A pad: draw a digit, and see its posterior and its reconstruction"),
            (self.more, "More to show, and recordings to save and load"),
            (self.save, "Save the recording of this run: seed, settings and every knob turned"),
            (self.load, "Load a recording and play it"),
            *((lock, f"Turn both runs' {name} together, or each by itself") for name, lock in self.locks.items()),
        ):
            widget.tooltip = tip

    def _listen(self) -> None:
        lab = self.lab
        self.play.on_click(lambda _: lab.engine.pause() if lab.engine.playing else lab.play())
        self.step.on_click(lambda _: lab.engine.steps(1))
        self.reset.on_click(lambda _: lab.engine.reset())
        self.save.on_click(lambda _: lab.offer_recording())
        for side, knobs in enumerate(self.knobs):
            for widget, changes_of in knobs.turned():
                self._on_change(widget, side, changes_of)
        self._on_change(self.kind, None, lambda value, _: {"kind": value})
        self._on_change(self.data, None, lambda value, _: {"data": value})
        self.load.observe(lambda change: self._loaded(change.new), "value")
        self.pace.observe(lambda change: setattr(lab.engine, "pace", change.new or None), "value")
        self.more.observe(lambda change: setattr(self.looks.layout, "display", None if change.new else "none"), "value")
        self.draw.observe(lambda change: lab._show_pad(change.new), "value")
        self.showing.observe(lambda change: lab.show(change.new), "value")
        self.pair.observe(lambda change: lab.show_pair(change.new or None), "value")
        for name, lock in self.locks.items():
            lock.observe(lambda change, name=name: change.new and self._tie(name), "value")
        for side in lab.view.sides:
            widgets.jslink((self.digits, "value"), (side.plane, "digits"))

    def _on_change(self, widget, side: int | None, changes_of) -> None:
        def answer(change):
            with self.lab.turning:
                if not self.quiet:
                    self._try(lambda: self._turn(side, changes_of(change.new, self.lab.sides[side or 0].settings)))

        widget.observe(answer, "value")

    def _turn(self, side: int | None, changes: dict) -> None:
        for name, value in changes.items():
            tied = len(self.knobs) == 1 or name not in self.locks or self.locks[name].value
            self.lab.set(side=None if tied else side, **{name: value})

    def _tie(self, name: str) -> None:
        """From here on together: the right run takes the left one's value."""
        self._try(lambda: self.lab.set(**{name: self.lab.sides[0].settings[name]}))

    def _loaded(self, files) -> None:
        if files:
            text = bytes(files[0]["content"]).decode("utf-8-sig", errors="replace")
            self._try(lambda: self.lab.follow(Recording.from_json(text, short_path(files[0]["name"]))).play())
            self.load.value = ()

    def choose_pair(self, pair: tuple[int, int]) -> None:
        """A pair was chosen in the page: one of the menu's, or of dimensions beyond those in it."""
        if pair in self.pair.options.values():
            self.pair.value = pair
        else:
            self._try(lambda: self.lab.show_pair(pair))

    def _try(self, action) -> None:
        try:
            action()
        except (ValueError, TypeError) as error:
            self.lab.say(str(error))
            self.show()

    def show(self) -> None:
        """Set the controls to the lab's settings, without answering back."""
        self.quiet = True
        try:
            for knobs, side in zip(self.knobs, self.lab.sides, strict=True):
                knobs.show(side.settings)
            left, right = (self.lab.sides[number].settings for number in (0, -1))
            for name, lock in self.locks.items():
                lock.value = lock.value and left[name] == right[name]  # knobs that stand apart are not together
            if list(self.data.options) != self.lab.data_names:
                self.data.options = self.lab.data_names
            why = self.lab.why_no_pad()
            self.draw.disabled, self.no_pad.value = bool(why), why
            self.draw.value = self.draw.value and not why
            self.kind.value, self.data.value = (self.lab.settings[name] for name in ("kind", "data"))
        finally:
            self.quiet = False

    def show_playing(self, playing: bool) -> None:
        self.play.description, self.play.icon = ("Pause", "pause") if playing else ("Play", "play")


def _pairs(latent_dim: int) -> dict[str, tuple[int, ...]]:
    """The pairs there are to choose; of very many dimensions, those of the first twelve."""
    dims = range(min(latent_dim, 12))
    pairs = {f"z{i + 1}, z{j + 1}": (i, j) for i in dims for j in dims if i < j}
    return {"most active": ()} | pairs  # None would leave the menu blank: to ipywidgets it is no choice


def _at(place: float, beta: float) -> bool:
    """Is this the slider's place for `beta`? It has places 0.05 apart on its scale."""
    return beta > 0 and abs(math.log10(place / beta)) < 0.6 * SLIDER_STEP


def _place_for(beta: float) -> float:
    """The slider's place nearest to `beta`: set between two places, a page's slider would send back where it went."""
    exponent = math.log10(min(HIGHEST, max(LOWEST, beta)))
    return 10 ** round(SLIDER_STEP * round(exponent / SLIDER_STEP), 2)


def _number(name: str, text: str) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise ValueError(f"{name} must be a number such as 0.5, not {text!r}") from None
