"""Two Gaussians on sliders: what is said of them, what is refused, and the picture."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import Normal, kl_divergence

from vaekit.lab.gaussians import TwoGaussians


def exact(q, p):
    ratio = q.variance / p.variance
    return 0.5 * (ratio + (q.mean - p.mean) ** 2 / p.variance - 1 - ratio.log()).item()


def estimate(q, p, n=5000):
    z = q.mean + q.stddev * torch.randn(n, generator=torch.Generator().manual_seed(0))
    extra = q.log_prob(z) - p.log_prob(z)
    return extra.mean().item(), extra.std().item() / n**0.5


def numbers(line: str) -> list[float]:
    """Of a line in words: the exact value, the mean by draws and its standard error."""
    plain = line.replace("−", "-").replace(",", "")
    return [float(word) for word in plain.replace(":", " ").split() if word.strip("-.").replace(".", "").isdigit()]


def reference(q, p) -> float:
    q, p = (Normal(torch.tensor(mu, dtype=torch.double), sigma) for mu, sigma in (q, p))
    return kl_divergence(q, p).item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("q", "p"), [((1.0, 0.5), (0.0, 1.0)), ((-3.0, 0.1), (3.0, 3.0)), ((3.0, 0.1), (-3.0, 0.1)), ((0.25, 1.5),) * 2]
)
def test_both_directions_are_said_as_they_are(q, p):
    two = TwoGaussians(exact, estimate)
    two.q, two.p = q, p
    assert (two.q, two.p) == (q, p) and len(two.lines) == 2
    for line, of, true in zip(two.lines, ("q ‖ p", "p ‖ q"), (reference(q, p), reference(p, q)), strict=True):
        said, mean, error = numbers(line)
        assert line.startswith(f"KL({of}) = ") and said == pytest.approx(true, abs=6e-4, rel=1e-6)
        assert abs(mean - true) < 4 * error + 0.001


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


BAD = [*[(3.1, 1), (-4, 1), (0, 0.05), (0, -1), (0, 3.5), (float("nan"), 1), (0, float("inf"))]]
NONE = [1.0, "12", ("0", "1"), (0,), (0, 1, 2), None, (True, 1), (0, None), {0: 1}]


@pytest.mark.slow
def test_what_are_no_mu_and_sigma_is_one_line(refuses):
    two = TwoGaussians(exact, estimate)
    for value, error in [(it, ValueError) for it in BAD] + [(it, TypeError) for it in NONE]:
        for name in "qp":
            wanted = rf"^{name} must be \(mu, sigma\), mu from -3 to 3 and sigma from 0.1 to 3; not "
            with refuses(error, wanted):
                setattr(two, name, value)
            with refuses(error, wanted):
                TwoGaussians(exact, estimate, **{name: value})
    assert (two.q, two.p) == ((1, 0.5), (0, 1))
    with refuses(TypeError, "^exact must be a function of q and p, two Normal; not 3$"):
        TwoGaussians(3, estimate)


def broken(q, p):
    raise ZeroDivisionError("no, not <b>\nand more")


@pytest.mark.slow
@pytest.mark.parametrize("functions", [(broken, estimate), (exact, broken), (lambda q, p: None, estimate)])
def test_a_function_that_fails_is_one_line_and_mends(functions):
    two = TwoGaussians(*functions, (1, 1), (1, 1))
    *lines, message = two.lines
    assert "—" in lines[0] and "does not work yet (" in message and "\n" not in message and "<b>" not in two.words.value
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
    picture = np.asarray(Image.open(io.BytesIO(data["image/png"])).convert("RGB")).astype(int)
    for colour in ((0x0B, 0x57, 0xD0), (0xB3, 0x47, 0x0B)):
        assert (np.abs(picture - colour).max(axis=2) < 12).sum() > 300
    assert all(line in metadata["image/png"]["alt"] for line in two.lines)
