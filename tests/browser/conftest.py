"""One JupyterLab, page and kernel for the tests of all files; for each test a lab as new; pictures of failures."""

import os
from contextlib import contextmanager, suppress

import pytest
from jupyter import (
    ARTIFACTS,
    LAB_CELL,
    PANEL,
    SECONDS,
    Lab,
    browser,
    execute,
    find_chromium,
    jupyterlab,
    new_page,
    open_notebook,
    run_cell,
    set_cells,
)

FILLER = "for _ in range(60):\n    print('something to scroll past the lab to')"
# Back to how every test finds the lab: 300 steps old, all knobs as they were at first, paused, nothing chosen.
AS_NEW = """
lab.pause()
for name, lock in lab.controls.locks.items():
    lock.value = name != "prior"
lab.set(beta=1.0, prior=True, lr=1e-3, kind="bernoulli", data="Handwritten digits")
if len(lab.sides) == 2:
    lab.set(side="left", prior=False)
lab.controls.pace.value, lab.controls.digits.value, lab.controls.more.value = 0.0, False, False
lab.controls.angle.value = 0.0
lab.controls.new.value = lab.controls.aggregated.value = False
lab.engine.patience = 120
lab.reset()
lab.choose(0)
lab.run(300)
"""

NO_BROWSER = "There is no Chromium: install one, or let VAEKIT_CHROMIUM name it"
pages: list = []  # open now: a failure takes their pictures


def pytest_collection_modifyitems(items):
    """The browser's tests come last: Playwright keeps an event loop running, and other tests want none."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and call.when != "teardown":
        for number, page in enumerate(pages):
            with suppress(Exception):
                page.screenshot(path=ARTIFACTS / f"failed-{item.name}-{number}.png".replace("/", "_"))
    return report


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


@pytest.fixture(scope="session")
def server(chromium_path, tmp_path_factory):
    """The URL of a running JupyterLab, with the lectures and an empty notebook, desk.ipynb."""
    import nbformat  # takes seconds, in whichever process collects this file

    folder = tmp_path_factory.mktemp("jupyterlab")
    (folder / "notebooks").mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    empty = [nbformat.v4.new_code_cell(), nbformat.v4.new_code_cell()]
    nbformat.write(nbformat.v4.new_notebook(cells=empty, metadata=kernel), folder / "notebooks" / "desk.ipynb")
    with jupyterlab(folder) as url:
        yield url


@pytest.fixture(scope="session")
def chromium(chromium_path):
    ARTIFACTS.mkdir(exist_ok=True)
    with browser() as chromium:
        yield chromium


CHATTER = ("[PST]", "Canvas2D: Multiple readback")  # the book's theme, and what the tests do


@pytest.fixture
def opened(chromium):
    """`with opened(path, **options) as page:` opens a file offline; it must ask for nothing and complain of nothing."""

    @contextmanager
    def open_(path, query: str = "", **options):
        context = chromium.new_context(offline=True, **options)
        context.set_default_timeout(1000 * SECONDS)
        page = context.new_page()
        problems, asked = [], []
        page.on("console", lambda message: any(it in message.text for it in CHATTER) or problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(f"{request.url} is not there"))
        page.on("request", lambda request: asked.append(request.url))
        try:
            page.goto(path.as_uri() + query)
            yield page
            assert problems == []
            assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        finally:
            context.close()

    return open_


@pytest.fixture(scope="session")
def open_page(server, chromium):
    """`with open_page(notebook) as page:` opens a notebook; at the end its kernel is gone."""

    @contextmanager
    def open_(name: str, **options):
        page = new_page(chromium, **options)
        page.sent = []
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: page.sent.append(frame)))
        pages.append(page)
        try:
            open_notebook(page, server, name)
            yield page
        finally:
            pages.remove(page)
            with suppress(Exception):
                page.evaluate(f"{PANEL}.sessionContext.shutdown()")
            page.close()

    return open_


@pytest.fixture(scope="session")
def one_page(open_page):
    with open_page("desk.ipynb") as page:
        yield page


@pytest.fixture(scope="module")
def desk(one_page, request):
    """A page with a notebook whose first cell shows `lab`: a file's own CELL, or a small one.

    Page and kernel are the same for all files: to open others would take longer than most of the tests.
    """
    one_page.problems.clear()
    set_cells(one_page, getattr(request.module, "CELL", LAB_CELL), FILLER)
    run_cell(one_page, 0)
    run_cell(one_page, 1)
    return one_page


@pytest.fixture
def lab(desk) -> Lab:
    """The lab of `desk`, as new and in sight. Whatever a test does, the console must stay free of errors."""
    desk.problems.clear()
    execute(desk, AS_NEW)
    lab = Lab(desk)
    lab.show()
    lab.wait("[d, r].every((it) => it.step === 300 && it.decoderStep === 300 || it.step === undefined)")
    lab.paused()
    yield lab
    execute(desk, "lab.pause()")
    set_cells(desk)  # without those that a test has added
    assert desk.problems == []
