"""The knobs and buttons: plain ipywidgets, which hand what the learner does to the lab."""

import math

import ipywidgets as widgets

from vaekit.data import ImageSet

PACES = {"full speed": 0.0, "20 steps/s": 20.0, "5 steps/s": 5.0, "1 step/s": 1.0}
KINDS = {"BCE": "bernoulli", "squared error": "gaussian"}
LOWEST, HIGHEST = 0.01, 100.0
SLIDER_STEP = 0.05  # of log₁₀ β


class Controls:
    """Two rows of controls for `lab`. `show(settings)` sets them to what acts, without answering back."""

    def __init__(self, lab, sets: dict[str, ImageSet]):
        self.lab, self.quiet = lab, False
        button = widgets.Button
        self.play = button(icon="play", description="Play", button_style="primary", layout={"width": "104px"})
        self.step = button(icon="step-forward", description="Step", layout={"width": "90px"})
        self.reset = button(icon="undo", description="Start again", layout={"width": "146px"})
        self.prior = widgets.ToggleButton(value=True, description="Prior on", layout={"width": "112px"})
        self.beta = widgets.FloatLogSlider(
            value=1, base=10, min=-2, max=2, step=SLIDER_STEP, readout=False, layout={"width": "200px"}
        )
        self.beta_text = widgets.Text(continuous_update=False, layout={"width": "72px"})
        self.lr = widgets.Text(continuous_update=False, layout={"width": "70px"})
        self.kind = widgets.Dropdown(options=KINDS, layout={"width": "158px"})
        self.data = widgets.Dropdown(options=list(sets), layout={"width": "198px"})
        self.pace = widgets.Dropdown(options=PACES, layout={"width": "112px"})
        self.digits = widgets.Checkbox(description="digits as marks", indent=False, layout={"width": "136px"})
        self._tips()
        self.rows = [
            self._row(self.play, self.step, self.reset, self.prior, self._label("β"), self.beta, self.beta_text),
            self._row(self._label("learning rate"), self.lr, self.kind, self.data, self.pace, self.digits),
        ]
        self._listen()

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
            (self.prior, "The prior's pull, β·KL, in the loss: on or off"),
            (self.beta, "β, the weight of the KL, on a log scale"),
            (self.beta_text, "β, typed: any number from 0 up"),
            (self.lr, "The learning rate of Adam, above 0"),
            (self.kind, "Reconstruction: which −log p(x|z) is minimised"),
            (self.data, "The images to learn"),
            (self.pace, "Slow motion, for lectures"),
            (self.digits, "Show each image as its class's digit instead of a dot"),
        ):
            widget.tooltip = tip

    def _listen(self) -> None:
        lab = self.lab
        self.play.on_click(lambda _: lab.engine.pause() if lab.engine.playing else lab.play())
        self.step.on_click(lambda _: lab.engine.steps(1))
        self.reset.on_click(lambda _: lab.engine.reset())
        self._on_change(self.prior, lambda value: {"prior": value})
        self._on_change(self.beta, self._slid)
        self._on_change(self.beta_text, lambda text: {"beta": _number("β", text)})
        self._on_change(self.lr, lambda text: {"lr": _number("the learning rate", text)})
        self._on_change(self.kind, lambda value: {"kind": value})
        self._on_change(self.data, lambda value: {"data": value})
        self.pace.observe(lambda change: setattr(lab.engine, "pace", change.new or None), "value")
        widgets.jslink((self.digits, "value"), (lab.view.plane, "digits"))

    def _slid(self, value: float) -> dict:
        # A page's slider rounds what it is set to, and sends that back: not the learner's doing.
        return {} if _at(value, self.lab.settings["beta"]) else {"beta": float(f"{value:.2g}")}

    def _on_change(self, widget, changes_of) -> None:
        def answer(change):
            with self.lab.turning:
                if self.quiet:
                    return
                try:
                    if changes := changes_of(change.new):
                        self.lab.set(**changes)
                except (ValueError, TypeError) as error:
                    self.lab.say(str(error))
                    self.show(self.lab.settings)

        widget.observe(answer, "value")

    def show(self, settings: dict) -> None:
        """Set the controls to `settings` (see Recording)."""
        self.quiet = True
        try:
            self.prior.value = settings["prior"]
            self.prior.description = f"Prior {'on' if settings['prior'] else 'off'}"
            self.prior.button_style = "info" if settings["prior"] else ""
            self.prior.icon = "check" if settings["prior"] else "times"
            if not _at(self.beta.value, settings["beta"]):  # else an answer would pull at the slider in the hand
                self.beta.value = min(HIGHEST, max(LOWEST, settings["beta"]))
            self.beta_text.value, self.lr.value = f"{settings['beta']:g}", f"{settings['lr']:g}"
            self.kind.value, self.data.value = settings["kind"], settings["data"]
        finally:
            self.quiet = False

    def show_playing(self, playing: bool) -> None:
        self.play.description, self.play.icon = ("Pause", "pause") if playing else ("Play", "play")


def _at(place: float, beta: float) -> bool:
    """Is this the slider's place for `beta`? It has places 0.05 apart on its scale."""
    return beta > 0 and abs(math.log10(place / beta)) < 0.6 * SLIDER_STEP


def _number(name: str, text: str) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise ValueError(f"{name} must be a number such as 0.5, not {text!r}") from None
