"""The way back along the run: what is kept of it, what is forgotten, and how it is sent."""

import numpy as np
import pytest
from lab_helpers import Flaky, some_digits

from vaekit.lab.clock import Clock
from vaekit.lab.frames import Frame
from vaekit.lab.trail import FRAMES, POINTS, WAYPOINTS, Trail


def frame(step: int, n: int = 5) -> Frame:
    return Frame(step, step, np.full((n, 2), step, np.float32), np.ones((n, 2), np.float32), 3.8, 1.0)


def steps(kept: list) -> list[int]:
    return [k.step for k in kept]


def filled(last: int, every: int, turned: int = 0) -> Trail:
    trail = Trail()
    for step in range(0, last + 1, every):
        trail.add(step, [frame(step), frame(step, 3 * POINTS)], (0, 1), turned if step >= turned else 0)
        trail.keep(step, [{"step": step}, {}], (0, 1))
    return trail


@pytest.mark.parametrize("last", [7, 95 * 7, 7 * 2000])
def test_it_never_grows_past_its_size_and_the_first_and_the_last_stay(last):
    trail = filled(last, 7)
    for kept, most in ((trail.frames, FRAMES), (trail.decoders, WAYPOINTS)):
        at = steps(kept)
        assert len(at) == min(most, 1 + last // 7) and (at[0], at[-1]) == (0, last) and at == sorted(set(at))
        assert np.diff(at).max() <= max(7, 4 * last / most)  # thinned where it is densest
    for kept in trail.frames:  # whatever is shown
        assert [len(part["points"]) for part in kept.parts] == [8 * 5, 8 * POINTS]  # bytes


def test_frames_lie_closer_after_a_knob_was_turned():
    at, plain = (np.array(steps(filled(20_000, 10, turned).frames)) for turned in (10_000, 0))
    after, before = (((at >= 10_000) & (at < 10_200)).sum() for at in (at, plain))
    assert after >= 3 * max(1, before)
    assert np.diff(at).max() <= 4 * 20_000 / FRAMES  # not at the cost of the rest


def test_after_going_back_later_steps_are_forgotten():
    trail = filled(100, 10)
    trail.add(45, [frame(45)], (0, 1))
    assert steps(trail.frames) == [0, 10, 20, 30, 40, 45]
    trail.keep(45, [{"step": 45}], (0, 1))
    assert steps(trail.decoders)[-1] == 45 and max(steps(trail.decoders)) == 45
    trail.add(40, [frame(7)], (0, 1))  # the same step again: what is new counts
    assert steps(trail.frames) == [0, 10, 20, 30, 40] and trail.frames[-1].parts == [frame(7).state()]
    trail.add(0, [frame(0)], (0, 1))
    assert steps(trail.frames) == [0]


def test_a_failure_and_start_again_forget_what_lay_ahead_and_another_data_set_begins_anew(labs, monkeypatch):
    monkeypatch.setattr(Clock, "frame_is_due", lambda *_, **__: False)  # else more steps may be kept, on the way
    lab = labs(some_digits(1100), model=Flaky(18))
    for _ in range(3):
        lab.run(5)
    with pytest.warns(UserWarning, match="a cable came loose"):
        lab.run(10)
    assert steps(lab.view.trail.frames) == [0, 5, 10, 15, 17] == steps(lab.view.trail.decoders)
    lab.reset()
    assert steps(lab.view.trail.frames) == steps(lab.view.trail.decoders) == [0]
    lab.run(5).set(data="500 digits")
    lab.pause()
    assert steps(lab.view.trail.frames) == steps(lab.view.trail.decoders) == [5]
