"""Two Gaussians on sliders: what is said of them, what is refused, and the picture."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vaekit.lab.gaussians import TwoGaussians


def exact(q, p) -> float:
    return kl_divergence(q, p).item()


def estimate(q, p) -> tuple[float, float]:
    return kl_divergence(q, p).item() + 0.25, 0.5


def reference(q, p) -> float:
    return exact(*(Normal(torch.tensor(mu, dtype=torch.double), sigma) for mu, sigma in (q, p)))


@pytest.mark.slow
def test_a_slider_that_is_moved_in_the_page_is_answered():
    two = TwoGaussians(exact=exact, estimate=estimate)
    before = two.picture.value
    two.sliders["q"][0].set_state({"value": 0.0})  # as a message from the page does
    two.sliders["q"][1].set_state({"value": 0.1})
    assert two.q == (0.0, 0.1) and repr(two) == "TwoGaussians(q=(0, 0.1), p=(0, 1))"
    assert two.lines[0].startswith("KL(q ‖ p) = 1.808 nats; by draws from q: ") and "= 47.197 nats" in two.lines[1]
    assert two.words.value == "<br>".join(two.lines) and two.picture.value != before
    assert [slider.description for slider in two.sliders["p"]] == ["μ of p", "σ of p"]  # what a screen reader says
    assert [(slider.min, slider.max) for slider in two.sliders["p"]] == [(-3, 3), (0.1, 3)]


def test_what_are_no_mu_and_sigma_is_one_line(refuses):
    two = TwoGaussians(exact, estimate)
    wanted = r" must be \(mu, sigma\), mu from -3 to 3 and sigma from 0.1 to 3; not "
    for value in ((3.1, 1), (0, 0.05), (0, float("inf")), (0, float("nan")), 1.0, "ab", (0, 1, 2)):
        with refuses(ValueError, "^q" + wanted):
            two.q = value
        with refuses(ValueError, "^p" + wanted):
            TwoGaussians(exact, estimate, p=value)
    assert (two.q, two.p) == ((1, 0.5), (0, 1))


def broken(q, p):
    raise ZeroDivisionError("no, not <b>\nand more")


@pytest.mark.slow
def test_a_function_that_fails_is_one_line_and_mends():
    two = TwoGaussians(broken, lambda q, p: None, (1, 1), (1, 1))
    *lines, message = two.lines
    assert lines[0].count("—") == 2 and "does not work yet (" in message and "\n" not in message
    assert "<b>" not in two.words.value
    two.exact, two.estimate = exact, estimate
    two.q = (1, 0.1)
    assert len(two.lines) == 2 and "1.808" in two.lines[0]


def area(line) -> float:
    return torch.trapezoid(*(torch.as_tensor(values) for values in (line.get_ydata(), line.get_xdata()))).item()


@pytest.mark.slow
def test_the_picture_is_of_the_areas_and_stands_where_no_widget_lives():
    two = TwoGaussians(exact, estimate)
    left, right = two.figure().axes
    for line, true in zip(right.lines, (reference((1, 0.5), (0, 1)), reference((0, 1), (1, 0.5))), strict=True):
        assert area(line) == pytest.approx(true, abs=2e-3)
    assert [area(line) for line in left.lines] == pytest.approx([1, 1], abs=1e-4)
    data, metadata = two._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data and data["text/plain"] == repr(two)
    assert type(data["image/png"]) is bytes  # a memoryview would reach the notebook as numbers
    assert data["image/png"].startswith(b"\x89PNG")
    assert all(line in metadata["image/png"]["alt"] for line in two.lines)


@pytest.mark.slow
def test_a_formula_to_be_tested_has_its_curve_beside_the_exact_one():
    two = TwoGaussians(exact, estimate, q=(1, 2), formula=lambda q, p: -exact(q, p) / 2)
    true = reference((1, 2), (0, 1))
    assert [f"{true:.3f}" in two.lines[0], two.lines[1]] == [True, f"The formula says −{true / 2:.3f} nats."]
    right = two.figure().axes[1]
    kl, _, halved, dot, _ = right.lines
    assert (dot.get_xdata(), dot.get_ydata()) == (pytest.approx([2]), pytest.approx([-true / 2], abs=1e-5))
    for sigma, high, low in zip(kl.get_xdata(), kl.get_ydata(), halved.get_ydata(), strict=True):
        assert high == pytest.approx(reference((1, float(sigma)), (0, 1)), abs=1e-4) and low == -high / 2
    assert len(two.widget.children[:-2]) == 1, "q alone is on sliders"
    assert "the KL and the formula" in two._repr_mimebundle_()[1]["image/png"]["alt"]
    two.formula = broken
    two.q = (0, 1)
    assert "The formula says — nats." in two.lines and "does not work yet" in two.lines[-1]
    assert len(two.figure().axes[1].lines) == 3  # the exact curve, its dot, and the line at 0
