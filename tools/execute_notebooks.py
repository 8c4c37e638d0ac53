"""Run the notebooks from top to bottom and store what they print and show, light enough for git.

    python tools/execute_notebooks.py                       # all of them
    python tools/execute_notebooks.py notebooks/00_start_here.ipynb

A widget leaves its still picture behind: its state is large, and dead without the kernel that made it.
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ExecutePreprocessor
from PIL import Image

from vaekit._pictures import lighter
from vaekit.copies import notebooks_in

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def execute(path: Path) -> None:
    """Run one notebook in its own folder and write it back, without widgets, timings and counters of a session."""
    notebook = nbformat.read(path, as_version=4)
    ExecutePreprocessor(timeout=120, store_widget_state=False, coalesce_streams=True).preprocess(
        notebook, {"metadata": {"path": str(path.parent)}}
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            data.pop("application/vnd.jupyter.widget-view+json", None)
            if "image/png" in data:
                picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
                data["image/png"] = base64.b64encode(lighter(picture)).decode()
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec", "language_info")}
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)


def main() -> None:
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else notebooks_in(NOTEBOOKS):
        execute(path)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
