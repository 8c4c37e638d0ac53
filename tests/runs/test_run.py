"""A run and its way back. Everything is compared with the plain loop, to the bit."""

import random
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from lab_helpers import SETTINGS, Flaky, make_run, plain_loop, same_bits, small_vae, weights

import vaekit
from vaekit.data import mnist
from vaekit.runs.recording import fingerprint, made_with
from vaekit.runs.run import Run, replay

EVENTS = {3: {"beta": 4.0}, 7: {"prior": False}, 8: {"lr": 5e-4}, 10: {"kind": "gaussian"}, 12: {"data": "few"}}


def go_to(run, last: int, events: dict = EVENTS) -> None:
    """Steps up to number `last`, knobs turned just before the steps that `events` name."""
    while run.number < last:
        run.set_knobs(events.get(run.number + 1, {}))
        run.advance()


def through(last: int, events: dict = EVENTS) -> dict:
    """The weights at step `last` of a run that nothing happened to."""
    run = make_run()
    go_to(run, last, events)
    return weights(run.model)


def test_reset_begins_again_with_the_knobs_where_they_stand():
    run = make_run()
    first = weights(run.model)
    go_to(run, 14)
    run.reset()
    assert run.number == 0 and same_bits(weights(run.model), first)
    assert run.recording.events == [] and run.recording.settings == run.settings
    assert run.settings == {"beta": 4.0, "prior": False, "lr": 5e-4, "kind": "gaussian", "data": "few"}
    go_to(run, 6, {})
    fresh = make_run(**run.settings)
    go_to(fresh, 6, {})
    assert same_bits(weights(run.model), weights(fresh.model))


@pytest.mark.parametrize("back", [0, 5, 6, 7, 9, 13])
def test_going_back_gives_the_very_weights_of_that_step_and_the_run_goes_on_as_if_nothing_had_been(back):
    """Snapshots at 5 and 10, in mid-epoch: at one, just after, at a knob, at the end of an epoch."""
    events = {step: changes for step, changes in EVENTS.items() if "data" not in changes}
    run = make_run()
    for last in (3, 3, 5, 10):
        go_to(run, last, events)
        run.keep()
    assert [snapshot.number for snapshot in run.snapshots] == [0, 5, 10]  # the first and the last two
    go_to(run, 14, events)
    stood, there = run.settings, run.recording.at(back)
    run.go_back(back)
    assert run.number == back and same_bits(weights(run.model), through(back, events))
    assert run.settings == stood  # the knobs stay where the learner sees them
    run.set_knobs(there)
    go_to(run, 20, {})
    unhurt = {step: changes for step, changes in events.items() if step <= back}
    assert same_bits(weights(run.model), through(20, unhurt))


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), SystemExit()], ids=repr)
def test_when_a_step_fails_on_the_way_back_the_snapshot_is_where_it_ends(error):
    """And an interrupt is the caller's."""
    run = make_run(Flaky(10, error=error))  # the 7 steps, then the fault strikes in the replay
    go_to(run, 3, {})
    run.keep()
    kept = weights(run.model)
    go_to(run, 7, {5: {"beta": 9.0}})
    with pytest.raises(type(error)) if error else nullcontext():
        run.go_back(6)
    assert run.number == 3 and same_bits(weights(run.model), kept)
    assert run.settings["beta"] == 9.0 and run.recording.events == [(4, {"beta": 9.0})]
    go_to(run, 8, {})
    assert same_bits(weights(run.model), through(8, {4: {"beta": 9.0}}))


@pytest.mark.parametrize("at", [0, 12])
def test_a_twin_begins_at_the_beginning_with_the_same_knobs(at):
    run = make_run()
    go_to(run, at)
    twin = run.twin()
    assert twin.number == 0 and twin.settings == run.settings
    fresh = make_run(**run.settings)
    go_to(twin, 20, {})  # one after the other: neither moves the other's generator
    go_to(run, 20), go_to(fresh, 20, {})
    assert same_bits(weights(twin.model), weights(fresh.model)) and twin.recording == fresh.recording
    assert same_bits(weights(run.model), through(20))


def test_a_model_that_cannot_be_copied_has_no_twin(refuses):
    class Uncopied(vaekit.VAE):
        def __deepcopy__(self, memo):
            raise RuntimeError("not this one\nreally")

    run = make_run(Uncopied(2, 16))
    with refuses(ValueError, "this Uncopied cannot be copied .not this one"):
        run.twin()


def mnist_run() -> Run:
    """A run that needs nothing of the caller's own to be played again."""
    sets = {images.name: images for images in (mnist(device="cpu").first(1100), mnist(device="cpu").first(500))}
    return Run(small_vae(3), sets, SETTINGS | {"data": "1100 handwritten digits"}, 3)


def test_a_record_is_complete_and_a_copy():
    run = make_run()
    go_to(run, 15)
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
    its = make_run()
    go_to(its, 15)
    run = make_run(beta=7.0, kind="gaussian")
    go_to(run, 4, {3: {"lr": 0.1}})
    run.follow(its.record())
    assert run.number == 0 and run.settings == SETTINGS and run.replaying == its.record()
    go_to(run, 5, {})
    run.keep()
    go_to(run, 13, {})
    run.go_back(back)
    assert run.number == back and same_bits(weights(run.model), through(back))
    assert run.replaying and run.recording.events == [e for e in EVENTS.items() if e[0] <= back]
    go_to(run, 15, {})
    assert run.replaying is None and run.record() == its.record()
    go_to(run, 18, {}), go_to(its, 18, {})
    assert same_bits(weights(run.model), weights(its.model))


def test_who_turns_a_knob_takes_over_and_who_turns_nothing_does_not():
    its = make_run()
    go_to(its, 15)
    run = make_run()
    run.follow(its.record())
    go_to(run, 4, {})
    run.set_knobs({"beta": 4.0})  # where it stands
    assert run.replaying
    run.set_knobs({"beta": 2.0})
    assert run.replaying is None
    go_to(run, 9, {})
    assert run.recording.events == [(3, {"beta": 4.0}), (5, {"beta": 2.0})]
    assert same_bits(weights(run.model), through(9, {3: {"beta": 4.0}, 5: {"beta": 2.0}}))
    run.follow(its.record())
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
    run = make_run()
    go_to(run, 15)
    its = run.record()
    spoil(its)
    before, settings = weights(run.model), run.settings
    with refuses(ValueError, pattern):
        run.follow(its)
    assert run.number == 15 and run.settings == settings and same_bits(weights(run.model), before)
    assert run.replaying is None and run.recording.events == list(EVENTS.items())


@pytest.mark.slow
def test_twenty_knobs_turned_at_any_step_are_replayed_to_the_bit(tmp_path):
    """Drawn from a seed; also from a file, which needs nothing of the caller's own; and by the plain loop."""
    draw, run = random.Random(1), mnist_run()
    whole, few = run.sets
    for step in sorted(draw.sample(range(2, 100), 20)):
        go_to(run, step - 1, {})
        now = run.settings
        values = {
            "beta": draw.uniform(0, 8),
            "prior": not now["prior"],
            "lr": draw.uniform(1e-4, 3e-3),
            "kind": "gaussian" if now["kind"] == "bernoulli" else "bernoulli",
            "data": few if now["data"] == whole else whole,
        }
        name = draw.choice(list(values))
        run.set_knobs({name: values[name]})
    go_to(run, 100, {})
    stands = run.settings["data"]
    run.set_knobs({"data": few if stands == whole else whole})
    run.set_knobs({"data": stands})  # the same images, but an epoch of their own
    go_to(run, 110, {})
    its = run.record()
    its.save(tmp_path / "run.json")
    loaded = vaekit.Recording.load(tmp_path / "run.json")
    assert loaded == its and len(its.events) == 21 and its.differences() == "nothing known"
    assert {"kind", "data", "prior"} <= {name for _, changes in its.events for name in changes}
    again = replay(loaded)
    assert again.record() == its and same_bits(weights(again.model), weights(run.model))
    assert same_bits(weights(run.model), plain_loop(small_vae(3), run.sets, its, 110))


def test_a_replay_that_comes_out_elsewhere_says_so():
    run = mnist_run()
    go_to(run, 3, {})
    its = replace(run.record(), result="0" * 64)
    with pytest.warns(UserWarning, match="after step 3 the weights are not the recorded ones; .*: nothing known"):
        replay(its)
    its.made_with["torch"] = "1.0"
    with pytest.warns(UserWarning, match=r"where it was made, other than here: torch 1.0 \(here .*\)$"):
        replay(its)
    replay(its, steps=2)  # no warning: there is nothing to compare with


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
    run = make_run(Flaky())
    go_to(run, 4, {})
    fine = {"recording": run.record(), "model": Flaky(), "data": run.sets}
    with refuses(error, pattern):
        replay(**fine | arguments)
    assert replay(**fine).record().result == run.record().result
