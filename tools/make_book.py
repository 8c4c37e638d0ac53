"""The notebooks as HTML pages, to be read without Python and without a network.

    python tools/make_book.py              # into book/, from what the notebooks have stored
    python tools/make_book.py --run FOLDER # run them first, as `make notebooks` does

The pages show figures with their text alternatives (`metadata.alt` of the cell), printed lines and still pictures of
the widgets. A notebook that has nothing stored to show, or an error, makes no page: the message says which cell.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import jupyter_server_mathjax
import nbformat
from execute_notebooks import NOTEBOOKS, all_notebooks, execute
from nbconvert import HTMLExporter

TEMPLATE = Path(__file__).parent / "book"
MATHJAX = Path(jupyter_server_mathjax.__file__).parent / "static"
START = """<!doctype html>
<meta charset="utf-8"><title>vaekit</title>
<meta http-equiv="refresh" content="0; url={0}"><a href="{0}">{0}</a>
"""


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


def render(notebook, name: str) -> str:
    """One notebook as a page; the links between notebooks lead from page to page, all in one folder."""
    exporter = HTMLExporter(template_name=TEMPLATE.name, extra_template_basedirs=[str(TEMPLATE.parent)])
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": name}})
    page = re.sub(r'href="(?:\.\./|more/)?([\w.]+)\.ipynb', r'href="\1.html', page)
    return re.sub(r'href="(?:\.\./)?README\.md', 'href="guide.html', page)


def make_book(folder: Path, notebooks: Path = NOTEBOOKS) -> list[Path]:
    """Write the pages of all notebooks, the instructor's guide and index.html. Raises ValueError: see `flaws`."""
    pages = {path.stem: nbformat.read(path, as_version=4) for path in all_notebooks(notebooks)}
    if found := [f"{name}: {flaw}" for name, notebook in pages.items() for flaw in flaws(notebook)]:
        raise ValueError(f"{found[0]} ({len(found)} in all): run `make notebooks`, and look at it")
    start = f"{next(iter(pages))}.html"
    guide = nbformat.v4.new_markdown_cell((notebooks / "README.md").read_text(encoding="utf-8"))
    pages["guide"] = nbformat.v4.new_notebook(cells=[guide])
    folder.mkdir(parents=True, exist_ok=True)
    for name, notebook in pages.items():
        (folder / f"{name}.html").write_text(render(notebook, name), encoding="utf-8")
    (folder / "index.html").write_text(START.format(start), encoding="utf-8")
    unused = shutil.ignore_patterns("a11y", "localization", "SVG")
    shutil.copytree(MATHJAX, folder / "MathJax", ignore=unused, dirs_exist_ok=True)
    return [folder / f"{name}.html" for name in pages]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=NOTEBOOKS.parent / "book", help="default: book/")
    parser.add_argument("--run", action="store_true", help="run the notebooks first, and store what they show")
    asked = parser.parse_args()
    for path in all_notebooks() if asked.run else ():
        execute(path)
    try:
        pages = make_book(asked.folder)
    except ValueError as error:
        sys.exit(f"no book: {error}")
    print(f"{len(pages)} pages: open {asked.folder / 'index.html'}")


if __name__ == "__main__":
    main()
