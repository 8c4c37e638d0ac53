"""Written predictions: a text box before an experiment, whose answer is kept and shown back after it."""

import html
import os
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote

from vaekit._files import write_whole
from vaekit._pictures import as_bundle

SIZE = "font-size: 1.1em; line-height: 1.4"  # widgets write smaller than the prose around them


def answers_folder() -> Path:
    """Where the answers are kept, a file for each: `VAEKIT_ANSWERS`, else a folder in the user's data folder."""
    if chosen := os.environ.get("VAEKIT_ANSWERS"):
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("vaekit") / "predictions"


def kept_answers() -> dict[str, str]:
    """All answers by key; a folder or file that cannot be read counts as empty."""
    answers = {}
    for path in answers_folder().glob("*.txt"):
        try:
            answers[unquote(path.stem)] = path.read_bytes().decode(errors="replace")
        except OSError as error:
            warnings.warn(f"{path} cannot be read ({type(error).__name__})", stacklevel=3)
    return answers


class Prediction:
    """A question and a text box; what the learner writes is kept, and stands there again after a restart.

    key: the name under which the answer is kept, such as "04-prior-off". `shown_back` shows the answer later.
    """

    def __init__(self, key: str, question: str):
        self.key, self.question = key, question
        self.answer = kept_answers().get(key, "")
        self.listeners: list[Callable[[], None]] = []  # called when the answer is another

    def keep(self, text: str) -> None:
        """Keep `text` as the answer; where it cannot be written, it lives as long as the kernel."""
        self.answer = text
        for tell in self.listeners:
            tell()
        try:
            answers_folder().mkdir(parents=True, exist_ok=True)
            write_whole(answers_folder() / f"{quote(self.key, safe='')}.txt", text.encode())
        except OSError as error:
            warnings.warn(f"your prediction is kept in this session only: {error}", stacklevel=2)

    @cached_property
    def shown_back(self) -> "ShownBack":
        """What the learner wrote, to be displayed beside what happened."""
        return ShownBack(self)

    def _repr_mimebundle_(self, **_):
        import ipywidgets as widgets

        width = "calc(100% - 4px)"  # less its own margins
        box = widgets.Textarea(value=self.answer, placeholder="I expect …", rows=2, layout={"width": width})
        box.continuous_update = False  # written when the learner leaves the box: each writing waits for the disk
        box.tooltip = self.question
        box.observe(lambda change: self.keep(change.new), "value")
        question = f"<b>Your prediction.</b> {html.escape(self.question)}"
        title = widgets.HTML(f"<span style='{SIZE}'>{question}</span>")
        static = f"<p>{question}</p><p>________________________________</p>"
        return as_bundle(widgets.VBox([title, box]), text=repr(self), html=static)

    def __repr__(self) -> str:
        return f"Prediction({self.key!r})"


class ShownBack:
    """An answer, beside what happened; in a notebook it follows what is written into the box."""

    def __init__(self, prediction: Prediction):
        self.prediction = prediction

    def _repr_html_(self) -> str:
        text = self.prediction.answer.strip()
        answer = f"“{html.escape(text)}”" if text else "<i>nothing yet: the box above keeps what you write</i>"
        return f"<p style='{SIZE}'><b>You expected:</b> {answer}<br><b>Now compare.</b></p>"

    @cached_property
    def widget(self):
        """One widget for all displays, and so one listener."""
        import ipywidgets as widgets

        widget = widgets.HTML(self._repr_html_())
        self.prediction.listeners.append(lambda: setattr(widget, "value", self._repr_html_()))
        return widget

    def _repr_mimebundle_(self, **_):
        return as_bundle(self.widget, text=repr(self), html=self._repr_html_())

    def __repr__(self) -> str:
        return f"ShownBack({self.prediction.key!r})"
