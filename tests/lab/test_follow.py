"""Recordings in the lab: made, followed, taken over, loaded and saved in the page; and runs resumed from a file."""

import pytest
from lab_helpers import SECONDS, Flaky, plain_loop, same_bits, small_vae, some_digits, wait_for, weights

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


# -- followed ---------------------------------------------------------------------------------------------


def test_followed_in_another_lab_it_comes_out_at_the_same_bits_knobs_marks_and_curves(labs):
    first, recording = recorded(labs)
    lab = labs(digits_1100(), beta=7.0, prior=False, kind="gaussian").run(5)
    assert lab.follow(recording) is lab
    assert lab.steps_taken == 0 and not lab.playing and lab.settings == recording.settings
    assert lab.view.plane.status["replaying"] is True and len(lab.engine.history.array()) == 0
    assert lab.controls.knobs[0]["beta"].text.value == "1" and lab.controls.kind.value == "bernoulli"
    lab.run(1000)  # it pauses at the end
    assert lab.steps_taken == 40 and lab.view.plane.message == END and lab.error is None
    assert same(all_weights(lab), all_weights(first))
    assert lab.view.curves.marks == first.view.curves.marks and len(lab.view.curves.marks) > 6
    assert lab.view.curves.history == first.view.curves.history
    assert lab.settings == first.settings and lab.recording == recording
    assert lab.controls.knobs[0]["beta"].text.value == "0.5" and lab.controls.data.value == "digits"
    assert lab.view.plane.status["replaying"] is False
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
        assert (float(knobs["beta"].text.value), knobs["prior"].box.value) == (now["beta"], now["prior"])
        assert (float(knobs["lr"].text.value), c.kind.value, c.data.value) == (now["lr"], now["kind"], now["data"])
    assert len(lab.engine.run.recording.events) == 7


def test_it_plays_to_the_end_pauses_says_so_and_plays_on(labs, tmp_path):
    first, recording = recorded(labs)
    recording.save(tmp_path / "run.json")
    lab = labs(digits_1100()).follow(tmp_path / "run.json")
    lab.engine.heartbeat()
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


# -- taken over -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [0, 1])
def test_who_turns_one_of_a_twins_knobs_takes_over_both(labs, side):
    _, recording = recorded(labs, twin=True)
    lab = labs(digits_1100(), twin=True).follow(recording).run(10)
    lab.set(side=side, beta=9.0)
    lab.run(50)
    assert lab.steps_taken == 60 and all(run.replaying is None for run in lab.engine.runs)
    for run, its, now in zip(lab.engine.runs, (recording, recording.of_twin()), lab.sides, strict=True):
        before = [event for event in its.events if event[0] <= 10]
        assert run.recording.events == before + [(11, {"beta": 9.0})] * (now is lab.sides[side])
        assert now.settings == run.settings
        assert same_bits(weights(run.model), plain_loop(small_vae(), run.sets, run.recording, 60))


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
    assert all(run.replaying for run in lab.engine.runs)
    assert [side.settings for side in lab.sides] == [run.settings for run in lab.engine.runs]
    lab.run(1000)
    assert lab.steps_taken == 40 and lab.error is None and lab.view.plane.message == END
    assert same(all_weights(lab), all_weights(first))
    assert [run.recording.events for run in lab.engine.runs] == [run.recording.events for run in first.engine.runs]


# -- twins ------------------------------------------------------------------------------------------------


def test_both_runs_knobs_move_as_a_twin_is_followed(labs):
    """The last turn before the end in one alone: nothing later would put right what was read too early."""
    first = labs(twin=True).run(5)
    first.set(side="right", beta=0.25)
    recording = first.run(1).recording
    lab = labs(twin=True).follow(recording).run(100)
    assert [side.settings for side in lab.sides] == [run.settings for run in lab.engine.runs]
    assert [knobs["beta"].text.value for knobs in lab.controls.knobs] == ["1", "0.25"]
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


def test_a_twin_whose_recording_turns_data_in_one_alone_is_not_followed(labs, refuses):
    lab = labs(digits_1100(), twin=True).run(2)
    recording, before = lab.recording, state(lab)
    recording.twin["events"] = [(2, {"data": "500 digits"})]
    recording.data = {}
    with refuses(ValueError, "two runs in lockstep see the same images"):
        lab.follow(recording)
    assert state(lab) == before


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


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "run.json: this is not a recording"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "run.json: this is not a recording"),
        (b"{}", 'run.json: has no "format": "vaekit recording"'),
        (b"[[[[", "run.json: this is not a recording"),
        (b'{"format": "vaekit recording", "version": 99}', "run.json: version must be 1 for this vaekit"),
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
        assert lab.controls.knobs[0]["beta"].text.value == "3"
        lab.run(20)
        assert same(all_weights(lab), all_weights(first)) and lab.recording == first.recording
        assert lab.view.curves.marks == first.view.curves.marks
        lab.follow(first.recording).run(1000)  # the file holds the beginning as well
        assert lab.steps_taken == 60 and same(all_weights(lab), all_weights(first))
    finally:
        lab.engine.close()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"path": "none"}, ValueError, "none: it cannot be read"),
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
