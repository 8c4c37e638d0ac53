"""A real JupyterLab and a real browser, for the browser tests and for benchmarks/live.py."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Chromium as root in a container, without its calls home.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def find_chromium() -> str | None:
    """The browser's path: `VAEKIT_CHROMIUM`, else whatever the system calls chromium; None when there is none."""
    names = (os.environ.get("VAEKIT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@contextmanager
def jupyterlab(folder: Path, *, dark: bool = False, subshells: bool = True):
    """JupyterLab on a free port of localhost, with `folder`/notebooks as its root and settings of its own.

    Yields the URL of the lab, token included. The notebooks are a copy: nothing in the clone is touched.
    """
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks", dirs_exist_ok=True)
    settings = folder / "settings" / "@jupyterlab"
    _write(settings / "apputils-extension/themes", {"theme": f"JupyterLab {'Dark' if dark else 'Light'}"})
    _write(settings / "apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False})
    if not subshells:
        _write(settings / "apputils-extension/kernels-settings", {"commsOverSubshells": "disabled"})
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--port-retries=0"]
    log = (folder / "jupyterlab.log").open("w+")
    server = subprocess.Popen(
        [*command, f"--ServerApp.root_dir={folder / 'notebooks'}"], env=environment, stdout=log, stderr=log
    )
    try:
        yield _url(server, folder / "jupyterlab.log")
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def _write(path: Path, settings: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".jupyterlab-settings").write_text(json.dumps(settings))


def _url(server: subprocess.Popen, log: Path, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        if found := re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/lab\S*\?token=\w+", log.read_text()):
            return found.group()
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@contextmanager
def browser_page(width: int = 1280, height: int = 800):
    """A page of headless Chromium. `page.problems` collects the console's errors."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": width, "height": height})
        page.problems = []
        page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        try:
            yield page
        finally:
            browser.close()


def open_notebook(page, url: str, name: str = "00_start_here.ipynb") -> None:
    page.goto(url.replace("/lab?", f"/lab/tree/{name}?"))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    # the kernel is there when its indicator is idle
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached", timeout=60_000)


def run_all(page) -> None:
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')


class Lab:
    """The lab in the page, read from the states that it exposes there."""

    def __init__(self, page):
        self.page = page
        page.wait_for_function("Number(document.querySelector('.vk-lab')?.dataset.painted) > 0", timeout=60_000)

    def state(self) -> dict:
        """The plane's data attributes, numbers as numbers: frame, step, beta, extent, painted, spread, sigma, ..."""
        found = self.page.evaluate("({...document.querySelector('.vk-lab').dataset})")
        return {name: _number(text) for name, text in found.items()}

    def wait(self, condition: str, seconds: float = 30) -> dict:
        """Wait until a JavaScript expression over the states (d.step, d.spread, ... as numbers) holds."""
        self.page.wait_for_function(
            """(condition) => {
                const d = {};
                for (const [k, v] of Object.entries(document.querySelector('.vk-lab').dataset))
                    d[k] = isNaN(v) || v === '' ? v : Number(v);
                return new Function('d', `return ${condition}`)(d);
            }""",
            arg=condition,
            timeout=1000 * seconds,
        )
        return self.state()

    def press(self, label: str) -> None:
        self.page.click(f'.vk-controls button:has-text("{label}")')

    def type_beta(self, text: str) -> None:
        box = self.page.locator(".vk-controls input[type=text]").nth(0)
        box.fill(text)
        box.press("Enter")


def _number(text: str):
    try:
        return float(text)
    except ValueError:
        return text
