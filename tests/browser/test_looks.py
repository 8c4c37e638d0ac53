"""How it looks: pictures to look at, and what of it can be measured; in all themes and sizes, and in full screen."""

import pytest
from jupyter import ARTIFACTS, ask, command, execute, pixels, settle, wait_until

# Of VS Code's own themes, "Dark Modern", "Light Modern" and the two of high contrast, these colours.
NAMES = ("foreground", "editor-background", "input-background", "input-foreground", "input-border")
NAMES += ("button-background", "button-foreground", "button-secondaryBackground", "contrastBorder")
VSCODE = {
    "vscode-dark": "#cccccc #1f1f1f #313131 #cccccc #3c3c3c #0078d4 #ffffff #313131",
    "vscode-light": "#3b3b3b #ffffff #ffffff #3b3b3b #cecece #005fb8 #ffffff #e5e5e5",
    "vscode-high-contrast": "#ffffff #000000 #000000 #ffffff #6fc3df #000000 #ffffff #000000 #6fc3df",
    "vscode-high-contrast-light": "#292929 #ffffff #ffffff #292929 #0f4a85 #0f4a85 #ffffff #ffffff #0f4a85",
}
JUPYTER = ("JupyterLab Light", "JupyterLab Dark")
DARK = ("JupyterLab Dark", "vscode-dark", "vscode-high-contrast")
DRESS = """([css, kind]) => {
    document.querySelector("#host")?.remove();
    document.head.insertAdjacentHTML("beforeend", `<style id="host">${css}</style>`);
    if (kind) document.body.dataset.vscodeThemeKind = kind;
    else delete document.body.dataset.vscodeThemeKind;
}"""
# of the window; and how sharp its screen is. The last: 1280 × 800 at 200 %
SIZES = {(1280, 800): 1, (1920, 1080): 1, (1200, 1500): 2, (640, 400): 2}
# name: what brings it about from 300 steps, or the state before, on; the state that the page then names; themes; sizes
STATES = {
    "prior on": ("lab.run(300)", "A cloud", JUPYTER, list(SIZES)),
    "prior off, a pad": ("lab.set(prior=False); lab.run(500)", "σ → 0", JUPYTER, [(1280, 800), (640, 400)]),
    "collapsed": ("lab.set(prior=True, beta=50); lab.run(400)", "Posterior", (*JUPYTER, *VSCODE), [(1280, 800)]),
}
SHARPNESS = "(canvases) => canvases.map((it) => it.width / it.clientWidth)"
# What is wrong with how a lab looks, by kind. Its parts, and what is in its panel, must lie inside it and not over each
# other; nothing may be cut; text has a size of `least` px, and a contrast of 4.5 to 1.
FLAWS = """(root, least) => {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const shown = (selector) => [...root.querySelectorAll(selector)].filter((it) => it.getClientRects().length);
    const said = (it) => `${it.className || it.tagName} ${(it.value || it.textContent).slice(0, 20)}`;

    const rows = ".vk-controls > *, .vk-back > *, .vk-legend > *";
    const parts = `${rows}, .vk-message, .vk-plane, .vk-verdict, .vk-curves`;
    const inner = ".vk-panel h4, .vk-decoded, .vk-hint, .vk-thumb, .vk-panel figcaption, .vk-meters span, .vk-meters b";
    const boxes = shown(`${parts}, ${inner}`), box = (it) => it.getBoundingClientRect(), all = box(root);
    const isOver = (a, b) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
    const over = boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => isOver(box(a), box(b))).map((b) => [a, b]));
    const isOut = ({ left, top, right, bottom }) =>
        Math.min(left - all.left, top - all.top, all.right - right, all.bottom - bottom) < -1;

    const words = "button, label, span, b, p, h4, figcaption, input[type=text]";
    const isCut = (it) => it.clientWidth > 1 && it.scrollWidth > it.clientWidth + 1 &&
        (it.matches(words) || getComputedStyle(it).overflowX !== "visible");
    const cut = [root, ...shown("*")].filter(isCut).map(said);
    for (const it of shown("select")) {
        const style = getComputedStyle(it);
        const room = it.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
        pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
        cut.push(...[...it.options].map(({ text }) => text).filter((text) => pen.measureText(text).width > room));
    }

    const rgba = (colour) => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 1, 1);
        return [...pen.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const ground = (it) => {
        const colour = it ? rgba(getComputedStyle(it).backgroundColor) : [255, 255, 255, 255];
        return colour[3] === 255 ? colour : ground(it.parentElement);
    };
    const isText = (it) => [...it.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const isForm = (it) => it.matches("input:not([type=checkbox], [type=range]), select");
    const written = shown("*").filter((it) => (isText(it) || isForm(it)) && !it.closest(".vk-spoken, option"));
    const texts = written.map((it) => {
        const style = getComputedStyle(it, it.matches(".widget-upload") ? "::after" : null);
        const [low, high] = [light(rgba(style.color)), light(ground(it))].sort((a, b) => a - b);
        return { said: said(it), size: parseFloat(style.fontSize), contrast: (high + 0.05) / (low + 0.05) };
    });
    const found = {
        over: over.map((pair) => pair.map(said)), outside: boxes.filter((it) => isOut(box(it))).map(said), cut,
        small: texts.filter(({ size }) => size < least), faint: texts.filter(({ contrast }) => contrast < 4.5),
    };
    return Object.fromEntries(Object.entries(found).filter(([, items]) => items.length));
}"""
KINDS = {"single": "", "twin": "twin=True, ", "five": "latent_dim=5, ", "sixteen": "latent_dim=16, "}
KINDS |= {"faces": "vaekit.faces(600), latent_dim=6, ", "twin of 16": "twin=True, latent_dim=16, "}  # a ninth meter
PARTS = ".vk-controls, .vk-plane, .vk-decoded, .vk-means canvas, .vk-sheet canvas, .vk-meters, .vk-verdict"
PARTS += ", .vk-curves, .vk-foot"
# how far the lab's parts reach below the part of the notebook that is seen, or below the panel, and beside it
BELOW = """(root, parts) => {
    const seen = root.closest(".jp-WindowedPanel-outer, .jp-Notebook").getBoundingClientRect();
    const boxes = [...root.querySelectorAll(parts)].map((it) => it.getBoundingClientRect()).filter((box) => box.width);
    const most = (side) => Math.max(...boxes.map((box) => box[side])) - seen[side];
    const [meters, panel] = [".vk-meters", ".vk-panel"].map((part) => root.querySelector(part).getBoundingClientRect());
    return [Math.max(most("bottom"), meters.bottom - panel.bottom - 1), most("right")];
}"""


def flaws(lab, least: float = 13) -> dict[str, list]:
    return lab.root.evaluate(FLAWS, least)


@pytest.fixture
def wear(desk):
    """`wear(theme)`: one of JupyterLab's. Or, over its light one, what VS Code does with the page that a notebook's
    output is in: white under each widget (microsoft/vscode-jupyter#7161). `wear(css=...)`: what another page may do."""

    def put_on(theme: str = JUPYTER[0], css: str = "") -> None:
        kind = theme if theme in VSCODE else ""
        command(desk, "apputils:change-theme", theme=JUPYTER[0] if kind else theme)
        if kind:
            colours = dict(zip(NAMES, VSCODE[kind].split(), strict=False))
            css = "".join(f"--vscode-{name}: {colour};" for name, colour in colours.items())
            css = f"body {{ {css} }} .jp-OutputArea-output {{ background: white !important; }}"
        desk.evaluate(DRESS, [css, kind])

    yield put_on
    put_on()


def is_dark(lab) -> bool:
    return pixels(lab.plane)[..., :3].mean() < 110


def test_legible_sharp_nothing_over_another_and_all_in_reach(desk, lab, wear):
    lab.in_sight(lab.button("Save")).wait_for()
    session, painted, wrong = desk.context.new_cdp_session(desk), lab.root.locator(".vk-plane, .vk-curves"), []
    for state, (code, name, themes, sizes) in STATES.items():
        execute(desk, f"lab.controls.draw.value = {'pad' in state}; {code}")
        lab.wait(f"d.headline.startsWith('{name}') && d.decoderStep === {ask(desk, 'lab.steps_taken')}")
        for theme in themes:
            wear(theme)
            wait_until(lambda: is_dark(lab) == (theme in DARK))  # noqa: B023
            for width, height in sizes:
                window = {"width": width, "height": height, "deviceScaleFactor": SIZES[width, height], "mobile": False}
                session.send("Emulation.setDeviceMetricsOverride", window)
                lab.show()
                desk.mouse.move(5, 5)
                settle(desk)
                sharp = pytest.approx(2 * [window["deviceScaleFactor"]], abs=0.01)
                wait_until(lambda: painted.evaluate_all(SHARPNESS) == sharp)  # noqa: B023
                where = f"{state} {width}x{height} {theme}"
                desk.screenshot(path=ARTIFACTS / f"{where}.png".replace(" ", "-"))
                wrong += [(where, *flaw) for flaw in flaws(lab).items()]
                lab.button("Step").click(trial=True)
                lab.drag(-0.8, 0.6)
    session.send("Emulation.clearDeviceMetricsOverride")
    assert wrong == []


def test_scaled_by_css_the_pointer_still_hits_what_it_points_at(desk, lab, wear):
    chosen = "lab.view.sides[0].chosen"
    for number, style in ((7, "transform: scale(0.7); transform-origin: 0 0"), (8, "zoom: 1.4")):
        wear(css=f".vaekit-lab {{ {style} }}")
        lab.show()
        settle(desk)
        lab.drag(-0.8, 0.6, start=(0.3, -0.2))
        place = ask(desk, f"lab.view.sides[0].last.mu[{number}].tolist()")
        desk.mouse.click(*lab.client(*place))
        near = f"{chosen} > 0 and abs((mu := lab.view.sides[0].last.mu)[{chosen}] - mu[{number}]).max().item() < 0.05"
        wait_until(lambda: ask(desk, near))  # noqa: B023
        desk.screenshot(path=ARTIFACTS / f"scaled-{style.split(':')[0]}.png")


@pytest.mark.parametrize(("kind", "desk"), KINDS.items(), ids=KINDS, indirect=["desk"])
def test_everything_is_in_sight_at_once_and_tasks_have_room_in_full_screen(desk, lab, kind):
    assert lab.root.get_attribute("class").split().count("vaekit-lab") == 1
    twin, sheet = lab.planes.count() == 2, lab.root.locator(".vk-sheet canvas")
    for new, count in (("new-", 40 if twin else 20), ("", 0)):
        execute(desk, f"lab.new_digits({bool(new)})")
        wait_until(lambda count=count: sheet.count() == count)
        for width, height, least in ((1280, 800, 430), (1920, 1080, 600)):
            desk.set_viewport_size({"width": width, "height": height})
            lab.show()
            settle(desk)
            desk.screenshot(path=ARTIFACTS / f"{new}{kind}-{width}.png")
            below, beside = lab.root.evaluate(BELOW, PARTS)
            assert below <= 0 and beside <= 0, (new, width, below, beside)
            assert min(plane.bounding_box()["width"] for plane in lab.planes.all()) >= least - 100 * twin
    lab.root.locator(".vk-full").click()
    desk.wait_for_function("document.fullscreenElement?.classList.contains('vaekit-lab')")
    if kind == "single":  # for the hall
        wait_until(lambda: lab.plane.bounding_box()["width"] >= 800)
        assert "small" not in flaws(lab, 24)
    execute(desk, "lab.view.plane.tasks = [{'text': 'Turn the Prior off', 'ticked': False}]")
    lab.root.locator(".vk-tasks").wait_for()
    settle(desk)
    desk.screenshot(path=ARTIFACTS / f"full-screen-tasks-{kind}.png")
    assert lab.root.evaluate("(root) => root.scrollHeight <= root.clientHeight + 1")
    desk.keyboard.press("f")
    desk.wait_for_function("!document.fullscreenElement")
    desk.set_viewport_size({"width": 1280, "height": 800})
    lab.in_sight(lab.button("Save")).wait_for()
    settle(desk)
    rows = lab.root.locator(".vk-controls").last.bounding_box()["height"] / 32.5  # at 15 px
    assert rows < (4.1 if twin or kind == "faces" else 3.1)
