"""The code turned in the page, and the KL's two parts under its curve."""

import numpy as np
import pytest
from jupyter import ask, decoded_by_torch, execute, pixels, wait_until

pytestmark = pytest.mark.browser

TURNED = "lab.view.plane.turn"
# Where image 7 lay, where it lies in the plane by now, and which image is nearest to that.
PLACE = """
import numpy as np
from vaekit.lab.turn import Turn
lab.engine.post(lambda: None).result()  # what was turned is shown
mu, turn = lab.view.sides[0].last.mu, Turn((0, 1), lab.view.plane.turn).matrix
z, there = mu[7], turn @ mu[7]
nearest = int(np.hypot(*(mu @ turn.T - there).T).argmin())
"""


def turn_by_keys(desk, lab, times: int, key: str = "ArrowRight") -> None:
    slider = lab.in_sight(lab.root.locator(".vk-turn [role=slider]"))
    slider.wait_for()
    slider.focus()
    for _ in range(times):
        desk.keyboard.press(key)


def test_the_cloud_is_turned_and_what_an_image_is_decoded_to_is_not(desk, lab):
    before = pixels(lab.plane)
    turn_by_keys(desk, lab, 40)
    wait_until(lambda: ask(desk, TURNED) == pytest.approx(40))
    lab.wait("d.turn > 39.9 && d.turn < 40.1")
    assert (pixels(lab.plane) != before).mean() > 0.05
    z, there, nearest = ask(desk, "[z.tolist(), there.tolist(), nearest]", PLACE)
    lab.rest()
    state = lab.drag(*there)
    angle = np.radians(40)
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ [state["z1"], state["z2"]]
    assert np.abs(back - z).max() < 0.06  # a mouse goes by whole pixels
    assert np.abs(lab.decoded() / 255 - decoded_by_torch(desk, [tuple(back)])[0]).max() < 0.01
    # a click finds the image where it lies now
    desk.mouse.click(*lab.client(*there))
    wait_until(lambda: ask(desk, "lab.view.plane.chosen") == nearest)
    turn_by_keys(desk, lab, 50, "ArrowLeft")
    lab.wait("d.turn === 0")
    execute(desk, "lab.turn_code(90)")
    lab.wait("d.turn === 90")
    assert lab.root.locator(".vk-turn .widget-readout").inner_text() == "90"


def test_bands_under_the_kl_or_a_word_why_there_are_none(desk, lab):
    legend, plain = lab.root.locator(".vk-legend"), pixels(lab.curves)
    assert "I(x; z)" not in legend.inner_text()
    lab.in_sight(lab.root.get_by_label("q(z)")).check()
    parts = ask(desk, "[lab.measured.information, lab.measured.aggregated_kl]")
    for name, nats in zip(("I(x; z)", "KL(q(z) ‖ p(z))"), parts, strict=True):
        wait_until(lambda: f"{name} {nats:.1f}" in legend.inner_text())  # noqa: B023
    # 0.01 without what fills the bands; 0.07 where they know the first and the last step only, on a fast machine
    wait_until(lambda: (pixels(lab.curves) != plain).mean() > 0.04)
    execute(desk, "lab.set(prior=False); lab.run(400)")
    why = "I(x; z) is near ln "
    wait_until(lambda: why in lab.curves.get_attribute("aria-label"))
    lab.root.get_by_label("q(z)").uncheck()
    wait_until(lambda: why not in lab.curves.get_attribute("aria-label"))
    assert "I(x; z)" not in legend.inner_text()
