"""Files are written whole or not at all, keep their mode, and leave nothing behind."""

import errno
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest
from lab_helpers import in_python

import vaekit._files
from vaekit._files import read_whole, short_path, write_whole

RAW = Path(__file__).parents[1] / "data" / "MNIST" / "raw"
OLD, NEW = b"old" * 10_000, b"new" * 100_000


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_file_keeps_its_mode_and_a_new_one_has_that_which_open_gives_it(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "ours", OLD)
        (tmp_path / "theirs").write_bytes(OLD)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "ours") == mode_of(tmp_path / "theirs") == 0o640
    for mode in (0o600, 0o755):
        (tmp_path / "ours").chmod(mode)
        write_whole(tmp_path / "ours", NEW)
        assert mode_of(tmp_path / "ours") == mode and (tmp_path / "ours").read_bytes() == NEW


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch, name, error):
    path, fail = tmp_path / "file", Mock(side_effect=error)
    write_whole(path, OLD)
    monkeypatch.setattr(vaekit._files.os, name, fail)
    full = "file could not be written (No space left on device); nothing has changed: try another place"
    with pytest.raises(type(error), match=f"{re.escape(full)}$" if isinstance(error, OSError) else None):
        write_whole(path, NEW)
    assert path.read_bytes() == OLD and os.listdir(tmp_path) == ["file"]


def test_where_nothing_can_be_written_or_read(tmp_path, refuses):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, unwritten, unread in (
        ("folder", "it is a folder: add a file's name", "it is a folder"),
        ("none/file", "No such file or directory", "No such file"),
        ("pipe", "not a file", "it is no file"),
    ):
        with refuses(OSError, unwritten):
            write_whole(tmp_path / name, NEW)
        with refuses(ZeroDivisionError, f"it cannot be read .{unread}"):
            read_whole(tmp_path / name, ZeroDivisionError)
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"] and not os.listdir(tmp_path / "folder")


READ_ONLY = """
import os, sys, vaekit
from pathlib import Path
from vaekit._files import write_whole
raw = Path(sys.argv[1])
if os.geteuid() == 0:  # root may write everywhere: then the program becomes nobody
    os.chown(raw, 65534, 65534)
    os.setuid(65534)
write_whole(raw / "file", b"old")
for file_mode, folder_mode in ((0o444, 0o755), (0o644, 0o555)):
    (raw / "file").chmod(file_mode)
    raw.chmod(folder_mode)
    try:
        write_whole(raw / "file", b"new")
    except OSError as error:
        print(error)
print((raw / "file").read_bytes(), len(vaekit.mnist(False, device="cpu")))
print(sorted(os.listdir(raw)) == ["file", *sorted(vaekit.data.MNIST_FILES)])
"""


@pytest.mark.slow
def test_what_is_read_only_stays_as_it_is_and_digits_are_read_from_it():
    with tempfile.TemporaryDirectory() as folder:  # pytest's are for their owner alone
        Path(folder).chmod(0o755)
        raw = shutil.copytree(RAW, Path(folder, "MNIST", "raw"), ignore=shutil.ignore_patterns("*-ubyte"))
        said = in_python(READ_ONLY, raw, VAEKIT_DATA=folder).stdout.splitlines()
    assert "it is read-only" in said[0] and "Permission denied" in said[1]
    assert said[2:] == ["b'old' 10000", "True"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for content in (OLD, NEW):
        write_whole(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == content


def test_many_who_save_the_same_file_at_once(tmp_path):
    """Each content is one byte's, of a length of its own: half a file or a mixture of two would show."""
    path = tmp_path / "file"
    with ThreadPoolExecutor(4) as executor:
        saves = executor.map(lambda byte: write_whole(path, bytes([byte]) * (byte * 1000)), [65, 80, 95, 110] * 30)
        for _ in saves:  # an error of any of them is raised here
            content = path.read_bytes()
            assert len(content) == content[0] * 1000 and not content.strip(content[:1])
    assert os.listdir(tmp_path) == ["file"]


KILLED = """
import os, signal, sys
import vaekit._files as files
setattr(files.os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
files.write_whole(sys.argv[1], b"new" * 100_000)
"""


@pytest.mark.slow
def test_kill_9_leaves_a_whole_file_and_drafts_that_a_later_save_takes_away(tmp_path):
    """Killed when the draft is written and not yet on the disk, and when it is to take the file's place."""
    write_whole(path := tmp_path / "file", OLD)
    for moment in ("fsync", "replace"):
        assert in_python(KILLED, path, moment, check=False).returncode == -signal.SIGKILL
        assert path.read_bytes() == OLD
    drafts = [tmp_path / name for name in os.listdir(tmp_path) if name != "file"]
    assert len(drafts) == 2
    write_whole(path, NEW)  # they block nobody, and one of them may be somebody's who is still writing
    assert path.read_bytes() == NEW and all(draft.exists() for draft in drafts)
    for draft in drafts:
        os.utime(draft, (time.time() - 3700,) * 2)
    write_whole(path, OLD)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("path", [3, None, b"file", "a\0b", ""])
def test_what_is_no_path(refuses, path):
    for use in (lambda: write_whole(path, NEW), lambda: read_whole(path, OSError)):
        with refuses(TypeError if not isinstance(path, str) else ValueError, "path of a file"):
            use()


def test_a_path_in_a_message_is_one_short_line():
    assert short_path(Path("a/b")) == "a/b" and short_path(b"a\n") == "'a\\n'"
    assert re.fullmatch(r"\.\.\.x{113}/end", short_path("x" * 500 + "/end")) and short_path(3) == "3"


def test_what_is_at_a_web_address_is_read_like_a_file(tmp_path, refuses):
    (tmp_path / "run.json").write_bytes(NEW)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert read_whole(f"{address}/run.json", ValueError) == NEW
        with refuses(ValueError, r"^http://.*/other.json: it cannot be read \(HTTP Error 404: File not found\)$"):
            read_whole(f"{address}/other.json", ValueError)
        server.shutdown()
    with refuses(ValueError, r"it cannot be read \(<urlopen error .*refused>\)$"):
        read_whole(f"{address}/run.json", ValueError)
