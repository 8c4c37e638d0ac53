"""LatentLab, driven from Python and through its own widgets."""

import io
import math
import re
import struct
import threading
import warnings

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from lab_helpers import SECONDS, plain_loop, same_bits, small_vae, some_digits, trainers, wait_for, weights
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import vaekit
from vaekit.data import ImageSet
from vaekit.lab.view import marks

# -- driving it from Python -------------------------------------------------------------------------------


def test_run_takes_the_steps_and_gives_the_lab_back(labs):
    lab = labs()
    assert lab.run(7) is lab and lab.steps_taken == 7 and not lab.playing and lab.error is None
    assert lab.run(0).steps_taken == 7
    lab.step()
    assert lab.steps_taken == 8


def test_reset_keeps_the_knobs(labs):
    lab = labs()
    first = weights(lab.model)
    lab.run(5)
    lab.set(beta=3.0, prior=False)
    lab.run(5)
    lab.reset()
    assert lab.steps_taken == 0 and same_bits(weights(lab.model), first)
    assert lab.knobs == vaekit.Knobs(3.0, False, 1e-3) and len(lab.engine.history.array()) == 0
    assert marks([lab.engine.run.recording]) == [] and lab.view.plane.status["step"] == 0


def test_set_knobs_and_settings(labs):
    lab = labs(some_digits(1100), beta=2.0)
    assert lab.settings == {"beta": 2.0, "prior": True, "lr": 1e-3, "kind": "bernoulli", "data": "digits"}
    lab.set(beta=np.float32(0.5), lr=1, kind="gaussian", data="500 digits")
    assert lab.settings == {"beta": 0.5, "prior": True, "lr": 1.0, "kind": "gaussian", "data": "500 digits"}
    assert type(lab.settings["beta"]) is float  # recordings are JSON
    lab.pause()
    assert lab.engine.run.settings == lab.settings
    assert lab.knobs == vaekit.Knobs(0.5, True, 1.0)
    lab.knobs.beta = 9.0  # a copy: turning it does nothing
    with pytest.raises(TypeError):
        lab.settings["beta"] = 9.0


@pytest.mark.slow
def test_knobs_turned_leave_marks(labs):
    lab = labs(some_digits(1100))
    for changes in ({"prior": False}, {"beta": 4.0}, {"kind": "gaussian"}, {"data": "500 digits"}, {"lr": 0.01}):
        lab.run(50)
        lab.set(**changes)
    for beta in (5.0, 6.0, 7.0):  # a slider drawn along leaves one
        lab.run(2)
        lab.set(beta=beta)
    lab.run(1)
    labels = ["prior off", "β = 4", "squared error", "500 digits", "lr = 0.01", "β = 7"]
    assert [mark["label"] for mark in lab.view.curves.marks] == labels
    assert [mark["step"] for mark in lab.view.curves.marks] == [51, 101, 151, 201, 251, 253]


@pytest.mark.slow
@pytest.mark.parametrize("asked", [7.0, 0.05, 3.0, 11.0])
def test_beta_set_from_code_stays_what_it_is_whatever_the_slider_answers(labs, asked):
    """A page's slider answers with the place it went to, in digits of its own, and perhaps late."""
    lab = labs()
    (knobs,) = lab.controls.knobs
    lab.set(beta=asked)
    place = knobs["beta"].slider.value
    exponent = math.log10(place)
    assert exponent == pytest.approx(round(exponent / 0.05) * 0.05) and 0.94 < place / asked < 1.06
    lab.set(beta=1.5)
    knobs["beta"].slider.value = math.nextafter(place, 1000)  # the answer
    assert lab.knobs.beta == 1.5
    knobs["beta"].slider.value = place  # the learner's hand
    assert lab.knobs.beta == pytest.approx(place, rel=0.05)


def test_what_is_measured_is_what_the_meters_show(labs):
    lab = labs().run(30)
    x = lab.engine.run.images[:100].float() / 255
    with torch.no_grad():
        mu, logvar = lab.model.encode(x)
    assert lab.measured.mean_std == pytest.approx(float(logvar.exp().sqrt().mean()), rel=1e-4)
    assert lab.measured.kl == pytest.approx(float(vaekit.kl_to_prior(mu, logvar).sum(1).mean()), rel=1e-4)
    meters = dict(lab.view.plane.status["meters"])
    assert meters["KL, nats"] == f"{lab.measured.kl:.2f}" and meters["active units"].endswith("of 2")


# -- what makes no sense ----------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"beta": -1.0}, ValueError, "beta must be a finite number from 0 up"),
        ({"beta": "much"}, TypeError, "beta must be a finite number from 0 up"),
        ({"lr": 0}, ValueError, "lr must be a finite number above 0"),
        ({"prior": 1}, TypeError, "prior must be True or False"),
        ({"kind": "poisson"}, ValueError, "kind must be one of bernoulli, gaussian"),
        ({"data": "cats"}, ValueError, "data must be one of digits"),
        ({"data": ["digits"]}, ValueError, "data must be one of digits"),
        ({"gamma": 1.0}, TypeError, "there is no knob 'gamma': the knobs are beta, prior, lr, kind, data"),
        ({"beta": 2.0, "lr": -1.0}, ValueError, "lr must be"),
    ],
)
def test_a_knob_that_makes_no_sense_is_one_line_and_changes_nothing(labs, changes, error, says):
    lab = labs()
    before = lab.settings, lab.controls.knobs[0]["beta"].text.value, lab.controls.knobs[0]["prior"].button.value
    with pytest.raises(error, match=re.escape(says)) as caught:
        lab.set(**changes)
    assert "\n" not in str(caught.value)
    assert (
        lab.settings,
        lab.controls.knobs[0]["beta"].text.value,
        lab.controls.knobs[0]["prior"].button.value,
    ) == before
    lab.run(2)
    assert lab.engine.run.recording.events == [] and lab.engine.run.settings == lab.settings


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
    lab.engine.post(lambda: None).result(SECONDS)
    assert lab.view.plane.message.startswith("500 images do not fill one batch of 600")
    assert lab.run(1).engine.run.settings == lab.settings


class Four(vaekit.VAE):
    def forward(self, x, generator=None):
        x_logits, mu, logvar = super().forward(x, generator)
        return x_logits, x, mu, logvar


def images(*shape: int, high: int = 256) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"prior": 1}, TypeError, "prior must be"),
        ({"lr": 0}, ValueError, "lr must be"),
        ({"kind": "mse"}, ValueError, "kind must be one of"),
        ({"shown": 0}, ValueError, "shown must be a whole number from 1 up"),
        ({"pair": (0, 2)}, ValueError, "the plane needs two latent dimensions"),
        ({"pair": (0,)}, ValueError, "pair must be two latent dimensions"),
        ({"pair": "01"}, ValueError, "pair must be two latent dimensions"),
        ({"latent_dim": 1}, ValueError, "the plane needs two latent dimensions"),
        ({"hidden": "big"}, ValueError, "hidden must be"),
        ({"threads": 0}, ValueError, "threads must be"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"batch_size": 301}, ValueError, "300 images do not fill one batch of 301"),
        ({"device": "gpu"}, ValueError, "device 'gpu' is unknown"),
        ({"data": images(300, 28, 28)}, ValueError, "try images.unsqueeze(1)"),
        ({"data": images(300, 28, 28, 3)}, ValueError, "try images.permute(0, 3, 1, 2)"),
        ({"data": images(127, 1, 28, 28)}, ValueError, "127 images do not fill one batch of 128"),
        ({"model": "vae"}, TypeError, "model must be a torch.nn.Module such as vaekit.VAE()"),
        ({"model": nn.Linear(2, 2)}, TypeError, "this Linear has no encode: see vaekit.VAE"),
        ({"model": Four(2, 16)}, TypeError, "forward of this Four gives 4 things"),
        ({"seed": 1.5}, ValueError, "seed must be a whole number"),
        ({"gamma": 1.0}, TypeError, "LatentLab takes no 'gamma': the knobs are beta, prior, lr"),
        ({"model": vaekit.VAE(1, 16)}, ValueError, "the plane needs two latent dimensions; this model has 1"),
        (
            {"model": vaekit.VAE(encoder=vaekit.Encoder(3), decoder=vaekit.Decoder(2))},
            ValueError,
            "decode of this VAE fails",
        ),
        ({"model": vaekit.VAE(2, 16, (1, 14, 14))}, ValueError, "encode of this VAE fails"),
        ({"model": vaekit.VAE(decoder=vaekit.Decoder(2, 16, (1, 14, 14)))}, ValueError, "decode of this VAE gives"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_no_thread(labs, options, error, says):
    with pytest.raises(error, match=re.escape(says)) as caught:
        labs(**options)
    assert "\n" not in str(caught.value)
    assert not trainers()


# -- what does fit ----------------------------------------------------------------------------------------


def plane_points(lab) -> np.ndarray:
    assert struct.unpack("<I", lab.view.plane.frame[8:12]) == (len(lab.view.sides[0].last.mu),)
    return np.frombuffer(lab.view.plane.frame[20:], "<f2").reshape(-1, 4)


def test_the_plain_autoencoder(labs):
    """No σ at all: points from the start, no KL, and nothing in the way of showing it."""
    model = vaekit.Autoencoder(2, 16)
    with torch.no_grad():
        model.encoder.mu.weight *= 0.05  # codes close together, no unit "active": points all the same
    lab = labs(model=model)
    for steps in (0, 30):
        lab.run(steps)
        assert (plane_points(lab)[:, 2:] == 0).all() and lab.view.plane.status["state"] == "points"
    assert lab.error is None and isinstance(lab.figure(), Figure)


def test_a_model_left_in_eval_mode_trains_in_training_mode(labs):
    modes = set()

    class Watched(vaekit.VAE):
        def forward(self, x, generator=None):
            if torch.is_grad_enabled():
                modes.add(self.training)
            return super().forward(x, generator)

    labs(model=Watched(2, 16).eval()).run(3)
    assert modes == {True}


def test_a_model_whose_runs_cannot_be_repeated_is_trained_and_the_page_says_so(labs):
    model = vaekit.VAE(2, 16, decoder=nn.Sequential(nn.Dropout(0.5), vaekit.Decoder(2, 16)))
    lab = labs(model=model)
    lab.engine.post(lambda: None).result(SECONDS)
    assert "would not hold" in lab.view.plane.message and lab.run(2).steps_taken == 2


def test_another_default_dtype(labs):
    torch.set_default_dtype(torch.float64)
    try:
        lab = labs().run(2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert lab.error is None and lab.view.plane.pictures


class Wrapped(vaekit.VAE):
    """One whose `decoder` is not all that `decode` does."""

    def decode(self, z):
        return 2 * self.decoder(z)


class InTwo(vaekit.VAE):
    """One whose `decoder` takes something else than codes."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.first, *rest = self.decoder
        self.decoder = nn.Sequential(*rest)

    def decode(self, z):
        return self.decoder(self.first(z))


def test_the_page_gets_the_decoder_only_when_it_is_all_there_is(labs):
    assert labs().run(1).view.plane.decoder
    assert labs(model=Wrapped(2, 16)).run(1).view.plane.decoder == b""
    assert labs(model=InTwo(2, 16)).run(1).view.plane.decoder == b""


def test_a_new_data_set_is_shown_at_once_even_when_paused(labs):
    data = ImageSet(torch.cat([some_digits(600).images.flip(0), some_digits(600).images]), None, "Own")
    lab = labs(data, shown=900).run(1)
    lab.set(data="500 own")
    lab.pause()
    assert len(plane_points(lab)) == 500 and lab.view.plane.chosen == 0


# -- the page's messages ----------------------------------------------------------------------------------


def say_as_page(lab, **content) -> None:
    lab._on_message(lab.view.plane, content, [])
    lab.engine.post(lambda: None).result(SECONDS)


def test_choosing_a_point_shows_its_image_its_reconstruction_and_draws(labs):
    lab = labs().run(5)
    say_as_page(lab, kind="choose", index=42)
    assert lab.view.plane.chosen == 42
    pictures = np.frombuffer(lab.view.plane.pictures, np.uint8).reshape(5, 1, 28, 28)
    x = lab.engine.run.images[42:43]
    np.testing.assert_array_equal(pictures[0], x[0])
    with torch.no_grad():
        mu, _ = lab.model.encode(x.float() / 255)
        expected = torch.sigmoid(lab.model.decode(mu)).mul(255)[0].numpy()
    np.testing.assert_allclose(pictures[1], expected, atol=0.51)
    assert len({picture.tobytes() for picture in pictures[2:]}) == 3


def test_a_page_that_cannot_decode_asks(labs, monkeypatch):
    lab = labs(latent_dim=3, pair=(2, 0)).run(5)
    sent = []
    monkeypatch.setattr(lab.view.plane, "send", lambda content, buffers: sent.append((content, buffers)))
    say_as_page(lab, kind="decode", z=[0, 0])  # as JSON writes 0.0
    say_as_page(lab, kind="decode", z=[1.5, -0.5])
    (origin, _), (content, [pixels]) = sent
    assert origin == {"kind": "decoded", "z": [0, 0]}
    with torch.no_grad():
        expected = torch.sigmoid(lab.model.decode(torch.tensor([[-0.5, 0.0, 1.5]]))).mul(255).numpy()
    assert content == {"kind": "decoded", "z": [1.5, -0.5]}
    np.testing.assert_allclose(np.frombuffer(pixels, np.uint8).reshape(1, 1, 28, 28), expected, atol=0.51)


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("each", lambda lab: lab.show("draws")),
        ("show_pair", lambda lab: lab.show_pair((1, 0))),
        ("send_trail", lambda lab: lab._on_message(None, {"kind": "trail"}, [])),
        ("details", lambda lab: lab.controls.reset.click()),
    ],
)
def test_what_a_command_raises_reaches_the_page(labs, monkeypatch, method, ask):
    lab = labs().run(1)

    def broken(*_):
        raise RuntimeError("no such luck\nat all")

    monkeypatch.setattr(lab.view, method, broken)
    ask(lab)
    lab.engine.post(lambda: None).result(SECONDS)
    assert "RuntimeError: no such luck" in lab.view.plane.message and "\n" not in lab.view.plane.message


def test_an_observer_on_the_trainers_thread_may_ask_for_anything(labs):
    lab, seen = labs().run(2), []

    def ask(_):
        if len(seen) < 4:
            seen.append(lab.recording.steps)
            [lab.pause, lab.step, lab.reset, lambda: lab.set(beta=2.0)][len(seen) - 1]()

    lab.view.plane.observe(ask, "status")
    lab.play()
    wait_for(lambda: len(seen) == 4)
    lab.engine.pause().result(SECONDS)
    assert lab.settings["beta"] == 2.0 and lab.error is None


@pytest.mark.parametrize(
    "content",
    [{}, {"kind": "dance"}, {"kind": "choose", "index": 10**6}, {"kind": "choose", "index": "x"}]
    + [{"kind": "choose"}, {"kind": "decode", "z": [1.0]}, {"kind": "decode"}, {"kind": "pair"}, {"kind": "seen"}],
)
def test_a_message_that_makes_no_sense_does_no_harm(labs, content):
    lab = labs().run(2)
    before = lab.view.plane.pictures
    say_as_page(lab, **content)
    assert lab.view.plane.pictures == before and lab.view.plane.chosen == 0
    assert lab.run(2).steps_taken == 4 and lab.error is None


# -- the controls -----------------------------------------------------------------------------------------


def test_what_is_set_from_python_moves_the_controls(labs):
    lab = labs(some_digits(1100))
    lab.set(beta=10.0, prior=False, lr=0.01, kind="gaussian", data="500 digits")
    c, k = lab.controls, lab.controls.knobs[0]
    assert k["beta"].slider.value == 10.0 and k["beta"].text.value == "10" and k["lr"].text.value == "0.01"
    assert k["prior"].button.value is False and k["prior"].button.description == "Prior off"
    assert c.kind.value == "gaussian" and c.data.value == "500 digits"
    for beta, slider in ((0.0, 0.01), (1e6, 100.0)):  # beyond the slider's ends
        lab.set(beta=beta)
        assert k["beta"].slider.value == slider and float(k["beta"].text.value) == lab.settings["beta"] == beta
    lab.pause()
    assert lab.engine.run.settings == lab.settings


def test_the_controls_turn_the_knobs(labs):
    lab = labs(some_digits(1100))
    c, k, run = lab.controls, lab.controls.knobs[0], lab.engine.run
    lab.run(1)
    for turn, name, value in (
        (lambda: setattr(k["prior"].button, "value", False), "prior", False),
        (lambda: setattr(k["beta"].slider, "value", 25.0), "beta", 25.0),
        (lambda: setattr(k["beta"].text, "value", " 0,25 "), "beta", 0.25),
        (lambda: setattr(k["lr"].text, "value", "2e-3"), "lr", 0.002),
        (lambda: setattr(c.kind, "value", "gaussian"), "kind", "gaussian"),
        (lambda: setattr(c.data, "value", "500 digits"), "data", "500 digits"),
    ):
        turn()
        assert lab.settings[name] == value
        lab.run(1)
        assert run.settings == lab.settings and run.recording.events[-1] == (lab.steps_taken, {name: value})
    assert k["beta"].text.value == "0.25" and k["prior"].button.description == "Prior off"
    assert k["beta"].slider.value == pytest.approx(0.25, rel=0.06)  # the nearest place of the slider


def test_the_buttons(labs):
    lab = labs()
    c = lab.controls
    assert c.play.description == "Play"
    c.play.click()
    wait_for(lambda: lab.steps_taken > 10 and c.play.description == "Pause")
    c.play.click()
    wait_for(lambda: not lab.playing and c.play.description == "Play")
    lab.pause()
    at = lab.steps_taken
    c.step.click()
    wait_for(lambda: lab.steps_taken == at + 1)
    c.reset.click()
    wait_for(lambda: lab.steps_taken == 0)


@pytest.mark.parametrize(
    ("box", "text", "says"),
    [
        ("beta", "much", "β must be a number such as 0.5, not 'much'"),
        ("beta", "-1", "beta must be a finite number from 0 up"),
        ("lr", "fast", "learning rate must be a number"),
        ("lr", "0", "lr must be a finite number above 0"),
    ],
)
def test_bad_text_in_a_box_is_one_line_in_the_page_and_the_box_goes_back(labs, box, text, says):
    lab = labs()
    settings, control = lab.settings, lab.controls.knobs[0][box].text
    before = control.value
    control.value = text
    assert control.value == before and lab.settings == settings
    lab.engine.post(lambda: None).result(SECONDS)
    assert says in lab.view.plane.message and "\n" not in lab.view.plane.message
    lab.run(1)
    assert lab.view.plane.message == "" and lab.engine.run.settings == settings


def test_a_complaint_stays_in_the_page_while_it_plays_until_something_else_is_done(labs):
    lab = labs()
    lab.engine.heartbeat()
    lab.play()
    wait_for(lambda: lab.steps_taken > 5)
    lab.controls.knobs[0]["beta"].text.value = "much"
    frames = lab.view.sides[0].number
    wait_for(lambda: lab.view.sides[0].number > frames + 3)  # the frames that follow do not wipe it away
    assert "β must be" in lab.view.plane.message
    lab.set(beta=2.0)
    wait_for(lambda: lab.view.plane.message == "")


# -- more than one ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_labs_at_once_both_train_and_the_second_says_so(labs):
    one, two = labs(), labs(seed=1)
    one.play()
    wait_for(lambda: one.steps_taken > 5)
    assert "Another lab" not in one.view.plane.message
    two.play()
    wait_for(lambda: two.steps_taken > 5)
    first = one.steps_taken, two.steps_taken
    wait_for(lambda: one.steps_taken > first[0] + 5 and two.steps_taken > first[1] + 5)
    wait_for(lambda: two.view.plane.message.startswith("Another lab is training as well"))
    frames = two.view.sides[0].number
    two.engine.heartbeat()
    wait_for(lambda: two.view.sides[0].number > frames + 3)  # and it still stands there some frames later
    assert two.view.plane.message.startswith("Another lab is training as well")
    one.pause(), two.pause()
    for lab, seed in ((one, 0), (two, 1)):
        run = lab.engine.run
        assert same_bits(weights(lab.model), plain_loop(small_vae(seed), run.sets, run.recording, run.number))


def test_a_retired_lab_says_so_frees_its_thread_and_can_still_be_used(labs):
    lab = labs()
    lab.play()
    wait_for(lambda: lab.steps_taken > 5)
    lab.retire()
    assert not trainers() and not lab.playing
    assert lab.view.plane.message.startswith("Stopped: its cell was run again")
    assert lab.view.plane.status["playing"] is False
    at = lab.steps_taken
    lab.play()
    wait_for(lambda: lab.steps_taken > at + 5)
    lab.pause()
    run = lab.engine.run
    assert same_bits(weights(lab.model), plain_loop(small_vae(), run.sets, run.recording, run.number))


# -- showing it -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bundle_has_the_widget_the_name_and_a_picture(labs):
    lab = labs().run(5)
    bundle = lab._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == lab.widget.model_id
    assert bundle["text/plain"] == repr(lab) == "LatentLab(digits, step 5)"
    picture = Image.open(io.BytesIO(bundle["image/png"]))
    picture.load()
    assert picture.format == "PNG" and picture.size == (880, 640) and len(picture.getcolors(256)) > 20
    assert len(bundle["image/png"]) < 200_000


def test_nothing_is_printed_and_no_warning_is_raised_on_the_way(labs, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lab = labs()
        lab.engine.heartbeat()
        lab.play()
        wait_for(lambda: lab.steps_taken > 10)
        for changes in ({"prior": False}, {"lr": 1e6}):
            lab.set(**changes)
        lab.set(prior=True)
        wait_for(lambda: lab.error)
        lab.pause()
    assert caught == [] and capfd.readouterr() == ("", "")


def test_all_parts_are_widgets_with_names_for_those_who_cannot_see(labs):
    lab = labs()
    assert isinstance(lab.widget, widgets.VBox)
    c, k = lab.controls, lab.controls.knobs[0]
    known = (
        c.play,
        c.step,
        c.reset,
        k["prior"].button,
        k["beta"].slider,
        k["beta"].text,
        k["lr"].text,
        c.kind,
        c.data,
        c.pace,
        c.digits,
    )
    more = (c.more, c.showing, c.pair, c.save, c.load, *c.locks.values())
    for control in (*known, *more):
        assert control.tooltip


def test_driven_by_many_threads_as_by_subshells(labs):
    """Widget callbacks may come on any thread: all of them at once, and the recording still tells the run."""
    lab = labs()
    faults = []

    def turn(changes) -> None:
        try:
            for i in range(60):
                changes(i)
        except Exception as error:
            faults.append(error)

    def turn_slider(i: int) -> None:
        lab.controls.knobs[0]["beta"].slider.value = [0.1, 1.0, 10.0][i % 3]

    lab.play()
    each = (lambda i: lab.set(prior=bool(i % 2)), lambda i: lab.set(lr=1e-3 * (1 + i % 3)), turn_slider)
    threads = [threading.Thread(target=turn, args=(changes,)) for changes in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lab.pause()
    run = lab.engine.run
    assert not faults and lab.settings == run.settings == {**lab.settings, "prior": True, "beta": 10.0, "lr": 3e-3}
    assert lab.controls.knobs[0]["beta"].slider.value == 10.0 and lab.controls.knobs[0]["lr"].text.value == "0.003"
    assert same_bits(weights(lab.model), plain_loop(small_vae(), run.sets, run.recording, run.number))
