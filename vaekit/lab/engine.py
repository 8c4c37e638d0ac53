"""The trainer: it owns the runs and their settings, and alone does torch work, on one thread.

Everybody else posts a command, or reads what is published. No widgets here.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial, wraps

import torch

from vaekit._checks import check_whole, one_line
from vaekit.lab import clock
from vaekit.lab.lockstep import Lockstep
from vaekit.lab.progress import History, explain
from vaekit.lab.threads import choose
from vaekit.lab.worker import Worker
from vaekit.runs.recording import Recording

EVERYTHING = ("frame", "details", "status")  # that a view can show


def command(report: bool = True) -> Callable:
    """Have a method done on the trainer thread, between two steps: see `Engine.post`. It returns a future."""

    def decorate(method: Callable) -> Callable:
        return wraps(method)(lambda self, *arguments: self.post(partial(method, self, *arguments), report))

    return decorate


class Engine(Worker):
    """Trains what `make_runs()` returns, a tuple of a Run or of two in lockstep (a twin), and shows it through `view`.

    notice, error: one line each for the page, or None. settings: see `Lockstep`.
    view: None, or an object with frame(engine), details(engine) and status(engine), called on the trainer thread
    between steps; each may return a notice. is_busy(): is the kernel, which hears a page's heartbeats, in a cell?
    """

    def __init__(self, make_runs: Callable, view=None, threads: int | None = None, is_busy: Callable = lambda: False):
        super().__init__("vaekit-trainer")
        self.threads = None if threads is None else check_whole("threads", threads, most=1024)
        self._threads_before = torch.get_num_threads()  # asked here, where no lab has changed it
        self._make_runs, self.view, self._is_busy = make_runs, view, is_busy
        self._lockstep, self.history, self._clock = Lockstep(), History(), clock.Clock()
        self.playing, self.error, self.notice = False, None, None
        self.pace: float | None = None  # steps per second; None: as fast as it goes
        self.patience = clock.PATIENCE_SECONDS
        self._knob_turned, self._failed_at = False, None
        self._goal: tuple[int, Future] | None = None  # of a synchronous run: its last step, and who waits for it

    # -- for every thread ---------------------------------------------------------------------------------

    def post(self, command: Callable[[], object], report: bool = True) -> Future:
        """Have `command()` run on the trainer thread, between two steps. Returns its future.

        report: show what it raises, in one line, as nobody may be waiting for it.
        """
        future = super().post(partial(self._do, command))
        if report:
            future.add_done_callback(self._report)
        return future

    def ask(self, method: str, *arguments) -> Future:
        """Have the view show what somebody asks for: `view.method(engine, *arguments)`."""
        return self.post(lambda: self.say(getattr(self.view, method)(self, *arguments)))

    def train_for(self, steps: int) -> Future:
        """Take so many steps and pause, unless play is pressed meanwhile. The future has the last one's number."""
        done: Future = Future()
        done.set_running_or_notify_cancel()
        begun = self._begin_steps(steps, done)
        begun.add_done_callback(lambda _: begun.exception() and done.set_exception(begun.exception()))
        while self.is_here() and not done.done():  # the trainer itself cannot wait for later
            self._work()
        return done

    def set_knobs(self, changes: Mapping, sides: Sequence[int] | None = None) -> Future:
        """Turn knobs of all runs, or of those at `sides`: in `settings` at once, and acting at the next step.

        Raises TypeError or ValueError, in one line; nothing is changed then.
        """
        self._lockstep.set_knobs(changes, sides)
        return self._apply_knobs()

    def heartbeat(self, visible: bool = True) -> None:
        """Note that a page is open, and whether it is in sight: one that is not must come into sight before long."""
        if visible or self._clock.since("page open") == math.inf:
            self._clock.mark("page open")
        if visible:
            self._clock.mark("page visible")

    settings = property(lambda self: self._lockstep.settings, doc="Of each run, what acts on its next step.")
    runs = property(lambda self: self._lockstep.runs)
    run = property(lambda self: self.runs[0] if self.runs else None, doc="The run; of a twin, the first.")

    @property
    def looked_at(self) -> bool:
        return self.view is not None and self._clock.since("page visible") < clock.SILENCE_SECONDS

    # -- the trainer thread -------------------------------------------------------------------------------

    def _begin_thread(self) -> None:
        torch.set_num_threads(self.threads or choose())

    def _end_thread(self) -> None:
        if self.playing or self._goal:
            self.pause()
        torch.set_num_threads(self._threads_before)

    def _do(self, command: Callable[[], object]):
        if not self.runs:
            self._lockstep.adopt(self._make_runs())
            self.history = History(len(self.runs))
        return command()

    def _wait_seconds(self) -> float | None:
        if not (self.playing or self._goal):
            return None
        slow = not self._goal and self.pace  # read once: the page's menu may change it at any moment
        return min(max(0.0, 1 / slow - self._clock.since("step")), clock.FRAME_SECONDS) if slow else 0.0

    def _work(self) -> None:
        """Take a step when it is due; then read numbers, show and keep, each when it is due."""
        try:
            if self._goal or (self.playing and self._clock.due("step", 1 / (self.pace or math.inf))):
                self._step()
            if self.playing or self._goal:
                self._watch()
        except BaseException as error:  # the thread that holds the run, and those who wait for it, must live on
            self._give_up("could not go on after", error)

    def _step(self) -> None:
        was_replaying = self._lockstep.is_replaying
        try:
            self.history.pending.append(tuple([run.advance() for run in self.runs]))
            if was_replaying and not self._lockstep.is_replaying:
                self.pause(f"The recording ends here, at step {self.run.number}. Press play to go on from it.")
        except BaseException as error:  # in this thread even an interrupt is the model's doing
            self._step_failed(error)
        if self._goal and self.run.number >= self._goal[0]:
            self._end_goal() if self.playing else self.pause()  # play was pressed meanwhile

    def _watch(self) -> None:
        if self._is_busy():
            self._clock.mark("page open", only_again=True)  # its heartbeats cannot be heard now
        if self._knob_turned or self._clock.due("digest", clock.FRAME_SECONDS):
            self._digest()
        if self.playing and self.patience < self._clock.since("page open") < math.inf:  # else none was ever there
            self.pause(f"Paused: no page has shown this lab for {self.patience:.0f} seconds. Press play to go on.")
        if self._knob_turned or self._clock.frame_is_due(self.looked_at, synchronous=bool(self._goal)):
            self._show_frame()

    def _show_frame(self) -> None:
        start, seen, self._knob_turned = time.monotonic(), self.looked_at, False
        self._show("frame", "status")
        self._clock.frame_took(time.monotonic() - start)
        if seen and self._clock.due("details", clock.DETAIL_SECONDS):
            self._show("details")

    def _show(self, *methods: str) -> None:
        """Call these methods of the view. What it cannot show must not stop the thread that holds the run."""
        try:
            for method in methods if self.view else ():
                self.notice = getattr(self.view, method)(self) or self.notice
        except BaseException as error:
            self._give_up("could not show", error)

    @command()
    def say(self, notice: str | None) -> None:
        """Show the meters, and one line, if there is one, until something else is done."""
        self.notice = notice or self.notice
        self._show("status")

    def _report(self, future: Future) -> None:
        if future.exception() is not None and self.runs:
            self.say(f"The lab could not do that ({one_line(future.exception())}).")

    def _give_up(self, what: str, error: BaseException) -> None:
        """Pause without looking at the model again, and say why."""
        self.error, self.playing = f"The lab {what} step {self.run.number} ({one_line(error)}).", False
        with suppress(BaseException):
            self.view.status(self)
        self._end_goal()

    def _digest(self) -> None:
        """See that the pending steps gave numbers, and keep snapshots to go back to, now and then."""
        self._clock.mark("digest")
        if bad := self.history.read():
            self._fail(*explain(bad))
        else:
            self.history.measure_speed(self.run.number)
            if self._clock.due("snapshot", clock.KEEP_SECONDS):
                for run in self.runs:
                    run.keep()

    def _step_failed(self, error: BaseException) -> None:
        if bad := self.history.read():
            return self._fail(*explain(bad))
        number = self._lockstep.number + 1
        hint = "It failed there before, too." if number == self._failed_at else "Press play to try again."
        self._failed_at = number
        return self._fail(number - 1, f"Step {number} failed ({one_line(error)}).", hint)

    def _fail(self, last_good: int, what: str, hint: str) -> None:
        """Pause at the last good step and say so. The weights are those of that step, to the bit."""
        self._lockstep.go_back(last_good)
        self.history.cut(self.run.number)
        self.error = f"{what} Paused at step {self.run.number}, the last good one. {hint}"
        self.pause()

    @command()
    def _apply_knobs(self) -> None:
        changed = self._lockstep.apply_knobs()
        self.notice, self._knob_turned = None, self.playing or bool(self._goal)
        if not self._knob_turned:
            self._show("frame", *["details"] * bool({"data", "kind"} & changed), "status")

    @command(report=False)
    def replace(self, make_runs: Callable, changes: Mapping) -> None:
        """Go on with other runs under the same knobs, but for `changes`. Where it fails, nothing changes."""
        was_playing = self.playing
        self._lockstep.adopt(make_runs(), changes)
        self._restart()
        if was_playing:
            self.play()

    @command(report=False)
    def follow(self, recordings: Sequence[Recording]) -> None:
        """Replay a recording for each run, from its beginning: see Run.follow."""
        for run, recording in zip(self.runs, recordings, strict=True):
            run.follow(recording)  # the first refuses what does not fit, before anything has changed
        self._restart()

    @command()
    def reset(self) -> None:
        if self._goal:
            self._goal = (self._goal[0] - self.run.number, self._goal[1])  # as many steps as were still to come
        for run in self.runs:
            run.reset()
        self._restart(stop=False)

    def _restart(self, stop: bool = True) -> None:
        if stop:
            self.playing = False
            self._end_goal()
        self.history = History(len(self.runs))
        self.error = self.notice = self._failed_at = None
        self._show(*EVERYTHING)

    @command()
    def play(self) -> None:
        if not self.playing:
            self.playing, self.error, self.notice = True, None, None
            self.history.measure_speed(self.run.number, restart=True)
            self._clock.mark("page open", only_again=True)
            self._show("status")

    @command()
    def pause(self, notice: str | None = None) -> None:
        try:
            before = self.error
            self._digest()
            self.notice = notice if self.error is before else None  # what has just gone wrong is said first
            self.playing, self.history.speed, self._knob_turned = False, 0.0, False
            self._show(*EVERYTHING)
        finally:
            self.playing = False
            self._end_goal()

    @command()
    def _begin_steps(self, steps: int, done: Future) -> None:
        self._end_goal()  # whoever waits for another one is told how far it came
        self.playing, self.error, self.notice = False, None, None
        self._goal = (self.run.number + steps, done)
        if steps == 0:
            self.pause()

    def _end_goal(self) -> None:
        goal, self._goal = self._goal, None
        if goal:
            goal[1].set_result(self.run.number)
