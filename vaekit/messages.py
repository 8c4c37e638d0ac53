"""What messages have in common: one line, never too long; and the check that most functions make."""

import math


def shown(value, most: int = 80) -> str:
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


def check_whole(name: str, value, least: int = 1, most: float = math.inf) -> None:
    """Raises ValueError, in one line, when the argument `name` is not an int from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        up = "up" if most == math.inf else f"to {most}"
        raise ValueError(f"{name} must be a whole number from {least} {up}, not {value!r}")
