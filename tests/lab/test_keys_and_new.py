"""The keys, as the kernel answers them; the sheet of new digits; and what an autoencoder does not show."""

import numpy as np
import pytest
import torch
from lab_helpers import wait_for

from vaekit import Autoencoder
from vaekit.lab.knobs import next_value


def press(lab, key: str, side: int = 0) -> None:
    """What the page sends when a key is pressed: see keys.js."""
    lab._on_message(None, {"kind": "key", "key": key, "side": side}, [])


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [
        (1.0, 1.8, 0.56),
        (1.8, 3.2, 1.0),
        (0.0, 0.018, 0.01),
        (100.0, 100.0, 56.0),
        (0.01, 0.018, 0.01),
        (7.0, 10.0, 5.6),
    ],
)
def test_a_key_brings_beta_to_the_next_quarter_of_a_power_of_ten(value, up, down):
    assert (next_value(value, 1), next_value(value, -1)) == (up, down)


def test_keys_turn_what_the_controls_turn(labs):
    lab = labs()
    press(lab, "p")
    press(lab, "]")
    assert (lab.settings["prior"], lab.settings["beta"]) == (False, 1.8)
    press(lab, "[")
    press(lab, "p")
    press(lab, "s")
    wait_for(lambda: lab.steps_taken == 1)
    assert (lab.settings["prior"], lab.settings["beta"]) == (True, 1.0)
    press(lab, " ")
    lab.engine.post(lambda: None).result()
    assert lab.playing
    press(lab, " ")
    lab.engine.post(lambda: None).result()
    assert not lab.playing and lab.steps_taken >= 1


def test_a_key_beside_a_twins_plane_turns_that_run_unless_they_are_tied(labs):
    lab = labs(twin=True)
    press(lab, "p", 1)
    press(lab, "]", 1)  # β is tied at first
    assert [(side.settings["prior"], side.settings["beta"]) for side in lab.sides] == [(False, 1.8), (False, 1.8)]


def sheets(lab) -> list[np.ndarray]:
    lab.engine.post(lambda: None).result()
    return [np.frombuffer(side.plane.sheet, np.uint8) for side in lab.view.sides]


def test_new_digits_are_draws_of_the_prior_decoded_of_a_twin_the_same(labs):
    lab = labs(twin=True, latent_dim=3).run(30)
    assert [sheet.size for sheet in sheets(lab)] == [0, 0]
    lab.new_digits()
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    for side, sheet in zip(lab.sides, sheets(lab), strict=True):
        with torch.no_grad():
            x_hat = torch.sigmoid(side.model.decode(z)).flatten().mul(255).round()
        assert sheet.size == 20 * 784 and np.abs(sheet - x_hat.numpy()).max() <= 1
    before = sheets(lab)
    lab.run(20)
    after = sheets(lab)
    assert all((a != b).any() for a, b in zip(before, after, strict=True))  # the same z, the model has learned
    lab.new_digits()
    assert all((a != b).any() for a, b in zip(after, sheets(lab), strict=True))  # other z
    lab.controls.new.value = True
    lab.controls.new.value = False
    assert [sheet.size for sheet in sheets(lab)] == [0, 0]


def test_new_digits_change_nothing_in_the_run(labs):
    plain, watched = labs().run(20), labs()
    watched.new_digits()
    watched.run(10).new_digits()
    watched.run(10)
    pairs = zip(plain.model.parameters(), watched.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_autoencoder_has_no_prior_to_show(labs):
    lab = labs(model=Autoencoder(hidden=16)).run(5)
    assert lab.view.plane.autoencoder and lab.view.curves.autoencoder
    assert [name for name, _ in lab.view.plane.status["meters"]] == ["spread of means", "reconstruction"]
    assert lab.view.plane.status["headline"] == "Points."
    lesson = lab.controls.rows[0].children
    assert not {part for name in ("prior", "beta") for part in lab.controls.knobs[0][name].parts} & set(lesson)
    press(lab, "p")
    assert lab.settings["prior"]
    vae = labs()
    assert not vae.view.plane.autoencoder and vae.controls.knobs[0]["prior"].box in vae.controls.rows[0].children
