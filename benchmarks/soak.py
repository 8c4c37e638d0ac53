"""Play for an hour: a twin in JupyterLab and a real browser, its knobs turned at random; does anything grow or lag?

    make soak                                     # an hour, seed 0
    make soak ARGS="--minutes 15 --seed 3"

What is done comes from the seed alone, in the order that is logged in artifacts/soak.jsonl beside what is measured.
For two thirds of the time it is played without a break; in the last third, every two minutes, the lab's cell is run
again, and at times the page reloaded instead. Ends with a table of what grew in each part; the exit status is 1 when a
row fails.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from live import LOADED, notebook  # which puts the repository on the path

from tests.browser.jupyter import (
    ARTIFACTS,
    Lab,
    ask,
    browser_page,
    jupyterlab,
    open_notebook,
    run_all,
    run_cell,
    save,
)

NAME = "soak.ipynb"
TWIN = """lab = vaekit.LatentLab(twin=True)
lab.controls.new.value = lab.controls.aggregated.value = True
lab.play()
lab"""
MEASURED = 30  # seconds from one measurement to the next
SETTLED = 5  # minutes until what is kept along a run has its size
OVERHAUL = 120  # seconds until the cell is run again, or the page reloaded, in the last third
MOST_GROWTH, MOST_BEHIND = 0.05, 2.0  # a share, seconds
SIZES = ((1280, 800), (1920, 1080), (800, 700), (1280, 800))
GROWN = ("kernel MB", "server MB", "page heap MB", "page nodes", "page listeners")


# -- what is done: (name, arguments), from the seed alone ---------------------------------------------------------


def actions(seed: int) -> Iterator[tuple[str, list, float]]:
    """Yield (what is done, its arguments, the seconds until the next), without end."""
    dice = random.Random(seed)
    draws = {
        "prior": lambda: [dice.randrange(2)],
        "beta": lambda: [dice.randrange(2), f"{10 ** dice.uniform(-2, 2):.3g}"],
        "rate": lambda: [dice.randrange(2), f"{10 ** dice.uniform(-4, -2.5):.3g}"],
        "pause_and_step": lambda: [dice.randint(1, 4)],
        "look_back": lambda: [dice.randrange(1000) for _ in range(4)],
        "drag": lambda: [dice.randrange(2), *(round(dice.uniform(-2, 2), 2) for _ in range(4))],
        "new_digits": lambda: [dice.randrange(2)],
        "full_screen": list,
        "resize": lambda: list(dice.choice(SIZES)),
    }
    while True:
        name = dice.choice(list(draws))
        yield name, draws[name](), dice.uniform(0.2, 4)


class Player:
    """Does what it is told to a lab in a page, as a hand would."""

    def __init__(self, page, url: str):
        self.page, self.url, self.lab = page, url, Lab(page)

    def prior(self, side: int) -> None:
        self.lab.priors.nth(side).click()

    def beta(self, side: int, text: str) -> None:
        self.lab.type("β", text, side)

    def rate(self, side: int, text: str) -> None:
        self.lab.type("learning rate", text, side)

    def pause_and_step(self, times: int) -> None:
        with self._at_rest():
            for _ in range(times):
                self.lab.press("Step")

    def look_back(self, *places: int) -> None:
        with self._at_rest():
            for where in places:
                self.lab.look_back(where)
                self.page.wait_for_timeout(300)

    def drag(self, side: int, *places: float) -> None:
        self.lab.planes.nth(side).scroll_into_view_if_needed()
        for z, press in ((places[:2], self.page.mouse.down), (places[2:], self.page.mouse.up)):
            self.page.mouse.move(*self.lab.client(*z, side), steps=20)
            press()

    def new_digits(self, shown: int) -> None:
        for _ in range(2 - shown):  # put away, and shown again by the next two
            self.lab.press("New digits")

    def full_screen(self) -> None:
        self.lab.plane.focus()
        for is_full in ("document.fullscreenElement", "!document.fullscreenElement"):
            self.page.keyboard.press("f")
            self.page.wait_for_function(is_full)
            self.page.wait_for_timeout(1500)

    def resize(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})

    def reload(self) -> None:
        save(self.page)
        open_notebook(self.page, self.url, NAME)
        self._found()

    def run_again(self) -> None:
        run_cell(self.page, 1)
        self._found()

    def _found(self) -> None:
        self.lab = Lab(self.page)
        self.lab.show()
        self.lab.wait("d.playing === 'true'")

    @contextmanager
    def _at_rest(self):
        if self.lab.state()["playing"] == "true":  # else something that failed has left it paused
            self.lab.press("Pause")
        self.lab.wait("d.playing === 'false'")
        yield
        self.lab.press("Play")
        self.lab.wait("d.playing === 'true'")


# -- what is measured ---------------------------------------------------------------------------------------------


class Meter:
    """Measures the kernel, its server and the page."""

    def __init__(self, player: Player):
        self.player, self.page = player, player.page
        self.kernel = psutil.Process(ask(self.page, "os.getpid()", "import os"))
        self.session = self.page.context.new_cdp_session(self.page)

    def __call__(self) -> dict[str, float]:
        self.session.send("HeapProfiler.collectGarbage")
        heap, nodes = self.session.send("Runtime.getHeapUsage"), self.session.send("Memory.getDOMCounters")
        # Not the browser's own heap: being watched, it notes every request (JupyterLab's icon, at each busy and idle),
        # and it caches each text that was painted. What a page can leave there is counted as nodes and listeners.
        bytes_there = heap["usedSize"] + heap.get("backingStorageSize", 0)
        return {
            "kernel MB": _megabytes(self.kernel),
            "server MB": _megabytes(self.kernel.parent()),
            "page heap MB": bytes_there / 1e6,
            "page nodes": nodes["nodes"],
            "page listeners": nodes["jsEventListeners"],
            "seconds behind": self._behind(),
            "step": self.player.lab.state()["step"],
        }

    def _behind(self) -> float:
        """Seconds until the page has painted what the kernel had sent when it was asked."""
        self.player.lab.show()
        start = time.monotonic()
        left, right = ask(self.page, "[side.number for side in lab.view.sides]")
        self.player.lab.wait(f"d.frame >= {left} && r.frame >= {right}")
        return time.monotonic() - start


def _megabytes(process: psutil.Process) -> float:
    """What a process has for itself: of libraries it has the more, the fewer others use them, and that is no growth."""
    memory = process.memory_info()
    return (memory.rss - memory.shared if psutil.LINUX else process.memory_full_info().uss) / 1e6


def grown(samples: list[tuple[float, dict]], name: str) -> tuple[float, float]:
    """The ends of the line that fits `name` best over samples (minute, measured)."""
    minutes, values = [minute for minute, _ in samples], [measured[name] for _, measured in samples]
    slope, start = statistics.linear_regression(minutes, values)
    return start + slope * minutes[0], start + slope * minutes[-1]


def table(played: list, overhauled: list, faults: list[str]) -> list[tuple[str, str, bool]]:
    """Rows (what, measured, does it hold?)."""
    rows = []
    for part, samples in (("while it plays", played), ("reloaded and run again", overhauled)):
        if len(samples) < 2:
            continue
        for name in GROWN:
            first, last = grown(samples, name)
            growth = last / first - 1
            rows.append((f"{name}, {part}", f"{first:.0f} → {last:.0f} ({growth:+.1%})", growth <= MOST_GROWTH))
    behind = max(measured["seconds behind"] for _, measured in played + overhauled)
    rows.append(("seconds behind, at most", f"{behind:.1f}", behind <= MOST_BEHIND))
    rows.append(("faults, errors and messages", "; ".join(faults) or "none", not faults))
    return rows


# -- the play -----------------------------------------------------------------------------------------------------


class Soak:
    """Plays, and measures on the way; everything is logged."""

    def __init__(self, player: Player, log):
        self.player, self.meter, self.log = player, Meter(player), log
        self.start, self.faults = time.monotonic(), []

    def play(self, todo: Iterator, minutes: float, overhaul: Iterator | None = None) -> list[tuple[float, dict]]:
        """Do what is to be done for so many minutes. Returns samples (minute, measured)."""
        samples, end = [], time.monotonic() + 60 * minutes
        measured = overhauled = time.monotonic()
        while time.monotonic() < end:
            if overhaul and time.monotonic() > overhauled:
                self._do(next(overhaul), [])
                overhauled = time.monotonic() + OVERHAUL
            name, arguments, wait = next(todo)
            self._do(name, arguments)
            self.player.page.wait_for_timeout(1000 * wait)
            if time.monotonic() > measured + MEASURED:
                measured = time.monotonic()
                samples.append((self._minute(), self.meter()))
                self._write(measured=samples[-1][1])
        return samples

    def _do(self, name: str, arguments: list) -> None:
        self._write(do=name, with_=arguments)
        try:
            getattr(self.player, name)(*arguments)
        except Exception as error:
            self._fault(f"{name}{tuple(arguments)} failed ({str(error).splitlines()[0]})")
        for problem in self.player.page.problems:
            self._fault(f"the console said: {problem}")
        self.player.page.problems.clear()
        if (message := self.player.lab.message).is_visible():
            self._fault(f"the lab said: {message.text_content()}")

    def _fault(self, text: str) -> None:
        self.player.page.screenshot(path=ARTIFACTS / f"soak-fault-{len(self.faults)}.png")
        self.faults.append(f"minute {self._minute():.1f}: {text}")
        self._write(fault=text)

    def _minute(self) -> float:
        return (time.monotonic() - self.start) / 60

    def _write(self, **what) -> None:
        print(json.dumps({"minute": round(self._minute(), 2)} | what, ensure_ascii=False), file=self.log, flush=True)


def soak(minutes: float, seed: int) -> list[tuple[str, str, bool]]:
    """Play for so many minutes. Returns the table's rows."""
    ARTIFACTS.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as temporary,
        jupyterlab(Path(temporary)) as url,
        browser_page() as page,
        (ARTIFACTS / "soak.jsonl").open("w", encoding="utf-8") as log,
    ):
        notebook(Path(temporary) / "notebooks" / NAME, LOADED, TWIN)
        open_notebook(page, url, NAME)
        run_all(page)
        player = Player(page, url)
        run, todo = Soak(player, log), actions(seed)
        settled = min(SETTLED, minutes / 4)
        run.play(todo, settled)
        played = run.play(todo, 2 / 3 * minutes - settled)
        overhauled = run.play(todo, minutes / 3, itertools.cycle(["run_again", "run_again", "run_again", "reload"]))
        return table(played, overhauled, run.faults)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="how long it is played (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of what is done (default 0)")
    options = parser.parse_args()
    rows = soak(options.minutes, options.seed)
    width = max(len(row[0]) for row in rows)
    print(
        f"| {f'{options.minutes:g} minutes, seed {options.seed}':{width}} | measured | |\n| {'-' * width} | --- | --- |"
    )
    for name, measured, holds in rows:
        print(f"| {name:{width}} | {measured} | {'holds' if holds else 'FAILS'} |")
    sys.exit(not all(holds for *_, holds in rows))


if __name__ == "__main__":
    main()
