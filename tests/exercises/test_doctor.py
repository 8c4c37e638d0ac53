"""The loss doctor: each mistake by its name, two at once by both; and how its verdict is shown."""

import re
from unittest.mock import Mock

import mistakes as m  # the file beside this one
import pytest
import torch
from lab_helpers import with_methods

import vaekit
from vaekit.exercises import CODES, check, diagnose
from vaekit.exercises.diagnosis import WORDS

SLOW = {("loss", "unrecognized")}  # all pairs of rows of the table are tried
CASES = [
    # quick: the first way of each mistake
    pytest.param(exercise, code, wrong, marks=[pytest.mark.slow] * (i > 0 or (exercise, code) in SLOW))
    for exercise, table in m.TABLE.items()
    for code, ways in table.items()
    for i, wrong in enumerate(ways)
]


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "code", "wrong"), CASES)
def test_each_mistake_by_its_name(exercise, code, wrong):
    found = diagnose(**{exercise: wrong})
    assert found.faults == (code,)
    assert all(one.came != one.expected for one in found.findings if one.came)  # evidence that shows a difference


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
    ("step", m.step_with("back move", m.loss_by(m.LOSS["sum_over_batch"][0])), ("sum_over_batch", "zero_grad_missing")),
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
        ({"model": with_methods(__init__=lambda self, config: config.latents)}, "Learners(config=2)"),
        ({"model": torch.nn.Identity}, "'Identity' object has no attribute 'encode'"),
        ({"model": vaekit.Autoencoder}, "came out: Tensor, NoneType; should have: mu, logvar"),
    ],
)
def test_the_words_say_what_it_is(asked, words):
    assert words in diagnose(**asked).text()


@pytest.mark.parametrize("asked", [{}, {"kl": m.kl, "loss": m.kl}, {"elbo": m.kl}], ids=", ".join)
def test_a_call_that_makes_no_sense(refuses, asked):
    with refuses(TypeError, "exactly one of kl, reconstruction, loss, reparameterize, step, model"):
        diagnose(**asked)


@pytest.mark.parametrize("shape", [28, (28, 28), (1, 28, 0), (1, 28.5, 28), "digits"])
def test_a_shape_that_is_none(refuses, shape):
    with refuses(ValueError, "shape must be .C, H, W., whole numbers from 1 up"):
        diagnose(model=with_methods(), shape=shape)


def test_the_text_is_short_and_always_the_same():
    assert repr(diagnose(kl=m.kl)) == "Diagnosis(kl: ok)"
    wrong = lambda mu, logvar: -2 * m.kl(mu, logvar)  # noqa: E731
    assert repr(diagnose(kl=wrong)) == repr(diagnose(kl=wrong)) == "Diagnosis(kl: sign, missing_half)"
    summary, sign, evidence, missing_half, beta = repr(check(kl=wrong)).splitlines()
    assert summary == "✗ kl: 2 mistakes found."
    assert sign == f"  sign: {WORDS['sign']['fact']} It is that of the whole KL."
    assert evidence.startswith("    input: 5 codes of 3, the first of μ = 0 and σ = 2, the second of μ = (1, 0, 0) and")
    # −2 times 3 · ½ (4 − 1 − ln 4), and ½
    assert "; came out: (-4.841, -1, " in evidence and "; should have: (2.421, 0.5, " in evidence
    assert missing_half == f"  missing_half: {WORDS['missing_half']['fact']}"
    assert beta == "  Effective β: -2 where β = 1 was meant (5 images of 28 × 28 pixels, 3 latents)."
    assert repr(check(kl=lambda mu, logvar: None)) == "○ kl: not started yet."
    assert repr(check(kl=m.kl)) == "✓ kl: right."


def test_every_code_has_words_and_two_hints():
    assert all(words["fact"] and len(words["hints"]) == 2 for words in WORDS.values())
    assert {code for table in m.TABLE.values() for code in table} | {"timeout"} == set(CODES)


def test_the_page_has_the_mistake_the_evidence_and_no_colours():
    page = diagnose(kl=lambda mu, logvar: -m.kl(mu, logvar))._repr_html_()
    assert "A sign is flipped." in page
    assert "came out: (-2.421, -0.5, " in page
    assert "Effective β: -1 where" in page and "Effective" not in diagnose(kl=m.kl)._repr_html_()
    assert not re.search(r"color:|#[0-9a-f]{3}|rgb|background", page.replace("currentColor", ""))


def test_a_learners_words_are_no_markup():
    def wrong(mu, logvar):
        raise ValueError("<script>alert(1)</script>")

    page = diagnose(kl=wrong)._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page


def press(box, description: str) -> str:
    next(button for button in box.children[0].children if button.description == description).click()
    return box.children[1].value


def test_the_buttons_answer_and_follow_the_name(monkeypatch):
    wrong, right = lambda mu, logvar: -right(mu, logvar), m.kl
    box = check(kl=m.kl).widget()  # as in a notebook: the name leads to what it means by then
    monkeypatch.setattr(m, "kl", wrong)
    page = press(box, "Check")
    assert "A sign is flipped." in page and WORDS["sign"]["hints"][0] not in page
    assert WORDS["sign"]["hints"][0] in press(box, "Hint") and WORDS["sign"]["hints"][1] in press(box, "Another hint")
    monkeypatch.setattr(m, "kl", right)
    assert "✓ kl: right." in press(box, "Check")


def test_a_name_that_means_something_else_is_not_followed():
    wrong = lambda mu, logvar: -m.kl(mu, logvar)  # noqa: E731
    wrong.__name__ = "press"  # as a function above
    checked = check(kl=wrong)
    assert "sign" in repr(checked)
    assert "A sign is flipped." in press(checked.widget(), "Check")


def test_in_a_notebook_it_is_a_widget_and_without_a_kernel_words():
    assert '<div role="status"' in check(kl=m.kl).widget().children[1].value  # read aloud
    bundle, _ = check(kl=m.kl)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "✓ kl: right."
    assert "✓ kl: right." in bundle["text/html"]


def test_a_check_of_ones_own_has_one_button_that_asks_again():
    judge = Mock(side_effect=[NotImplementedError, "✓ right: 3 < 4"])
    checked = check(lambda: judge())
    assert repr(checked) == "○ not started yet." and not checked.passed
    box = checked.widget()
    assert [button.description for button in box.children[0].children] == ["Check"]
    assert "✓ right: 3 &lt; 4" in press(box, "Check") and checked.passed
    assert "✗ the check stops with StopIteration" in press(box, "Check")  # and the notebook goes on


@pytest.mark.parametrize(
    "use", [lambda z: z.shape, float, torch.as_tensor, lambda z: torch.allclose(z, z), lambda z: z[0], lambda z: z + 1]
)
def test_a_function_that_returns_nothing_is_asked_for_its_return(use):
    first, second = repr(check(lambda: use(None))).splitlines()
    assert first == "✗ nothing (None) came where a value is wanted: is a `return` missing?"
    assert second.startswith("  the check stops with ")  # where it is something else


@pytest.mark.parametrize("judge, asked", [("right", {}), (lambda: "right", {"kl": m.kl}), (m.kl, {}), (vaekit.VAE, {})])
def test_a_call_that_makes_no_sense_is_refused(refuses, judge, asked):
    with refuses(TypeError, "check\\(lambda: judge.*check\\(kl=kl"):
        check(judge, **asked)
