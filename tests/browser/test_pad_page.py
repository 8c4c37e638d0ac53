"""The pad in the page: a digit drawn with the mouse, in the lab and on its own; what the page shows of it."""

import numpy as np
import pytest
from jupyter import add_cell, ask, drag_finger, execute, pixels, sent, thumbs, wait_until

ONE = [(0.5, 0.15), (0.52, 0.5), (0.5, 0.85)]
BAR = [(0.3, 0.85), (0.7, 0.85)]


class Drawing:
    """A pad in the page, by its node's locator. strokes: what the kernel has of them, in Python."""

    def __init__(self, page, root, strokes: str = "lab.view.plane.strokes"):
        self.page, self.root, self.canvas, self.strokes = page, root, root.locator(".vk-pad"), strokes
        self.canvas.wait_for()

    def client(self, *points) -> list[tuple[float, float]]:
        """Where places of the pad, in 0..1, are in the window."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]

    def stroke(self, *points, pause: int = 0) -> None:
        """With the mouse, down at the first point and up at the last, until the kernel has it."""
        first, *others = self.client(*points)
        self.page.mouse.move(*first)
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


def mark(lab) -> list[float]:
    return [float(v) for v in lab.state()["yours"].split(",")]


def has_star(lab) -> bool:
    """Is the star's colour in the plane, where the mark is?"""
    box, (x, y) = lab.plane.bounding_box(), lab.client(*mark(lab)[:2])
    x, y = round(x - box["x"]), round(y - box["y"])
    return (pixels(lab.plane)[y - 1 : y + 2, x - 1 : x + 2, :3] == (0xB0, 0x00, 0x7A)).all(axis=2).any()


def test_a_digit_is_drawn_rebuilt_taken_back_wiped_and_drawn_on_with_a_finger(desk, lab):
    lab.press("Draw a digit")
    pad = Drawing(desk, lab.root)
    chosen, title = thumbs(lab.root), lab.root.locator(".vk-panel section:has(.vk-chosen) h4")
    assert pad.root.get_by_role("button", name="Undo").is_disabled()
    sent(desk)
    pad.stroke(*ONE, pause=300)
    lab.wait("d.yours !== ''")
    told = [content.get("data", {}).get("state", {}) for _, content in sent(desk)]
    assert 1 < sum("strokes" in state for state in told) < 25  # while it was drawn, and no flood
    wait_until(lambda: thumbs(lab.root).ravel().tolist() == ask(desk, "list(lab.view.plane.pictures)"))
    assert np.abs(thumbs(lab.root) - chosen).max() > 100
    title.filter(has_text="Your drawing " + ask(desk, "lab.view.plane.drawn['words']")).wait_for()
    wait_until(lambda: has_star(lab))

    alone, first = pad.ink(), mark(lab)
    pad.stroke(*BAR)
    wait_until(lambda: mark(lab) != first)
    assert pad.ink() > alone + 0.01 and "2 strokes" in pad.canvas.get_attribute("aria-label")
    pad.press("Undo")
    wait_until(lambda: mark(lab) == pytest.approx(first))
    assert pad.ink() == pytest.approx(alone)
    pad.press("Clear")
    lab.wait("d.yours === ''")
    wait_until(lambda: np.array_equal(thumbs(lab.root)[0], chosen[0]))
    assert title.inner_text().startswith("Chosen image") and ask(desk, "lab.view.plane.strokes") == []

    execute(desk, "lab.draw([[(0.3, 0.2), (0.7, 0.2), (0.45, 0.9)]])")
    wait_until(lambda: pad.ink() > 0.05)
    actions = "(nodes) => nodes.map((node) => getComputedStyle(node).touchAction)"
    assert lab.root.locator(".vk-plane, .vk-pad").evaluate_all(actions) == ["none", "none"]
    drag_finger(desk, *pad.client(*BAR))
    wait_until(lambda: ask(desk, "len(lab.view.plane.strokes)") == 2)


def test_a_pad_without_a_lab(desk):
    add_cell(desk, "pad = vaekit.DrawingPad(vaekit.VAE(hidden=64))\npad")
    pad = Drawing(desk, desk.locator(".vk-alone"), "pad.strokes")
    pad.stroke(*ONE)
    wait_until(lambda: ask(desk, "pad.words") != "")
    pad.root.locator("output").filter(has_text=ask(desk, "pad.words")).wait_for()
    x = ask(desk, "pad.image[0].mul(255).round().int().tolist()")
    wait_until(lambda: np.array_equal(thumbs(pad.root)[0], x))
    pad.press("Clear")
    pad.root.get_by_text("nothing drawn yet").wait_for()
