"""Run the notebooks with other seeds, and see whether what they claim still holds.

    python tools/other_seeds.py                                      # all of them, seeds 1 and 2
    python tools/other_seeds.py notebooks/04_the_prior.ipynb --seeds 1 2 3

Every seed in the code is moved by the same number, and a lab without one gets it. The cells marked
NBVAL_CHECK_OUTPUT must print what they print in the stored notebook.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
MARK = "NBVAL_CHECK_OUTPUT"


def moved(source: str, by: int) -> str:
    """The code with every seed moved."""
    source = re.sub(r"(?m)(manual_seed\(|\bseed=|^SEED = )(\d+)", lambda m: f"{m[1]}{int(m[2]) + by}", source)

    def seeded(match: re.Match) -> str:
        given = match[1].rstrip().rstrip(",")
        return match[0] if "seed=" in given else f"LatentLab({given}{', ' if given.strip() else ''}seed={by})"

    return re.sub(r"LatentLab\(((?:[^()]|\([^()]*\))*)\)", seeded, source)


def printed(cell) -> str:
    """What a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")


def differences(path: Path, by: int) -> list[str]:
    """What the marked cells print with other seeds, where it is not what is stored."""
    stored, other = (nbformat.read(path, as_version=4) for _ in range(2))
    for cell in other.cells:
        if cell.cell_type == "code":
            cell.source = moved(cell.source, by)
    ExecutePreprocessor(timeout=300, store_widget_state=False).preprocess(
        other, {"metadata": {"path": str(path.parent)}}
    )
    pairs = zip(stored.cells, other.cells, strict=True)
    return [printed(now) for before, now in pairs if MARK in before.source and printed(before) != printed(now)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(NOTEBOOKS.glob("*.ipynb")))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2], help="how far to move the seeds (default: 1 2)")
    asked = parser.parse_args()
    wrong = 0
    for path in asked.notebooks:
        for by in asked.seeds:
            found = differences(path, by)
            wrong += len(found)
            print(f"{path.name}, seeds moved by {by}: {'as stored' if not found else 'differs'}", *found, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
