"""What is tried nowhere else: a disk that is full, a home that may only be read. And the table of all faults."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from lab_helpers import in_python

REPOSITORY = Path(__file__).resolve().parents[1]


def test_every_fault_of_the_table_has_a_test():
    table = (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\| `(tests/[\w/]+\.py)::(\w+)` \|$", table, re.M)
    assert len(rows) == table.count("::test_") >= 60
    there = {file: (REPOSITORY / file).read_text(encoding="utf-8") for file, _ in rows}
    assert [f"{file}::{name}" for file, name in rows if f"\ndef {name}(" not in there[file]] == []


MOUNT = """
mount -t tmpfs -o size=4m tmpfs "$0" && mkdir "$0/home" && mount -t tmpfs -o ro tmpfs "$0/home" && exec "$@"
"""
PROGRAM = """
import os, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
import vaekit
from vaekit.copies import CopyError, copy_lectures
from vaekit.exercises.predictions import Prediction

def say_why(save):
    try:
        save()
    except (OSError, CopyError, UserWarning) as error:
        print(str(error).replace(str(folder), "DISK"))

folder = Path(sys.argv[1])
lab = vaekit.LatentLab(hidden=16, threads=1).run(5)
lab.save(folder / "run")
lab.recording.save(folder / "run.json")
guess = Prediction("What?", key="one")
say_why(lambda: guess.keep("it hovers"))  # at home
os.environ["VAEKIT_ANSWERS"] = str(folder / "answers")
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
say_why(lambda: lab.save(folder / "run"))
say_why(lambda: lab.recording.save(folder / "run.json"))
say_why(lambda: lab.export_html(folder / "run.html"))
say_why(lambda: guess.keep("it rises"))
say_why(lambda: copy_lectures(folder / "lectures"))
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
def test_a_full_disk_and_a_home_that_may_only_be_read_keep_what_was_there_and_the_run_goes_on(tmp_path):
    """On a real file system of 4 MB, which the program fills to its last byte, and another one for the home."""
    command = ("unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(tmp_path))
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("here nobody may mount a file system")
    unset = ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "VAEKIT_ANSWERS")
    environment = dict.fromkeys(unset, "") | {"HOME": str(tmp_path / "home")}
    home, *said = in_python(PROGRAM, tmp_path, before=command, **environment).stdout.splitlines()
    assert home.startswith("your prediction is kept in this session only: ") and "Read-only file system" in home
    full = "could not be written (No space left on device); nothing has changed: try another place"
    assert said[0] == "No space left on device" and said[-1] == "and then there was room"
    assert said[1:4] == [f"DISK/{name} {full}" for name in ("run", "run.json", "run.html")]
    assert said[4] == f"your prediction is kept in this session only: DISK/answers/one.txt {full}"
    assert "No space left on device" in said[5] and len(said) == 7
