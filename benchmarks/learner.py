"""A learner on a hub, without a browser: what JupyterLab would send over HTTP and the kernel's websocket.

The page's own part of a lab is its heartbeat; all else is what plain widgets send when they are used.
"""

import asyncio
import random
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem

import httpx
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

SLOW = 300  # seconds that one answer may take while all servers start
PROTOCOL = "v1.kernel.websocket.jupyter.org"
PLACES = {0.5: 34, 2.0: 46, 4.0: 52, 10.0: 60}  # of β on its slider: see vaekit/lab/knobs.py


class ClassError(RuntimeError):
    """What a learner could not do, in one line."""


class Server:
    """One learner's way to their JupyterLab: logged in, by the cookies that a browser would keep."""

    def __init__(self, hub: str, name: str):
        self.hub, self.name, self.url = hub, name, f"{hub}/user/{name}"
        self.http = httpx.AsyncClient(follow_redirects=True, timeout=SLOW)

    def token(self, path: str) -> str:
        """The token against forged requests that was set for this path."""
        return next(cookie.value for cookie in self.http.cookies.jar if (cookie.name, cookie.path) == ("_xsrf", path))

    async def log_in(self) -> None:
        await self.http.get(f"{self.hub}/hub/login")
        answer = await self.http.post(
            f"{self.hub}/hub/login",
            params={"next": "/hub/home"},
            data={"username": self.name, "password": "class", "_xsrf": self.token("/hub/")},
        )
        if answer.url.path != "/hub/home":
            raise ClassError(f"{self.name} could not log in: {answer.status_code} at {answer.url.path}")

    async def start(self, seconds: float) -> None:
        """Start the learner's server, and open JupyterLab there: the hub's pages lead to it."""
        end = time.monotonic() + seconds
        answer = await self.http.get(f"{self.hub}/hub/spawn/{self.name}")
        while True:
            if answer.status_code >= 400 or time.monotonic() > end:
                raise ClassError(f"{self.name}'s server did not start: {answer.status_code} at {answer.url.path}")
            if answer.url.path.startswith(f"/user/{self.name}/lab"):
                return
            await asyncio.sleep(1)
            answer = await self.http.get(f"{self.hub}/hub/spawn-pending/{self.name}")

    async def ask(self, method: str, path: str, **options):
        """What the server's API answers."""
        headers = {"X-XSRFToken": self.token(f"/user/{self.name}/")}
        answer = await self.http.request(method, f"{self.url}/api/{path}", headers=headers, **options)
        if answer.status_code >= 400:
            raise ClassError(f"{self.name}: {method} {path} was answered with {answer.status_code}")
        return answer.json() if answer.content else None

    async def look_home(self) -> None:
        """Open the hub's own page, as somebody who is logged in."""
        answer = await self.http.get(f"{self.hub}/hub/home")
        if answer.url.path != "/hub/home":
            raise ClassError(f"the hub has forgotten {self.name}: {answer.status_code} at {answer.url.path}")

    @asynccontextmanager
    async def kernel(self, notebook: str):
        """A kernel for a notebook, and the connection to it."""
        about = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": "python3"}}
        session = await self.ask("POST", "sessions", json=about)
        cookies = "; ".join(f"{it.name}={it.value}" for it in self.http.cookies.jar if it.path != "/hub/")
        url = f"{self.url}/api/kernels/{session['kernel']['id']}/channels?session_id={session['id']}"
        request = HTTPRequest(url.replace("http", "ws", 1), headers={"Cookie": cookies}, connect_timeout=SLOW)
        socket = await websocket_connect(request, subprotocols=[PROTOCOL], max_message_size=2**27)
        kernel = Kernel(socket)
        try:
            await kernel.open()
            yield kernel
        finally:
            kernel.close()


class Kernel:
    """Requests to a kernel, and the widgets that it has: models[id] is a state as the page would have it."""

    def __init__(self, socket):
        self.session, self.socket = Session(), socket
        self.models: dict[str, dict] = {}
        self.displayed: list[str] = []  # the widgets of the cell that runs
        self.listeners: list = []  # called with (model id, what is new in its state)
        self.subshell = None
        self._waiting: dict[tuple, asyncio.Future] = {}
        self._reading = asyncio.create_task(self._read())

    async def open(self) -> None:
        """Wait until the kernel answers, and ask for a thread for widgets, as JupyterLab does."""
        await self.request("shell", "kernel_info_request")
        answer = await self.request("control", "create_subshell_request")
        self.subshell = answer.get("subshell_id")

    async def request(self, channel: str, kind: str, content: dict | None = None, **metadata) -> dict:
        """Ask, and wait for the answer and until the kernel says that it is done: they come in any order."""
        message, loop = self._send(channel, kind, content or {}, metadata), asyncio.get_running_loop()
        both = [self._waiting.setdefault((message["msg_id"], what), loop.create_future()) for what in ("answer", "end")]
        return (await asyncio.gather(*both))[0]

    async def run(self, cell: dict) -> list[str]:
        """Run a notebook's cell. Returns the ids of the widgets that it displays."""
        self.displayed = []
        content = {"code": "".join(cell["source"]), "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": True, "stop_on_error": True}
        answer = await self.request("shell", "execute_request", content, cellId=cell["id"], deletedCells=[])
        if answer["status"] != "ok":
            raise ClassError(f"cell {cell['id']} failed: {answer.get('evalue', answer['status'])}")
        return self.displayed

    def tell(self, model: str, content: dict) -> None:
        """A message of a widget's own: a button's click, a lab's heartbeat."""
        self._say(model, {"method": "custom", "content": content})

    def set(self, model: str, **state) -> None:
        """Change a widget's state as its view in the page does."""
        self.models[model] |= state
        self._say(model, {"method": "update", "state": state, "buffer_paths": []})

    def within(self, model: str) -> list[str]:
        """The ids of a widget and of all that are in it."""
        inside = [it.removeprefix("IPY_MODEL_") for it in self.models[model].get("children", ())]
        return [model, *(each for child in inside for each in self.within(child))]

    def close(self) -> None:
        self._reading.cancel()
        self.socket.close()

    def _say(self, model: str, data: dict) -> None:
        more = {"subshell_id": self.subshell} if self.subshell else {}
        self._send("shell", "comm_msg", {"comm_id": model, "data": data}, {}, **more)

    def _send(self, channel: str, kind: str, content: dict, metadata: dict, **more) -> dict:
        message = self.session.msg(kind, content, metadata=metadata)
        message["header"] |= more
        self.socket.write_message(serialize_msg_to_ws_v1(message, channel, self.session.pack), binary=True)
        return message["header"]

    async def _read(self) -> None:
        try:
            while (data := await self.socket.read_message()) is not None:
                channel, (header, parent, _, content, *buffers) = deserialize_msg_from_ws_v1(data)
                self._hear(channel, *map(self.session.unpack, (header, parent, content)), buffers)
            raise ClassError("the connection to the kernel was closed")
        except Exception as error:
            self.socket.close()  # so that whoever sends more is told
            for waiting in self._waiting.values():
                waiting.set_exception(error)

    def _hear(self, channel: str, header: dict, parent: dict, content: dict, buffers: list[bytes]) -> None:
        kind, data = header["msg_type"], content.get("data", {})
        ended = kind == "status" and content["execution_state"] == "idle"
        if ended or channel in ("shell", "control"):
            waiting = self._waiting.pop((parent.get("msg_id"), "end" if ended else "answer"), None)
            if waiting:
                waiting.set_result(content)
        elif kind in ("display_data", "execute_result"):
            with suppress(KeyError):
                self.displayed.append(data["application/vnd.jupyter.widget-view+json"]["model_id"])
        elif kind == "comm_close":
            self.models.pop(content["comm_id"], None)
        elif kind == "comm_open" or (kind == "comm_msg" and data.get("method") == "update"):
            new = data["state"]
            for path, buffer in zip(data.get("buffer_paths", ()), buffers, strict=True):
                reduce(getitem, path[:-1], new)[path[-1]] = buffer
            self.models.setdefault(content["comm_id"], {}).update(new)
            for listener in self.listeners:
                listener(content["comm_id"], new)


def answer(kernel: Kernel, shown: str, turns: random.Random) -> tuple[str, str]:
    """Pick one of a prediction's choices, and write why. Returns both."""
    states = {part: kernel.models[part] for part in kernel.within(shown)}
    button = turns.choice([part for part, state in states.items() if state["_model_name"] == "ButtonModel"])
    box = next(part for part, state in states.items() if state["_model_name"] == "TextareaModel")
    why = f"because {turns.random():.6f}"
    kernel.tell(button, {"event": "click"})
    kernel.set(box, value=why)
    return states[button]["description"], why


@dataclass
class Played:
    """What a learner has seen of the labs they played with."""

    seconds: float = 0.0
    steps: int = 0
    answers: list[float] = field(default_factory=list)  # seconds from turning a knob to the first frame that shows it
    unanswered: int = 0


class Lab:
    """A lab that a learner has in sight, by its widgets."""

    def __init__(self, kernel: Kernel, root: str):
        self.kernel, self.parts = kernel, kernel.within(root)
        self.plane = self._find(lambda state: "frame" in state)
        self.play = self._find(lambda state: state.get("description") in ("Play", "Pause"))
        self.prior = self._find(lambda state: "vk-switch" in state.get("_dom_classes", ()))
        self.beta = self._find(lambda state: state.get("_model_name") == "SelectionSliderModel")
        self._frame = asyncio.Event()
        kernel.listeners.append(self._see)

    def _find(self, has) -> str:
        return next(part for part in self.parts if has(self.kernel.models[part]))

    def _see(self, model: str, new: dict) -> None:
        if model == self.plane and "frame" in new:
            self._frame.set()

    def seen(self) -> tuple[int, int, float]:
        """The frame that stands in the page: its number, its step, its effective β."""
        frame = self.kernel.models[self.plane]["frame"]
        return frame["number"], frame["step"], frame["beta"]

    async def keep_looking(self) -> None:
        """The page's heartbeat."""
        while True:
            self.kernel.tell(self.plane, {"kind": "seen", "frame": self.seen()[0], "visible": True})
            await asyncio.sleep(1)

    async def play_for(self, seconds: float, turns: random.Random, played: Played) -> None:
        """Press Play, turn the prior and β every few seconds, press Pause."""
        heart, end = asyncio.create_task(self.keep_looking()), time.monotonic() + seconds
        self.kernel.tell(self.play, {"event": "click"})
        began, first = time.monotonic(), self.seen()[1]
        while time.monotonic() < end:
            await asyncio.sleep(min(turns.uniform(1.5, 4.5), max(0.0, end - time.monotonic())))
            if time.monotonic() < end:
                await self._turn(turns, played, end + 20)
        played.steps += self.seen()[1] - first
        played.seconds += time.monotonic() - began
        self.kernel.tell(self.play, {"event": "click"})
        heart.cancel()

    async def _turn(self, turns: random.Random, played: Played, end: float) -> None:
        """Turn one knob, and wait for the first frame that shows it."""
        is_on, before = self.kernel.models[self.prior]["value"], self.seen()[2]
        if not is_on or turns.random() < 0.5:
            self.kernel.set(self.prior, value=not is_on)
        else:
            others = [place for beta, place in PLACES.items() if abs(beta - before) > 0.1]
            self.kernel.set(self.beta, index=turns.choice(others))
        start = time.monotonic()
        while self.seen()[2] == before:
            self._frame.clear()
            try:
                await asyncio.wait_for(self._frame.wait(), end - time.monotonic())
            except TimeoutError:
                played.unanswered += 1
                return
        played.answers.append(time.monotonic() - start)
