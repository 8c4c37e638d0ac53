"""More than two latents: bars, pairs and traversals. And a linear model: where the theory has its dimensions die."""

import numpy as np
import pytest
from jupyter import ask, pixels, wait_until

DEATHS = "theory.linear_vae(theory.eigenvalues(vaekit.mnist().images), 8, 0.5).deaths.tolist()"
WIDTHS = "(it) => [it, ...it.querySelectorAll('.vk-lab')].map((each) => each.scrollWidth - each.clientWidth)"
# of the β slider: how far the middle of its handle is from that of a mark, in px beyond the slider's own step
APART = """(slider, number) => {
    const middle = (it) => { const { left, right } = it.getBoundingClientRect(); return (left + right) / 2; };
    const [handle, mark] = [slider.querySelector(".noUi-handle"), slider.querySelectorAll(".vk-death")[number]];
    return Math.abs(middle(handle) - middle(mark)) - (0.03 / 4) * slider.querySelector(".noUi-base").clientWidth;
}"""


def is_shown(lab, pair: list[int]) -> None:
    """Wait until the plane shows this pair of dimensions, from 0, and their bars are pressed."""
    lab.wait(f"d.pair === '{pair[0]},{pair[1]}'")
    bars = lab.root.locator(".vk-bar").all()
    wait_until(lambda: [dim for dim, bar in enumerate(bars) if bar.get_attribute("aria-pressed") == "true"] == pair)


@pytest.mark.parametrize("desk", ["latent_dim=5, "], ids=["5"], indirect=True)
def test_bars_and_the_menu_choose_the_pair_and_traversals_stand_in_the_order_of_their_kl(desk, lab):
    kl = ask(desk, "lab.view.sides[0].meters.kl")
    order = sorted(range(5), key=lambda dim: -kl[dim])
    bars = lab.root.locator(".vk-bar")
    assert bars.count() == 5
    heights = [bar.locator("i").bounding_box()["height"] for bar in bars.all()]
    assert heights == pytest.approx([nats / max(kl) * max(heights) for nats in kl], abs=2.5)
    titles = [f"z{'₁₂₃₄₅'[dim]}: {nats:.2f} nats" for dim, nats in enumerate(kl)]
    assert [bar.get_attribute("title") for bar in bars.all()] == titles
    first = sorted(order[:2])
    is_shown(lab, first)
    other = next(dim for dim in range(5) if dim not in first)
    bars.nth(other).click()
    pair = sorted([first[1], other])
    is_shown(lab, pair)
    for label, pair in (("z1, z2", [0, 1]), ("most active", first)):
        lab.choose(label)
        is_shown(lab, pair)

    rows = lab.root.locator(".vk-traversals .vk-row").all()
    assert [row.locator("span").inner_text() for row in rows] == [f"z{'₁₂₃₄₅'[dim]}" for dim in order]
    canvas = rows[0].locator("canvas")
    assert np.abs(pixels(canvas.first).astype(int) - pixels(canvas.last)).mean() > 3


@pytest.mark.parametrize("desk", ["latent_dim=128, "], ids=["128"], indirect=True)
def test_128_dimensions_wrap(lab):
    wait_until(lambda: lab.root.locator(".vk-bar").count() == 128)
    assert max(lab.root.evaluate(WIDTHS)) <= 1


@pytest.mark.parametrize("desk", ["model=vaekit.LinearVAE(8), kind='linear', "], ids=["linear"], indirect=True)
def test_the_slider_is_marked_where_the_theory_has_dimensions_die(desk, lab):
    marks, slider = lab.root.locator(".vk-death"), lab.root.locator(".vk-beta")
    deaths = ask(desk, DEATHS, "from vaekit import theory")
    wait_until(lambda: marks.count() == 8)
    assert "direction 1 dies at β = " + f"{deaths[0]:.3g}" in marks.first.get_attribute("title")
    # they stand where the handle stands at that β
    for number in (0, 7):
        lab.type("β", f"{deaths[number]:.4g}")
        wait_until(lambda: slider.evaluate(APART, number) < 1)  # noqa: B023
    # with another reconstruction the theory has nothing to say
    lab.choose("BCE")
    lab.press("Step")
    marks.first.wait_for(state="detached")
    lab.choose("squared error, linear")
    lab.press("Step")
    wait_until(lambda: marks.count() == 8)
