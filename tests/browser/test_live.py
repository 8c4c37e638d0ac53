"""The lab in the page: what each control does, what the page shows of it, recordings, the way back along the run."""

import time

import jupyter
import numpy as np
import pytest
from jupyter import Lab, ask, decoded_by_torch, execute, pixels, run_cell, sent, wait_until

import vaekit
from vaekit.lab.clock import HIDDEN_SECONDS

FINGERPRINT = "from vaekit.runs.recording import fingerprint"
WEIGHTS = "fingerprint(lab.model.state_dict())"
KEPT = "[[kept.step for kept in each] for each in (lab.view.trail.frames, lab.view.trail.decoders)]"
SET_HIDDEN = """(hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_prior_off_makes_points_on_a_cloud_again_beta_50_the_prior_and_start_again_goes_on_from_step_0(desk, lab):
    before = lab.state()
    assert before["headline"].startswith("A cloud")
    lab.press("Play")
    lab.priors.click()
    off = lab.wait(f"d.headline === 'σ → 0.' && d.sigma < {before['sigma'] / 5}", 90)
    assert off["beta"] == 0 and off["spread"] > before["spread"]
    lab.priors.click()
    lab.wait(f"d.headline.startsWith('A cloud') && d.sigma > {2.5 * off['sigma']} && d.beta === 1", 90)
    lab.type("β", "-1")
    lab.message.filter(has_text="beta must be a finite number from 0 up").wait_for()
    wait_until(lambda: lab.box("β").input_value() == "1")
    lab.type("β", "50")
    lab.wait("d.beta === 50 && d.spread < 0.15 && Math.abs(d.sigma - 1) < 0.25", 90)
    lab.root.locator(".vk-verdict").filter(has_text="Posterior = prior").wait_for()
    lab.choose("20 steps/s")  # at full speed step 200 might go by unseen
    lab.press("Start again")
    lab.wait("d.step < 200 && d.playing === 'true'")
    lab.choose("full speed")
    lab.wait("d.step > 60 && d.playing === 'true' && d.beta === 50")


def test_its_messages_may_come_on_the_main_thread_and_not_on_subshells(desk, lab):
    """As JupyterLab's settings offer; all other tests have its default."""
    kernels = "jupyterapp.serviceManager.kernels.commsOverSubshells"
    assert desk.evaluate(kernels) == "perCommTarget"
    desk.evaluate(f"{kernels} = 'disabled'")
    run_cell(desk, 0)
    lab = Lab(desk)
    sent(desk)
    lab.play()
    lab.priors.click()
    lab.wait("d.beta === 0")
    lab.type("β", "2")
    lab.priors.click()
    lab.wait("d.beta === 2")
    headers = [header for header, _ in sent(desk) if header["msg_type"] == "comm_msg"]
    desk.evaluate(f"{kernels} = 'perCommTarget'")
    assert len(headers) >= 4 and not any(header.get("subshell_id") for header in headers)


def test_drag_decodes_in_the_page_alone_and_equals_torch(desk, lab):
    codes, images = [], []
    sent(desk)
    desk.mouse.move(*lab.client(-2.5, -2))
    desk.mouse.down()
    for t in np.linspace(-1, 1, 21):
        desk.mouse.move(*lab.client(2.5 * t, 2 * t))
        state = lab.state()
        codes.append((state["z1"], state["z2"]))
        images.append(lab.decoded())
    desk.mouse.up()
    said = [content.get("data", {}).get("content") for _, content in sent(desk)]
    assert all(it and it["kind"] == "seen" for it in said), said  # a heartbeat
    assert codes[0] == pytest.approx((-2.5, -2), abs=0.05) and codes[-1] == pytest.approx((2.5, 2), abs=0.05)
    assert len({image.tobytes() for image in images}) == len(images)
    off = np.abs(np.stack(images) / 255 - decoded_by_torch(desk, codes))
    assert off.max() <= 2 / 255 and off.mean() <= 0.5 / 255  # of float16 weights, in whole grey levels


@pytest.fixture
def hide(desk):
    """`hide(True)`: the page as a tab that is not looked at; `hide(False)`, and at the end: as one that is."""
    yield lambda hidden: desk.evaluate(SET_HIDDEN, hidden)
    desk.evaluate(SET_HIDDEN, False)


def is_quiet(page, ms: int = 1500) -> bool:
    """Does it send nothing for a while?"""
    sent(page)
    page.wait_for_timeout(ms)
    return sent(page) == []


def test_frames_stop_while_the_page_is_hidden(desk, lab, hide):
    """And a lab that is paused is quiet wherever it is."""
    frames = "lab.view.sides[0].number"
    lab.play()
    hide(True)
    wait_until(lambda: not ask(desk, "lab.engine.looked_at"))
    start = time.monotonic()
    number, step = ask(desk, f"[{frames}, lab.steps_taken]")
    assert is_quiet(desk, 2500)  # the page is silent as well
    assert ask(desk, frames) <= number + 1 + (time.monotonic() - start) / HIDDEN_SECONDS
    wait_until(lambda: ask(desk, "lab.steps_taken") > step + 20)
    hide(False)
    painted = lab.state()["painted"]
    lab.wait(f"d.painted > {painted + 10}")
    lab.pause()
    wait_until(lambda: is_quiet(desk))  # its last frame may still be answered
    before = lab.state()["painted"], ask(desk, frames)
    for hidden in (False, True):
        hide(hidden)
        assert is_quiet(desk)
    hide(False)
    assert (lab.state()["painted"], ask(desk, frames)) == before
    jupyter.show_cell(desk, 1)  # and what happened out of sight is painted on return
    wait_until(lambda: not ask(desk, "lab.engine.looked_at"))
    execute(desk, "lab.run(50)")
    lab.show()
    lab.wait(f"d.step === {ask(desk, 'lab.steps_taken')} && d.painted > {before[0]}")


def test_the_cloud_is_turned_and_what_an_image_is_decoded_to_is_not(desk, lab):
    before, slider = pixels(lab.plane), lab.in_sight(lab.root.locator(".vk-turn [role=slider]"))
    slider.focus()
    for _ in range(40):
        desk.keyboard.press("ArrowRight")
    wait_until(lambda: ask(desk, "lab.view.plane.turn") == pytest.approx(40))
    lab.wait("d.turn > 39.9 && d.turn < 40.1")
    assert (pixels(lab.plane) != before).mean() > 0.05
    place = "(lab.view.sides[0].last.mu[7] @ lab.view.sides[0].turn.matrix.T).tolist()"
    there = ask(desk, place, "lab.engine.post(lambda: None).result()  # what was turned is shown")
    lab.rest()
    state = lab.drag(*there)
    angle = np.radians(40)
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ [state["z1"], state["z2"]]
    assert np.abs(lab.decoded() / 255 - decoded_by_torch(desk, [tuple(back)])[0]).max() < 0.01
    # a click finds the image where it lies now
    desk.mouse.click(*lab.client(*there))
    wait_until(lambda: ask(desk, "lab.view.plane.chosen") == 7)


def test_numerals_over_the_plane_and_bands_under_the_kl_or_a_word_why_there_are_none(desk, lab):
    numerals = lab.in_sight(lab.root.get_by_label("numerals"))
    lab.rest()
    before = pixels(lab.plane)
    numerals.check()
    wait_until(lambda: 0.01 < (pixels(lab.plane) != before).any(axis=2).mean() < 0.5)
    numerals.uncheck()
    wait_until(lambda: (pixels(lab.plane) != before).any(axis=2).mean() < 0.005)

    legend, plain = lab.root.locator(".vk-legend"), pixels(lab.curves)
    assert "I(x; z)" not in legend.inner_text()
    lab.root.get_by_label("q(z)").check()
    parts = ask(desk, "[lab.measured.information, lab.measured.aggregated_kl]")
    for name, nats in zip(("I(x; z)", "KL(q(z) ‖ p(z))"), parts, strict=True):
        wait_until(lambda: f"{name} {nats:.1f}" in legend.inner_text())  # noqa: B023
    # 0.01 without what fills the bands; 0.07 where they know the first and the last step only, on a fast machine
    wait_until(lambda: (pixels(lab.curves) != plain).mean() > 0.04)
    execute(desk, "lab.set(prior=False); lab.run(400)")
    why = "I(x; z) is near ln "
    wait_until(lambda: why in lab.curves.get_attribute("aria-label"))
    lab.root.get_by_label("q(z)").uncheck()
    wait_until(lambda: why not in lab.curves.get_attribute("aria-label"))
    assert "I(x; z)" not in legend.inner_text()


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
    end, marks = lab.pause()["step"], lab.marks()
    weights = ask(desk, WEIGHTS, FINGERPRINT)
    with desk.expect_download() as download:
        lab.press("Save")
    assert download.value.suggested_filename == "vaekit-recording.json"
    download.value.save_as(tmp_path / "saved.json")
    recording = vaekit.Recording.load(tmp_path / "saved.json")
    wanted = [{"prior": False}, {"beta": 3.0}, {"prior": True}, {"kind": "gaussian"}, {"lr": 0.002}]
    assert [changes for _, changes in recording.events] == wanted
    assert (recording.steps, recording.result) == (end, weights)

    lab.type("β", "7")
    lab.press("Step")
    lab.wait(f"d.step === {end + 1}")
    lab.load(tmp_path / "saved.json")
    lab.message.filter(has_text=f"The recording ends here, at step {end}.").wait_for()
    lab.wait(f"d.step === {end} && d.playing === 'false' && d.beta === 3")
    assert ask(desk, WEIGHTS, FINGERPRINT) == weights
    # the knobs stand where it left them, and the marks where it turned them; how it goes on: test_follow
    wait_until(lambda: [lab.box(name).input_value() for name in ("β", "learning rate")] == ["3", "0.002"])
    assert lab.marks() == marks


def test_looking_back_shows_the_run_as_it_was(desk, lab):
    lab.press("Play")
    lab.priors.click()
    lab.wait("d.step > 600 && d.sigma < 0.3", 90)
    assert lab.root.locator(".vk-back").is_hidden()
    wait_until(lambda: len(ask(desk, KEPT)[0]) > 10)
    now = lab.pause()["step"]
    frames, decoders = ask(desk, KEPT)
    assert frames[-1] == decoders[-1] == now and len(decoders) > 1
    lab.drag(1.0, 0.7)
    desk.emulate_media(reduced_motion="reduce")  # from frame to frame
    plane, curves, decoded = pixels(lab.plane), pixels(lab.curves), lab.decoded()

    for where in (0, 700):
        before = lab.rest()
        lab.look_back(where)
        wanted = min(frames, key=lambda step: abs(step - where / 1000 * now))  # noqa: B023
        jumped = lab.wait(f"d.scrub === {wanted} && d.step === {wanted} && d.spread !== {before['spread']}")
        assert jumped["decoderStep"] == min(decoders, key=lambda step: abs(step - wanted))  # noqa: B023
        rested = lab.rest()
        assert rested["spread"] == jumped["spread"]  # and nothing in between
        assert rested["painted"] - before["painted"] <= 3
        assert f"step {wanted:,}" in lab.root.locator(".vk-back output").inner_text()
        wait_until(lambda: (pixels(lab.plane) != plane).any() and (pixels(lab.curves) != curves).any())
    assert (lab.decoded() != decoded).any()  # by that step's decoder

    lab.look_back(1000)
    lab.wait(f"d.scrub === '' && d.step === {now} && d.decoderStep === {now}")
    for seen, present in ((lab.plane, plane), (lab.curves, curves)):
        wait_until(lambda: np.array_equal(pixels(seen), present))  # noqa: B023
    assert np.array_equal(lab.decoded(), decoded)

    lab.look_back(300)
    lab.wait("d.scrub !== ''")
    lab.press("Play")
    lab.wait(f"d.scrub === '' && d.step > {now}")
    assert lab.root.locator(".vk-way").input_value() == "1000"
