"""The learner's copy of the lectures: made once, renewed where it is untouched, never written over."""

import hashlib
import json
import re
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from vaekit._checks import check_choice, first_line
from vaekit._files import short_path, write_whole

FOLDED = {"solution": "# A solution", "claims": "# What the text says, tested"}  # the line that is seen of such a cell
RECORD = ".vaekit-copies.json"  # in a folder of copies: their kind, and the sum of each lecture as it was last copied


class CopyError(RuntimeError):
    """The lectures cannot be copied there; the message says why, and what to do, in one line."""


def lectures_folder() -> Path:
    """Where the kit's own lectures are: in the installed package, else in the clone."""
    here = Path(__file__).resolve().parent
    found = [folder for folder in (here / "lectures", here.parent / "notebooks") if folder.is_dir()]
    if not found:
        raise CopyError("this installation of vaekit has no lectures: install it anew, or work in a clone")
    return found[0]


def notebooks_in(folder: Path) -> list[Path]:
    """The lectures in a folder, and after them the appendices."""
    return [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("more/*.ipynb"))]


def copy_lectures(folder: str | Path, kind: str = "learner") -> list[str]:
    """Copy the lectures into a folder, which is made when only it is missing.

    kind: "learner", without what the cells show and with solutions and answers folded; "instructor", with both.
    A copy in which somebody has written stays as it is, and a newer lecture is put beside it.
    Returns a line for each that was put beside one. Raises CopyError, in one line.
    """
    check_choice("kind", kind, ("learner", "instructor"))
    folder, source = Path(folder).expanduser(), lectures_folder()
    try:
        if folder.resolve().is_relative_to(source):
            raise CopyError(f"{short_path(folder)} is where the lectures themselves are: choose another folder")
        folder.mkdir(exist_ok=True)
        record = _read_record(folder)
        if record["kind"] not in (None, kind):
            raise CopyError(f"{short_path(folder)} has the {record['kind']}'s copies: choose another folder")
        files = [*notebooks_in(source), *source.glob("README.md")]
        said = [_copy(path.relative_to(source), _prepared(path, kind), folder, record["sums"]) for path in files]
        write_whole(folder / RECORD, json.dumps(record | {"kind": kind}, indent=1).encode())
    except OSError as error:
        why = f"({error.strerror or first_line(error)}): give another folder, or a new name in one that exists"
        raise CopyError(f"the lectures cannot be copied to {short_path(folder)} {why}") from error
    return [line for line in said if line]


def _copy(name: Path, content: bytes, folder: Path, sums: dict[str, str]) -> str | None:
    """Bring one file into the folder, if its copy is not of this version. Returns what there is to say about it."""
    new = sum_of(content)
    for beside in chain(["", ".new"], map(".new{}".format, count(2))):  # of copies that somebody has written in
        place = name.with_name(f"{name.stem}{beside}{name.suffix}")
        target, key = folder / place, place.as_posix()
        known, sums[key] = sums.get(key), new
        if not target.exists():
            break
        if new in (known, present := sum_of(target.read_bytes())):
            return None  # of this version, and maybe written in: what it shows stays, too
        if present == known:
            break  # an older version, untouched
    target.parent.mkdir(exist_ok=True)
    write_whole(target, content)
    return None if place == name else f"{name.as_posix()} has changed, and so has your copy: the new one is {key}"


def sum_of(content: bytes) -> str:
    """A sum of what is written in a notebook, or in another file: outputs, counters and empty cells do not count."""
    with suppress(ValueError, KeyError, TypeError):  # no notebook
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(content)["cells"]]
        content = json.dumps([cell for cell in cells if cell[1].strip()]).encode()
    return hashlib.sha256(content).hexdigest()


def _read_record(folder: Path) -> dict:
    """What was copied here. Without a record, or with a damaged one, nothing counts as untouched."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        found = json.loads((folder / RECORD).read_bytes())
        return {"kind": found["kind"], "sums": dict(found["sums"])}
    return {"kind": None, "sums": {}}


def _prepared(path: Path, kind: str) -> bytes:
    """What a copy of this kind has in a file."""
    if path.suffix != ".ipynb":
        return path.read_bytes()
    notebook = json.loads(path.read_bytes())
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", ())
        if kind == "learner":
            _empty_and_fold(cell, tags)
        elif "solution" in tags:
            cell["metadata"].pop("jupyter", None)
    return json.dumps(notebook, ensure_ascii=False, indent=1).encode()


def _empty_and_fold(cell: dict, tags: list[str]) -> None:
    """Bring a cell to where it was before anything was run; fold it if it holds an answer."""
    source, asks = "".join(cell["source"]), False
    if cell["cell_type"] == "code":
        cell["outputs"], cell["execution_count"] = [], None
        asks = re.search(r"= Prediction\(|^def judge", source, re.M)
    seen = [line for tag, line in FOLDED.items() if tag in tags]
    if seen or asks:
        cell["source"] = "\n".join([*seen, source])
        cell["metadata"].setdefault("jupyter", {})["source_hidden"] = True
