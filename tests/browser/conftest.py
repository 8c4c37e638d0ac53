"""JupyterLab, Chromium and a lab in a notebook, shared by the tests of a file; a picture of every failure."""

import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from jupyter import (
    ARTIFACTS,
    PANEL,
    SMALL,
    Lab,
    browser,
    find_chromium,
    jupyterlab,
    lab_as_new,
    new_page,
    open_notebook,
    run_cell,
)

FILLER = "for _ in range(60):\n    print('something to scroll past the lab to')"
# Back to how every test finds the lab: 300 steps old, all knobs as they were at first, paused, nothing chosen.
AS_NEW = """
lab.pause()
vars(lab.model).pop("forward", None)
lab.set(beta=1.0, prior=True, lr=1e-3, kind="bernoulli", data="Handwritten digits")
lab.controls.pace.value, lab.controls.digits.value, lab.controls.more.value = 0.0, False, False
lab.controls.showing.value = ""
lab.engine.patience = 120
lab.reset()
lab.engine.post(lambda: lab.view.choose(lab.engine, 0)).result()
lab.run(300)
lab.steps_taken
"""

NO_BROWSER = "There is no Chromium: install one, or let VAEKIT_CHROMIUM name it"
pages: list = []  # open now: a failure takes their pictures


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and call.when != "teardown":
        for number, page in enumerate(pages):
            with suppress(Exception):
                page.screenshot(path=ARTIFACTS / f"failed-{item.name}-{number}.png".replace("/", "_"))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Two processes share these tests. What is of pace waits for the other's test to end, and has the machine alone."""
    ARTIFACTS.mkdir(exist_ok=True)
    how = fcntl.LOCK_EX if item.get_closest_marker("pace") else fcntl.LOCK_SH
    with open(ARTIFACTS / ".turn", "w") as turn, open(ARTIFACTS / ".room", "w") as room:
        fcntl.flock(turn, fcntl.LOCK_EX)  # whoever waits for the room keeps others from slipping in
        fcntl.flock(room, how)
        fcntl.flock(turn, fcntl.LOCK_UN)
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    yield  # until all else was said
    skipped = [it for it in terminalreporter.stats.get("skipped", ()) if NO_BROWSER in str(it.longrepr)]
    if skipped:
        text = f"NOT TESTED: {len(skipped)} tests of the lab in a browser were skipped. {NO_BROWSER}"
        terminalreporter.write_line(text, red=True, bold=True)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = find_chromium()
    if path is None and os.environ.get("CI") == "true":
        pytest.fail(NO_BROWSER)
    if path is None:
        pytest.skip(NO_BROWSER)
    return path


class Server:
    """A running JupyterLab: its address, and the folder of its notebooks."""

    def __init__(self, url: str, root: Path):
        self.url, self.root = url, root

    def write(self, name: str, *cells: str) -> str:
        """A new notebook of code cells. Returns its name."""
        import nbformat  # takes seconds, in whichever process collects this file

        made = [nbformat.v4.new_code_cell(text) for text in cells]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), self.root / name)
        return name


@pytest.fixture(scope="session")
def make_server(chromium_path, tmp_path_factory):
    """`with make_server(dark=..., subshells=...) as server:` runs a JupyterLab."""

    @contextmanager
    def make(**settings):
        folder = tmp_path_factory.mktemp("jupyterlab")
        with jupyterlab(folder, **settings) as url:
            yield Server(url, folder / "notebooks")

    return make


@pytest.fixture(scope="session")
def server(make_server):
    with make_server() as server:
        yield server


@pytest.fixture(scope="module")
def chromium(chromium_path):
    # not for the whole session: Playwright keeps an event loop running, and other tests want none
    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def open_page(chromium):
    """`with open_page(server, notebook) as page:` opens a notebook; at the end its kernel is gone."""

    @contextmanager
    def open_(server: Server, name: str, **options):
        page = new_page(chromium, **options)
        page.sent = []
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: page.sent.append(frame)))
        pages.append(page)
        try:
            open_notebook(page, server.url, name)
            yield page
        finally:
            pages.remove(page)
            with suppress(Exception):
                page.evaluate(f"{PANEL}.sessionContext.shutdown()")
            page.close()

    return open_


@pytest.fixture(scope="module")
def desk(server, open_page, request):
    """A page with a notebook whose first cell shows `lab`: a file's own CELL, or a small one."""
    cell = getattr(request.module, "CELL", SMALL)
    with open_page(server, server.write(f"{request.module.__name__}.ipynb", cell, FILLER)) as page:
        run_cell(page, 0)
        run_cell(page, 1)
        yield page


@pytest.fixture
def lab(desk) -> Lab:
    """The lab of `desk`, as new and in sight. Whatever a test does, the console must stay free of errors."""
    with lab_as_new(desk, AS_NEW, "d.step === 300 && d.playing === 'false' && d.decoderStep === 300") as lab:
        yield lab
