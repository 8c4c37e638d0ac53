"""The GPU path without a GPU: nothing that the lab's thread makes is left to a default device, and no step waits.

On the trainer thread the default device is "meta": a tensor made there without a device has no values, and whatever
it meets fails. Generators have no default to be moved; they are counted.
"""

import threading

import pytest
import torch
from lab_helpers import SECONDS, say_as_page, some_digits, wait_for
from test_training import SYNCS, Calls

from vaekit import LinearVAE
from vaekit.lab import LatentLab

STROKES = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.9)]]


@pytest.fixture
def elsewhere(monkeypatch):
    """The trainer thread's default device is meta. Yields the generators made there without a device."""
    homeless, run, real = [], threading.Thread.run, torch.Generator

    class Generators(type):
        def __instancecheck__(cls, made) -> bool:
            return isinstance(made, real)

    class Generator(metaclass=Generators):
        def __new__(cls, *device, **named):
            if threading.current_thread().name == "vaekit-trainer" and not (device or named):
                homeless.append(1)
            return real(*device, **named)

    def run_elsewhere(thread):
        if thread.name != "vaekit-trainer":
            return run(thread)
        with torch.device("meta"):
            return run(thread)

    monkeypatch.setattr(threading.Thread, "run", run_elsewhere)
    monkeypatch.setattr(torch, "Generator", Generator)
    return homeless


def do_all(lab, steps: int = 20) -> None:
    """Whatever the lab's thread does for a page, once."""
    lab.engine.heartbeat()
    lab.run(steps)
    for what in ("draws", "walk", ""):
        lab.show(what)
    for message in ({"kind": "choose", "index": 3}, {"kind": "decode", "z": [0.5, -1.0]}, {"kind": "trail"}):
        say_as_page(lab, **message)
    lab.set(beta=2.0)
    lab.play()
    wait_for(lambda: lab.steps_taken > steps + 3)
    lab.pause()
    assert lab.error is None
    assert lab.view.plane.message == ""


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"twin": True}, {"latent_dim": 4}], ids=["single", "twin", "four latents"])
def test_the_lab_makes_everything_on_the_images_device(elsewhere, labs, options):
    lab = labs(**options)
    do_all(lab)
    lab.draw(STROKES)
    lab.show_pair((1, 0))
    lab.follow(lab.recording).run(lab.steps_taken + 2)
    assert lab.error is None
    assert not elsewhere


@pytest.mark.slow
def test_other_models_too(elsewhere, labs):
    mean = some_digits(300).images.float().mean(0) / 255
    do_all(labs(model=LinearVAE(3, mean=mean), kind="linear"))


@pytest.mark.slow
def test_a_saved_lab_goes_on_there(elsewhere, labs, tmp_path):
    lab = labs(twin=True)
    lab.run(5)
    lab.save(tmp_path / "run.safetensors")
    again = LatentLab.resume(tmp_path / "run.safetensors", data=some_digits(300), threads=1)
    try:
        do_all(again, 5)
    finally:
        again.engine.close()


def test_the_fixture_sees_what_is_made_elsewhere(elsewhere, labs):
    lab = labs()

    class Forgetful(type(lab.model)):
        def decode(self, z):
            return super().decode(z + torch.zeros(z.shape))

    lab.engine.post(lambda: setattr(lab.model, "__class__", Forgetful)).result(SECONDS)
    with pytest.warns(UserWarning, match="meta"):
        lab.run(1)
    lab.engine.post(torch.Generator).result(SECONDS)
    assert elsewhere


@pytest.mark.parametrize("replayed", [False, True])
def test_no_step_of_a_twin_waits_for_the_device(labs, replayed):
    """Between two frames the lab asks the device for no number, also where a recording turns the knobs."""
    lab = labs(twin=True).run(2)
    lab.set(beta=2.0)
    lab.run(6)
    if replayed:
        lab.follow(lab.recording)

    def take_steps():
        with Calls() as calls:
            for _ in range(6):
                lab.engine._lockstep.advance()
        return calls

    calls = lab.engine.post(take_steps).result(SECONDS)
    assert "_fused_adam_" in calls.names and not calls.names & SYNCS
    assert lab.settings["beta"] == 2.0
