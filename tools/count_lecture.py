"""Count what a lecture must keep to, and list every breach of it.

    python tools/count_lecture.py                                 # all of them
    python tools/count_lecture.py notebooks/04_the_prior.ipynb

tests/test_lectures.py holds the lectures to it.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
MOST_WORDS = 1100  # of body prose
MOST_IN_BRACKETS = 0.05  # of these
WORDS_PER_ACTION = 110
FEWEST_GAPS = 3
MOST_LINES = 15  # of a code cell
MOST_WITHOUT_PROSE = 2  # code cells right after another one

# Not prose: what is folded, formulas, code, tables, the markup itself. A word of code in a sentence counts as a word.
NOT_PROSE = r"""(?sx)
    <details.*?</details> | <!--.*?--> | ```.*?``` | \$\$.*?\$\$ | \$[^$\n]+\$ | (?m:^\s*\|[^\n]*$)
    | (?<=\])\([^)\s]*\) | <[^>\n]+>
"""
GAP = r"\braise NotImplementedError\b|(?:= None|\.\.\.)\s+#\s*your\b"
VERDICT = r"\b(True|False)\W*$"


@dataclass
class Cell:
    """A cell of a notebook: kind "code" or "markdown", its place, and what is stored."""

    index: int
    kind: str
    source: str
    metadata: dict
    outputs: list

    @cached_property
    def tags(self) -> set[str]:
        return set(self.metadata.get("tags", ()))

    @property
    def is_folded(self) -> bool:
        """Whether it is a solution or a claim: out of the learner's way."""
        return bool(self.tags & {"solution", "claims"})

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """What a code cell is made of."""
        return list(ast.walk(ast.parse(self.source))) if self.kind == "code" else []

    @cached_property
    def calls(self) -> list[str]:
        """The names of the functions and methods that a code cell calls, in their order."""
        called = [node.func for node in self.nodes if isinstance(node, ast.Call)]
        return [getattr(it, "attr", None) or getattr(it, "id", "") for it in called]

    @property
    def assigns(self) -> list[str]:
        """The names to which a code cell gives values."""
        return [it.id for it in self.nodes if isinstance(it, ast.Name) and isinstance(it.ctx, ast.Store)]

    @property
    def checks(self) -> int:
        """How many checks a code cell displays: lines that begin with one."""
        return len(re.findall(r"(?m)^check\(", self.source))

    @property
    def needs_no_prose(self) -> bool:
        """Whether it says by itself what it is: a solution, a claim, a check, a prediction asked for or shown back."""
        return self.is_folded or self.checks > 0 or "Prediction" in self.calls or ".shown_back" in self.source

    @property
    def printed(self) -> Iterator[str]:
        """The stored lines of text."""
        for output in self.outputs:
            data = output.get("data", {})
            text = output.get("text", "" if len(data) > 1 else data.get("text/plain", ""))
            yield from "".join(text).splitlines()


@dataclass
class Lecture:
    """A lecture, as far as it can be counted."""

    name: str
    cells: list[Cell]

    @classmethod
    def read(cls, path: Path) -> "Lecture":
        found = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return cls(
            path.stem,
            [
                Cell(index, it["cell_type"], "".join(it["source"]), it["metadata"], it.get("outputs", []))
                for index, it in enumerate(found)
            ],
        )

    @cached_property
    def code(self) -> list[Cell]:
        """The code cells that a learner meets: neither solutions nor claims."""
        return [cell for cell in self.cells if cell.kind == "code" and not cell.is_folded]

    @cached_property
    def prose(self) -> str:
        text = "\n\n".join(cell.source for cell in self.cells if cell.kind == "markdown")
        return re.sub(NOT_PROSE, " ", text)

    @property
    def words(self) -> int:
        return count_words(self.prose)

    @property
    def words_in_brackets(self) -> int:
        """Brackets right after a word are a function's, as in KL(q ‖ p)."""
        return sum(count_words(part) for part in re.findall(r"(?<![\w`_*])\([^()]*\)", self.prose))

    @property
    def gaps(self) -> int:
        """Cells with something to fill in."""
        return sum(bool(re.search(GAP, cell.source)) for cell in self.code)

    def calls(self, name: str) -> int:
        """How often the learner's cells call a function."""
        return sum(cell.calls.count(name) for cell in self.code)

    @property
    def actions(self) -> dict[str, int]:
        """What there is to do, by kind."""
        checks = sum(cell.checks for cell in self.code)
        return {
            "predictions": self.calls("Prediction"),
            "tasks": self.calls("Task"),
            "gaps": self.gaps,
            "checks": checks,
        }

    @property
    def solved(self) -> int:
        """How many tasks the claims solve."""
        return sum(cell.calls.count("solve") for cell in self.cells if "claims" in cell.tags)

    @property
    def shown_back(self) -> int:
        """How many predictions are shown beside what happened."""
        return sum(cell.source.count(".shown_back") for cell in self.code)

    @property
    def lost(self) -> list[str]:
        """The names of predictions that stand for something else further on."""
        predictions = re.findall(r"(?m)^(\w+) = Prediction\(", "\n".join(cell.source for cell in self.code))
        assigned = [name for cell in self.cells for name in cell.assigns]
        return [name for name in predictions if assigned.count(name) > 1]

    @property
    def without_prose(self) -> list[int]:
        """The code cells right after a code cell; those that need no prose are passed over."""
        seen = [cell for cell in self.cells if cell.kind != "code" or not cell.needs_no_prose]
        return [b.index for a, b in zip(seen, seen[1:], strict=False) if a.kind == b.kind == "code"]

    def counts(self) -> str:
        """One line."""
        actions = ", ".join(f"{count} {kind}" for kind, count in self.actions.items())
        return f"{self.words} words, {self.words_in_brackets} of them in brackets; {actions}"

    def breaches(self) -> list[str]:
        """Each in a line: what was counted, and what is allowed."""
        words, actions, tasks = self.words, sum(self.actions.values()), self.actions["tasks"]
        found = []
        if words > MOST_WORDS:
            found.append(f"{words} words of prose: at most {MOST_WORDS}")
        if actions * WORDS_PER_ACTION < words:
            needed = -(-words // WORDS_PER_ACTION)
            found.append(f"{actions} learner actions: {needed} are needed for {words} words")
        if self.words_in_brackets > MOST_IN_BRACKETS * words:
            found.append(f"{self.words_in_brackets} words in brackets: at most {MOST_IN_BRACKETS * words:.0f}")
        if self.gaps < FEWEST_GAPS and not self.name.startswith("00"):
            found.append(f"{self.gaps} gaps: at least {FEWEST_GAPS}")
        if self.shown_back < self.actions["predictions"]:
            found.append(f"{self.shown_back} of {self.actions['predictions']} predictions are shown back")
        found += [f"{name} is a prediction's name, and given to something else as well" for name in self.lost]
        if not (tasks and self.calls("LatentLab")):
            found.append("no lab with tasks: LatentLab(..., tasks=[Task(...)])")
        if self.solved < tasks:
            found.append(f"{self.solved} of {tasks} tasks are solved in a claims cell: lab.solve(...) once for each")
        if len(self.without_prose) > MOST_WITHOUT_PROSE:
            cells = ", ".join(map(str, self.without_prose))
            found.append(f"code right after code in the cells {cells}: at most {MOST_WITHOUT_PROSE}")
        return found + [breach for cell in self.cells for breach in breaches_of(cell)]


def count_words(text: str) -> int:
    return len(re.findall(r"\w[\w'’.,-]*", text))


def breaches_of(cell: Cell) -> Iterator[str]:
    """What is wrong with one cell."""
    lines = len(cell.source.splitlines())
    if cell.kind == "code" and not cell.is_folded and lines > MOST_LINES:
        yield f"cell {cell.index}: {lines} lines of code: at most {MOST_LINES}"
    for line in cell.printed:
        if re.search(VERDICT, line):
            yield f"cell {cell.index} prints a verdict, not a number: {line.strip()[-70:]!r}"
    if any("image/png" in it.get("data", {}) for it in cell.outputs) and not cell.metadata.get("alt", "").strip():
        yield f"cell {cell.index}: a figure without its text alternative: metadata.alt"


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb"))
    kept = True
    for path in paths:
        lecture = Lecture.read(path)
        found = lecture.breaches()
        kept = kept and not found
        print(f"{lecture.name}: {lecture.counts()}", *(f"  - {breach}" for breach in found), sep="\n")
    sys.exit(not kept)


if __name__ == "__main__":
    main()
