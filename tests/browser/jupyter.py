"""A real JupyterLab and a real browser, for the browser tests and for benchmarks/live.py."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
ARTIFACTS = REPOSITORY / "artifacts"  # pictures
WINDOW = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "has_touch": True, "is_mobile": True}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}  # of a notebook
SECONDS = 60  # that what a test waits for may take, on a slow machine with others beside
URL = re.compile(r"http://(?:localhost|127\.0\.0\.1):\d+/lab\S*\?token=[\w.]+")
# Chromium as root in a container, without its calls home.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CHATTER = ("[PST]", "Canvas2D: Multiple readback")  # the book's theme, and what the tests do


def find_chromium() -> str | None:
    """The path of a browser that starts: `VAEKIT_CHROMIUM`, else the system's, else Playwright's own; or None."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    for name in (os.environ.get("VAEKIT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", own):
        path = name and shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    return None


@contextmanager
def jupyterlab(folder: Path, options: tuple[str, ...] = ("--port=0", "--port-retries=0")):
    """JupyterLab on localhost: its root a copy of the lectures in `folder`, its settings its own. Yields its URL."""
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks", dirs_exist_ok=True)
    settings = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "VAEKIT_ANSWERS": str(folder / "predictions"),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--{app}.expose_app_in_browser=True" for app in ("LabApp", "JupyterNotebookApp")]  # the tests use it
    command += [f"--ServerApp.root_dir={folder / 'notebooks'}", *options]
    log = folder / "jupyterlab.log"
    with log.open("w") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as server:
        try:
            wait_until(lambda: server.poll() is not None or URL.search(log.read_text()))
            found = URL.search(log.read_text())
            assert found, f"JupyterLab did not start:\n{log.read_text()[-2000:]}"
            yield found.group()
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(20)
            server.kill()  # should it be there still


@contextmanager
def browser(path: str | None = None):
    """Headless Chromium, for `new_page`."""
    from playwright.sync_api import sync_playwright

    path = path or find_chromium()  # outside of Playwright, which it starts itself
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=FLAGS) as chromium:
        yield chromium


def new_page(chromium, every: bool = False, **options):
    """A page. `page.problems` collects the console's errors; every: warnings and words as well."""
    page = chromium.new_page(**WINDOW | options)
    page.problems = []
    page.set_default_timeout(1000 * SECONDS)
    page.on("console", lambda message: (every or message.type == "error") and page.problems.append(message.text))
    page.on("pageerror", lambda error: _of_the_lab(error) and page.problems.append(str(error)))
    return page


@contextmanager
def notebook_page(chromium, **options):
    """A page for a notebook, whose kernel is gone at the end."""
    with new_page(chromium, **options) as page:
        try:
            yield page
        finally:
            with suppress(Exception):
                in_notebook(page, "await sessionContext.shutdown();")


@contextmanager
def offline_page(chromium, path: Path, query: str = "", **options):
    """A page with a file and no network; it must ask for nothing and complain of nothing."""
    asked = []
    with new_page(chromium, every=True, offline=True, **options) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri() + query)
        yield page
    assert [text for text in page.problems if not any(chatter in text for chatter in CHATTER)] == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def _of_the_lab(error) -> bool:
    """Not the front end's own: a toolbar may stumble when the window shrinks. A widget's script is a blob."""
    stack = error.stack or ""
    return "blob:" in stack or not re.search("/static/(lab|notebook)/|/voila/", stack)


@contextmanager
def browser_page():
    with browser() as chromium:
        yield new_page(chromium)


# The notebook, in the page.
PANEL = "[...jupyterapp.shell.widgets('main')].find((it) => it.sessionContext && it.content.scrollToItem)"
SET_CELLS = """
const cells = content.model.sharedModel;
cells.deleteCellRange(2, cells.cells.length);
given.forEach((source, index) => cells.getCell(index).setSource(source));
"""
EXECUTE = """
const [code, seconds] = given;
const future = kernel.requestExecute({ code, store_history: false });
let text = "";
future.onIOPub = ({ content }) => (text += content.text ?? content.data?.["text/plain"] ?? "");
const late = new Promise((done) => setTimeout(() => done({ content: { status: "no answer" } }), 1000 * seconds));
const reply = (await Promise.race([future.done, late])).content;
if (reply.status !== "ok") throw new Error(`${reply.evalue || reply.status}, in\n${code}`);
return text.trim();
"""
SENT = """
if (!window.sent) session.anyMessage.connect((_, { msg: { header, content }, direction }) => {
    if (direction === "send") sent.push([header, content]);
});
const before = window.sent;
window.sent = [];
return before;
"""


def in_notebook(page, body: str, given=None):
    """What a JavaScript function returns: it knows the notebook's panel, its content, its kernel, and what is given."""
    known = f"const panel = {PANEL}, {{ content, sessionContext }} = panel ?? {{}}, session = sessionContext?.session;"
    return page.evaluate(f"async (given) => {{ {known} const kernel = session?.kernel; {body} }}", given)


def open_notebook(page, url: str, name: str = "00_start_here.ipynb") -> None:
    # reset: without the notebooks that another page had open
    page.goto(url.replace("/lab?", f"/lab/tree/{name}?reset&"))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    wait_for_kernel(page)


def wait_for_kernel(page) -> None:
    # The indicator says "idle" too early: a cell that is run before the kernel has answered is silently dropped.
    asked = "const told = await Promise.race([kernel?.info, new Promise((done) => setTimeout(done, 1000))]);"
    ready = f"{asked} return Boolean(told) && kernel.connectionStatus === 'connected' && kernel.status === 'idle';"
    wait_until(lambda: in_notebook(page, ready))


def run_all(page) -> None:
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')


# Animation frames for so many ms: who asked to be painted before them has been, however slow the machine is.
PAINT = "for (const start = performance.now(); (await new Promise(requestAnimationFrame)) < start + %d; );"
GLIDE, TURN = 250, 110  # ms that points may be on their way, and from one painting of a plane or curves to the next

# Images are there at once; plane and curves are painted at their next turn.
PIXELS = f"""async (canvas) => {{
    if (canvas.matches(".vk-plane, .vk-curves")) {PAINT % TURN}
    return canvas.toDataURL();
}}"""


def pixels(canvas) -> np.ndarray:
    """What a canvas (a locator) shows: u8 (H, W, 4)."""
    png = base64.b64decode(canvas.evaluate(PIXELS).partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def thumbs(root) -> np.ndarray:
    """Of a lab's or a pad's chosen image: x, and of each run x̂ at μ and three draws. int (N, 28, 28)."""
    return np.stack([pixels(canvas)[..., 0] for canvas in root.locator(".vk-thumb").all()]).astype(int)


def decoded_by_torch(page, codes: list[tuple[float, float]]) -> np.ndarray:
    """What the kernel's model decodes codes (n, D) to: (n, 28, 28) in [0, 1]."""
    decoded = f"torch.sigmoid(lab.model.decode(torch.tensor({json.dumps(codes)}))).squeeze(1).tolist()"
    return np.array(ask(page, decoded, "import torch"))


def execute(page, code: str, seconds: float = 90) -> str:
    """Run `code` in the notebook's kernel, in no cell. Returns what it prints, or the value of its last line."""
    return in_notebook(page, EXECUTE, [code, seconds])


def ask(page, expression: str, first: str = ""):
    """The value of an expression in the notebook's kernel, as JSON has it; after `first` was run."""
    return json.loads(execute(page, f"{first}\nimport json\nprint(json.dumps({expression}))"))


def add_cell(page, source: str) -> int:
    """Put a code cell under the others and run it. Returns its place."""
    add = "content.model.sharedModel.addCell({ cell_type: 'code', source: given }); return content.widgets.length - 1;"
    index = in_notebook(page, add, source)
    run_cell(page, index)
    return index


def set_cells(page, *sources: str) -> None:
    """Take away all cells but the first two, and put code into these; they stay the cells that they are."""
    in_notebook(page, SET_CELLS, sources)


def run_cell(page, index: int) -> None:
    in_notebook(page, "content.activeCellIndex = given; content.deselectAll();", index)
    command(page, "notebook:run-cell")


def command(page, name: str, **arguments) -> None:
    page.evaluate("([name, arguments]) => jupyterapp.commands.execute(name, arguments)", [name, arguments])


def save(page) -> None:
    """Save the notebook, and wait until it is: else leaving the page is asked about."""
    in_notebook(page, "await panel.context.save();")


def show_cell(page, index: int):
    """Scroll a cell into sight, which has JupyterLab draw it; its place in the page."""
    in_notebook(page, "content.scrollToItem(given, 'start');", index)
    cell = page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{index}"]')
    cell.wait_for()
    return cell


def cells(page) -> list[dict]:
    """The notebook's cells as its file has them: source, outputs, ..."""
    return in_notebook(page, "return content.model.sharedModel.toJSON().cells;")


def restart(page) -> None:
    in_notebook(page, "await sessionContext.restartKernel();")
    wait_for_kernel(page)


def drag_finger(page, *places: tuple[float, float]) -> None:
    """Put one finger on a place of the window, move it over the others, and lift it."""
    session = page.context.new_cdp_session(page)
    points = [[{"x": x, "y": y}] for x, y in places]
    for kind, where in (("Start", points[0]), *(("Move", point) for point in points[1:]), ("End", [])):
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": where})


def sent(page) -> list[tuple[dict, dict]]:
    """What the page has sent to its kernel since this was asked before: (header, content) of each message."""
    return in_notebook(page, SENT)


def settle(page, ms: int = 300) -> None:
    """Let the page lay out and paint for so many ms, and to the end of a frame, however slow the machine is."""
    page.evaluate(f"async () => {{ {PAINT % ms} }}")


def wait_until(condition) -> None:
    """Wait for what only Python can tell; in the page use `Lab.wait`."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not true within {SECONDS} seconds"
        time.sleep(0.1)


# Of a lab's node: what each plane shows, in numbers; of all points the spread of the means, and the mean σ.
STATES = """((node) => {
    const found = {}, mean = (values) => values.reduce((sum, value) => sum + value / values.length, 0);
    node?.dispatchEvent(new CustomEvent("vk-probe", { detail: found }));
    return (found.planes ?? []).map((plane) => {
        if (!plane.painted) return {};
        const { number, step, beta, extent } = plane.frame(), { model, painted } = plane;
        const [m1, m2, s1, s2] = [0, 1, 2, 3].map((column) => plane.cloud.points.filter((_, i) => i % 4 === column));
        const variance = (values) => mean(values.map((value) => value * value)) - mean(values) ** 2;
        const { headline = "", playing = "" } = model.get("status"), scrub = found.planes[0].model.get("scrub");
        return {
            frame: number, step, beta, extent, painted, headline, playing: `${playing}`, scrub: scrub < 0 ? "" : scrub,
            pair: `${plane.pair()}`, turn: model.get("turn"), yours: `${model.get("drawn").mark ?? ""}`,
            spread: Math.sqrt(Math.max(0, variance(m1) + variance(m2)) / 2), sigma: (mean(s1) + mean(s2)) / 2,
            z1: found.z[0], z2: found.z[1], decoderStep: plane.shown().decoder?.step ?? "",
        };
    });
})"""


class Lab:
    """The lab in the page, read from what its planes answer there. nth: which of those that are in a `host`."""

    def __init__(self, page, nth: int = 0, host: str = ".widget-vbox:has(> .vk-controls)"):
        self.page, self.root = page, page.locator(host).nth(nth)
        self.plane, self.planes = self.root.locator(".vk-plane").first, self.root.locator(".vk-plane")
        self.curves, self.message = self.root.locator(".vk-curves"), self.root.locator(".vk-message")
        self.priors = self.root.get_by_role("switch")  # one of each run
        self._states = f"{STATES}(document.querySelectorAll('.vk-lab:has(.vk-plane)')[{nth}])"
        page.wait_for_function(f"{self._states}[0]?.painted > 0")

    def state(self, side: int = 0) -> dict:
        """What the plane shows: frame, step, beta, extent, painted, spread, sigma, ..."""
        return self.page.evaluate(f"{self._states}[{side}]") or {}

    def wait(self, condition: str, seconds: float = SECONDS) -> dict:
        """Wait until JavaScript over the states holds: d.step > 9; of a twin, d is the left plane's, r the right's."""
        holds = f"() => {{ const [d = {{}}, r = {{}}] = {self._states}; return {condition}; }}"
        self.page.wait_for_function(holds, timeout=1000 * seconds, polling=30)
        return self.state()

    def play(self) -> dict:
        """Press Play, and wait until it has trained some steps."""
        step = self.state()["step"]
        self.press("Play")
        return self.wait(f"d.step > {step + 20} && d.playing === 'true'")

    def pause(self) -> dict:
        """Press Pause, and wait until the plane shows the step at which the run stands."""
        self.press("Pause")
        return self.paused()

    def paused(self) -> dict:
        """The state when the run stands, and its points have glided to where it left them."""
        self.wait("d.playing === 'false'")
        self.wait(f"d.step === {execute(self.page, 'lab.steps_taken')}")
        return self.rest()

    def rest(self) -> dict:
        """The state when its points have glided to where they were last sent."""
        settle(self.page, GLIDE + TURN)
        return self.state()

    def show(self) -> None:
        """Scroll the lab's controls to the top of the window."""
        self.root.evaluate("(node) => node.scrollIntoView({ block: 'start' })")

    def button(self, label: str):
        return self.root.locator(f'.vk-controls button:has-text("{label}")')

    def press(self, label: str) -> None:
        self.in_sight(self.button(label)).click()

    def in_sight(self, control):
        """The control, after More was opened where it is under that."""
        more = self.button("More")
        control.first.wait_for(state="attached")  # Play becomes Pause when the kernel says so
        if not control.first.is_visible() and "mod-active" not in more.get_attribute("class"):
            more.click()
        control.first.wait_for()  # the kernel shows it; what is hidden takes no focus
        return control

    def box(self, name: str, side: int = 0):
        """The text box for "β" or "learning rate"."""
        return self.root.get_by_role("textbox", name=name, include_hidden=True).nth(side)

    def type(self, name: str, text: str, side: int = 0) -> None:
        self.in_sight(self.box(name, side)).fill(text)
        self.box(name, side).press("Enter")

    def choose(self, option: str) -> None:
        """Choose an entry of whichever menu has it."""
        menu = self.root.locator("select", has=self.page.locator(f'option:text-is("{option}")'))
        self.in_sight(menu).select_option(label=option)

    def marks(self) -> str:
        """The knob marks in the curves, as "step: label; step: label"."""
        return self.curves.get_attribute("aria-label").partition(" at step ")[2]

    def load(self, *files, what: str = "Load (0)") -> None:
        """Press "Load" and choose files: paths, or what Playwright takes for one."""
        with self.page.expect_file_chooser() as chooser:
            self.press(what)
        chooser.value.set_files(*files)

    def decoded(self, side: int = 0) -> np.ndarray:
        """The image that is decoded under the pointer: int (28, 28)."""
        return pixels(self.root.locator(".vk-decoded").nth(side))[..., 0].astype(int)

    def drag(self, *goal: float, start: tuple[float, float] = (0.2, 0.1), side: int = 0) -> dict:
        """With the mouse from one place of the plane to another. Returns the state."""
        self.planes.nth(side).scroll_into_view_if_needed()
        self.page.mouse.move(*self.client(*start, side))
        self.page.mouse.down()
        self.page.mouse.move(*self.client(*goal, side), steps=5)
        self.page.mouse.up()
        state = self.state()
        assert (abs(state["z1"] - goal[0]) < 0.05) and (abs(state["z2"] - goal[1]) < 0.05)
        return state

    def look_back(self, where: int) -> None:
        """Pull the slider along the run to `where` out of 1000, as the keyboard or a finger does."""
        slider = self.root.locator(".vk-way")
        slider.focus()
        slider.fill(str(where))

    def client(self, z1: float, z2: float, side: int = 0) -> tuple[float, float]:
        """Where a place of the plane is in the window."""
        box = self.planes.nth(side).bounding_box()
        scale = min(box["width"], box["height"]) / 2 / self.state(side)["extent"]
        return box["x"] + box["width"] / 2 + z1 * scale, box["y"] + box["height"] / 2 - z2 * scale
