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


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks; what goes wrong is said in one line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["book"]:
        return make_book(arguments[1:])
    mine, theirs = arguments, []
    if arguments[:1] == ["lab"]:  # what comes after the folder is JupyterLab's
        n_mine = 2 if arguments[1:] and re.match("[^-]|-h$|--help$", arguments[1]) else 1
        mine, theirs = arguments[:n_mine], arguments[n_mine:]
    sys.stdout.reconfigure(errors="backslashreplace")  # a folder's name may be none that the terminal can print
    asked = parser().parse_args(mine)
    try:
        if asked.command == "lab" and find_spec("jupyterlab") is None:
            raise CopyError('JupyterLab is not installed: python -m pip install "vaekit[lab]"')
        for line in copy_lectures(asked.folder, asked.kind):
            print(f"vaekit: {line}")
        print(f"vaekit: the lectures are in {asked.folder.resolve()}", flush=True)
        if asked.command == "lab":
            start_jupyterlab(asked.folder, theirs)
    except CopyError as error:
        sys.exit(f"vaekit: {error}")


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    vaekit = argparse.ArgumentParser("vaekit", description="Lectures on variational autoencoders, and a live lab.")
    vaekit.add_argument("--version", action="version", version=f"vaekit {sys.modules['vaekit'].__version__}")
    vaekit.set_defaults(kind="learner")
    commands = vaekit.add_subparsers(dest="command", required=True)
    usage = "vaekit lab [FOLDER] [arguments of JupyterLab ...]"
    lab = commands.add_parser("lab", help="copy the lectures, and open JupyterLab on them", usage=usage)
    default = Path("vaekit-lectures")
    lab.add_argument("folder", nargs="?", metavar="FOLDER", type=Path, default=default, help="default: %(default)s")
    copies = commands.add_parser("copies", help="copy the lectures; a copy that was written in stays as it is")
    copies.add_argument("folder", metavar="FOLDER", type=Path)
    kind = {"dest": "kind", "action": "store_const", "const": "instructor", "default": "learner"}
    copies.add_argument("--instructor", **kind, help="with outputs, and all solutions open")
    commands.add_parser("book", help="make pages of the lectures, to read without Python")
    return vaekit


def make_book(arguments: list[str]) -> None:
    """The book, by Sphinx, in place of this process."""
    if find_spec("myst_nb") is None:
        sys.exit('vaekit: the book needs Sphinx: python -m pip install "vaekit[book]"')
    installed, clone = HERE / "_book", HERE.parent / "tools" / "book"
    start([sys.executable, str((installed if installed.is_dir() else clone) / "make_book.py"), *arguments])


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
