"""The six guarantees of the design, each broken once on purpose to see its test fail."""

import copy
import os
import random
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_helpers import done, encoded, is_plain, same_bits, say_as_page, small_vae, wait_for, weights
from torch import nn

import vaekit

PACKAGE = Path(vaekit.__file__).parent


def normed() -> vaekit.VAE:
    """Batch norm in both halves: its running averages move at each forward pass in training mode."""
    model, frozen = small_vae(), nn.BatchNorm1d(2).eval()  # by its owner, inside a model that trains
    model.encoder.mu = nn.Sequential(model.encoder.mu, nn.BatchNorm1d(2), frozen)
    model.decoder.insert(1, nn.BatchNorm1d(16))
    return model


def look_hard(lab) -> None:
    """All that a page and a curious learner can ask for between two steps."""
    lab.engine.heartbeat()
    for kind, about in {"seen": {}, "choose": {"index": 7}, "decode": {"z": [1, -1]}, "trail": {}}.items():
        say_as_page(lab, kind=kind, **about)
    lab.turn_code(30)
    lab.draw([[(0.3, 0.2), (0.7, 0.2), (0.45, 0.9)]])
    lab.new_digits()
    lab.show_posterior()
    assert lab.measured.spread > 0 and lab.knobs and lab.settings and repr(lab)
    lab._repr_mimebundle_()  # draws lab.figure()


# -- 1. One loop ------------------------------------------------------------------------------------------


def test_1_gradients_are_taken_and_applied_in_training_py_alone():
    calls = {
        (path.relative_to(PACKAGE).as_posix(), call)
        for path in PACKAGE.rglob("*.py")
        if "exercises" not in path.parts  # the loss doctor takes gradients of what a learner wrote
        for call in re.findall(r"\.(backward|grad|zero_grad)\(", path.read_text(encoding="utf-8"))
    }
    assert calls == {("training.py", "backward"), ("training.py", "zero_grad")}


# -- 2. Watching changes nothing --------------------------------------------------------------------------


def dice() -> tuple:
    """Where the generators are that are everybody's."""
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


@pytest.mark.slow
@pytest.mark.parametrize(("make_model", "twin"), [(small_vae, True), (normed, False)])
def test_2_looking_changes_nothing_and_3_a_knob_acts_at_the_very_next_step(stared_at, labs, make_model, twin):
    """Frames after every step, and all else that is shown as well; the knobs turned whenever it happens."""
    lab = labs(model=make_model(), twin=twin)
    runs, before = lab.engine.runs, dice()
    look_hard(lab)
    assert all(p.grad is None for p in lab.model.parameters())
    lab.play()
    for changes in ({"beta": 4.0, "prior": True}, {"prior": False, "lr": 2e-3}, {"lr": 5e-4, "prior": True}):
        wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 5)
        look_hard(lab)
        now = lab.steps_taken
        lab.set(**changes)
        done(lab)
        assert all(now < run.recording.events[-1][0] <= lab.steps_taken + 1 for run in runs)
    wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 5)
    lab.pause()
    assert lab.error is None and lab.view.plane.message == "" and all(side.number > 20 for side in lab.view.sides)
    assert dice() == before and all(len(run.recording.events) == 3 for run in runs)
    modes = [[part.training for part in model.modules()] for model in (lab.model, make_model())]
    assert modes[0] == modes[1]
    assert all(is_plain(run, make_model()) for run in runs)  # each knob acted at the step it is recorded with


# -- 4. Nats, and an honest β: of losses and gradients see tests/test_training.py -------------------------


def test_4_the_page_is_told_the_beta_that_acts(labs):
    lab = labs(beta=30.0)
    assert lab.view.sides[0].last.beta == 30
    lab.set(prior=False)
    assert lab.run(1).view.sides[0].last.beta == 0


# -- 5. logvar is log σ²: of reparameterize and kl_to_prior see tests/test_losses.py ----------------------


def test_5_the_plane_shows_sigma(labs):
    lab = labs()
    np.testing.assert_allclose(lab.view.sides[0].last.std, encoded(lab)[1].exp().sqrt(), rtol=1e-5)


# -- 6. Nothing is lost -----------------------------------------------------------------------------------

BROKEN = pytest.warns(UserWarning, match="not a number any more|exploded")


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.0, 1000.0], ids=["snapshots at every digest", "only the first snapshot"])
@pytest.mark.parametrize("side", [None, 0, 1])
def test_6_nan_pauses_at_the_last_good_step_and_the_run_can_go_on(monkeypatch, labs, kept, side):
    """NaN in one of a twin takes both back."""
    monkeypatch.setattr("vaekit.lab.clock.KEEP_SECONDS", kept)
    lab = labs(twin=side is not None).run(20)
    lab.set(beta=2.0)  # a knob between the snapshot and the fault
    lab.run(6)
    good = [weights(its.model) for its in lab.sides]
    lab.set(side=side, lr=1e6)
    with BROKEN as caught:
        lab.run(50)
    assert len(caught) == 1 and lab.steps_taken == 26 and not lab.playing
    assert all(same_bits(weights(its.model), then) for its, then in zip(lab.sides, good, strict=True))
    assert "Paused at step 26, the last good one" in lab.error and "\n" not in lab.error and "1e+06" in lab.error
    assert lab.view.plane.message == lab.error
    assert lab.sides[side or 0].settings["lr"] == 1e6  # the learner sees where it stood, and turns it back
    assert lab.engine.history.array()[-1, 0] == 26
    lab.set(side=side, lr=1e-3)
    lab.run(14)
    assert lab.error is None
    for number, run in enumerate(lab.engine.runs):
        events = [(21, {"beta": 2.0}), (27, {"lr": 1e-3})]
        assert run.recording.events == (events if number == (side or 0) else events[:1])
        assert run.number == 40 and is_plain(run)


@pytest.mark.parametrize("one_first", [True, False])
def test_6_nan_from_the_first_step_on(labs, one_first):
    """Paused after one step (whose loss was still a number), and in one go."""
    lab = labs(lr=1e6)
    initial = weights(lab.model)
    lab.run(int(one_first))
    with BROKEN:
        lab.run(60)
    assert lab.steps_taken == 0 and same_bits(weights(lab.model), initial)
    lab.set(lr=1e-3)
    lab.run(5)
    assert is_plain(lab.engine.run)


def test_6_a_model_that_raises_where_another_ones_loss_is_nan_goes_back_to_good_weights(labs):
    class Strict(vaekit.VAE):
        def forward(self, x, generator=None):
            mu, logvar = self.encode(x)
            torch.distributions.Normal(mu, torch.exp(0.5 * logvar), validate_args=True)  # raises on NaN
            return self.decode(vaekit.reparameterize(mu, logvar, generator)), mu, logvar

    first = Strict(2, 16)
    lab = labs(model=copy.deepcopy(first)).run(10)
    # as if step 10's gradient had not been a number
    lab.engine.post(lambda: lab.model.encoder.mu.bias.data.fill_(torch.nan)).result()
    with pytest.warns(UserWarning, match="Step 11 failed"):
        lab.run(10)
    assert all(weight.isfinite().all() for weight in lab.model.parameters())
    lab.run(10)
    assert is_plain(lab.engine.run, first)


def test_6_the_interrupt_ends_a_blocking_run_at_the_step_it_has_come_to(labs):
    lab = labs()

    def press_stop():
        wait_for(lambda: lab.steps_taken > 20)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_stop).start()
    with pytest.warns(UserWarning, match="interrupted: paused at step"):
        lab.run(10**9)
    at = lab.steps_taken
    assert at > 20 and not lab.playing and lab.error is None
    assert lab.view.plane.message == "Interrupted."
    assert is_plain(lab.engine.run)
    lab.run(5)
    assert is_plain(lab.engine.run)
