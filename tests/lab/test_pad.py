"""A digit of one's own: where it is put, what the model makes of it, and that drawing changes nothing of the run."""

import threading

import numpy as np
import pytest
import torch
from lab_helpers import SECONDS, same_bits, small_vae, some_digits, wait_for, weights
from PIL import Image
from torch import nn

import vaekit
from vaekit.data import ImageSet, as_floats
from vaekit.lab.drawing import centred, digit

SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.9)]]
ONE = [[(0.5, 0.1), (0.5, 0.9)]]
NOTHING = "nothing drawn yet"


def done(lab) -> None:
    lab.engine.post(lambda: None).result(SECONDS)


def pictures(plane) -> np.ndarray:
    return np.frombuffer(plane.pictures, np.uint8).reshape(5, 28, 28)


def in_bytes(x: torch.Tensor) -> np.ndarray:
    return x.mul(255).round().to(torch.uint8)[:, 0].numpy()


def reference(model: nn.Module, x: torch.Tensor, seed: int = 0) -> np.ndarray:
    """x, x̂ at μ and the decoded μ + σ ε of three draws, without the kit's own functions."""
    with torch.no_grad():
        mu, logvar = model.encode(x)
        eps = torch.randn(3, mu.shape[1], generator=torch.Generator().manual_seed(seed))
        z = torch.cat([mu, mu + torch.exp(0.5 * logvar) * eps])
        return in_bytes(torch.cat([x, torch.sigmoid(model.decode(z))]))


# -- where MNIST puts its digits --------------------------------------------------------------------------


def elsewhere(image: torch.Tensor, rng, how) -> Image.Image:
    """A digit (28, 28), two to nine times as large, somewhere on a larger sheet."""
    side = round(28 * rng.uniform(2, 9))
    large = Image.fromarray(image.numpy()).resize((side, side), how)
    sheet = Image.new("L", (side + 120, side + 80))
    sheet.paste(large, (int(rng.integers(120)), int(rng.integers(80))))
    return sheet


def put_back(images: torch.Tensor, how) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([centred(elsewhere(image, rng, how)) for image in images[:, 0]])


# Sharp copies come back but for a pixel's edge; soft ones have a rim of grey around their ink, and come back smaller.
@pytest.mark.parametrize(
    ("how", "mean", "most"), [(Image.Resampling.NEAREST, 0.01, 0.035), (Image.Resampling.BILINEAR, 0.04, 0.07)]
)
def test_real_digits_from_anywhere_and_of_any_size_come_back(digits, how, mean, most):
    images = digits.images[:300]
    off = np.abs(put_back(images, how) - images[:, 0].numpy() / 255).mean((1, 2))
    assert off.mean() < mean and np.quantile(off, 0.95) < most


@pytest.mark.parametrize("strokes", [SEVEN, ONE, [[(0.1, 0.2), (0.9, 0.3)]], [*SEVEN, [(0.3, 0.55), (0.7, 0.5)]]])
def test_ink_fills_the_box_of_20_with_its_mass_in_the_middle(strokes):
    x = digit(strokes)
    assert x.shape == (1, 28, 28) and x.dtype == torch.float32 and x.min() == 0 and x.max() == 1
    rows, columns = (x[0].amax(axis).nonzero().flatten() for axis in (1, 0))
    assert max(len(rows), len(columns)) == 20
    place = torch.arange(28.0)
    middle = [float((x[0].sum(axis) * place).sum() / x.sum()) for axis in (1, 0)]
    edges = (rows[0] == 0, rows[-1] == 27, columns[0] == 0, columns[-1] == 27)
    assert middle == pytest.approx([14, 14], abs=0.51) or any(edges)


def test_the_pen_is_as_thick_as_mnists(digits):
    x = as_floats(digits.images[:5000][digits.labels[:5000] == 1])
    lengths = x[:, 0].amax(2).gt(0.2).sum(1)
    upright = x[:, 0].amax(1).gt(0.2).sum(1) <= 5  # of the others the height is not the length
    theirs = (x.sum((1, 2, 3)) / lengths)[upright].median()
    mine = digit([[(0.4, 0.1), (0.6, 0.9)]]).sum() / (20**2 + 4.6**2) ** 0.5
    assert mine == pytest.approx(float(theirs), rel=0.1)


def test_a_first_dot_is_a_dot():
    x = digit([[(0.9, 0.1)]])
    assert 3 < x.sum() < 7 and x[0, 13:16, 13:16].sum() > 3
    assert digit([[(0.9, 0.1), (0.92, 0.1)]]).sum() < 12  # nor is a short stroke a long one


# -- the pad on its own -----------------------------------------------------------------------------------


def test_posterior_and_pictures_are_the_models_to_the_bit():
    model = small_vae(latent_dim=3)
    pad = vaekit.DrawingPad(model).draw(SEVEN)
    assert torch.equal(pad.image, digit(SEVEN))
    with torch.no_grad():
        mu, logvar = model.encode(pad.image[None])
    std = torch.exp(0.5 * logvar)
    told = ", ".join(f"z{'₁₂₃'[i]} = {mu[0, i]:.2f} ± {std[0, i]:.2f}" for i in range(3))
    assert pad.widget.words == told.replace("-", "−")
    np.testing.assert_array_equal(pictures(pad.widget), reference(model, pad.image[None]))


def test_the_page_draws_and_wipes_and_a_model_that_learned_is_asked_again():
    model = small_vae()
    pad = vaekit.DrawingPad(model)
    assert repr(pad) == f"DrawingPad({NOTHING})"
    assert "image/png" not in pad._repr_mimebundle_()
    pad.widget.set_state({"strokes": ONE})  # as a message from the page does
    assert torch.equal(pad.image, digit(ONE)) and len(pad.widget.pictures) == 5 * 784
    first = pad.draw(ONE).widget.pictures
    with torch.no_grad():
        model.encoder.mu.bias += 3
    assert pad.draw(ONE).widget.pictures != first
    pad.clear()
    assert pad.widget.pictures == b"" and pad.widget.words == ""


def test_an_autoencoders_code_is_a_point_and_where_no_widget_lives_there_is_a_picture():
    model = vaekit.Autoencoder(2, 16, init_generator=torch.Generator().manual_seed(0))
    pad = vaekit.DrawingPad(model).draw(SEVEN)
    assert pad.widget.words.startswith("a point: z₁ = ") and "±" not in pad.widget.words
    assert (pictures(pad.widget)[1:] == pictures(pad.widget)[1]).all()
    bundle, metadata = pad._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and bundle["text/plain"] == "DrawingPad(strokes: 1)"
    assert bundle["image/png"].startswith(b"\x89PNG") and pad.widget.words in metadata["image/png"]["alt"]


BAD = [
    *[("abc", TypeError), (7, TypeError), ([[("a", 0.1)]], TypeError), ([[(0.1, 0.2), (0.3,)]], TypeError)],
    *[([(0.1, 0.2)], ValueError), ([[]], ValueError), ([[(0.1, 1.2)]], ValueError), ([], ValueError)],
    ([[(0.1, float("nan"))]], ValueError),
]


def test_strokes_that_are_none_are_one_line(refuses, labs):
    pad, lab = vaekit.DrawingPad(small_vae()).draw(ONE), labs().draw(ONE)
    for strokes, error in BAD:
        for drawn_on in (pad, lab):
            with refuses(error, "strokes must be lists of points" if strokes != [] else NOTHING):
                drawn_on.draw(strokes)
    assert torch.equal(pad.image, digit(ONE)) and torch.equal(lab.view.sides[0].drawing[0], digit(ONE))


def test_what_is_no_model_for_it_is_one_line(refuses):
    for model in (7, "model", nn.Linear(784, 2), vaekit.VAE):
        with refuses(TypeError, "the pad needs a model with encode"):
            vaekit.DrawingPad(model)
    with refuses(ValueError, "for images 1 × 28 × 28; this VAE fails .*1024 values"):
        vaekit.DrawingPad(vaekit.VAE(image_shape=(1, 32, 32)))
    with refuses(ValueError, "kind"):
        vaekit.DrawingPad(small_vae(), "nonsense")
    with refuses(ValueError, f"^{NOTHING}"):
        vaekit.DrawingPad(small_vae()).image  # noqa: B018


class Fragile(vaekit.VAE):
    """Fails on a drawing: on a batch of one image, while `broken`."""

    def __init__(self):
        super().__init__(2, 16, init_generator=torch.Generator().manual_seed(0))
        self.broken, self.asked = False, []

    def encode(self, x):
        self.asked.append(threading.current_thread().name)
        if self.broken and len(x) == 1 and x[0, 0, 0, 0] == 0 and torch.equal(x[0], digit(SEVEN)):
            raise RuntimeError("no, not this\nand more")
        return super().encode(x)


def test_a_model_that_fails_on_the_drawing_says_so():
    model = Fragile()
    pad = vaekit.DrawingPad(model)
    model.broken = True
    pad.draw(SEVEN)
    assert pad.widget.message == "The model could not show the drawing (RuntimeError: no, not this)."
    pad.draw(ONE)
    assert pad.widget.message == "" and pad.widget.pictures


# -- in the lab -------------------------------------------------------------------------------------------


def test_the_lab_shows_the_drawing_in_the_chosen_images_place(labs):
    lab = labs().run(30)
    plane, chosen = lab.view.plane, lab.view.plane.pictures
    assert plane.drawn == {} and plane.pad is False
    lab.draw(SEVEN)
    x = lab.view.sides[0].drawing
    assert torch.equal(x[0], digit(SEVEN)) and plane.pad and lab.controls.draw.value
    with torch.no_grad():
        mu, logvar = lab.model.encode(x)
    assert plane.drawn["mark"] == torch.cat([mu[0], torch.exp(0.5 * logvar[0])]).tolist()
    np.testing.assert_array_equal(pictures(plane), reference(lab.model, x))
    plane._handle_custom_msg({"kind": "choose", "index": 5}, [])  # its turn comes when the pad is wiped
    done(lab)
    np.testing.assert_array_equal(pictures(plane)[0], in_bytes(x)[0])
    plane.set_state({"strokes": []})
    done(lab)
    assert plane.drawn == {} and plane.pictures != chosen
    np.testing.assert_array_equal(pictures(plane)[0], some_digits(6).images[5, 0].numpy())


def test_it_follows_the_training_and_the_toggle_puts_it_away(labs):
    lab = labs().run(5).draw(ONE)
    marks = [lab.view.plane.drawn["mark"]]
    for _ in range(3):
        marks.append(lab.run(20).view.plane.drawn["mark"])
    with torch.no_grad():
        mu, _ = lab.model.encode(digit(ONE)[None])
    assert marks[-1][:2] == mu[0].tolist() and len(set(map(tuple, marks))) == 4
    lab.controls.draw.value = False
    done(lab)
    assert lab.view.plane.drawn == {} and lab.view.plane.strokes == [] and not lab.view.plane.pad


@pytest.mark.slow
@pytest.mark.parametrize("twin", [False, True])
def test_drawing_changes_nothing_of_the_run(labs, twin):
    drawn, plain = labs(twin=twin), labs(twin=twin)
    drawn.run(3).draw(SEVEN)
    drawn.engine.heartbeat()
    drawn.play()
    for i in range(40):
        drawn.draw([[(0.5, 0.1), (0.5, 0.2 + 0.02 * i)]])
    wait_for(lambda: drawn.steps_taken > 60)
    drawn.pause()
    plain.run(drawn.steps_taken)
    for view, one, other in zip(drawn.view.sides, drawn.sides, plain.sides, strict=True):
        assert same_bits(weights(one.model), weights(other.model))
        np.testing.assert_array_equal(pictures(view.plane), reference(one.model, view.drawing))
    assert drawn.error is None and drawn.recording.twin == plain.recording.twin


def test_of_many_dimensions_the_mark_is_of_the_pair_that_is_shown(labs):
    lab = labs(latent_dim=5, pair=(3, 1)).run(10).draw(SEVEN)
    with torch.no_grad():
        mu, logvar = lab.model.encode(digit(SEVEN)[None])
    pair = [3, 1]
    assert lab.view.plane.drawn["mark"] == torch.cat([mu[0, pair], torch.exp(0.5 * logvar[0, pair])]).tolist()
    assert lab.view.plane.drawn["words"].startswith("z₄ = ")
    lab.show_pair((0, 2))
    done(lab)
    assert lab.view.plane.drawn["mark"][:2] == mu[0, [0, 2]].tolist()


def test_an_autoencoder_in_the_lab_and_a_posterior_that_is_no_number(labs):
    lab = labs(model=vaekit.Autoencoder(2, 16, init_generator=torch.Generator().manual_seed(0))).run(5).draw(ONE)
    assert lab.view.plane.drawn["mark"][2:] == [0, 0] and lab.view.plane.drawn["words"].startswith("a point: ")
    lab.engine.post(lambda: [p.data.fill_(float("inf")) for p in lab.model.encoder.parameters()]).result(SECONDS)
    assert lab.draw(SEVEN).view.plane.drawn["mark"] == []


def test_a_model_that_fails_on_the_drawing_loses_it_and_not_the_run(labs):
    lab = labs(model=Fragile()).run(5).draw(ONE)
    lab.model.broken = True
    lab.draw(SEVEN)
    said = lab.view.plane.message
    assert said == "The model could not show your drawing (RuntimeError: no, not this)."
    assert lab.view.plane.drawn == {} and lab.error is None and lab.view.sides[0].drawing is None
    lab.model.broken = False
    lab.draw(SEVEN)
    lab.model.broken = True  # from here on at the next frame
    assert lab.run(20).steps_taken == 25 and lab.error is None and lab.view.plane.drawn == {}


def test_a_labs_model_is_asked_on_the_labs_own_thread(labs):
    lab = labs(model=Fragile())
    lab.model.asked.clear()
    pad = vaekit.DrawingPad(lab.model).draw(ONE)
    assert set(lab.model.asked) == {"vaekit-trainer"} and pad.widget.words


def test_images_of_another_shape_have_no_pad(labs, refuses):
    colour = torch.randint(0, 256, (150, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lab = labs(colour)
    why = "a pad needs grey images of 28 × 28; these are 3 × 6 × 5"
    assert lab.controls.draw.disabled and lab.controls.no_pad.value == why
    with refuses(ValueError, why):
        lab.draw(ONE)
    lab.view.plane.set_state({"strokes": ONE})  # a page that does not know yet
    done(lab)
    assert lab.view.plane.drawn == {} and lab.run(2).error is None


@pytest.mark.slow
def test_the_exported_file_shows_the_chosen_image_and_the_lab_keeps_its_drawing(labs, tmp_path):
    lab = labs().run(5).draw(ONE)
    drawn = lab.view.plane.pictures
    lab.export_html(tmp_path / "run.html")
    done(lab)
    assert digit(lab.view.plane.strokes).equal(digit(ONE)) and lab.view.plane.pictures == drawn


def test_doubles_are_drawn_as_doubles(labs):
    """A learner's own model of doubles, with images of doubles."""
    images = ImageSet(as_floats(some_digits(300).images).double())
    lab = labs(images, model=small_vae().double()).draw(ONE)
    assert lab.view.sides[0].drawing.dtype == torch.float64 and lab.view.plane.drawn["mark"]
