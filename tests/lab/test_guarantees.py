"""The six guarantees of the design, each broken once on purpose to see its test fail."""

import ast
import os
import random
import signal
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_helpers import Flaky, plain_loop, same_bits, small_vae, some_digits, wait_for, weights
from torch import nn

import vaekit
import vaekit.lab.clock
import vaekit.runs.run
from vaekit.training import Step

PACKAGE = Path(vaekit.__file__).parent


class Normed(vaekit.VAE):
    """Batch norm in both halves: its running averages move at each forward pass in training mode."""

    def __init__(self):
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.BatchNorm1d(16), nn.BatchNorm1d(16))
        encoder.extend([nn.ReLU(), nn.Linear(16, 4)])
        encoder[3].eval()  # one that its owner has frozen, inside a model that trains
        decoder = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 784))
        decoder.append(nn.Unflatten(1, (1, 28, 28)))
        generator = torch.Generator().manual_seed(0)
        super().__init__(encoder=encoder, decoder=decoder, init_generator=generator)

    def encode(self, x):
        return self.encoder(x).chunk(2, 1)


MODELS = pytest.mark.parametrize("make_model", [small_vae, Normed])


def look_hard(lab, picture: bool = False) -> None:
    """All that a page and a curious learner can ask for between two steps; `picture`: the still one, too."""
    lab.engine.heartbeat()
    for message in (
        {"kind": "seen", "visible": True},
        {"kind": "choose", "index": 7},
        {"kind": "decode", "z": [1, -1]},
    ):
        lab._on_message(None, message, [])
    assert lab.measured.spread > 0 and lab.knobs and lab.settings and repr(lab)
    if picture:
        lab._repr_mimebundle_()  # draws lab.figure()


# -- 1. One loop ------------------------------------------------------------------------------------------


def test_1_the_lab_takes_its_steps_from_train(monkeypatch, labs):
    asked = []

    def idle(model, images, knobs, *, first, **rest):
        zero = torch.tensor(0.0)
        for number in count(first):
            asked.append(number)
            yield Step(number, 0.0, knobs, zero, zero, torch.zeros(2))

    monkeypatch.setattr(vaekit.runs.run, "train", idle)
    lab = labs()
    before = weights(lab.model)
    lab.run(6)
    lab.step()
    assert asked == [1, 2, 3, 4, 5, 6, 7]
    assert same_bits(weights(lab.model), before)  # nobody else moves them


def test_1_gradients_are_taken_and_applied_in_training_py_alone():
    calls = {
        (path.relative_to(PACKAGE).as_posix(), node.func.attr)
        for path in PACKAGE.rglob("*.py")
        if "exercises" not in path.parts  # the loss doctor takes gradients of what a learner wrote
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in ("backward", "grad", "zero_grad")
    }
    assert calls == {("training.py", "backward"), ("training.py", "zero_grad")}


# -- 2. Watching changes nothing --------------------------------------------------------------------------


@pytest.mark.slow
@MODELS
def test_2_a_lab_that_is_looked_at_ends_at_the_weights_of_a_plain_loop(labs, make_model):
    def drive(lab, look) -> dict:
        for steps, changes in ((5, {"beta": 4.0}), (7, {"prior": False}), (1, {"lr": 5e-4, "prior": True}), (9, {})):
            lab.run(steps)
            look(lab)
            lab.set(**changes)
        lab.pause()
        return weights(lab.model)

    alone = labs(model=make_model())
    watched = labs(model=make_model())
    look_hard(watched, picture=True)
    ends = drive(alone, lambda lab: None), drive(watched, look_hard)
    recording = watched.engine.run.recording
    assert recording.events == [(6, {"beta": 4.0}), (13, {"prior": False}), (14, {"lr": 5e-4, "prior": True})]
    plain = plain_loop(make_model(), alone.engine.run.sets, recording, 22)
    assert same_bits(ends[0], plain)
    assert same_bits(ends[1], plain)


@MODELS
def test_2_looking_while_it_plays_changes_nothing(monkeypatch, labs, make_model):
    """Frames after every step, backdrop, decoder and draws as well; the knobs turned whenever it happens."""
    for name in ("FRAME_SECONDS", "DETAIL_SECONDS", "KEEP_SECONDS"):
        monkeypatch.setattr(vaekit.lab.clock, name, 0.0)
    monkeypatch.setattr(vaekit.lab.clock, "FRAME_SHARE", 1e9)
    lab = labs(model=make_model())
    lab.engine.heartbeat()
    lab.play()
    for changes in ({"beta": 4.0}, {"prior": False}, {"lr": 5e-4, "prior": True}):
        wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 5)
        look_hard(lab)
        lab.set(**changes)
    wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 5)
    lab.pause()
    assert lab.view.sides[0].number > 20
    run = lab.engine.run
    assert len(run.recording.events) == 3
    assert same_bits(weights(lab.model), plain_loop(make_model(), run.sets, run.recording, run.number))


def test_2_looking_leaves_every_part_of_the_model_in_its_mode(labs):
    lab = labs(model=Normed())
    look_hard(lab)
    lab.pause()
    assert [name for name, part in lab.model.named_modules() if not part.training] == ["encoder.3"]
    assert all(p.grad is None for p in lab.model.parameters())


def test_2_nothing_is_drawn_from_the_generators_that_others_use(labs):
    lab = labs()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    lab.run(3)
    look_hard(lab, picture=True)
    lab.pause()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all() and random.getstate() == before[2]


def test_2_the_seed_decides_alone(labs):
    ends = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(ends))
        ends.append(weights(labs(seed=seed).run(4).model))
    assert same_bits(ends[0], ends[1]) and not same_bits(ends[0], ends[2])


# -- 3. A knob acts at the very next step -----------------------------------------------------------------


def test_3_turned_while_it_plays_a_knob_acts_at_the_step_it_is_recorded_with(labs):
    lab = labs()
    seen, run = [], lab.engine.run
    advance = run.advance
    run.advance = lambda: seen.append(advance()) or seen[-1]
    lab.play()
    for beta in (2.0, 3.0, 4.0):
        wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 3)
        lab.set(beta=beta)
    wait_for(lambda now=lab.steps_taken: lab.steps_taken > now + 3)
    lab.pause()
    turned = [(b.number, b.knobs.beta) for a, b in zip(seen, seen[1:], strict=False) if a.knobs != b.knobs]
    assert turned == [(number, changes["beta"]) for number, changes in run.recording.events]
    assert [beta for _, beta in turned] == [2.0, 3.0, 4.0]


# -- 4. Nats, and an honest β -----------------------------------------------------------------------------


def one_step(beta: float, prior: bool = True, kind: str = "bernoulli") -> tuple[Step, nn.Module]:
    model = small_vae(latent_dim=3)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    knobs = vaekit.Knobs(beta, prior, lr=1e-4)
    batch = {"optimizer": optimizer, "kind": kind, "generator": torch.Generator().manual_seed(0)}
    return next(vaekit.train(model, some_digits(300).images, knobs, **batch)), model


def by_hand(kind: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """The same batch and ε through torch.distributions: −log p(x|z) and KL, summed, then averaged over the batch."""
    model, generator = small_vae(latent_dim=3), torch.Generator().manual_seed(0)
    x = some_digits(300).images[torch.randperm(300, generator=generator)[:128]].float() / 255
    mu, logvar = model.encode(x)
    q = torch.distributions.Normal(mu, logvar.exp().sqrt())
    x_logits = model.decode(mu + q.stddev * torch.randn(mu.shape, generator=generator))
    if kind == "bernoulli":
        p = torch.distributions.Bernoulli(logits=x_logits, validate_args=False)  # grey pixels
    else:
        p = torch.distributions.Normal(x_logits.sigmoid(), 0.5**0.5)
    nll = -p.log_prob(x).sum((1, 2, 3)).mean()
    return model, nll, torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(0)


@pytest.mark.parametrize("beta", [0.01, 1.0, 40.0])
def test_4_beta_is_what_the_loss_and_its_gradient_are_weighted_with(beta):
    """The effective β by a finite difference of the loss, and by the step that the weights take."""
    low, high = one_step(0.5 * beta)[0], one_step(1.5 * beta)[0]
    assert float(high.loss - low.loss) == pytest.approx(beta * float(high.kl.sum()), rel=1e-2, abs=1e-4)

    _, moved = one_step(beta)
    model, nll, kl = by_hand("bernoulli")
    (nll + beta * kl.sum()).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(moved.get_parameter(name), p.detach() - 1e-4 * p.grad, rtol=1e-4, atol=1e-7)


def test_4_prior_off_is_beta_zero():
    (off, at_off), (zero, at_zero) = one_step(50.0, prior=False), one_step(0.0)
    assert off.loss == off.reconstruction == zero.loss and off.kl.sum() > 0
    assert same_bits(weights(at_off), weights(at_zero))


def test_4_the_page_is_told_the_beta_that_acts(labs):
    lab = labs(beta=30.0)
    assert lab.view.sides[0].last.beta == 30
    lab.set(prior=False)
    lab.run(1)
    assert lab.view.sides[0].last.beta == 0


# -- 5. logvar is log σ² ----------------------------------------------------------------------------------


def test_5_the_draws_of_reparameterize_have_the_kl_of_kl_to_prior():
    """From draws alone: their mean and variance, through the textbook's formula, against kl_to_prior."""
    mu = torch.tensor([[-2.0, 0.0, 0.5, 1.0]], dtype=torch.float64)
    logvar = torch.tensor([[-3.0, 0.0, 1.5, -0.7]], dtype=torch.float64)
    n = 400_000
    z = vaekit.reparameterize(mu.expand(n, -1), logvar.expand(n, -1), torch.Generator().manual_seed(0))
    m, var = z.mean(0), z.var(0)
    kl = 0.5 * (m.square() + var - 1 - var.log())
    torch.testing.assert_close(vaekit.kl_to_prior(mu, logvar)[0], kl, rtol=0, atol=0.02)


def test_5_the_plane_shows_sigma(labs):
    lab = labs()
    x = lab.engine.run.images[:100].float() / 255
    _, logvar = lab.model.encode(x)
    np.testing.assert_allclose(lab.view.sides[0].last.std, logvar.exp().sqrt().detach().numpy(), rtol=1e-5)


# -- 6. Nothing is lost -----------------------------------------------------------------------------------

BROKEN = pytest.warns(UserWarning, match="not a number any more|exploded")


def never_failed(lab, steps: int, make_model=small_vae) -> dict:
    return plain_loop(make_model(), lab.engine.run.sets, lab.engine.run.recording, steps)


@pytest.mark.parametrize("kept", [0.0, 1000.0], ids=["snapshots at every digest", "only the first snapshot"])
def test_6_nan_pauses_at_the_last_good_step_and_the_run_can_go_on(monkeypatch, labs, kept):
    monkeypatch.setattr(vaekit.lab.clock, "KEEP_SECONDS", kept)
    lab = labs()
    lab.run(20)
    lab.set(beta=2.0)  # a knob between the snapshot and the fault
    lab.run(6)
    good = weights(lab.model)
    lab.set(lr=1e6)
    with BROKEN:
        lab.run(50)
    assert lab.steps_taken == 26 and not lab.playing
    assert same_bits(weights(lab.model), good)
    assert "Paused at step 26" in lab.error and "\n" not in lab.error and "1e+06" in lab.error
    assert lab.view.plane.message == lab.error
    assert lab.settings["lr"] == 1e6  # the learner sees where it stood, and turns it back
    assert lab.engine.history.array()[-1, 0] == 26
    lab.set(lr=1e-3)
    lab.run(14)
    assert lab.error is None and lab.steps_taken == 40
    assert lab.engine.run.recording.events == [(21, {"beta": 2.0}), (27, {"lr": 1e-3})]
    assert same_bits(weights(lab.model), never_failed(lab, 40))


@pytest.mark.parametrize("first", [1, 2, 60])
def test_6_nan_from_the_first_step_on(labs, first):
    """Paused at step 0, after one step (whose loss was still a number), and in one go."""
    lab = labs(lr=1e6)
    beginning = weights(lab.model)
    if first < 60:
        lab.run(1)
    with BROKEN:
        lab.run(60)
    assert lab.steps_taken == 0 and same_bits(weights(lab.model), beginning)
    lab.set(lr=1e-3)
    lab.run(5)
    assert same_bits(weights(lab.model), never_failed(lab, 5))


@pytest.mark.parametrize("call", [1, 2, 14])
def test_6_an_exception_in_a_step_pauses_at_the_step_before(labs, call):
    lab = labs(model=Flaky(call))
    with pytest.warns(UserWarning, match="a cable came loose"):
        lab.run(30)
    assert lab.steps_taken == call - 1
    assert lab.error == (
        f"Step {call} failed (RuntimeError: a cable came loose). Paused at step {call - 1}, the last good one. "
        "Press play to try again."
    )
    assert same_bits(weights(lab.model), never_failed(lab, call - 1))
    lab.run(20)
    assert lab.error is None
    assert same_bits(weights(lab.model), never_failed(lab, call + 19))


def test_6_a_model_that_raises_where_another_ones_loss_is_nan_goes_back_to_good_weights(labs):
    class Strict(vaekit.VAE):
        def forward(self, x, generator=None):
            mu, logvar = self.encode(x)
            z = torch.distributions.Normal(mu, torch.exp(0.5 * logvar), validate_args=True).loc  # raises on NaN
            return self.decode(z), mu, logvar

    def make_model():
        return Strict(2, 16, init_generator=torch.Generator().manual_seed(0))

    lab = labs(model=make_model())
    lab.run(10)
    # as if step 10's gradient had not been a number
    lab.engine.post(lambda: lab.model.encoder.mu.bias.data.fill_(torch.nan)).result()
    with pytest.warns(UserWarning, match="Step 11 failed"):
        lab.run(10)
    assert all(weight.isfinite().all() for weight in lab.model.parameters())
    lab.run(10)
    assert same_bits(weights(lab.model), never_failed(lab, lab.steps_taken, make_model))


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
    assert same_bits(weights(lab.model), never_failed(lab, at))
    lab.run(5)
    assert same_bits(weights(lab.model), never_failed(lab, at + 5))
