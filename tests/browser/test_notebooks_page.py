"""Lectures as a learner meets them: run cells, look at the widgets, solve the exercises, restart the kernel."""

import re
from contextlib import suppress

import jupyter
import pytest
from jupyter import ask, cells, execute, pixels, run_cell, show_cell, wait_until

MARK = "# NBVAL_CHECK_OUTPUT"  # what such cells print is the same everywhere
FIRST = "00_start_here.ipynb"  # the others before a release: `make test` runs them without a browser
LECTURES = [
    pytest.param(path.name, id=path.name.partition("_")[0], marks=() if path.name == FIRST else pytest.mark.release)
    for path in sorted((jupyter.REPOSITORY / "notebooks").glob("*.ipynb"))
]
# A gap is filled by what a folded cell calls `<name>_solution`: every such name is given to the gap.
SOLVE = """
for name in [name for name in globals() if name.endswith("_solution")]:
    globals()[name.removesuffix("_solution")] = globals()[name]
"""
ALSO = {  # what is done in a lab or a widget, or with other names
    "00": "third.solve(beta=50); third.solve(beta=12)",
    "03b": "two.q, second.q = (3, 1), (2, 1)\n"
    "beta_of_bce_mean, beta_of_all_mean, beta_of_latent_mean, beta_of_all_summed = betas_solution",
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET = ".jp-OutputArea-output.lm-Panel > *"  # other outputs are no panels
MINUTES = 4  # for a notebook that takes one, beside whatever else runs


@pytest.fixture(scope="module", params=LECTURES)
def page(request, chromium, server):
    with jupyter.notebook_page(chromium) as page:
        jupyter.open_notebook(page, server, request.param)
        page.lecture = request.param.split("_")[0]
        page.stored = cells(page)
        jupyter.run_all(page)
        with suppress(Exception):  # a cell that failed, which the first test names
            execute(page, "", 60 * MINUTES)  # answered when all cells are done: the kernel takes one after the other
        yield page
        assert page.problems == []


def marked(cells: list[dict]) -> list:
    """What the cells print that print the same everywhere."""
    return [[it["text"] for it in cell["outputs"] if "text" in it] for cell in cells if MARK in cell["source"]]


def test_the_cells_run_and_print_what_is_stored(page):
    now = cells(page)
    assert [it for cell in now for it in cell.get("outputs", ()) if it["output_type"] == "error"] == []
    assert marked(now) == marked(page.stored)


def test_every_widget_is_painted(page):
    found = [index for index, cell in enumerate(cells(page)) if WIDGET_VIEW in str(cell.get("outputs"))]
    assert found
    for index in found:
        cell = show_cell(page, index)
        widget = cell.locator(WIDGET).first
        widget.wait_for()
        wait_until(lambda cell=cell: "Loading widget" not in cell.inner_text())
        assert not re.search("Error displaying|Error creating", cell.inner_text())
        for canvas in cell.locator("canvas:visible").all():  # a pad is hidden until it is asked for
            wait_until(lambda canvas=canvas: pixels(canvas).reshape(-1, 4).std(axis=0).any())
        for image in cell.locator(f"{WIDGET} img").all():
            wait_until(lambda image=image: image.evaluate("(node) => node.complete && node.naturalWidth > 0"))
        wait_until(lambda widget=widget: (box := widget.bounding_box())["width"] > 100 and box["height"] > 20)


def press_check(page, index: int) -> str:
    """What is said under the buttons after a click."""
    cell = show_cell(page, index)
    said = cell.get_by_role("status")
    said.evaluate("(node) => node.replaceChildren()")
    cell.get_by_role("button", name="Check", exact=True).click()
    wait_until(lambda: said.inner_text().strip() not in ("", "…"))
    return said.inner_text()


def test_the_checks_answer(page):
    found = [i for i, cell in enumerate(cells(page)) if re.search(r"^check\(", cell["source"], re.MULTILINE)]
    assert found
    assert all("not started yet" in press_check(page, index) for index in found)
    execute(page, f"{SOLVE}\n{ALSO.get(page.lecture, '')}")
    assert all(press_check(page, index).startswith("✓") for index in found)


def test_predictions_outlive_the_kernel(page):
    written = [cell["source"] for cell in cells(page)]
    asked = next(index for index, source in enumerate(written) if "= Prediction(" in source)
    name, key = re.search(r'^(\w+) = Prediction\(.*?key="([^"]+)"', written[asked], re.MULTILINE | re.DOTALL).groups()
    choice = ask(page, f"{name}.choices")[0]
    show_cell(page, asked).get_by_role("button", name=choice, exact=True).click()
    answer = show_cell(page, next(index for index, source in enumerate(written) if f"{name}.shown_back" in source))
    wait_until(lambda: f"You expected: “{choice}”" in answer.inner_text() and "It is: “" in answer.inner_text())
    kept = "from vaekit.exercises.predictions import Prediction, kept_answers"
    wait_until(lambda: ask(page, f"kept_answers().get({key!r}, '').strip()", kept) == choice)

    jupyter.restart(page)
    execute(page, kept)
    run_cell(page, asked)
    cell = show_cell(page, asked)
    wait_until(lambda: cell.locator("button.mod-primary").all_inner_texts() == [choice])
