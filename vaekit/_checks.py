"""One check of a value, at the door; and how a message of one line is written."""

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real


def short_repr(value, most: int = 80) -> str:
    """A value in a message: the first line of its repr, printable, at most so long."""
    lines = repr(value).splitlines() or [""]
    text = lines[0] if lines[0].isprintable() else ascii(lines[0])
    return text if len(text) <= most else f"{text[: most - 3]}..."


def first_line(error: BaseException) -> str:
    """What an error says, in its first line; its kind when it says nothing."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def one_line(error: BaseException) -> str:
    """An error's kind, and the first line of what it says."""
    kind = type(error).__name__
    return f"{kind}: {first_line(error)}" if str(error).strip() else kind


def check_whole(name: str, value, least: int = 1, most: float = math.inf) -> int:
    """The argument `name` as an int from `least` to `most`. Raises ValueError, in one line, when it is none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= most:
        up = "up" if most == math.inf else f"to {most}"
        raise ValueError(f"{name} must be a whole number from {least} {up}, not {short_repr(value)}")
    return int(value)


def check_seed(value) -> int:
    """A seed of a generator, as an int. Raises ValueError, in one line, when it is none."""
    return check_whole("seed", value, 0, 2**63 - 1)


def check_number(name: str, value, allowed: str, fits: Callable[[float], bool]) -> float:
    """The argument `name` as a finite float that `fits`; `allowed` says in words which these are.

    Raises TypeError when it is no number, ValueError when it is another; in one line.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {allowed}, not {short_repr(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not fits(number):
        raise ValueError(f"{name} must be {allowed}, not {short_repr(value)}")
    return number


def check_type(name: str, value, kind: type, allowed: str):
    """The argument `name`, which must be a `kind`; `allowed` says so in words. Raises TypeError, in one line."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {allowed}, not {short_repr(value)}")
    return value


def check_choice(name: str, value, choices: Iterable[str]) -> str:
    """The argument `name`, which must be one of `choices`. Raises ValueError, in one line."""
    choices = list(choices)
    if value not in choices:
        allowed = ", ".join(choice or "''" for choice in choices)
        raise ValueError(f"{name} must be one of {allowed}; not {short_repr(value)}")
    return value
