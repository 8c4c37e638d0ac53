"""Lectures as a learner meets them: run cells, look at the widgets, solve the exercises, restart the kernel."""

import re
from contextlib import suppress

import pytest
from jupyter import REPOSITORY, add_cell, cells, execute, pixels, restart, run_all, run_cell, show_cell, wait_until

pytestmark = pytest.mark.browser

NAMES = sorted(path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb"))
MARK = "# NBVAL_CHECK_OUTPUT"  # what such cells print is the same everywhere
FIRST = "00_start_here.ipynb"  # the others before a release: `make test` runs them without a browser
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


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name == FIRST else pytest.mark.release) for name in NAMES],
    ids=lambda name: name[:2],
)
def page(request, open_page):
    with open_page(request.param, width=1280, height=900) as page:
        page.lecture = request.param[:2]
        page.stored = cells(page)
        run_all(page)
        with suppress(RuntimeError):  # a cell that failed, which the first test names
            execute(page, "", 60 * MINUTES)  # answered when all cells are done: the kernel takes one after the other
        yield page


def outputs(cell: dict, key: str, *kinds: str) -> list:
    return [it.get(key) for it in cell.get("outputs", ()) if it["output_type"] in kinds]


def test_the_cells_run_and_print_what_is_stored(page):
    now = cells(page)
    assert [error for cell in now for error in outputs(cell, "evalue", "error")] == []
    printed = [outputs(cell, "text", "stream") for cell in now if MARK in cell["source"]]
    stored = [outputs(cell, "text", "stream") for cell in page.stored if MARK in cell["source"]]
    assert printed == stored != []
    assert page.problems == []


def test_every_widget_is_painted(page):
    data = [[list(it or ()) for it in outputs(cell, "data", "display_data", "execute_result")] for cell in cells(page)]
    found = [index for index, kinds in enumerate(data) if "application/vnd.jupyter.widget-view+json" in sum(kinds, [])]
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
        assert box["width"] > 100 and box["height"] > 20
    assert page.problems == []


def sources(page) -> list[str]:
    return [cell["source"] for cell in cells(page)]


def press_check(page, index: int) -> str:
    """What is said under the buttons after a click."""
    cell = show_cell(page, index)
    said = cell.get_by_role("status")
    said.evaluate("(node) => node.replaceChildren()")
    cell.get_by_role("button", name="Check", exact=True).click()
    wait_until(lambda: said.inner_text().strip() not in ("", "…"), 60)
    return said.inner_text()


def test_the_checks_answer(page):
    found = [i for i, source in enumerate(sources(page)) if re.search(r"^check\(", source, re.MULTILINE)]
    assert len(found) >= (page.lecture in SOLVED)
    assert all("not started yet" in press_check(page, index) for index in found)
    execute(page, SOLVED.get(page.lecture, ""))
    assert all(press_check(page, index).startswith("✓") for index in found)
    assert page.problems == []


def test_predictions_outlive_the_kernel(page):
    cells = sources(page)
    asked = next(index for index, source in enumerate(cells) if "= Prediction(" in source)
    name, key = re.search(r'^(\w+) = Prediction\(.*?key="([^"]+)"', cells[asked], re.MULTILINE | re.DOTALL).groups()
    box = show_cell(page, asked).locator("textarea")
    box.fill("The cloud will <shrink>.")
    box.blur()
    kept = "from vaekit.exercises.predictions import Prediction, kept_answers; print(kept_answers())"
    wait_until(lambda: f"'{key}': 'The cloud will <shrink>.'" in execute(page, kept))

    restart(page)
    execute(page, kept)
    run_cell(page, asked)
    box = show_cell(page, asked).locator("textarea")
    wait_until(lambda: box.input_value() == "The cloud will <shrink>.")
    assert any(f"{name}.shown_back" in source for source in cells)
    cell = show_cell(page, add_cell(page, f"{name}.shown_back"))
    wait_until(lambda: "You expected: “The cloud will <shrink>.”" in cell.inner_text())
    assert page.problems == []
