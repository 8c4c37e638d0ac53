"""The lab in the page: what each control does, and what the page shows of it."""

import time

import numpy as np
import pytest
from jupyter import (
    MEAN,
    MOST,
    Lab,
    ask,
    decoded_by_torch,
    execute,
    pixels,
    run_cell,
    sent_messages,
    show_cell,
    wait_until,
)

from vaekit.lab.clock import HIDDEN_SECONDS

pytestmark = pytest.mark.browser


def test_prior_off_shrinks_the_codes_to_points_on_brings_the_cloud_back_and_beta_50_collapses_it(desk, lab):
    before = lab.state()
    assert before["state"] == "cloud"
    lab.press("Play")
    lab.priors.click()
    off = lab.wait(f"d.state === 'points' && d.sigma < {before['sigma'] / 5}", 90)
    lab.verdict.filter(has_text="σ → 0").wait_for()
    assert off["beta"] == 0 and off["spread"] > before["spread"]
    lab.priors.click()
    lab.wait(f"d.state === 'cloud' && d.sigma > {2.5 * off['sigma']} && d.beta === 1", 90)
    lab.verdict.filter(has_text="A cloud").wait_for()
    lab.type("β", "-1")
    lab.message.filter(has_text="beta must be a finite number from 0 up").wait_for()
    wait_until(lambda: lab.box("β").input_value() == "1")
    lab.type("β", "50")
    lab.wait("d.beta === 50 && d.state === 'prior' && d.spread < 0.15 && Math.abs(d.sigma - 1) < 0.25", 90)
    lab.verdict.filter(has_text="Posterior = prior").wait_for()
    lab.pause()
    events = ask(desk, "lab.engine.run.recording.events")
    assert [changes for _, changes in events] == [{"prior": False}, {"prior": True}, {"beta": 50}]
    steps = [step for step, _ in events]
    wait_until(lambda: lab.marks() == "{}: prior off; {}: prior on; {}: β = 50".format(*steps))


def test_its_messages_may_come_on_the_main_thread_and_not_on_subshells(desk, lab):
    """As JupyterLab's settings offer; all other tests have its default."""
    kernels = "jupyterapp.serviceManager.kernels.commsOverSubshells"
    default = desk.evaluate(kernels)
    assert default == "perCommTarget"
    try:
        desk.evaluate(f"{kernels} = 'disabled'")
        run_cell(desk, 0)
        lab = Lab(desk)
        desk.sent.clear()
        lab.press("Play")
        lab.wait("d.step > 70 && d.playing === 'true'")
        lab.priors.click()
        lab.wait("d.beta === 0")
        lab.type("β", "2")
        lab.priors.click()
        lab.wait("d.beta === 2")
        headers = [header for header, _ in sent_messages(desk) if header["msg_type"] == "comm_msg"]
        assert len(headers) >= 4 and not any(header.get("subshell_id") for header in headers)
        lab.pause()
    finally:
        desk.evaluate(f"{kernels} = '{default}'")
        run_cell(desk, 0)


def test_drag_decodes_in_the_page_alone_and_equals_torch(desk, lab):
    codes, images = [], []
    desk.sent.clear()
    desk.mouse.move(*lab.client(-2.5, -2))
    desk.mouse.down()
    for t in np.linspace(-1, 1, 21):
        desk.mouse.move(*lab.client(2.5 * t, 2 * t))
        state = lab.state()
        codes.append((state["z1"], state["z2"]))
        images.append(lab.decoded())
    desk.mouse.up()
    said = [content.get("data", {}).get("content") for _, content in sent_messages(desk)]
    assert all(it and it["kind"] == "seen" for it in said), said  # a heartbeat
    assert codes[0] == pytest.approx((-2.5, -2), abs=0.05) and codes[-1] == pytest.approx((2.5, 2), abs=0.05)
    assert len({image.tobytes() for image in images}) == len(images)
    off = np.abs(np.stack(images) / 255 - decoded_by_torch(desk, codes))
    assert off.max() <= MOST and off.mean() <= MEAN


def test_pause_stands_still_step_takes_one_and_start_again_plays_on_from_step_0(desk, lab):
    lab.press("Play")
    lab.wait("d.step > 320")
    step = lab.pause()["step"]
    for more in (1, 2):
        lab.press("Step")
        lab.wait(f"d.step >= {step + more}")
        assert lab.paused()["step"] == step + more
    lab.press("Play")
    lab.wait("d.step > 340")
    lab.choose("20 steps/s")  # at full speed step 200 might go by unseen
    lab.press("Start again")
    lab.wait("d.step < 200")
    lab.choose("full speed")
    lab.wait("d.step > 60 && d.playing === 'true'")


def test_what_happened_out_of_sight_is_painted_on_return(desk, lab):
    before = pixels(lab.plane)
    show_cell(desk, 1)
    wait_until(lambda: not ask(desk, "lab.engine.looked_at"))
    execute(desk, "lab.run(50)")
    lab.show()
    lab.wait("d.step === 350")
    wait_until(lambda: (pixels(lab.plane) != before).any(axis=2).mean() > 0.05)


def test_numerals_are_painted_over_the_plane_and_go_again(lab):
    numerals = lab.in_sight(lab.root.get_by_label("numerals"))
    lab.rest()
    before = pixels(lab.plane)
    numerals.check()
    wait_until(lambda: 0.01 < (pixels(lab.plane) != before).any(axis=2).mean() < 0.5)
    numerals.uncheck()
    wait_until(lambda: (pixels(lab.plane) != before).any(axis=2).mean() < 0.005)


SET_HIDDEN = """(hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_sharper_screen_is_painted_anew(desk, lab):
    session = desk.context.new_cdp_session(desk)
    metrics = {"width": 1280, "height": 800, "mobile": False}
    try:
        for scale in (2, 1):
            session.send("Emulation.setDeviceMetricsOverride", {**metrics, "deviceScaleFactor": scale})
            for canvas in (lab.plane, lab.curves):
                sharpness = "(it) => it.width / it.clientWidth"
                wait_until(lambda: canvas.evaluate(sharpness) == pytest.approx(scale, abs=0.01))  # noqa: B023
    finally:
        session.send("Emulation.clearDeviceMetricsOverride")
        desk.set_viewport_size({"width": 1280, "height": 800})


def is_quiet(page) -> bool:
    """Does it send nothing for a while?"""
    page.sent.clear()
    page.wait_for_timeout(1500)
    return sent_messages(page) == []


def test_frames_stop_while_the_page_is_hidden(desk, lab):
    """And a lab that is paused is quiet wherever it is."""
    sent = "lab.view.sides[0].number"
    lab.press("Play")
    first = ask(desk, sent)
    wait_until(lambda: ask(desk, sent) > first + 3)
    try:
        desk.evaluate(SET_HIDDEN, True)
        wait_until(lambda: not ask(desk, "lab.engine.looked_at"))
        start = time.monotonic()
        frames, step = ask(desk, f"[{sent}, lab.steps_taken]")
        desk.sent.clear()
        desk.wait_for_timeout(2500)
        assert sent_messages(desk) == []  # the page is silent as well
        assert ask(desk, sent) <= frames + 1 + (time.monotonic() - start) / HIDDEN_SECONDS
        wait_until(lambda: ask(desk, "lab.steps_taken") > step + 20)
    finally:
        desk.evaluate(SET_HIDDEN, False)
    painted = lab.state()["painted"]
    lab.wait(f"d.painted > {painted + 10}")
    lab.pause()
    wait_until(lambda: is_quiet(desk))  # its last frame may still be answered
    before = lab.state()["painted"], ask(desk, sent)
    for hidden in (False, True):
        try:
            desk.evaluate(SET_HIDDEN, hidden)
            assert is_quiet(desk)
        finally:
            desk.evaluate(SET_HIDDEN, False)
    assert (lab.state()["painted"], ask(desk, sent)) == before
