"""The pad in the page: a digit drawn with the mouse, in the lab and on its own; what the page shows of it."""

import numpy as np
import pytest
from jupyter import add_cell, ask, execute, fingers, pixels, sent_messages, wait_until

pytestmark = pytest.mark.browser

ONE = [(0.5, 0.15), (0.52, 0.5), (0.5, 0.85)]
BAR = [(0.3, 0.85), (0.7, 0.85)]


def said(words) -> str:
    """What a locator's node says, its spaces plain."""
    return words.inner_text().replace("\xa0", " ")


class Drawing:
    """A pad in the page, by its node's locator. strokes: what the kernel has of them, in Python."""

    def __init__(self, page, root, strokes: str = "lab.view.plane.strokes"):
        self.page, self.root, self.canvas, self.strokes = page, root, root.locator(".vk-pad"), strokes

    def stroke(self, *points, pause: int = 0) -> None:
        """With the mouse, down at the first point and up at the last, until the kernel has it; in 0..1 of the pad."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        (x, y), *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for place in others:
            self.page.mouse.move(*place, steps=10)
            self.page.wait_for_timeout(pause)
        self.page.mouse.up()
        last = f"[end for *_, end in {self.strokes}[-1:]]"
        wait_until(lambda: np.allclose(ask(self.page, last) or 9, points[-1], atol=0.02))

    def press(self, name: str) -> None:
        self.root.get_by_role("button", name=name, exact=True).click()

    def ink(self) -> float:
        """Which share of the pad is white."""
        return float((pixels(self.canvas)[..., 0] > 128).mean())

    def thumbs(self) -> np.ndarray:
        """x, x̂ at μ and three draws, as the page shows them: (5, 28, 28)."""
        return np.stack([pixels(it)[..., 0] for it in self.root.locator(".vk-thumb").all()]).astype(int)

    def title(self) -> str:
        return said(self.root.locator(".vk-panel section:has(.vk-chosen) h4"))


@pytest.fixture
def pad(desk, lab) -> Drawing:
    """The lab's pad, open and empty."""
    lab.press("More")
    lab.press("Draw a digit")
    pad = Drawing(desk, lab.root)
    pad.canvas.wait_for()
    yield pad
    execute(desk, "lab.controls.draw.value = False")
    pad.canvas.wait_for(state="hidden")


def mark(lab) -> list[float]:
    return [float(v) for v in str(lab.state()["yours"]).split(",")]


def yours_at(lab) -> bool:
    """Is the star's colour in the plane, where the mark is?"""
    return bool((lab.ink_at(*lab.place(*mark(lab)[:2])) == (0xB0, 0x00, 0x7A)).all(axis=1).any())


def test_a_digit_is_drawn_rebuilt_taken_back_wiped_and_drawn_on_with_a_finger(desk, lab, pad):
    chosen = pad.thumbs()
    assert pad.root.get_by_role("button", name="Undo").is_disabled()
    desk.sent.clear()
    pad.stroke(*ONE, pause=300)
    lab.wait("d.yours !== ''")
    told = [content.get("data", {}).get("state", {}) for _, content in sent_messages(desk)]
    assert 1 < sum("strokes" in state for state in told) < 25  # while it was drawn, and no flood
    wait_until(lambda: pad.thumbs().ravel().tolist() == ask(desk, "list(lab.view.plane.pictures)"))
    assert np.abs(pad.thumbs() - chosen).max() > 100
    assert pad.title() == "Your drawing " + ask(desk, "lab.view.plane.drawn['words']")
    wait_until(lambda: yours_at(lab))

    alone, first = pad.ink(), mark(lab)
    pad.stroke(*BAR)
    wait_until(lambda: mark(lab) != first)
    assert pad.ink() > alone + 0.01 and "2 strokes" in pad.canvas.get_attribute("aria-label")
    pad.press("Undo")
    wait_until(lambda: mark(lab) == pytest.approx(first))
    assert pad.ink() == pytest.approx(alone)
    pad.press("Clear")
    lab.wait("d.yours === ''")
    wait_until(lambda: np.array_equal(pad.thumbs()[0], chosen[0]))
    assert pad.title().startswith("Chosen image") and ask(desk, "lab.view.plane.strokes") == []

    execute(desk, "lab.draw([[(0.3, 0.2), (0.7, 0.2), (0.45, 0.9)]])")
    wait_until(lambda: pad.ink() > 0.05)
    actions = "(nodes) => nodes.map((node) => getComputedStyle(node).touchAction)"
    assert lab.root.locator(".vk-plane, .vk-pad").evaluate_all(actions) == ["none", "none"]
    box = pad.canvas.bounding_box()
    touch, at = fingers(desk), [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in BAR]
    for kind, places in (("Start", at[:1]), ("Move", at[1:]), ("End", [])):
        touch(kind, *places)
    wait_until(lambda: ask(desk, "len(lab.view.plane.strokes)") == 2)


ALONE = """
model = vaekit.VAE(hidden=64)
pad = vaekit.DrawingPad(model)
pad
"""


def test_a_pad_without_a_lab(desk, lab):
    add_cell(desk, ALONE)
    root = desk.locator(".vk-alone")
    root.wait_for()
    pad = Drawing(desk, root, "pad.widget.strokes")
    pad.stroke(*ONE)
    wait_until(lambda: ask(desk, "pad.widget.words") != "")
    wait_until(lambda: said(root.locator("output")) == ask(desk, "pad.widget.words"))
    x = ask(desk, "pad.image[0].mul(255).round().int().tolist()")
    wait_until(lambda: np.array_equal(pad.thumbs()[0], x))
    pad.press("Clear")
    root.get_by_text("nothing drawn yet").wait_for()
