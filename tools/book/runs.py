"""The labs' runs that a lecture shows in the book: the lecture is run, and its labs exported when their tasks are done.

Below each lab of a lecture stands a folded cell that makes the same lab, solves its tasks and retires it. What it
holds then, knobs turned and all, is what a reader of the book sees in the lab's place.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from lectures import LAB
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import vaekit

HOOK = """
import vaekit.lab

def _export_and_retire(lab, retire=vaekit.lab.LatentLab.retire):
    lab.export_html(_run)
    retire(lab)

vaekit.lab.LatentLab.retire = _export_and_retire
"""


def make_runs(notebooks: list[Path], folder: Path, most: int) -> None:
    """Write the runs of the first labs of each notebook, `most` at most, as folder/NOTEBOOK-CELL.html.

    A notebook is run again when its code or the package's has changed. Raises ValueError, in one line, when it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    package = digest(sorted(path for path in Path(vaekit.__file__).parent.rglob("*.*") if path.suffix != ".pyc"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for made in [pool.submit(runs_of, path, folder, most, package + digest([path])) for path in notebooks]:
            made.result()


def runs_of(path: Path, folder: Path, most: int, made_of: str) -> None:
    """The runs of one notebook, unless they are there, made of the same."""
    notebook = nbformat.read(path, as_version=4)
    targets = {cell: folder / f"{path.stem}-{lab}.html" for cell, lab in list(labs(notebook).items())[:most]}
    stamp = folder / f"{path.stem}.txt"
    made = all(it.is_file() for it in targets.values()) and stamp.is_file() and stamp.read_text() == made_of
    if made or not targets:
        return
    for old in [stamp, *folder.glob(f"{path.stem}-*.html")]:
        old.unlink(missing_ok=True)
    run(notebook, path, {cell: target.resolve() for cell, target in targets.items()})
    stamp.write_text(made_of)
    print(f"{path.stem}: {len(targets)} of its labs run", flush=True)


def labs(notebook) -> dict[int, str]:
    """{the index of the cell that solves and retires a lab: the id of the cell that shows it}."""
    found, shown = {}, None
    for index, cell in enumerate(notebook.cells):
        outputs = cell.get("outputs", ())
        if any(LAB.match(output.get("data", {}).get("text/plain", "")) for output in outputs):
            shown = cell.id
        elif shown and ".retire()" in cell.source:
            found[index], shown = shown, None
    return found


def run(notebook, path: Path, targets: dict[int, Path]) -> None:
    """Run a notebook as far as its last target, and export each; the figures' other checks are left out."""
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}})
    client.extra_arguments = ["--log-level=ERROR"]
    notebook.cells.append(nbformat.v4.new_code_cell(HOOK))
    with client.setup_kernel():
        for index in [-1, *range(max(targets) + 1)]:
            cell = notebook.cells[index]
            if cell.cell_type != "code" or ("claims" in cell.metadata.get("tags", ()) and index not in targets):
                continue
            if index in targets:
                cell.source = f"_run = {str(targets[index])!r}\n{cell.source}"
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as error:
                raise ValueError(f"{path.stem}: cell {index} failed: {error.ename}: {error.evalue}") from None


def digest(paths: list[Path]) -> str:
    """A sum of some files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
