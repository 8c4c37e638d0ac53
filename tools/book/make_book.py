"""The lectures as a book: a folder of pages to read without Python and without a network.

    vaekit book             # into book/, from what the notebooks have stored
    vaekit book --runs 0    # quickly: a lab whose run is not there yet is a still picture

Sphinx makes the pages: contents, search, and the reference from the docstrings. Each lab in a lecture shows its
exported run. A notebook that has nothing stored to show, or an error, makes no book: the message says which cell.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from lectures import flaws
from runs import make_runs
from sphinx.cmd.build import build_main

from vaekit.copies import lectures_folder, notebooks_in

HERE = Path(__file__).resolve().parent
# What is around the lectures: in the wheel beside this file, else the clone's own.
FRONT = HERE / "front" if (HERE / "front").is_dir() else HERE.parents[1]
AROUND = ["C*.md", "SECURITY.md", "CITATION.cff", "LICENSE", "data/README.md", "deploy/README.md", "docs/*"]
CONTENTS = {
    "Lectures": "notebooks/[0-9]*.ipynb",
    "Appendices": "notebooks/more/*.ipynb",
    "For whoever teaches": "notebooks/README.md deploy/README.md",
    "Reference": "reference/*.md",
    "The project": "C*.md SECURITY.md docs/*.md data/*.md",
}


def make_book(folder: Path, notebooks: Path, runs: int, front: Path = FRONT) -> Path:
    """Write the pages of all notebooks, what is around them, and the runs of so many labs in each.

    Returns the front page. Raises ValueError, in one line: see `flaws`, `make_runs`.
    """
    paths = notebooks_in(notebooks)
    found = [f"{path.stem}: {flaw}" for path in paths for flaw in flaws(nbformat.read(path, as_version=4))]
    if found:
        raise ValueError(f"{found[0]} ({len(found)} in all): run `make notebooks`, and look at it")
    if runs:
        make_runs(paths, folder / "runs", runs)
    with tempfile.TemporaryDirectory() as place:
        source, pages = Path(place, "source"), Path(place, "book", "pages")
        gather(source, notebooks, front)
        asked = ["--quiet", "--fail-on-warning", "--keep-going", "-c", HERE, "-d", f"{place}/doctrees"]
        if build_main([*map(str, asked), "-D", f"runs_folder={folder.resolve() / 'runs'}", str(source), str(pages)]):
            raise ValueError("Sphinx has warned: see above")
        shutil.copytree(pages, folder, dirs_exist_ok=True)
    return folder / "index.html"


def gather(source: Path, notebooks: Path, front: Path) -> None:
    """Bring together what the book is made of, in the layout of the clone; the README is its front page."""
    shutil.copytree(notebooks, source / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(HERE / "reference", source / "reference")
    for pattern in AROUND:
        for path in front.glob(pattern):
            target = source / path.relative_to(front)
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    readme = (front / "README.md").read_text(encoding="utf-8")
    (source / "index.md").write_text(readme + "".join(contents(source)), encoding="utf-8")


def contents(source: Path):
    """The table of contents, part by part."""
    for title, patterns in CONTENTS.items():
        found = [path for pattern in patterns.split() for path in sorted(source.glob(pattern))]
        names = [path.relative_to(source).with_suffix("").as_posix() for path in found]
        yield "\n".join(["\n```{toctree}", ":hidden:", f":caption: {title}", *names, "```\n"])


def main() -> None:
    parser = argparse.ArgumentParser("vaekit book", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("book"), metavar="FOLDER", help="default: book")
    runs = parser.add_argument("--runs", type=int, default=100, metavar="N")
    runs.help = "make the runs of the first N labs of each lecture, where they are not there yet (default: of all)"
    asked = parser.parse_args()
    try:
        front = make_book(asked.folder, lectures_folder(), asked.runs)
    except (ValueError, OSError) as error:
        sys.exit(f"no book: {error}")
    print(f"the book is there: open {front}")


if __name__ == "__main__":
    main()
