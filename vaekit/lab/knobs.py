"""The widget of a knob, made from its row in the table of knobs: a switch, a box, or a box with a slider."""

import math

import ipywidgets as widgets

from vaekit.training import KNOBS

PLACES = [float(f"{10 ** (step / 20):.2g}") for step in range(-40, 41)]  # of a slider: 0.01 to 100 on a log scale


class Switch:
    """A knob that is on or off."""

    def __init__(self, label: str, tip: str):
        self.box = widgets.Checkbox(description=label, indent=False, tooltip=tip, layout={"width": "auto"})
        self.box.add_class("vk-switch")
        self.parts = [self.box]
        self.readers = [(self.box, bool)]

    def show(self, value: bool) -> None:
        self.box.value = value


class Box:
    """A number that is typed. readers: each widget, and how its value is read."""

    def __init__(self, label: str, tip: str):
        self.label = label
        self.text = widgets.Text(continuous_update=False, tooltip=tip, layout={"width": "4.4em"})
        self.parts = [widgets.Label(label, layout={"width": "auto"}), self.text]
        self.readers = [(self.text, self._number)]

    def show(self, value: float) -> None:
        self.text.value = f"{value:g}"

    def _number(self, text: str) -> float:
        try:
            return float(text.strip().replace(",", "."))
        except ValueError:
            raise ValueError(f"{self.label} must be a number such as 0.5, not {text!r}") from None


class Slider(Box):
    """A number that is typed, or set to one of the places of a slider."""

    def __init__(self, label: str, tip: str, tip_of_box: str):
        super().__init__(label, tip_of_box)
        places = [(f"{place:g}", place) for place in PLACES]  # the page sends a place's number: no rounding on the way
        looks = {"readout": False, "tooltip": tip, "layout": {"flex": "1 1 6em"}}
        self.slider = widgets.SelectionSlider(options=places, value=1.0, **looks)
        self.slider.add_class("vk-beta")
        self.parts.insert(1, self.slider)
        self.readers.append((self.slider, float))

    def show(self, value: float) -> None:
        super().show(value)
        self.slider.value = min(PLACES, key=lambda place: abs(math.log(place / max(value, PLACES[0]))))


def make_control(name: str, run_name: str, slider: bool = False) -> Switch | Box:
    """Return the control of a knob, of the run that is named."""
    label, of_run = KNOBS[name].metadata["label"], f"{run_name}: " if run_name else ""
    tip = of_run + KNOBS[name].metadata["tip"]
    if isinstance(KNOBS[name].default, bool):
        return Switch(label, tip)
    typed = f"{of_run}{label}, typed: any number from 0 up"
    return Slider(label, tip, typed) if slider else Box(label, tip)


def next_value(value: float, direction: int) -> float:
    """Return where a key brings a number: the next quarter of a power of ten among the places, up or down."""
    quarters, value = PLACES[:: 5 * direction], max(value, PLACES[0])
    return next((place for place in quarters if direction * (place - value) > 0), quarters[-1])
