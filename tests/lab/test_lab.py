"""LatentLab, driven from Python and through its own widgets."""

import copy
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import anywidget
import ipywidgets as widgets
import numpy as np
import pytest
import torch
from lab_helpers import done, is_plain, same_bits, say_as_page, small_vae, some_digits, trainers, wait_for, weights
from matplotlib import style
from torch import nn

import vaekit
from vaekit.data import ImageSet
from vaekit.lab.registry import _with_parts
from vaekit.plotting import LECTURE


def test_run_takes_the_steps_and_reset_keeps_the_knobs(labs):
    lab = labs()
    first = weights(lab.model)
    assert lab.run(7) is lab and lab.steps_taken == 7 and not lab.playing and lab.error is None
    assert lab.run(0).steps_taken == 7
    lab.step()
    assert lab.steps_taken == 8
    lab.set(beta=3.0, prior=False)
    lab.run(5)
    lab.reset()
    assert lab.steps_taken == 0 and same_bits(weights(lab.model), first)
    assert lab.knobs == vaekit.Knobs(3.0, False, 1e-3) and len(lab.engine.history.array()) == 0
    assert lab.view.plane.marks == [] and lab.view.plane.status["step"] == 0


def test_settings_are_read_only_and_knobs_a_copy(labs):
    lab = labs(beta=2.0)
    assert lab.settings == {"beta": 2.0, "prior": True, "lr": 1e-3, "kind": "bernoulli", "data": "digits"}
    lab.set(beta=np.float32(0.5), lr=1)
    assert type(lab.settings["beta"]) is float  # recordings are JSON
    assert lab.knobs == vaekit.Knobs(0.5, True, 1.0)
    lab.knobs.beta = 9.0  # a copy: turning it does nothing
    with pytest.raises(TypeError):
        lab.settings["beta"] = 9.0
    lab.pause()
    assert lab.engine.run.settings == lab.settings


def test_beta_set_from_code_stays_what_it_is_and_the_slider_goes_to_the_nearest_place(labs):
    lab = labs()
    slider, text = lab.controls.knobs[0]["beta"].slider, lab.controls.knobs[0]["beta"].text
    for asked, place in ((0.05, 0.05), (11.0, 11.0), (1.5, 1.6), (0.0, 0.01), (1e6, 100.0)):
        lab.set(beta=asked)
        assert (slider.value, float(text.value), lab.settings["beta"]) == (place, asked, asked)


def test_an_image_is_chosen_as_by_a_click(labs, refuses):
    lab = labs(twin=True)
    lab.choose(5)
    assert [side.plane.chosen for side in lab.view.sides] == [5, 5]
    with refuses(ValueError, "index must be a whole number from 0 to "):
        lab.choose(10**6)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"beta": 2.0, "lr": -1.0}, ValueError, "lr must be a finite number above 0"),  # all values: test_training
        ({"beta": 2.0, "kind": "poisson"}, ValueError, "kind must be one of bernoulli"),
        ({"beta": 2.0, "data": ["digits"]}, ValueError, "data must be one of digits"),
        ({"gamma": 1.0}, ValueError, "there is no knob 'gamma': the knobs are beta, prior, lr, kind, data"),
    ],
)
def test_a_knob_that_makes_no_sense_is_one_line_and_changes_nothing(labs, refuses, changes, error, says):
    lab = labs()
    before = lab.settings
    with refuses(error, says):
        lab.set(**changes)
    assert lab.run(2).settings == before == lab.engine.run.settings and lab.engine.run.recording.events == []
    assert lab.controls.knobs[0]["beta"].text.value == "1"
    with refuses(AttributeError, r"a lab's knobs are turned by lab.set\(beta=4\)"):
        lab.beta = 4
    with refuses(TypeError, "text must be a line of text, not 3"):
        lab.say(3)


def test_a_knob_that_the_run_refuses_is_not_shown_as_turned(labs, refuses):
    recording = labs(some_digits(1100), batch_size=600).run(3).recording
    lab = labs(some_digits(1100)).follow(recording)
    lab.set(beta=2.0)
    lab.run(1)
    with refuses(ValueError, "500 images do not fill one batch of 600"):
        lab.set(data="500 digits", beta=9.0)
    assert lab.settings["beta"] == 2.0 and lab.settings["data"] == lab.controls.data.value == "digits"
    lab.controls.data.value = "500 digits"  # in the page it is one line
    assert lab.controls.data.value == "digits"
    done(lab)
    assert lab.view.plane.message.startswith("500 images do not fill one batch of 600")
    assert lab.run(1).engine.run.settings == lab.settings


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"kind": "mse"}, ValueError, "kind must be one of"),
        ({"shown": 0}, ValueError, "shown must be a whole number from 1 up"),
        ({"pair": (0, 2)}, ValueError, "the plane needs two latent dimensions"),
        ({"pair": "01"}, ValueError, "pair must be two latent dimensions"),
        ({"latent_dim": 1}, ValueError, "the plane needs two latent dimensions; this model has 1"),
        ({"threads": 10**6}, ValueError, "threads must be a whole number from 1 to 1024"),  # more end the process
        ({"twin": "no"}, TypeError, "twin must be True or False"),
        ({"tasks": None}, TypeError, "tasks must be a list of vaekit.lab.Task, not None"),
        ({"batch_size": 301}, ValueError, "300 images do not fill one batch of 301"),
        ({"device": "gpu"}, ValueError, "device 'gpu' is unknown"),
        ({"data": torch.zeros(300, 28, 28, dtype=torch.uint8)}, ValueError, "try images.unsqueeze"),
        ({"model": nn.Linear(2, 2)}, TypeError, "this Linear has no encode: see vaekit.VAE"),
        ({"seed": 1.5}, ValueError, "seed must be a whole number"),
        ({"labels": [7]}, TypeError, r"; images with labels come first, as vaekit.ImageSet.images, labels.$"),
        ({"gamma": 1.0}, TypeError, "LatentLab takes no 'gamma': the knobs are beta, prior, lr"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_no_thread(labs, refuses, options, error, says):
    with refuses(error, says):
        labs(**options)
    assert not trainers()


@pytest.mark.parametrize("keep", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda keep: keep.__name__)
def test_a_lab_is_not_copied(labs, refuses, keep):
    with refuses(TypeError, r"a lab has a thread and widgets, which cannot be copied: use lab.save\(path\)"):
        keep(labs())


def test_a_model_whose_runs_cannot_be_repeated_is_trained_and_the_page_says_so(labs):
    model = vaekit.VAE(2, 16, decoder=nn.Sequential(nn.Dropout(0.5), vaekit.Decoder(2, 16)))
    lab = labs(model=model)
    done(lab)
    assert "would not hold" in lab.view.plane.message and lab.run(2).steps_taken == 2


def test_the_page_gets_the_decoder_only_when_it_is_all_there_is(labs):
    doubled, renamed = small_vae(), small_vae()
    doubled.decode = lambda z: 2 * doubled.decoder(z)
    renamed.back = renamed._modules.pop("decoder")
    renamed.decode = renamed.back.forward
    for model, is_sent in ((None, True), (doubled, False), (renamed, False)):
        assert bool(labs(model=model).run(1).view.plane.decoder) == is_sent


def test_a_new_data_set_is_shown_at_once_even_when_paused(labs):
    data = ImageSet(torch.cat([some_digits(600).images.flip(0), some_digits(600).images]), None, "Own")
    lab = labs(data, shown=900).run(1)
    lab.set(data="500 own")
    lab.pause()
    assert len(lab.view.sides[0].last.mu) == 500 and lab.view.plane.chosen == 0


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("follow", lambda lab: lab.turn_code(30)),
        ("show_pair", lambda lab: lab.show_pair((1, 0))),
        ("send_trail", lambda lab: say_as_page(lab, kind="trail")),
        ("details", lambda lab: lab.controls.reset.click()),
    ],
)
def test_what_a_command_raises_reaches_the_page(labs, monkeypatch, method, ask):
    lab = labs().run(1)
    monkeypatch.setattr(lab.view, method, lambda *_: 1 / 0)
    ask(lab)
    done(lab)
    assert "(ZeroDivisionError: division by zero)" in lab.view.plane.message


def test_messages_that_make_no_sense_do_no_harm(labs):
    lab = labs().run(2)
    before = lab.view.plane.pictures
    for content in ({}, {"kind": "dance"}, {"kind": "choose", "index": 10**6}, {"kind": "decode", "z": [1.0]}):
        say_as_page(lab, **content)
    assert lab.view.plane.pictures == before and lab.view.plane.chosen == 0
    assert lab.run(2).steps_taken == 4 and lab.error is None


def test_the_controls_turn_the_knobs(labs):
    lab = labs(some_digits(1100)).run(1)
    c, k, run = lab.controls, lab.controls.knobs[0], lab.engine.run
    for turn, name, value in (
        (lambda: setattr(k["prior"].box, "value", False), "prior", False),
        (lambda: k["beta"].slider.set_state({"index": 68}), "beta", 25.0),  # as the page does
        (lambda: setattr(k["beta"].text, "value", " 0,25 "), "beta", 0.25),
        (lambda: setattr(k["lr"].text, "value", "2e-3"), "lr", 0.002),
        (lambda: setattr(c.kind, "value", "gaussian"), "kind", "gaussian"),
        (lambda: setattr(c.data, "value", "500 digits"), "data", "500 digits"),
    ):
        turn()
        assert lab.settings[name] == value
        lab.run(1)
        assert run.settings == lab.settings and run.recording.events[-1] == (lab.steps_taken, {name: value})
    assert k["beta"].text.value == "0.25" and k["prior"].box.value is False
    assert k["beta"].slider.value == pytest.approx(0.25, rel=0.06)  # the nearest place of the slider


def test_bad_text_in_a_box_is_one_line_that_stays_until_something_else_is_done(labs):
    lab = labs()
    lab.engine.heartbeat()
    lab.play()
    for box, text, says in (
        ("lr", "0", "lr must be a finite number above 0"),
        ("lr", "", "must be a number"),
        ("beta", "-1", "beta must be a finite number from 0 up"),
        ("beta", "much", "β must be a number"),
    ):
        control = lab.controls.knobs[0][box].text
        before, control.value = control.value, text
        assert control.value == before
        frames = lab.view.sides[0].number
        wait_for(lambda now=frames: lab.view.sides[0].number > now + 1)  # the frames that follow do not wipe it away
        assert says in lab.view.plane.message and "\n" not in lab.view.plane.message
    lab.set(prior=False)
    wait_for(lambda: lab.view.plane.message == "")
    assert lab.knobs == vaekit.Knobs(1.0, False, 1e-3)


@pytest.mark.slow
def test_two_labs_at_once_both_train_and_the_second_says_so(labs):
    one, two = labs(), labs(seed=1)
    one.play()
    wait_for(lambda: one.playing)
    two.engine.heartbeat()
    two.play()
    wait_for(lambda now=one.steps_taken: one.steps_taken > now + 20 and two.steps_taken > 20)
    frames = two.view.sides[0].number
    wait_for(lambda: two.view.sides[0].number > frames + 3)  # and it still stands there some frames later
    assert two.view.plane.message.startswith("Another lab is training as well") and one.view.plane.message == ""
    one.pause(), two.pause()
    assert is_plain(one.engine.run) and is_plain(two.engine.run, small_vae(1))


@pytest.mark.slow
def test_the_bundle_has_the_widget_the_name_and_a_picture_the_same_whatever_style_the_notebook_has(labs):
    lab = labs().run(5)
    bundle, _ = lab._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == lab.widget.model_id
    assert bundle["text/plain"] == repr(lab) == "LatentLab(digits, step 5)"
    assert bundle["image/png"].startswith(b"\x89PNG") and 10_000 < len(bundle["image/png"]) < 300_000
    with style.context(LECTURE):
        assert lab._repr_mimebundle_()[0]["image/png"] == bundle["image/png"]


def test_a_still_is_drawn_between_two_steps_and_not_while_the_trainer_changes_what_it_shows(labs, monkeypatch):
    lab = labs().run(1)
    monkeypatch.setattr("vaekit.lab.display.draw_still", lambda view: threading.current_thread())
    assert lab.figure() in trainers()


def test_nothing_is_printed_and_no_warning_is_raised_on_the_way(labs, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lab = labs()
        lab.engine.heartbeat()
        lab.play()
        wait_for(lambda: lab.steps_taken > 10)
        lab.set(prior=False)
        lab.set(lr=1e6)
        wait_for(lambda: lab.error)
        lab.pause()
    assert caught == [] and capfd.readouterr() == ("", "")


def test_each_control_has_a_name_for_those_who_cannot_see_and_of_a_twin_says_whose_it_is(labs):
    others = (widgets.Box, widgets.Label, anywidget.AnyWidget)
    for lab, whose in ((labs(), [0, 0]), (labs(twin=True), [4, 4])):
        parts = [part for part in _with_parts(lab.widget, {}).values() if isinstance(part, widgets.DOMWidget)]
        controls = [part for part in parts if not isinstance(part, others)]
        assert len(controls) > 14 and all(control.tooltip for control in controls)
        assert [sum(c.tooltip.startswith(f"{name}: ") for c in controls) for name in ("left", "right")] == whose


def test_driven_by_many_threads_as_by_subshells(labs):
    """Widget callbacks may come on any thread: all of them at once, and the recording still tells the run."""
    lab = labs()
    slider, lr = lab.controls.knobs[0]["beta"].slider, lab.controls.knobs[0]["lr"].text
    turns = (
        lambda i: lab.set(prior=bool(i % 2)),
        lambda i: lab.set(lr=1e-3 * (1 + i % 3)),
        lambda i: setattr(slider, "value", [0.1, 1.0, 10.0][i % 3]),
    )
    lab.play()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda turn: [turn(i) for i in range(60)], turns))  # raises what they raise
    lab.pause()
    run = lab.engine.run
    assert lab.settings == run.settings == {**lab.settings, "prior": True, "beta": 10.0, "lr": 3e-3}
    assert (slider.value, lr.value) == (10.0, "0.003") and is_plain(run)
