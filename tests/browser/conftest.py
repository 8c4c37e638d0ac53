"""One JupyterLab, page and kernel for the tests of all files; for each test a new lab; pictures of failures."""

import os
from contextlib import suppress

import jupyter
import pytest
from jupyter import ARTIFACTS, Lab, execute, run_cell, set_cells

# A small model and small batches, so that the 300 steps before each test take half a second.
CELL = "import vaekit\n\nlab = vaekit.LatentLab({}hidden=64, batch_size=48).run(300)\nlab"
NO_BROWSER = "There is no Chromium: install one, or let VAEKIT_CHROMIUM name it"


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
    """The URL of a running JupyterLab, with the lectures and a notebook, desk.ipynb: a cell, and room to scroll."""
    from nbformat import v4, write  # takes seconds, in whichever process collects this file

    folder = tmp_path_factory.mktemp("jupyterlab")
    cells = [v4.new_code_cell(), v4.new_markdown_cell("something to scroll past the lab to\n\n" * 60)]
    with jupyter.jupyterlab(folder) as url:
        write(v4.new_notebook(cells=cells, metadata=jupyter.KERNEL), folder / "notebooks" / "desk.ipynb")
        yield url


@pytest.fixture(scope="session")
def one_page(chromium, server):
    """The page of all files, with one kernel: to open others would take longer than most of the tests."""
    with jupyter.notebook_page(chromium) as page:
        jupyter.open_notebook(page, server, "desk.ipynb")
        yield page


@pytest.fixture
def desk(one_page, request):
    """A page whose first cell shows a new `lab`; a test's parameter: the lab's arguments, with a comma after each."""
    set_cells(one_page, CELL.format(getattr(request, "param", "")))
    one_page.set_viewport_size(jupyter.WINDOW["viewport"])
    one_page.emulate_media(reduced_motion="no-preference")
    one_page.problems.clear()
    run_cell(one_page, 0)
    yield one_page
    execute(one_page, "lab.pause()")
    assert one_page.problems == []


@pytest.fixture
def lab(desk) -> Lab:
    """The lab of `desk`, at step 300 and in sight."""
    lab = Lab(desk)
    lab.show()
    lab.wait("[d, r].every((it) => it.step === 300 && it.decoderStep === 300 || it.step === undefined)")
    return lab
