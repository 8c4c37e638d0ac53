"""Without a mouse, and without motion."""

import pytest
from jupyter import PANEL, ask, cells, execute, pixels, wait_until

pytestmark = pytest.mark.browser

FOCUS = "() => document.activeElement.getAttribute('role') ?? document.activeElement.tagName.toLowerCase()"
# What takes the focus, in this order, with More open.
ORDER = [
    *("button", "button", "button", "switch", "slider", "input"),  # Play, Step, Start again, the prior; β
    *("button", "button", "button"),  # More, full screen, keys
    *("input", "select", "select", "button", "select"),  # learning rate, reconstruction, images, Load images, pace
    *("input", "button", "button"),  # numerals, Save, Load
    *("slider", "textbox"),  # the angle
    *("input", "input"),  # q(z), p(z|x)
    *("button", "select", "button"),  # New digits, from what; Draw
    *("application", "input"),  # the plane, and the way back along the run
]
STYLE = """(it) => {
    const found = getComputedStyle(it ?? document.activeElement);
    return [found.outlineStyle, found.outlineWidth, found.boxShadow, found.borderColor, found.backgroundColor].join();
}"""


NAMES = {
    "button": ["Play", "Step", "Start again", "More", "Full screen", "The keys", "New digits", "Save", "Load"],
    "switch": ["Prior"],
    "slider": ["β", "Turn the code", "Look back along the run"],
    "textbox": ["β", "learning rate", "Turn the code"],
    "combobox": ["Reconstruction", "images", "Slow motion"],
    "checkbox": ["numerals", "q(z)", "p(z|x)"],
    "application": ["latent plane"],
    "img": ["Loss curves", "decoded image"],
}


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_roles_names_a_polite_summary_and_the_way_of_a_focus_that_is_seen(desk, lab):
    assert not lab.root.get_by_role("checkbox").count()  # closed, it is out of everybody's way
    lab.press("More")
    lab.button("Save").wait_for()
    missing = [it for it in NAMES.items() for name in it[1] if not lab.root.get_by_role(it[0], name=name).count()]
    assert missing == [] and lab.message.get_attribute("role") == "alert"
    spoken = lab.root.locator(".vk-spoken[aria-live=polite]")
    spoken.filter(has_text="A cloud.").filter(has_text="spread of means").wait_for(state="attached")
    lab.button("Play").focus()
    found = []
    for _ in ORDER:
        found.append(desk.evaluate(FOCUS))
        seen = desk.evaluate(STYLE)
        plain = desk.evaluate(f"() => {{ window.was = document.activeElement; was.blur(); return ({STYLE})(was); }}")
        desk.evaluate("() => was.focus({ focusVisible: true })")
        assert seen != plain or "auto" in seen, f"the focus on {found} can't be seen"
        press(desk, "Tab")
    assert found == ORDER


def test_everything_by_keyboard(desk, lab):
    cell = desk.evaluate(f"() => {PANEL}.content.activeCellIndex")
    lab.button("Play").focus()
    press(desk, "Space")
    lab.wait("d.playing === 'true' && d.step > 310")
    press(desk, "Enter")
    step = lab.paused()["step"]
    for keys, condition in (
        ("Tab Enter", f"d.step === {step + 1}"),
        ("Tab Tab Space", "d.beta === 0"),
        ("Space", "d.beta === 1"),
        ("Tab ArrowRight", "d.beta > 1 && d.beta < 1.2"),
        ("ArrowUp", "d.beta > 1.2"),
        ("ArrowLeft ArrowLeft ArrowLeft", "d.beta < 1"),
    ):
        press(desk, *keys.split())
        lab.wait(condition)
    box, beta = lab.box("β"), lab.state()["beta"]
    wait_until(lambda: float(box.input_value()) == pytest.approx(beta))  # or it would come over what is typed
    assert lab.root.get_by_role("slider", name="β").get_attribute("aria-valuetext") == box.input_value()
    press(desk, "Tab", "ControlOrMeta+a", "3", "Enter")
    lab.wait("d.beta === 3")

    lab.plane.focus()
    z = lab.state()
    press(desk, "ArrowRight", "ArrowRight", "ArrowRight", "ArrowUp")
    right = lab.state()
    assert right["z1"] > z["z1"] and right["z2"] > z["z2"]
    press(desk, "Shift+ArrowLeft")
    assert lab.state()["z1"] < z["z1"]
    picture = lab.thumb(0)
    press(desk, "Enter")
    wait_until(lambda: ask(desk, "lab.view.sides[0].chosen") != 0)
    wait_until(lambda: (lab.thumb(0) != picture).any())
    # no key has reached the notebook's own shortcuts
    assert desk.evaluate(f"() => {PANEL}.content.activeCellIndex") == cell
    assert desk.evaluate(f"() => {PANEL}.content.mode") == "command" and len(cells(desk)) == 2


def test_reduced_motion_jumps_from_frame_to_frame(desk, lab):
    desk.emulate_media(reduced_motion="reduce")
    before = lab.state()
    execute(desk, "lab.run(30)")
    lab.wait("d.step === 330")
    pixels(lab.plane)  # by now it is painted
    after = lab.state()
    desk.emulate_media(reduced_motion="no-preference")
    assert after["spread"] != before["spread"]
    # a frame, the backdrop, the chosen image are painted, and nothing between two frames
    assert after["painted"] - before["painted"] <= 3 * (after["frame"] - before["frame"])
    assert after["spread"] == lab.rest()["spread"]
