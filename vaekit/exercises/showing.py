"""Verdicts for a notebook: in words, with hints, and with buttons that ask again."""

import inspect
import sys
from collections.abc import Callable

from vaekit._checks import one_line, short_repr
from vaekit._pictures import as_bundle
from vaekit.exercises.diagnosis import as_html
from vaekit.exercises.doctor import diagnose
from vaekit.exercises.predictions import SIZE


class Checked:
    """A verdict, and how to ask for another: `ask(hints)`. In a notebook each of `buttons` asks, with 0, 1, 2 hints."""

    def __init__(self, ask: Callable[[int], str], buttons: tuple[str, ...]):
        self.ask, self.buttons, self.verdict = ask, buttons, ask(0)

    @property
    def passed(self) -> bool:
        """The answer was right when it was last asked for: from here on a lecture may use it."""
        return self.verdict.startswith("✓")

    def __repr__(self) -> str:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # what it lacks becomes a name
        return self.verdict.encode(encoding, "namereplace").decode(encoding)

    def _repr_html_(self) -> str:
        return as_html(self.verdict)

    def widget(self):
        """The buttons and the verdict below them: an ipywidgets box."""
        import ipywidgets as widgets

        said = widgets.HTML(_spoken(self.verdict))
        row = [widgets.Button(description=text, style={"font_size": "1em"}) for text in self.buttons]

        def show(pressed) -> None:
            said.value = _spoken("…")  # a verdict may take seconds, and may be the same again
            self.verdict = self.ask(row.index(pressed))
            said.value = _spoken(self.verdict)

        for button in row:
            button.on_click(show)
        return widgets.VBox([widgets.HBox(row), said])

    def _repr_mimebundle_(self, **_):
        return as_bundle(self.widget(), text=repr(self), html=self._repr_html_())


def check(judge: Callable[[], str] | None = None, /, **asked) -> Checked:
    """The last line of a check cell: the verdict in words, with buttons that ask for it again, and for hints.

    `check(kl=kl)`: the loss doctor's, as in `diagnose`. A click examines the function that bears the name by then.
    `check(lambda: judge(answer))`: a check of your own, which returns a line; where NotImplementedError is raised
    the answer is not started yet.
    Raises TypeError or ValueError when this call itself makes no sense.
    """
    if judge is None:
        latest = {name: _following(value) for name, value in asked.items()}
        ask = lambda hints: diagnose(**{name: now() for name, now in latest.items()}).text(hints)  # noqa: E731
        return Checked(ask, ("Check", "Hint", "Another hint"))
    if asked or not callable(judge) or inspect.signature(judge).parameters:  # a model and its class have some
        allowed = "give check(lambda: judge(answer)) that alone, without arguments, or name the exercise: check(kl=kl)"
        raise TypeError(f"{allowed}; not {short_repr(judge)}")
    return Checked(lambda _: _judged(judge), ("Check",))


def _judged(judge: Callable[[], str]) -> str:
    try:
        return str(judge())
    except NotImplementedError:
        return "○ not started yet."
    except Exception as error:  # the learner's run goes on
        said = f"the check stops with {one_line(error)}"
        # None is what a function gives back that never says `return`
        none = "nothing (None) came where a value is wanted: is a `return` missing?\n  "
        return f"✗ {none if 'NoneType' in said else ''}{said}"


def _spoken(text: str) -> str:
    return f'<div role="status" style="{SIZE}">{as_html(text)}</div>'


def _following(candidate) -> Callable:
    """Gives what bears the candidate's name by then, where it was defined; the candidate if the name isn't its own."""
    module = sys.modules.get(getattr(candidate, "__module__", None) or "")
    name = getattr(candidate, "__name__", None) or ""
    follows = getattr(module, name, None) is candidate
    return lambda: getattr(module, name, candidate) if follows else candidate
