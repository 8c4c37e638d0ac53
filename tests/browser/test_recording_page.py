"""Recordings saved and loaded in the page, and the way back along the run."""

import json
import re

import numpy as np
import pytest
from jupyter import decoded_by_torch, execute, pixels, wait_until

import vaekit

pytestmark = pytest.mark.browser

CELL = "import vaekit\n\nlab = vaekit.LatentLab(hidden=64)\nlab.run(steps=50)\nlab"
WEIGHTS = "from vaekit.runs.recording import fingerprint; print(fingerprint(lab.model.state_dict()))"
EVENTS = "import json; print(json.dumps(lab.engine.run.recording.events))"
ENDED = "The recording ends here, at step {:.0f}."
MOST = 2 / 255  # see test_live


@pytest.fixture
def lab(lab):
    lab.press("More")
    return lab


def save(lab, folder) -> "vaekit.Recording":
    lab.save(folder / "saved.json")
    return vaekit.Recording.load(folder / "saved.json")


def turn_in_the_page(lab) -> None:
    """Play on from step 300, and turn a knob every few steps."""
    lab.press("Play")
    for turn in (
        lambda: lab.press("Prior on"),
        lambda: lab.type_beta("3"),
        lambda: lab.press("Prior off"),
        lambda: lab.choose("squared error"),
        lambda: lab.type("lr", "0.002"),
    ):
        turn()
        step = lab.state()["step"]
        lab.wait(f"d.step > {step + 15}")


def test_a_saved_run_is_loaded_and_plays_to_its_end_to_the_bit(desk, lab, tmp_path):
    turn_in_the_page(lab)
    end = lab.pause()["step"]
    weights = execute(desk, WEIGHTS)
    recording = save(lab, tmp_path)
    assert [changes for _, changes in recording.events] == [
        *({"prior": False}, {"beta": 3.0}, {"prior": True}, {"kind": "gaussian"}, {"lr": 0.002})
    ]
    assert [[step, changes] for step, changes in recording.events] == json.loads(execute(desk, EVENTS))
    assert recording.steps == end
    assert recording.result == weights

    lab.type_beta("7")
    lab.choose("BCE")
    lab.type("lr", "0.001")
    lab.press("Start again")
    lab.press("Step")
    lab.wait("d.step === 1 && d.beta === 7")
    assert execute(desk, WEIGHTS) != weights
    lab.load(tmp_path / "saved.json")
    lab.message.filter(has_text=ENDED.format(end)).wait_for(timeout=60_000)
    lab.wait(f"d.step === {end} && d.playing === 'false' && d.beta === 3")
    assert execute(desk, WEIGHTS) == weights
    # the knobs stand where it left them, and the marks where it turned them
    wait_until(lambda: lab.box("lr").input_value() == "0.002")
    assert lab.box("beta").input_value() == "3"
    menu = lab.root.locator(".vk-controls select").first
    assert menu.evaluate("(it) => it.selectedOptions[0].text") == "squared\xa0error"
    assert lab.marks().startswith(f"{recording.events[0][0]}: prior off; {recording.events[1][0]}: β = 3")
    # and a step more goes on from there
    lab.press("Step")
    lab.wait(f"d.step === {end + 1}")


def test_turning_a_knob_takes_over_from_a_recording(desk, lab, tmp_path):
    path = tmp_path / "saved.json"
    save(lab, tmp_path)
    lab.choose("20 steps/s")
    lab.load(path)
    lab.wait("d.step > 10 && d.step < 300 && d.playing === 'true'")
    lab.type_beta("2")
    lab.wait("d.beta === 2")
    lab.choose("full speed")
    lab.wait("d.step > 330 && d.playing === 'true'")


def test_files_that_are_no_recording_change_nothing(desk, lab, tmp_path):
    good = save(lab, tmp_path)
    text = (tmp_path / "saved.json").read_text()
    other_weights = text.replace(good.first_weights, "0" * 64)
    files = {
        "picture.json": (bytes(range(256)), "not a recording"),
        "cut.json": (text[: len(text) // 2].encode(), "not a recording"),
        "larger.json": (other_weights.replace('"hidden": 64', '"hidden": 65').encode(), "another model"),
    }
    lab.press("Play")
    for name, (content, said) in files.items():
        before = lab.wait("d.playing === 'true'")
        lab.load({"name": name, "mimeType": "application/json", "buffer": content})
        lab.message.filter(has_text=re.compile(said)).wait_for()
        line = lab.message.text_content()
        assert "\n" not in line and len(line) < 400, line
        after = lab.wait(f"d.step > {before['step']} && d.playing === 'true'")
        assert after["beta"] == 1
        lab.press("Prior on")  # something else is done: the message goes
        lab.message.wait_for(state="hidden")
        lab.press("Prior off")
        lab.wait("d.beta === 1")
    lab.pause()
    # it is still the run that it was, from its first step
    assert execute(desk, "lab.steps_taken") == str(int(lab.state()["step"]))
    course = json.loads(execute(desk, EVENTS))
    assert [changes["prior"] for _, changes in course] == [False, True] * len(files)
    assert course[0][0] > 300


# -- looking back -----------------------------------------------------------------------------------------

# The run again up to a step that was kept, and what its first images' codes are like.
THEN = """
import vaekit, torch
from vaekit.data import as_floats
run = lab.engine.post(lambda: vaekit.replay(recording, steps=STEP)).result()
with torch.no_grad():
    mu, logvar = run.model.encode(as_floats(run.images[:400]))
print((0.5 * logvar).exp().mean().item(), mu.var(0, correction=0).mean().sqrt().item())
"""
KEPT = "print([kept.step for kept in lab.view.trail.frames], [kept.step for kept in lab.view.trail.decoders])"


def look(lab, where: str) -> dict:
    """Pull the slider to `where` out of 1000, as the keyboard or a finger does."""
    slider = lab.root.locator(".vk-way")
    slider.focus()
    slider.fill(where)
    return lab.state()


def test_looking_back_shows_the_run_as_it_was(desk, lab):
    lab.press("Play")
    lab.press("Prior on")
    lab.wait("d.step > 700 && d.sigma < 0.3", 90)
    assert lab.root.locator(".vk-back").is_hidden()
    now = lab.pause()
    frames, decoders = json.loads(f"[{execute(desk, KEPT).replace('] [', '], [')}]")
    assert frames[-1] == decoders[-1] == now["step"]
    assert len(frames) > 20
    assert len(decoders) > 1
    desk.mouse.click(*lab.client(1.0, 0.7))
    wait_until(lambda: lab.state()["z1"] != 0)
    pictures = [pixels(it) for it in (lab.plane, lab.curves, lab.root.locator(".vk-decoded"))]
    desk.emulate_media(reduced_motion="reduce")  # the points jump
    execute(desk, "recording = lab.recording")

    seen = set()
    for where in ("0", "700"):
        look(lab, where)
        wanted = min(frames, key=lambda step: abs(step - int(where) / 1000 * now["step"]))  # noqa: B023
        then = lab.wait(f"d.scrub === {wanted} && d.step === {wanted}")
        sigma, spread = map(float, execute(desk, THEN.replace("STEP", str(wanted))).split())
        assert (then["sigma"], then["spread"]) == pytest.approx((sigma, spread), rel=0.01)
        assert then["decoderStep"] == min(decoders, key=lambda step: abs(step - wanted))  # noqa: B023
        assert f"step {wanted:,}" in lab.root.locator(".vk-back output").inner_text()
        seen.add(then["sigma"])
        for it, picture in zip((lab.plane, lab.curves), pictures, strict=False):
            wait_until(lambda: (pixels(it) != picture).any())  # noqa: B023
    assert len(seen) == 2
    # what lies under the pointer is decoded by that step's decoder
    at = f"lab.engine.post(lambda: vaekit.replay(recording, steps={then['decoderStep']:.0f})).result().model"
    truth = decoded_by_torch(desk, [(then["z1"], then["z2"])], at)[0]
    assert np.abs(pixels(lab.root.locator(".vk-decoded"))[..., 0] / 255 - truth).max() <= MOST

    look(lab, "1000")
    lab.wait(f"d.scrub === '' && d.step === {now['step']} && d.decoderStep === {now['step']}")
    sigma = float(execute(desk, "print(lab.view.sides[0].last.std.mean())"))
    wait_until(lambda: lab.state()["sigma"] == pytest.approx(sigma, rel=0.01))
    desk.emulate_media(reduced_motion="no-preference")
    for it, picture in zip((lab.curves, lab.root.locator(".vk-decoded")), pictures[1:], strict=True):
        wait_until(lambda: np.array_equal(pixels(it), picture))  # noqa: B023

    look(lab, "300")
    lab.wait("d.scrub !== ''")
    lab.press("Play")
    lab.wait(f"d.scrub === '' && d.step > {now['step']}")
    lab.pause()
    assert lab.root.locator(".vk-way").input_value() == "1000"
