"""A run as one HTML file: opened from the disk with the network cut, in a window and on a phone."""

import numpy as np
import pytest
import torch
from jupyter import ARTIFACTS, PHONE, WINDOW, Lab, fingers, pixels, wait_until

import vaekit

pytestmark = pytest.mark.browser

# The file holds 8-bit weights: a grey level or two more than the float16 of the live page.
MOST, MEAN = 4 / 255, 1 / 255


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> list[tuple]:
    """(the lab, its file) of a run, 300 steps with a prior that pulls, 300 without, and of a twin."""
    labs = [vaekit.LatentLab(twin=twin, hidden=64, threads=1) for twin in (False, True)]
    for part in range(6):  # in parts, so that there is a trail to look back on
        labs[0].set(prior=part < 3)
        for lab in labs:
            lab.run(100)
    labs[0].draw([[(0.5, 0.1), (0.5, 0.9)]])
    folder = tmp_path_factory.mktemp("export")
    yield [(lab, lab.export_html(folder / f"{len(lab.sides)}.html")) for lab in labs]
    for lab in labs:
        lab.engine.close()


class Still(Lab):
    """The lab in an exported file."""

    def __init__(self, page):
        super().__init__(page)
        self.root = page.locator("main")
        self.planes, self.curves = page.locator(".vk-plane"), page.locator(".vk-curves")
        self.plane, self.verdict = self.planes.first, page.locator(".vk-verdict")


def test_where_no_script_runs_there_are_a_line_and_a_picture(chromium, exports):
    for able, line in ((False, "no scripts run"), (True, "too old for this page")):
        page = chromium.new_context(java_script_enabled=able).new_page()
        page.add_init_script("delete window.DecompressionStream")
        page.goto(exports[0][1].as_uri())
        page.locator("#picture").wait_for()
        assert line in page.inner_text("body") and page.locator("#picture").bounding_box()["width"] > 500
        page.context.close()


def check_decoded(lab, state: dict, *models) -> None:
    """What lies under the pointer is decoded in the page, about as torch does."""
    for side, model in enumerate(models):
        with torch.no_grad():
            truth = torch.sigmoid(model.decode(torch.tensor([[state["z1"], state["z2"]]])))[0, 0].numpy()
        off = np.abs(lab.decoded(side) / 255 - truth)
        assert off.max() <= MOST and off.mean() <= MEAN


def check_page(lab, made) -> None:
    """The title and the meters are the lab's; nothing sticks out to the right or makes the page scroll sideways."""
    page = lab.page
    assert page.title() == lab.root.locator("h1").inner_text() and f"{made.steps_taken:,} steps" in page.title()
    for number, side in enumerate(made.sides):
        assert lab.meters()["mean σ"][number] == pytest.approx(side.measured.mean_std, abs=0.001)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    out = """(width) => [...document.querySelectorAll("main *")].filter((it) => it.clientWidth > 1)
        .filter((it) => it.getBoundingClientRect().right > width + 1).map((it) => it.className || it.tagName)"""
    assert page.evaluate(out, page.viewport_size["width"]) == []
    page.screenshot(path=ARTIFACTS / f"export-{page.viewport_size['width']}-{len(made.sides)}.png", full_page=True)


def test_a_run_in_a_window(opened, exports):
    made, path = exports[0]
    with opened(path, color_scheme="dark", **WINDOW) as page:
        lab = Still(page)
        first = lab.wait("d.step === 600 && d.decoderStep === 600")
        check_page(lab, made)
        assert pixels(lab.plane)[..., :3].mean() < 110
        assert lab.marks() == "301: prior off"
        check_decoded(lab, lab.drag(-1.5, 0.9), made.model)

        # what was drawn is in view until a click chooses an image: x is the very one
        title = lab.root.get_by_text("Chosen image", exact=True)
        assert lab.root.get_by_text("Your drawing").is_visible() and not title.count()
        page.mouse.click(*lab.client(*made.view.sides[0].last.mu[7].tolist()))
        images = (made.view.sides[0].images[:400, 0] * 255).round().numpy()
        wait_until(lambda: (images == lab.thumb(0)).all((1, 2)).any())
        assert title.is_visible() and lab.root.locator(".vk-words").inner_text() == ""

        # the keys that are left, and no others
        page.keyboard.press("?")
        assert lab.root.get_by_role("dialog").inner_text().split() == ["F", "full", "screen", "?", "this", "list"]
        page.keyboard.press("Escape")

        # the way back
        picture, curves = lab.decoded(), pixels(lab.curves)
        lab.look_back(400)
        then = lab.wait("d.scrub !== '' && d.scrub === d.step && d.step > 100 && d.step < 360 && d.beta === 1")
        assert then["step"] in [kept.step for kept in made.view.trail.frames] and then["decoderStep"] < 600
        wait_until(lambda: lab.state()["sigma"] > 3 * first["sigma"])
        assert (lab.decoded() != picture).any()
        wait_until(lambda: (pixels(lab.curves) != curves).any())
        lab.look_back(1000)
        lab.wait("d.scrub === '' && d.step === 600 && d.decoderStep === 600")
        wait_until(lambda: np.array_equal(pixels(lab.curves), curves))


def test_a_run_on_a_phone(opened, exports):
    made, path = exports[0]
    with opened(path, **PHONE) as page:
        lab = Still(page)
        lab.wait("d.step === 600 && d.decoderStep === 600")
        check_page(lab, made)
        assert lab.plane.bounding_box()["width"] > 300
        page.touchscreen.tap(*lab.client(-1.0, 1.2))
        check_decoded(lab, lab.wait("d.z2 > 1"), made.model)
        touch_across(page, lab.client(-1.0, 1.2), lab.client(1.4, 1.2))
        check_decoded(lab, lab.wait("d.z1 > 1.2"), made.model)
        slider = lab.root.locator(".vk-way")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
        lab.wait("d.scrub !== '' && d.scrub === d.step && d.step < 360")


def touch_across(page, start, end) -> None:
    """One finger from `start` to `end`."""
    touch = fingers(page)
    touch("Start", start)
    for place in np.linspace(start, end, 11)[1:].tolist():
        touch("Move", place)
    touch("End")


@pytest.mark.parametrize("options", [WINDOW, PHONE], ids=["window", "phone"])
def test_a_twin(opened, exports, options):
    made, path = exports[1]
    with opened(path, **options) as page:
        lab = Still(page)
        assert pixels(lab.plane)[..., :3].mean() > 150
        lab.wait("[d, r].every((it) => it.step === 600 && it.decoderStep === 600)")
        lab.wait("d.beta === 0 && r.beta === 1")
        check_page(lab, made)
        assert lab.planes.count() == 2
        assert lab.state(1)["sigma"] > 3 * lab.state(0)["sigma"]
        check_decoded(lab, lab.drag(0.9, -1.1, side=1), *(side.model for side in made.sides))
        assert np.abs(lab.decoded(0).astype(int) - lab.decoded(1)).mean() > 3
        lab.look_back(250)
        lab.wait("d.scrub !== '' && d.step === d.scrub && r.step === d.scrub && d.step < 400")
