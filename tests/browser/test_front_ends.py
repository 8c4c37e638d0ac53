"""Front ends beside JupyterLab: a lecture's lab, prediction and keys in Jupyter Notebook 7 and in Voilà."""

import re

import nbformat.v4 as nb
import pytest
from ipywidgets import Widget
from jupyter import ARTIFACTS, KERNEL, Lab, execute, notebook_page, run_all, settle, wait_for_kernel, wait_until
from test_looks import flaws, is_dark

import vaekit

CELLS = """
import vaekit

task = vaekit.lab.Task("Turn the Prior off", lambda lab: not lab.knobs.prior)
vaekit.LatentLab(hidden=64, batch_size=48, tasks=[task]).run(150).run(150)
---
from vaekit.exercises.predictions import Prediction

guess = Prediction("What becomes of σ?", ["it falls", "it rises"], "it falls", key="front-end")
guess
---
guess.shown_back
"""
WHERE = {"notebook": "/notebooks/front.ipynb?", "voila": "/voila/render/front.ipynb?theme=dark&"}


@pytest.fixture(scope="module")
def content() -> dict:
    """A trusted notebook that was saved with its widgets: a lab whose kernel is gone stands under its first cell."""
    lab = vaekit.LatentLab(hidden=64, shown=100, threads=1).run(5)
    cells = [nb.new_code_cell(source.strip(), metadata={"trusted": True}) for source in CELLS.split("---")]
    cells[0].outputs = [nb.new_output("execute_result", lab.widget._repr_mimebundle_(), execution_count=1)]
    widgets = {"application/vnd.jupyter.widget-state+json": Widget.get_manager_state()}
    lab.engine.close()
    notebook = nb.new_notebook(cells=cells, metadata=KERNEL | {"widgets": widgets})
    return {"type": "notebook", "content": notebook}


@pytest.fixture(scope="module", params=WHERE)
def page(request, server, chromium, content):
    base, _, token = server.partition("/lab?")
    with notebook_page(chromium) as page:
        page.front_end = request.param
        assert page.request.put(f"{base}/api/contents/front.ipynb?{token}", data=content).ok
        page.goto(f"{base}{WHERE[page.front_end]}{token}")
        yield page
        ours = [text for text in page.problems if not re.search("Failed to load|/static/", text)]  # others: their own
        assert ours == []


@pytest.fixture(scope="module")
def lab(page) -> Lab:
    """The lab, after all cells were run: Voilà does that by itself."""
    if page.front_end == "notebook":
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        wait_for_kernel(page)
        restored = Lab(page)  # saved in the notebook, with no kernel behind it
        restored.message.filter(has_text="run the cell again").wait_for()
        rows = restored.root.locator(".vk-controls")
        wait_until(lambda: rows.count() == restored.root.locator(".vk-controls[inert]").count() > 1)
        restored.root.evaluate("(root) => root.setAttribute('data-restored', '')")
        run_all(page)
        page.wait_for_selector("[data-restored]", state="detached")
        execute(page, "")  # answered when all cells are done: the page scrolls to the last
    lab = Lab(page)
    lab.wait("d.step === 300 && d.decoderStep === 300")
    return lab


def test_all_of_it_is_in_sight_and_legible(page, lab):
    lab.show()
    wait_until(lambda: is_dark(lab) == (page.front_end == "voila"))
    settle(page)
    page.screenshot(path=ARTIFACTS / f"front-{page.front_end}.png")
    assert flaws(lab) == {}
    box = lab.root.bounding_box()
    assert box["x"] + box["width"] <= 1280 and box["y"] + box["height"] <= 800
    assert lab.plane.bounding_box()["width"] >= 430


def test_it_is_driven_by_hand_and_by_keys(page, lab):
    lab.play()
    wait_until(lambda: lab.root.locator(".vk-spoken-of").all_inner_texts() == ["Prior"])  # outlined, for the task
    lab.priors.click()
    lab.wait("d.beta === 0")
    lab.root.locator(".vk-tasks").filter(has_text="All done.").wait_for()
    lab.type("β", "3")
    lab.plane.focus()
    for key, condition in (("p", "d.beta === 3"), ("Space", "d.playing === 'false'")):  # a notebook has uses of its own
        page.keyboard.press(key)
        lab.wait(condition)
    step = lab.wait("d.step === d.decoderStep")["step"]
    lab.rest()
    before = lab.decoded()
    lab.drag(-0.8, 0.6)
    assert (lab.decoded() != before).any()
    lab.look_back(0)
    lab.wait(f"d.scrub !== '' && d.step < {step}")
    lab.root.locator(".vk-full").click()
    page.wait_for_function("document.fullscreenElement?.classList.contains('vaekit-lab')")
    page.keyboard.press("f")
    page.wait_for_function("!document.fullscreenElement")


def test_a_prediction_is_answered(page, lab):
    page.get_by_role("button", name="it falls").click()
    wait_until(page.get_by_text("It is: “it falls”").is_visible)
    page.screenshot(path=ARTIFACTS / f"front-{page.front_end}-prediction.png")
