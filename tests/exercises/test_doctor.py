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
    pytest.param(
        exercise,
        code,
        wrong,
        id=f"{exercise}-{code}-{i}",
        marks=[pytest.mark.slow] * (i > 0 or (exercise, code) in SLOW),
    )
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
    ("reparameterize", m.with_noise(lambda mu: m.ONE_ROW), ("noise_reused", "noise_shared")),
    ("reparameterize", lambda mu, logvar: mu + logvar.exp() * m.FIXED, ("exp_logvar_as_std", "noise_reused")),
    ("reparameterize", m.with_noise(lambda mu: torch.randn(1)), ("noise_shared", "broadcast")),
    ("reparameterize", lambda mu, logvar: mu + logvar.exp(), ("exp_logvar_as_std", "noise_missing")),
    ("step", m.step_with(m.LOSS["sum_over_batch"][0], zero=False), ("sum_over_batch", "zero_grad_missing")),
    (
        "step",
        m.step_with(m.LOSS["mean_over_pixels"][0], forward=m.forward_with(m.NOISE["exp_logvar_as_std"][0])),
        ("exp_logvar_as_std", "mean_over_pixels"),
    ),
    ("model", with_methods(forward=m.upside_down), ("noise_missing", "noise_at_eval")),
    (
        "model",
        with_methods(forward=m.forward_with(m.seeded), decode=lambda self, z: self.decoder(z).sigmoid()),
        ("noise_reused", "logits_as_probabilities"),
    ),
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
    ("loss", "gradient_cut", None),
    ("reparameterize", "noise_missing", None),
]


@pytest.mark.parametrize(("exercise", "code", "beta"), BETAS)
def test_the_effective_beta(exercise, code, beta):
    found = diagnose(**{exercise: m.TABLE[exercise][code][0]}).effective_beta
    assert found == (None if beta is None else pytest.approx(beta, rel=1e-5))


DECLARED = [
    ("kl", m.KL["wrong_shape"][0], "none", 1),
    ("kl", m.KL["sum_over_batch"][0], "sum over batch", 5),
    ("reconstruction", m.bce, ("mean over batch", "mean over pixels"), 784),
    ("step", m.step_with(m.LOSS["sum_over_batch"][0]), "sum over batch", 1),
]


@pytest.mark.parametrize(("exercise", "function", "reduction", "beta"), DECLARED)
def test_a_declared_reduction_is_no_fault(exercise, function, reduction, beta):
    found = diagnose(**{exercise: function}, reduction=reduction)
    assert found.ok and not diagnose(**{exercise: function}).ok
    assert found.effective_beta == pytest.approx(beta, rel=1e-5)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"reconstruction": lambda x_logits, x: m.reconstruction(x_logits, (255 * x).round())}, "not compared with x"),
        ({"loss": lambda *given: -m.loss_with()(*given)}, "of the whole loss"),
        ({"step": m.backward_of(lambda loss, x: loss / 3)}, "0.3333 times"),
        ({"step": m.steps_first}, "the call before"),
        ({"model": with_methods(__init__=lambda self, config: config.latents)}, "gave 2 for config; where"),
    ],
)
def test_the_words_say_what_it_is(asked, words):
    (finding,) = diagnose(**asked).findings
    assert words in finding.words


@pytest.mark.parametrize("asked", [{"kl": m.KL["broadcast"][0]}, {"step": m.STEP["sign"][-1]}])
def test_evidence_that_shows_no_difference_is_not_shown(asked):
    for finding in diagnose(**asked).findings:
        assert not finding.came or finding.came != finding.expected


def test_a_draw_is_not_taken_for_a_constant():
    """One number, the same at every call: no constant that the learner wrote down, but a draw."""
    one_for_all = lambda mu: torch.randn(1, generator=torch.Generator().manual_seed(3))  # noqa: E731
    found = diagnose(reparameterize=lambda mu, logvar: mu + torch.exp(0.5 * logvar) * one_for_all(mu))
    assert found.faults == ("noise_reused", "noise_shared", "broadcast")


def test_a_model_is_watched_as_it_is():
    """No copy of it: its forward may be bound to it, and the noise kept in it from call to call."""

    class KeepsItsNoise(vaekit.VAE):
        def __init__(self):
            super().__init__(2, 8)
            self.forward = lambda x: self.with_noise_kept(x)

        def with_noise_kept(self, x):
            mu, logvar = self.encode(x)
            if getattr(self, "eps", x).shape != mu.shape:
                self.eps = torch.randn_like(mu)
            return self.decode(mu + torch.exp(0.5 * logvar) * self.eps), mu, logvar

    assert diagnose(model=KeepsItsNoise).faults == ("noise_reused",)


class OnlyForward(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = vaekit.VAE(2, 8)

    def forward(self, x):
        return self.inside(x)


def test_a_model_without_encode_is_no_open_gap_and_what_came_is_named():
    assert "It has no method `encode`." in diagnose(model=OnlyForward).text()
    assert "came a NoneType as logvar, 2 tensors" in diagnose(model=vaekit.Autoencoder).findings[0].words


def test_the_evidence_can_be_worked_out_by_hand():
    (finding,) = diagnose(kl=lambda mu, logvar: -m.kl(mu, logvar)).findings
    # μ = 0, σ = 2 twice: 2 · ½ (4 − 1 − ln 4) = 1.614; μ = (1, 0), σ = 1: ½
    assert "μ = (0, 0) and (1, 0), σ = (2, 2) and (1, 1)" in finding.input
    assert finding.came == "(-1.614, -0.5)"
    assert finding.expected == "(1.614, 0.5)"


@pytest.mark.parametrize("asked", [{}, {"kl": m.kl, "loss": m.kl}, {"elbo": m.kl}], ids=", ".join)
def test_a_call_that_makes_no_sense(refuses, asked):
    with refuses(TypeError, "exactly one of kl, reconstruction, reparameterize, loss, step, model"):
        diagnose(**asked)


@pytest.mark.parametrize("shape", [28, (28, 28), (1, 28, 0), (1, 28.5, 28), "digits"])
def test_a_shape_that_is_none(refuses, shape):
    with refuses(ValueError, "shape must be .C, H, W., whole numbers from 1 up"):
        diagnose(model=with_methods(), shape=shape)


@pytest.mark.parametrize("reduction", ["mean", ("none", "sum"), [3], 3, [["none"]]])
def test_an_unknown_reduction(refuses, reduction):
    with refuses(ValueError, "reduction must be among none, mean over batch"):
        diagnose(kl=m.kl, reduction=reduction)
