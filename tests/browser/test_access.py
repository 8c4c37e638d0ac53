"""Without a mouse, without motion, in the dark, on a narrow page."""

import pytest
from jupyter import PANEL, ask, cells, command, execute, pixels, wait_until

pytestmark = pytest.mark.browser

FOCUS = "() => document.activeElement.getAttribute('role') ?? document.activeElement.tagName.toLowerCase()"
# What takes the focus, in this order, with More open.
ORDER = [
    *("button", "button", "button", "switch", "slider", "input"),  # Play, Step, Start again, the prior; β
    *("button", "button", "button"),  # More, full screen, keys
    *("input", "select", "select", "button", "select"),  # learning rate, reconstruction, images, Load images, pace
    *("input", "button", "button", "select"),  # numerals, Save, Load, what to show
    *("slider", "textbox"),  # the angle
    *("input", "input"),  # q(z), p(z|x)
    *("button", "select", "button"),  # New digits, from what; Draw
    *("application", "input"),  # the plane, and the way back along the run
]
STYLE = """(it) => {
    const found = getComputedStyle(it ?? document.activeElement);
    return [found.outlineStyle, found.outlineWidth, found.boxShadow, found.borderColor, found.backgroundColor].join();
}"""


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_tab_goes_through_all_controls_in_order_and_focus_is_seen(desk, lab):
    lab.press("More")
    lab.button("Save").wait_for()
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
    press(desk, "Tab", "Enter")
    lab.wait(f"d.step === {step + 1}")
    press(desk, "Tab", "Tab", "Space")
    lab.wait("d.beta === 0")
    press(desk, "Space")
    lab.wait("d.beta === 1")
    press(desk, "Tab", "ArrowRight")
    up = lab.wait("d.beta > 1")["beta"]
    press(desk, "ArrowUp")
    lab.wait(f"d.beta > {up}")
    press(desk, "ArrowLeft", "ArrowLeft", "ArrowLeft")
    lab.wait("d.beta < 1")
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


NAMES = {
    "button": ["Play", "Step", "Start again", "More", "Full screen", "The keys", "New digits", "Save", "Load"],
    "switch": ["Prior"],
    "slider": ["β", "Turn the code", "Look back along the run"],
    "textbox": ["β", "learning rate", "Turn the code"],
    "combobox": ["Reconstruction", "images", "Slow motion", "Show in the plane"],
    "checkbox": ["numerals", "q(z)", "p(z|x)"],
    "application": ["latent plane"],
    "img": ["Loss curves", "decoded image"],
}


def test_roles_names_and_a_polite_summary(lab):
    assert not lab.root.get_by_role("checkbox").count()  # closed, it is out of everybody's way
    lab.press("More")
    lab.button("Save").wait_for()
    for role, names in NAMES.items():
        for name in names:
            assert lab.root.get_by_role(role, name=name).count(), (role, name)
    assert lab.message.get_attribute("role") == "alert"
    spoken = lab.root.locator(".vk-spoken[aria-live=polite]")
    spoken.filter(has_text="A cloud.").filter(has_text="spread of means").wait_for(state="attached", timeout=8000)


def test_reduced_motion_jumps_from_frame_to_frame(desk, lab):
    desk.emulate_media(reduced_motion="reduce")
    before = lab.state()
    execute(desk, "lab.run(30)")
    after = lab.wait("d.step === 330")
    desk.emulate_media(reduced_motion="no-preference")
    assert after["spread"] != before["spread"]
    # a frame, the backdrop, the chosen image are painted, and nothing between two frames
    assert after["painted"] - before["painted"] <= 3 * (after["frame"] - before["frame"])
    assert after["spread"] == lab.state()["spread"]


def test_the_theme_may_change_under_the_lab(desk, lab):
    assert pixels(lab.plane)[..., :3].mean() > 150
    try:
        command(desk, "apputils:change-theme", theme="JupyterLab Dark")
        wait_until(lambda: pixels(lab.plane)[..., :3].mean() < 100)
        assert max(lab.verdict.evaluate("(it) => getComputedStyle(it).color.match(/\\d+/g).map(Number)")) > 200
    finally:
        command(desk, "apputils:change-theme", theme="JupyterLab Light")
    wait_until(lambda: pixels(lab.plane)[..., :3].mean() > 150)


# what holds more than it shows, in the lab
TOO_WIDE = """(root) => [root, ...root.querySelectorAll("*")]
    .filter((it) => it.scrollWidth > it.clientWidth + 1 && it.clientWidth > 1)
    .filter((it) => getComputedStyle(it).overflowX !== "visible").map((it) => it.className)"""


def test_a_narrow_page_wraps_and_cuts_nothing(desk, lab):
    desk.set_viewport_size({"width": 700, "height": 900})
    try:
        lab.press("More")
        lab.button("Save").wait_for()
        lab.press("Draw a digit")
        lab.root.locator(".vk-pad").wait_for()
        lab.show()
        box = lab.root.bounding_box()
        assert box["width"] < 700
        parts = ".vk-controls > *, .vk-plane, .vk-panel section, .vk-back > *, .vk-curves, .vk-verdict"
        for inner in filter(None, [part.bounding_box() for part in lab.root.locator(parts).all()]):
            assert inner["x"] >= box["x"] - 1
            assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1
        assert lab.root.evaluate(TOO_WIDE) == []
    finally:
        lab.press("Draw a digit")
        desk.set_viewport_size({"width": 1280, "height": 800})
