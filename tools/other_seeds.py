"""Run the notebooks with other seeds, and see whether what they claim still holds.

    python tools/other_seeds.py                                      # all of them, seeds 1 and 2
    python tools/other_seeds.py notebooks/04_the_prior.ipynb --seeds 1 2 3

Every seed in the code is moved by the same number, and a lab without one gets it. No cell may fail: those with the
tag `claims` assert what the prose says. The cells marked NBVAL_CHECK_OUTPUT must print what is stored.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from execute_notebooks import NOTEBOOKS
from nbconvert.preprocessors import ExecutePreprocessor

from vaekit.copies import notebooks_in

MARK = "NBVAL_CHECK_OUTPUT"


# What stands between a pair of brackets, with up to three pairs within one another.
INSIDE = r"[^()]*"
for _ in range(3):
    INSIDE = rf"(?:[^()]|\({INSIDE}\))*"


def moved(source: str, by: int) -> str:
    """The code with every seed moved."""
    source = re.sub(r"(?m)(manual_seed\(|\bseed=|^SEED = )(\d+)", lambda m: f"{m[1]}{int(m[2]) + by}", source)

    def seeded(match: re.Match) -> str:
        given = match[1].rstrip().rstrip(",")
        return match[0] if "seed=" in given else f"LatentLab({given}{', ' if given.strip() else ''}seed={by})"

    return re.sub(rf"LatentLab\(({INSIDE})\)", seeded, source)


def printed(cell) -> str:
    """What a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")


def failures(cell) -> list[str]:
    """What went wrong in a cell: the line of code, and what was said."""
    if "raises-exception" in cell.metadata.get("tags", ()):
        return []
    found = []
    for error in (output for output in cell.outputs if output.output_type == "error"):
        traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
        lines = re.findall(r"(?m)^-+> *\d+ (.*)$", traceback)[:1]  # the cell's own comes first
        found.append(" ".join([*map(str.strip, lines), f"→ {error.ename}: {error.evalue}"]))
    return found


def differences(path: Path, by: int) -> list[str]:
    """What is wrong with other seeds: what fails, and what the marked cells print where it is not what is stored."""
    stored, other = (nbformat.read(path, as_version=4) for _ in range(2))
    for cell in other.cells:
        if cell.cell_type == "code":
            cell.source = moved(cell.source, by)
    runner = ExecutePreprocessor(timeout=300, store_widget_state=False, allow_errors=True)
    runner.preprocess(other, {"metadata": {"path": str(path.parent)}})
    found = []
    for index, (before, now) in enumerate(zip(stored.cells, other.cells, strict=True)):
        if now.cell_type == "code":
            kind = "claims" if "claims" in now.metadata.get("tags", ()) else "failed"
            found += [f"cell {index}, {kind}: {failure}" for failure in failures(now)]
            if MARK in before.source and printed(before) != printed(now):
                found.append(f"cell {index} prints:\n{printed(now)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=notebooks_in(NOTEBOOKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2], help="how far to move the seeds (default: 1 2)")
    asked = parser.parse_args()
    wrong = 0
    for path in asked.notebooks:
        for by in asked.seeds:
            found = differences(path, by)
            wrong += len(found)
            print(f"{path.name}, seeds moved by {by}: {'holds' if not found else 'does not hold'}", *found, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
