"""A lecture as the book shows it: what it has stored, what keeps it from being read, and what is folded."""

import html
import re
from pathlib import Path

import nbformat

# What stands on a folded cell.
FOLDED = {"solution": "Solution", "claims": "How this page's figures are checked"}
LAB = re.compile(r"LatentLab\(.*step (\d+)\)")


def flaws(notebook) -> list[str]:
    """What keeps a notebook from being read as it stands: cells that were not run, failed, or show a dead widget."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if cell.execution_count is None:
            found.append(f"cell {index} was not run")
        may_fail = "raises-exception" in cell.metadata.get("tags", ())
        for output in cell.outputs:
            if output.output_type == "error" and not may_fail:
                found.append(f"cell {index} failed: {output.ename}")
            elif not is_readable(output):
                found.append(f"cell {index} shows a widget that leaves no still picture")
    return found


def is_readable(output) -> bool:
    """Whether an output shows anything where no kernel is: a widget leaves only its name."""
    data = output.get("data", {"text/plain": ""})
    seen = {"text/html", "text/markdown", "text/latex", "image/png", "image/svg+xml"} & data.keys()
    return bool(seen) or not re.match(r"\w+\((children|value|description|layout|options)=", data.get("text/plain", ""))


def prepared(text: str, name: str, runs: Path) -> str:
    """The text of a notebook, for MyST-NB: text alternatives, folded cells, and the labs' runs where there are any.

    name: its page's, such as notebooks/more/03a_pixels; runs: the folder of the exported runs.
    """
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            prepare(cell, runs / f"{Path(name).name}-{cell.id}.html", "../" * name.count("/"))
    return nbformat.writes(notebook)


def prepare(cell, run: Path, up: str) -> None:
    """One cell: see `prepared`. up: the way from its page to the book's folder."""
    tags, alt = cell.metadata.setdefault("tags", []), cell.metadata.get("alt")
    shown = cell.metadata.setdefault("mystnb", {})
    if alt:
        shown["image"] = {"alt": alt}
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        tags.append("hide-input")
        folded = next((words for tag, words in FOLDED.items() if tag in tags), "Code")
        shown |= {"code_prompt_show": folded, "code_prompt_hide": folded}
    for output in cell.outputs:
        found = LAB.match(output.get("data", {}).get("text/plain", ""))
        if found and run.is_file():
            output.data = {"text/html": live(f"{up}runs/{run.name}#step={found[1]}", alt or "A run of the lab")}


def live(address: str, alt: str) -> str:
    """An exported run within a page."""
    about = f'src="{address}" title="{html.escape(alt)}" loading="lazy" allow="fullscreen"'
    words = "A recorded run: drag in the plane, click a dot, look back and on with the slider."
    alone = f'<a href="{address}">On a page of its own</a>'
    return f'<iframe class="live-run" {about}></iframe><p class="live-run">{words} {alone}</p>'


def as_restructured_text(lines: list[str]) -> list[str]:
    """A docstring, whose `code` and formulas are plain text, for Sphinx."""
    text = re.sub(r"(?<=\.)\n(?=\S[\w, ]*: |Raises |Returns )", "\n\n", "\n".join(lines))  # each is a paragraph
    text = re.sub(r"(?<![`\w])`([^`\n]+)`(?!`)", r"``\1``", text)
    parts = re.split(r"(``[^`]*``)", text)
    parts[::2] = [re.sub(r"([*|_\\])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).split("\n")
