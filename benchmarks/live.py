"""The live lab in JupyterLab and a real browser: what watching costs, and how fast a knob is answered.

    python benchmarks/live.py                # everything, about eight minutes
    python benchmarks/live.py --minutes 0    # without the long play

Live and headless training alternate in one run, on one thread of one kernel; the ratio is what counts.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser.jupyter import (  # noqa: E402
    STATES,
    Lab,
    browser_page,
    execute,
    jupyterlab,
    open_notebook,
    run_all,
    run_cell,
)

# The first optimizer has torch import its compiler, for a second: not the lab's.
LOADED = "import torch, vaekit, vaekit.lab\nvaekit.mnist()\ntorch.optim.Adam([torch.zeros(1)])"
SHOWN = "lab = vaekit.LatentLab()\nlab"
TWIN = "two = vaekit.LatentLab(twin=True)\ntwo"
ALL_ON = """lab = vaekit.LatentLab(tasks=[vaekit.lab.Task("Watch", lambda lab: False)])
lab.new_digits()
lab.plane.aggregated = True
lab"""

# Runs in the kernel, in a thread, so that the kernel stays free to answer the page.
PROBE = '''
import json, os, threading, time
import psutil, torch

def headless(seconds):
    """Steps per second of the bare loop on the lab's own thread."""
    def loop():
        run = lab.engine.run
        model = vaekit.VAE().to(run.images.device)
        steps, start = vaekit.train(model, run.images), time.perf_counter()
        for step in steps:
            if time.perf_counter() - start > seconds:
                return step.number / (time.perf_counter() - start)
    return lab.engine.post(loop).result()

def live(seconds, lab=None):
    """Steps and frames per second of a lab that is looked at."""
    lab = lab or globals()["lab"]
    lab.set(prior=not lab.knobs.prior)  # so that the cloud moves
    lab.play()
    time.sleep(1)
    side = lab.view.sides[0]
    first, frames, start = lab.steps_taken, side.number, time.perf_counter()
    time.sleep(seconds)
    passed = time.perf_counter() - start
    found = (lab.steps_taken - first) / passed, (side.number - frames) / passed
    lab.pause()
    return found

def soon(name, lab):
    """Leaves the page two seconds to bring the lab into sight."""
    threading.Thread(target=lambda: (time.sleep(2), write(name, live(4, lab)))).start()

def measure(rounds=6, seconds=4):
    pairs = [(headless(seconds), *live(seconds)) for _ in range(rounds)]
    write("speed", pairs)

def write(name, value):
    with open(name + ".part", "w") as file:
        json.dump(value, file)
    os.replace(name + ".part", name + ".json")

turned = []
def watch_knobs():
    run = lab.engine.run
    advance, last = run.advance, [None]
    def watched():
        step = advance()
        if step.knobs.effective_beta != last[0]:
            last[0] = step.knobs.effective_beta
            turned.append((time.time(), last[0]))
        return step
    run.advance = watched

def memory():
    write("memory", {"rss": psutil.Process().memory_info().rss, "frame": lab.view.sides[0].number})
'''

# What the lab's node says of itself when it is asked.
ASK = f"{STATES}(document.querySelector('.vk-lab'))[0]"
# Milliseconds of decoding and painting the image under the pointer.
DECODE = """() => {
    const found = {};
    document.querySelector(".vk-lab").dispatchEvent(new CustomEvent("vk-probe", { detail: found }));
    const start = performance.now();
    found.planes[0].showDecoded();
    return performance.now() - start;
}"""
# A click on the prior's switch; the time of the first painting after a frame that was made under it has come.
CLICK = """() => new Promise((done) => {
    const found = {};
    document.querySelector(".vk-lab").dispatchEvent(new CustomEvent("vk-probe", { detail: found }));
    const [plane] = found.planes, before = plane.frame().beta, start = performance.timeOrigin + performance.now();
    let painted = Infinity;
    const hear = () => {
        if (plane.frame().beta !== before) painted = Math.min(painted, plane.painted);
    };
    const look = () => {
        if (plane.painted <= painted) return requestAnimationFrame(look);
        plane.model.off("change:frame", hear);
        done([start, performance.timeOrigin + performance.now(), plane.frame().beta]);
    };
    plane.model.on("change:frame", hear);
    document.querySelector(".vk-switch input").click();
    look();
})"""


def notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells; the last one is where Kernel.run runs things."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


class Kernel:
    """Runs code in the notebook's last cell, and reads the files it leaves in the notebook's folder."""

    def __init__(self, page, folder: Path):
        self.page, self.folder = page, folder

    def run(self, code: str) -> None:
        cell = self.page.locator(".jp-CodeCell").last
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Control+Enter")

    def result(self, name: str, seconds: float = 120):
        file = self.folder / f"{name}.json"
        end = time.monotonic() + seconds
        while not file.exists():
            if time.monotonic() > end:
                raise TimeoutError(f"the kernel did not write {file.name} in {seconds:g} s")
            self.page.wait_for_timeout(100)
        found = json.loads(file.read_text())
        file.unlink()
        return found


def percentile95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def first_painting(page) -> float:
    """Seconds from running the lab's cell to the first painted cloud, with torch and the digits loaded."""
    page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
    start = time.perf_counter()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(f"{ASK}?.painted > 0", polling=10)
    return time.perf_counter() - start


def answers(page, kernel: Kernel, events: int = 30) -> tuple[list[float], list[float]]:
    """Milliseconds from turning a knob to the step it acts on, and to the first painted frame, while playing."""
    kernel.run("turned.clear()")
    Lab(page).show()  # only a lab in sight has frames
    clicks = []
    for i in range(events):
        page.wait_for_timeout(350 + 37 * (i % 7))  # not in step with the frames
        clicks.append(page.evaluate(CLICK))
    kernel.run("write('turned', turned)")
    steps = kernel.result("turned")
    to_step = []
    for start, _, beta in clicks:
        acted = min(1000 * when for when, value in steps if 1000 * when >= start - 2 and value == beta)
        to_step.append(acted - start)
    return to_step, [painted - start for start, painted, _ in clicks]


def decode_times(page, moves: int = 200) -> list[float]:
    """Milliseconds of each in-page decode on a drag."""
    box = page.locator(".vk-plane").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    page.mouse.down()
    found = []
    for i in range(moves):
        page.mouse.move(
            box["x"] + 5 + (box["width"] - 10) * i / moves, box["y"] + box["height"] * (0.3 + 0.4 * (i % 2))
        )
        found.append(page.evaluate(DECODE))
    page.mouse.up()
    return found


def memory(page, kernel: Kernel) -> tuple[float, float, int]:
    """Kernel and page memory in MB after a collection, and how many frames the page is behind the kernel."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    kernel.run("memory()")
    found = kernel.result("memory")
    painted = int(page.evaluate(f"{ASK}.frame"))
    return found["rss"] / 1e6, heap / 1e6, found["frame"] - painted


def twin_share(page, url: str, folder: Path, rounds: int = 4) -> float:
    """A twin's steps per second over a single run's, each of them in sight: the median of pairs."""
    notebook(folder / "twin.ipynb", LOADED, SHOWN, TWIN)
    open_notebook(page, url, "twin.ipynb")
    run_all(page)
    labs = {"two": Lab(page, 1), "lab": Lab(page, 0)}
    execute(page, PROBE)
    found = []
    for _ in range(rounds):
        speeds = {}
        for name, lab in labs.items():
            lab.show()
            execute(page, f"soon('speed', {name})")
            speeds[name] = Kernel(page, folder).result("speed")[0]
        found.append(speeds["two"] / speeds["lab"])
    return statistics.median(found)


def with_all_on(page, url: str, folder: Path, runs: int = 20) -> tuple[float, list[float]]:
    """What is kept with a task, new digits and q(z) on; and the kernel's MB as the cell is run again and again."""
    notebook(folder / "all.ipynb", LOADED, ALL_ON, PROBE, "")
    open_notebook(page, url, "all.ipynb")
    run_all(page)
    kernel = Kernel(page, folder)
    execute(page, "")
    kernel.run("threading.Thread(target=measure).start()")
    Lab(page).show()
    kept = statistics.median(live / bare for bare, live, _ in kernel.result("speed"))
    sizes = []
    for _ in range(runs):
        run_cell(page, 1)
        execute(page, "lab.run(50); None")
        sizes.append(memory(page, kernel)[0])
    return kept, sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5, help="how long the long play lasts (default 5)")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as temporary, jupyterlab(Path(temporary)) as url, browser_page() as page:
        folder = Path(temporary) / "notebooks"
        notebook(folder / "live.ipynb", LOADED, SHOWN, PROBE + "\nwrite('ready', 1)", "")
        open_notebook(page, url, "live.ipynb")
        kernel = Kernel(page, folder)
        page.locator(".jp-CodeCell").nth(0).locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(15_000)
        rows = [("running the cell → first painted cloud", f"{first_painting(page):.2f} s", "≤ 1.0 s")]
        lab = Lab(page)
        page.locator(".jp-CodeCell").nth(2).locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        kernel.result("ready")
        lab.show()

        kernel.run("threading.Thread(target=measure).start()")
        lab.show()
        pairs = kernel.result("speed")
        bare, live = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        rows += [
            ("headless training", f"{bare:.0f} steps/s", ""),
            ("live training, the cloud moving", f"{live:.0f} steps/s", ""),
            (
                "kept: live / headless, median of pairs",
                f"{statistics.median(p[1] / p[0] for p in pairs):.2f}",
                "≥ 0.81",
            ),
            ("frames sent", f"{statistics.median(p[2] for p in pairs):.1f} /s", ""),
        ]
        kernel.run("watch_knobs(); lab.play()")
        lab.wait("d.playing == 'true'")
        to_step, to_paint = answers(page, kernel)
        decoded = decode_times(page)
        rows += [
            (
                "knob → optimizer step, median / 95 %",
                f"{statistics.median(to_step):.0f} / {percentile95(to_step):.0f} ms",
                "≤ 60 ms",
            ),
            (
                "knob → painted frame, median / 95 %",
                f"{statistics.median(to_paint):.0f} / {percentile95(to_paint):.0f} ms",
                "≤ 90 ms",
            ),
            (
                "in-page decode, median / 95 %",
                f"{statistics.median(decoded):.1f} / {percentile95(decoded):.1f} ms",
                "< 4 ms",
            ),
        ]
        if minutes:
            page.wait_for_timeout(20_000)
            before = memory(page, kernel)
            lab.show()  # unseen, it pauses in two minutes
            page.wait_for_timeout(60_000 * minutes)
            after = memory(page, kernel)
            to_step, to_paint = answers(page, kernel)
            rows += [
                (
                    f"kernel memory over {minutes:g} minutes",
                    f"{before[0]:.0f} → {after[0]:.0f} MB ({after[0] / before[0] - 1:+.1%})",
                    "≤ +5 %",
                ),
                (
                    f"page's JavaScript heap over {minutes:g} minutes",
                    f"{before[1]:.1f} → {after[1]:.1f} MB ({after[1] / before[1] - 1:+.1%})",
                    "≤ +5 %",
                ),
                ("frames behind, at the start / end", f"{before[2]} / {after[2]}", "≤ 3"),
                (
                    "knob → painted frame, after that",
                    f"{statistics.median(to_paint):.0f} / {percentile95(to_paint):.0f} ms",
                    "≤ 90 ms",
                ),
            ]
        execute(page, "lab.pause()")  # unseen, it would go on for two minutes beside the next
        kept, sizes = with_all_on(page, url, folder)
        rows += [
            ("kept with a task, new digits and q(z) on", f"{kept:.2f}", "≥ 0.75"),
            ("kernel memory, the lab's cell run 5 / 20 times", f"{sizes[4]:.0f} / {sizes[-1]:.0f} MB", "≤ +5 %"),
        ]
        share = twin_share(page, url, folder)
        rows.append(("twin / single run, live steps per second", f"{share:.2f}", "≥ 0.45"))
    width = max(len(row[0]) for row in rows)
    print(f"| {'live lab, batch 128':{width}} | measured | wanted |\n| {'-' * width} | --- | --- |")
    for name, value, wanted in rows:
        print(f"| {name:{width}} | {value} | {wanted} |")


if __name__ == "__main__":
    main()
