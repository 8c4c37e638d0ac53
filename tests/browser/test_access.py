"""Without a mouse, without motion, in the dark, on a narrow page."""

import pytest
from jupyter import PANEL, command, execute, pixels, wait_until

pytestmark = pytest.mark.browser

FOCUS = """() => {
    const it = document.activeElement;
    return [it.tagName.toLowerCase(), it.getAttribute("role") ?? it.type ?? "", it.textContent.trim().slice(0, 20)];
}"""
ORDER = [
    ("button", "submit", "Play"),
    ("button", "submit", "Step"),
    ("button", "submit", "Start again"),
    ("button", "submit", "Prior on"),
    ("div", "slider", ""),
    ("input", "text", ""),  # β
    ("input", "text", ""),  # learning rate
    ("select", "select-one", None),
    ("select", "select-one", None),
    ("select", "select-one", None),
    # with the third row open
    ("button", "submit", "More"),
    ("select", "select-one", None),
    ("input", "checkbox", ""),
    ("button", "submit", "Save"),
    ("button", "submit", "Load (0)"),
    ("button", "submit", "Draw a digit"),
    ("canvas", "application", ""),
    ("input", "range", ""),
]
STYLE = """(it) => {
    const found = getComputedStyle(it ?? document.activeElement);
    return [found.outlineStyle, found.outlineWidth, found.boxShadow, found.borderColor, found.backgroundColor].join();
}"""


def press(page, key: str, times: int = 1) -> None:
    for _ in range(times):
        page.keyboard.press(key)


def test_tab_goes_through_all_controls_in_order_and_focus_is_seen(desk, lab):
    lab.press("More")
    lab.button("Save").wait_for()
    lab.button("Play").focus()
    for number, (tag, kind, text) in enumerate(ORDER):
        if number:
            press(desk, "Tab")
        found = desk.evaluate(FOCUS)
        assert found[:2] == [tag, kind], (number, found)
        assert text is None or found[2] == text
        seen = desk.evaluate(STYLE)
        plain = desk.evaluate(f"() => {{ window.was = document.activeElement; was.blur(); return ({STYLE})(was); }}")
        desk.evaluate("() => was.focus({ focusVisible: true })")
        assert seen != plain or "auto" in seen, f"the focus on {found} can't be seen"


def test_everything_by_keyboard(desk, lab):
    cell = desk.evaluate(f"() => {PANEL}.content.activeCellIndex")
    lab.button("Play").focus()
    press(desk, "Space")
    lab.wait("d.playing === 'true' && d.step > 310")
    press(desk, "Enter")
    step = lab.paused()["step"]
    press(desk, "Tab")
    press(desk, "Enter")
    lab.wait(f"d.step === {step + 1}")
    press(desk, "Tab", 2)
    press(desk, "Space")
    lab.wait("d.beta === 0")
    press(desk, "Space")
    lab.wait("d.beta === 1")

    press(desk, "Tab")  # β
    press(desk, "ArrowRight")
    up = lab.wait("d.beta > 1")["beta"]
    press(desk, "ArrowUp")
    lab.wait(f"d.beta > {up}")
    press(desk, "ArrowLeft", 3)
    lab.wait("d.beta < 1")
    press(desk, "Tab")
    press(desk, "ControlOrMeta+a")
    desk.keyboard.type("3")
    press(desk, "Enter")
    lab.wait("d.beta === 3")

    press(desk, "Tab", 6)
    assert desk.evaluate(FOCUS)[:2] == ["canvas", "application"]
    z = lab.state()
    press(desk, "ArrowRight", 3)
    press(desk, "ArrowUp")
    right = lab.state()
    assert right["z1"] > z["z1"] and right["z2"] > z["z2"]
    press(desk, "Shift+ArrowLeft")
    assert lab.state()["z1"] < z["z1"]
    picture = pixels(lab.root.locator(".vk-thumb").first)
    press(desk, "Enter")
    wait_until(lambda: execute(desk, "lab.view.sides[0].chosen") != "0")
    wait_until(lambda: (pixels(lab.root.locator(".vk-thumb").first) != picture).any())
    # no key has reached the notebook's own shortcuts
    assert desk.evaluate(f"() => {PANEL}.content.activeCellIndex") == cell
    assert desk.evaluate(f"() => {PANEL}.content.mode") == "command"
    assert desk.evaluate(f"() => {PANEL}.content.widgets.length") == 2


NAMES = {
    "button": ["Play", "Step", "Start again", "Prior on", "More", "Save", "Load"],
    "slider": ["β", "Look back along the run"],
    "textbox": ["β", "learning rate"],
    "combobox": ["Reconstruction", "images", "Slow motion", "Show in the plane"],
    "checkbox": ["digits as marks"],
    "application": ["latent plane"],
    "img": ["Loss curves", "decoded image"],
}


def test_roles_names_and_a_polite_summary(lab):
    assert not lab.root.get_by_role("checkbox").count()  # closed, it is out of everybody's way
    lab.press("More")
    lab.button("Save").wait_for()
    missing = [
        (role, name)
        for role, names in NAMES.items()
        for name in names
        if not lab.root.get_by_role(role, name=name).count()
    ]
    assert missing == []
    assert lab.message.get_attribute("role") == "alert"
    spoken = lab.root.locator(".vk-spoken[aria-live=polite]")
    spoken.filter(has_text="A cloud.").filter(has_text="spread of means").wait_for(state="attached", timeout=8000)


def test_reduced_motion_jumps_from_frame_to_frame(desk, lab):
    desk.emulate_media(reduced_motion="reduce")
    try:
        before = lab.state()
        execute(desk, "lab.run(30)")
        after = lab.wait("d.step === 330")
        assert after["spread"] != before["spread"]
        # a frame, the backdrop, the chosen image are painted, and nothing between two frames
        assert after["painted"] - before["painted"] <= 3 * (after["frame"] - before["frame"])
        assert after["spread"] == lab.state()["spread"]
    finally:
        desk.emulate_media(reduced_motion="no-preference")


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
        lab.wait("d.painted > 0")
        box = lab.root.bounding_box()
        assert box["width"] < 700
        for part in lab.root.locator(
            ".vk-controls > *, .vk-plane, .vk-panel section, .vk-back > *, .vk-curves, .vk-verdict"
        ).all():
            inner = part.bounding_box()
            assert inner["x"] >= box["x"] - 1
            assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1
        assert lab.root.evaluate(TOO_WIDE) == []
        rows = {round(it.bounding_box()["y"]) for it in lab.root.locator(".vk-controls > *").all()}
        assert len(rows) > 2
    finally:
        lab.press("Draw a digit")
        desk.set_viewport_size({"width": 1280, "height": 800})
