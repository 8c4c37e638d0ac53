"""Recordings in the lab: made, followed, taken over, loaded in the page; and runs resumed from a file."""

import pytest
from lab_helpers import is_plain, same_bits, some_digits, upload, wait_for, weights

from vaekit.lab import LatentLab
from vaekit.runs.recording import RecordingError

pytestmark = pytest.mark.slow  # all of them together

TURNS = [
    (4, {"beta": 4.0}),
    (3, {"prior": False}),
    (5, {"kind": "gaussian", "lr": 2e-3}),
    (6, {"data": "500 digits"}),
    (2, {"prior": True, "beta": 0.5}),
    (7, {"kind": "bernoulli"}),
    (3, {"data": "digits", "lr": 1e-3}),
]
END = "The recording ends here, at step 40. Press play to go on from it."


def recorded(labs, **options):
    """A lab that has turned seven times in 40 steps, data and kind among it; and its recording."""
    lab = labs(some_digits(1100), **options)
    for number, (steps, changes) in enumerate(TURNS):
        lab.run(steps)
        alone = options.get("twin") and number in (0, 2, 4)  # some of a twin's knobs in one alone
        lab.set(side="left" if alone else None, **changes)
    return lab.run(10), lab.recording


def same(one, other) -> bool:
    """Have two labs the same weights?"""
    pairs = zip(one.sides, other.sides, strict=True)
    return all(same_bits(weights(a.model), weights(b.model)) for a, b in pairs)


def test_followed_in_another_lab_it_comes_out_at_the_same_bits_knobs_marks_and_curves(labs):
    first, recording = recorded(labs)
    lab, now = labs(some_digits(1100), beta=7.0, prior=False, kind="gaussian").run(5), dict(recording.settings)
    assert lab.follow(recording) is lab
    assert lab.steps_taken == 0 and not lab.playing and lab.settings == now
    assert lab.view.plane.status["replaying"] is True and len(lab.engine.history.array()) == 0
    for step, changes in recording.events:
        lab.run(step - lab.steps_taken)  # until the step on which it acted
        now |= changes
        assert lab.settings == lab.engine.run.settings == now
        knobs, c = lab.controls.knobs[0], lab.controls  # they move as the knobs do
        assert (float(knobs["beta"].text.value), knobs["prior"].box.value) == (now["beta"], now["prior"])
        assert (float(knobs["lr"].text.value), c.kind.value, c.data.value) == (now["lr"], now["kind"], now["data"])
    lab.run(1000)  # it pauses at the end
    assert lab.steps_taken == 40 and lab.view.plane.message == END and lab.error is None and same(lab, first)
    assert lab.view.plane.marks == first.view.plane.marks and len(lab.view.plane.marks) > 6
    assert lab.view.plane.history == first.view.plane.history
    assert lab.settings == first.settings and lab.recording == recording
    assert lab.view.plane.status["replaying"] is False
    first.run(10), lab.run(10)
    assert lab.steps_taken == 50 and lab.view.plane.message == "" and same(lab, first)


def test_who_turns_one_of_a_twins_knobs_takes_over_both(labs):
    _, recording = recorded(labs, twin=True)
    lab = labs(some_digits(1100), twin=True).follow(recording).run(10)
    lab.set(side="right", beta=9.0)
    lab.run(50)
    assert lab.steps_taken == 60 and all(run.replaying is None for run in lab.engine.runs)
    for run, its, now in zip(lab.engine.runs, (recording, recording.of_twin()), lab.sides, strict=True):
        before = [event for event in its.events if event[0] <= 10]
        assert run.recording.events == before + [(11, {"beta": 9.0})] * (now is lab.sides[1])
        assert now.settings == run.settings and is_plain(run)


def test_what_does_not_fit_is_one_line_and_the_run_plays_on(labs, refuses, tmp_path):
    """The other ways not to fit: tests/runs/test_run.py."""
    twin = labs(some_digits(1100), twin=True).run(2)
    others = {
        "is of another model": labs(some_digits(1100), hidden=8).run(2).recording,
        "data must be one of": labs(some_digits(300, "others")).run(2).recording,
        "this recording is of a twin: make the lab with twin=True": twin.recording,
    }
    with refuses(ValueError, "this recording is not of a twin: make a lab without one"):
        twin.follow(others["is of another model"])
    lab = labs(some_digits(1100)).run(3)
    lab.play()
    lab.set(beta=2.0)
    for says, recording in others.items():
        with refuses(ValueError, says):
            lab.follow(recording)
    for bad, error in ((tmp_path / "none.json", RecordingError), (7, TypeError)):
        with refuses(error, "."):
            lab.follow(bad)
    assert lab.playing
    lab.pause()
    assert lab.settings["beta"] == lab.engine.run.settings["beta"] == 2.0
    assert is_plain(lab.engine.run)


def test_a_file_loaded_in_the_page_is_played_to_its_end_and_on_and_a_bad_one_touches_nothing(labs, tmp_path):
    first, recording = recorded(labs)
    lab = labs(some_digits(1100)).run(5)
    before = lab.recording, lab.settings
    message = upload(lab, "load", {"run.json": b"\x89PNG\r\n\x1a\n" + bytes(100)})
    assert message.startswith("run.json: this is not a recording") and "\n" not in message and len(message) < 400
    assert (lab.recording, lab.settings) == before
    upload(lab, "load", {"run.json": b"\xef\xbb\xbf" + recording.to_json().encode()})  # as Notepad saves it
    wait_for(lambda: lab.view.plane.message == END)
    assert lab.steps_taken == 40 and not lab.playing and lab.controls.play.description == "Play" and same(lab, first)
    lab.play()
    wait_for(lambda: lab.steps_taken > 50)
    lab.pause()
    assert lab.view.plane.message == "" and is_plain(lab.engine.run)
    recording.save(tmp_path / "run.json")
    lab.follow(tmp_path / "run.json").run(1000)  # and once more, in the same lab
    assert lab.steps_taken == 40 and same(lab, first)


@pytest.mark.parametrize("twin", [False, True])
def test_a_resumed_lab_goes_on_to_the_bit(labs, tmp_path, twin):
    first, _ = recorded(labs, twin=twin)
    first.set(side="left" if twin else None, beta=3.0)  # turned, but no step taken since
    first.save(tmp_path / "run.safetensors")
    first.run(20)
    lab = LatentLab.resume(tmp_path / "run.safetensors", data=some_digits(1100), shown=100, threads=1)
    assert lab.steps_taken == 40 and len(lab.sides) == 1 + twin
    assert lab.controls.knobs[0]["beta"].text.value == "3"
    lab.run(20)
    assert same(lab, first) and lab.recording == first.recording
    assert [side.settings for side in lab.sides] == [side.settings for side in first.sides]
    assert lab.view.plane.marks == first.view.plane.marks
    lab.follow(first.recording).run(1000)  # the file holds the beginning as well
    assert lab.steps_taken == 60 and same(lab, first)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"path": "none"}, "none: it cannot be read"),
        ({"shown": 0}, "shown must be a whole number"),
        ({"pair": (0, 2)}, "this model has 2, the pair is"),
        ({"threads": 0}, "threads must be"),
    ],
)
def test_what_cannot_be_resumed_is_one_line_and_leaves_no_thread(labs, tmp_path, refuses, arguments, says):
    labs().run(2).save(tmp_path / "run")
    path = tmp_path / arguments.pop("path", "run")
    with refuses(ValueError, says):
        LatentLab.resume(path, data=some_digits(300), **arguments)
