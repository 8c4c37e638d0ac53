"""The trainer thread: it makes the model and the data, owns them, and alone does torch work.

Everybody else posts a command, or reads what it publishes. No widgets here.
"""

import atexit
import itertools
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import torch

from vaekit.lab import threads
from vaekit.lab.history import History
from vaekit.messages import check_whole, one_line
from vaekit.recording import Recording
from vaekit.run import Run
from vaekit.training import Step

FRAME_SECONDS = 0.1  # between frames while somebody looks
HIDDEN_SECONDS = 2.0  # between tries while nobody answers
RUN_SECONDS = 0.3  # between frames of a synchronous run: nobody sees them, but the way back is made of them
SILENCE_SECONDS = 3.0  # without a heartbeat nobody is looking
PATIENCE_SECONDS = 120.0  # unseen for so long, a run pauses itself
KEEP_SECONDS = 0.5  # between snapshots to go back to
REST_SECONDS = 1.0  # between the messages that are large or slow to change
FRAME_SHARE = 0.12  # of the time may go into frames
EXPLODED = 1e9  # nats per image: from there no run comes back, though it may take hundreds of steps to become NaN

_running: set["Engine"] = set()


@atexit.register
def _close_all() -> None:
    """A thread that Python kills in the middle of torch's work takes the process down with a core dump."""
    for engine in list(_running):
        engine.view = None  # nobody is there to look any more
        engine.close()


class Engine:
    """Trains what `make_run()` returns, a Run or two of them in lockstep (a twin), and shows it through `view`.

    view: None, or an object with `frame(engine)`, `rest(engine)` and `status(engine)`; all three are called on
    the trainer thread, between steps. `rest` may send what is large: it comes once a second, and at every pause.
    """

    def __init__(self, make_run: Callable[[], Run | tuple[Run, ...]], view=None, threads: int | None = None):
        if threads is not None:
            check_whole("threads", threads)
        self.make_run, self.view, self.wanted_threads = make_run, view, threads
        self._threads_before = torch.get_num_threads()  # asked here, where no lab has changed it
        self.runs: tuple[Run, ...] = ()
        self.history = History()
        self.playing, self.error, self.notice = False, None, None
        self.pace: float | None = None  # steps per second; None: as fast as it goes
        self.speed = 0.0  # steps per second, measured
        self.patience = PATIENCE_SECONDS
        self._commands: queue.SimpleQueue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._pending: list[tuple[Step, ...]] = []  # of each run, the steps whose numbers were not read yet
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
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it: it will be answered
        with self._lock:
            self._commands.put((command, future))
            if self._thread is None:
                self._start()
        return future

    def _start(self) -> None:
        _running.add(self)
        self._thread = threading.Thread(target=self._main, name="vaekit-trainer", daemon=True)
        self._thread.start()

    def play(self) -> Future:
        return self.post(self._play)

    def pause(self, notice: str | None = None) -> Future:
        return self.post(lambda: self._pause(notice))

    def steps(self, number: int) -> Future:
        """Take `number` steps and pause. The future it returns ends when they are taken."""
        done: Future = Future()
        done.set_running_or_notify_cancel()
        begun = self.post(lambda: self._begin_steps(number, done))
        begun.add_done_callback(lambda it: it.exception() and not done.done() and done.set_exception(it.exception()))
        return done

    def reset(self) -> Future:
        return self.post(self._reset)

    def turn(self, changes: dict, sides: tuple[int, ...] | None = None) -> Future:
        """Turn knobs: of all runs, or of those at `sides`."""
        return self.post(lambda: self._turn(changes, sides))

    def replace(self, make_run: Callable[[], Run | tuple[Run, ...]]) -> Future:
        """Go on with other runs. When they cannot be made, the future has the error and nothing changes."""
        return self.post(lambda: self._replace(make_run))

    def follow(self, recordings: Sequence[Recording]) -> Future:
        """Back to the beginning, and from there as recorded, one recording for each run: see Run.follow."""
        return self.post(lambda: self._follow(recordings))

    def say(self, text: str) -> Future:
        """Show one line, until something else is done."""
        return self.post(lambda: self._say(text))

    def seen(self, visible: bool = True) -> None:
        """A page's heartbeat. `visible` is False for one that is open but out of sight."""
        self._alive_at = time.monotonic()
        if visible:
            self._visible_at = self._alive_at

    @property
    def run(self) -> Run | None:
        """The run; of a twin, the first."""
        return self.runs[0] if self.runs else None

    @property
    def looked_at(self) -> bool:
        return self.view is not None and time.monotonic() - self._visible_at < SILENCE_SECONDS

    def close(self) -> None:
        """Pause and end the thread. A later command starts another one, and the run goes on from where it is."""
        with self._lock:
            thread = self._thread
            if thread is not None:
                self._commands.put((None, None))
        if thread is not None:
            thread.join(timeout=10)

    # -- on the trainer thread ----------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            torch.set_num_threads(self.wanted_threads or threads.choose())
            while self._do_commands(self._wait_seconds()):
                self._work()
        finally:
            torch.set_num_threads(self._threads_before)

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
                self._leave()
                return False
            try:
                if not self.runs:
                    self._begin(self.make_run)
                future.set_result(command())
            except BaseException as error:  # whatever it is, it belongs to whoever waits
                future.set_exception(error)

    def _leave(self) -> None:
        """Pause before the thread ends. What was posted meanwhile is done by another one."""
        try:
            if self.playing or self._goal:
                self._pause(None)
        finally:
            with self._lock:
                self._thread = None
                _running.discard(self)
                if not self._commands.empty():
                    self._start()

    def _work(self) -> None:
        """One step when it is time for it, then numbers, frames and snapshots, each when it is time for it."""
        try:
            if self._due():
                self._step()
            if self.playing or self._goal:
                self._watch(time.monotonic())
        except BaseException as error:  # the thread that holds the run, and those who wait for it, must live on
            self._give_up("could not go on after", error)

    def _due(self) -> bool:
        if self._goal:
            return True
        return self.playing and (not self.pace or time.monotonic() - self._step_at >= 1 / self.pace)

    def _step(self) -> None:
        self._step_at = time.monotonic()
        try:
            following = self.run.following
            self._pending.append(tuple([run.advance() for run in self.runs]))
            if following and not self.run.following:
                self._pause(f"The recording ends here, at step {self.run.number}. Press play to go on from it.")
        except BaseException as error:  # in this thread even an interrupt is the model's doing
            if bad := self._read_pending():
                self._not_a_number(bad)
            else:
                last = min(run.number for run in self.runs)
                self._fail(last, f"Step {last + 1} failed ({one_line(error)}).")
        if self._goal and self.run.number >= self._goal[0]:
            self._pause(None)

    def _watch(self, now: float) -> None:
        if now - self._digest_at >= FRAME_SECONDS or self._answer_knob:
            self._digest()
        if self.playing and self._alive_at is not None and now - self._alive_at > self.patience:
            self._pause(f"Paused: no page has shown this lab for {self.patience:.0f} seconds. Press play to go on.")
        if now - self._frame_at >= self._frame_seconds() or self._answer_knob:
            self._answer_knob = False
            self._show()

    def _frame_seconds(self) -> float:
        if not self.looked_at:
            return RUN_SECONDS if self._goal else HIDDEN_SECONDS
        return max(FRAME_SECONDS, self._frame_cost / FRAME_SHARE)

    def _show(self) -> None:
        start = time.monotonic()
        self._look("frame")
        self._frame_at = time.monotonic()
        self._frame_cost = 0.8 * self._frame_cost + 0.2 * (self._frame_at - start)
        if start - self._rest_at >= REST_SECONDS and self.looked_at:
            self._rest_at = start
            self._look("rest")

    def _look(self, *what: str) -> None:
        """Have the view do `what`. What cannot be shown must not stop the thread that holds the run."""
        if self.view is None:
            return
        try:
            for method in what:
                getattr(self.view, method)(self)
        except BaseException as error:
            self._give_up("could not show", error)

    def _give_up(self, what: str, error: BaseException) -> None:
        """Pause without looking at the model again, and say why."""
        self.error, self.playing = f"The lab {what} step {self.run.number} ({one_line(error)}).", False
        with suppress(BaseException):
            self.view.status(self)
        self._end_goal()

    def _digest(self) -> None:
        """See that the pending steps gave numbers; keep a snapshot; measure the speed."""
        now = self._digest_at = time.monotonic()
        if bad := self._read_pending():
            self._not_a_number(bad)
            return
        if now - self._kept_at >= KEEP_SECONDS:
            self._kept_at = now
            for run in self.runs:
                run.keep()
        since, number = self._speed_from
        if now - since >= 1.0:
            self.speed = (self.run.number - number) / (now - since) if since else 0.0
            self._speed_from = (now, self.run.number)

    def _read_pending(self) -> Step | None:
        """Bring the pending steps' numbers to the CPU in one go. Returns the first step without good ones, if any."""
        pending, self._pending = self._pending, []
        if not pending:
            return None
        losses = [torch.stack([s.reconstruction, s.kl.sum(), s.loss]) for steps in pending for s in steps]
        rows = torch.stack(losses).reshape(len(pending), len(self.runs), 3).tolist()
        for steps, row in zip(pending, rows, strict=True):
            for step, (reconstruction, kl, loss) in zip(steps, row, strict=True):
                if not (math.isfinite(loss) and abs(reconstruction) < EXPLODED and kl < EXPLODED):  # NaN is not <
                    return step
            self.history.add(steps[0].number, *itertools.chain(*row))
        return None

    def _not_a_number(self, step: Step) -> None:
        # The step that shows it got its weights from the one before, which was therefore the one that failed.
        what = "has exploded" if math.isfinite(step.loss) else "is not a number any more"
        lr, beta = step.knobs.lr, step.knobs.beta
        knobs = f"the learning rate (it was {lr:g}; 0.001 is a good start)" + f" or β (it was {beta:g})" * (lr <= 1e-3)
        self._fail(step.number - 2, f"Step {step.number}: the loss {what}.", f"Lower {knobs} and press play.")

    def _fail(self, last_good: int, what: str, hint: str = "Press play to try again.") -> None:
        """Pause at the last good step and say so. The weights are those of that step, to the bit."""
        self._go_back(last_good)
        if not all(run.is_finite() for run in self.runs):
            self._go_back(last_good - 1)  # a model may raise where another one's loss is NaN: one step later
        self.history.cut(self.run.number)
        self.error = f"{what} Paused at step {self.run.number}, the last good one. {hint}"
        self._pause(None)

    def _go_back(self, number: int) -> None:
        """All runs to one step: `number`, or the nearest before it that all of them reach."""
        for run in self.runs:
            run.go_back(max(0, number))
        reached = min(run.number for run in self.runs)
        for run in self.runs:
            if run.number > reached:
                run.go_back(reached)

    # -- commands -----------------------------------------------------------------------------------------

    def _play(self) -> None:
        if not self.playing:
            self.playing, self.error, self.notice = True, None, None
            self._speed_from, self.speed = (time.monotonic(), self.run.number), 0.0
            self._alive_at = self._alive_at and time.monotonic()
            self._look("status")

    def _pause(self, notice: str | None) -> None:
        try:
            before = self.error
            self._digest()
            self.notice = notice if self.error is before else None  # what has just gone wrong is said first
            self.playing, self.speed, self._answer_knob = False, 0.0, False
            self._look("frame", "rest", "status")
        finally:
            self.playing = False
            self._end_goal()

    def _end_goal(self) -> None:
        goal, self._goal = self._goal, None
        if goal:
            goal[1].set_result(self.run.number)

    def _begin_steps(self, number: int, done: Future) -> None:
        self._end_goal()  # whoever waits for another one is told how far it came
        self.playing, self.error, self.notice = False, None, None
        self._goal = (self.run.number + number, done)
        if number == 0:
            self._pause(None)

    def _reset(self) -> None:
        if self._goal:
            self._goal = (self._goal[0] - self.run.number, self._goal[1])  # as many steps as were still to come
        self._pending = []
        for run in self.runs:
            run.reset()
        self._begin_again()

    def _begin_again(self) -> None:
        self.history = History(len(self.runs))
        self.error = self.notice = None
        self._speed_from = (time.monotonic(), 0)
        self._look("frame", "rest", "status")

    def _turn(self, changes: dict, sides: tuple[int, ...] | None) -> None:
        for side in range(len(self.runs)) if sides is None else sides:
            self.runs[side].turn(changes)
        if any(run.following is None for run in self.runs):
            for run in self.runs:
                run.following = None  # who takes over one of a twin takes over both
        self._answer_knob, self.notice = True, None
        if not (self.playing or self._goal):
            self._answer_knob = False
            self._look("frame", "rest" if changes.keys() & {"data", "kind"} else "status")

    def _begin(self, make_run) -> None:
        made = make_run()
        self.runs = made if isinstance(made, tuple) else (made,)
        self.history = History(len(self.runs))

    def _replace(self, make_run) -> None:
        self._pause(None)
        self._begin(make_run)
        self._begin_again()

    def _follow(self, recordings: Sequence[Recording]) -> None:
        for run, recording in zip(self.runs, recordings, strict=True):
            run.follow(recording)  # the first refuses what does not fit, before anything has changed
        self._pending, self.playing, self.speed, self._answer_knob = [], False, 0.0, False
        self._end_goal()
        self._begin_again()

    def _say(self, text: str) -> None:
        self.notice = text
        self._look("status")
