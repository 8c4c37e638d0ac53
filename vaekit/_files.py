"""Files written whole or not at all, and read with one line for each way in which that can fail."""

import os
import shutil
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

from vaekit._checks import check_type, short_repr


def short_path(path) -> str:
    """A path in a message: one line, its end when it is long."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else repr(path)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 120 else f"...{text[-117:]}"


def as_path(path) -> Path:
    """Any kind of path, links followed. Raises TypeError or ValueError, in one line."""
    check_type("the path of a file", path, str | os.PathLike, "a str or a pathlib.Path")
    if "\0" in os.fspath(path) or not os.fspath(path):
        raise ValueError(f"{short_repr(os.fspath(path))} is no path of a file")
    return Path(os.path.realpath(os.path.expanduser(path)))


def read_whole(path, fault: type[Exception]) -> bytes:
    """The bytes of a file, or of what is at a web address. Raises `fault`, in one line."""
    try:
        if isinstance(path, str) and path.startswith(("https://", "http://")):
            with urlopen(path, timeout=30) as answer:
                return answer.read()
        place = as_path(path)
        if place.exists() and not place.is_file():
            raise OSError("it is a folder" if place.is_dir() else "it is no file")
        return place.read_bytes()
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise fault(f"{short_path(path)}: it cannot be read ({getattr(error, 'strerror', None) or error})") from None


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write a file whole or not at all: a full disk or a kill -9 leaves the old one as it was. Its mode stays.

    Of several savers at once the last wins. Raises OSError, in one line, when it cannot be written.
    """
    target = as_path(path)
    draft = target.with_name(f".vaekit-{uuid4().hex}.saving")
    try:
        if target.exists() and not (target.is_file() and os.access(target, os.W_OK)):  # os.replace would not mind
            raise OSError("it is a folder: add a file's name" if target.is_dir() else "it is read-only, or not a file")
        with open(draft, "xb") as file:  # a file of tempfile's would be for its owner alone
            with suppress(PermissionError, FileNotFoundError):  # a FAT stick knows no modes; a new file has none
                shutil.copymode(target, draft)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except OSError as error:
        why = f"({error.strerror or error}); nothing has changed: try another place"
        raise OSError(f"{short_path(path)} could not be written {why}") from error
    finally:
        for left in target.parent.glob(".vaekit-*.saving"):  # a killed saver's goes an hour later
            with suppress(OSError):
                if left == draft or left.stat().st_mtime < time.time() - 3600:
                    left.unlink()
