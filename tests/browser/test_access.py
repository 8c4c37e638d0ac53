"""Without a mouse, and without eyes."""

import numpy as np
import pytest
from jupyter import ask, cells, in_notebook, pixels, thumbs, wait_until

# What takes the focus, in this order, with More open.
ORDER = """
button Play, button Step, button Start again, switch Prior, slider β, textbox β,
button More, button Full screen, button The keys,
textbox learning rate, combobox Reconstruction, combobox images, button Load images, combobox Slow motion,
checkbox numerals, button Save, button Load, slider Turn the code, textbox Turn the code,
checkbox q(z), checkbox p(z|x), button New digits, combobox What new digits, button Draw a digit,
application The latent plane, slider Look back along the run
"""
STYLE = """(it) => {
    const found = getComputedStyle(it);
    return [found.outlineStyle, found.outlineWidth, found.boxShadow, found.borderColor, found.backgroundColor].join();
}"""


def test_roles_names_a_polite_summary_and_the_way_of_a_focus_that_is_seen(desk, lab):
    assert not lab.root.get_by_role("checkbox").count()  # closed, it is out of everybody's way
    lab.in_sight(lab.button("Save")).wait_for()
    for picture in ("Loss curves", "decoded image"):
        assert lab.root.get_by_role("img", name=picture).count()
    assert lab.message.get_attribute("role") == "alert"
    spoken = lab.root.locator(".vk-spoken[aria-live=polite]")
    spoken.filter(has_text="A cloud.").filter(has_text="spread of means").wait_for(state="attached")
    lab.button("Play").focus()
    for role, _, name in (control.strip().partition(" ") for control in ORDER.split(",")):
        here = desk.evaluate_handle("document.activeElement")
        named = lab.root.get_by_role(role, name=name)
        assert named.evaluate_all("(nodes, here) => nodes.includes(here)", here), (role, name)
        seen = here.evaluate(STYLE)
        plain = here.evaluate(f"(it) => {{ it.blur(); return ({STYLE})(it); }}")
        here.evaluate("(it) => it.focus({ focusVisible: true })")
        assert seen != plain or "auto" in seen, f"the focus on {role} {name} can't be seen"
        desk.keyboard.press("Tab")


def press(lab, keys: str, condition: str) -> None:
    """Press keys, and wait for what they bring about."""
    for key in keys.split():
        lab.page.keyboard.press(key)
    lab.wait(condition)


def test_every_control_by_keyboard_and_the_keys_of_the_plane(desk, lab):
    cell = in_notebook(desk, "return content.activeCellIndex;")
    lab.button("Play").focus()
    press(lab, "Space", "d.playing === 'true' && d.step > 310")
    press(lab, "Enter", "d.playing === 'false'")
    step = lab.paused()["step"]
    press(lab, "Tab Enter", f"d.step === {step + 1}")
    assert lab.paused()["step"] == step + 1
    press(lab, "Tab Tab Space", "d.beta === 0")
    press(lab, "Space", "d.beta === 1")
    press(lab, "Tab ArrowUp", "d.beta > 1 && d.beta < 1.2")
    press(lab, "ArrowLeft ArrowLeft", "d.beta < 1")
    box, beta = lab.box("β"), lab.state()["beta"]
    wait_until(lambda: float(box.input_value()) == pytest.approx(beta))  # or it would come over what is typed
    assert lab.root.get_by_role("slider", name="β").get_attribute("aria-valuetext") == box.input_value()
    press(lab, "Tab ControlOrMeta+a 3 Enter", "d.beta === 3")

    lab.plane.focus()
    z = lab.state()
    press(lab, "ArrowRight ArrowRight ArrowRight ArrowUp", f"d.z1 > {z['z1']} && d.z2 > {z['z2']}")
    press(lab, "Shift+ArrowLeft", f"d.z1 < {z['z1']}")
    picture = thumbs(lab.root)[0]
    desk.keyboard.press("Enter")
    wait_until(lambda: ask(desk, "lab.view.sides[0].chosen") != 0 and (thumbs(lab.root)[0] != picture).any())

    press(lab, "]", "d.beta > 3.1 && d.beta < 3.3")
    press(lab, "p", "d.beta === 0")
    step = lab.state()["step"]
    press(lab, "s", f"d.step === {step + 1}")
    desk.keyboard.press("n")
    sheet = lab.root.locator(".vk-sheet canvas")
    wait_until(lambda: sheet.count() == 20)
    digits = np.stack([pixels(canvas)[..., 0] for canvas in sheet.all()])
    assert digits.ravel().tolist() == ask(desk, "list(lab.plane.sheet)")  # which these are: test_keys_and_new
    press(lab, "Space", f"d.playing === 'true' && d.step > {step + 5}")
    wait_until(lambda: (pixels(sheet.first)[..., 0] != digits[0]).any())  # they follow the run
    keys = lab.root.get_by_role("dialog", name="Keys")
    desk.keyboard.press("?")
    assert "play or pause" in keys.inner_text() and "full screen" in keys.inner_text()
    desk.keyboard.press("Escape")
    assert not keys.is_visible()
    # no key has reached the notebook's own shortcuts
    assert in_notebook(desk, "return [content.activeCellIndex, content.mode];") == [cell, "command"]
    assert len(cells(desk)) == 2
    lab.box("β").focus()
    desk.keyboard.type("p")  # in a box it is a letter
    assert ask(desk, "lab.settings['prior']") is False
