"""Two runs in lockstep, side by side: one pointer, one chosen image, knobs together or apart."""

import json

import numpy as np
import pytest
from jupyter import Lab, decoded_by_torch, execute, lab_as_new, pixels, wait_until

pytestmark = pytest.mark.browser

CELL = "import vaekit\n\nlab = vaekit.LatentLab(twin=True, hidden=100)\nlab.run(steps=50)\nlab"
# Back to how every test finds it: 300 steps old, prior off in the left run, β and the rate tied together.
AS_NEW = """
lab.pause()
for name, lock in lab.controls.locks.items():
    lock.value = name != "prior"
lab.set(beta=1.0, prior=True, lr=1e-3)
lab.set(side="left", prior=False)
lab.controls.more.value = False
lab.reset()
lab.engine.post(lambda: lab.view.choose(lab.engine, 0)).result()
lab.run(300)
"""
INK, BLUE = (27, 31, 36), (11, 87, 208)  # --vk-ink, --vk-blue by day
MOST = 2 / 255  # see test_live


@pytest.fixture
def twin(desk) -> Lab:
    ready = "d.step === 300 && r.step === 300 && d.decoderStep === 300 && r.decoderStep === 300 && r.beta === 1"
    with lab_as_new(desk, AS_NEW, ready) as lab:
        yield lab


def near(found: np.ndarray, colour: tuple[int, int, int], most: int = 40) -> np.ndarray:
    """Where pixels (..., 3 or 4) are about of that colour."""
    return (np.abs(found[..., :3].astype(int) - colour) < most).all(axis=-1)


def decoded(lab) -> list[np.ndarray]:
    """What both decoders show under the pointer."""
    return [pixels(lab.root.locator(".vk-decoded").nth(side))[..., 0] for side in (0, 1)]


def crosses(lab, z: tuple[float, float]) -> list[bool]:
    """Is the pointer's cross painted at z, in the left and in the right plane?"""
    return [bool(near(lab.ink_at(*lab.place(*z, side), side), BLUE).mean() > 0.4) for side in (0, 1)]


def settings(desk) -> list[dict]:
    return json.loads(execute(desk, "import json; print(json.dumps([dict(side.settings) for side in lab.sides]))"))


def test_two_planes_with_one_pointer(desk, twin):
    pictures = [pixels(twin.planes.nth(side)) for side in (0, 1)]
    for picture in pictures:
        assert len(np.unique(picture.reshape(-1, 4), axis=0)) > 200
    assert (pictures[0] != pictures[1]).any(axis=2).mean() > 0.05

    for side, goal in ((1, (1.5, 1.0)), (0, (-1.2, 0.8))):
        before = decoded(twin)
        desk.mouse.move(*twin.client(-1.0, -1.0, side))
        desk.mouse.down()
        desk.mouse.move(*twin.client(*goal, side), steps=5)
        desk.mouse.up()
        states = [twin.state(which) for which in (0, 1)]
        z = states[side]["z1"], states[side]["z2"]
        assert z == pytest.approx(goal, abs=0.05)
        assert (states[0]["z1"], states[0]["z2"]) == (states[1]["z1"], states[1]["z2"])
        wait_until(lambda: crosses(twin, z) == [True, True])  # noqa: B023
        after = decoded(twin)
        for which in (0, 1):
            assert (after[which] != before[which]).any()
            truth = decoded_by_torch(desk, [z], f"lab.sides[{which}].model")[0]
            assert np.abs(after[which] / 255 - truth).max() <= MOST
        assert np.abs(after[0].astype(int) - after[1]).mean() > 3, "the two decoders show the same image"


ALONE = """
import json, torch
frames = [side.last for side in lab.view.sides]
apart = torch.full((1000,), 9.0)
for frame in frames:
    mu = torch.tensor(frame.mu) / frame.extent
    apart = torch.minimum(apart, torch.cdist(mu, mu).fill_diagonal_(9).min(1).values)
    apart[mu.abs().max(1).values > 0.8] = 0
i = int(apart[1:].argmax()) + 1
print(json.dumps([i, *([f.mu[i].tolist(), f.std[i].tolist()] for f in frames)]))
"""


def test_an_image_clicked_in_one_is_found_in_the_other(desk, twin):
    index, *codes = json.loads(execute(desk, ALONE))

    def ringed() -> list[bool]:
        """Is the outline of 2σ painted around this image's code in both planes, to the upper right?"""
        found = []
        for side, (mu, std) in enumerate(codes):
            (x, y), scale = twin.place(*mu, side), twin.planes.nth(side).bounding_box()["width"] / 2
            dx, dy = [0.5**0.5 * max(2 * s * scale / twin.state(side)["extent"], 8) for s in std]
            found.append(bool(near(twin.ink_at(x + dx, y - dy, side), INK).any()))
        return found

    assert ringed() == [False, False]
    thumbs = twin.root.locator(".vk-thumb")
    desk.mouse.click(*twin.client(*codes[0][0], 0))
    wait_until(lambda: execute(desk, "[side.chosen for side in lab.view.sides]") == f"[{index}, {index}]")
    wait_until(lambda: ringed() == [True, True])
    image = np.array(json.loads(execute(desk, f"(lab.view.sides[1].images[{index}, 0] * 255).round().int().tolist()")))
    wait_until(lambda: np.array_equal(pixels(thumbs.first)[..., 0], image))
    for side, (mu, _) in enumerate(codes):
        mean = pixels(thumbs.nth(1 + 4 * side))[..., 0]  # x, then of each run x̂ at μ and three draws
        assert np.abs(mean / 255 - decoded_by_torch(desk, [mu], f"lab.sides[{side}].model")[0]).max() <= 2 * MOST


def test_knobs_apart_and_together(desk, twin):
    priors = twin.root.locator(".vk-controls button[title*='pull']")
    captions = twin.root.locator(".vk-side figcaption")
    priors.nth(0).click()
    twin.wait("d.beta === 1 && r.beta === 1")
    priors.nth(1).click()
    twin.wait("d.beta === 1 && r.beta === 0")
    wait_until(lambda: captions.all_inner_texts() == ["left: prior on, β = 1", "right: prior off"])
    assert [its["prior"] for its in settings(desk)] == [True, False]
    legend = twin.root.locator(".vk-legend").inner_text()
    assert "reconstruction, left" in legend and "KL, left" in legend
    assert [priors.nth(side).inner_text().strip() for side in (0, 1)] == ["Prior on", "Prior off"]
    priors.nth(1).click()
    twin.wait("r.beta === 1")

    # tied: turned in one, it turns in both
    twin.type("beta", "3", side=1)
    twin.wait("d.beta === 3 && r.beta === 3")
    twin.type("lr", "0.002")
    wait_until(lambda: [(its["beta"], its["lr"]) for its in settings(desk)] == [(3, 0.002)] * 2)
    assert [twin.box("beta", side).input_value() for side in (0, 1)] == ["3", "3"]
    lock = twin.root.locator(".vk-controls button[title^='Turn both']").nth(1)
    assert lock.inner_text().strip() == "β"
    lock.click()
    wait_until(lambda: execute(desk, "lab.controls.locks['beta'].value") == "False")
    twin.type("beta", "5", side=1)
    twin.wait("d.beta === 3 && r.beta === 5")
    # tied again: the right run takes the left one's value
    lock.click()
    twin.wait("d.beta === 3 && r.beta === 3")
    assert twin.box("beta", 1).input_value() == "3"

    twin.press("Play")
    twin.wait("d.step > 310 && d.step === r.step")
    priors.nth(0).click()
    twin.wait("d.beta === 0 && r.beta === 3")
    twin.press("Pause")
    wait_until(lambda: twin.marks().endswith(": prior off (left)"))


def test_every_control_says_whose_it_is(twin):
    for name in ("left", "right"):
        for role, count in (("slider", 1), ("textbox", 2)):  # β on a scale; β and the learning rate, typed
            assert twin.root.get_by_role(role, name=f"{name}: ").count() == count, (name, role)
        assert twin.root.get_by_role("application", name=f"{name}: The latent plane").count() == 1
        assert twin.root.get_by_role("img", name=f"{name}: The decoded image").count() == 1
        assert twin.root.locator(f".vk-controls button[title^='{name}: ']").count() == 1  # the prior's switch
    for tied in ("prior", "beta", "lr"):
        assert twin.root.locator(f'.vk-controls button[title^="Turn both runs\' {tied} together"]').count() == 1
