"""The loss doctor: each mistake by its name, two at once by both, and no alarm for right answers."""

import mistakes as m  # the file beside this one
import pytest
import torch
from lab_helpers import with_methods

import vaekit
from vaekit.exercises import diagnose

SLOW = {("loss", "unrecognized")}  # all pairs of rows of the table are tried
CASES = [
    # quick: the first way of each mistake
    pytest.param(exercise, code, wrong, marks=[pytest.mark.slow] * (i > 0 or (exercise, code) in SLOW))
    for exercise, table in m.TABLE.items()
    for code, ways in table.items()
    for i, wrong in enumerate(ways)
]


@pytest.mark.parametrize(("exercise", "code", "wrong"), CASES)
def test_each_mistake_by_its_name(exercise, code, wrong):
    assert diagnose(**{exercise: wrong}).faults == (code,)


def circulated(mu, logvar):
    """−½ Σ(σ + μ² − 1 − log σ): the formula in circulation, without its sum."""
    return -0.5 * ((logvar / 2).exp() + mu.square() - 1 - logvar / 2)


CIRCULATED = ("sign", "std_for_variance", "log_std_for_logvar")


def one_number(mu, logvar):
    """Always the same: no constant that the learner wrote down, but a draw."""
    return mu + m.std_of(logvar) * torch.randn(1, generator=torch.Generator().manual_seed(3))


PAIRS = [
    ("kl", lambda *given: circulated(*given).sum(1), CIRCULATED),
    ("kl", lambda *given: circulated(*given).mean(), ("wrong_shape", *CIRCULATED, "mean_over_latents")),
    ("kl", lambda mu, logvar: -m.kl(mu, logvar).sum(), ("sign", "sum_over_batch")),
    ("kl", lambda mu, logvar: 2 * m.kl(mu, logvar).detach(), ("missing_half", "gradient_cut")),
    ("reconstruction", m.bce, ("wrong_shape", "mean_over_pixels")),
    ("reconstruction", lambda x_logits, x: -m.raw_bce(x_logits, x), ("sign", "logits_as_probabilities")),
    ("loss", lambda *given: -m.loss_with()(*given).detach(), ("sign", "gradient_cut")),
    ("loss", lambda *given: m.LOSS["mean_over_pixels"][0](*given[:4], 1), ("mean_over_pixels", "beta_ignored")),
    ("loss", m.loss_with(m.KL["sign"][0], m.raw_bce), ("sign", "logits_as_probabilities")),
    ("reparameterize", lambda mu, logvar: m.Normal(mu, logvar.exp()).sample(), ("exp_logvar_as_std", "gradient_cut")),
    ("reparameterize", lambda mu, logvar: mu + m.std_of(logvar) * m.ONE_ROW, ("noise_reused", "noise_shared")),
    ("reparameterize", lambda mu, logvar: mu + logvar.exp() * m.FIXED, ("exp_logvar_as_std", "noise_reused")),
    ("reparameterize", lambda mu, logvar: mu + m.std_of(logvar) * torch.randn(1), ("noise_shared", "broadcast")),
    ("reparameterize", one_number, ("noise_reused", "noise_shared", "broadcast")),
    ("reparameterize", lambda mu, logvar: mu + logvar.exp(), ("exp_logvar_as_std", "noise_missing")),
    ("step", m.step_with(m.LOSS["sum_over_batch"][0], "back move"), ("sum_over_batch", "zero_grad_missing")),
]


@pytest.mark.parametrize(("exercise", "wrong", "codes"), PAIRS)
def test_two_mistakes_at_once_by_both_names(exercise, wrong, codes):
    assert diagnose(**{exercise: wrong}).faults == codes


BETAS = [
    ("kl", "sign", -1),
    ("kl", "mean_over_latents", 1 / 3),
    ("kl", "sum_over_batch", 5),
    ("kl", "std_for_variance", None),
    ("reconstruction", "mean_over_pixels", 784),
    ("loss", "sum_over_batch", 1),
    ("step", "mean_over_pixels", 784),
    ("loss", "beta_ignored", 1),
    ("loss", "gradient_cut", 0),
    ("reparameterize", "noise_missing", None),
]


@pytest.mark.parametrize(("exercise", "code", "beta"), BETAS)
def test_the_effective_beta(exercise, code, beta):
    found = diagnose(**{exercise: m.TABLE[exercise][code][0]}).effective_beta
    assert found == (None if beta is None else pytest.approx(beta, rel=1e-5))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"loss": lambda *given: -m.loss_with()(*given)}, "of the whole loss"),
        ({"kl": lambda mu, logvar: -m.kl(mu, logvar)}, "came out: (-2.421, -0.5, "),  # 3 · ½ (4 − 1 − ln 4), and ½
        ({"model": with_methods(__init__=lambda self, config: config.latents)}, "Learners(config=2)"),
        ({"model": torch.nn.Identity}, "'Identity' object has no attribute 'encode'"),
        ({"model": vaekit.Autoencoder}, "came out: Tensor, NoneType; should have: mu, logvar"),
    ],
)
def test_the_words_say_what_it_is(asked, words):
    assert words in diagnose(**asked).text()


@pytest.mark.parametrize("asked", [{"kl": m.KL["broadcast"][0]}, {"kl": m.KL["gradient_cut"][0]}])
def test_evidence_that_shows_no_difference_is_not_shown(asked):
    for finding in diagnose(**asked).findings:
        assert not finding.came or finding.came != finding.expected


@pytest.mark.parametrize("asked", [{}, {"kl": m.kl, "loss": m.kl}, {"elbo": m.kl}], ids=", ".join)
def test_a_call_that_makes_no_sense(refuses, asked):
    with refuses(TypeError, "exactly one of kl, reconstruction, loss, reparameterize, step, model"):
        diagnose(**asked)


@pytest.mark.parametrize("shape", [28, (28, 28), (1, 28, 0), (1, 28.5, 28), "digits"])
def test_a_shape_that_is_none(refuses, shape):
    with refuses(ValueError, "shape must be .C, H, W., whole numbers from 1 up"):
        diagnose(model=with_methods(), shape=shape)
