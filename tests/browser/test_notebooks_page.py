"""Lectures as a learner meets them: run cells, look at the widgets, solve the exercises, restart the kernel."""

import re
from ast import literal_eval
from contextlib import suppress

import pytest
from jupyter import REPOSITORY, add_cell, cells, execute, pixels, restart, run_all, run_cell, show_cell, wait_until

pytestmark = pytest.mark.browser

NAMES = sorted(path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb"))
MARK = "# NBVAL_CHECK_OUTPUT"  # what such cells print is the same everywhere
FIRST = "00_start_here.ipynb"  # the others before a release: `make test` runs them without a browser
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
WIDGET = ".jp-OutputArea-output.lm-Panel > *"  # other outputs are no panels
KEPT = "__import__('vaekit.exercises.predictions', fromlist=['it']).kept_answers()"
MINUTES = 4  # for a notebook that takes one, beside whatever else runs


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name == FIRST else pytest.mark.release) for name in NAMES],
    ids=lambda name: name[:2],
)
def page(request, open_page):
    with open_page(request.param, width=1280, height=900) as page:
        page.lecture = request.param.split("_")[0]
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
    assert printed == stored
    assert page.problems == []


def test_every_widget_is_painted(page):
    data = [[list(it or ()) for it in outputs(cell, "data", "display_data", "execute_result")] for cell in cells(page)]
    found = [index for index, kinds in enumerate(data) if "application/vnd.jupyter.widget-view+json" in sum(kinds, [])]
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
    assert page.problems == []


def sources(page) -> list[str]:
    return [cell["source"] for cell in cells(page)]


def press_check(page, index: int) -> str:
    """What is said under the buttons after a click."""
    cell = show_cell(page, index)
    said = cell.get_by_role("status")
    said.evaluate("(node) => node.replaceChildren()")
    cell.get_by_role("button", name="Check", exact=True).click()
    wait_until(lambda: said.inner_text().strip() not in ("", "…"))
    return said.inner_text()


def test_the_checks_answer(page):
    found = [i for i, source in enumerate(sources(page)) if re.search(r"^check\(", source, re.MULTILINE)]
    assert found
    assert all("not started yet" in press_check(page, index) for index in found)
    execute(page, f"{SOLVE}\n{ALSO.get(page.lecture, '')}")
    assert all(press_check(page, index).startswith("✓") for index in found)
    assert page.problems == []


def test_predictions_outlive_the_kernel(page):
    cells = sources(page)
    asked = next(index for index, source in enumerate(cells) if "= Prediction(" in source)
    name, key = re.search(r'^(\w+) = Prediction\(.*?key="([^"]+)"', cells[asked], re.MULTILINE | re.DOTALL).groups()
    choices = literal_eval(execute(page, f"{name}.choices"))
    cell = show_cell(page, asked)
    if choices:
        said = choices[0]
        cell.get_by_role("button", name=said, exact=True).click()
        answer = show_cell(page, next(index for index, source in enumerate(cells) if f"{name}.shown_back" in source))
        wait_until(lambda: f"You expected: “{said}”" in answer.inner_text() and "It is: “" in answer.inner_text())
    else:
        said = "The cloud will <shrink>."
        cell.locator("textarea").fill(said)
        cell.locator("textarea").blur()
    wait_until(lambda: execute(page, f"{KEPT}.get({key!r}, '').strip()") == repr(said))

    restart(page)
    execute(page, "from vaekit.exercises.predictions import Prediction")
    run_cell(page, asked)
    cell = show_cell(page, asked)
    if choices:
        wait_until(lambda: cell.locator("button.mod-primary").all_inner_texts() == [said])
    else:
        wait_until(lambda: cell.locator("textarea").input_value() == said)
    cell = show_cell(page, add_cell(page, f"{name}.shown_back"))
    wait_until(lambda: f"You expected: “{said}”" in cell.inner_text())
    assert page.problems == []
