"""Recordings saved and loaded in the page, and the way back along the run."""

import numpy as np
import pytest
from jupyter import ask, pixels, wait_until

import vaekit

pytestmark = pytest.mark.browser

FINGERPRINT = "from vaekit.runs.recording import fingerprint"
WEIGHTS = "fingerprint(lab.model.state_dict())"
EVENTS = "lab.engine.run.recording.events"
ENDED = "The recording ends here, at step {:.0f}."


@pytest.fixture
def lab(lab):
    lab.press("More")
    return lab


def save(lab, folder) -> "vaekit.Recording":
    lab.save(folder / "saved.json")
    return vaekit.Recording.load(folder / "saved.json")


def test_a_saved_run_is_loaded_and_plays_to_its_end_to_the_bit(desk, lab, tmp_path):
    lab.press("Play")  # from step 300 on, with a knob turned every few steps
    for turn in (
        lambda: lab.priors.click(),
        lambda: lab.type("β", "3"),
        lambda: lab.priors.click(),
        lambda: lab.choose("squared error"),
        lambda: lab.type("learning rate", "0.002"),
    ):
        turn()
        step = lab.state()["step"]
        lab.wait(f"d.step > {step + 15}")
    end = lab.pause()["step"]
    weights = ask(desk, WEIGHTS, FINGERPRINT)
    recording = save(lab, tmp_path)
    wanted = [{"prior": False}, {"beta": 3.0}, {"prior": True}, {"kind": "gaussian"}, {"lr": 0.002}]
    assert [changes for _, changes in recording.events] == wanted
    assert [[step, changes] for step, changes in recording.events] == ask(desk, EVENTS)
    assert (recording.steps, recording.result) == (end, weights)

    lab.type("β", "7")
    lab.choose("BCE")
    lab.press("Step")
    lab.wait(f"d.step === {end + 1}")
    assert ask(desk, WEIGHTS, FINGERPRINT) != weights
    lab.load(tmp_path / "saved.json")
    lab.message.filter(has_text=ENDED.format(end)).wait_for()
    lab.wait(f"d.step === {end} && d.playing === 'false' && d.beta === 3")
    assert ask(desk, WEIGHTS, FINGERPRINT) == weights
    # the knobs stand where it left them, and the marks where it turned them
    wait_until(lambda: [lab.box(name).input_value() for name in ("β", "learning rate")] == ["3", "0.002"])
    menu = lab.root.get_by_role("combobox", name="Reconstruction")
    wait_until(lambda: menu.evaluate("(it) => it.selectedOptions[0].text") == "squared\xa0error")
    assert lab.marks().startswith(f"{recording.events[0][0]}: prior off; {recording.events[1][0]}: β = 3")
    # and a step more goes on from there
    lab.press("Step")
    lab.wait(f"d.step === {end + 1}")


KEPT = "[[kept.step for kept in each] for each in (lab.view.trail.frames, lab.view.trail.decoders)]"


def test_looking_back_shows_the_run_as_it_was(desk, lab):
    lab.press("Play")
    lab.priors.click()
    lab.wait("d.step > 600 && d.sigma < 0.3", 90)
    assert lab.root.locator(".vk-back").is_hidden()
    wait_until(lambda: len(ask(desk, KEPT)[0]) > 10)
    now = lab.pause()
    frames, decoders = ask(desk, KEPT)
    assert frames[-1] == decoders[-1] == now["step"] and len(decoders) > 1
    lab.drag(1.0, 0.7)
    pictures = [pixels(it) for it in (lab.plane, lab.curves)]
    decoded = lab.decoded()
    desk.emulate_media(reduced_motion="reduce")  # the points jump

    for where in (0, 700):
        lab.look_back(where)
        wanted = min(frames, key=lambda step: abs(step - where / 1000 * now["step"]))  # noqa: B023
        lab.wait(f"d.scrub === {wanted} && d.step === {wanted}")
        assert lab.rest()["decoderStep"] == min(decoders, key=lambda step: abs(step - wanted))  # noqa: B023
        assert f"step {wanted:,}" in lab.root.locator(".vk-back output").inner_text()
        for it, picture in zip((lab.plane, lab.curves), pictures, strict=True):
            wait_until(lambda: (pixels(it) != picture).any())  # noqa: B023
    assert (lab.decoded() != decoded).any()  # by that step's decoder

    lab.look_back(1000)
    lab.wait(f"d.scrub === '' && d.step === {now['step']} && d.decoderStep === {now['step']}")
    wait_until(lambda: lab.state()["sigma"] == pytest.approx(now["sigma"], rel=0.01))
    desk.emulate_media(reduced_motion="no-preference")
    wait_until(lambda: np.array_equal(pixels(lab.curves), pictures[1]) and np.array_equal(lab.decoded(), decoded))

    lab.look_back(300)
    lab.wait("d.scrub !== ''")
    lab.press("Play")
    lab.wait(f"d.scrub === '' && d.step > {now['step']}")
    lab.pause()
    assert lab.root.locator(".vk-way").input_value() == "1000"
