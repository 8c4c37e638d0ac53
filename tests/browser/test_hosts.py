"""Other hosts than JupyterLab at its usual size: VS Code's themes, a lab that is scaled, a page at 200 %."""

import pytest
from jupyter import ARTIFACTS, ask, pixels, settle, wait_until
from test_looks import flaws

pytestmark = pytest.mark.browser

# Of VS Code's own themes: "Dark Modern", "Light Modern" and the two of high contrast.
NAMES = ("foreground", "editor-background", "input-background", "input-foreground", "input-border")
NAMES += ("button-background", "button-foreground", "button-secondaryBackground", "contrastBorder")
THEMES = {
    "vscode-dark": "#cccccc #1f1f1f #313131 #cccccc #3c3c3c #0078d4 #ffffff #313131",
    "vscode-light": "#3b3b3b #ffffff #ffffff #3b3b3b #cecece #005fb8 #ffffff #e5e5e5",
    "vscode-high-contrast": "#ffffff #000000 #000000 #ffffff #6fc3df #000000 #ffffff #000000 #6fc3df",
    "vscode-high-contrast-light": "#292929 #ffffff #ffffff #292929 #0f4a85 #0f4a85 #ffffff #ffffff #0f4a85",
}
# As VS Code does with the page that a notebook's output is in, white under each widget (microsoft/vscode-jupyter#7161);
# JupyterLab's own theme stays the light one.
WEAR = """([kind, colours]) => {
    document.body.dataset.vscodeThemeKind = kind;
    document.body.classList.add(kind);
    for (const [name, colour] of Object.entries(colours)) document.body.style.setProperty(`--vscode-${name}`, colour);
    const sheet = Object.assign(document.createElement("style"), { id: "vscode" });
    sheet.textContent = ".jp-OutputArea-output { background: white !important; }";
    document.head.append(sheet);
}"""
TAKE_OFF = """() => {
    document.body.classList.remove(document.body.dataset.vscodeThemeKind);
    delete document.body.dataset.vscodeThemeKind;
    const names = [...document.body.style].filter((name) => name.startsWith("--vscode-"));
    names.forEach((name) => document.body.style.removeProperty(name));
    document.getElementById("vscode").remove();
}"""


def test_the_lab_follows_the_themes_of_vs_code(desk, lab):
    lab.press("More")
    lab.button("Save").wait_for()
    for kind, colours in THEMES.items():
        desk.evaluate(WEAR, [kind, dict(zip(NAMES, colours.split(), strict=False))])
        try:
            is_dark = kind in ("vscode-dark", "vscode-high-contrast")
            wait_until(lambda: (pixels(lab.plane)[..., :3].mean() < 110) == is_dark)  # noqa: B023
            desk.screenshot(path=ARTIFACTS / f"{kind}.png")
            assert "faint" not in flaws(lab), (kind, flaws(lab))
        finally:
            desk.evaluate(TAKE_OFF)
        wait_until(lambda: pixels(lab.plane)[..., :3].mean() > 150)


def test_scaled_by_css_the_pointer_still_hits_what_it_points_at(desk, lab):
    chosen = "lab.view.sides[0].chosen"
    try:
        for number, style in ((7, "transform: scale(0.7); transform-origin: 0 0"), (8, "zoom: 1.4")):
            lab.root.evaluate("(root, style) => root.setAttribute('style', style)", style)
            lab.show()
            settle(desk)
            lab.drag(-0.8, 0.6, start=(0.3, -0.2))
            place = ask(desk, f"lab.view.sides[0].last.mu[{number}].tolist()")
            desk.mouse.click(*lab.client(*place))
            near = f"abs((mu := lab.view.sides[0].last.mu)[{chosen}] - mu[{number}]).max().item()"
            wait_until(lambda: ask(desk, near) < 0.05)  # noqa: B023
            assert ask(desk, chosen) > 0
            desk.screenshot(path=ARTIFACTS / f"scaled-{style.split(':')[0]}.png")
    finally:
        lab.root.evaluate("(root) => root.removeAttribute('style')")


# what holds more than it shows, in the lab
TOO_WIDE = """(root) => [root, ...root.querySelectorAll("*")]
    .filter((it) => it.scrollWidth > it.clientWidth + 1 && it.clientWidth > 1)
    .filter((it) => getComputedStyle(it).overflowX !== "visible").map((it) => it.className)"""


def test_at_200_percent_nothing_is_cut_off_or_over_another(desk, lab):
    """A window of 1280 × 800 at 200 % is laid out as one of 640 × 400."""
    desk.set_viewport_size({"width": 640, "height": 400})
    try:
        lab.show()
        lab.press("More")
        lab.button("Save").wait_for()
        settle(desk)
        desk.screenshot(path=ARTIFACTS / "at-200-percent.png")
        assert flaws(lab) == {}
        lab.press("Draw a digit")
        lab.root.locator(".vk-pad").wait_for()
        assert lab.root.evaluate(TOO_WIDE) == []
        lab.press("Draw a digit")
        lab.press("Step")  # each control can be reached
        lab.wait("d.step === 301")
        lab.rest()
        lab.drag(-0.8, 0.6)
    finally:
        desk.set_viewport_size({"width": 1280, "height": 800})
