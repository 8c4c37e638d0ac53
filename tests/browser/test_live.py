"""The lab in the page: what each control does, and what the page shows of it."""

import json
import time

import numpy as np
import pytest
from jupyter import decoded_by_torch, execute, pixels, scroll_to, sent_messages, wait_until

pytestmark = pytest.mark.browser

# The page decodes with float16 weights and rounds to whole grey levels, torch with float32 and not at all.
MOST, MEAN = 2 / 255, 0.5 / 255


def heartbeats(messages) -> int:
    """How many of a page's messages are its heartbeat. Anything else is a failure."""
    for header, content in messages:
        assert header["msg_type"] == "comm_msg", (header, content)
        assert content["data"]["method"] == "custom", content
        assert content["data"]["content"]["kind"] == "seen", content
    return len(messages)


# -- the prior and β --------------------------------------------------------------------------------------


def test_prior_off_shrinks_the_codes_to_points_and_on_brings_the_cloud_back(desk, lab):
    before = lab.state()
    assert before["state"] == "cloud"
    lab.press("Play")
    lab.press("Prior on")
    off = lab.wait(f"d.state === 'points' && d.sigma < {before['sigma'] / 5}", 90)
    lab.verdict.filter(has_text="σ → 0").wait_for()
    assert off["beta"] == 0
    assert off["spread"] > before["spread"]
    assert lab.button("Prior off").count() == 1

    lab.press("Prior off")
    lab.wait(f"d.state === 'cloud' && d.sigma > {2.5 * off['sigma']} && d.beta === 1", 90)
    lab.verdict.filter(has_text="A cloud").wait_for()

    lab.pause()
    events = json.loads(execute(desk, "import json; print(json.dumps(lab.engine.run.recording.events))"))
    assert [changes for _, changes in events] == [{"prior": False}, {"prior": True}]
    wait_until(lambda: lab.marks() == f"{events[0][0]}: prior off; {events[1][0]}: prior on")


def test_beta_50_typed_collapses_the_codes_onto_the_prior(lab):
    lab.press("Play")
    lab.type_beta("50")
    state = lab.wait("d.beta === 50 && d.state === 'prior' && d.spread < 0.15", 90)
    lab.verdict.filter(has_text="Posterior = prior").wait_for()
    assert state["sigma"] == pytest.approx(1, abs=0.25)
    lab.pause()
    wait_until(lambda: lab.marks().endswith(": β = 50"))


# -- the plane --------------------------------------------------------------------------------------------


def test_drag_decodes_in_the_page_alone_and_equals_torch(desk, lab):
    (x0, y0), (x1, y1) = lab.client(-2.5, -2), lab.client(2.5, 2)
    seen = []
    desk.sent.clear()
    desk.mouse.move(x0, y0)
    desk.mouse.down()
    for t in np.linspace(0, 1, 21):
        desk.mouse.move(x0 + t * (x1 - x0), y0 + t * (y1 - y0))
        state = lab.state()
        seen.append(((state["z1"], state["z2"]), pixels(lab.root.locator(".vk-decoded"))[..., 0]))
    desk.mouse.up()
    heartbeats(sent_messages(desk))

    codes, images = [z for z, _ in seen], np.stack([image for _, image in seen])
    assert codes[0] == pytest.approx((-2.5, -2), abs=0.05)
    assert codes[-1] == pytest.approx((2.5, 2), abs=0.05)
    assert len({image.tobytes() for image in images}) == len(images)
    off = np.abs(images / 255 - decoded_by_torch(desk, codes))
    print(f"in the page and by torch: at most {255 * off.max():.2f}/255 apart, {255 * off.mean():.3f}/255 on average")
    assert off.max() <= MOST
    assert off.mean() <= MEAN


DRAG_LOST = """() => {
    const plane = document.querySelector(".vk-plane"), box = plane.getBoundingClientRect();
    const say = (type, x, more) => plane.dispatchEvent(new PointerEvent(type,
        { pointerId: 1, bubbles: true, clientX: box.x + x, clientY: box.y + 60, ...more }));
    say("pointerdown", 60, { button: 0, buttons: 1 });
    say("pointermove", 200, { button: -1, buttons: 0 });
    say("pointermove", 300, { button: -1, buttons: 1 });
}"""


def test_only_the_left_button_drags_and_one_that_came_up_unheard_ends_it(desk, lab):
    def place() -> tuple[float, float]:
        return lab.state()["z1"], lab.state()["z2"]

    desk.mouse.move(*lab.client(0, 0))
    z = place()
    for button in ("right", "middle"):
        desk.mouse.down(button=button)
        desk.mouse.move(*lab.client(2, 1), steps=4)
        assert place() == z
        desk.mouse.up(button=button)
        desk.keyboard.press("Escape")
    desk.evaluate(DRAG_LOST)
    width = lab.plane.bounding_box()["width"]
    assert place()[0] == pytest.approx((60 - width / 2) / (width / 2) * lab.state()["extent"], abs=0.05)


ALONE = """
import json, torch
place, std = torch.tensor(lab.view.sides[0].last.mu), torch.tensor(lab.view.sides[0].last.std)
apart = torch.cdist(place, place).fill_diagonal_(9).min(1).values
apart[place.abs().max(1).values > 2.5] = 0
i = int(apart.argmax())
print(json.dumps([i, place[i].tolist(), std[i].tolist()]))
"""


def test_click_chooses_the_point_and_outlines_its_ellipse(desk, lab):
    index, mu, std = json.loads(execute(desk, ALONE))
    thumbs = lab.root.locator(".vk-thumb")
    before = pixels(thumbs.first)
    box, extent = lab.plane.bounding_box(), lab.state()["extent"]
    scale = box["width"] / 2 / extent
    x, y = lab.client(*mu)
    # the outline of 2σ, half-way round to the upper right: the pointer's cross doesn't lie there
    corner = [0.5**0.5 * max(2 * s * scale, 8) for s in std]
    corner = round(x - box["x"] + corner[0]), round(y - box["y"] - corner[1])
    assert darkest(lab, *corner) > 60, "there was an outline before"

    desk.mouse.click(x, y)
    wait_until(lambda: execute(desk, "lab.view.sides[0].chosen") == str(index))
    wait_until(lambda: not np.array_equal(pixels(thumbs.first), before))
    of_index = f"(lab.view.sides[0].images[{index}, 0] * 255).round().int().tolist()"
    original = np.array(json.loads(execute(desk, of_index)))
    x_shown, mean, *draws = [pixels(thumbs.nth(i))[..., 0].astype(int) for i in range(5)]
    assert np.array_equal(x_shown, original)
    assert np.abs(mean / 255 - decoded_by_torch(desk, [mu])[0]).max() <= 2 * MOST
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(draws[a] - draws[b]).mean() > 0.5
    wait_until(lambda: darkest(lab, *corner) < 60)


def darkest(lab, x: int, y: int) -> int:
    """The darkest of the pixels around a place of the plane, by its brightest channel."""
    return lab.ink_at(x, y).max(axis=1).min()


# -- play, pause, step, start again -----------------------------------------------------------------------


def test_pause_stands_still_and_step_takes_one(desk, lab):
    lab.press("Play")
    lab.wait("d.step > 320")
    step = lab.pause()["step"]
    time.sleep(0.5)
    assert lab.state()["step"] == step
    assert execute(desk, "lab.steps_taken") == str(int(step))
    for more in (1, 2, 3):
        lab.press("Step")
        lab.wait(f"d.step >= {step + more}")
        assert lab.paused()["step"] == step + more


def test_start_again_in_mid_run_plays_on_from_step_0(lab):
    lab.press("Play")
    lab.wait("d.step > 340")
    lab.press("Start again")
    lab.wait("d.step < 200")
    lab.wait("d.step > 60 && d.playing === 'true'")


def test_what_happened_out_of_sight_is_painted_on_return(desk, lab):
    before = pixels(lab.plane)
    scroll_to(desk, 1)
    wait_until(lambda: execute(desk, "lab.engine.looked_at") == "False")
    execute(desk, "lab.run(50)")
    lab.show()
    lab.wait("d.step === 350")
    wait_until(lambda: (pixels(lab.plane) != before).any(axis=2).mean() > 0.05)


# -- what goes wrong --------------------------------------------------------------------------------------

REFUSED = [("beta", "-1"), ("beta", "abc"), ("lr", "0"), ("lr", "")]  # all of them: tests/lab


def test_bad_input_gets_one_line_and_changes_nothing(desk, lab):
    lab.press("Play")
    for name, text in REFUSED:
        shown = lab.box(name).input_value()
        lab.type(name, text)
        lab.message.filter(has_text="must be").wait_for()
        said = lab.message.text_content()
        assert "\n" not in said and 10 < len(said) < 160, said
        wait_until(lambda: lab.box(name).input_value() == shown)  # noqa: B023
        now = lab.state()
        lab.wait(f"d.step > {now['step']} && d.playing === 'true'")
        assert now["beta"] == 1
        # a good value takes the message away
        lab.type("beta", "1.5")
        lab.message.wait_for(state="hidden")
        lab.type("beta", "1")
        lab.wait("d.beta === 1")
    assert execute(desk, "(lab.knobs.beta, lab.knobs.lr)") == "(1.0, 0.001)"
    for control in lab.root.locator(".vk-controls button, .vk-controls input, .vk-controls select").all():
        assert control.is_enabled()


def test_a_learning_rate_of_a_million_pauses_at_the_last_good_step(desk, lab):
    lab.press("Play")
    lab.wait("d.step > 320")
    lab.type("lr", "1e6")
    lab.message.filter(has_text="Lower the learning rate").wait_for()
    said = lab.message.text_content()
    state = lab.paused()
    assert f"Paused at step {state['step']:.0f}" in said
    assert lab.box("lr").input_value() == "1e+06"
    assert execute(desk, "all(bool(p.isfinite().all()) for p in lab.model.parameters())") == "True"
    lab.type("lr", "0.001")
    lab.press("Play")
    lab.wait(f"d.step > {state['step'] + 30} && d.playing === 'true'")
    assert lab.message.is_hidden()
    lab.pause()


# -- the other controls -----------------------------------------------------------------------------------


@pytest.mark.pace
def test_slow_motion_keeps_its_pace(lab):
    lab.choose("5 steps/s")
    lab.press("Play")
    first, start = lab.wait("d.step > 302")["step"], time.monotonic()
    last = lab.wait(f"d.step >= {first + 10}")["step"]
    assert 3 < (last - first) / (time.monotonic() - start) < 7
    lab.choose("full speed")
    lab.wait(f"d.step > {last + 60}", 10)


def test_reconstruction_data_and_learning_rate_change_in_mid_run(desk, lab):
    few = execute(desk, "print(list(lab.engine.run.sets)[1])")
    lab.press("Play")
    for turn, label in (
        (lambda: lab.choose("squared error"), "squared error"),
        (lambda: lab.type("lr", "0.002"), "lr = 0.002"),
        (lambda: lab.choose(few), few),
        (lambda: lab.choose("BCE"), "BCE"),
    ):
        turn()
        step = lab.state()["step"]
        lab.wait(f"d.step > {step + 40} && d.playing === 'true'")
        wait_until(lambda: lab.marks().endswith(f": {label}"))  # noqa: B023
    assert execute(desk, "[lab.settings[name] for name in ('kind', 'data', 'lr')]") == f"['bernoulli', {few!r}, 0.002]"
    assert lab.message.is_hidden()
    # its 500 images are what the plane shows, too
    assert execute(desk, "len(lab.view.sides[0].last.mu), len(lab.view.plane.classes)") == "(500, 500)"


def test_digits_as_marks(desk, lab):
    lab.press("More")
    painted = lab.paused()["painted"]
    before = pixels(lab.plane)
    lab.root.get_by_label("digits as marks").check()
    lab.wait(f"d.painted > {painted}")
    assert 0.01 < (pixels(lab.plane) != before).any(axis=2).mean() < 0.5
    lab.root.get_by_label("digits as marks").uncheck()
    wait_until(lambda: (pixels(lab.plane) != before).any(axis=2).mean() < 0.005)


# -- rest -------------------------------------------------------------------------------------------------


@pytest.mark.pace
def test_nothing_is_painted_when_nothing_moves(desk, lab):
    time.sleep(0.5)
    before, number = lab.state()["painted"], execute(desk, "lab.view.sides[0].number")
    time.sleep(1)
    assert lab.state()["painted"] == before
    assert execute(desk, "lab.view.sides[0].number") == number


def frames_in(desk, seconds: float) -> float:
    before = int(execute(desk, "lab.view.sides[0].number"))
    time.sleep(seconds)
    return int(execute(desk, "lab.view.sides[0].number")) - before


SET_HIDDEN = """(hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_lab_that_is_paused_is_quiet_wherever_it_is(desk, lab):
    lab.press("Play")
    lab.wait("d.step > 320")
    lab.pause()
    desk.wait_for_timeout(1500)  # its last frame may still be answered
    for hidden in (False, True):
        try:
            desk.evaluate(SET_HIDDEN, hidden)
            desk.sent.clear()
            desk.wait_for_timeout(2500)
            assert sent_messages(desk) == []
        finally:
            desk.evaluate(SET_HIDDEN, False)


def test_a_sharper_screen_is_painted_anew(desk, lab):
    session = desk.context.new_cdp_session(desk)
    metrics = {"width": 1280, "height": 800, "mobile": False}
    try:
        for scale in (2, 1):
            session.send("Emulation.setDeviceMetricsOverride", {**metrics, "deviceScaleFactor": scale})
            for canvas in (lab.plane, lab.curves):
                sharpness = "(it) => it.width / it.clientWidth"
                wait_until(lambda: canvas.evaluate(sharpness) == pytest.approx(scale, abs=0.01), 5)  # noqa: B023
    finally:
        session.send("Emulation.clearDeviceMetricsOverride")
        desk.set_viewport_size({"width": 1280, "height": 800})


@pytest.mark.pace
@pytest.mark.parametrize("how", ["scrolled", "hidden"])
def test_frames_stop_while_nobody_looks(desk, lab, how):
    def look(away: bool) -> None:
        if how == "hidden":
            desk.evaluate(SET_HIDDEN, away)
        elif away:
            scroll_to(desk, 1)
        else:
            lab.show()

    lab.press("Play")
    lab.wait("d.step > 320")
    assert frames_in(desk, 2) > 2
    try:
        look(away=True)
        wait_until(lambda: execute(desk, "lab.engine.looked_at") == "False")
        step = int(execute(desk, "lab.steps_taken"))
        assert frames_in(desk, 3) <= 2
        assert int(execute(desk, "lab.steps_taken")) > step + 20
    finally:
        look(away=False)
    painted = lab.state()["painted"]
    lab.wait(f"d.painted > {painted + 10}")
    assert frames_in(desk, 2) > 2
