"""A run as one HTML file, and the book: opened from the disk with the network cut, in a window and on a phone."""

import numpy as np
import pytest
import torch
from jupyter import ARTIFACTS, PHONE, WINDOW, Lab, drag_finger, offline_page, pixels, thumbs, wait_until
from test_looks import flaws

import vaekit


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


def test_where_no_script_runs_there_are_a_line_and_a_picture(chromium, exports):
    for able, line in ((False, "no scripts run"), (True, "too old for this page")):
        with chromium.new_page(java_script_enabled=able) as page:
            page.add_init_script("delete window.DecompressionStream")
            page.goto(exports[0][1].as_uri())
            page.locator("#picture").wait_for()
            assert line in page.inner_text("body") and page.locator("#picture").bounding_box()["width"] > 500


def check_decoded(lab, made, state: dict) -> None:
    """What lies under the pointer is decoded in the page, about as torch does."""
    for number, side in enumerate(made.sides):
        with torch.no_grad():
            truth = torch.sigmoid(side.model.decode(torch.tensor([[state["z1"], state["z2"]]])))[0, 0].numpy()
        off = np.abs(lab.decoded(number) / 255 - truth)
        assert off.max() <= 4 / 255 and off.mean() <= 1 / 255  # of 8-bit weights, in whole grey levels


@pytest.mark.parametrize("options", [WINDOW, PHONE], ids=["window", "phone"])
@pytest.mark.parametrize("runs", [1, 2], ids=["run", "twin"])
def test_it_fits_decodes_under_mouse_or_finger_and_is_looked_back_on(chromium, exports, runs, options):
    made, path = exports[runs - 1]
    with offline_page(chromium, path, **options) as page:
        lab = Lab(page, host="main")
        assert lab.planes.count() == runs and pixels(lab.plane)[..., :3].mean() > 150
        lab.wait("[d, r].every((it) => it.step === 600 && it.decoderStep === 600 || it.step === undefined)")
        assert page.title() == lab.root.locator("h1").inner_text() and f"{made.steps_taken:,} steps" in page.title()
        shown = lab.root.locator(".vk-meters > div", has_text="mean σ").locator("b").all_inner_texts()
        assert [float(text) for text in shown] == pytest.approx([it.measured.mean_std for it in made.sides], abs=0.001)
        width = options["viewport"]["width"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width and flaws(lab) == {}
        page.screenshot(path=ARTIFACTS / f"export-{width}-{runs}.png", full_page=True)
        if options is PHONE:
            assert lab.plane.bounding_box()["width"] > 300
            (x0, y), (x1, _) = lab.client(-1.0, 1.2), lab.client(1.4, 1.2)
            page.touchscreen.tap(x0, y)
            check_decoded(lab, made, lab.wait("d.z2 > 1"))
            drag_finger(page, *((x, y) for x in np.linspace(x0, x1, 11).tolist()))
            check_decoded(lab, made, lab.wait("d.z1 > 1.2"))
        else:
            check_decoded(lab, made, lab.drag(0.9, -1.1, side=runs - 1))
        if runs == 2:
            left, right = lab.state(0), lab.state(1)
            assert (left["beta"], right["beta"]) == (0, 1) and right["sigma"] > 3 * left["sigma"]
        slider = lab.root.locator(".vk-way")
        box, press = slider.bounding_box(), slider.tap if options is PHONE else slider.click
        press(position={"x": 0.3 * box["width"], "y": box["height"] / 2})
        lab.wait("d.scrub !== '' && d.scrub === d.step && d.step < 360 && (r.step ?? d.step) === d.step")


def test_a_run_in_the_dark_a_click_the_keys_that_are_left_and_the_way_back(chromium, exports):
    made, path = exports[0]
    with offline_page(chromium, path, color_scheme="dark", **WINDOW) as page:
        lab = Lab(page, host="main")
        first = lab.wait("d.step === 600 && d.decoderStep === 600")
        assert pixels(lab.plane)[..., :3].mean() < 110
        assert lab.marks() == "301: prior off"

        # what was drawn is in view until a click chooses an image: x is the very one
        title = lab.root.get_by_text("Chosen image", exact=True)
        assert lab.root.get_by_text("Your drawing").is_visible() and not title.count()
        page.mouse.click(*lab.client(*made.view.sides[0].last.mu[7].tolist()))
        images = (made.view.sides[0].images[:400, 0] * 255).round().numpy()
        wait_until(lambda: (images == thumbs(lab.root)[0]).all((1, 2)).any())
        assert title.is_visible() and lab.root.locator(".vk-words").inner_text() == ""

        page.keyboard.press("?")
        assert lab.root.get_by_role("dialog").inner_text().split() == ["F", "full", "screen", "?", "this", "list"]
        page.keyboard.press("Escape")

        picture, curves = lab.decoded(), pixels(lab.curves)
        lab.look_back(400)
        then = lab.wait("d.scrub !== '' && d.scrub === d.step && d.step > 100 && d.step < 360 && d.beta === 1")
        assert then["step"] in [kept.step for kept in made.view.trail.frames] and then["decoderStep"] < 600
        lab.wait(f"d.sigma > {3 * first['sigma']}")
        assert (lab.decoded() != picture).any()
        wait_until(lambda: (pixels(lab.curves) != curves).any())
        lab.look_back(1000)
        lab.wait("d.scrub === '' && d.step === 600 && d.decoderStep === 600")
        wait_until(lambda: np.array_equal(pixels(lab.curves), curves))


@pytest.mark.parametrize(("scheme", "options"), [("light", WINDOW), ("dark", PHONE)], ids=["window", "phone"])
def test_a_lecture_in_the_book_has_its_formulas_and_its_run(chromium, book, options, scheme):
    path = book / "notebooks" / "01_first.html"
    with offline_page(chromium, path, color_scheme=scheme, **options) as page:
        page.locator("mjx-container").first.wait_for()
        assert page.locator("mjx-merror").count() == 0
        code = page.locator("details:has(> summary:has-text('Solution'))")
        assert not code.locator("pre").is_visible()
        code.locator("summary").click()
        assert code.locator("pre").is_visible()

        frame, run = page.locator("iframe.live-run"), page.frame_locator("iframe.live-run")
        frame.scroll_into_view_if_needed()
        run.locator(".vk-back output", has_text="step 40").wait_for()  # as the lecture leaves the lab
        body = run.locator("body")  # nothing to scroll within
        wait_until(lambda: abs(frame.bounding_box()["height"] - body.evaluate("body => body.scrollHeight")) < 30)
        assert (run.locator(".vk-lab.vk-dark").count() > 0) == (scheme == "dark")
        run.locator(".vk-way").fill("1000")
        run.locator(".vk-back output", has_text="now").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= options["viewport"]["width"]


def test_a_word_is_found_in_the_book_without_a_network(chromium, book):
    with offline_page(chromium, book / "search.html", "?q=ellipse", **WINDOW) as page:
        page.locator("#search-results a", has_text="01 · First").first.click()
        page.get_by_role("heading", name="First").wait_for()
