"""Predictions before an experiment: picked from choices or written, kept, and shown back after it."""

import csv
import html
import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import ipywidgets as widgets
from platformdirs import user_data_path

from vaekit._checks import check_choice, short_repr
from vaekit._files import write_whole
from vaekit._pictures import as_bundle, hear_at_once

SIZE = "font-size: 1.1em; line-height: 1.4"  # widgets write smaller than the prose around them
FORMULA = re.compile(r"^(?:[=+@\t\r]|-(?![\d.]))")  # what a spreadsheet would run


def answers_folder() -> Path:
    """Where the answers are kept, a file for each: `VAEKIT_ANSWERS`, else a folder in the user's data folder."""
    return Path(os.environ.get("VAEKIT_ANSWERS") or user_data_path("vaekit") / "predictions").expanduser()


def kept_answers(folder: str | Path | None = None) -> dict[str, str]:
    """All answers in a folder by key, a choice as the first line, which is empty before one is picked."""
    answers = {}
    for path in sorted(Path(folder or answers_folder()).glob("*.txt")):
        try:
            answers[unquote(path.stem)] = path.read_bytes().decode(errors="replace")
        except OSError as error:
            warnings.warn(f"{path} cannot be read ({type(error).__name__})", stacklevel=3)
    return answers


class Prediction:
    """A question before an experiment. What the learner says is kept, and stands there again after a restart.

    choices: what may be picked, and answer, the one of them that is right; without choices there is a box to write in.
    key: the name under which it is kept, such as "04-prior-off"; the question when not given.
    `shown_back`, displayed below the experiment, has the choice beside the answer, and opens when one is picked.
    Raises ValueError, in one line, when answer is none of the choices, TypeError when they are one text.
    """

    def __init__(self, question: str, choices: Sequence[str] = (), answer: str | None = None, *, key: str = ""):
        if isinstance(choices, str):
            raise TypeError(f"choices must be a list of texts, not {short_repr(choices)}")
        self.key, self.question, self.choices = str(key or question), str(question), tuple(map(str, choices))
        if len(quote(self.key, safe="")) > 200:  # too long for a file's name
            self.key = f"{self.key[:16]}… {zlib.crc32(self.key.encode()):08x}"
        self.answer = None if answer is None else check_choice("answer", str(answer), self.choices)
        first, _, rest = (text := kept_answers().get(self.key, "")).partition("\n")
        has_choice = first in self.choices or bool(self.choices and not first)  # its line may be empty
        self.choice, self.text = (first or None, rest) if has_choice else (None, text)
        self.shown_back = ShownBack(self)
        self.buttons, self.widget = self._controls()
        self._fill()

    def pick(self, choice: str) -> None:
        """Take one of the choices, and keep it: see `keep`."""
        self.choice = check_choice("choice", str(choice), self.choices)
        self.keep(self.text)

    def keep(self, text: str) -> None:
        """Keep `text` beside the choice; where it cannot be written, it lives as long as the kernel."""
        self.text = text
        self._fill()
        kept = f"{self.choice or ''}\n{text}" if self.choices else text
        try:
            answers_folder().mkdir(parents=True, exist_ok=True)
            write_whole(answers_folder() / f"{quote(self.key, safe='')}.txt", kept.encode(errors="replace"))
        except OSError as error:
            warnings.warn(f"your prediction is kept in this session only: {error}", stacklevel=2)

    def _controls(self) -> tuple[list[widgets.Button], widgets.VBox]:
        """The choices as buttons; and one widget for all displays: the question, these, and a box to write in."""
        box = widgets.Textarea(
            value=self.text,
            placeholder="Why? One line." if self.choices else "I expect …",
            rows=1 if self.choices else 2,
            continuous_update=False,  # written when the learner leaves the box: each writing waits for the disk
            tooltip=self.question,
            layout={"width": "calc(100% - 4px)"},  # less its own margins
        )
        box.observe(lambda change: self.keep(change.new), "value")
        title = widgets.HTML(f"<span style='{SIZE}'><b>Your prediction.</b> {html.escape(self.question)}</span>")
        look = {"layout": {"width": "auto", "height": "auto", "padding": "0.4em 1em"}, "style": {"font_size": "1.1em"}}
        buttons = [widgets.Button(description=choice, **look) for choice in self.choices]
        for button in buttons:
            button.on_click(lambda pressed: self.pick(pressed.description))
        hear_at_once([box, *buttons])  # a check runs the learner's code, and so waits
        row = [widgets.HBox(buttons, layout={"flex_flow": "row wrap"})] if buttons else []
        return buttons, widgets.VBox([title, *row, box])

    def _fill(self) -> None:
        for button in self.buttons:  # the one that is picked
            button.button_style = "primary" if button.description == self.choice else ""
        self.shown_back.widget.value = self.shown_back._repr_html_()

    def _repr_mimebundle_(self, **_):
        line = " · ".join(map(html.escape, self.choices)) or "________________________________"
        static = f"<p><b>Your prediction.</b> {html.escape(self.question)}</p><p>{line}</p>"
        return as_bundle(self.widget, text=repr(self), html=static)

    def __repr__(self) -> str:
        return f"Prediction({self.key!r})"


class ShownBack:
    """What was said, beside what happened; in a notebook it follows what is picked and written."""

    def __init__(self, prediction: Prediction):
        self.prediction, self.widget = prediction, widgets.HTML()  # one for all displays: see Prediction._fill

    def _repr_html_(self) -> str:
        guess = self.prediction
        said = html.escape(". ".join(part for part in (guess.choice, guess.text.strip()) if part))
        expected = f"“{said}”" if said else "<i>nothing yet: the box above keeps what you write</i>"
        answer = f"<b>It is:</b> “{html.escape(guess.answer)}”" if guess.answer else "<b>Now compare.</b>"
        lines = [f"<b>You expected:</b> {expected}", answer]
        if guess.choices and not guess.choice:
            lines = ["<i>Choose above, and the answer opens here.</i>"]
        asked = [html.escape(guess.question)] if guess.choices else []
        return f"<p style='{SIZE}'>{'<br>'.join([*asked, *lines])}</p>"

    def _repr_mimebundle_(self, **_):
        return as_bundle(self.widget, text=repr(self), html=self._repr_html_())

    def __repr__(self) -> str:
        return f"ShownBack({self.prediction.key!r})"


class ClassAnswers(list):
    """Rows {learner, key, choice, text} of a class; displayed, it shows how often each first line was given."""

    learners = 0  # in the class; some may have answered nothing

    def save(self, path: str | Path) -> Path:
        """Write the rows as a CSV file, or as .html the page that is displayed. Returns its path.

        Raises ValueError when its name ends in neither, OSError when it cannot be written there.
        """
        if check_choice("the file's ending", Path(path).suffix.lower(), (".csv", ".html")) == ".html":
            page = f"<!doctype html><meta charset='utf-8'><title>Answers</title>{self._repr_html_()}"
            Path(path).write_text(page, encoding="utf-8")
            return Path(path)
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["learner", "key", "choice", "text"])
            writer.writeheader()
            writer.writerows({name: FORMULA.sub(r"'\g<0>", said) for name, said in row.items()} for row in self)
        return Path(path)

    def counts(self) -> dict[str, Counter]:
        """Return of each key how many learners gave each first line; an empty one is none."""
        keys = dict.fromkeys(row["key"] for row in self)
        return {key: Counter(row["choice"] for row in self if row["key"] == key and row["choice"]) for key in keys}

    def _repr_html_(self) -> str:
        parts = []
        for key, counts in self.counts().items():
            parts.append(f"<h3>{html.escape(key)} ({counts.total()} of {self.learners})</h3>")
            for choice, count in counts.most_common():
                bar = f"display:inline-block;height:1em;width:{20 * count / counts.total():.2f}em;background:#0b57d0"
                parts.append(f"<div><span style='{bar}'></span> {count} · {html.escape(choice)}</div>")
        return f"<div style='{SIZE}'>{''.join(parts) or 'no answers'}</div>"


def export(*folders: str | Path) -> ClassAnswers:
    """Return a class's answers: of one folder of answers for each learner, who is named by the folder's name.

    Where all have the same, as in "submitted/ada/03a/answers", the first part that differs is the learner's name.
    Without folders those of this machine's learner.
    """
    places = [Path(os.path.abspath(folder)) for folder in folders or [answers_folder()] if not Path(folder).is_file()]
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        same = os.path.commonpath(places)
        names = [(*place.relative_to(same).parts, place.name)[0] for place in places]
    rows = ClassAnswers()
    rows.learners = len(set(names))
    for name, place in zip(names, places, strict=True):
        for key, answer in kept_answers(place).items():
            choice, _, text = answer.partition("\n")
            rows.append({"learner": name, "key": key, "choice": choice, "text": text})
    return rows
