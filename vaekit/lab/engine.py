"""The trainer thread: it makes the model and the data, owns them, and alone does torch work.

Everybody else posts a command, or reads what it publishes. No widgets here.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import torch

from vaekit.lab import threads
from vaekit.lab.history import History
from vaekit.lab.run import Run
from vaekit.training import Step

FRAME_SECONDS = 0.1  # between frames while somebody looks
HIDDEN_SECONDS = 2.0  # between tries while nobody answers
SILENCE_SECONDS = 3.0  # without a heartbeat nobody is looking
PATIENCE_SECONDS = 120.0  # unseen for so long, a run pauses itself
KEEP_SECONDS = 0.5  # between snapshots to go back to
REST_SECONDS = 1.0  # between the messages that are large or slow to change
FRAME_SHARE = 0.12  # of the time may go into frames


class Engine:
    """Trains `make_run()` in a thread of its own, and shows it through `view`.

    view: None, or an object with `frame(engine)`, `rest(engine)` and `status(engine)`; all three are called on
    the trainer thread, between steps. `rest` may send what is large: it comes once a second, and at every pause.
    """

    def __init__(self, make_run: Callable[[], Run], view=None, threads: int | None = None):
        self.make_run, self.view, self.wanted_threads = make_run, view, threads
        self.run: Run | None = None
        self.history = History()
        self.playing, self.error, self.notice = False, None, None
        self.pace: float | None = None  # steps per second; None: as fast as it goes
        self.speed = 0.0  # steps per second, measured
        self.patience = PATIENCE_SECONDS
        self._commands: queue.SimpleQueue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._pending: list[Step] = []
        self._goal: tuple[int, Future] | None = None  # of a synchronous run
        self._alive_at: float | None = None
        self._visible_at = self._frame_at = self._rest_at = self._kept_at = self._digest_at = self._step_at = 0.0
        self._frame_cost = 0.0
        self._answer_knob = False
        self._speed_from = (0.0, 0)

    # -- for every thread ---------------------------------------------------------------------------------

    def post(self, command: Callable[[], object]) -> Future:
        """Have `command()` run on the trainer thread, between two steps. Returns its future."""
        future: Future = Future()
        self._commands.put((command, future))
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._main, name="vaekit-trainer", daemon=True)
                self._thread.start()
        return future

    def play(self) -> Future:
        return self.post(self._play)

    def pause(self, notice: str | None = None) -> Future:
        return self.post(lambda: self._pause(notice))

    def steps(self, number: int) -> Future:
        """Take `number` steps and pause. The future it returns ends when they are taken."""
        done: Future = Future()
        self.post(lambda: self._begin_steps(number, done))
        return done

    def reset(self) -> Future:
        return self.post(self._reset)

    def turn(self, changes: dict) -> Future:
        return self.post(lambda: self._turn(changes))

    def seen(self, visible: bool = True) -> None:
        """A page's heartbeat. `visible` is False for one that is open but out of sight."""
        self._alive_at = time.monotonic()
        if visible:
            self._visible_at = self._alive_at

    @property
    def looked_at(self) -> bool:
        return self.view is not None and time.monotonic() - self._visible_at < SILENCE_SECONDS

    def close(self) -> None:
        """Pause and end the thread. A later command starts another one, and the run goes on from where it is."""
        if self._thread is not None and self._thread.is_alive():
            self._pause_from_outside()
            self._commands.put((None, Future()))
            self._thread.join(timeout=10)

    def _pause_from_outside(self) -> None:
        self._commands.put((lambda: self._pause(None), Future()))

    # -- on the trainer thread ----------------------------------------------------------------------------

    def _main(self) -> None:
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(self.wanted_threads or threads.choose())
            while self._do_commands(self._wait_seconds()):
                if self._due():
                    self._step()
                self._keep_watch()
        finally:
            torch.set_num_threads(before)

    def _wait_seconds(self) -> float | None:
        """How long the thread may sleep until a command comes; None: until one does."""
        if not (self.playing or self._goal):
            return None
        if self.pace and not self._goal:
            return min(max(0.0, self._step_at + 1 / self.pace - time.monotonic()), FRAME_SECONDS)
        return 0.0

    def _do_commands(self, wait: float | None) -> bool:
        """Do what was posted. False when the thread should end."""
        while True:
            try:
                command, future = self._commands.get(block=wait != 0.0, timeout=wait)
            except queue.Empty:
                return True
            wait = 0.0
            if command is None:
                return False
            try:
                if self.run is None:
                    self.run = self.make_run()
                future.set_result(command())
            except Exception as error:
                future.set_exception(error)

    def _due(self) -> bool:
        if self._goal:
            return True
        return self.playing and (not self.pace or time.monotonic() - self._step_at >= 1 / self.pace)

    def _step(self) -> None:
        self._step_at = time.monotonic()
        try:
            self._pending.append(self.run.advance())
        except Exception as error:
            self._fail(self.run.number, f"Step {self.run.number + 1} failed ({_one_line(error)}).")
        if self._goal and self.run.number >= self._goal[0]:
            self._pause(None)

    def _keep_watch(self) -> None:
        """After a step: numbers, frames and snapshots, each when it is time for it."""
        if not (self.playing or self._goal):
            return
        try:
            self._watch(time.monotonic())
        except Exception as error:  # what cannot be shown must not stop the thread that holds the run
            self._pending = []
            self.playing, self.error = False, f"The lab could not show step {self.run.number} ({_one_line(error)})."
            self._end_goal()

    def _watch(self, now: float) -> None:
        if now - self._digest_at >= FRAME_SECONDS or self._answer_knob:
            self._digest()
        if self.playing and self._alive_at is not None and now - self._alive_at > self.patience:
            self._pause(f"Paused: no page has shown this lab for {self.patience:.0f} seconds. Press play to go on.")
        if self.view is not None and (now - self._frame_at >= self._frame_seconds() or self._answer_knob):
            self._answer_knob = False
            self._show()

    def _frame_seconds(self) -> float:
        if not self.looked_at:
            return HIDDEN_SECONDS
        return max(FRAME_SECONDS, self._frame_cost / FRAME_SHARE)

    def _show(self) -> None:
        start = time.monotonic()
        self.view.frame(self)
        self._frame_at = time.monotonic()
        self._frame_cost = 0.8 * self._frame_cost + 0.2 * (self._frame_at - start)
        if start - self._rest_at >= REST_SECONDS and self.looked_at:
            self._rest_at = start
            self.view.rest(self)

    def _show_everything(self) -> None:
        if self.view is not None:
            self.view.frame(self)
            self.view.rest(self)
            self.view.status(self)

    def _digest(self) -> None:
        """Bring the pending steps' numbers to the CPU in one go; see that they are numbers; keep a snapshot."""
        now = self._digest_at = time.monotonic()
        steps, self._pending = self._pending, []
        if steps:
            losses = torch.stack([torch.stack([s.reconstruction, s.kl.sum(), s.loss]) for s in steps]).cpu()  # (n, 3)
            bad = (~losses.isfinite().all(1)).nonzero()
            if len(bad):
                self._not_a_number(steps[int(bad[0])])
                return
            for step, row in zip(steps, losses.tolist(), strict=True):
                self.history.add(step.number, *row)
        if now - self._kept_at >= KEEP_SECONDS:
            self._kept_at = now
            self.run.keep()
        since, number = self._speed_from
        if now - since >= 1.0:
            self.speed = (self.run.number - number) / (now - since) if since else 0.0
            self._speed_from = (now, self.run.number)

    def _not_a_number(self, step: Step) -> None:
        # The step that shows it got its weights from the one before, which was therefore the one that failed.
        hint = f"Lower the learning rate (it was {step.knobs.lr:g}; 0.001 is a good start) and press play."
        self._fail(step.number - 2, f"Step {step.number}: the loss is not a number any more.", hint)

    def _fail(self, last_good: int, what: str, hint: str = "Press play to try again.") -> None:
        """Pause at the last good step and say so. The weights are those of that step, to the bit."""
        last_good, self._pending = max(0, last_good), []
        try:
            self.run.go_back(last_good)
        except Exception:  # the same fault again, sooner: the snapshot is what is left
            last_good = self.run.snapshots[-1].number
            self.run.go_back(last_good)
        self.history.cut(last_good)
        self.error = f"{what} Paused at step {last_good}, the last good one. {hint}"
        self._pause(None)

    # -- commands -----------------------------------------------------------------------------------------

    def _play(self) -> None:
        if not self.playing:
            self.playing, self.error, self.notice = True, None, None
            self._speed_from, self.speed = (time.monotonic(), self.run.number), 0.0
            self._alive_at = self._alive_at and time.monotonic()
            if self.view is not None:
                self.view.status(self)

    def _pause(self, notice: str | None) -> None:
        self._digest()
        self.playing, self.speed, self._answer_knob = False, 0.0, False
        self.notice = notice
        try:
            self._show_everything()
        finally:
            self._end_goal()

    def _end_goal(self) -> None:
        goal, self._goal = self._goal, None
        if goal:
            goal[1].set_result(self.run.number)

    def _begin_steps(self, number: int, done: Future) -> None:
        if self._goal:
            self._pause(None)
        self.playing, self.error, self.notice = False, None, None
        self._goal = (self.run.number + number, done)
        if number == 0:
            self._pause(None)

    def _reset(self) -> None:
        self._pending = []
        self.run.reset()
        self.history = History()
        self.error = self.notice = None
        self._speed_from = (time.monotonic(), 0)
        self._show_everything()

    def _turn(self, changes: dict) -> None:
        self.run.turn(changes)
        self._answer_knob = True
        if self.view is not None and not (self.playing or self._goal):
            self._answer_knob = False
            self.view.status(self)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
