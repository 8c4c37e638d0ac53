"""Two runs in lockstep, side by side: one pointer, one chosen image, knobs of each one's own."""

import numpy as np
import pytest
from jupyter import ask, thumbs, wait_until

pytestmark = pytest.mark.parametrize("desk", ["twin=True, "], ids=["twin"], indirect=True)


def test_two_planes_with_one_pointer_and_an_image_clicked_in_one_is_found_in_the_other(desk, lab):
    for name in ("left", "right"):
        for role, what in (("application", "The latent plane"), ("img", "The decoded image"), ("switch", "Prior")):
            assert lab.root.get_by_role(role, name=f"{name}: {what}").count() == 1
    for side, goal in ((1, (1.5, 1.0)), (0, (-1.2, 0.8))):
        state, other = lab.drag(*goal, side=side), lab.state(1 - side)
        assert (state["z1"], state["z2"]) == (other["z1"], other["z2"])
        assert np.abs(lab.decoded(0) - lab.decoded(1)).mean() > 3, "the two decoders show the same image"

    desk.mouse.click(*lab.client(*ask(desk, "lab.view.sides[0].last.mu[7].tolist()"), 0))
    wait_until(lambda: ask(desk, "lab.view.sides[0].chosen == lab.view.sides[1].chosen != 0"))
    image = ask(desk, "(lab.view.sides[1].images[lab.view.sides[1].chosen, 0] * 255).round().int().tolist()")
    wait_until(lambda: np.array_equal(thumbs(lab.root)[0], image))


def test_a_prior_of_each_and_a_beta_untied_are_turned_apart_captioned_and_marked(desk, lab):
    priors, captions = lab.priors, lab.root.locator(".vk-side figcaption")
    for side, condition in ((0, "d.beta === 1 && r.beta === 1"), (1, "d.beta === 1 && r.beta === 0")):
        priors.nth(side).click()
        lab.wait(condition)
    wait_until(lambda: captions.all_inner_texts() == ["left: prior on, β = 1", "right: prior off"])
    legend = lab.root.locator(".vk-legend").inner_text()
    assert "reconstruction, left" in legend and "KL, left" in legend
    assert [priors.nth(side).is_checked() for side in (0, 1)] == [True, False]
    lab.press("Step")
    lab.wait("d.step === 301 && r.step === 301")
    wait_until(lambda: lab.marks() == "301: prior on (left); 301: prior off (right)")

    priors.nth(1).click()
    lock = lab.root.locator(".vk-controls button[title^='Turn both']").nth(1)
    assert lock.inner_text().strip() == "β"
    lock.click()
    wait_until(lambda: not ask(desk, "lab.controls.locks['beta'].value"))
    lab.type("β", "5", side=1)
    lab.wait("d.beta === 1 && r.beta === 5")
