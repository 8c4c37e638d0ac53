"""The learner's copy of the lectures, and the command that makes it: nobody's writing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from lab_helpers import in_python

from vaekit import __main__ as command
from vaekit import copies
from vaekit.copies import CopyError, copy_lectures

ROOT = Path(__file__).resolve().parents[1]
NAME = "04_the_prior.ipynb"


def cell(source: str, kind: str = "code", **metadata) -> dict:
    shown = {"outputs": [{"output_type": "stream", "text": "1"}], "execution_count": 3} if kind == "code" else {}
    return {"cell_type": kind, "source": source, "metadata": metadata, **shown}


@pytest.fixture
def lectures(tmp_path, monkeypatch):
    """A kit with one lecture and one appendix. `lectures(source)` publishes another version of the lecture."""
    kit = tmp_path / "kit"
    (kit / "more").mkdir(parents=True)
    monkeypatch.setattr(copies, "lectures_folder", lambda: kit)

    def publish(source: str) -> None:
        solution = cell("answer = 1", tags=["solution"], jupyter={"source_hidden": True})
        claims, asks = cell("assert 1", tags=["claims"]), cell('guess = Prediction("a?", ["b", "c"], "c")')
        judge = cell("def judge(answer):\n    return ''")
        write(kit / NAME, cell(source, "markdown"), cell("1"), solution, claims, asks, judge)

    publish("first")
    write(kit / "more" / "04_more.ipynb", cell("1"))
    (kit / "README.md").write_text("a guide")
    return publish


@pytest.fixture
def folder(lectures, tmp_path):
    """A learner's copies."""
    assert copy_lectures(tmp_path / "mine") == []
    return tmp_path / "mine"


def write(path: Path, *cells: dict) -> None:
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


def read(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def edit(path: Path, change) -> bytes:
    """Let a learner change a notebook's cells. Returns what is then in the file."""
    cells = read(path)
    change(cells)
    write(path, *cells)
    return path.read_bytes()


def run(cells: list[dict]) -> None:
    """Running the last cell of a notebook and saving it, in JupyterLab: an output, a counter, an empty cell."""
    cells[-1] |= cell(cells[-1]["source"], scrolled=True)
    cells.append(cell(""))


def test_a_learner_has_nothing_shown_and_the_solutions_folded(folder):
    text, code, *answers = read(folder / NAME)
    assert (code["outputs"], code["execution_count"], code["metadata"]) == ([], None, {})
    assert [cell["metadata"]["jupyter"] for cell in answers] == [{"source_hidden": True}] * 4
    seen = ["".join(cell["source"]).splitlines()[0] for cell in answers[:2]]  # of a fold
    assert seen == ["# A solution", "# What the text says, tested"]
    assert (folder / "more" / "04_more.ipynb").is_file() and (folder / "README.md").read_text() == "a guide"


def test_an_instructor_has_both_open_and_a_folder_of_their_own(folder, tmp_path, refuses):
    copy_lectures(tmp_path / "taught", "instructor")
    text, code, solution, *_ = read(tmp_path / "taught" / NAME)
    assert code["outputs"] and "jupyter" not in solution["metadata"]
    with refuses(CopyError, "mine has the learner's copies: choose another folder"):
        copy_lectures(folder, "instructor")


def test_a_lecture_that_was_run_is_left_alone_and_renewed_when_there_is_a_newer_one(lectures, folder):
    ran = edit(folder / NAME, run)
    assert copy_lectures(folder) == [] and (folder / NAME).read_bytes() == ran
    lectures("second")
    assert copy_lectures(folder) == [] and read(folder / NAME)[0]["source"] == "second"
    assert sorted(path.name for path in folder.glob("*.ipynb")) == [NAME]
    (folder / NAME).unlink()
    assert copy_lectures(folder) == [] and (folder / NAME).is_file()


CHANGES = {
    "a cell edited": lambda cells: cells[1].update(source="2"),
    "a cell added": lambda cells: cells.append(cell("mine", "markdown")),
    "a cell deleted": lambda cells: cells.pop(1),
    "cells moved": lambda cells: cells.reverse(),
    "code made text": lambda cells: cells[1].update(cell_type="markdown"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_learner_wrote_is_never_written_over(lectures, folder, change):
    mine = edit(folder / NAME, change)
    assert copy_lectures(folder) == []  # nothing newer: nothing beside it
    lectures("second")
    beside = folder / "04_the_prior.new.ipynb"
    assert copy_lectures(folder) == [f"{NAME} has changed, and so has your copy: the new one is {beside.name}"]
    assert read(beside)[0]["source"] == "second"
    beside.unlink()
    assert copy_lectures(folder) == [] and not beside.exists()  # said once, and not brought back
    assert (folder / NAME).read_bytes() == mine


def test_nor_what_they_wrote_in_the_new_one_beside_it(lectures, folder):
    mine = edit(folder / NAME, CHANGES["a cell edited"])
    lectures("second")
    copy_lectures(folder)
    lectures("third")
    beside = folder / "04_the_prior.new.ipynb"
    assert len(copy_lectures(folder)) == 1 and read(beside)[0]["source"] == "third"  # untouched: renewed
    also_mine = edit(beside, CHANGES["a cell deleted"])
    lectures("fourth")
    assert copy_lectures(folder)[0].endswith("the new one is 04_the_prior.new2.ipynb")
    assert copy_lectures(folder) == []
    assert ((folder / NAME).read_bytes(), beside.read_bytes()) == (mine, also_mine)


DAMAGED = [(copies.RECORD, record) for record in (b"", b"[]", b'{"kind": "learner", "sums": 3}', b"\xff")]


@pytest.mark.parametrize(("name", "content"), [*DAMAGED, (NAME, b"{")])
def test_without_a_record_or_no_notebook_it_counts_as_written_in(lectures, folder, name, content):
    (folder / name).unlink()
    if content:
        (folder / name).write_bytes(content)
    before = (folder / NAME).read_bytes()
    lectures("second")
    assert len(copy_lectures(folder)) == 1 and (folder / NAME).read_bytes() == before


def test_where_they_cannot_be_copied(lectures, tmp_path, refuses):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "more").touch()
    for name, words in (
        ("half/more", "^the lectures cannot be copied to .*more .*: give another folder"),
        ("nowhere/mine", "the lectures cannot be copied to .*mine .*: .* a new name in one that exists$"),
        ("kit", "kit is where the lectures themselves are: choose another folder"),
        ("half", r"the lectures cannot be copied to .*half \(.*\): give another folder"),
    ):
        with refuses(CopyError, words):
            copy_lectures(tmp_path / name)
    with refuses(ValueError, "kind must be"):
        copy_lectures(tmp_path / "mine", "teacher")


def test_the_command_copies_and_says_where(lectures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command.main(["copies", "mine", "--instructor"])
    assert capsys.readouterr().out == f"vaekit: the lectures are in {tmp_path / 'mine'}\n"
    with pytest.raises(SystemExit, match="^vaekit: mine has the instructor's copies: choose another folder$"):
        command.main(["copies", "mine"])


@pytest.mark.parametrize(
    ("arguments", "folder", "passed_on"),
    [
        (["lab"], "vaekit-lectures", []),
        (["lab", "--port", "9999"], "vaekit-lectures", ["--port", "9999"]),
        (["lab", "mine", "--no-browser", "--port=9999"], "mine", ["--no-browser", "--port=9999"]),
    ],
)
def test_lab_starts_jupyterlab_on_the_copies(lectures, tmp_path, monkeypatch, arguments, folder, passed_on):
    started = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    monkeypatch.setattr(command, "start", started.extend)
    command.main(arguments)
    assert (tmp_path / folder / NAME).is_file()
    root, start = f"--ServerApp.root_dir={tmp_path / folder}", "--LabApp.default_url=/lab/tree/00_start_here.ipynb"
    assert started == [sys.executable, "-m", "jupyterlab", root, start, *passed_on]
    ours, theirs = os.environ["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert (Path(ours) / "labconfig" / "page_config.json").is_file() and theirs == "theirs"


@pytest.mark.slow
def test_an_installed_kit_has_its_lectures_with_it(tmp_path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    program = "from vaekit.__main__ import main; main(['copies', 'mine'])"
    in_python(program, cwd=tmp_path, PYTHONPATH=str(tmp_path / "installed"))
    expected = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.name for path in (tmp_path / "mine").glob("*.ipynb")} == expected
    for name in ("_jupyter/labconfig/page_config.json", "_book/make_book.py", "_book/front/docs/lab.png"):
        assert (tmp_path / "installed" / "vaekit" / name).is_file()
