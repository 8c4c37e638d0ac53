"""Recordings in the lab: made, followed, taken over, loaded and saved in the page; and runs resumed from a file."""

import json
import random
from datetime import datetime

import numpy as np
import pytest
import torch
from lab_helpers import SECONDS, Flaky, plain_loop, playing_on, same_bits, small_vae, some_digits, wait_for, weights

import vaekit
import vaekit.lab.engine
from vaekit.lab import LatentLab
from vaekit.recording import Recording, RecordingError

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
LONG = sum(steps for steps, _ in TURNS) + 10
END = "The recording ends here, at step 40. Press play to go on from it."


def digits_1100():
    return some_digits(1100)


def recorded(labs, **options):
    """A lab that has turned seven times in 40 steps, data and kind among it; and its recording."""
    lab = labs(digits_1100(), **options)
    for number, (steps, changes) in enumerate(TURNS):
        lab.run(steps)
        alone = options.get("twin") and number in (0, 2, 4)  # some of a twin's knobs in one alone
        lab.set(side="left" if alone else None, **changes)
    return lab.run(10), lab.recording


def all_weights(lab) -> list[dict]:
    return [weights(side.model) for side in lab.sides]


def same(one: list[dict], other: list[dict]) -> bool:
    return len(one) == len(other) and all(same_bits(*pair) for pair in zip(one, other, strict=True))


def state(lab) -> tuple:
    lab.pause()
    runs = lab.engine.runs
    courses = [(run.number, run.settings, run.seed, run.recording.settings, list(run.recording.events)) for run in runs]
    return courses, [side.settings for side in lab.sides], lab.engine.history.array().tolist()


def upload(lab, content: bytes, name: str = "run.json") -> None:
    """What the page sends when a file was chosen."""
    sent = {"name": name, "type": "application/json", "size": len(content), "last_modified": 1.7e12}
    lab.controls.load.set_state({"value": [sent | {"content": memoryview(content)}]})
    lab.engine.post(lambda: None).result(SECONDS)


# -- recorded ---------------------------------------------------------------------------------------------


def test_a_labs_recording_is_complete(labs):
    lab, recording = recorded(labs)
    assert recording.steps == LONG == 40 and len(recording.events) == 7
    assert recording.settings == {"beta": 1.0, "prior": True, "lr": 1e-3, "kind": "bernoulli", "data": "digits"}
    assert recording.model["hidden"] == 16 and recording.twin is None
    assert set(recording.data) == {"digits", "500 digits"}
    assert recording.made_with["threads"] == 1 and Recording.from_json(recording.to_json()) == recording
    lab.set(beta=9.0)
    lab.run(1)
    assert recording.steps == 40 and lab.recording.events[-1] == (41, {"beta": 9.0})  # it was a copy


def test_a_recording_may_be_asked_for_while_it_plays_and_changes_nothing(labs):
    lab = labs()
    lab.play()
    for _ in range(3):
        wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 3)
        lab.set(beta=lab.settings["beta"] + 1)
        assert lab.playing and lab.recording.steps > 0
    lab.pause()
    run = lab.engine.run
    assert same_bits(weights(lab.model), plain_loop(small_vae(), run.sets, run.recording, run.number))


# -- followed ---------------------------------------------------------------------------------------------


def test_followed_in_another_lab_it_comes_out_at_the_same_bits_knobs_marks_and_curves(labs):
    first, recording = recorded(labs)
    lab = labs(digits_1100(), beta=7.0, prior=False, kind="gaussian").run(5)
    assert lab.follow(recording) is lab
    assert lab.steps_taken == 0 and not lab.playing and lab.settings == recording.settings
    assert lab.view.plane.status["following"] is True and len(lab.engine.history.array()) == 0
    assert lab.controls.knobs[0].beta_text.value == "1" and lab.controls.kind.value == "bernoulli"
    lab.run(1000)  # it pauses at the end
    assert lab.steps_taken == 40 and lab.view.plane.message == END and lab.error is None
    assert same(all_weights(lab), all_weights(first))
    assert lab.view.curves.marks == first.view.curves.marks and len(lab.view.curves.marks) > 6
    assert lab.view.curves.history == first.view.curves.history
    assert lab.settings == first.settings and lab.recording == recording
    assert lab.controls.knobs[0].beta_text.value == "0.5" and lab.controls.data.value == "digits"
    assert lab.view.plane.status["following"] is False
    first.run(10), lab.run(10)
    assert lab.steps_taken == 50 and lab.view.plane.message == "" and same(all_weights(lab), all_weights(first))


def test_the_knobs_move_as_it_is_followed(labs):
    _, recording = recorded(labs)
    lab, now = labs(digits_1100()).follow(recording), dict(recording.settings)
    for step, changes in recording.events:
        lab.run(step - lab.steps_taken)  # until the step on which it acted
        now |= changes
        assert lab.settings == lab.engine.run.settings == now
        knobs, c = lab.controls.knobs[0], lab.controls
        assert (float(knobs.beta_text.value), knobs.prior.value) == (now["beta"], now["prior"])
        assert (float(knobs.lr.value), c.kind.value, c.data.value) == (now["lr"], now["kind"], now["data"])
    assert len(lab.engine.run.recording.events) == 7


def test_it_plays_to_the_end_pauses_says_so_and_plays_on(labs, tmp_path):
    first, recording = recorded(labs)
    recording.save(tmp_path / "run.json")
    lab = labs(digits_1100()).follow(tmp_path / "run.json")
    lab.engine.seen()
    lab.play()
    wait_for(lambda: lab.view.plane.message == END)
    assert lab.steps_taken == 40 and not lab.playing and lab.controls.play.description == "Play"
    assert same(all_weights(lab), all_weights(first))
    lab.play()
    wait_for(lambda: lab.steps_taken > 50)
    lab.pause()
    run = lab.engine.run
    assert same_bits(weights(lab.model), plain_loop(small_vae(), run.sets, run.recording, run.number))
    lab.follow(str(tmp_path / "run.json")).run(1000)  # and once more, in the same lab
    assert lab.steps_taken == 40 and same(all_weights(lab), all_weights(first))


def test_followed_while_it_plays_it_begins_there_and_waits(labs):
    first, recording = recorded(labs)
    first.play()
    wait_for(lambda: first.steps_taken > 45)
    first.follow(recording)
    assert not first.playing and first.steps_taken == 0 and first.view.plane.status["playing"] is False
    waiting = first.engine.steps(1000)
    first.engine.follow([recording]).result(SECONDS)
    assert waiting.result(SECONDS) is not None  # who waits for steps is answered
    first.run(1000)
    assert first.steps_taken == 40 and first.recording == recording


@pytest.mark.slow
def test_a_thousand_steps_with_twenty_events_through_the_lab_to_the_bit(labs):
    first, dice = labs(digits_1100()), random.Random(0)
    first.engine.seen()
    for _ in range(20):
        first.run(dice.randint(30, 50))
        name, value = dice.choice(
            [("beta", dice.uniform(0, 9)), ("lr", dice.uniform(1e-4, 2e-3)), ("prior", not first.settings["prior"])]
            + [("kind", {"bernoulli": "gaussian"}.get(first.settings["kind"], "bernoulli"))]
            + [("data", {"digits": "500 digits"}.get(first.settings["data"], "digits"))]
        )
        first.set(**{name: value})
    first.run(1000 - first.steps_taken)
    recording = Recording.from_json(first.recording.to_json())
    assert recording.steps == 1000 and len(recording.events) == 20
    assert {"kind", "data", "prior"} <= {name for _, changes in recording.events for name in changes}
    lab = labs(digits_1100()).follow(recording)
    lab.engine.seen()
    lab.play()
    wait_for(lambda: lab.view.plane.message.startswith("The recording ends here, at step 1000"), 120)
    assert lab.steps_taken == 1000 and same(all_weights(lab), all_weights(first)) and lab.recording == recording
    assert same_bits(weights(lab.model), plain_loop(small_vae(), lab.engine.run.sets, recording, 1000))


# -- taken over -------------------------------------------------------------------------------------------


def test_who_turns_a_knob_takes_over(labs):
    _, recording = recorded(labs)
    lab = labs(digits_1100()).follow(recording).run(10)
    lab.set(beta=1.0 + lab.settings["beta"])
    lab.run(50)
    assert lab.steps_taken == 60 and lab.view.plane.message == ""  # no end to pause at
    assert lab.view.plane.status["following"] is False
    mine = lab.engine.run.recording
    assert mine.events == [*recording.events[:2], (11, {"beta": 5.0})]
    assert lab.settings == lab.engine.run.settings == recording.at(10) | {"beta": 5.0}
    assert same_bits(weights(lab.model), plain_loop(small_vae(), lab.engine.run.sets, mine, 60))


def test_a_knob_turned_to_where_it_stands_takes_nothing_over(labs):
    first, recording = recorded(labs)
    lab = labs(digits_1100()).follow(recording).run(10)
    lab.set(**lab.settings)
    assert lab.run(1000).steps_taken == 40 and same(all_weights(lab), all_weights(first))


@pytest.mark.parametrize("side", [0, 1])
def test_who_turns_one_of_a_twins_knobs_takes_over_both(labs, side):
    _, recording = recorded(labs, twin=True)
    lab = labs(digits_1100(), twin=True).follow(recording).run(10)
    lab.set(side=side, beta=9.0)
    lab.run(50)
    assert lab.steps_taken == 60 and all(run.following is None for run in lab.engine.runs)
    for run, its, now in zip(lab.engine.runs, (recording, recording.of_twin()), lab.sides, strict=True):
        before = [event for event in its.events if event[0] <= 10]
        assert run.recording.events == before + [(11, {"beta": 9.0})] * (now is lab.sides[side])
        assert now.settings == run.settings
        assert same_bits(weights(run.model), plain_loop(small_vae(), run.sets, run.recording, 60))


def test_reset_while_following_begins_a_run_of_its_own(labs):
    _, recording = recorded(labs)
    lab = labs(digits_1100()).follow(recording).run(10)
    here = lab.settings
    lab.reset()
    assert lab.steps_taken == 0 and lab.settings == here and lab.view.plane.status["following"] is False
    lab.run(50)
    assert lab.steps_taken == 50 and lab.engine.run.recording.events == []
    plain = plain_loop(small_vae(), lab.engine.run.sets, lab.engine.run.recording, 50)
    assert same_bits(weights(lab.model), plain)


@pytest.mark.parametrize("twin", [False, True])
def test_a_failure_on_the_way_goes_back_and_it_is_followed_from_there(labs, twin):
    first, recording = recorded(labs, twin=twin)
    recording.model = None  # it is played by another class of model with the same weights
    lab = labs(digits_1100(), model=Flaky(), twin=twin)
    lab.sides[-1].model.bad_calls = (15,)
    lab.follow(recording)
    with pytest.warns(UserWarning, match="a cable came loose"):
        lab.run(1000)
    assert [run.number for run in lab.engine.runs] == [14] * len(lab.sides)
    assert all(run.following for run in lab.engine.runs)
    assert [side.settings for side in lab.sides] == [run.settings for run in lab.engine.runs]
    lab.run(1000)
    assert lab.steps_taken == 40 and lab.error is None and lab.view.plane.message == END
    assert same(all_weights(lab), all_weights(first))
    assert [run.recording.events for run in lab.engine.runs] == [run.recording.events for run in first.engine.runs]


# -- twins ------------------------------------------------------------------------------------------------


def test_a_twins_recording_is_followed_by_a_twin(labs):
    first, recording = recorded(labs, twin=True)
    left, right = recording, recording.of_twin()
    assert left.settings["prior"] is False and right.settings["prior"] is True and left.events != right.events
    lab = labs(digits_1100(), twin=True, beta=3.0).follow(recording).run(1000)
    assert lab.steps_taken == 40 and lab.view.plane.message == END
    assert same(all_weights(lab), all_weights(first)) and lab.recording == recording
    assert lab.view.curves.marks == first.view.curves.marks
    assert any("(left)" in mark["label"] for mark in lab.view.curves.marks)
    first.run(5), lab.run(5)
    assert same(all_weights(lab), all_weights(first))


def test_both_runs_knobs_move_as_a_twin_is_followed(labs):
    """The last turn before the end in one alone: nothing later would put right what was read too early."""
    first = labs(twin=True).run(5)
    first.set(side="right", beta=0.25)
    recording = first.run(1).recording
    lab = labs(twin=True).follow(recording).run(100)
    assert [side.settings for side in lab.sides] == [run.settings for run in lab.engine.runs]
    assert [knobs.beta_text.value for knobs in lab.controls.knobs] == ["1", "0.25"]
    lab.sides[1].set(lr=0.01)
    assert lab.sides[1].settings["beta"] == 0.25


def test_a_recording_for_another_number_of_runs_is_one_line_and_touches_nothing(labs, refuses):
    _, of_two = recorded(labs, twin=True)
    single, twin = labs(digits_1100()).run(3), labs(digits_1100(), twin=True).run(3)
    before = state(single), state(twin)
    with refuses(ValueError, "this recording is of a twin: make the lab with twin=True"):
        single.follow(of_two)
    with refuses(ValueError, "this recording is not of a twin: make a lab without one"):
        twin.follow(single.recording)
    assert (state(single), state(twin)) == before


# -- what cannot be followed ------------------------------------------------------------------------------


def test_what_does_not_fit_is_one_line_and_the_run_plays_on(labs, refuses, tmp_path):
    others = {
        "is of another model": labs(digits_1100(), hidden=8).run(2).recording,
        "not those of the recording": labs(some_digits(1000)).run(2).recording,
        "data must be one of": labs(some_digits(300, "others")).run(2).recording,
        "model of its own": labs(digits_1100(), model=small_vae(5)).run(2).recording,
    }
    lab = labs(digits_1100())
    lab.play()
    wait_for(lambda: lab.steps_taken > 3)
    lab.set(beta=2.0)
    for says, recording in others.items():
        with refuses(ValueError, says):
            lab.follow(recording)
    for bad, error in ((tmp_path / "none.json", RecordingError), (tmp_path, RecordingError), (7, TypeError)):
        with refuses(error, "."):
            lab.follow(bad)
    assert lab.playing
    wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 3)
    lab.pause()
    run = lab.engine.run
    assert lab.settings["beta"] == run.settings["beta"] == 2.0 and run.number > 3
    assert same_bits(weights(lab.model), plain_loop(small_vae(), run.sets, run.recording, run.number))


def test_other_first_weights_come_with_the_recording(labs):
    first = labs(seed=3, batch_size=64).run(12)
    lab = labs().follow(first.recording).run(100)
    assert lab.steps_taken == 12 and same(all_weights(lab), all_weights(first))
    lab.reset()
    assert same_bits(weights(lab.model), weights(small_vae(3)))


def test_of_a_recording_without_steps_there_is_nothing_to_follow(labs):
    lab = labs(beta=3.0).follow(labs().recording)
    assert lab.settings["beta"] == 1.0 and lab.run(5).steps_taken == 5 and lab.view.plane.message == ""


# -- in the page ------------------------------------------------------------------------------------------


def test_a_file_loaded_in_the_page_is_played(labs):
    first, recording = recorded(labs)
    lab = labs(digits_1100())
    upload(lab, recording.to_json().encode())
    wait_for(lambda: lab.view.plane.message == END)
    assert not lab.playing and same(all_weights(lab), all_weights(first))
    assert lab.controls.load.value == ()  # the same file may be chosen again
    assert lab.run(1).view.plane.message == ""
    upload(lab, b"\xef\xbb\xbf" + recording.to_json().encode())  # as Notepad saves it
    wait_for(lambda: lab.view.plane.message == END)


def test_what_ipywidgets_makes_of_an_upload_is_what_the_lab_reads(labs):
    lab, seen = labs(), []
    lab.controls.load.observe(lambda change: seen.append(change.new), "value")
    upload(lab, b"{}")
    [file] = next(value for value in seen if value)
    assert type(file["content"]) is memoryview and isinstance(file["last_modified"], datetime)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "run.json: this is not a recording"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "run.json: this is not a recording"),
        (b"{}", 'run.json: has no "format": "vaekit recording"'),
        (b"[[[[", "run.json: this is not a recording"),
        (b'{"format": "vaekit recording", "version": 99}', "run.json: has the version 99"),
    ],
)
def test_a_bad_file_loaded_in_the_page_is_one_line_and_touches_nothing(labs, content, says):
    lab = labs().run(5)
    lab.set(beta=2.0)
    before = state(lab)
    upload(lab, content)
    message = lab.view.plane.message
    assert message.startswith(says) and "\n" not in message and len(message) < 400
    assert lab.controls.load.value == () and state(lab) == before
    assert lab.run(1).steps_taken == 6


def test_a_file_of_another_run_or_with_a_strange_name_is_one_line_too(labs):
    lab = labs().run(5)
    before = state(lab)
    upload(lab, labs(hidden=8).run(2).recording.to_json().encode())
    assert "is of another model" in lab.view.plane.message and state(lab) == before
    upload(lab, b"{}", "a\nb" + 250 * "c" + ".json")
    assert 'has no "format"' in lab.view.plane.message and "\n" not in lab.view.plane.message
    assert len(lab.view.plane.message) < 400


@pytest.mark.parametrize("twin", [False, True])
def test_the_page_is_given_the_recording_as_a_file(labs, monkeypatch, twin):
    lab, sent = labs(twin=twin).run(3), []
    monkeypatch.setattr(lab.view.plane, "send", lambda content, buffers: sent.append((content, buffers)))
    lab.controls.save.click()
    lab.engine.post(lambda: None).result(SECONDS)
    [(content, [text])] = sent
    assert content == {"kind": "file", "name": "vaekit-recording.json"}
    assert Recording.from_json(text.decode()) == lab.recording and json.loads(text)["steps"] == 3


# -- saved and resumed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("twin", [False, True])
def test_a_resumed_lab_goes_on_to_the_bit(labs, tmp_path, twin):
    first, _ = recorded(labs, twin=twin)
    first.set(side="left" if twin else None, beta=3.0)  # turned, but no step taken since
    first.save(tmp_path / "run.safetensors")
    first.run(20)
    lab = LatentLab.resume(tmp_path / "run.safetensors", data=digits_1100(), shown=100, threads=1)
    try:
        assert lab.steps_taken == 40 and len(lab.sides) == 1 + twin
        assert [side.settings for side in lab.sides] == [side.settings for side in first.sides]
        assert lab.controls.knobs[0].beta_text.value == "3"
        lab.run(20)
        assert same(all_weights(lab), all_weights(first)) and lab.recording == first.recording
        assert lab.view.curves.marks == first.view.curves.marks
        lab.follow(first.recording).run(1000)  # the file holds the beginning as well
        assert lab.steps_taken == 60 and same(all_weights(lab), all_weights(first))
    finally:
        lab.engine.close()


def test_saved_while_it_plays_it_plays_on(labs, tmp_path):
    lab = labs()
    lab.play()
    wait_for(lambda: lab.steps_taken > 5)
    lab.save(tmp_path / "run.safetensors")
    assert lab.playing
    lab.pause()
    resumed = vaekit.resume(tmp_path / "run.safetensors", data=some_digits(300))
    assert 5 < resumed.number <= lab.steps_taken
    while resumed.number < lab.steps_taken:
        resumed.advance()
    assert same_bits(weights(resumed.model), weights(lab.model))


def test_a_model_of_ones_own_is_resumed_when_it_is_given(labs, tmp_path, refuses):
    first = labs(model=vaekit.Autoencoder(2, 16, init_generator=torch.Generator().manual_seed(1))).run(10)
    first.save(tmp_path / "run.safetensors")
    with refuses(ValueError, "model of its own"):
        LatentLab.resume(tmp_path / "run.safetensors", data=some_digits(300))
    lab = LatentLab.resume(tmp_path / "run.safetensors", data=some_digits(300), model=vaekit.Autoencoder(2, 16))
    try:
        assert same(all_weights(lab), all_weights(first))
    finally:
        lab.engine.close()


def test_where_nothing_can_be_written_is_one_line_and_the_lab_plays_on(labs, tmp_path, refuses):
    lab = labs()
    with playing_on(lab):
        for path in (tmp_path / "no folder" / "run", tmp_path):
            with refuses(OSError, "could not be written"):
                lab.save(path)
        with refuses(TypeError, "path"):
            lab.save(7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"path": "none"}, ValueError, "none: this is not a file"),
        ({"path": "text"}, ValueError, "text: "),
        ({"shown": 0}, ValueError, "shown must be a whole number"),
        ({"pair": (0, 2)}, ValueError, "this model has 2, the pair is"),
        ({"pair": "ab"}, ValueError, "pair must be two latent dimensions"),
        ({"threads": 0}, ValueError, "threads must be"),
    ],
)
def test_what_cannot_be_resumed_is_one_line_and_leaves_no_thread(labs, tmp_path, refuses, arguments, error, says):
    labs().run(2).save(tmp_path / "run")
    (tmp_path / "text").write_text("hello")
    path = tmp_path / arguments.pop("path", "run") if "path" in arguments else tmp_path / "run"
    with refuses(error, says):
        LatentLab.resume(path, data=some_digits(300), **arguments)


def test_a_resumed_lab_records_the_threads_it_trains_with(labs, tmp_path):
    labs().run(2).save(tmp_path / "run")
    lab = LatentLab.resume(tmp_path / "run", data=some_digits(300), threads=2)
    try:
        assert lab.recording.made_with["threads"] == 2
    finally:
        lab.engine.close()


def test_what_is_saved_holds_no_numpy_and_no_nan(labs):
    lab = labs().run(2)
    lab.set(beta=np.float32(0.5), lr=np.float64(0.01))
    text = lab.run(1).recording.to_json()
    assert json.loads(text)["events"] == [[3, {"beta": 0.5, "lr": 0.01}]] and "NaN" not in text
