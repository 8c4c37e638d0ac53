"""A real JupyterLab and a real browser, for the browser tests and for benchmarks/live.py."""

import base64
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
ARTIFACTS = REPOSITORY / "artifacts"  # pictures
WINDOW = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "has_touch": True, "is_mobile": True}
SECONDS = 60  # that what a test waits for may take, on a slow machine with others beside
# A small model and small batches, so that the 300 steps before each test take half a second.
LAB_CELL = "import vaekit\n\nlab = vaekit.LatentLab(hidden=64, batch_size=48)\nlab.run(steps=50)\nlab"
# The page decodes with float16 weights and rounds to whole grey levels, torch with float32 and not at all.
MOST, MEAN = 2 / 255, 0.5 / 255
# Chromium as root in a container, without its calls home.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def find_chromium() -> str | None:
    """The path of a browser that starts: `VAEKIT_CHROMIUM`, else the system's, else Playwright's own; or None."""
    names = (os.environ.get("VAEKIT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    found = (shutil.which(name) for name in names if name)
    return next(filter(_starts, found), None) or next(filter(_starts, [_playwrights_own()]), None)


def _starts(path: str | None) -> bool:
    return bool(path) and subprocess.run([path, "--version"], capture_output=True).returncode == 0


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return shutil.which(playwright.chromium.executable_path)


@contextmanager
def jupyterlab(folder: Path, options: tuple[str, ...] = ("--port=0", "--port-retries=0")):
    """JupyterLab on localhost, with `folder`/notebooks as its root and settings of its own; by default on a free port.

    Yields the URL of the lab, token included. The notebooks are a copy: nothing in the clone is touched.
    """
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks", dirs_exist_ok=True)
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    no_news = json.dumps({"fetchNews": "false", "checkForUpdates": False})
    (settings / "notification.jupyterlab-settings").write_text(no_news)
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "VAEKIT_ANSWERS": str(folder / "predictions"),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--{app}.expose_app_in_browser=True" for app in ("LabApp", "JupyterNotebookApp")]  # the tests use it
    command += [f"--ServerApp.root_dir={folder / 'notebooks'}", *options]
    with (folder / "jupyterlab.log").open("w+") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield _url(server, folder / "jupyterlab.log")
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _url(server: subprocess.Popen, log: Path) -> str:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        if found := re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/lab\S*\?token=[\w.]+", log.read_text()):
            return found.group()
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@contextmanager
def browser():
    """Headless Chromium, for `new_page`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        try:
            yield chromium
        finally:
            chromium.close()


def new_page(chromium, width: int = 1280, height: int = 800, **options):
    """A page. `page.problems` collects the console's errors."""
    page = chromium.new_page(viewport={"width": width, "height": height}, **options)
    page.problems = []
    page.set_default_timeout(1000 * SECONDS)
    page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
    page.on("pageerror", lambda error: _of_the_lab(error) and page.problems.append(str(error)))
    return page


def _of_the_lab(error) -> bool:
    """Not the front end's own: a toolbar may stumble when the window shrinks. A widget's script is a blob."""
    stack = error.stack or ""
    return "blob:" in stack or not re.search("/static/(lab|notebook)/|/voila/", stack)


@contextmanager
def browser_page(width: int = 1280, height: int = 800):
    """A page of a browser of its own."""
    with browser() as chromium:
        yield new_page(chromium, width, height)


def open_notebook(page, url: str, name: str = "00_start_here.ipynb") -> None:
    # reset: without the notebooks that another page had open
    page.goto(url.replace("/lab?", f"/lab/tree/{name}?reset&"))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    wait_for_kernel(page)


def wait_for_kernel(page) -> None:
    # The indicator says "idle" too early: a cell that is run before the kernel has answered is silently dropped.
    page.wait_for_function(KERNEL_READY % PANEL)


def run_all(page) -> None:
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')


# Animation frames for so many ms: who asked to be painted before them has been, however slow the machine is.
PAINT = "for (const start = performance.now(); (await new Promise(requestAnimationFrame)) < start + %d; );"
GLIDE, TURN = 250, 110  # ms that points may be on their way, and from one painting of a plane or curves to the next

# Images are there at once; plane and curves are painted at their next turn.
PIXELS = """async (canvas) => {
    if (canvas.matches(".vk-plane, .vk-curves")) %s
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
    return [canvas.height, canvas.width, btoa(text)];
}"""


def pixels(canvas) -> np.ndarray:
    """What a canvas (a locator) shows: u8 (H, W, 4)."""
    height, width, text = canvas.evaluate(PIXELS % (PAINT % TURN))
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)


def decoded_by_torch(page, codes: list[tuple[float, float]], model: str = "lab.model") -> np.ndarray:
    """What the kernel's `model` decodes codes (n, D) to: (n, 28, 28) in [0, 1]."""
    decoded = f"torch.sigmoid({model}.decode(torch.tensor({json.dumps(codes)}))).squeeze(1).tolist()"
    return np.array(ask(page, decoded, "import torch"))


# The notebook, in the page.
PANEL = "[...jupyterapp.shell.widgets('main')].find((it) => it.sessionContext && it.content.scrollToItem)"

KERNEL_READY = """async () => {
    const context = window.jupyterapp && %s?.sessionContext;
    await context?.ready;
    const kernel = context?.session?.kernel;
    await kernel?.info;
    return kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""

SET_CELLS = """(sources) => {
    const cells = %s.content.model.sharedModel;
    cells.deleteCellRange(2, cells.cells.length);
    sources.forEach((source, index) => cells.getCell(index).setSource(source));
}"""

EXECUTE = """async ([code, seconds]) => {
    const future = %s.sessionContext.session.kernel.requestExecute({ code, store_history: false });
    let text = "";
    future.onIOPub = ({ content }) => (text += content.text ?? content.data?.["text/plain"] ?? "");
    const late = new Promise((done) => setTimeout(() => done({ content: { status: "no answer" } }), 1000 * seconds));
    const { content } = await Promise.race([future.done, late]);
    return [content.status === "ok" ? null : content.evalue || content.status, text];
}"""

ADD_CELL = """(source) => {
    const { content } = %s;
    content.model.sharedModel.addCell({ cell_type: "code", source });
    content.activeCellIndex = content.widgets.length - 1;
    content.deselectAll();
    return content.activeCellIndex;
}"""


def execute(page, code: str, seconds: float = 90) -> str:
    """Run `code` in the notebook's kernel, in no cell. Returns what it prints, or the value of its last line."""
    error, text = page.evaluate(EXECUTE % PANEL, [code, seconds])
    if error is not None:
        raise RuntimeError(f"{error}, in\n{code}")
    return text.strip()


def ask(page, expression: str, first: str = ""):
    """The value of an expression in the notebook's kernel, as JSON has it; after `first` was run."""
    return json.loads(execute(page, f"{first}\nimport json\nprint(json.dumps({expression}))"))


def add_cell(page, source: str) -> int:
    """Put a code cell under the others and run it. Returns its place."""
    index = page.evaluate(ADD_CELL % PANEL, source)
    run_cell(page, index)
    return index


def set_cells(page, *sources: str) -> None:
    """Take away all cells but the first two, and put code into these; they stay the cells that they are."""
    page.evaluate(SET_CELLS % PANEL, sources)


def run_cell(page, index: int) -> None:
    """Run a cell as Ctrl + Enter does, and wait until it is done."""
    select = f"(index) => {{ const {{ content }} = {PANEL}; content.activeCellIndex = index; content.deselectAll(); }}"
    page.evaluate(select, index)
    command(page, "notebook:run-cell")


def command(page, name: str, **arguments) -> None:
    """One of JupyterLab's commands, and wait until it is done."""
    page.evaluate("([name, arguments]) => jupyterapp.commands.execute(name, arguments)", [name, arguments])


def save(page) -> None:
    """Save the notebook, and wait until it is: else leaving the page is asked about."""
    command(page, "docmanager:save")
    page.wait_for_function(f"() => !{PANEL}.context.model.dirty")


def show_cell(page, index: int):
    """Scroll a cell into sight, which has JupyterLab draw it; its place in the page."""
    page.evaluate(f"(index) => {PANEL}.content.scrollToItem(index, 'start')", index)
    cell = page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{index}"]')
    cell.wait_for()
    return cell


def cells(page) -> list[dict]:
    """The notebook's cells as its file has them: source, outputs, ..."""
    return page.evaluate(f"() => {PANEL}.content.model.sharedModel.toJSON().cells")


def restart(page) -> None:
    """Restart the notebook's kernel, and wait until it answers."""
    page.evaluate(f"() => {PANEL}.sessionContext.restartKernel()")
    wait_for_kernel(page)


def fingers(page):
    """`touch = fingers(page); touch("Start", (x, y), ...)`: at places of the window; also "Move", "End", "Cancel"."""
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    return touch


def sent_messages(page) -> list[tuple[dict, dict]]:
    """What the page has sent to its kernel: (header, content). `page.sent.clear()` begins anew."""
    page.wait_for_timeout(200)  # Playwright hands on what has happened only while it is asked something
    return [_message(frame) for frame in page.sent]


def _message(frame: bytes) -> tuple[dict, dict]:
    # v1.kernel.websocket.jupyter.org: u64 count, the offsets, then channel, header, parent, metadata, content, ...
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    parts = [frame[start:end] for start, end in pairwise(offsets)]
    return json.loads(parts[1]), json.loads(parts[4])


def settle(page) -> None:
    """Wait until the page has laid itself out anew, however slow the machine is."""
    frames = "requestAnimationFrame(() => requestAnimationFrame(done))"
    page.evaluate(f"() => new Promise((done) => setTimeout(() => {frames}, 300))")


def wait_until(condition, seconds: float = SECONDS) -> None:
    """Wait for what only Python can tell; in the page use `Lab.wait`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {seconds:.0f} seconds")
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
        const { state = "", playing = "" } = model.get("status"), scrub = found.planes[0].model.get("scrub");
        return {
            frame: number, step, beta, extent, painted, state, playing: `${playing}`, scrub: scrub < 0 ? "" : scrub,
            pair: `${plane.pair()}`, turn: model.get("turn"), yours: `${model.get("drawn").mark ?? ""}`,
            spread: Math.sqrt(Math.max(0, variance(m1) + variance(m2)) / 2), sigma: (mean(s1) + mean(s2)) / 2,
            z1: found.z[0], z2: found.z[1], decoderStep: plane.shown().decoder?.step ?? "",
        };
    });
})"""


class Lab:
    """The lab in the page, read from what its planes answer there. nth: which of the labs in the page."""

    def __init__(self, page, nth: int = 0):
        self.page, self.nth = page, nth
        self.root = page.locator(".widget-vbox:has(> .vk-controls)").nth(nth)
        self.planes = self.root.locator(".vk-plane")
        self.plane, self.curves = self.planes.first, self.root.locator(".vk-curves")
        self.message, self.verdict = self.root.locator(".vk-message"), self.root.locator(".vk-verdict")
        page.wait_for_function(f"{self._states}[0]?.painted > 0")

    @property
    def _states(self) -> str:
        return f"{STATES}(document.querySelectorAll('.vk-lab:has(.vk-plane)')[{self.nth}])"

    def state(self, side: int = 0) -> dict:
        """What the plane shows: frame, step, beta, extent, painted, spread, sigma, ..."""
        return self.page.evaluate(f"{self._states}[{side}]") or {}

    def wait(self, condition: str, seconds: float = SECONDS) -> dict:
        """Wait until a JavaScript expression over the states (d.step, d.spread, ...) holds.

        Of a twin, d is the left plane's and r the right one's.
        """
        self.page.wait_for_function(
            f"""(condition) => {{
                const [d = {{}}, r = {{}}] = {self._states};
                return new Function('d', 'r', `return ${{condition}}`)(d, r);
            }}""",
            arg=condition,
            timeout=1000 * seconds,
            polling=30,
        )
        return self.state()

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
        self.page.evaluate(f"async () => {{ {PAINT % (GLIDE + TURN)} }}")
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
        return control

    @property
    def priors(self):
        """The switch of each run."""
        return self.root.get_by_role("switch")

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

    def meters(self) -> dict[str, list[float]]:
        """What the meters say, by name: one number of each run, percents as shares."""
        texts = self.root.locator(".vk-meters > div").evaluate_all(
            "(nodes) => nodes.map((it) => [...it.children].map((child) => child.textContent))"
        )
        return {name: [_metered(text) for text in values] for name, *values in texts}

    def save(self, path: Path) -> None:
        """Press "Save", and keep the file that the browser then has at `path`."""
        with self.page.expect_download() as download:
            self.press("Save")
        assert download.value.suggested_filename == "vaekit-recording.json"
        download.value.save_as(path)

    def load(self, *files, what: str = "Load (0)") -> None:
        """Press "Load" and choose files: paths, or what Playwright takes for one."""
        with self.page.expect_file_chooser() as chooser:
            self.press(what)
        chooser.value.set_files(*files)

    def decoded(self, side: int = 0) -> np.ndarray:
        """The image that is decoded under the pointer: u8 (28, 28)."""
        return pixels(self.root.locator(".vk-decoded").nth(side))[..., 0]

    def thumb(self, number: int) -> np.ndarray:
        """Of the chosen image: x, and of each run x̂ at μ and three draws. u8 (28, 28)."""
        return pixels(self.root.locator(".vk-thumb").nth(number))[..., 0]

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
        box, (x, y) = self.planes.nth(side).bounding_box(), self.place(z1, z2, side)
        return box["x"] + x, box["y"] + y

    def place(self, z1: float, z2: float, side: int = 0) -> tuple[float, float]:
        """Where it is in the plane, from its upper left corner, in px."""
        box = self.planes.nth(side).bounding_box()
        scale = min(box["width"], box["height"]) / 2 / self.state(side)["extent"]
        return box["width"] / 2 + z1 * scale, box["height"] / 2 - z2 * scale

    def ink_at(self, x: float, y: float, side: int = 0) -> np.ndarray:
        """The 3 × 3 pixels around a place of the plane: (9, 3) int."""
        x, y = round(x), round(y)
        return pixels(self.planes.nth(side))[y - 1 : y + 2, x - 1 : x + 2, :3].reshape(-1, 3).astype(int)


def _metered(text: str) -> float:
    try:
        return float(text.split()[0].removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return math.nan  # not measured yet
