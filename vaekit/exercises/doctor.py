"""The loss doctor: one call for every exercise, and its verdict for a notebook, with hints and buttons to ask again."""

import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import ipywidgets as widgets
import numpy
import torch

from vaekit._checks import one_line, short_repr
from vaekit._contract import underneath
from vaekit._pictures import as_bundle
from vaekit.exercises import formulas, model
from vaekit.exercises.calling import Halt, examined, in_training
from vaekit.exercises.diagnosis import Diagnosis, as_html
from vaekit.exercises.predictions import SIZE

EXERCISES = {name: partial(formulas.examine, name) for name in formulas.ARGUMENTS}
EXERCISES |= {"reparameterize": model.examine_reparameterize, "step": formulas.examine_step, "model": model.examine}


def diagnose(*, shape: tuple[int, ...] | None = None, **exercise) -> Diagnosis:
    """Examine a learner's code: exactly one of kl, reconstruction, loss, reparameterize, step, model.

    kl(mu, logvar) → (B,); reconstruction(x_logits, x) → (B,); loss(x_logits, x, mu, logvar, beta) → ();
    reparameterize(mu, logvar) → z; step(model, x, beta, optimizer) → loss; model: a VAE or its class.
    shape: of the model's images, (C, H, W); found out when it is not given.
    Returns a verdict whatever the code does; raises TypeError or ValueError when this call itself makes no sense.
    """
    if len(exercise) != 1 or not exercise.keys() <= EXERCISES.keys():
        allowed = f"give exactly one of {', '.join(EXERCISES)}, such as kl=kl"
        raise TypeError(f"{allowed}; not {short_repr(sorted(exercise))}")
    [(name, code)] = exercise.items()
    sides = () if shape is None else tuple(numpy.ravel(shape).tolist())
    if shape is not None and not (len(sides) == 3 and all(isinstance(side, int) and side > 0 for side in sides)):
        raise ValueError(f"shape must be (C, H, W), whole numbers from 1 up; not {short_repr(shape)}")
    examine = partial(EXERCISES[name], **({"shape": sides} if name == "model" else {}))
    dtype = torch.get_default_dtype()
    is_compiled = "torch._dynamo" in sys.modules  # a compiled function's first call may take half a minute
    eager = torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()
    with eager, torch.random.fork_rng(devices=[]):
        torch.set_default_dtype(torch.float32)
        torch.default_generator.manual_seed(20130131)  # what a verdict shows does not depend on what ran before it
        try:
            return examined(lambda: examine(in_training(underneath(code))))
        except Halt as halt:
            return Diagnosis(name, (halt.finding,))
        finally:
            torch.set_default_dtype(dtype)


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

    def widget(self):
        """The buttons and the verdict below them: an ipywidgets box."""
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
        return as_bundle(self.widget(), text=repr(self), html=as_html(self.verdict))


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

    def judged(_) -> str:
        try:
            return str(judge())
        except NotImplementedError:
            return "○ not started yet."
        except Exception as error:  # the learner's run goes on
            said = f"the check stops with {one_line(error)}"
            # None is what a function gives back that never says `return`
            none = "nothing (None) came where a value is wanted: is a `return` missing?\n  "
            return f"✗ {none if 'NoneType' in said else ''}{said}"

    return Checked(judged, ("Check",))


def _spoken(text: str) -> str:
    return f'<div role="status" style="{SIZE}">{as_html(text)}</div>'


def _following(candidate) -> Callable:
    """Gives what bears the candidate's name by then, where it was defined; the candidate if the name isn't its own."""
    module = sys.modules.get(getattr(candidate, "__module__", None) or "")
    name = getattr(candidate, "__name__", None) or ""
    follows = getattr(module, name, None) is candidate
    return lambda: getattr(module, name, candidate) if follows else candidate
