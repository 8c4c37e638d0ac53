"""What is tried nowhere else: a disk that is full, a home that may only be read, two kernels, a clock that jumps."""

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lab_helpers import SECONDS, CountingView, Flaky, is_plain, make_run, wait_for

import vaekit
from vaekit.lab.engine import Engine

REPOSITORY = Path(__file__).resolve().parents[1]


def in_python(program: str, *arguments, before: tuple = (), **environment) -> list[str]:
    """The lines that a program prints, in a process of its own that comes to its end."""
    command = [*before, sys.executable, "-c", program, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_fault_of_the_table_has_a_test():
    table = (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\| `(tests/[\w/]+\.py)::(\w+)` \|$", table, re.M)
    assert len(rows) == table.count("::test_") >= 60
    there = {file: (REPOSITORY / file).read_text(encoding="utf-8") for file, _ in rows}
    assert [f"{file}::{name}" for file, name in rows if f"\ndef {name}(" not in there[file]] == []


@pytest.fixture
def mounted(tmp_path):
    """`mounted(options)`: what to write before a command that has a file system of its own at `tmp_path`."""

    def make(options: str) -> tuple:
        mount = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
        command = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path))
        if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
            pytest.skip("here nobody may mount a file system")
        return command

    return make


FULL = """
import os, sys, warnings
from pathlib import Path
import vaekit
from vaekit.copies import CopyError, copy_lectures
from vaekit.exercises.predictions import Prediction

folder = Path(sys.argv[1])
os.environ["VAEKIT_ANSWERS"] = str(folder / "answers")
lab = vaekit.LatentLab(hidden=16, threads=1).run(5)
lab.save(folder / "run")
lab.recording.save(folder / "run.json")
guess = Prediction("What?", key="one")
guess.keep("it falls")
files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
with open(folder / "junk", "wb", buffering=0) as junk:
    try:
        while junk.write(bytes(4096)):
            pass
    except OSError as error:
        print(error.strerror)
lab.set(beta=2.0)
lab.run(5)
warnings.simplefilter("error")
for save in (
    lambda: lab.save(folder / "run"),
    lambda: lab.recording.save(folder / "run.json"),
    lambda: lab.export_html(folder / "run.html"),
    lambda: guess.keep("it rises"),
    lambda: copy_lectures(folder / "lectures"),
):
    try:
        save()
    except (OSError, CopyError, UserWarning) as error:
        print(str(error).replace(str(folder), "DISK"))
assert all(path.read_bytes() == content for path, content in files.items())
assert not [path for path in folder.rglob("*") if "saving" in path.name or path.suffix == ".html"]
assert guess.text == "it rises" and lab.run(5).steps_taken == 15
(folder / "junk").unlink()
lab.save(folder / "run")
lab.export_html(folder / "run.html")
assert vaekit.LatentLab.resume(folder / "run", threads=1).steps_taken == 15
print("and then there was room")
"""


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_there_and_the_run_goes_on(tmp_path, mounted):
    """On a real file system of 4 MB, which the test fills to its last byte."""
    said = in_python(FULL, tmp_path, before=mounted("size=4m"))
    full = "could not be written (No space left on device); nothing has changed: try another place"
    assert said[0] == "No space left on device" and said[-1] == "and then there was room"
    assert said[1:4] == [f"DISK/{name} {full}" for name in ("run", "run.json", "run.html")]
    assert said[4] == f"your prediction is kept in this session only: DISK/answers/one.txt {full}"
    assert "No space left on device" in said[5] and len(said) == 7


READ_ONLY_HOME = """
import os, warnings
warnings.simplefilter("error")
import vaekit
from vaekit.exercises.predictions import Prediction

guess = Prediction("What?", key="one")
try:
    guess.keep("it falls")
except UserWarning as warning:
    print(str(warning).replace(os.environ["HOME"], "~"))
lab = vaekit.LatentLab(hidden=16, threads=1).run(3)
lab.figure()
print(guess.text, lab.steps_taken)
"""


@pytest.mark.slow
def test_a_home_that_may_only_be_read_costs_nothing_but_the_file_of_predictions(tmp_path, mounted):
    elsewhere = dict.fromkeys(("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"), "")
    home = {"HOME": str(tmp_path), "VAEKIT_ANSWERS": ""} | elsewhere
    first, second = in_python(READ_ONLY_HOME, before=mounted("ro"), **home)
    assert first.startswith("your prediction is kept in this session only: ") and "Read-only file system" in first
    assert second == "it falls 3"


TYPING = """
import sys
from vaekit.exercises.predictions import Prediction
mine, common = Prediction("?", key=sys.argv[1]), Prediction("?", key="common")
for i in range(60):
    mine.keep(f"{sys.argv[1]} {i}")
    common.keep(sys.argv[1] * 5000)
"""


@pytest.mark.slow
def test_two_kernels_that_keep_answers_at_once_lose_none(tmp_path):
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda name: in_python(TYPING, name, VAEKIT_ANSWERS=str(tmp_path)), "ab"))
    kept = vaekit.exercises.predictions.kept_answers(tmp_path)
    assert kept.pop("common") in ("a" * 5000, "b" * 5000) and kept == {"a": "a 59", "b": "b 59"}
    assert len(os.listdir(tmp_path)) == 3


@pytest.fixture
def engine():
    engines = []

    def make(run=make_run) -> Engine:
        engines.append(Engine(lambda: (run(),), CountingView(), threads=1))
        return engines[-1]

    yield make
    for it in engines:
        it.shut_down()


@pytest.mark.parametrize("hours", [1, -1])
def test_the_clock_on_the_wall_may_jump(engine, monkeypatch, hours):
    playing, real = engine(), time.time
    playing.patience = 60
    playing.play().result(SECONDS)
    wait_for(lambda: playing.run.number > 20)
    playing.heartbeat()
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * hours)
    assert playing.looked_at
    at = playing.run.number
    wait_for(lambda: playing.run.number > at + 50)
    assert playing.playing and playing.notice is None
    playing.pause().result(SECONDS)
    assert 0 <= playing.speed < 10**5 and is_plain(playing.run)


def test_a_step_for_which_there_is_no_memory_pauses_the_run(engine):
    short = engine(lambda: make_run(Flaky(5, error=MemoryError("Unable to allocate 9 GiB"))))
    assert short.train_for(10).result(SECONDS) == 4
    assert short.error == (
        "Step 5 failed (MemoryError: Unable to allocate 9 GiB). Paused at step 4, the last good one. "
        "Press play to try again."
    )
    assert short.train_for(6).result(SECONDS) == 10 and short.error is None and is_plain(short.run)
