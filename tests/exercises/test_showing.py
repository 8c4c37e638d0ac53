"""How a verdict is shown: short and stable as text, in words and without colours as HTML, with hints and buttons."""

import re
import sys

import pytest
import torch

import vaekit
from vaekit.exercises import CODES, check, diagnose
from vaekit.exercises.diagnosis import WORDS


def kl(mu, logvar):
    return vaekit.kl_to_prior(mu, logvar).sum(1)


def test_the_text_is_short_and_always_the_same():
    assert repr(diagnose(kl=kl)) == "Diagnosis(kl: ok)"
    wrong = lambda mu, logvar: -2 * kl(mu, logvar)  # noqa: E731
    assert repr(diagnose(kl=wrong)) == repr(diagnose(kl=wrong)) == "Diagnosis(kl: sign, missing_half)"
    summary, sign, evidence, missing_half, beta = repr(check(kl=wrong)).splitlines()
    assert summary == "✗ kl: 2 mistakes found."
    assert sign == f"  sign: {WORDS['sign']['fact']} It is that of the whole KL."
    assert evidence.startswith("    input: 5 codes of 3, the first of μ = 0 and σ = 2, the second of μ = (1, 0, 0) and")
    assert "; came out: (-4.841, -1, " in evidence and "; should have: (2.421, 0.5, " in evidence
    assert missing_half == f"  missing_half: {WORDS['missing_half']['fact']}"
    assert beta == "  Effective β: -2 where β = 1 was meant (5 images of 28 × 28 pixels, 3 latents)."
    assert repr(check(kl=lambda mu, logvar: None)) == "○ kl: not started yet."
    assert repr(check(kl=kl)) == "✓ kl: right."


def test_every_code_has_words_and_two_hints():
    assert all(words["fact"] and len(words["hints"]) == 2 for words in WORDS.values())
    promised = """not_started raises timeout wrong_type wrong_shape sign missing_half std_for_variance
        log_std_for_logvar exp_logvar_as_std mean_over_pixels mean_over_latents sum_over_batch beta_ignored
        noise_missing noise_reused noise_shared noise_at_eval broadcast logits_as_probabilities softmax
        wrong_target gradient_cut"""
    assert set(promised.split()) <= set(CODES)


def test_the_page_has_the_mistake_the_evidence_and_no_colours():
    page = diagnose(kl=lambda mu, logvar: -kl(mu, logvar))._repr_html_()
    assert "A sign is flipped." in page
    assert "came out: (-2.421, -0.5, " in page
    assert "Effective β: -1 where" in page and "Effective" not in diagnose(kl=kl)._repr_html_()
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
    module = sys.modules[__name__]
    wrong, right = lambda mu, logvar: -right(mu, logvar), kl
    box = check(kl=kl).widget()  # as in a notebook: the name leads to what it means by then
    monkeypatch.setattr(module, "kl", wrong)
    page = press(box, "Check")
    assert "A sign is flipped." in page and WORDS["sign"]["hints"][0] not in page
    assert WORDS["sign"]["hints"][0] in press(box, "Hint") and WORDS["sign"]["hints"][1] in press(box, "Another hint")
    monkeypatch.setattr(module, "kl", right)
    assert "✓ kl: right." in press(box, "Check")


def test_a_name_that_means_something_else_is_not_followed():
    wrong = lambda mu, logvar: -kl(mu, logvar)  # noqa: E731
    wrong.__name__ = "kl"
    checked = check(kl=wrong)
    assert "sign" in repr(checked)
    assert "A sign is flipped." in press(checked.widget(), "Check")


def test_in_a_notebook_it_is_a_widget_and_without_a_kernel_words():
    assert '<div role="status"' in check(kl=kl).widget().children[1].value  # read aloud
    bundle, _ = check(kl=kl)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "✓ kl: right."
    assert "✓ kl: right." in bundle["text/html"]


def test_a_check_of_ones_own_has_one_button_that_asks_again():
    answers = iter([NotImplementedError(), "✓ right: 3 < 4"])

    def judge():
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    checked = check(judge)
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


@pytest.mark.parametrize("judge, asked", [("right", {}), (lambda: "right", {"kl": kl}), (kl, {}), (vaekit.VAE, {})])
def test_a_call_that_makes_no_sense_is_refused(refuses, judge, asked):
    with refuses(TypeError, "check\\(lambda: judge.*check\\(kl=kl"):
        check(judge, **asked)
