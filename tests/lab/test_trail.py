"""The way back along the run: what is kept of it, what is forgotten, and how it is sent."""

import numpy as np
import pytest
from lab_helpers import SECONDS, Flaky, some_digits

from vaekit.lab.clock import Clock
from vaekit.lab.frames import Frame, unpack_json
from vaekit.lab.trail import FRAMES, POINTS, WAYPOINTS, Trail

HEAD, POINT = 20, 8  # bytes of a frame's header and of each of its points


def frame(step: int, n: int = 5) -> Frame:
    return Frame(step, step, np.full((n, 2), step, np.float32), np.ones((n, 2), np.float32), 3.8, 1.0)


def steps(kept: list) -> list[int]:
    return [k.step for k in kept]


def filled(last: int, every: int, turned: int = 0) -> Trail:
    trail = Trail()
    for step in range(0, last + 1, every):
        trail.add(step, [frame(step)], (0, 1), turned if step >= turned else 0)
        trail.keep(step, [b"%d" % step], (0, 1))
    return trail


@pytest.mark.parametrize("last", [7, 95 * 7, 96 * 7, 7 * 2000])
def test_it_never_grows_past_its_size_and_the_first_and_the_last_stay(last):
    trail = filled(last, 7)
    for kept, most in ((trail.frames, FRAMES), (trail.decoders, WAYPOINTS)):
        at = steps(kept)
        assert len(at) == min(most, 1 + last // 7) and (at[0], at[-1]) == (0, last) and at == sorted(set(at))
        assert np.diff(at).max() <= max(7, 4 * last / most)  # thinned where it is densest


def test_frames_lie_closer_after_a_knob_was_turned():
    at = np.array(steps(filled(20_000, 10, turned=10_000).frames))
    plain = np.array(steps(filled(20_000, 10).frames))
    after = (at >= 10_000) & (at < 10_200)
    assert after.sum() >= 3 * max(1, ((plain >= 10_000) & (plain < 10_200)).sum())
    assert np.diff(at).max() <= 4 * 20_000 / FRAMES  # not at the cost of the rest


def test_after_going_back_later_steps_are_forgotten():
    trail = filled(100, 10)
    trail.add(45, [frame(45)], (0, 1))
    assert steps(trail.frames) == [0, 10, 20, 30, 40, 45]
    trail.keep(45, [b"new"], (0, 1))
    assert steps(trail.decoders)[-1] == 45 and max(steps(trail.decoders)) == 45
    trail.add(40, [frame(7)], (0, 1))  # the same step again: what is new counts
    assert steps(trail.frames) == [0, 10, 20, 30, 40] and trail.frames[-1].parts == [frame(7).pack()]
    trail.add(0, [frame(0)], (0, 1))
    assert steps(trail.frames) == [0]


def test_its_bytes_are_bounded_whatever_is_shown():
    trail = Trail()
    for step in range(300):
        trail.add(step, [frame(step, 1000), frame(step, 3 * POINTS)], (0, 1))
        trail.keep(step, [bytes(1000), bytes(1000)], (0, 1))
    assert len(trail.pack()[1]) == 2 * (FRAMES * (HEAD + POINT * POINTS) + WAYPOINTS * 1000)


def test_it_is_packed_as_its_docstring_says():
    trail = Trail()
    trail.add(0, [frame(0, 2), frame(1, 2)], (0, 1))
    trail.add(9, [frame(9, 2), frame(10, 2)], (3, 1))
    trail.keep(9, [b"left", b"right!"], (3, 1))
    header, payload = trail.pack()
    size = HEAD + 2 * POINT
    assert header == {
        "frames": [
            {"step": 0, "pair": [0, 1], "bytes": [size, size]},
            {"step": 9, "pair": [3, 1], "bytes": [size, size]},
        ],
        "decoders": [{"step": 9, "pair": [3, 1], "bytes": [4, 6]}],
    }
    assert payload == b"".join(frame(step, 2).pack() for step in (0, 1, 9, 10)) + b"leftright!"


# -- in the lab -------------------------------------------------------------------------------------------


@pytest.fixture
def at_pauses_only(monkeypatch):
    """No frames on the way of a run: which steps are kept is then certain."""
    monkeypatch.setattr(Clock, "frame_is_due", lambda *_, **__: False)


@pytest.mark.slow
@pytest.mark.parametrize("twin", [False, True])
def test_the_page_gets_the_frames_along_the_run_as_they_were_shown(labs, at_pauses_only, monkeypatch, twin):
    lab, shown, sent = labs(twin=twin), [], []
    for step in range(0, 21, 5):
        shown += [side.plane.frame for side in lab.view.sides]
        if step < 20:
            lab.run(5)
    monkeypatch.setattr(lab.view.plane, "send", lambda content, buffers: sent.append((content, buffers)))
    lab.view.plane._handle_custom_msg({"kind": "trail"}, [])
    lab.engine.post(lambda: None).result(SECONDS)
    [(content, [packed])] = sent
    header, payload = unpack_json(packed)
    assert content == {"kind": "trail"}
    assert [kept["step"] for kept in header["frames"]] == [0, 5, 10, 15, 20]
    assert [kept["step"] for kept in header["decoders"]] == [0, 5, 10, 15, 20]
    assert payload.startswith(b"".join(shown)) and payload.endswith(
        b"".join(side.plane.decoder for side in lab.view.sides)
    )


def test_another_data_set_begins_another_trail(labs, at_pauses_only):
    lab = labs(some_digits(1100)).run(5).run(5)
    lab.set(beta=2.0)
    assert steps(lab.run(1).view.trail.frames) == [0, 5, 10, 11]
    lab.set(data="500 digits")
    lab.pause()
    assert steps(lab.view.trail.frames) == [11] and steps(lab.view.trail.decoders) == [11]


def test_start_again_and_a_failure_forget_what_lay_ahead(labs, at_pauses_only):
    lab = labs(model=Flaky(18))
    for _ in range(3):
        lab.run(5)
    with pytest.warns(UserWarning, match="a cable came loose"):
        lab.run(10)
    assert steps(lab.view.trail.frames) == [0, 5, 10, 15, 17] == steps(lab.view.trail.decoders)
    lab.reset()
    assert steps(lab.view.trail.frames) == steps(lab.view.trail.decoders) == [0]
