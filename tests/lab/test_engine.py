"""The trainer thread, without widgets: who may command it, what it shows and when, and that nobody waits for ever."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from lab_helpers import SECONDS, CountingView, Flaky, in_python, is_plain, make_run, trainers, wait_for

from vaekit._checks import one_line
from vaekit.lab import clock
from vaekit.lab.engine import Engine


def moves(engine, by: int = 3) -> bool:
    wait_for(lambda start=engine.run.number: engine.run.number > start + by)
    return True


def rests(engine) -> bool:
    start = engine.run.number
    time.sleep(0.03)
    return engine.run.number == start and not engine.playing


def test_slow_motion_slows_steps_and_nothing_else(engines, monkeypatch):
    engine = engines()
    engine.pace = 50.0
    start = time.monotonic()
    engine.play().result(SECONDS)
    wait_for(lambda: engine.run.number >= 20)
    assert engine.run.number <= 50 * (time.monotonic() - start) + 2
    engine.pace = 0.001  # a step in 1000 seconds: a command is obeyed at once, and steps asked for are not slowed down
    monkeypatch.setattr(clock, "FRAME_SECONDS", 1000.0)  # the longest wait
    engine.set_knobs({"beta": 3.0}).result(SECONDS)
    engine.pause().result(SECONDS)
    assert engine.train_for(20).result(SECONDS) == engine.run.number


def test_a_pace_that_changes_while_it_is_looked_at_leaves_a_thread_that_answers(engines, monkeypatch):
    """A page's menu sets it on a thread of its own, between any two looks of the trainer's."""
    paces = itertools.cycle([50.0, None])
    monkeypatch.setattr(Engine, "pace", property(lambda _: next(paces), lambda *_: None), raising=False)
    engine = engines()
    engine.play().result(SECONDS)
    assert moves(engine)
    engine.pause().result(SECONDS)
    assert engine.error is None


@pytest.fixture
def seconds(monkeypatch):
    """`seconds(2, visible=True)`: so long plays an engine, on a clock that is turned by hand, before a page or none.

    Whoever asks the clock on the wall, which may jump, finds none.
    """
    now = [0.0]
    for module in ("clock", "engine", "progress"):
        monkeypatch.setattr(f"vaekit.lab.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))

    class View(CountingView):
        def frame(self, engine) -> None:
            super().frame(engine)
            now[0] += self.cost

    def play(engine, seconds: float, cost: float = 0.0, **heartbeats: bool) -> tuple[int, int, str | None]:
        """Returns how many frames and details were shown, and the line that stands there at the end."""
        view = engine.view = View()
        view.cost, end = cost, now[0] + seconds

        def go() -> tuple[int, int, str | None]:
            engine.play()
            while now[0] < end:
                now[0] += 0.02
                if heartbeats:
                    engine.heartbeat(**heartbeats)
                engine._watch()
            shown = view.count("frame"), view.count("details"), engine.notice
            engine.pause()
            return shown

        return engine.post(go).result(SECONDS)

    return play


def test_frames_flow_while_a_page_looks_and_come_back_when_it_does(engines, seconds):
    engine = engines(view=object())
    assert seconds(engine, 9)[:2] == (5, 0)  # nobody looks: one in 2 s
    frames, details, _ = seconds(engine, 9, visible=True)
    assert frames in range(70, 92) and details in range(8, 11)
    seconds(engine, clock.SILENCE_SECONDS)
    assert seconds(engine, 9, visible=False)[:2] in ((4, 0), (5, 0))  # there is a page, but out of sight
    assert seconds(engine, 0.05, visible=True)[0] == 1  # back at once, not at the next try
    seconds(engine, 60, cost=0.05, visible=True)  # the cost is learned
    share = 0.05 * seconds(engine, 60, cost=0.05, visible=True)[0] / 60
    assert 0.8 * clock.FRAME_SHARE < share <= clock.FRAME_SHARE


def test_a_lab_unseen_for_long_pauses_and_says_so_but_not_while_a_cell_runs(engines, seconds):
    busy, why = [True], "no page has shown this lab for 120 seconds"
    engine = engines(is_busy=lambda: busy[0])  # then no heartbeat can be heard
    seconds(engine, 1, visible=True)
    assert seconds(engine, 150)[2] is None
    busy[0] = False
    assert why in seconds(engine, 150)[2] and engine.error is None
    assert seconds(engine, 1)[2] is None
    assert why in seconds(engine, 150, visible=False)[2]  # a page out of sight shows nothing either


def test_a_knob_is_answered_with_a_frame_of_the_very_next_step(engines, monkeypatch):
    """Whatever the pace of the frames: here none is due for long."""
    monkeypatch.setattr(clock, "HIDDEN_SECONDS", 1000.0)
    engine = engines(view=CountingView())
    engine.play().result(SECONDS)
    wait_for(lambda: engine.view.count("frame"))
    assert moves(engine)
    frames = engine.view.count("frame")
    at = engine.post(lambda: (engine.set_knobs({"beta": 5.0}), engine.run.number)[1]).result(SECONDS)
    wait_for(lambda: engine.view.count("frame") == frames + 1)
    assert [number for what, number in engine.view.calls if what == "frame"][-1] == at + 1
    assert moves(engine, 30) and engine.view.count("frame") == frames + 1  # one, and no more


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
def test_torch_threads_are_set_for_the_trainer_alone_and_given_back():
    """In a process of its own: what torch does at its first use in a thread cannot be seen twice."""
    code = """
import torch
from concurrent.futures import ThreadPoolExecutor
from lab_helpers import make_run
from vaekit.lab.engine import Engine

one, three = (Engine(lambda: (make_run(),), threads=threads) for threads in (1, 3))
assert one.post(torch.get_num_threads).result() == 1
assert three.post(torch.get_num_threads).result() == 3
one.train_for(3).result()
assert torch.get_num_threads() == 2, "the main thread, which asks for the first time, has its own"
one.close(), three.close()
assert ThreadPoolExecutor().submit(torch.get_num_threads).result() == 2, "given back: a new thread has as many"
one.play()
one.post(lambda: None).result()
"""  # the process ends while it plays: it must end all the same, and in peace
    ended = in_python(code, PYTHONWARNINGS="error", OMP_NUM_THREADS="2")
    assert (ended.stdout, ended.stderr) == ("", "")


def test_after_close_there_is_no_thread_and_a_command_starts_another(engines):
    engine = engines()
    engine.play().result(SECONDS)
    assert moves(engine)
    for _ in range(2):
        engine.close()
        assert not trainers() and not engine.playing
        engine.close()
        assert engine.train_for(10).result(SECONDS) == engine.run.number and len(trainers()) == 1
    assert is_plain(engine.run)


@pytest.mark.parametrize(
    "error", [RuntimeError("a cable came loose"), MemoryError(), SystemExit(3), KeyboardInterrupt(), BaseException()]
)
def test_whatever_a_step_raises_the_thread_lives_and_who_waits_is_answered(engines, error):
    engine = engines(lambda: make_run(Flaky(5, error=error)))
    assert engine.train_for(10).result(SECONDS) == 4
    ending = "Paused at step 4, the last good one. Press play to try again."
    assert engine.error == f"Step 5 failed ({one_line(error)}). {ending}"
    assert rests(engine) and len(trainers()) == 1
    assert engine.train_for(6).result(SECONDS) == 10 and engine.error is None
    assert is_plain(engine.run)


@pytest.mark.parametrize(("method", "error"), [("frame", RuntimeError), ("details", SystemExit), ("status", OSError)])
def test_what_cannot_be_shown_pauses_the_run_and_says_so(stared_at, engines, method, error):
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
        raise BaseException("the device is gone")

    engine.run.go_back = lost
    engine.train_for(10).result(SECONDS)
    assert "the device is gone" in engine.error and rests(engine) and len(trainers()) == 1


def test_no_command_is_lost_however_fast_they_come_and_go(engines):
    """Thread ends and starts under fire: a command posted at the wrong moment must not wait for ever."""
    engine, futures = engines(), []
    with ThreadPoolExecutor(50) as pool:
        for i in range(300):
            futures.append(engine.post(lambda i=i: i))
            if i % 7 == 0:
                pool.submit(engine.close)
        assert [future.result(SECONDS) for future in futures] == list(range(300))


def test_play_pressed_before_a_step_is_done_is_not_lost(engines):
    engine, pressed = engines(), threading.Event()
    engine.post(pressed.wait)  # meanwhile all these are pressed
    steps = [engine.train_for(1), engine.train_for(1)]
    engine.play()
    pressed.set()
    assert steps[1].result(SECONDS) == 1 and engine.playing and moves(engine)
    assert engine.train_for(5).result(SECONDS) and rests(engine)  # asked for while it plays, they end in a pause


def test_start_again_leaves_a_run_of_so_many_steps_those_that_were_to_come(stared_at, engines):
    class Again(CountingView):
        def frame(self, engine) -> None:
            super().frame(engine)
            if engine.run.number == 5 and self.calls.count(("frame", 5)) == 1:
                engine.reset()

    engine = engines(view=Again())
    engine.heartbeat()
    assert engine.train_for(12).result(SECONDS) == 7


def test_the_trainer_that_asks_for_itself_does_not_wait_for_itself(engines):
    engine = engines()
    numbers = engine.post(lambda: [engine.train_for(2).result(), engine.reset().result(), engine.run.number])
    assert numbers.result(SECONDS) == [2, None, 0]
    assert engine.post(lambda: (engine.close(), 7)[1]).result(SECONDS) == 7  # ends when this is done
    assert engine.train_for(1).result(SECONDS) == 1


def test_a_line_is_shown_until_something_else_is_done_and_so_is_what_nobody_waits_for(engines):
    engine = engines(view=CountingView())
    engine.say("A line.").result(SECONDS)
    assert engine.notice == "A line." and engine.view.calls[-1][0] == "status"
    engine.play().result(SECONDS)
    assert engine.notice is None
    engine.post(lambda: 1 / 0)
    engine.post(lambda: None).result(SECONDS)
    assert engine.notice == "The lab could not do that (ZeroDivisionError: division by zero)."
    with pytest.raises(ZeroDivisionError):
        engine.post(lambda: 1 / 0, report=False).result(SECONDS)


def test_a_step_that_fails_each_time_does_not_advise_to_try_again(engines):
    engine = engines(lambda: make_run(Flaky(2, 3)))  # there is a snapshot of the first step
    for hint in ("Press play to try again.", "It failed there before"):
        assert engine.train_for(5).result(SECONDS) == 1 and hint in engine.error
