"""LatentLab, driven from Python and through its own widgets."""

import io
import math
import re
import struct
import threading
import time
import warnings

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from lab_helpers import SECONDS, plain_loop, same_bits, small_vae, some_digits, trainers, wait_for, weights
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import vaekit
from vaekit.data import DataError, ImageSet
from vaekit.lab import LatentLab
from vaekit.lab.view import marks

# -- driving it from Python -------------------------------------------------------------------------------


def test_run_takes_the_steps_and_gives_the_lab_back(labs):
    lab = labs()
    assert lab.run(7) is lab and lab.steps_taken == 7 and not lab.playing and lab.error is None
    assert lab.run(0).steps_taken == 7
    lab.step()
    assert lab.steps_taken == 8


def test_play_and_pause(labs):
    lab = labs()
    lab.play()
    wait_for(lambda: lab.playing and lab.steps_taken > 20)
    assert lab.view.plane.status["playing"] is True
    lab.pause()
    at = lab.steps_taken
    assert not lab.playing and lab.view.plane.status["step"] == at and lab.view.plane.status["playing"] is False
    time.sleep(0.03)
    assert lab.steps_taken == at
    assert same_bits(weights(lab.model), plain_loop(small_vae(), lab.engine.run.sets, lab.engine.run.recording, at))


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
    lab.settings["beta"] = 9.0
    assert lab.settings["beta"] == 0.5


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


def test_a_switch_turned_off_and_on_leaves_two_marks(labs):
    lab = labs()
    for prior in (False, True):
        lab.run(2)
        lab.set(prior=prior)
    lab.run(1)
    assert [mark["label"] for mark in lab.view.curves.marks] == ["prior off", "prior on"]


@pytest.mark.parametrize("asked", [7.0, 0.05, 3.0, 11.0])
def test_beta_set_from_code_stays_what_it_is_whatever_the_slider_answers(labs, asked):
    """A page's slider answers with the place it went to, in digits of its own, and perhaps late."""
    lab = labs()
    (knobs,) = lab.controls.knobs
    lab.set(beta=asked)
    place = knobs.beta.value
    exponent = math.log10(place)
    assert exponent == pytest.approx(round(exponent / 0.05) * 0.05) and 0.94 < place / asked < 1.06
    lab.set(beta=1.5)
    knobs.beta.value = math.nextafter(place, 1000)  # the answer
    assert lab.knobs.beta == 1.5
    knobs.beta.value = place  # the learner's hand
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


def test_weights_that_are_no_numbers_leave_words_and_meters_as_they_were(labs):
    """For a moment, until the run goes back, the plane may have nothing to show; the words claim nothing new."""
    lab = labs().run(5)
    before = lab.measured, lab.view.plane.status
    lab.engine.post(lambda: lab.model.encoder.mu.bias.data.fill_(NAN)).result(SECONDS)
    lab.engine.post(lambda: lab.view.frame(lab.engine)).result(SECONDS)
    assert np.isnan(plane_points(lab)[:, :2]).all() and lab.view.sides[0].last.extent >= 3.8
    assert (lab.measured, lab.view.plane.status) == before


# -- what makes no sense ----------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"beta": -1.0}, ValueError, "beta must be a finite number from 0 up"),
        ({"beta": NAN}, ValueError, "beta must be a finite number from 0 up"),
        ({"beta": INF}, ValueError, "beta must be a finite number from 0 up"),
        ({"beta": "much"}, TypeError, "beta must be a finite number from 0 up"),
        ({"beta": True}, TypeError, "beta must be"),
        ({"beta": None}, TypeError, "beta must be"),
        ({"lr": 0}, ValueError, "lr must be a finite number above 0"),
        ({"lr": -1e-3}, ValueError, "lr must be a finite number above 0"),
        ({"lr": NAN}, ValueError, "lr must be a finite number above 0"),
        ({"lr": "fast"}, TypeError, "lr must be a finite number above 0"),
        ({"prior": "on"}, TypeError, "prior must be True or False"),
        ({"prior": 1}, TypeError, "prior must be True or False"),
        ({"kind": "poisson"}, ValueError, "kind must be one of bernoulli, gaussian"),
        ({"kind": None}, ValueError, "kind must be one of bernoulli, gaussian"),
        ({"data": "cats"}, ValueError, "data must be one of 'digits'"),
        ({"data": ["digits"]}, ValueError, "data must be one of 'digits'"),
        ({"gamma": 1.0}, TypeError, "there is no knob 'gamma': the knobs are beta, prior, lr, kind, data"),
        ({"beta": 2.0, "lr": -1.0}, ValueError, "lr must be"),
    ],
)
def test_a_knob_that_makes_no_sense_is_one_line_and_changes_nothing(labs, changes, error, says):
    lab = labs()
    before = lab.settings, lab.controls.knobs[0].beta_text.value, lab.controls.knobs[0].prior.value
    with pytest.raises(error, match=re.escape(says)) as caught:
        lab.set(**changes)
    assert "\n" not in str(caught.value)
    assert (lab.settings, lab.controls.knobs[0].beta_text.value, lab.controls.knobs[0].prior.value) == before
    lab.run(2)
    assert lab.engine.run.recording.events == [] and lab.engine.run.settings == lab.settings


@pytest.mark.parametrize("steps", [-1, 2.0, "ten", None, True, NAN])
def test_steps_that_make_no_sense(labs, steps):
    lab = labs()
    with pytest.raises(ValueError, match="steps must be a whole number from 0 up"):
        lab.run(steps)
    assert lab.steps_taken == 0 and lab.run(1).steps_taken == 1


class NoEncode(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 784)

    def decode(self, z):
        return self.layer(z).reshape(-1, 1, 28, 28)


class Speechless(vaekit.VAE):
    def decode(self, z):
        raise AssertionError


def images(*shape: int, high: int = 256) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"beta": -1}, ValueError, "beta must be"),
        ({"prior": 1}, TypeError, "prior must be"),
        ({"lr": 0}, ValueError, "lr must be"),
        ({"kind": "mse"}, ValueError, "kind must be one of"),
        ({"shown": 0}, ValueError, "shown must be a whole number of images from 1 up"),
        ({"shown": "all"}, ValueError, "shown must be"),
        ({"pair": (0, 0)}, ValueError, "the plane needs two latent dimensions"),
        ({"pair": (0, 2)}, ValueError, "the plane needs two latent dimensions"),
        ({"pair": (0,)}, ValueError, "pair must be two latent dimensions"),
        ({"pair": "01"}, ValueError, "pair must be two latent dimensions"),
        ({"latent_dim": 1}, ValueError, "the plane needs two latent dimensions"),
        ({"latent_dim": 0}, ValueError, "latent_dim must be"),
        ({"hidden": "big"}, ValueError, "hidden must be"),
        ({"threads": 0}, ValueError, "threads must be"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"batch_size": "many"}, ValueError, "batch_size must be"),
        ({"batch_size": 301}, ValueError, "300 images do not fill one batch of 301"),
        ({"device": "gpu"}, ValueError, "device 'gpu' is unknown"),
        ({"data": images(300, 28, 28)}, ValueError, "try images.unsqueeze(1)"),
        ({"data": images(300, 784)}, ValueError, "images must be a tensor (N, C, H, W)"),
        ({"data": images(300, 1, 28, 28).long()}, TypeError, "try images.to(torch.uint8)"),
        ({"data": images(300, 1, 28, 28).float()}, ValueError, "these reach from 0 to 255"),
        ({"data": torch.full((300, 1, 28, 28), NAN)}, ValueError, "images must be"),
        ({"data": images(0, 1, 28, 28)}, ValueError, "this data set is empty"),
        ({"data": images(127, 1, 28, 28)}, ValueError, "127 images do not fill one batch of 128"),
        ({"data": images(300, 0, 28, 28)}, ValueError, "images must be"),
        ({"data": [1, 2]}, TypeError, "this is a list: try torch.as_tensor(images)"),
        ({"data": np.zeros((300, 1, 28, 28), np.uint8)}, TypeError, "try torch.as_tensor(images)"),
        ({"model": "vae"}, TypeError, "model must be a torch.nn.Module such as vaekit.VAE()"),
        ({"model": NoEncode()}, TypeError, "this NoEncode has no encode: see vaekit.VAE"),
        ({"model": nn.Linear(2, 2)}, TypeError, "this Linear has no encode"),
        ({"model": vaekit.VAE(1, 16)}, ValueError, "the plane needs two latent dimensions; this model has 1"),
        ({"model": vaekit.VAE(encoder=vaekit.Encoder(3), decoder=vaekit.Decoder(2))}, ValueError, "this one fails"),
        ({"model": vaekit.VAE(2, 16, (1, 14, 14))}, ValueError, "this one fails"),
        ({"model": vaekit.VAE(decoder=vaekit.Decoder(2, 16, (1, 14, 14)))}, ValueError, "this one decodes to"),
        ({"model": Speechless()}, ValueError, "this one fails (AssertionError)"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_no_thread(labs, options, error, says):
    with pytest.raises(error, match=re.escape(says)) as caught:
        labs(**options)
    assert "\n" not in str(caught.value)
    assert not trainers()


def test_a_missing_data_set_is_one_line_and_leaves_no_thread(monkeypatch, tmp_path):
    """A file of the canonical name that is something else."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"not the digits")
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match="is damaged") as caught:
        LatentLab()
    assert "\n" not in str(caught.value) and not trainers()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_cuda_device_that_is_not_there_is_a_warning_and_the_cpu(labs):
    with pytest.warns(UserWarning, match="device 'cuda' is not available on this machine: using the CPU instead"):
        lab = labs(device="cuda")
    assert lab.run(2).engine.run.images.device.type == "cpu"
    assert lab.view.plane.status["device"] == "CPU, 1 thread"


# -- what does fit ----------------------------------------------------------------------------------------


def plane_points(lab) -> np.ndarray:
    assert struct.unpack("<I", lab.view.plane.frame[8:12]) == (len(lab.view.sides[0].last.mu),)
    return np.frombuffer(lab.view.plane.frame[24:], "<f2").reshape(-1, 4)


def test_floats_from_0_to_1_are_images_too_and_train_alike(labs):
    data = some_digits(300)
    floats = labs(data.images.float() / 255).run(5)
    ends = weights(labs(data).run(5).model)
    for name, value in weights(floats.model).items():
        torch.testing.assert_close(value, ends[name], rtol=1e-4, atol=1e-6)
    x = np.frombuffer(floats.view.plane.pictures, np.uint8)[:784]
    np.testing.assert_array_equal(x.reshape(28, 28), data.images[0, 0])


def test_own_images_without_labels(labs):
    lab = labs(images(200, 1, 8, 8)).run(3)
    assert lab.view.plane.classes == b"" and lab.view.plane.shape == [1, 8, 8]
    assert repr(lab) == "LatentLab(Your images, step 3)" and len(plane_points(lab)) == 100
    assert isinstance(lab.figure(), Figure)


def test_labels_are_the_classes(labs):
    lab = labs()
    assert list(lab.view.plane.classes) == some_digits(300).labels[:100].tolist()


def test_three_channels(labs):
    lab = labs(images(150, 3, 6, 5)).run(3)
    assert lab.view.plane.shape == [3, 6, 5] and len(lab.view.plane.pictures) == 5 * 90
    assert lab._repr_mimebundle_()["image/png"]


def test_five_dimensions_and_another_pair(labs):
    lab = labs(latent_dim=5, pair=(3, 1)).run(5)
    x = lab.engine.run.images[:100].float() / 255
    with torch.no_grad():
        mu, _ = lab.model.encode(x)
    np.testing.assert_allclose(plane_points(lab)[:, :2], mu[:, [3, 1]], atol=2e-3)
    assert lab.view.plane.pair == [3, 1]
    plane = lab.figure().axes[0]
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("$z_{4}$", "$z_{2}$")


def test_squared_error(labs):
    lab = labs(kind="gaussian").run(5)
    assert lab.controls.kind.label == "squared error" and lab.error is None


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


def test_few_images_and_a_large_batch(labs):
    lab = labs(some_digits(1100), batch_size=600).run(3)
    assert list(lab.engine.run.sets) == ["digits"]  # 500 would not fill a batch
    assert len(plane_points(labs(some_digits(128), shown=1000).run(2))) == 128
    assert len(plane_points(labs(shown=1).run(2))) == 1


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


def test_what_the_model_cannot_show_is_said_in_one_line(labs, monkeypatch):
    lab = labs().run(2)
    monkeypatch.setattr(lab.model, "decode", lambda z: z @ torch.zeros(9, 9))
    say_as_page(lab, kind="decode", z=[1.0, 0.5])
    assert re.fullmatch(r"The model could not show that \(RuntimeError: [^\n]+\)\.", lab.view.plane.message)
    monkeypatch.undo()
    assert lab.run(2).steps_taken == 4 and lab.view.plane.message == ""


def test_heartbeats_are_heard(labs):
    lab = labs()
    assert not lab.engine.looked_at
    say_as_page(lab, kind="seen", visible=False)
    assert not lab.engine.looked_at
    say_as_page(lab, kind="seen", visible=True)
    assert lab.engine.looked_at


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"kind": "dance"},
        {"kind": "choose", "index": 10**6},
        {"kind": "choose", "index": -1},
        {"kind": "choose", "index": "x"},
        {"kind": "choose"},
        {"kind": "decode", "z": [1.0]},
        {"kind": "decode", "z": "here"},
        {"kind": "decode"},
        {"kind": "seen"},
    ],
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
    assert k.beta.value == 10.0 and k.beta_text.value == "10" and k.lr.value == "0.01"
    assert k.prior.value is False and k.prior.description == "Prior off"
    assert c.kind.value == "gaussian" and c.data.value == "500 digits"
    for beta, slider in ((0.0, 0.01), (1e6, 100.0)):  # beyond the slider's ends
        lab.set(beta=beta)
        assert k.beta.value == slider and float(k.beta_text.value) == lab.settings["beta"] == beta
    lab.pause()
    assert lab.engine.run.settings == lab.settings


def test_the_controls_turn_the_knobs(labs):
    lab = labs(some_digits(1100))
    c, k, run = lab.controls, lab.controls.knobs[0], lab.engine.run
    lab.run(1)
    for turn, name, value in (
        (lambda: setattr(k.prior, "value", False), "prior", False),
        (lambda: setattr(k.beta, "value", 25.0), "beta", 25.0),
        (lambda: setattr(k.beta_text, "value", " 0,25 "), "beta", 0.25),
        (lambda: setattr(k.lr, "value", "2e-3"), "lr", 0.002),
        (lambda: setattr(c.kind, "value", "gaussian"), "kind", "gaussian"),
        (lambda: setattr(c.data, "value", "500 digits"), "data", "500 digits"),
    ):
        turn()
        assert lab.settings[name] == value
        lab.run(1)
        assert run.settings == lab.settings and run.recording.events[-1] == (lab.steps_taken, {name: value})
    assert k.beta_text.value == "0.25" and k.prior.description == "Prior off"
    assert k.beta.value == pytest.approx(0.25, rel=0.06)  # the nearest place of the slider


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


def test_slow_motion(labs):
    lab = labs()
    lab.controls.pace.label = "5 steps/s"
    assert lab.engine.pace == 5.0
    lab.controls.pace.label = "full speed"
    assert lab.engine.pace is None


@pytest.mark.parametrize(
    ("box", "text", "says"),
    [
        ("beta_text", "much", "β must be a number such as 0.5, not 'much'"),
        ("beta_text", "", "β must be a number such as 0.5, not ''"),
        ("beta_text", "-1", "beta must be a finite number from 0 up"),
        ("beta_text", "nan", "beta must be a finite number from 0 up"),
        ("beta_text", "inf", "beta must be a finite number from 0 up"),
        ("lr", "fast", "the learning rate must be a number"),
        ("lr", "0", "lr must be a finite number above 0"),
        ("lr", "-1", "lr must be a finite number above 0"),
    ],
)
def test_bad_text_in_a_box_is_one_line_in_the_page_and_the_box_goes_back(labs, box, text, says):
    lab = labs()
    settings, control = lab.settings, getattr(lab.controls.knobs[0], box)
    before = control.value
    control.value = text
    assert control.value == before and lab.settings == settings
    lab.engine.post(lambda: None).result(SECONDS)
    assert says in lab.view.plane.message and "\n" not in lab.view.plane.message
    lab.run(1)
    assert lab.view.plane.message == "" and lab.engine.run.settings == settings


def test_a_complaint_stays_in_the_page_while_it_plays_until_something_else_is_done(labs):
    lab = labs()
    lab.engine.seen()
    lab.play()
    wait_for(lambda: lab.steps_taken > 5)
    lab.controls.knobs[0].beta_text.value = "much"
    frames = lab.view.sides[0].number
    wait_for(lambda: lab.view.sides[0].number > frames + 3)  # the frames that follow do not wipe it away
    assert "β must be" in lab.view.plane.message
    lab.set(beta=2.0)
    wait_for(lambda: lab.view.plane.message == "")


def test_a_complaint_does_not_hide_an_error_for_good(labs):
    lab = labs(lr=1e6)
    with pytest.warns(UserWarning, match="Paused at step 0"):
        lab.run(30)
    lab.controls.knobs[0].beta_text.value = "much"
    lab.engine.post(lambda: None).result(SECONDS)
    assert "β must be" in lab.view.plane.message
    lab.set(lr=1e-3)
    lab.engine.post(lambda: None).result(SECONDS)
    assert lab.view.plane.message == lab.error
    lab.run(2)
    assert lab.view.plane.message == "" and lab.error is None


# -- more than one ----------------------------------------------------------------------------------------


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
    two.engine.seen()
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


def test_the_bundle_has_the_widget_the_name_and_a_picture(labs):
    lab = labs().run(5)
    bundle = lab._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == lab.widget.model_id
    assert bundle["text/plain"] == repr(lab) == "LatentLab(digits, step 5)"
    picture = Image.open(io.BytesIO(bundle["image/png"]))
    picture.load()
    assert picture.format == "PNG" and picture.size == (880, 640) and len(picture.getcolors(256)) > 20
    assert len(bundle["image/png"]) < 200_000


def test_the_same_lab_can_be_displayed_twice_and_before_its_first_step(labs):
    lab = labs()
    first, again = lab._repr_mimebundle_(), lab._repr_mimebundle_(include=None, exclude=None)
    key = "application/vnd.jupyter.widget-view+json"
    assert first[key] == again[key] and repr(lab) == "LatentLab(digits, step 0)"


def test_the_figure_is_one_of_its_own(labs):
    lab = labs().run(5)
    open_before = plt.get_fignums()
    figure = lab.figure()
    assert isinstance(figure, Figure) and figure is not lab.figure()
    assert plt.get_fignums() == open_before == []
    texts = " ".join(text.get_text() for ax in figure.axes for text in ax.texts)
    assert "step 5, prior on, β = 1" in texts and lab.view.plane.status["headline"] in texts


def test_a_figure_may_be_drawn_while_it_trains(labs):
    lab = labs()
    lab.play()
    wait_for(lambda: lab.steps_taken > 5)
    lab.figure()
    assert lab.playing


def test_nothing_is_printed_and_no_warning_is_raised_on_the_way(labs, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lab = labs()
        lab.engine.seen()
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
    known = (c.play, c.step, c.reset, k.prior, k.beta, k.beta_text, k.lr, c.kind, c.data, c.pace, c.digits)
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
        lab.controls.knobs[0].beta.value = [0.1, 1.0, 10.0][i % 3]

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
    assert lab.controls.knobs[0].beta.value == 10.0 and lab.controls.knobs[0].lr.value == "0.003"
    assert same_bits(weights(lab.model), plain_loop(small_vae(), run.sets, run.recording, run.number))


def test_of_two_knobs_turned_at_once_on_two_threads_both_count(labs, monkeypatch):
    lab = labs()
    within, checked = threading.Event(), lab._checked

    def slowly(wanted: dict) -> dict:
        found = checked(wanted)
        within.set()
        time.sleep(0.05)
        return found

    monkeypatch.setattr(lab, "_checked", slowly)
    thread = threading.Thread(target=lab.set, kwargs={"beta": 2.0})
    thread.start()
    within.wait(SECONDS)
    lab.set(prior=False)
    thread.join()
    lab.pause()
    assert lab.settings["beta"] == 2.0 and lab.settings["prior"] is False and lab.engine.run.settings == lab.settings
