"""Which labs there are: a cell that is run again must leave neither a trainer nor its memory behind."""

import atexit
import ctypes
import gc
import re
import sys
import threading
import weakref

from IPython import get_ipython
from ipywidgets import Widget

from vaekit._pictures import hear_at_once

labs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # of each, the cell that made it, and its execution
_kept: set = set()  # a page may show a lab that no variable holds
TRIM_THRESHOLD = -1  # mallopt's: what may stay free at the end of a thread's memory, which malloc_trim leaves alone
_ending = threading.Event()
atexit.register(_ending.set)
_has_retired = threading.Event()
cell_is_running = threading.Event()  # the page's messages may then wait for its end


def weakly(lab, answer):
    """Return a callback that calls `answer(lab, ...)` while there is a lab: the widgets do not keep it alive."""
    reference = weakref.ref(lab)
    return lambda *about: answer(lab, *about) if (lab := reference()) else None


def register(lab) -> None:
    """Remember `lab`; older ones, made by an earlier run of the same cell, are told to `retire()`."""
    cell, execution = _current_cell()
    for older, (its_cell, its_execution) in list(labs.items()):
        if cell is not None and its_cell == cell and its_execution != execution:
            labs[older] = (None, "")  # it is told once: a learner may play it on
            older.retire()
            _has_retired.set()
    labs[lab] = (cell, execution)
    if shell := get_ipython():
        _kept.add(lab)
        if _cell_began not in shell.events.callbacks["pre_run_cell"]:
            _cell_began()  # this one
            shell.events.register("pre_run_cell", _cell_began)
            shell.events.register("post_run_cell", _cell_ended)


def on_its_thread(model, command):
    """Return `command()`, called on the thread of the lab that trains `model`, between two steps; here without one."""
    lab = next((lab for lab in list(labs) if any(run.model is model for run in lab.engine.runs)), None)
    return lab.engine.post(command, report=False).result() if lab else command()


def check_kernel() -> str | None:
    """What this kernel can't do for a lab, in one line, or None. Raises RuntimeError when there can be none."""
    if getattr(get_ipython(), "kernel", None) is None or "ipykernel" not in sys.modules:
        return None
    version = sys.modules["ipykernel"].version_info[:2]
    if version == (7, 0):
        advice = 'python -m pip install "ipykernel>=7.1", and restart the kernel'
        raise RuntimeError(f"ipykernel 7.0 can't send what a lab's thread shows: {advice}")
    old = f"This kernel is ipykernel {version[0]}.{version[1]}: while a cell runs, the lab hears no button; 7.1 does."
    return old if version < (7, 0) else None


def forget(lab) -> None:
    """Keep a lab no more, and have IPython forget it: its history of outputs would keep it for ever."""
    _kept.discard(lab)
    shell = get_ipython()
    if shell is None:
        return
    for names in (shell.user_ns, shell.user_ns_hidden, shell.user_ns["_oh"], vars(shell.displayhook)):
        for name in [name for name, value in names.items() if value is lab and re.fullmatch(r"_*\d*", str(name))]:
            names[name] = None  # _, __, _12, Out[12], but none of the learner's own
    if shell.last_execution_result and shell.last_execution_result.result is lab:
        shell.last_execution_result.result = None


def take_down_with(lab, parts) -> None:
    """When nobody holds the lab any more, end its thread, and close its widgets, which ipywidgets would keep."""
    found = _with_parts(parts, {})
    hear_at_once(found.values())
    weakref.finalize(lab, _take_down, lab.engine, found).atexit = False


def _take_down(engine, found: dict) -> None:
    engine.view = None
    engine.close()
    if _ending.is_set():
        return  # the page has already forgotten them, and would report each
    for widget in found.values():
        widget.close()
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    """Have glibc, where it is there, give back what threads have freed, which it keeps for threads to come."""
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), function, lambda *_: None)(*arguments)


def _with_parts(value, found: dict) -> dict:
    """Return all the widgets in a value, by id: a widget's children, layout and style, and the ends of a link."""
    if isinstance(value, Widget) and id(value) not in found:
        found[id(value)] = value
        _with_parts(value.trait_values(), found)
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            _with_parts(part, found)
    return found


def _cell_began(*_) -> None:
    cell_is_running.set()


def _cell_ended(*_) -> None:
    cell_is_running.clear()
    if _has_retired.is_set():
        _has_retired.clear()
        _glibc("mallopt", TRIM_THRESHOLD, 2**17)
        gc.collect()  # the older lab is free by now; Python would be late to look, and keep several
        _glibc("malloc_trim", 0)
        _glibc("mallopt", TRIM_THRESHOLD, 2**26)  # what glibc comes to by itself; it makes training fast


def _current_cell() -> tuple[str | None, str]:
    """The id of the notebook cell that is running and of this execution of it; (None, "") outside of one."""
    try:
        parent = get_ipython().kernel.get_parent("shell")
        return parent["metadata"]["cellId"], parent["header"]["msg_id"]
    except (AttributeError, KeyError, TypeError):
        return None, ""
