"""The trainer thread, without widgets: who may command it, what it shows and when, and that nobody waits for ever."""

import os
import subprocess
import sys
import threading
import time

import pytest
import torch
from lab_helpers import (
    SECONDS,
    CountingView,
    Flaky,
    is_plain,
    make_run,
    trainers,
    wait_for,
)

import vaekit
from vaekit.lab import clock


def moves(engine, by: int = 3) -> bool:
    start = engine.run.number
    wait_for(lambda: engine.run.number > start + by)
    return True


def rests(engine) -> bool:
    start = engine.run.number
    time.sleep(0.03)
    return engine.run.number == start and not engine.playing


# -- commands ---------------------------------------------------------------------------------------------


def test_slow_motion_slows_steps_and_nothing_else(engines, watched):
    engine = engines(view=watched)
    engine.pace = 50.0
    start = time.monotonic()
    engine.play().result(SECONDS)
    wait_for(lambda: engine.run.number >= 20)
    taken, seconds = engine.run.number, time.monotonic() - start
    assert taken <= 50 * seconds + 2
    engine.pace, begin = 1.0, time.monotonic()  # however slow the steps are, a command is obeyed at once
    engine.set_knobs({"beta": 3.0}).result(SECONDS)
    engine.pause().result(SECONDS)
    assert time.monotonic() - begin < 0.5 and engine.run.number <= taken + 2
    assert engine.train_for(20).result(SECONDS) == engine.run.number  # steps asked for are not slowed down
    assert time.monotonic() - begin < 2


# -- what it shows ----------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """The clock of the frames, ten times as fast."""
    for name, seconds in (("FRAME", 0.01), ("HIDDEN", 0.2), ("SILENCE", 0.3), ("DETAIL", 0.1), ("KEEP", 0.05)):
        monkeypatch.setattr(clock, f"{name}_SECONDS", seconds)


@pytest.mark.slow
def test_frames_flow_while_a_page_looks_and_come_back_when_it_does(quick, engines, watched):
    engine = engines(view=watched)
    engine.play().result(SECONDS)

    def frames_in(seconds: float, **heartbeats: bool) -> int:
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            if heartbeats:
                engine.heartbeat(**heartbeats)
            time.sleep(0.02)
        return watched.count("frame", start)

    assert frames_in(0.5) <= 4  # nobody looks: one in 0.2 s
    assert frames_in(0.5, visible=True) >= 15  # one in 0.01 s, as far as the machine can
    details = watched.count("details")
    assert details >= 2
    time.sleep(0.4)  # silence
    assert frames_in(0.8, visible=False) <= 6  # out of sight; but there is a page
    assert watched.count("details") <= details + 4  # what is large is not sent at all into the dark
    start = time.monotonic()
    engine.heartbeat()
    wait_for(lambda: watched.count("frame", start) >= 2)
    assert time.monotonic() - start < 0.15  # at once, not at the next try


def test_a_lab_unseen_for_long_pauses_and_says_so_but_not_while_a_cell_runs(engines):
    busy = [True]
    engine = engines(is_busy=lambda: busy[0])  # then no heartbeat can be heard
    engine.patience = 0.1
    engine.heartbeat()
    engine.play().result(SECONDS)
    time.sleep(0.3)
    assert engine.playing
    busy[0] = False
    wait_for(lambda: not engine.playing)
    assert "no page has shown this lab for 0 seconds" in engine.notice and engine.error is None
    engine.play().result(SECONDS)  # and it can be played again, with a new spell of patience
    assert engine.playing and engine.notice is None
    wait_for(lambda: engine.heartbeat(visible=False) or not engine.playing)  # a page out of sight shows nothing either


def test_a_knob_is_answered_with_a_frame_of_the_very_next_step(engines, watched):
    """Whatever the pace of the frames: here none is due for seconds."""
    engine = engines(view=watched)
    engine.play().result(SECONDS)
    wait_for(lambda: watched.count("frame"))
    assert moves(engine)
    frames = watched.count("frame")
    at = engine.post(lambda: (engine.set_knobs({"beta": 5.0}), engine.run.number)[1]).result(SECONDS)
    wait_for(lambda: watched.count("frame") == frames + 1)
    assert [number for what, number, _ in watched.calls if what == "frame"][-1] == at + 1
    assert moves(engine, 30) and watched.count("frame") == frames + 1  # one, and no more


def test_a_knob_turned_while_the_runs_are_replaced_is_not_lost(engines):
    engine, run = engines(), make_run()
    engine.post(lambda: None).result(SECONDS)
    turning = threading.Thread(target=lambda: engine.set_knobs({"beta": 7.0}))

    def turned_meanwhile(changes, set_knobs=run.set_knobs) -> None:
        set_knobs(changes)
        if turning.ident is None:
            turning.start()
            turning.join(0.2)

    run.set_knobs = turned_meanwhile
    engine.replace(lambda: (run,), {"prior": False}).result(SECONDS)
    turning.join(SECONDS)
    engine.post(lambda: None).result(SECONDS)
    assert engine.settings[0] == run.settings == {**run.settings, "beta": 7.0, "prior": False}


@pytest.mark.slow
def test_frames_take_no_more_than_their_share(monkeypatch, engines):
    class Slow(CountingView):
        def frame(self, engine) -> None:
            super().frame(engine)
            time.sleep(0.02)

    monkeypatch.setattr(clock, "FRAME_SECONDS", 0.0)
    view = Slow()
    engine = engines(view=view)
    engine.heartbeat()
    engine.play().result(SECONDS)
    time.sleep(0.4)  # the cost is learned
    start = time.monotonic()
    time.sleep(0.8)
    assert view.count("frame", start) * 0.02 / (time.monotonic() - start) < 0.2


# -- threads ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_torch_threads_are_set_for_the_trainer_alone_and_given_back():
    """In a process of its own: what torch does at its first use in a thread cannot be seen twice."""
    code = """
import torch
from concurrent.futures import ThreadPoolExecutor
from lab_helpers import make_run
from vaekit.lab.engine import Engine

one, three = Engine(make_run, threads=1), Engine(make_run, threads=3)
assert one.post(torch.get_num_threads).result() == 1
assert three.post(torch.get_num_threads).result() == 3
one.train_for(3).result()
assert torch.get_num_threads() == 2, "the main thread, which asks for the first time, has its own"
one.close(), three.close()
assert ThreadPoolExecutor().submit(torch.get_num_threads).result() == 2, "given back: a new thread has as many"
one.play()
one.post(lambda: None).result()
"""  # the process ends while it plays: it must end all the same, and in peace
    env = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], env=env, timeout=60, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_after_close_there_is_no_thread_and_a_command_starts_another(engines):
    engine = engines()
    engine.play().result(SECONDS)
    assert moves(engine)
    engine.close()
    assert not trainers() and not engine.playing
    engine.close()
    assert engine.train_for(10).result(SECONDS) == engine.run.number
    engine.close()
    assert engine.train_for(10).result(SECONDS) == engine.run.number
    assert len(trainers()) == 1
    assert is_plain(engine.run)


# -- faults -----------------------------------------------------------------------------------------------


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Stop("stop")])
def test_whatever_a_step_raises_the_thread_lives_and_who_waits_is_answered(engines, error):
    engine = engines(lambda: make_run(Flaky(5, error=error)))
    assert engine.train_for(10).result(SECONDS) == 4
    assert engine.error.startswith(f"Step 5 failed ({type(error).__name__}") and "\n" not in engine.error
    assert rests(engine) and len(trainers()) == 1
    assert engine.train_for(6).result(SECONDS) == 10 and engine.error is None
    assert is_plain(engine.run)


@pytest.mark.parametrize(("method", "error"), [("frame", RuntimeError), ("details", Stop), ("status", RuntimeError)])
def test_what_cannot_be_shown_pauses_the_run_and_says_so(quick, engines, method, error):
    engine = engines(view=CountingView(method, error=error))
    engine.heartbeat()
    engine.play().result(SECONDS)
    wait_for(lambda: engine.error and not engine.playing)
    said = engine.error
    assert said.startswith("The lab could not show step") and f"{error.__name__}: no {method} today" in said
    assert "second line" not in said and rests(engine)
    assert engine.train_for(4).result(SECONDS) == engine.run.number  # every other driver goes on
    engine.reset().result(SECONDS)
    assert engine.train_for(3).result(SECONDS) >= 1 and engine.error and len(trainers()) == 1
    engine.view.fail_in, at = (), engine.run.number
    assert engine.train_for(3).result(SECONDS) == at + 3 and engine.error is None
    assert is_plain(engine.run)


def test_a_fault_with_no_way_back_still_answers_who_waits(engines):
    engine = engines(lambda: make_run(Flaky(5)))
    engine.post(lambda: None).result(SECONDS)

    def lost(number: int) -> None:
        raise Stop("the device is gone")

    engine.run.go_back = lost
    engine.train_for(10).result(SECONDS)
    assert "the device is gone" in engine.error and rests(engine) and len(trainers()) == 1


def test_no_command_is_lost_however_fast_they_come_and_go(engines):
    """Thread ends and starts under fire: a command posted at the wrong moment must not wait for ever."""
    engine = engines()
    futures = []
    for i in range(300):
        futures.append(engine.post(lambda i=i: i))
        if i % 7 == 0:
            threading.Thread(target=engine.close).start()
    assert [future.result(SECONDS) for future in futures] == list(range(300))
    wait_for(lambda: len(threading.enumerate()) < 10)


def test_play_pressed_before_a_step_is_done_is_not_lost(engines):
    engine = engines()
    engine.post(lambda: time.sleep(0.1))  # meanwhile all these are pressed
    steps = [engine.train_for(1), engine.train_for(1)]
    engine.play()
    assert steps[1].result(SECONDS) == 1 and engine.playing and moves(engine)
    assert engine.train_for(5).result(SECONDS) and rests(engine)  # asked for while it plays, they end in a pause


def test_the_trainer_that_asks_for_itself_does_not_wait_for_itself(engines):
    engine = engines()
    numbers = engine.post(lambda: [engine.train_for(2).result(), engine.reset().result(), engine.run.number])
    assert numbers.result(SECONDS) == [2, None, 0]
    assert engine.post(lambda: (engine.close(), 7)[1]).result(SECONDS) == 7  # ends when this is done
    assert engine.train_for(1).result(SECONDS) == 1


def test_a_line_is_shown_until_something_else_is_done_and_so_is_what_nobody_waits_for(engines, watched):
    engine = engines(view=watched)
    engine.say("A line.").result(SECONDS)
    assert engine.notice == "A line." and watched.calls[-1][0] == "status"
    engine.play().result(SECONDS)
    assert engine.notice is None
    engine.post(lambda: 1 / 0)
    engine.post(lambda: None).result(SECONDS)
    assert engine.notice == "The lab could not do that (ZeroDivisionError: division by zero)."
    with pytest.raises(ZeroDivisionError):
        engine.post(lambda: 1 / 0, report=False).result(SECONDS)


def test_a_step_that_fails_each_time_does_not_advise_to_try_again(engines):
    class Once(vaekit.VAE):
        """Fails as soon as its weights have moved."""

        def forward(self, x, generator=None):
            if torch.is_grad_enabled() and self.encoder.mu.bias.ne(first).any():
                raise RuntimeError("only once")
            return super().forward(x, generator)

    model = Once(2, 16)
    first = model.encoder.mu.bias.detach().clone()
    engine = engines(lambda: make_run(model))
    assert engine.train_for(5).result(SECONDS) == 1 and "Press play to try again." in engine.error
    assert engine.train_for(5).result(SECONDS) == 1 and "It failed there before" in engine.error
