"""The widget of a knob, made from its row in the table of knobs: a switch, a box, or a box with a slider."""

import math

import ipywidgets as widgets

from vaekit.training import KNOBS

LOWEST, HIGHEST = 0.01, 100.0
SLIDER_STEP = 0.05  # of log₁₀ of the value


class Switch:
    """A knob that is on or off."""

    def __init__(self, label: str, tip: str):
        self.box = widgets.Checkbox(description=label, indent=False, tooltip=tip, layout={"width": "auto"})
        self.box.add_class("vk-switch")
        self.parts = [self.box]
        self.readers = [(self.box, lambda value, now: value)]

    def show(self, value: bool) -> None:
        self.box.value = value


class Box:
    """A number that is typed. readers: each widget, and how its value is read; `now` is the knob's present value."""

    def __init__(self, label: str, tip: str):
        self.label = label
        self.text = widgets.Text(continuous_update=False, tooltip=tip, layout={"width": "4.4em"})
        self.parts = [widgets.Label(label, layout={"width": "auto"}), self.text]
        self.readers = [(self.text, lambda text, now: self._number(text))]

    def show(self, value: float) -> None:
        self.text.value = f"{value:g}"

    def _number(self, text: str) -> float:
        try:
            return float(text.strip().replace(",", "."))
        except ValueError:
            raise ValueError(f"{self.label} must be a number such as 0.5, not {text!r}") from None


class Slider(Box):
    """A number that is typed, or set on a log scale."""

    def __init__(self, label: str, tip: str, tip_of_box: str):
        super().__init__(label, tip_of_box)
        self.slider = widgets.FloatLogSlider(
            base=10, min=-2, max=2, step=SLIDER_STEP, readout=False, tooltip=tip, layout={"flex": "1 1 6em"}
        )
        self.slider.add_class("vk-beta")
        self.parts.insert(1, self.slider)
        self.readers.append((self.slider, self._slid))
        self._placed: set[float] = set()  # where `show` has put the slider

    def show(self, value: float) -> None:
        super().show(value)
        if not _at(self.slider.value, value):  # else an answer would pull at the slider in the hand
            self.slider.value = _place_for(value)
            self._placed.add(self.slider.value)

    def _slid(self, value: float, now: float) -> float:
        return now if _at(value, now) or self._is_answer(value) else float(f"{value:.2g}")

    def _is_answer(self, value: float) -> bool:
        """Return whether this is what a page's slider says when it is set: the place, but for its last digit.

        The answer may come late, when the knob stands elsewhere: it is not the learner's doing.
        """
        asked = next((it for it in self._placed if it != value and math.isclose(it, value, rel_tol=1e-9)), None)
        self._placed.discard(asked)
        return asked is not None


def make_control(name: str, run_name: str, slider: bool = False) -> Switch | Box:
    """Return the control of a knob, of the run that is named."""
    label, of_run = KNOBS[name].metadata["label"], f"{run_name}: " if run_name else ""
    tip = of_run + KNOBS[name].metadata["tip"]
    if isinstance(KNOBS[name].default, bool):
        return Switch(label, tip)
    typed = f"{of_run}{label}, typed: any number from 0 up"
    return Slider(label, tip, typed) if slider else Box(label, tip)


def next_value(value: float, direction: int) -> float:
    """Return where a key brings a number on the slider's scale: the next quarter of a power of ten, up or down."""
    quarters = 4 * math.log10(max(value, LOWEST))
    place = (math.floor(quarters + 0.1) + 1) if direction > 0 else (math.ceil(quarters - 0.1) - 1)
    return float(f"{min(HIGHEST, max(LOWEST, 10 ** (place / 4))):.2g}")


def _at(place: float, value: float) -> bool:
    """Return whether this is the slider's place for `value`. It has places 0.05 apart on its scale."""
    return value > 0 and abs(math.log10(place / value)) < 0.6 * SLIDER_STEP


def _place_for(value: float) -> float:
    """Return the slider's place nearest to `value`: set between two, a page's slider would send back where it went."""
    exponent = math.log10(min(HIGHEST, max(LOWEST, value)))
    return 10 ** round(SLIDER_STEP * round(exponent / SLIDER_STEP), 2)
