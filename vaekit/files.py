"""Files written whole or not at all, and read with one line for each way in which that can fail."""

import os
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

from vaekit.messages import shown

PATIENCE = 10.0  # seconds to wait for another save of the same file


def short_path(path) -> str:
    """A path in a message: one line, its end when it is long."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else repr(path)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 120 else f"...{text[-117:]}"


def as_path(path) -> Path:
    """Any kind of path, links followed. Raises TypeError or ValueError, in one line."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"the path of a file must be a str or a pathlib.Path, not {shown(path)}")
    if "\0" in os.fspath(path) or not os.fspath(path):
        raise ValueError(f"{shown(os.fspath(path))} is no path of a file")
    return Path(os.path.realpath(os.path.expanduser(path)))


def read_whole(path, largest: int, fault: type[Exception]) -> bytes:
    """The bytes of a file of at most `largest`. Raises `fault`, in one line."""
    place = as_path(path)
    try:
        found = place.stat()
        if not stat.S_ISREG(found.st_mode):
            raise fault(f"{short_path(path)}: this is {'a folder' if place.is_dir() else 'not a file'}")
        if found.st_size > largest:
            raise fault(f"{short_path(path)}: {found.st_size:,} bytes are too many, {largest:,} are the most")
        return place.read_bytes()
    except OSError as error:
        raise fault(f"{short_path(path)}: it cannot be read ({error.strerror or error})") from None


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write a file whole or not at all: a full disk or a kill -9 leaves the old one as it was.

    The draft beside it, ".NAME.saving", has a fixed name: the next save takes over what a killed one left.
    Raises OSError, in one line, when it cannot be written.
    """
    target = as_path(path)
    try:
        _replace(target, content)
    except OSError as error:
        why = error.strerror or error
        raise OSError(
            f"{short_path(path)} could not be written ({why}); nothing has changed: try another place"
        ) from error


def _replace(target: Path, content: bytes) -> None:
    if target.is_dir():
        raise IsADirectoryError("it is a folder: add a file's name")
    if target.exists() and not os.access(target, os.W_OK):  # os.replace would not mind
        raise PermissionError("it is read-only")
    draft = target.with_name(f".{target.name}.saving")
    with _claimed(draft) as file:
        try:
            file.truncate()
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file
            os.replace(draft, target)
        except BaseException:
            with suppress(OSError, ValueError):
                if _is_at(file, draft):
                    draft.unlink()
            raise


@contextmanager
def _claimed(draft: Path):
    """The draft, opened and locked: two that save the same file at once take turns. A lock ends with its process."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    end = time.monotonic() + PATIENCE
    while True:
        with open(os.open(draft, flags, 0o666), "r+b") as file:
            # Whoever had the lock before has renamed what we opened: then it is the file itself, not a draft.
            if _locked(file) and _is_at(file, draft):
                yield file
                return
        if time.monotonic() > end:
            raise OSError("it is being saved by somebody else")
        time.sleep(0.01)


def _locked(file) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network folders know no locks
        return True
    return True


def _is_at(file, draft: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(draft))
    except FileNotFoundError:
        return False
