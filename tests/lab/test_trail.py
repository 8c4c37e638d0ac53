"""The way back along the run: what is kept of it, what is forgotten, and how it is sent."""

import struct

import numpy as np
import pytest
from lab_helpers import SECONDS, Flaky, some_digits, wait_for

import vaekit.lab.engine
from vaekit.lab.frames import Frame, pack_json, unpack_json
from vaekit.lab.trail import FRAMES, POINTS, WAYPOINTS, Trail

HEAD, POINT = 24, 8  # bytes of a frame's header and of each of its points


def frame(step: int, n: int = 5) -> Frame:
    return Frame(step, step, np.full((n, 2), step, np.float32), np.ones((n, 2), np.float32), 3.8, 1.0, 1e-3)


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
    trail = Trail()
    for step in range(0, last + 1, 7):
        trail.add(step, [frame(step)], (0, 1))
        trail.keep(step, [b"d"], (0, 1))
        for kept, most in ((trail.frames, FRAMES), (trail.decoders, WAYPOINTS)):
            assert len(kept) == min(most, 1 + step // 7)
            assert kept[0].step == 0 and kept[-1].step == step
            assert steps(kept) == sorted(set(steps(kept)))


def test_what_is_full_is_thinned_where_it_is_densest():
    trail = filled(20_000, 10)
    gaps = np.diff(steps(trail.frames))
    assert gaps.max() <= 4 * 20_000 / FRAMES  # no part of the run is without
    assert np.diff(steps(trail.decoders)).max() <= 4 * 20_000 / WAYPOINTS


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
    _, payload = trail.pack()
    assert len(payload) == 2 * (FRAMES * (HEAD + POINT * POINTS) + WAYPOINTS * 1000)
    assert len(trail.frames[0].parts[0]) == HEAD + POINT * POINTS
    small = Trail()
    small.add(0, [frame(0, 3)], (0, 1))
    assert small.frames[0].parts == [frame(0, 3).pack()]  # fewer points are all of them


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
    assert unpack_json(pack_json(header, payload)) == (header, payload)
    assert Trail().pack() == ({"frames": [], "decoders": []}, b"")


# -- in the lab -------------------------------------------------------------------------------------------


@pytest.fixture
def at_pauses_only(monkeypatch):
    """No frames on the way of a run: which steps are kept is then certain."""
    monkeypatch.setattr(vaekit.lab.engine, "RUN_SECONDS", float("inf"))


def sent_trail(lab, monkeypatch) -> tuple[dict, list[list[bytes]]]:
    """What the page is sent when somebody looks back, cut into its parts."""
    sent = []
    monkeypatch.setattr(lab.view.plane, "send", lambda content, buffers: sent.append((content, buffers)))
    lab._on_message(lab.view.plane, {"kind": "trail"}, [])
    lab.engine.post(lambda: None).result(SECONDS)
    [(content, [packed])] = sent
    assert content == {"kind": "trail"}
    header, payload = unpack_json(packed)
    parts, at = [], 0
    for kept in header["frames"] + header["decoders"]:
        parts.append([payload[at + sum(kept["bytes"][:i]) :][:n] for i, n in enumerate(kept["bytes"])])
        at += sum(kept["bytes"])
    assert at == len(payload)
    return header, parts


@pytest.mark.parametrize("twin", [False, True])
def test_the_page_gets_the_frames_along_the_run_as_they_were_shown(labs, at_pauses_only, monkeypatch, twin):
    lab, shown = labs(twin=twin), {}
    for _ in range(4):
        shown[lab.steps_taken] = [side.plane.frame for side in lab.view.sides]
        lab.run(5)
    shown[20] = [side.plane.frame for side in lab.view.sides]
    header, parts = sent_trail(lab, monkeypatch)
    assert [kept["step"] for kept in header["frames"]] == [0, 5, 10, 15, 20]
    for kept, its in zip(header["frames"], parts, strict=False):
        assert its == shown[kept["step"]]
        assert [struct.unpack_from("<I", part, 4)[0] for part in its] == [kept["step"]] * (1 + twin)
    decoders = header["decoders"]
    assert [kept["step"] for kept in decoders] == [0, 5, 10, 15, 20]
    assert parts[-1] == [side.plane.decoder for side in lab.view.sides] and parts[-1] != parts[-2]


def test_another_data_set_begins_another_trail(labs, at_pauses_only):
    lab = labs(some_digits(1100)).run(5).run(5)
    trail = lab.view.trail
    assert steps(trail.frames) == [0, 5, 10]
    lab.set(beta=2.0)
    lab.run(1)
    assert lab.view.trail is trail
    lab.set(data="500 digits")
    lab.pause()
    assert steps(lab.view.trail.frames) == [11] and steps(lab.view.trail.decoders) == [11]
    lab.run(5)
    assert steps(lab.view.trail.frames) == [11, 16]


def test_start_again_and_a_failure_forget_what_lay_ahead(labs, at_pauses_only):
    lab = labs(model=Flaky(18))
    for _ in range(3):
        lab.run(5)
    with pytest.warns(UserWarning, match="a cable came loose"):
        lab.run(10)
    assert steps(lab.view.trail.frames) == [0, 5, 10, 15, 17] == steps(lab.view.trail.decoders)
    lab.set(lr=1e6)
    with pytest.warns(UserWarning, match="Paused at step 17"):
        lab.run(30)
    assert steps(lab.view.trail.frames)[-2:] == [15, 17]
    lab.reset()
    assert steps(lab.view.trail.frames) == steps(lab.view.trail.decoders) == [0]


@pytest.mark.slow
def test_a_long_look_keeps_its_size(labs, monkeypatch):
    for name in ("FRAME_SECONDS", "REST_SECONDS"):
        monkeypatch.setattr(vaekit.lab.engine, name, 0.0)
    monkeypatch.setattr(vaekit.lab.engine, "FRAME_SHARE", 1e9)
    lab = labs()
    lab.engine.seen()
    lab.play()
    wait_for(lambda: lab.view.sides[0].number > FRAMES + 20)
    lab.pause()
    trail = lab.view.trail
    assert len(trail.frames) == FRAMES and len(trail.decoders) == WAYPOINTS
    assert steps(trail.frames)[0] == 0 and steps(trail.frames)[-1] == lab.steps_taken
