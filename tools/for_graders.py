"""Make an assignment of a lecture, for nbgrader or for otter-grader.

    python tools/for_graders.py nbgrader notebooks/03a_two_terms.ipynb course   # then: nbgrader generate_assignment
    python tools/for_graders.py otter notebooks/03a_two_terms.ipynb course      # then: otter assign

Each gap with a check and a solution is a question; a prediction that is shown back counts when something was chosen.
What is chosen is kept beside the notebook, and handed in with it. The solutions go to a folder, from where the lecture
goes on where a gap is open. A task ticked in a lab lives in the page, and cannot be graded.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from count_lecture import GAP
from nbformat.v4 import new_code_cell, new_raw_cell

GAP_POINTS, CHOICE_POINTS = 2, 1
CHECK = r"(?m)^check\((.*)\)$"
NBGRADER_CONFIG = """c = get_config()
c.ClearSolutions.code_stub = {"python": ""}  # a gap has its own
c.Execute.timeout = 300  # a cell may train for some seconds
# Feedback has no kernel: what stands in a widget's place is shown.
c.NbConvertBase.display_data_priority = ["image/png", "text/html", "text/plain"]
"""
KEEP_ANSWERS = """import os

os.makedirs("answers", exist_ok=True)  # what you choose is kept here, and handed in
os.environ["VAEKIT_ANSWERS"] = "answers"
"""
OTTER_CONFIG = """# ASSIGNMENT CONFIG
name: {name}
files: [solutions]
run_tests: false  # nobody has chosen yet
tests: {{files: true}}
export_cell: {{pdf: false, run_tests: false, files: [answers]}}
generate: {{}}
"""


class NoAssignment(ValueError):
    """No assignment can be made of this notebook; the message says why, in one line."""


@dataclass
class Question:
    """What is graded: the gap, if there is one, the cell that judges it, the gap's solution, and the test."""

    name: str
    gap: dict | None
    judge: dict
    solution: str
    test: str
    points: int


def tags_of(cell: dict) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def questions_of(notebook: dict) -> tuple[list[Question], list[str]]:
    """The questions of a lecture in their order, and the ids of the gaps that cannot be graded."""
    found, left_out, gap, judge = [], [], None, None
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code" and "claims" not in tags_of(cell)):
        if "solution" in tags_of(cell):
            if gap and judge and (solution := filled(gap.source, cell.source)):
                found.append(Question(gap.id, gap, judge, solution, test_of(judge.source), GAP_POINTS))
                gap = None
        elif shown := re.search(r"(?m)^(\w+)\.shown_back", cell.source):
            test = f'assert {shown[1]}.choice, "nothing was chosen"'
            found.append(Question(cell.id, None, cell, "", test, CHOICE_POINTS))
        elif re.search(GAP, cell.source):
            left_out += [gap.id] if gap else []
            gap, judge = cell, None
        elif re.search(CHECK, cell.source):
            judge = judge or cell
    return found, left_out + ([gap.id] if gap else [])


def filled(gap: str, solution: str) -> str:
    """The solution's code, and its names as those of the gap; nothing where none of the gap's names is solved."""
    asked = re.findall(r"(?m)^(?:def |class )?(\w+)(?:\(.*|:| = .*)$", gap)
    solved = re.findall(r"(?m)^(?:def |class )?(\w+)_solution\b", solution)
    names = [f"{name} = {name}_solution" for name in asked if name in solved]
    return "\n".join([solution, *names]) if names else ""


def test_of(judge: str) -> str:
    """What fails, and says why, where the check says that the answer is not right. `check` is imported anew."""
    *_, call = re.findall(CHECK, judge)
    return f"from vaekit.exercises import check\nfound = check({call})\nassert found.passed, found"


def prepare(notebook: dict) -> dict[str, str]:
    """Take out what is not a learner's: outputs, claims, solutions. Returns the solutions' code by file name."""
    files = {}
    notebook.cells = [cell for cell in notebook.cells if "claims" not in tags_of(cell)]
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
        if "solution" in tags_of(cell):
            files[f"{cell.id}.py"] = cell.source + "\n"
            cell.source = f"%run -i solutions/{cell.id}.py"
    notebook.cells.insert(1, new_code_cell(KEEP_ANSWERS.strip(), id="answers", metadata={"tags": ["given"]}))
    return files


def for_nbgrader(notebook: dict, questions: list[Question], name: str, course: Path) -> Path:
    """Mark the cells as nbgrader wants them. Returns where the source notebook belongs."""
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)
        if tags_of(cell) & {"given", "solution"} or "Prediction(" in cell.source:
            mark(cell, locked=True)
    for question in questions:
        hidden = f"### BEGIN HIDDEN TESTS\n{question.test}\n### END HIDDEN TESTS"
        if question.gap:
            mark(question.gap, solution=True)
            question.gap.source += f"\n### BEGIN SOLUTION\n{question.solution}\n### END SOLUTION"
            question.judge.source += f"\n{hidden}"
        else:  # what was said stands below
            question.judge.source = f"{hidden}\n{question.judge.source}"
        mark(question.judge, grade=True, locked=True, points=question.points)
    if not (config := course / "nbgrader_config.py").exists():
        config.write_text(NBGRADER_CONFIG, encoding="utf-8")
    return course / "source" / name / f"{name}.ipynb"


def mark(cell: dict, **kind) -> None:
    none_of = dict.fromkeys(("grade", "solution", "locked", "task"), False)
    cell.metadata["nbgrader"] = {"schema_version": 3, "grade_id": cell.id} | none_of | kind


def for_otter(notebook: dict, questions: list[Question], name: str, course: Path) -> Path:
    """Put otter's marks around the questions. Returns where the notebook for `otter assign` belongs."""
    begins, ends = {}, {}
    for question in questions:
        first, last = question.gap or question.judge, question.judge
        begins[first.id] = [f"# BEGIN QUESTION\nname: {question.name}\npoints: {question.points}"]
        ends[last.id] = ["# BEGIN TESTS", new_code_cell(question.test), "# END TESTS", "# END QUESTION"]
        if question.gap:
            first.source += f"\n# BEGIN SOLUTION NO PROMPT\n{question.solution}\n# END SOLUTION"
            begins[first.id].append("# BEGIN SOLUTION")
            ends[first.id] = ["# END SOLUTION"]
    cells = [OTTER_CONFIG.format(name=name)]
    for cell in notebook.cells:
        cells += [*begins.get(cell.id, []), cell, *ends.get(cell.id, [])]
    notebook.cells = [new_raw_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    return course / name / f"{name}.ipynb"


FORMATS = {"nbgrader": for_nbgrader, "otter": for_otter}


def make(grader: str, lecture: Path, course: Path) -> str:
    """Write the assignment. Returns what there is to say; raises NoAssignment."""
    try:
        notebook = nbformat.read(lecture, as_version=4)
    except (OSError, nbformat.reader.NotJSONError) as error:
        raise NoAssignment(f"{lecture} cannot be read as a notebook ({type(error).__name__})") from error
    questions, left_out = questions_of(notebook)
    if not any(question.gap for question in questions):
        raise NoAssignment(f"{lecture} has no gap with a check and a solution: choose another lecture")
    solutions = prepare(notebook)
    course.mkdir(parents=True, exist_ok=True)
    path = FORMATS[grader](notebook, questions, lecture.stem, course)
    (path.parent / "solutions").mkdir(parents=True, exist_ok=True)
    for name, code in solutions.items():
        (path.parent / "solutions" / name).write_text(code, encoding="utf-8")
    nbformat.write(notebook, path)
    said = f"{path}: {len(questions)} questions, {sum(question.points for question in questions)} points"
    return said + (f"; left out, as no solution bears its name: {', '.join(left_out)}" if left_out else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grader", choices=FORMATS)
    parser.add_argument("lecture", type=Path)
    parser.add_argument("course", type=Path)
    asked = parser.parse_args()
    try:
        print(make(asked.grader, asked.lecture, asked.course))
    except NoAssignment as error:
        sys.exit(f"for_graders: {error}")


if __name__ == "__main__":
    main()
