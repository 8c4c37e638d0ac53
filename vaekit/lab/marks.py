"""The marks on the curves: which knob was turned when, in words."""

from vaekit.losses import LIKELIHOODS
from vaekit.training import KNOBS

NEAR = 40  # steps: a slider's many small turns are one mark
MOST = 60  # marks


def marks(recordings: list) -> list[dict]:
    """Return the recordings' events as marks {step, label}, the last ones of too many.

    The turns of a number that follow each other closely become one mark with the last value. What was turned in
    one of two runs alone says in which.
    """
    found: list[dict] = []
    for step, name, value, where in _events(recordings):
        mark = {"name": name + where, "step": step, "label": _label(name, value) + where, "last": step}
        before = found[-1] if found else {"name": None}
        if isinstance(value, float) and before["name"] == mark["name"] and step - before["last"] <= NEAR:
            before |= {"label": mark["label"], "last": step}
        else:
            found.append(mark)
    return [{"step": mark["step"], "label": mark["label"]} for mark in found[-MOST:]]


def _events(recordings: list):
    """Yield (step, knob, its value, where) of all recordings in order; where is empty for what was turned in all."""
    sides = ("",) if len(recordings) == 1 else (" (left)", " (right)")
    turned: dict[tuple, list[str]] = {}
    for recording, side in zip(recordings, sides, strict=True):
        for step, changes in recording.events:
            for name, value in changes.items():
                turned.setdefault((step, name, value), []).append(side)
    for (step, name, value), where in sorted(turned.items(), key=lambda item: item[0][0]):
        yield step, name, value, where[0] if len(where) < len(recordings) else ""


def _label(name: str, value) -> str:
    if name not in KNOBS:
        return LIKELIHOODS[value].label if name == "kind" else value
    short = min(name, KNOBS[name].metadata["label"], key=len)
    return f"{short} {'on' if value else 'off'}" if isinstance(value, bool) else f"{short} = {value:.3g}"
