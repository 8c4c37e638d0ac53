"""A cell that is run again retires the lab that its last run made."""

import gc
import platform
import threading
import weakref

import psutil
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from lab_helpers import some_digits, wait_for

from vaekit import Autoencoder
from vaekit.lab import LatentLab, registry


@pytest.mark.slow
def test_the_labs_of_a_cell_live_side_by_side_and_of_all_when_it_is_run_again_nothing_is_left(monkeypatch):
    def make() -> LatentLab:
        return LatentLab(some_digits(300), hidden=16, threads=1).run(3)

    monkeypatch.setattr(registry, "labs", weakref.WeakKeyDictionary())
    monkeypatch.setattr(registry, "_current_cell", lambda: ("a", "first execution"))
    lab = make()
    widgets = (lab.view.plane, lab.controls.play, lab.controls.play.layout, lab.controls.noise, *lab.controls.links)
    kept = [weakref.ref(it) for it in (lab, lab.model, lab.engine, lab.view, *widgets)]
    del widgets
    lab.play()
    also = make()
    kept.append(weakref.ref(also))
    assert lab.playing
    monkeypatch.setattr(registry, "_current_cell", lambda: ("a", "second execution"))
    lab = also = make()
    gc.collect(), gc.collect()  # the first finds that the lab is gone, the second its widgets
    assert not any(ref() for ref in kept)
    lab.engine.close()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"hidden": 16}, {"model": Autoencoder(2, 16)}], ids=["vae", "autoencoder"])
def test_outside_of_ipython_a_lab_is_freed_as_any_object_is(options):
    gc.collect()
    before = len(_instances)
    lab = LatentLab(some_digits(300), threads=1, **options)
    lab.play()
    gone = weakref.ref(lab)
    del lab
    # its thread may hold it while it shows a frame; nothing stays of what is not shown of an autoencoder either
    wait_for(lambda: gc.collect() >= 0 and gone() is None and len(_instances) == before)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how glibc keeps what is freed")
def test_what_the_thread_of_a_retired_lab_has_freed_is_given_back_when_the_cell_ends():
    torch.ones(2**22)  # 16 MB: from here on glibc takes as much from a thread's own memory, and keeps 32 MB at its end

    def make_rubbish():
        tensors: dict = {}
        thread = threading.Thread(target=lambda: tensors.update((i, torch.ones(2**18)) for i in range(25)))
        thread.start(), thread.join()
        tensors["itself"] = tensors  # as a lab, it is there until Python looks for what is not reached any more

    gc.collect()  # so that Python does not look by itself in what follows
    make_rubbish()
    before = psutil.Process().memory_info().rss
    registry._has_retired.set()
    registry._cell_ended()
    assert before - psutil.Process().memory_info().rss > 20 * 2**20  # of 25; malloc_trim alone: 15
