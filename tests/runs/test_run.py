"""A run and its way back. Everything is compared with the plain loop, to the bit."""

import random
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from lab_helpers import EVENTS, SETTINGS, Flaky, go_to, is_plain, make_run, same_bits, small_vae, weights

import vaekit
from vaekit.data import mnist
from vaekit.losses import KINDS
from vaekit.runs.recording import fingerprint, made_with
from vaekit.runs.run import Run, replay


def test_reset_begins_again_with_the_knobs_where_they_stand():
    run = make_run()
    first = weights(run.model)
    go_to(run, 14)
    run.reset()
    assert run.number == 0 and same_bits(weights(run.model), first)
    assert run.settings == {"beta": 4.0, "prior": False, "lr": 5e-4, "kind": "gaussian", "data": "few"}
    assert run.recording.events == [] and run.recording.settings == run.settings
    assert is_plain(go_to(run, 6, {}))


@pytest.mark.parametrize("back", [0, 5, 6, 7, 9, 13])
def test_going_back_gives_the_very_weights_of_that_step_and_the_run_goes_on_as_if_nothing_had_been(back):
    """Snapshots at 5 and 10, in mid-epoch: at one, just after, at a knob, at the end of an epoch."""
    events = {step: changes for step, changes in EVENTS.items() if "data" not in changes}
    run = make_run()
    for last in (3, 3, 5, 10):
        go_to(run, last, events).keep()
    assert [snapshot.number for snapshot in run.snapshots] == [0, 5, 10]  # the first and the last two
    go_to(run, 14, events)
    stood, there = run.settings, run.recording.at(back)
    run.go_back(back)
    assert run.number == back and is_plain(run)
    assert run.settings == stood  # the knobs stay where the learner sees them
    run.set_knobs(there)
    unhurt = go_to(make_run(), 20, {step: changes for step, changes in events.items() if step <= back})
    assert same_bits(weights(go_to(run, 20, {}).model), weights(unhurt.model)) and is_plain(unhurt)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), SystemExit()], ids=repr)
def test_when_a_step_fails_on_the_way_back_the_snapshot_is_where_it_ends(error):
    """And an interrupt is the caller's."""
    run = go_to(make_run(Flaky(10, error=error)), 3, {})  # the 7 steps, then the fault strikes in the replay
    run.keep()
    go_to(run, 7, {5: {"beta": 9.0}})
    with pytest.raises(type(error)) if error else nullcontext():
        run.go_back(6)
    assert run.number == 3 and is_plain(run)
    assert run.settings["beta"] == 9.0 and run.recording.events == [(4, {"beta": 9.0})]
    assert is_plain(go_to(run, 8, {}))


@pytest.mark.parametrize("at", [0, 12])
def test_a_twin_begins_at_the_beginning_with_the_same_knobs(at):
    run = go_to(make_run(), at)
    twin = run.twin()
    assert twin.number == 0 and twin.settings == twin.recording.settings == run.settings
    go_to(twin, 20, {})  # one after the other: neither moves the other's generator
    assert is_plain(twin) and is_plain(go_to(run, 20)) and twin.recording.events == []


def test_a_model_that_cannot_be_copied_has_no_twin(refuses):
    uncopied = type("Uncopied", (vaekit.VAE,), {"__deepcopy__": Mock(side_effect=RuntimeError("not this one\nreally"))})
    with refuses(ValueError, "this Uncopied cannot be copied .not this one"):
        make_run(uncopied(2, 16)).twin()


def test_a_record_is_complete_and_a_copy():
    run = go_to(make_run(), 15)
    run.set_knobs({"beta": 9.0})  # it has not acted yet
    whole = run.record()
    assert (whole.steps, whole.seed, whole.batch_size, whole.twin) == (15, 0, 128, None)
    assert whole.settings == SETTINGS and whole.events == list(EVENTS.items())
    assert whole.model == {"class": "VAE", "latent_dim": 2, "hidden": 16, "image_shape": [1, 28, 28]}
    assert whole.first_weights == fingerprint(weights(small_vae())) != whole.result == fingerprint(weights(run.model))
    few = whole.data["few"]
    assert list(whole.data) == ["digits", "few"] and (few["images"], few["shape"]) == (150, [1, 28, 28])
    assert whole.made_with == made_with(torch.device("cpu"))
    whole.settings["beta"] = whole.events[0][1]["beta"] = 77.0
    assert run.recording.settings["beta"] == 1.0 and run.recording.events[0][1]["beta"] == 4.0


SPOIL = {
    "weights": lambda model: torch.nn.init.zeros_(model.encoder.mu.bias),
    "part": lambda model: model.decoder.__setitem__(1, torch.nn.Tanh()),
    "frozen": lambda model: model.encoder.mu.bias.requires_grad_(False),
    "class": lambda model: setattr(model, "__class__", type("Other", (vaekit.VAE,), {})),
    "seed": lambda model: None,
}


@pytest.mark.parametrize("what", SPOIL)
def test_only_a_model_that_its_seed_makes_is_described(what):
    model = small_vae()
    SPOIL[what](model)
    assert make_run(model, seed=int(what == "seed")).record().model is None


@pytest.mark.parametrize("back", [0, 2, 5, 11, 12])
def test_going_back_while_following_goes_on_following_to_the_bit(back):
    its = go_to(make_run(), 15).record()
    run = go_to(make_run(beta=7.0, kind="gaussian"), 4, {3: {"lr": 0.1}})
    run.follow(its)
    assert run.number == 0 and run.settings == SETTINGS and run.replaying == its
    go_to(run, 5, {}).keep()
    go_to(run, 13, {}).go_back(back)
    assert run.number == back and is_plain(run)
    assert run.replaying and run.recording.events == [e for e in EVENTS.items() if e[0] <= back]
    assert go_to(run, 15, {}).record() == its and run.replaying is None
    assert is_plain(go_to(run, 18, {}))


def test_who_turns_a_knob_takes_over_and_who_turns_nothing_does_not():
    its, run = go_to(make_run(), 15).record(), make_run()
    run.follow(its)
    go_to(run, 4, {})
    run.set_knobs({"beta": 4.0})  # where it stands
    assert run.replaying
    run.set_knobs({"beta": 2.0})
    assert run.replaying is None
    assert is_plain(go_to(run, 9, {})) and run.recording.events == [(3, {"beta": 4.0}), (5, {"beta": 2.0})]
    run.follow(its)
    run.reset()
    assert run.replaying is None


OTHER = {"first_weights": "0" * 64}


@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (lambda r: (r.settings.update(data="cats"), r.data.clear()), "data must be one of digits, few; not 'cats'"),
        (lambda r: r.data["few"].update(sha256="0" * 64), "the images 'few' are not those of the recording"),
        (lambda r: vars(r).update(batch_size=200), "150 images do not fill one batch of 200"),
        (lambda r: vars(r).update(OTHER, model=None), "another model .*one of its own"),
        (lambda r: vars(r).update(OTHER), "another model .*'hidden': 16.*; what differs here: nothing known"),
        (lambda r: vars(r).update(OTHER, model=r.model | {"hidden": 17}), "another model .*'hidden': 17"),
    ],
)
def test_a_recording_that_does_not_fit_changes_nothing(refuses, spoil, pattern):
    run = go_to(make_run(), 15)
    its, settings = run.record(), run.settings
    spoil(its)
    with refuses(ValueError, pattern):
        run.follow(its)
    assert run.number == 15 and run.settings == settings and run.replaying is None
    assert run.recording.events == list(EVENTS.items()) and is_plain(run)


@pytest.mark.slow
def test_twenty_knobs_turned_at_any_step_are_replayed_to_the_bit(tmp_path):
    """Drawn from a seed; also from a file, which needs nothing of the caller's own; and by the plain loop."""
    draw, sets = random.Random(1), {images.name: images for images in map(mnist(device="cpu").first, (1100, 500))}

    def turned() -> dict:
        values = {"beta": draw.uniform(0, 8), "prior": draw.random() < 0.5, "lr": draw.uniform(1e-4, 3e-3)}
        values |= {"kind": draw.choice(KINDS[:2]), "data": draw.choice(list(sets))}
        return dict(draw.sample(list(values.items()), 2))

    run = Run(small_vae(3), sets, SETTINGS | {"data": "1100 handwritten digits"}, 3)
    go_to(run, 100, {step: turned() for step in draw.sample(range(2, 100), 20)})
    for name in (*sets, run.settings["data"]):
        run.set_knobs({"data": name})  # at last the same images, but an epoch of their own
    its = go_to(run, 110, {}).record()
    its.save(tmp_path / "run.json")
    loaded = vaekit.Recording.load(tmp_path / "run.json")
    assert loaded == its and len(its.events) > 15 and its.differences() == "nothing known"
    assert its.events[-1] == (101, {"data": its.at(100)["data"]})
    assert {"kind", "data", "prior"} <= {name for step, changes in its.events if step < 100 for name in changes}
    assert replay(loaded).record() == its and is_plain(run, small_vae(3))


def test_a_replay_that_comes_out_elsewhere_says_so():
    run = go_to(make_run(), 3, {})
    its = replace(run.record(), result="0" * 64)
    with pytest.warns(UserWarning, match="after step 3 the weights are not the recorded ones; .*: nothing known"):
        replay(its, data=run.sets)
    its.made_with["torch"] = "1.0"
    with pytest.warns(UserWarning, match=r"where it was made, other than here: torch 1.0 \(here .*\)$"):
        replay(its, data=run.sets)
    replay(its, data=run.sets, steps=2)  # no warning: there is nothing to compare with


@pytest.mark.parametrize(
    ("arguments", "error", "pattern"),
    [
        ({"recording": "run.json"}, TypeError, "recording must be a vaekit.Recording, by load.path., not 'run.json'"),
        ({"steps": 5}, ValueError, "steps must be a whole number from 0 to 4, not 5"),
        ({"data": None}, ValueError, "of its own, 'digits', 300 of the shape .1, 28, 28.: give them as data="),
        ({"model": None}, ValueError, "a model of its own: give it as model="),
        ({"model": small_vae}, TypeError, "model must be a torch.nn.Module"),
        ({"model": small_vae(1)}, ValueError, "of another model than this run's .one of its own"),
    ],
)
def test_what_a_replay_cannot_use(refuses, arguments, error, pattern):
    run = go_to(make_run(Flaky()), 4, {})
    fine = {"recording": run.record(), "model": Flaky(), "data": run.sets}
    with refuses(error, pattern):
        replay(**fine | arguments)
    assert replay(**fine).record().result == run.record().result
