"""Two runs in lockstep: the same start, the same batches and the same ε, each with knobs of its own."""

import numpy as np
import pytest
from lab_helpers import is_plain, same_bits, small_vae, some_digits, weights

from vaekit import faces
from vaekit.lab.meters import VERDICTS

pytestmark = pytest.mark.slow  # all of them together


def test_at_first_the_prior_is_off_in_the_left_one_and_all_else_is_the_same(labs):
    lab = labs(twin=True, beta=2.0, lr=5e-4)
    left, right = lab.sides
    assert left.settings == {"beta": 2.0, "prior": False, "lr": 5e-4, "kind": "bernoulli", "data": "digits"}
    assert right.settings == left.settings | {"prior": True}
    assert lab.settings == left.settings and lab.model is left.model is not right.model
    assert all(same_bits(weights(side.model), weights(small_vae())) for side in lab.sides)


@pytest.mark.parametrize(("side", "betas"), [("left", [4, 1]), (0, [4, 1]), ("right", [1, 4]), (None, [4, 4])])
def test_a_side_is_named_or_counted(labs, side, betas):
    lab = labs(twin=True).run(2)
    lab.set(side=side, beta=4.0)
    assert [its.settings["beta"] for its in lab.sides] == betas
    lab.run(3)
    assert [run.settings["beta"] for run in lab.engine.runs] == betas
    assert all(map(is_plain, lab.engine.runs))  # which knows of no other


def test_what_else_makes_no_sense_of_a_twin_is_one_line_and_turns_nothing(labs, refuses):
    lab = labs(some_digits(1100), twin=True)
    before = [its.settings for its in lab.sides]
    with refuses(ValueError, "set data for both, without side"):
        lab.set(side="right", beta=2.0, data="500 digits")
    lab.pause()
    assert [its.settings for its in lab.sides] == before == [run.settings for run in lab.engine.runs]
    with refuses(ValueError, "made with twin=True"):
        labs().set(side="right", beta=2.0)


def test_a_tied_knob_turns_both_and_an_untied_one_its_own(labs):
    lab = labs(twin=True)
    (left, right), locks = lab.controls.knobs, lab.controls.locks
    assert {name: lock.value for name, lock in locks.items()} == {"prior": False, "beta": True, "lr": True}
    assert (left["prior"].box.value, right["prior"].box.value) == (False, True)
    right["beta"].slider.value = 10.0
    left["lr"].text.value = "0.01"
    assert [(its.settings["beta"], its.settings["lr"]) for its in lab.sides] == [(10.0, 0.01)] * 2
    assert left["beta"].slider.value == 10.0 and left["beta"].text.value == "10" and right["lr"].text.value == "0.01"
    locks["beta"].value = False
    left["beta"].text.value = "3"
    right["beta"].slider.value = 0.1
    assert [its.settings["beta"] for its in lab.sides] == [3.0, 0.1]
    assert (left["beta"].text.value, right["beta"].text.value) == ("3", "0.1")
    locks["beta"].value = True  # tied again: the right run takes the left one's value
    assert [its.settings["beta"] for its in lab.sides] == [3.0, 3.0] and right["beta"].text.value == "3"
    left["prior"].box.value = True
    assert [its.settings["prior"] for its in lab.sides] == [True, True]
    right["prior"].box.value = False
    assert [its.settings["prior"] for its in lab.sides] == [True, False]
    lab.pause()
    assert [run.settings for run in lab.engine.runs] == [its.settings for its in lab.sides]


def test_the_curves_have_three_numbers_a_step_of_each_run(labs):
    lab, left, right = labs(twin=True).run(40), labs(prior=False).run(40), labs().run(40)
    rows = np.frombuffer(lab.view.plane.history, np.float32).reshape(-1, 7)
    assert len(rows) == 40 and list(rows[:, 0]) == list(range(1, 41))
    singles = [np.frombuffer(its.view.plane.history, np.float32).reshape(-1, 4) for its in (left, right)]
    np.testing.assert_array_equal(rows[:, 1:4], singles[0][:, 1:])
    np.testing.assert_array_equal(rows[:, 4:], singles[1][:, 1:])
    meters = [dict(side.plane.status["meters"])["reconstruction"] for side in lab.view.sides]
    assert meters == [f"{rows[-10:, column].mean():.1f}" for column in (1, 4)]


def test_marks_say_what_was_turned_and_in_which_run_alone(labs):
    lab = labs(some_digits(1100), twin=True)
    turns = [
        *(("left", {"prior": True}), (None, {"beta": 4.0}), ("right", {"beta": 2.0})),
        (None, {"beta": 2.0}),  # in the right one nothing is turned by it
        *(("right", {"kind": "gaussian"}), ("left", {"lr": 0.01}), (None, {"data": "500 digits"})),
    ]
    for side, changes in turns:
        lab.run(10)
        lab.set(side=side, **changes)
    for beta in (5.0, 6.0, 7.0):  # a slider drawn along leaves one
        lab.run(2)
        lab.set(beta=beta)
    lab.run(1)
    labels = ["prior on (left)", "β = 4", "β = 2 (right)", "β = 2 (left)", "squared error (right)"]
    labels += ["lr = 0.01 (left)", "500 digits", "β = 7"]
    assert [mark["label"] for mark in lab.view.plane.marks] == labels
    assert [mark["step"] for mark in lab.view.plane.marks] == [11, 21, 31, 41, 51, 61, 71, 73]


def test_the_still_picture_shows_both(labs):
    lab = labs(twin=True).run(5)
    figure = lab.figure()
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["left: prior off, step 5", "right: prior on, β = 1, step 5"]
    assert "step (solid: left, dashed: right)" in [ax.get_xlabel() for ax in figure.axes]
    assert labs(twin=True).figure().get_figheight() == figure.get_figheight()  # also where there are no curves yet
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert sum(text.startswith(side.plane.status["headline"]) for text in texts for side in lab.view.sides) >= 2
    assert repr(lab) == "LatentLab(twin, digits, step 5)"


def test_in_the_still_the_longest_words_under_three_rows_of_meters_end_above_the_curves(labs):
    lab = labs(faces(600), twin=True).run(2)
    headline, sentence = VERDICTS["prior"].split(". ", 1)
    for side in lab.view.sides:
        side.plane.status |= {"headline": f"{headline}.", "sentence": sentence}
    figure = lab.figure()
    renderer, curves = figure.canvas.get_renderer(), figure.axes[-1].bbox
    words = [text.get_window_extent(renderer) for ax in figure.axes for text in ax.texts if headline in text.get_text()]
    assert len(words) == 2 and len(lab.view.plane.status["meters"]) == 9
    assert min(box.y0 for box in words) > curves.y1
