"""Two Gaussians in the page: the sliders by mouse and key, the numbers beside them, and where it goes wrong."""

import pytest
from jupyter import ask, execute, wait_until

pytestmark = pytest.mark.browser

CELL = """
from torch.distributions import kl_divergence
from vaekit.lab.gaussians import TwoGaussians

def kl_of_two(q, p):
    if broken:
        raise RuntimeError("no, not this\\nand more")
    return kl_divergence(q, p).item()

broken = False
two = TwoGaussians(exact=kl_of_two, estimate=lambda q, p: (kl_divergence(q, p).item(), 0.01))
two
"""


def test_the_sliders_move_the_curves_and_the_numbers_are_theirs(desk):
    root = desk.locator(".jp-OutputArea-output .widget-vbox").first
    sliders, words, picture = root.get_by_role("slider"), root.locator(".widget-html-content"), root.locator("img")

    def answered(*at: float) -> None:
        """Wait until the kernel has μ and σ of q and of p, and the page what it says of them."""
        wait_until(lambda: ask(desk, "[*two.q, *two.p]") == pytest.approx(at))
        wait_until(lambda: words.inner_text() == execute(desk, "print('\\n'.join(two.lines))"))

    answered(1, 0.5, 0, 1)
    names = root.locator(".widget-slider .widget-label").all_inner_texts()
    assert names == ["μ of q", "σ of q", "μ of p", "σ of p"]
    before = picture.get_attribute("src")
    sliders.nth(0).focus()
    desk.keyboard.press("ArrowLeft")
    answered(0.95, 0.5, 0, 1)
    wait_until(lambda: picture.get_attribute("src") != before)
    assert picture.evaluate("(it) => it.naturalWidth") > 500
    box = sliders.nth(3).bounding_box()  # σ of p, with the mouse as far as it goes
    desk.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    desk.mouse.down()
    desk.mouse.move(box["x"] + 400, box["y"], steps=5)
    desk.mouse.up()
    answered(0.95, 0.5, 0, 3)

    execute(desk, "broken = True; two.p = (3, 0.1)")
    answered(0.95, 0.5, 3, 0.1)
    assert "kl_of_two(q, p) does not work yet (RuntimeError: no, not this)." in words.inner_text()
    execute(desk, "broken = False; two.p = (3, 3)")
    answered(0.95, 0.5, 3, 3)
    assert desk.problems == []
