"""The lectures keep to what was promised: few words, much to do, pictures that are described."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def count_lecture(tool):
    return tool("count_lecture")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem.partition("_")[0])
def test_a_lecture_keeps_its_counts(count_lecture, path):
    lecture = count_lecture.Lecture.read(path)
    found = lecture.breaches()
    assert not found, "\n  ".join([f"{path.name}: {lecture.counts()}", *found])


LONG = f"# 04\n\nA word (and three more) $x = 1$ {'word ' * 1100}\n\n| a | table |\n\n<details>folded</details>"
BAD = [
    ("markdown", LONG),
    ("code", "guess = Prediction('?', key='a')\nlab = vaekit.LatentLab(tasks=[Task('Do it', lambda lab: True)])"),
    ("code", "def gap():\n    raise NotImplementedError"),
    ("code", "x = 1\n" * 16),
    ("code", "number = None  # your number\nguess, other = 1, 2"),
    ("code", "check(lambda: 1)"),
    ("code", "print(1 < 2)"),
]


def test_each_breach_is_named(count_lecture, tmp_path):
    cells = [{"cell_type": kind, "source": source, "metadata": {}, "outputs": []} for kind, source in BAD]
    cells[-1]["outputs"] = [
        {"output_type": "stream", "text": "one is below two: True\n"},
        {"output_type": "display_data", "data": {"image/png": "", "text/plain": "True"}},
    ]
    (tmp_path / "04_bad.ipynb").write_text(json.dumps({"cells": cells}))
    bad = count_lecture.Lecture.read(tmp_path / "04_bad.ipynb")
    assert bad.counts() == "1106 words, 3 of them in brackets; 1 predictions, 1 tasks, 2 gaps, 1 checks"
    assert bad.breaches() == [
        "1106 words of prose: at most 1100",
        "5 learner actions: 11 are needed for 1106 words",
        "2 gaps: at least 3",
        "0 of 1 predictions are shown back",
        "guess is a prediction's name, and given to something else as well",
        "0 of 1 tasks are solved in a claims cell: lab.solve(...) once for each",
        "code right after code in the cells 3, 4, 6: at most 2",
        "cell 3: 16 lines of code: at most 15",
        "cell 6 prints a verdict, not a number: 'one is below two: True'",
        "cell 6: a figure without its text alternative: metadata.alt",
    ]
    good = count_lecture.Lecture.read(tmp_path / "04_bad.ipynb")
    for cell in good.cells[3:]:  # claims are out of the way
        cell.metadata["tags"] = ["claims"]
    good.cells[4].source = "lab.solve(prior=False)"
    assert good.gaps == 1 and good.solved == 1 and good.without_prose == [] and good.actions["checks"] == 0
