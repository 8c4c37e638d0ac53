"""How it looks: pictures to look at, and what of it can be measured, in both themes and at two sizes."""

import pytest
from jupyter import ARTIFACTS, ask, command, execute, pixels, settle, wait_until

pytestmark = pytest.mark.browser

# name: what brings it about from 300 steps, or the state before, on; the state that the page then names
STATES = {
    "prior on": ("lab.run(300)", "cloud"),
    "prior off": ("lab.set(prior=False); lab.run(500)", "points"),
    "collapsed": ("lab.set(prior=True, beta=50); lab.run(400)", "prior"),
}
SIZES = ((1280, 800), (1920, 1080), (1200, 1500))  # the last one: a screen turned upright

# Boxes that must lie inside the lab and not over each other: the parts, and what is in the panel.
BOXES = """(root) => {
    const shown = (it) => it.getClientRects().length > 0;
    const box = (it) => {
        const { left, top, right, bottom } = it.getBoundingClientRect();
        return { name: `${it.className || it.tagName} ${it.textContent.slice(0, 20)}`, left, top, right, bottom };
    };
    const rows = ".vk-controls > *, .vk-back > *, .vk-legend > *";
    const parts = `${rows}, .vk-message, .vk-plane, .vk-verdict, .vk-curves`;
    const inner = ".vk-panel h4, .vk-decoded, .vk-hint, .vk-thumb, .vk-panel figcaption, .vk-meters span, .vk-meters b";
    return [box(root), [...root.querySelectorAll(`${parts}, ${inner}`)].filter(shown).map(box)];
}"""

CUT = """(root) => {
    const pen = document.createElement("canvas").getContext("2d");
    const cut = [];
    for (const it of root.querySelectorAll("button, label, span, b, p, h4, figcaption, input[type=text]"))
        if (it.clientWidth > 1 && it.scrollWidth > it.clientWidth + 1 && getComputedStyle(it).display !== "inline")
            cut.push(it.value ?? it.textContent);
    for (const it of root.querySelectorAll("select")) {
        if (!it.getClientRects().length) continue;
        const style = getComputedStyle(it);
        pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
        const room = it.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
        for (const option of it.options)
            if (pen.measureText(option.text).width > room) cut.push(option.text);
    }
    return cut;
}"""

# every piece of text in the lab: [what it says, its size in px, its contrast with the ground it stands on]
TEXTS = """(root) => {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
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
        for (; it; it = it.parentElement) {
            const colour = rgba(getComputedStyle(it).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const it of root.querySelectorAll("*")) {
        const own = [...it.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim().length);
        const form = ["INPUT", "SELECT"].includes(it.tagName) && !["checkbox", "range"].includes(it.type);
        if (!(own || form) || !it.getClientRects().length || it.closest(".vk-spoken, option")) continue;
        const style = getComputedStyle(it, it.matches(".widget-upload") ? "::after" : null);
        const tones = [light(rgba(style.color)), light(ground(it))];
        const contrast = (Math.max(...tones) + 0.05) / (Math.min(...tones) + 0.05);
        found.push([it.value || it.textContent, parseFloat(style.fontSize), contrast]);
    }
    return found;
}"""


def overlapping(boxes: list[dict]) -> list[tuple[str, str]]:
    def over(a, b) -> bool:
        across = min(a["right"], b["right"]) - max(a["left"], b["left"])
        return across > 1 and min(a["bottom"], b["bottom"]) - max(a["top"], b["top"]) > 1

    return [(a["name"], b["name"]) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if over(a, b)]


def outside(root: dict, boxes: list[dict]) -> list[str]:
    def out(box) -> bool:
        across = box["left"] < root["left"] - 1 or box["right"] > root["right"] + 1
        return across or box["top"] < root["top"] - 1 or box["bottom"] > root["bottom"] + 1

    return [box["name"] for box in boxes if out(box)]


def flaws(lab) -> dict[str, list]:
    """What is wrong with how a lab looks, by kind."""
    (root, boxes), texts = lab.root.evaluate(BOXES), lab.root.evaluate(TEXTS)
    found = {
        "over each other": overlapping(boxes),
        "outside": outside(root, boxes),
        "cut": lab.root.evaluate(CUT),
        "small": [text for text in texts if text[1] < 13],
        "faint": [text for text in texts if text[2] < 4.5],
    }
    return {what: items for what, items in found.items() if items}


def test_legible_and_nothing_over_another(desk, lab):
    lab.press("More")
    lab.button("Save").wait_for()
    wrong = []
    try:
        for state, (code, name) in STATES.items():
            execute(desk, code)
            lab.wait(f"d.state === '{name}' && d.decoderStep === {ask(desk, 'lab.steps_taken')}")
            for theme in ("Light", "Dark"):
                command(desk, "apputils:change-theme", theme=f"JupyterLab {theme}")
                wait_until(lambda: (pixels(lab.plane)[..., :3].mean() < 110) == (theme == "Dark"))  # noqa: B023
                for width, height in SIZES if state == "prior on" else SIZES[:1]:
                    desk.set_viewport_size({"width": width, "height": height})
                    lab.show()
                    desk.mouse.move(5, 5)
                    settle(desk)
                    where = f"{state} {width}x{height} {theme}"
                    desk.screenshot(path=ARTIFACTS / f"{where}.png".replace(" ", "-"))
                    wrong += [(where, *flaw) for flaw in flaws(lab).items()]
    finally:
        desk.set_viewport_size({"width": 1280, "height": 800})
        command(desk, "apputils:change-theme", theme="JupyterLab Light")
    wait_until(lambda: pixels(lab.plane)[..., :3].mean() > 150)  # the next test's lab is a light one
    assert wrong == []
