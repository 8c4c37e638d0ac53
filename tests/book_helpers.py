"""A book of one lecture and an appendix, with all that a lecture may hold."""

from pathlib import Path

import nbformat
from lab_helpers import in_python
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

BOOK = Path(__file__).parents[1] / "tools" / "book"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ALT = 'The "cloud" & its <rings>.'
LAB = "import vaekit\n\nproof = vaekit.LatentLab(hidden=16, shown=100).run(40)"
TURNED = "proof.set(prior=False)\nproof.run(60)\nproof.retire()"
PROGRAM = """
import sys
from pathlib import Path
from make_book import make_book

folder = Path(sys.argv[1])
make_book(folder / "book", folder / "notebooks", 1, folder)
"""


def shown(source: str, text: str = "", **about):
    """A code cell that was run, and shows a picture and a text."""
    data = {"image/png": DOT, "text/plain": text}
    outputs = [new_output("display_data", data)] if text else []
    return new_code_cell(source, execution_count=1, outputs=outputs, **about)


def lecture():
    """Formula, links, a figure, a folded solution, a folded explanation, and a lab with its claims."""
    links = "[more](more/02_more.ipynb#there), [the guide](README.md), [elsewhere](https://e.org/e.ipynb)"
    why = "<details>\n<summary><b>Why?</b></summary>\n\nAn **ellipse** has $\\sigma$.\n\n</details>"
    folded = {"jupyter": {"source_hidden": True}}
    return new_notebook(
        metadata={"language_info": {"name": "python"}},
        cells=[
            new_markdown_cell(f"# 01 · First\n\nThe price of a code is $\\mu^2 + \\sigma^2$ nats; {links}."),
            shown("answer = None", "<Figure>", metadata={"alt": ALT}),
            shown("answer = 42", metadata=folded | {"tags": ["solution"]}),
            new_markdown_cell(why),
            shown(LAB, "LatentLab(Handwritten digits, step 40)", id="turn-lab", metadata={"alt": ALT}),
            shown(f"{LAB}\n{TURNED}", metadata=folded | {"tags": ["claims"]}),
        ],
    )


def make_small_book(folder: Path) -> Path:
    """Write the sources and make the book of them, in a process of its own. Returns the folder of its pages."""
    (folder / "notebooks" / "more").mkdir(parents=True)
    more = new_markdown_cell("# More\n\n## There\n\n[back](../01_first.ipynb)")
    nbformat.write(lecture(), folder / "notebooks" / "01_first.ipynb")
    nbformat.write(new_notebook(cells=[more]), folder / "notebooks" / "more" / "02_more.ipynb")
    (folder / "notebooks" / "README.md").write_text("# The guide\n\n[first](01_first.ipynb)\n")
    (folder / "README.md").write_text("# Front\n\n[first](notebooks/01_first.ipynb), [how](CONTRIBUTING.md)\n")
    (folder / "CONTRIBUTING.md").write_text("# Contributing\n\nGladly.\n")
    in_python(PROGRAM, folder, cwd=BOOK)
    return folder / "book"
