"""Written predictions: a text box before an experiment, whose answer is kept and shown back after it."""

import html
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

from vaekit.files import write_whole
from vaekit.stills import as_bundle

SIZE = "font-size: 1.1em; line-height: 1.4"  # widgets write smaller than the prose around them


def answers_file() -> Path:
    """Where the answers are kept: `VAEKIT_ANSWERS`, else a file in the user's data folder."""
    if chosen := os.environ.get("VAEKIT_ANSWERS"):
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("vaekit") / "predictions.json"


def kept_answers() -> dict[str, str]:
    """All answers by key. A file that cannot be read counts as empty, and says so."""
    path = answers_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        warnings.warn(f"{path} cannot be read ({type(error).__name__}): your predictions begin anew", stacklevel=3)
        return {}
    return {key: text for key, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}


class Prediction:
    """A question and a box for what the learner expects; the answer outlives the kernel.

    key: names the answer among all lectures' answers. question: one or two sentences, plain text.
    Display it before the experiment, and `prediction.shown_back` after it.
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
        path = answers_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            everything = kept_answers() | {self.key: text}
            write_whole(path, json.dumps(everything, ensure_ascii=False, indent=1).encode())
        except OSError as error:
            warnings.warn(f"your prediction is kept in this session only: {error}", stacklevel=2)

    @property
    def shown_back(self) -> "ShownBack":
        """What the learner wrote, to be displayed beside what happened."""
        return ShownBack(self)

    def _repr_mimebundle_(self, **_):
        import ipywidgets as widgets

        width = "calc(100% - 4px)"  # less its own margins
        box = widgets.Textarea(value=self.answer, placeholder="I expect …", rows=2, layout={"width": width})
        box.tooltip = self.question
        box.observe(lambda change: self.keep(change.new), "value")
        title = widgets.HTML(f"<span style='{SIZE}'><b>Your prediction.</b> {html.escape(self.question)}</span>")
        still = f"<p><b>Your prediction.</b> {html.escape(self.question)}</p><p>________________________________</p>"
        return as_bundle(widgets.VBox([title, box]), text=repr(self), html=still)

    def __repr__(self) -> str:
        return f"Prediction({self.key!r})"


class ShownBack:
    """An answer, beside what happened; in a notebook it follows what is written into the box."""

    def __init__(self, prediction: Prediction):
        self.prediction = prediction

    def _repr_html_(self) -> str:
        text = self.prediction.answer.strip()
        said = f"“{html.escape(text)}”" if text else "<i>nothing yet: the box above keeps what you write</i>"
        return f"<p style='{SIZE}'><b>You expected:</b> {said}<br><b>Now compare.</b></p>"

    def _repr_mimebundle_(self, **_):
        import ipywidgets as widgets

        shown = widgets.HTML(self._repr_html_())
        self.prediction.listeners.append(lambda: setattr(shown, "value", self._repr_html_()))
        return as_bundle(shown, text=repr(self), html=self._repr_html_())

    def __repr__(self) -> str:
        return f"ShownBack({self.prediction.key!r})"
