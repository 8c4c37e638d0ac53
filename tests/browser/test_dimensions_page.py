"""More than two latents: bars, pairs and traversals. And a linear model: where the theory has its dimensions die."""

import math

import numpy as np
import pytest
from jupyter import Lab, add_cell, ask, execute, pixels, set_cells, wait_until

pytestmark = pytest.mark.browser

CELL = "import vaekit\n\nlab = vaekit.LatentLab(latent_dim=5, hidden=64)\nlab.run(steps=300)\nlab"


@pytest.fixture(scope="module")
def five(desk) -> Lab:
    five = Lab(desk)
    five.show()
    five.wait("d.step === 300 && d.decoderStep === 300")
    return five


@pytest.fixture(autouse=True)
def console(desk):
    desk.problems.clear()
    yield
    set_cells(desk)
    assert desk.problems == []


def shown(lab) -> list[int]:
    """The pair of dimensions in the plane, from 0."""
    return [int(dim) for dim in lab.state()["pair"].split(",")]


def pressed(lab) -> list[int]:
    bars = lab.root.locator(".vk-bar").all()
    return [dim for dim, bar in enumerate(bars) if bar.get_attribute("aria-pressed") == "true"]


def is_shown(lab, pair: list[int]) -> None:
    """Wait until the plane shows this pair of dimensions, and their bars are pressed."""
    wait_until(lambda: shown(lab) == pair == pressed(lab))


def test_bars_and_the_menu_choose_the_pair_and_traversals_stand_in_the_order_of_their_kl(desk, five):
    kl = ask(desk, "lab.view.sides[0].meters.kl")
    bars = five.root.locator(".vk-bar")
    assert bars.count() == 5
    heights = [bar.locator("i").bounding_box()["height"] for bar in bars.all()]
    assert heights == pytest.approx([nats / max(kl) * max(heights) for nats in kl], abs=2.5)
    titles = [f"z{'₁₂₃₄₅'[dim]}: {nats:.2f} nats" for dim, nats in enumerate(kl)]
    assert [bar.get_attribute("title") for bar in bars.all()] == titles
    first = sorted(sorted(range(5), key=lambda dim: -kl[dim])[:2])
    is_shown(five, first)
    menu = five.root.locator("select", has=desk.locator('option:text-is("most active")'))
    other = next(dim for dim in range(5) if dim not in first)
    bars.nth(other).click()
    pair = sorted([first[1], other])
    is_shown(five, pair)
    chosen = menu.evaluate("(it) => it.selectedOptions[0].text").replace("\xa0", " ")
    assert chosen == f"z{pair[0] + 1}, z{pair[1] + 1}"
    five.press("More")
    for label, pair in (("z1, z2", [0, 1]), ("most active", first)):
        menu.select_option(label=label)
        is_shown(five, pair)
    five.press("More")

    rows = five.root.locator(".vk-traversals .vk-row").all()
    names = [f"z{'₁₂₃₄₅'[dim]}" for dim in sorted(range(5), key=lambda dim: -kl[dim])]
    assert [row.locator("span").inner_text() for row in rows] == names
    canvas = rows[0].locator("canvas")
    assert np.abs(pixels(canvas.first).astype(int) - pixels(canvas.last)).mean() > 3


WIDTHS = "(it) => [it, ...it.querySelectorAll('.vk-lab')].map((each) => each.scrollWidth - each.clientWidth)"


def test_128_dimensions_wrap(desk, five):
    add_cell(desk, "many = vaekit.LatentLab(latent_dim=128, hidden=16)\nmany")
    many = Lab(desk, 1)
    many.show()
    wait_until(lambda: many.root.locator(".vk-bar").count() == 128)
    assert max(many.root.evaluate(WIDTHS)) <= 1
    execute(desk, "many.engine.close()")


LINEAR = """\
import torch
first = torch.Generator().manual_seed(0)
linear = vaekit.LatentLab(model=vaekit.LinearVAE(8, init_generator=first), kind="linear").run(20)
linear"""
DEATHS = "theory.linear_vae(theory.eigenvalues(vaekit.mnist().images), 8, 0.5).deaths.tolist()"
# of the β slider: the middle of its handle and of each mark, in px
PLACES = """(slider) => {
    const middle = (it) => { const { left, right } = it.getBoundingClientRect(); return (left + right) / 2; };
    return [middle(slider.querySelector(".noUi-handle")), [...slider.querySelectorAll(".vk-death")].map(middle)];
}"""


def test_the_slider_is_marked_where_the_theory_has_dimensions_die(desk, five):
    lab = Lab(desk, add_cell(desk, LINEAR) - 1)
    lab.show()
    marks, slider = lab.root.locator(".vk-death"), lab.root.locator(".vk-beta")
    deaths = ask(desk, DEATHS, "from vaekit import theory")
    wait_until(lambda: marks.count() == 8)
    left = [float(style.split("left: ")[1].split("%")[0]) for style in marks.evaluate_all(STYLES)]
    assert left == pytest.approx([100 * (math.log10(beta) + 2) / 4 for beta in deaths], abs=0.01)
    assert "direction 1 dies at β = " + f"{deaths[0]:.3g}" in marks.first.get_attribute("title")
    assert five.root.locator(".vk-death").count() == 0
    # they stand where the handle stands at that β, but for the slider's own places
    width = slider.locator(".noUi-base").bounding_box()["width"]
    for number in (0, 7):
        lab.type("β", f"{deaths[number]:.4g}")
        wait_until(lambda: abs(handle_and_mark(slider, number)) < 0.03 / 4 * width + 1)  # noqa: B023
    # with another reconstruction the theory has nothing to say
    lab.choose("BCE")
    lab.press("Step")
    marks.first.wait_for(state="detached")
    lab.choose("squared error, linear")
    lab.press("Step")
    wait_until(lambda: marks.count() == 8)
    execute(desk, "linear.engine.close()")


STYLES = "(nodes) => nodes.map((it) => it.getAttribute('style'))"


def handle_and_mark(slider, number: int) -> float:
    handle, marks = slider.evaluate(PLACES)
    return handle - marks[number]
