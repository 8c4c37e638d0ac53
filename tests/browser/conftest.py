"""One JupyterLab, page and kernel for the tests of all files; for each test a lab as new; pictures of failures."""

import os
from contextlib import suppress
from pathlib import Path

import jupyter
import pytest
from jupyter import ARTIFACTS, Lab, execute, run_cell, set_cells

# A small model and small batches, so that the 300 steps before each test take half a second.
CELL = "import vaekit\n\nlab = vaekit.LatentLab(hidden=64, batch_size=48)\nlab.run(steps=50)\nlab"
FILLER = "for _ in range(60):\n    print('something to scroll past the lab to')"
# Back to how every test finds the lab: 300 steps old, all knobs as they were at first, paused, nothing chosen.
AS_NEW = """
lab.pause()
for name, lock in lab.controls.locks.items():
    lock.value = name != "prior"
lab.set(beta=1.0, prior=True, lr=1e-3, kind="bernoulli", data="Handwritten digits")
if len(lab.sides) == 2:
    lab.set(side="left", prior=False)
controls = lab.controls
controls.pace.value = controls.angle.value = 0.0
for box in (controls.digits, controls.more, controls.new, controls.aggregated, controls.draw):
    box.value = False
lab.engine.patience = 120
if lab.engine.run.recording.events or lab.steps_taken > 300:
    lab.reset()
lab.choose(0)
lab.run(300 - lab.steps_taken)
"""

NO_BROWSER = "There is no Chromium: install one, or let VAEKIT_CHROMIUM name it"


def pytest_collection_modifyitems(items):
    """All tests here are the browser's. They come last: Playwright keeps a loop running, and other tests want none."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and call.when != "teardown":
        for name, fixture in item.funcargs.items():
            if hasattr(fixture, "screenshot"):  # a page
                with suppress(Exception):
                    fixture.screenshot(path=ARTIFACTS / f"failed-{item.name}-{name}.png".replace("/", "_"))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    yield  # until all else was said
    skipped = [it for it in terminalreporter.stats.get("skipped", ()) if NO_BROWSER in str(it.longrepr)]
    if skipped:
        text = f"NOT TESTED: {len(skipped)} tests of the lab in a browser were skipped. {NO_BROWSER}"
        terminalreporter.write_line(text, red=True, bold=True)


@pytest.fixture(scope="session")
def chromium():
    path = jupyter.find_chromium()
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(NO_BROWSER)
    ARTIFACTS.mkdir(exist_ok=True)
    with jupyter.browser(path) as chromium:
        yield chromium


@pytest.fixture(scope="session")
def server(chromium, tmp_path_factory):
    """The URL of a running JupyterLab, with the lectures and an empty notebook, desk.ipynb."""
    import nbformat  # takes seconds, in whichever process collects this file

    folder = tmp_path_factory.mktemp("jupyterlab")
    (folder / "notebooks").mkdir()
    empty = [nbformat.v4.new_code_cell(), nbformat.v4.new_code_cell()]
    notebook = nbformat.v4.new_notebook(cells=empty, metadata=jupyter.KERNEL)
    nbformat.write(notebook, folder / "notebooks" / "desk.ipynb")
    with jupyter.jupyterlab(folder) as url:
        yield url


@pytest.fixture(scope="session")
def one_page(chromium, server):
    with jupyter.notebook_page(chromium) as page:
        jupyter.open_notebook(page, server, "desk.ipynb")
        set_cells(page, "", FILLER)
        run_cell(page, 1)
        yield page


@pytest.fixture(scope="module")
def desk(one_page, request):
    """A page with a notebook whose first cell shows `lab`: a file's own CELL, or a small one.

    Page and kernel are the same for all files: to open others would take longer than most of the tests.
    """
    set_cells(one_page, getattr(request.module, "CELL", CELL))
    run_cell(one_page, 0)
    return one_page


@pytest.fixture
def tidy(desk):
    """Whatever a test does, the console stays free of errors; and it leaves the page as it was."""
    desk.problems.clear()
    yield
    set_cells(desk)  # without those that a test has added
    desk.set_viewport_size(jupyter.WINDOW["viewport"])
    desk.emulate_media(reduced_motion="no-preference")
    assert desk.problems == []


@pytest.fixture
def lab(desk, tidy) -> Lab:
    """The lab of `desk`, as new and in sight."""
    execute(desk, AS_NEW)
    lab = Lab(desk)
    lab.show()
    lab.wait("[d, r].every((it) => it.step === 300 && it.decoderStep === 300 || it.step === undefined)")
    lab.paused()
    yield lab
    execute(desk, "lab.pause()")
