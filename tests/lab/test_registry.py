"""A cell that is run again retires the lab that its last run made."""

import gc
import os
import sys
import time
import weakref
from pathlib import Path

import pytest
from ipywidgets.widgets.widget import _instances
from jupyter_client.manager import start_new_kernel
from lab_helpers import some_digits

from vaekit import Autoencoder
from vaekit.lab import LatentLab, registry


class Lab:
    playing = False

    def __init__(self):
        self.retired = 0

    def retire(self) -> None:
        self.retired += 1


@pytest.fixture
def cell(monkeypatch):
    """Pretends that a cell of this id is running, in this execution of it."""
    monkeypatch.setattr(registry, "_by_cell", {})

    def run(name: str | None, execution: str = ""):
        monkeypatch.setattr(registry, "_current_cell", lambda: (name, execution))

    return run


def made() -> Lab:
    lab = Lab()
    registry.register(lab)
    return lab


def test_the_same_cell_run_again_retires_its_older_lab(cell):
    cell("a", "1")
    first = made()
    cell("b", "2")
    other = made()
    cell("a", "3")
    second = made()
    assert (first.retired, other.retired, second.retired) == (1, 0, 0)
    cell("a", "4")
    made()
    assert (first.retired, other.retired, second.retired) == (1, 0, 1)


def test_two_labs_of_one_run_live_side_by_side_and_retire_together(cell):
    cell("a", "1")
    left, right = made(), made()
    cell("a", "2")
    new, also_new = made(), made()
    assert [lab.retired for lab in (left, right, new, also_new)] == [1, 1, 0, 0]


def test_outside_of_a_notebook_nobody_is_retired(cell):
    cell(None)
    one, two = made(), made()
    assert one.retired == two.retired == 0 and not registry.others_playing(one)
    two.playing = True
    assert registry.others_playing(one) and not registry.others_playing(two)


@pytest.mark.slow
def test_of_a_lab_whose_cell_is_run_again_nothing_is_left(cell):
    def make() -> LatentLab:
        return LatentLab(some_digits(300), hidden=16, threads=1).run(3)

    cell("a", "1")
    lab = make()
    widgets = (lab.view.plane, lab.controls.play, lab.controls.play.layout, lab.controls.noise, *lab.controls.links)
    kept = [weakref.ref(it) for it in (lab, lab.model, lab.engine, lab.view, *widgets)]
    del widgets
    lab.play()
    cell("a", "2")
    lab = make()
    gc.collect(), gc.collect()  # the first finds that the lab is gone, the second its widgets
    assert [ref() for ref in kept] == [None] * len(kept)
    lab.engine.close()


@pytest.mark.parametrize("options", [{"hidden": 16}, {"model": Autoencoder(2, 16)}], ids=["vae", "autoencoder"])
def test_outside_of_ipython_a_lab_is_freed_as_any_object_is(options):
    gc.collect()
    before = len(_instances)
    lab = LatentLab(some_digits(300), threads=1, **options)
    lab.play()
    gone = weakref.ref(lab)
    del lab
    gc.collect(), gc.collect()
    assert gone() is None
    assert len(_instances) == before  # also of those that an autoencoder, or two dimensions, do not show


# -- in a real kernel -------------------------------------------------------------------------------------


class Kernel:
    """A kernel of its own, and cells with ids, as JupyterLab sends them."""

    def __init__(self):
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self.manager, self.client = start_new_kernel(env=env, cwd=str(Path(__file__).parent))

    def run(self, code: str, cell: str) -> str:
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell})
        self.client.shell_channel.send(message)
        printed = ""
        while True:
            answer = self.client.get_iopub_msg(timeout=60)
            if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            assert answer["msg_type"] != "error", answer["content"]["traceback"]
            if answer["msg_type"] == "stream":
                printed += answer["content"]["text"]
            if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return printed.strip()

    def close(self) -> float:
        """The seconds that it takes to shut the kernel down politely."""
        start = time.monotonic()
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        return time.monotonic() - start


@pytest.fixture
def kernel():
    kernel = Kernel()
    yield kernel
    if kernel.manager.has_kernel:
        kernel.close()


MAKE = (
    "from lab_helpers import some_digits\nfrom vaekit.lab import LatentLab\n{} = LatentLab(some_digits(300), threads=1)"
)


@pytest.mark.slow
def test_in_a_real_kernel_a_cell_run_again_leaves_no_trainer_behind(kernel):
    assert kernel.run(MAKE.format("first") + "\nlabs = [first]; first.play()\nfirst", "cell-1") == ""
    kernel.run(MAKE.format("other") + "\nother.play()\nother", "cell-2")
    assert kernel.run("print(first.playing, other.playing)", "cell-3") == "True True"
    kernel.run(MAKE.format("first") + "\nlabs.append(first); first.play()\nfirst", "cell-1")
    said = kernel.run("print(labs[0].playing, labs[0].engine._thread, labs[0].view.plane.message)", "cell-3")
    assert said.startswith("False None Stopped: its cell was run again and made a new lab.")
    assert kernel.run("print(other.playing, 'Stopped' in other.view.plane.message)", "cell-3") == "True False"
    kernel.run("labs[0].controls.play.click(); labs[0].engine.post(lambda: 1).result()", "cell-4")  # it still can
    assert kernel.run("print(labs[0].playing)", "cell-4") == "True"
    # of those that no variable holds nothing is left, though IPython's history of outputs would keep each of them, and
    # Python would be late to look
    kernel.run(MAKE.format("first") + "\nlabs.clear(); first.run(1)", "cell-1")
    kernel.run(MAKE.format("first") + "\nfirst.run(1)", "cell-1")
    count = "import gc\nprint(sum(type(it) is LatentLab for it in gc.get_objects()))"
    assert kernel.run(count, "cell-5") == "2"
    kernel.run("first.play()", "cell-5")
    assert kernel.close() < 5  # with labs playing, the kernel still ends at once
