"""Verdicts for a notebook: in words, with hints, and with buttons."""

import sys
from dataclasses import dataclass
from html import escape

from vaekit.exercises.diagnosis import Diagnosis
from vaekit.exercises.doctor import diagnose
from vaekit.exercises.words import FACTS, HINTS


@dataclass(frozen=True)
class Checked:
    """A diagnosis, and so many hints for each of its mistakes: 0, 1 or 2."""

    diagnosis: Diagnosis
    hint: int = 0

    @property
    def hints(self) -> list[str]:
        """The hints asked for, of each mistake in turn."""
        return [text for code in self.diagnosis.faults for text in HINTS[code][: self.hint]]

    def __repr__(self) -> str:
        lines = [self.diagnosis.summary]
        if self.diagnosis.faults != ("not_started",):
            lines += [f"  {code}: {FACTS[code]}" for code in self.diagnosis.faults]
        return "\n".join(lines + [f"  Hint: {text}" for text in self.hints])

    def _repr_html_(self) -> str:
        hints = "".join(f"<li>{escape(text)}</li>" for text in self.hints)
        return self.diagnosis._repr_html_() + (f"<p>Hints:</p><ol>{hints}</ol>" if hints else "")


def check(*, hint: int = 0, **asked) -> Checked:
    """The last line of a check cell, `check(kl=kl)`: the verdict in words; `hint` 1 or 2 shows that many hints.

    The rest is as in `diagnose`. Raises ValueError when hint is none of 0, 1, 2.
    """
    if hint not in (0, 1, 2):
        raise ValueError(f"hint must be 0, 1 or 2; not {hint!r}")
    return Checked(diagnose(**asked), hint)


def buttons(**asked):
    """`check` with buttons: Check, Hint, Another hint. An ipywidgets box; its verdict is there before a click.

    Each click examines the function of that name as it stands then: run the gap's cell again, and press Check.
    """
    import ipywidgets as widgets

    diagnose(**asked)  # a call that makes no sense fails here, in the cell
    words = widgets.HTML()
    row = [widgets.Button(description=text) for text in ("Check", "Hint", "Another hint")]

    def show(hint: int) -> None:
        now = check(hint=hint, **{name: _latest(value) for name, value in asked.items()})
        words.value = f'<div role="status">{now._repr_html_()}</div>'

    for hint, button in enumerate(row):
        button.on_click(lambda _, hint=hint: show(hint))
    show(0)
    return widgets.VBox([widgets.HBox(row), words])


def _latest(candidate):
    """What bears the candidate's name now, where it was defined; the candidate itself when nothing does."""
    module = sys.modules.get(getattr(candidate, "__module__", None) or "")
    return getattr(module, getattr(candidate, "__name__", None) or "", candidate)
