"""Lecture 00 as a learner meets it: run all cells, press play."""

import pytest
from jupyter import Lab, errors_in_cells, execute, pixels, run_all

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(server, open_page):
    with open_page(server, "00_start_here.ipynb") as page:
        run_all(page)
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="busy"]', state="attached")
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached", timeout=180_000)
        yield page


def test_all_cells_run_and_the_lab_is_there(page):
    assert errors_in_cells(page) == []
    page.locator(".vk-plane").scroll_into_view_if_needed()
    state = Lab(page).state()
    assert state["step"] == 400
    assert state["playing"] == "false"
    assert page.locator(".vk-plane").count() == 1
    assert page.problems == []


def test_play_paints_frames_and_moves_the_cloud(page):
    lab = Lab(page)
    lab.show()
    before, picture = lab.state(), pixels(lab.plane)
    lab.press("Play")
    after = lab.wait(f"d.step > {before['step'] + 100} && d.painted > {before['painted'] + 20}")
    lab.pause()
    assert after["frame"] >= before["frame"] + 5
    assert (after["spread"], after["sigma"]) != (before["spread"], before["sigma"])
    assert (pixels(lab.plane) != picture).any(axis=2).mean() > 0.05
    assert execute(page, "lab.steps_taken") == str(int(lab.state()["step"]))
    assert page.problems == []
