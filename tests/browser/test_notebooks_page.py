"""Every lecture as a learner meets it: run all cells, look at the widgets, solve the exercises, restart the kernel."""

import re
from contextlib import suppress

import pytest
from jupyter import (
    REPOSITORY,
    Lab,
    add_cell,
    errors_in_cells,
    execute,
    pixels,
    restart,
    run_all,
    run_cell,
    show_cell,
    sources,
    wait_until,
    widget_cells,
)

pytestmark = pytest.mark.browser

NAMES = sorted(path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb"))
# What solves the exercises: the knob of 00, and in the others' gaps the solutions of the folded cells.
SOLVED = {
    "00": "lab.set(beta=12)\nlab.run(100)",
    "01": "squeeze = squeeze_solution",
    "02": "smile = solution",
    "03": "reconstruction, kl, loss = reconstruction_solution, kl_solution, loss_solution",
    "04": "completeness = solution",
    "05": "rate = solution",
    "06": "reparameterize = reparameterize_solution",
    "07": """
Encoder, Decoder, MyVAE = SolutionEncoder, SolutionDecoder, SolutionVAE
reparameterize, loss_of, step = solution_reparameterize, solution_loss_of, solution_step
""",
    "08": "iwae_bound = solution",
    "09": "mig_of = solution",
}
WIDGET = ".jp-OutputArea-output.lm-Panel > *"  # other outputs are no panels
MINUTES = 4  # for a notebook that takes one, beside whatever else runs


@pytest.fixture(scope="module", params=NAMES, ids=lambda name: name[:2])
def page(request, server, open_page):
    with open_page(server, request.param, width=1280, height=900) as page:
        page.lecture = request.param[:2]
        run_all(page)
        with suppress(RuntimeError):  # a cell that failed, which the first test names
            execute(page, "", 60 * MINUTES)  # answered when all cells are done: the kernel takes one after the other
        yield page


def test_all_cells_run(page):
    assert errors_in_cells(page) == []
    assert page.problems == []


def test_every_widget_is_painted(page):
    found = widget_cells(page)
    assert found
    for index in found:
        cell = show_cell(page, index)
        widget = cell.locator(WIDGET).first
        widget.wait_for(timeout=20_000)
        assert not re.search("Error displaying|Loading widget|Error creating", cell.inner_text())
        for canvas in cell.locator("canvas:visible").all():  # a pad is hidden until it is asked for
            wait_until(lambda canvas=canvas: pixels(canvas).reshape(-1, 4).std(axis=0).any())
        for image in cell.locator(f"{WIDGET} img").all():
            wait_until(lambda image=image: image.evaluate("(node) => node.complete && node.naturalWidth > 0"))
        box = widget.bounding_box()
        assert box["width"] > 100
        assert box["height"] > 20
    assert page.problems == []


@pytest.mark.parametrize("page", NAMES[:1], ids=["00"], indirect=True)
def test_play_paints_frames_and_moves_the_cloud(page):
    lab = Lab(page)
    lab.show()
    before, picture = lab.state(), pixels(lab.plane)
    assert before["step"] == 400
    assert before["playing"] == "false"
    lab.press("Play")
    after = lab.wait(f"d.step > {before['step'] + 100} && d.painted > {before['painted'] + 20}")
    lab.pause()
    assert after["frame"] >= before["frame"] + 5
    assert (after["spread"], after["sigma"]) != (before["spread"], before["sigma"])
    assert (pixels(lab.plane) != picture).any(axis=2).mean() > 0.05
    assert execute(page, "lab.steps_taken") == str(int(lab.state()["step"]))
    assert page.problems == []


def checks(page):
    """The exercises' cells that have a check: their places."""
    return [index for index, source in enumerate(sources(page)) if re.search(r"^check\(", source, re.MULTILINE)]


def press_check(page, index: int) -> str:
    """What is said under the buttons after a click."""
    cell = show_cell(page, index)
    said = cell.get_by_role("status")
    said.evaluate("(node) => node.replaceChildren()")
    cell.get_by_role("button", name="Check", exact=True).click()
    wait_until(lambda: said.inner_text().strip() not in ("", "…"), 60)
    return said.inner_text()


def test_the_checks_answer(page):
    found = checks(page)
    assert len(found) >= (page.lecture in SOLVED)
    for index in found:
        assert "not started yet" in press_check(page, index)
    execute(page, SOLVED.get(page.lecture, ""))
    for index in found:
        assert press_check(page, index).startswith("✓")
    assert page.problems == []


def test_predictions_outlive_the_kernel(page):
    cells = sources(page)
    asked = [index for index, source in enumerate(cells) if "= Prediction(" in source]
    assert asked
    show_cell(page, asked[0]).locator("textarea").fill("The cloud will <shrink>.")
    name = re.search(r"^(\w+) = Prediction\(", cells[asked[0]], re.MULTILINE)[1]
    key = re.search(r'Prediction\(\s*"([^"]+)"', cells[asked[0]])[1]
    kept = "from vaekit.exercises.predictions import kept_answers; print(kept_answers())"
    wait_until(lambda: f"'{key}': 'The cloud will <shrink>.'" in execute(page, kept))

    restart(page)
    execute(page, "from vaekit.exercises.predictions import Prediction")
    run_cell(page, asked[0])
    box = show_cell(page, asked[0]).locator("textarea")
    wait_until(lambda: box.input_value() == "The cloud will <shrink>.")
    assert any(f"{name}.shown_back" in source for source in cells)
    cell = show_cell(page, add_cell(page, f"{name}.shown_back"))
    wait_until(lambda: "You expected: “The cloud will <shrink>.”" in cell.inner_text())
    show_cell(page, asked[0]).locator("textarea").fill("It will grow.")
    cell = show_cell(page, len(cells))
    wait_until(lambda: "You expected: “It will grow.”" in cell.inner_text())
    assert page.problems == []
