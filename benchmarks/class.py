"""A class on a hub: a real JupyterHub and its proxy on localhost, and learners who go through a lecture all at once.

    python benchmarks/class.py                             # 20 learners, three minutes of play: 12 to 20 in all
    python benchmarks/class.py --learners 3 --minutes 0.5

Each logs in, starts a server, opens their copy of the lecture, runs its cells, answers its predictions, and plays with
its labs. All play at the same time; in the midst of it the hub is restarted. Needs `pip install 'vaekit[class]'` and
configurable-http-proxy (npm). deploy/README.md has what follows from the figures.
"""

import argparse
import asyncio
import math
import os
import random
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

MISSING = {
    "the Python packages": ("pip install 'vaekit[class]'", all(map(find_spec, ("jupyterhub", "httpx", "psutil")))),
    "configurable-http-proxy": ("npm install -g configurable-http-proxy", shutil.which("configurable-http-proxy")),
}
for what, (how, found) in MISSING.items():
    if not found:
        sys.exit(f"benchmarks/class.py needs {what}: {how}")

import httpx  # noqa: E402
import psutil  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.learner import Lab, Played, Server, answer  # noqa: E402
from vaekit.exercises.predictions import export  # noqa: E402

LECTURE, LABS = "00_start_here.ipynb", ("prior-lab", "beta-lab", "new-lab")  # those with a prior and a β to turn
KINDS = ("server", "kernel")
FOLDER = "vaekit-lectures"  # in a learner's home: see deploy/jupyter_server_config.py
EACH = 1.0  # GB of memory that a learner needs by the end of the lecture
PATIENCE = 600  # seconds that anything may take
MARK = "VAEKIT_CLASS"  # in the environment of all processes of a learner
CONFIG = """
c.JupyterHub.bind_url = "{url}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.cleanup_servers = c.JupyterHub.cleanup_proxy = False  # a hub that is restarted leaves them alone
c.JupyterHub.concurrent_spawn_limit = 0
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.start_timeout = c.Spawner.http_timeout = {patience}
c.Spawner.cmd = {command}
c.Spawner.default_url = "/lab"
c.Spawner.environment = {environment}
"""


class Hub:
    """JupyterHub and its proxy on free ports of localhost, with a folder for all that they write."""

    def __init__(self, folder: Path):
        self.folder, self.mark = folder, secrets.token_hex(8)
        port, proxy_port, hub_port = _free_ports(3)
        self.url, self.hub_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{hub_port}/hub/api"
        self._environment = os.environ | {"CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(32)}
        for name in [name for name in self._environment if name.startswith(("JUPYTERHUB_", "VAEKIT_"))]:
            del self._environment[name]
        config = CONFIG.format(
            url=self.url,
            hub_port=hub_port,
            proxy_port=proxy_port,
            folder=folder,
            patience=PATIENCE,
            command=[sys.executable, "-m", "jupyterhub.singleuser", *["--allow-root"] * (os.getuid() == 0)],
            environment=self._of_a_learner(),
        )
        (folder / "jupyterhub_config.py").write_text(config)
        self._proxy = self._start(
            *("configurable-http-proxy", "--ip=127.0.0.1", f"--port={port}", "--api-ip=127.0.0.1"),
            *(f"--api-port={proxy_port}", f"--error-target=http://127.0.0.1:{hub_port}/hub/error", "--log-level=error"),
        )
        self._hub = self._start_hub()

    def _of_a_learner(self) -> dict[str, str]:
        """What their processes need to find the kit, the server's configuration and JupyterLab."""
        more = {"JUPYTER_CONFIG_PATH": REPOSITORY / "deploy", "PYTHONPATH": REPOSITORY}
        theirs = {name: text for name, text in os.environ.items() if name.startswith(("JUPYTER_", "JUPYTERLAB_"))}
        paths = {name: os.pathsep.join(filter(None, [str(it), os.environ.get(name)])) for name, it in more.items()}
        return theirs | paths | {MARK: self.mark}

    def _start(self, *command: str) -> subprocess.Popen:
        with (self.folder / f"{Path(command[0]).name}.log").open("a") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=log, stderr=log)

    def _start_hub(self) -> subprocess.Popen:
        return self._start(sys.executable, "-m", "jupyterhub", "--config=jupyterhub_config.py", "--log-level=WARN")

    async def ready(self) -> float:
        """Wait until the hub answers. Returns the seconds that it took."""
        start = time.monotonic()
        async with httpx.AsyncClient() as http:
            while time.monotonic() - start < PATIENCE:
                with suppress(httpx.HTTPError):
                    if (await http.get(f"{self.url}/hub/api")).status_code == 200:
                        return time.monotonic() - start
                if (self._hub.poll() or self._proxy.poll()) is not None:
                    break
                await asyncio.sleep(0.2)
        raise RuntimeError(f"the hub did not start:\n{self.log()}")

    async def restart(self) -> float:
        """End the hub's process and start another. Returns the seconds until it answers."""
        _end(self._hub)
        self._hub = self._start_hub()
        return await self.ready()

    def log(self) -> str:
        return "\n".join(path.read_text()[-1500:] for path in self.folder.glob("*.log"))

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The processes of each learner, by name."""
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()
                if environment.get(MARK) == self.mark:
                    found.setdefault(environment["JUPYTERHUB_USER"], []).append(process)
        return found

    def close(self) -> None:
        """End the hub, the proxy and what learners have left."""
        _end(self._hub)
        _end(self._proxy)
        left = [process for processes in self.processes().values() for process in processes]
        for process in left:
            with suppress(psutil.Error):
                process.terminate()
        for process in psutil.wait_procs(left, timeout=20)[1]:
            with suppress(psutil.Error):
                process.kill()


@contextmanager
def hub(folder: Path):
    started = Hub(folder)
    try:
        yield started
    finally:
        started.close()


class Class:
    """Learners who go through a lecture side by side: they wait for each other before each lab, as in a hall."""

    def __init__(self, hub: Hub, count: int, seconds: float, seed: int):
        self.hub, self.seconds, self.seed = hub, seconds, seed
        self.names = [f"learner-{number:02}" for number in range(1, count + 1)]
        self.played = {name: Played() for name in self.names}
        self.said: dict[str, list[tuple[str, str]]] = {name: [] for name in self.names}  # choice and reason of each
        self.arrived = self.restarted = 0.0  # seconds
        self.processes: dict[str, list[tuple[str, float]]] = {}  # of each learner: kind, and MB
        self._together = asyncio.Barrier(count + 1)  # the learners, and who leads them

    async def hold(self) -> None:
        """Hold the class. Raises what goes wrong for any of them, in an ExceptionGroup, and TimeoutError."""
        await self.hub.ready()
        async with asyncio.timeout(PATIENCE + self.seconds + 45 * len(self.names)), asyncio.TaskGroup() as group:
            group.create_task(self._lead(time.monotonic()))
            for name in self.names:
                group.create_task(self._learn(name))

    async def _lead(self, start: float) -> None:
        """Wait with the class before and after each lab; in the midst of the second one restart the hub."""
        for lab in range(len(LABS)):
            await self._together.wait()
            self.arrived = self.arrived or time.monotonic() - start
            print(f"{time.monotonic() - start:4.0f} s: all have {LABS[lab]} before them", file=sys.stderr)
            if lab == 1:
                await asyncio.sleep(self.seconds / len(LABS) / 4)
                self.restarted = await self.hub.restart()
            await self._together.wait()
        self.processes = {name: list(map(_size, them)) for name, them in self.hub.processes().items()}
        await self._together.wait()

    async def _learn(self, name: str) -> None:
        turns, server = random.Random(f"{self.seed} {name}"), Server(self.hub.url, name)
        await server.log_in()
        await server.start(PATIENCE)
        notebook = await server.ask("GET", f"contents/{FOLDER}/{LECTURE}")
        async with server.kernel(notebook["path"]) as kernel:
            for cell in notebook["content"]["cells"]:
                if cell["cell_type"] != "code" or "claims" in cell["metadata"].get("tags", ()):
                    continue
                shown = await kernel.run(cell)
                if cell["id"] in LABS:
                    await self._together.wait()
                    await Lab(kernel, shown[0]).play_for(self.seconds / len(LABS), turns, self.played[name])
                    await self._together.wait()
                elif cell["id"].endswith("-guess"):
                    self.said[name].append(answer(kernel, shown[0], turns))
            await server.look_home()  # the hub that was restarted knows them still
            await self._together.wait()


def _size(process: psutil.Process) -> tuple[str, float]:
    kind = "kernel" if "ipykernel_launcher" in process.cmdline() else "server"
    return kind, process.memory_full_info().pss / 1e6


def report(held: Class, folder: Path) -> list[tuple[str, str, str]]:
    """What was measured, as rows of a table: what, the figure, what is wanted."""
    played = held.played.values()
    speeds = [one.steps / one.seconds for one in played]
    median = statistics.median(speeds)
    waits = [statistics.median(one.answers) for one in played]
    every = [wait for one in played for wait in one.answers]
    kinds = [[mb for them in held.processes.values() for kind, mb in them if kind == asked] for asked in KINDS]
    whole = [sum(mb for _, mb in them) for them in held.processes.values()]
    kept = export(*(folder / "home" / name / "vaekit-answers" / name for name in held.names))
    found = {(row["learner"], row["choice"], row["text"]) for row in kept}
    lost = sum((name, *said) not in found for name in held.names for said in held.said[name])
    return [
        ("from the first log-in to a lab before all", f"{held.arrived:.0f} s", ""),
        ("optimizer steps per second of a learner, median", f"{median:.1f}", ""),
        ("the slowest learner, of the median", f"{min(speeds) / median:.2f}", "≥ 0.5"),
        ("knob → first frame with it, median / 95 %", f"{_ms(statistics.median(every))} / {_ms(_95(every))}", "≤ 1 s"),
        ("the same, median of the learner who waits longest", _ms(max(waits)), "≤ 1 s"),
        ("knobs turned / never answered", f"{len(every)} / {sum(one.unanswered for one in played)}", "0 unanswered"),
        ("memory of a server / of a kernel, PSS, median", " / ".join(_mb(statistics.median(it)) for it in kinds), ""),
        ("memory of a learner, PSS, median / largest", f"{_mb(statistics.median(whole))} / {_mb(max(whole))}", ""),
        ("answers given / lost", f"{sum(map(len, held.said.values()))} / {lost}", "0 lost"),
        ("hub away while it was restarted; learners went on", f"{held.restarted:.1f} s", ""),
    ]


def sizes(held: Class, cores: int) -> list[tuple[str, ...]]:
    """What a class needs for the same figures, as rows: learners, cores, GB of memory. Computed, not tried."""
    count = len(held.names)
    each = max(sum(mb for _, mb in them) for them in held.processes.values()) / 1000
    return [(f"{n}", f"{math.ceil(n * cores / count)}", f"{math.ceil(2 + n * each)}") for n in (20, 100, 500)]


def table(*rows: tuple[str, ...]) -> str:
    """Rows as a table in Markdown; the first has the titles."""
    titles, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([titles, "|" + " --- |" * len(rows[0]), *rest])


def _95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _mb(mb: float) -> str:
    return f"{mb:.0f} MB"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learners", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--minutes", type=float, default=3, help="how long all play together (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="of who turns what and when")
    asked = parser.parse_args()
    free = psutil.virtual_memory().available / 1e9
    if free < asked.learners * EACH:
        wanted = f"{asked.learners} learners need {asked.learners * EACH:.0f} GB of memory, and {free:.0f} are free"
        sys.exit(f"{wanted}: try --learners {math.floor(free / EACH)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with hub(folder) as running:
            held = Class(running, asked.learners, 60 * asked.minutes, asked.seed)
            try:
                asyncio.run(held.hold())
            except (ExceptionGroup, TimeoutError) as error:
                first = getattr(error, "exceptions", [error])[0]
                sys.exit(f"the class broke off: {first!r}\n{running.log()}")
            rows = report(held, folder)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(table((f"{asked.learners} learners on {cores} cores, all at once", "measured", "wanted"), *rows))
    print("\n" + table(("learners", "cores for the same figures", "GB of memory"), *sizes(held, cores)))


if __name__ == "__main__":
    main()
