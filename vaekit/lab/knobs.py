"""The widgets of a knob, made from its row in the table of knobs: a switch, a box, or a box with a slider."""

import math
from functools import partial

import ipywidgets as widgets
from ipywidgets import Checkbox, SelectionSlider, Text

from vaekit.training import KNOBS

Label = partial(widgets.Label, layout={"width": "auto"})
PLACES = [float(f"{10 ** (step / 20):.2g}") for step in range(-40, 41)]  # of a slider: 0.01 to 100 on a log scale


class KnobControl:
    """The widgets of a knob, of the run that is named.

    parts: the widgets in their order. ways: of each that is changed, how its value is read, and how one is shown.
    """

    def __init__(self, name: str, run_name: str, with_slider: bool = False):
        self.label, of_run = KNOBS[name].metadata["label"], f"{run_name}: " if run_name else ""
        tip = of_run + KNOBS[name].metadata["tip"]
        if isinstance(KNOBS[name].default, bool):
            self.box = Checkbox(description=self.label, indent=False, tooltip=tip, layout={"width": "auto"})
            self.box.add_class("vk-switch")
            self.parts, self.ways = [self.box], [(self.box, bool, bool)]
            return
        self.text = Text(continuous_update=False, tooltip=tip, layout={"width": "4.4em"})
        self.parts = [Label(self.label), self.text]
        self.ways = [(self.text, self._number, "{:g}".format)]
        if with_slider:
            self.text.tooltip = f"{of_run}{self.label}, typed: any number from 0 up"
            places = [(f"{place:g}", place) for place in PLACES]  # the page sends a place's number: no rounding
            looks = {"readout": False, "tooltip": tip, "layout": {"flex": "1 1 6em"}}
            self.slider = SelectionSlider(options=places, value=1.0, **looks)
            self.slider.add_class("vk-beta")
            self.parts.insert(1, self.slider)
            self.ways.append((self.slider, float, _nearest_place))

    def show(self, value) -> None:
        for widget, _, shown in self.ways:
            widget.value = shown(value)

    def _number(self, text: str) -> float:
        try:
            return float(text.strip().replace(",", "."))
        except ValueError:
            raise ValueError(f"{self.label} must be a number such as 0.5, not {text!r}") from None


def _nearest_place(value: float) -> float:
    return min(PLACES, key=lambda place: abs(math.log(place / max(value, PLACES[0]))))


def next_value(value: float, direction: int) -> float:
    """Return where a key brings a number: the next quarter of a power of ten among the places, up or down."""
    quarters, value = PLACES[:: 5 * direction], max(value, PLACES[0])
    return next((place for place in quarters if direction * (place - value) > 0), quarters[-1])
