"""Which labs there are: a cell that is run again must not leave an invisible trainer behind."""

import weakref

_by_cell: dict[str, tuple[str, weakref.WeakSet]] = {}
_all: weakref.WeakSet = weakref.WeakSet()


def register(lab) -> None:
    """Remember `lab`; older ones, made by an earlier run of the same cell, are told to `retire()`."""
    cell, execution = _current_cell()
    if cell is not None:
        before, labs = _by_cell.get(cell, (None, weakref.WeakSet()))
        if before != execution:
            for older in list(labs):
                older.retire()
            labs = weakref.WeakSet()
        labs.add(lab)
        _by_cell[cell] = (execution, labs)
    _all.add(lab)


def others_playing(lab) -> bool:
    """Is any other lab training at this moment?"""
    return any(other is not lab and other.playing for other in list(_all))


def on_its_thread(model, command):
    """`command()`, on the thread of the lab that trains `model`, between two steps; here where no lab does."""
    lab = next((lab for lab in list(_all) if any(run.model is model for run in lab.engine.runs)), None)
    return lab.engine.post(command).result() if lab else command()


def _current_cell() -> tuple[str | None, str]:
    """The id of the notebook cell that is running and of this execution of it; (None, "") outside of one."""
    try:
        from IPython import get_ipython

        parent = get_ipython().kernel.get_parent("shell")
        return parent["metadata"]["cellId"], parent["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError, TypeError):
        return None, ""
