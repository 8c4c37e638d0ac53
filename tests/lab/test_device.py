"""The GPU path without a GPU: nothing that the lab's thread makes is left to a default device, and no step waits.

On the trainer thread the default device is "meta": a tensor made there without a device has no values, and whatever
it meets fails. Generators have no default to be moved; they are counted.
"""

import threading

import pytest
import torch
from lab_helpers import SECONDS, make_run, say_as_page, some_digits, wait_for
from test_training import SYNCS, Calls

from vaekit import LinearVAE
from vaekit.lab import LatentLab


@pytest.fixture
def elsewhere(monkeypatch):
    """The trainer thread's default device is meta, and no generator may be made there without a device."""
    homeless, run = [], threading.Thread.run

    class Generator(torch.Generator):
        def __new__(cls, *device, **named):
            if threading.current_thread().name == "vaekit-trainer" and not (device or named):
                homeless.append(1)
            return super().__new__(cls, *device, **named)

    def run_elsewhere(thread):
        if thread.name != "vaekit-trainer":
            return run(thread)
        with torch.device("meta"):
            return run(thread)

    monkeypatch.setattr(threading.Thread, "run", run_elsewhere)
    monkeypatch.setattr(torch, "Generator", Generator)
    yield
    assert not homeless


def do_all(lab, steps: int = 20) -> None:
    """Whatever the lab's thread does for a page, once."""
    assert lab.engine.post(torch.get_default_device).result(SECONDS) == torch.device("meta")
    lab.engine.heartbeat()
    lab.run(steps)
    for message in ({"kind": "choose", "index": 3}, {"kind": "decode", "z": [0.5, -1.0]}, {"kind": "trail"}):
        say_as_page(lab, **message)
    lab.set(beta=2.0)
    lab.play()
    wait_for(lambda: lab.steps_taken > steps + 3)
    lab.pause()
    assert lab.error is None and lab.view.plane.message == ""


LINEAR = {"model": LinearVAE(3, mean=torch.full((1, 28, 28), 0.1)), "kind": "linear"}


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("options", [{}, {"twin": True}, {"latent_dim": 4}, LINEAR], ids=["one", "twin", "4", "linear"])
def test_the_lab_makes_everything_on_the_images_device(labs, options):
    lab = labs(**options)
    do_all(lab)
    lab.draw([[(0.3, 0.2), (0.7, 0.2), (0.45, 0.9)]])
    lab.show_pair((1, 0))
    lab.follow(lab.recording).run(lab.steps_taken + 2)
    assert lab.error is None


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
def test_a_saved_lab_goes_on_there(labs, tmp_path):
    labs(twin=True).run(5).save(tmp_path / "run.safetensors")
    do_all(LatentLab.resume(tmp_path / "run.safetensors", data=some_digits(300), threads=1), 5)


def test_no_step_waits_for_the_device():
    """Between two frames nobody asks it for a number, also where a recording turns the knobs."""
    run = make_run()
    for turn in (lambda: run.set_knobs({"beta": 2.0}), lambda: run.follow(run.record())):
        turn()
        with Calls() as calls:
            for _ in range(6):
                run.advance()
        assert "_fused_adam_" in calls.names and not calls.names & SYNCS
        assert run.settings["beta"] == 2.0
