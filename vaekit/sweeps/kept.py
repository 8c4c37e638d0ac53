"""The runs of a sweep in a file, so that a second call can go on: one JSON object a line."""

import json
import math
import os
from dataclasses import asdict, astuple
from pathlib import Path

from vaekit.sweeps.table import COLUMNS, Job, Row

MARK = b'{"vaekit sweep": 1, '  # how each line begins; the number is the format's


class Kept:
    """The file at `path`, and the `rows` it holds; with None, neither reads nor writes.

    Each line has the run's row and all `settings` that it came from, NaN written as null.
    Raises ValueError when the file is none of a sweep, or of one with other settings.
    """

    def __init__(self, path: str | os.PathLike | None, settings: dict):
        self.path, self.settings, self.note = _checked(path), settings, None
        self.rows: dict[Job, Row] = self._read() if self.path else {}

    def keep(self, row: Row) -> None:
        """Append one run, on the disk before this returns. Should that fail, `note` says so, and no more is tried."""
        if not self.path:
            return
        values = {name: None if value != value else value for name, value in asdict(row).items()}
        line = MARK + json.dumps({"settings": self.settings, "row": values})[1:].encode() + b"\n"
        try:
            with open(self.path, "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.note = f"{self.path} could not be written ({error.strerror}): it lacks rows that are in the table"
            self.path = None  # after half a line no other may follow

    def _read(self) -> dict[Job, Row]:
        text = self.path.read_bytes() if self.path.exists() else b""
        *lines, half = text.split(b"\n")  # what follows the last line's end was cut short by a kill
        rows = [self._parse(number, line) for number, line in enumerate(lines, 1)]
        if not (half.startswith(MARK) or MARK.startswith(half)):
            self._refuse(len(lines) + 1)
        if half:
            os.truncate(self.path, len(text) - len(half))
        return {(row.beta, row.seed): row for row in rows}

    def _parse(self, number: int, line: bytes) -> Row:
        try:
            entry = json.loads(line)
            row = Row(**{name: math.nan if value is None else value for name, value in entry["row"].items()})
            theirs = dict(entry["settings"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._refuse(number)
        if not line.startswith(MARK) or [type(value) for value in astuple(row)] != [kind for _, kind in COLUMNS]:
            self._refuse(number)
        for name in self.settings | theirs:
            mine, other = self.settings.get(name), theirs.get(name)
            if mine != other:
                raise ValueError(
                    f"{self.path} holds runs with {name} = {other!r}, this sweep has {mine!r}: give another path"
                )
        return row

    def _refuse(self, number: int):
        raise ValueError(
            f"{self.path} is not a file of vaekit.sweep, or a damaged one (line {number}): give another path"
        ) from None


def _checked(path) -> Path | None:
    if path is None:
        return None
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"path {path} is a folder: name a file in it, such as {path / 'sweep.jsonl'}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"the folder of path {path} does not exist: make it first")
    return path
