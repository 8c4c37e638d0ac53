"""What messages have in common: one line, never too long."""


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
