"""A lecture as an assignment: what the tool makes, and both graders on a learner's copy, with widgets and all."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from vaekit.exercises.predictions import export

ROOT = Path(__file__).parents[1]
NAME = "03a_two_terms"
LECTURE = ROOT / "notebooks" / f"{NAME}.ipynb"
FILLED = {  # one right, one wrong, one that is no Python; the others stay open
    "fair_coins = None": "fair_coins = 784 * math.log(2)",
    "def kl(mu, logvar)": "def kl(mu, logvar):\n    return -0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)",
    "def reconstruction(": "def reconstruction(x_logits, x):\n    return x_logits +",
}
CHOICE = ("03a-sides", "KL(q ‖ p)")
EARNED, POINTS = 3, 15  # the coins, and one choice


@pytest.fixture(scope="module")
def for_graders(tool):
    return tool("for_graders")


@pytest.mark.slow
def test_every_lecture_with_gaps_is_an_assignment_and_what_is_left_out_is_said(for_graders, tmp_path):
    first, *others = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in others:
        said = for_graders.make("otter", path, tmp_path)
        assert ("left out" in said) == path.name.startswith(("02", "03b")), said
    for path in (first, ROOT / "notebooks" / "more" / "08_published_figures.ipynb"):  # 00 is steered, not filled in
        with pytest.raises(for_graders.NoAssignment, match="has no gap with a check and a solution"):
            for_graders.make("nbgrader", path, tmp_path)


def test_no_solution_is_left_in_what_a_learner_gets(for_graders, tmp_path):
    for_graders.make("nbgrader", LECTURE, tmp_path)
    source = tmp_path / "source" / NAME
    notebook = nbformat.read(source / f"{NAME}.ipynb", as_version=4)
    by_kind = {"answer": [], "graded": [], "given": []}
    for cell in notebook.cells:
        if mark := cell.metadata.get("nbgrader"):
            by_kind["answer" if mark["solution"] else "graded" if mark["grade"] else "given"].append(cell)
    assert [len(cells) for cells in by_kind.values()] == [5, 10, 12]
    assert all("### BEGIN SOLUTION" in cell.source for cell in by_kind["answer"])
    assert sum(cell.metadata.nbgrader.points for cell in by_kind["graded"]) == POINTS
    assert not any(cell.get("outputs") or "claims" in cell.metadata.get("tags", ()) for cell in notebook.cells)
    assert "0.5 * (mu**2" in (source / "solutions" / "kl-solution.py").read_text(encoding="utf-8")


def fill(folder: Path) -> None:
    """What a learner hands in: gaps filled, and one of the predictions chosen."""
    path = folder / f"{NAME}.ipynb"
    assert "_solution(" not in path.read_text(encoding="utf-8")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = next((code for start, code in FILLED.items() if cell.source.startswith(start)), cell.source)
    nbformat.write(notebook, path)
    (folder / "answers").mkdir()
    (folder / "answers" / f"{CHOICE[0]}.txt").write_text(CHOICE[1], encoding="utf-8")


def run(*command: str, folder: Path) -> None:
    """One of a grader's commands."""
    if find_spec(command[0]) is None:
        pytest.skip(f"no {command[0]} here: .venv/bin/python -m pip install nbgrader otter-grader")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", *command]
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.mark.release
def test_nbgrader(for_graders, tmp_path):
    for_graders.make("nbgrader", LECTURE, tmp_path)
    run("nbgrader", "generate_assignment", NAME, "--create", folder=tmp_path)
    fill(shutil.copytree(tmp_path / "release" / NAME, tmp_path / "submitted" / "ada" / NAME))
    run("nbgrader", "autograde", NAME, folder=tmp_path)
    run("nbgrader", "generate_feedback", NAME, folder=tmp_path)
    run("nbgrader", "export", folder=tmp_path)
    assert re.search(rf"(?m)^{NAME},.*,ada,.*,{EARNED}.0,{POINTS}.0$", (tmp_path / "grades.csv").read_text())
    page = (tmp_path / "feedback" / "ada" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert "A sign is flipped" in page and "You expected:" in page
    eve = tmp_path / "submitted" / "eve" / NAME / "answers"  # who handed in nothing
    assert {row["learner"] for row in export(*tmp_path.glob("submitted/*/*/answers"), eve)} == {"ada"}


@pytest.mark.release
def test_otter(for_graders, tmp_path):
    for_graders.make("otter", LECTURE, tmp_path)
    run("otter", "assign", f"{NAME}.ipynb", "dist", folder=tmp_path / NAME)
    student = tmp_path / NAME / "dist" / "student"
    fill(student)
    with zipfile.ZipFile(tmp_path / "ada.zip", "w") as handed_in:
        for path in (student / f"{NAME}.ipynb", *(student / "answers").iterdir()):
            handed_in.write(path, path.relative_to(student))
    (autograder,) = tmp_path.glob(f"{NAME}/dist/autograder/*.zip")
    run("otter", "run", "ada.zip", "-a", str(autograder), folder=tmp_path)
    tests = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["tests"]
    assert sum(test.get("score", 0) for test in tests) == EARNED
    assert sum(test.get("max_score", 0) for test in tests) == POINTS
