"""Two runs in lockstep, side by side: one pointer, one chosen image, knobs together or apart."""

import numpy as np
import pytest
from jupyter import MOST, ask, decoded_by_torch, wait_until

pytestmark = pytest.mark.browser

CELL = "import vaekit\n\nlab = vaekit.LatentLab(twin=True, hidden=64, batch_size=48)\nlab.run(steps=50)\nlab"
INK, BLUE = (27, 31, 36), (11, 87, 208)  # --vk-ink, --vk-blue by day


def near(found: np.ndarray, colour: tuple[int, int, int], most: int = 40) -> np.ndarray:
    """Where pixels (..., 3 or 4) are about of that colour."""
    return (np.abs(found[..., :3].astype(int) - colour) < most).all(axis=-1)


# An image whose code has others far from it in both planes; and its μ and σ in each.
ALONE = """
import torch
frames = [side.last for side in lab.view.sides]
apart = torch.full((1000,), 9.0)
for frame in frames:
    mu = torch.tensor(frame.mu) / frame.extent
    apart = torch.minimum(apart, torch.cdist(mu, mu).fill_diagonal_(9).min(1).values)
    apart[mu.abs().max(1).values > 0.8] = 0
i = int(apart[1:].argmax()) + 1
"""


def crosses(lab, z: tuple[float, float]) -> list[bool]:
    """Is the pointer's cross painted at z, in the left and in the right plane?"""
    return [bool(near(lab.ink_at(*lab.place(*z, side), side), BLUE).mean() > 0.4) for side in (0, 1)]


def check_decoded(desk, twin, z: tuple[float, float]) -> None:
    """Both planes decode what lies under the one pointer, each by its own model."""
    for side in (0, 1):
        truth = decoded_by_torch(desk, [z], f"lab.sides[{side}].model")[0]
        assert np.abs(twin.decoded(side) / 255 - truth).max() <= MOST


def test_two_planes_with_one_pointer_and_an_image_clicked_in_one_is_found_in_the_other(desk, lab):
    for name in ("left", "right"):
        assert lab.root.get_by_role("application", name=f"{name}: The latent plane").count() == 1
        assert lab.root.get_by_role("img", name=f"{name}: The decoded image").count() == 1
        assert lab.root.get_by_role("switch", name=f"{name}: Prior").count() == 1
    for side, goal in ((1, (1.5, 1.0)), (0, (-1.2, 0.8))):
        state, other = lab.drag(*goal, side=side), lab.state(1 - side)
        z = state["z1"], state["z2"]
        assert z == (other["z1"], other["z2"])
        wait_until(lambda: crosses(lab, z) == [True, True])  # noqa: B023
        check_decoded(desk, lab, z)
        assert np.abs(lab.decoded(0).astype(int) - lab.decoded(1)).mean() > 3, "the two decoders show the same image"

    index, *codes = ask(desk, "[i, *([f.mu[i].tolist(), f.std[i].tolist()] for f in frames)]", ALONE)

    def ringed() -> list[bool]:
        """Is the outline of 2σ painted around this image's code in both planes, to the upper right?"""
        found = []
        for side, (mu, std) in enumerate(codes):
            (x, y), scale = lab.place(*mu, side), lab.planes.nth(side).bounding_box()["width"] / 2
            dx, dy = [0.5**0.5 * max(2 * s * scale / lab.state(side)["extent"], 8) for s in std]
            found.append(bool(near(lab.ink_at(x + dx, y - dy, side), INK).any()))
        return found

    assert ringed() == [False, False]
    desk.mouse.click(*lab.client(*codes[0][0], 0))
    wait_until(lambda: ask(desk, "[side.chosen for side in lab.view.sides]") == [index, index])
    wait_until(lambda: ringed() == [True, True])
    image = ask(desk, f"(lab.view.sides[1].images[{index}, 0] * 255).round().int().tolist()")
    wait_until(lambda: np.array_equal(lab.thumb(0), image))
    for side, (mu, _) in enumerate(codes):
        truth = decoded_by_torch(desk, [mu], f"lab.sides[{side}].model")[0]
        wait_until(lambda: np.abs(lab.thumb(1 + side) / 255 - truth).max() <= 2 * MOST)  # noqa: B023
        assert len({lab.thumb(i).tobytes() for i in range(3 + 3 * side, 6 + 3 * side)}) == 3


def test_knobs_apart_and_together(desk, lab):
    priors, captions = lab.priors, lab.root.locator(".vk-side figcaption")
    for side, condition in ((0, "d.beta === 1 && r.beta === 1"), (1, "d.beta === 1 && r.beta === 0")):
        priors.nth(side).click()
        lab.wait(condition)
    wait_until(lambda: captions.all_inner_texts() == ["left: prior on, β = 1", "right: prior off"])
    legend = lab.root.locator(".vk-legend").inner_text()
    assert "reconstruction, left" in legend and "KL, left" in legend
    assert [priors.nth(side).is_checked() for side in (0, 1)] == [True, False]
    priors.nth(1).click()

    # tied: turned in one, it turns in both
    lab.type("β", "3", side=1)
    lab.wait("d.beta === 3 && r.beta === 3")
    wait_until(lambda: [lab.box("β", side).input_value() for side in (0, 1)] == ["3", "3"])
    lock = lab.root.locator(".vk-controls button[title^='Turn both']").nth(1)
    assert lock.inner_text().strip() == "β"
    lock.click()
    wait_until(lambda: not ask(desk, "lab.controls.locks['beta'].value"))
    lab.type("β", "5", side=1)
    lab.wait("d.beta === 3 && r.beta === 5")
    # tied again: the right run takes the left one's value
    lock.click()
    lab.wait("d.beta === 3 && r.beta === 3")
    wait_until(lambda: lab.box("β", 1).input_value() == "3")

    lab.press("Play")
    lab.wait("d.step > 310 && d.step === r.step")
    priors.nth(0).click()
    lab.wait("d.beta === 0 && r.beta === 3")
    lab.press("Pause")
    wait_until(lambda: lab.marks().endswith(": prior off (left)"))
