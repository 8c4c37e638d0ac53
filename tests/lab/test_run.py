"""A run and its way back. Everything is compared with the plain loop, to the bit."""

import pytest
import torch
from lab_helpers import Flaky, make_run, plain_loop, same_bits, small_vae, weights

from vaekit.training import Knobs

EVENTS = {3: {"beta": 4.0}, 7: {"prior": False}, 8: {"lr": 5e-4}, 10: {"kind": "gaussian"}, 12: {"data": "few"}}


def go_to(run, last: int, events: dict = EVENTS) -> None:
    """Steps up to number `last`, knobs turned just before the steps that `events` name."""
    while run.number < last:
        run.turn(events.get(run.number + 1, {}))
        run.advance()


def through(last: int, events: dict = EVENTS) -> dict:
    """The weights at step `last` of a run that nothing happened to."""
    run = make_run()
    go_to(run, last, events)
    return weights(run.model)


def test_it_is_the_plain_loop():
    run = make_run()
    numbers = [run.advance().number for _ in range(10)]
    assert numbers == list(range(1, 11)) and run.number == 10
    assert same_bits(weights(run.model), plain_loop(small_vae(), run.sets, run.recording, 10))


def test_knobs_kind_and_data_turned_on_the_way_are_replayed_by_the_plain_loop():
    run = make_run()
    go_to(run, 15)
    assert run.recording.events == list(EVENTS.items())
    assert same_bits(weights(run.model), plain_loop(small_vae(), run.sets, run.recording, 15))


def test_what_is_turned_acts_at_the_next_step_and_is_in_the_settings_at_once():
    run = make_run()
    run.advance()
    run.turn({"beta": 7.0, "prior": False})
    assert run.settings == {"beta": 7.0, "prior": False, "lr": 1e-3, "kind": "bernoulli", "data": "digits"}
    assert run.advance().knobs == Knobs(7.0, False, 1e-3)


def test_a_knob_turned_to_where_it_stands_is_no_event():
    run = make_run()
    run.advance()
    run.turn({"beta": 1.0, "data": "digits"})
    assert run.recording.events == []


def test_what_is_turned_before_the_first_step_is_how_the_run_begins():
    run = make_run()
    run.turn({"beta": 2.0, "data": "few"})
    assert run.recording.events == [] and run.recording.settings["beta"] == 2.0
    go_to(run, 4, {})
    assert same_bits(weights(run.model), plain_loop(small_vae(), run.sets, run.recording, 4))


def test_two_turns_before_the_same_step_are_one_event():
    run = make_run()
    run.advance()
    run.turn({"beta": 2.0})
    run.turn({"beta": 3.0, "lr": 0.01})
    assert run.recording.events == [(2, {"beta": 3.0, "lr": 0.01})]


def test_another_data_set_begins_an_epoch_of_its_own():
    run = make_run()
    go_to(run, 4, {})
    assert run.batches.epoch == pytest.approx(428 / 300)
    run.turn({"data": "few"})
    assert run.batches.epoch == 0 and len(run.images) == 150
    run.advance()
    assert run.batches.epoch == pytest.approx(128 / 150)


def test_reset_begins_again_with_the_knobs_where_they_stand():
    run = make_run()
    first = weights(run.model)
    go_to(run, 14)
    run.reset()
    assert run.number == 0 and same_bits(weights(run.model), first)
    assert run.recording.events == [] and run.recording.settings == run.settings
    assert run.settings == {"beta": 4.0, "prior": False, "lr": 5e-4, "kind": "gaussian", "data": "few"}
    fresh = make_run(**run.settings)
    go_to(run, 6, {})
    go_to(fresh, 6, {})
    assert same_bits(weights(run.model), weights(fresh.model))


def test_a_snapshot_stays_as_it_was():
    run = make_run()
    run.advance()
    taken = run.snapshot()
    before = {name: value.clone() for name, value in taken.model.items()}
    moment = taken.optimizer["state"][0]["exp_avg"].clone()
    go_to(run, 5, {})
    assert same_bits(before, taken.model) and not same_bits(before, weights(run.model))
    assert torch.equal(moment, taken.optimizer["state"][0]["exp_avg"])


def test_of_snapshots_the_first_and_the_last_two_are_kept():
    run = make_run()
    for last in (3, 3, 5, 9, 14):
        go_to(run, last, {})
        run.keep()
    assert [snapshot.number for snapshot in run.snapshots] == [0, 9, 14]


@pytest.mark.parametrize("back", [0, 1, 4, 5, 6, 7, 9, 10, 11, 13])
def test_going_back_gives_the_very_weights_of_that_step(back):
    """Snapshots at 5 and 10, in mid-epoch: at one, just after, between, at a knob, at the end of an epoch."""
    run = make_run()
    for last in (5, 10, 14):
        go_to(run, last)
        if last < 14:
            run.keep()
    run.go_back(back)
    assert run.number == back and same_bits(weights(run.model), through(back))


@pytest.mark.parametrize("back", [2, 5, 6, 8, 12])
def test_after_going_back_the_run_goes_on_as_if_nothing_had_been(back):
    events = {step: changes for step, changes in EVENTS.items() if "data" not in changes}
    run = make_run()
    go_to(run, 5, events)
    run.keep()
    go_to(run, 14, events)
    stood, there = run.settings, run.recording.at(back)
    run.go_back(back)
    assert run.settings == stood  # the knobs stay where the learner sees them
    run.turn(there)
    go_to(run, 20, {})
    unhurt = {step: changes for step, changes in events.items() if step <= back}
    assert same_bits(weights(run.model), through(20, unhurt))


def test_going_back_twice_over_a_snapshot():
    run = make_run()
    for last in (4, 8, 12):
        go_to(run, last)
        run.keep()
    run.go_back(10)
    run.go_back(9)
    run.go_back(2)
    assert same_bits(weights(run.model), through(2))


def test_going_back_notes_the_knobs_that_stay_turned():
    run = make_run()
    go_to(run, 14, {5: {"beta": 9.0}, 9: {"lr": 0.01}})
    run.go_back(7)
    assert run.recording.events == [(5, {"beta": 9.0}), (8, {"lr": 0.01})]
    run.go_back(0)
    assert run.recording.events == [] and run.recording.settings["beta"] == 9.0


@pytest.mark.parametrize("error", [RuntimeError(), SystemExit()])
def test_when_a_step_fails_on_the_way_back_the_snapshot_is_where_it_ends(error):
    run = make_run(Flaky(10, error=error))  # the 7 steps, then the fault strikes in the replay
    go_to(run, 3, {})
    run.keep()
    kept = weights(run.model)
    go_to(run, 7, {5: {"beta": 9.0}})
    run.go_back(6)
    assert run.number == 3 and same_bits(weights(run.model), kept)
    assert run.settings["beta"] == 9.0 and run.recording.events == [(4, {"beta": 9.0})]
    go_to(run, 8, {})
    assert same_bits(weights(run.model), through(8, {4: {"beta": 9.0}}))


def test_is_finite():
    run = make_run()
    assert run.is_finite()
    with torch.no_grad():
        run.model.decoder[0].bias[3] = torch.nan
    assert not run.is_finite()
