"""The command `vaekit`: the lectures as a copy of one's own, and JupyterLab on it."""

import argparse
import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from vaekit.copies import CopyError, copy_lectures

HERE = Path(__file__).resolve().parent
NEEDED = {"lab": ("jupyterlab", "JupyterLab is not installed"), "book": ("myst_nb", "the book needs Sphinx")}


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks; what goes wrong is said in one line."""
    mine, theirs = (sys.argv[1:] if arguments is None else arguments), []
    if mine[:1] in (["lab"], ["book"]):  # what follows, but for the lab's folder, is JupyterLab's or the book's
        has_folder = mine[0] == "lab" and re.match("[^-]|-h$|--help$", "".join(mine[1:2]))
        n_mine = 2 if has_folder else 1
        mine, theirs = mine[:n_mine], mine[n_mine:]
    sys.stdout.reconfigure(errors="backslashreplace")  # a folder's name may be none that the terminal can print
    asked = parser().parse_args(mine)
    module, missing = NEEDED.get(asked.command, (None, None))
    if module and find_spec(module) is None:
        sys.exit(f'vaekit: {missing}: python -m pip install "vaekit[{asked.command}]"')
    if asked.command == "book":
        place = HERE / "_book" if (HERE / "_book").is_dir() else HERE.parent / "tools" / "book"
        return start([sys.executable, str(place / "make_book.py"), *theirs])
    try:
        for line in copy_lectures(asked.folder, "instructor" if asked.instructor else "learner"):
            print(f"vaekit: {line}")
    except CopyError as error:
        sys.exit(f"vaekit: {error}")
    print(f"vaekit: the lectures are in {asked.folder.resolve()}", flush=True)
    if asked.command == "lab":
        start_jupyterlab(asked.folder, theirs)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    vaekit = argparse.ArgumentParser("vaekit", description="Lectures on variational autoencoders, and a live lab.")
    vaekit.add_argument("--version", action="version", version=f"vaekit {sys.modules['vaekit'].__version__}")
    vaekit.set_defaults(instructor=False)
    commands = vaekit.add_subparsers(dest="command", required=True)
    usage = "vaekit lab [FOLDER] [arguments of JupyterLab ...]"
    lab = commands.add_parser("lab", help="copy the lectures, and open JupyterLab on them", usage=usage)
    default = Path("vaekit-lectures")
    lab.add_argument("folder", nargs="?", metavar="FOLDER", type=Path, default=default, help="default: %(default)s")
    copies = commands.add_parser("copies", help="copy the lectures; a copy that was written in stays as it is")
    copies.add_argument("folder", metavar="FOLDER", type=Path)
    copies.add_argument("--instructor", action="store_true", help="with outputs, and all solutions open")
    commands.add_parser("book", help="make pages of the lectures, to read without Python")
    return vaekit


def start_jupyterlab(folder: Path, arguments: list[str]) -> None:
    """JupyterLab on the folder, at the first lecture, in place of this process."""
    # No offer of news: it would lie over the lab, and ask for a network.
    paths = [str(HERE / "_jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, paths))
    there = [f"--ServerApp.root_dir={folder.resolve()}", "--LabApp.default_url=/lab/tree/00_start_here.ipynb"]
    start([sys.executable, "-m", "jupyterlab", *there, *arguments])


def start(command: list[str]) -> None:
    """Run a command in place of this process; on Windows exec would give the terminal back at once."""
    if os.name == "posix":
        os.execv(command[0], command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is JupyterLab's
    sys.exit(subprocess.call(command))


if __name__ == "__main__":
    main()
