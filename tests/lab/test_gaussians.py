"""Two Gaussians to drag: what the page is sent, what is refused, and the still picture."""

import io
import re
import threading

import numpy as np
import pytest
import torch
from lab_helpers import wait_for
from PIL import Image
from torch.distributions import Normal, kl_divergence

from vaekit.lab.gaussians import TwoGaussians

CASES = [
    ((1.0, 0.5), (0.0, 1.0)),
    ((0.0, 0.1), (0.0, 1.0)),
    ((-3.0, 0.1), (3.0, 3.0)),
    ((3.0, 0.1), (-3.0, 0.1)),
    ((0.25, 1.5), (0.25, 1.5)),
]


def exact(q, p):
    ratio = q.variance / p.variance
    return 0.5 * (ratio + (q.mean - p.mean) ** 2 / p.variance - 1 - ratio.log()).item()


def estimate(q, p, n=5000):
    z = q.mean + q.stddev * torch.randn(n, generator=torch.Generator().manual_seed(0))
    extra = q.log_prob(z) - p.log_prob(z)
    return extra.mean().item(), extra.std().item() / n**0.5


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def reference(q, p) -> float:
    q, p = (Normal(torch.tensor(mu, dtype=torch.double), sigma) for mu, sigma in (q, p))
    return kl_divergence(q, p).item()


@pytest.mark.parametrize(("q", "p"), CASES)
def test_the_page_is_sent_both_directions_and_of_which_curves_they_are(q, p):
    two = TwoGaussians(exact, estimate, q, p)
    answer = two.widget.answer
    assert answer["at"] == two.widget.at == [*q, *p] and answer["message"] == ""
    for (said, draws), true in zip(answer["rows"], (reference(q, p), reference(p, q)), strict=True):
        assert number(said) == pytest.approx(true, abs=6e-4 if true < 100 else 0.06, rel=1e-6)
        mean, error = map(number, draws.split(" ± "))
        assert abs(mean - true) < 4 * error + 0.001
        assert said[0] != "−" and draws[0] != "−" or true > 0


def test_a_move_in_the_page_is_answered():
    two = TwoGaussians(exact=exact, estimate=estimate)
    assert (two.q, two.p) == ((1.0, 0.5), (0.0, 1.0))
    two.widget.set_state({"at": [0, 0.1, 0, 1]})  # as a message from the page does
    assert two.widget.answer["at"] == [0, 0.1, 0, 1] and two.q == (0.0, 0.1)
    assert [row[0] for row in two.widget.answer["rows"]] == ["1.808", "47.197"]


def test_from_code_as_well():
    two = TwoGaussians(exact, estimate)
    two.q = two.p = [0.5, torch.tensor(2.0)]
    assert two.widget.answer == {"at": [0.5, 2, 0.5, 2], "rows": [["0.000", "0.000 ± 0.000"]] * 2, "message": ""}
    two.p = (-1, 0.25)
    assert repr(two) == "TwoGaussians(q=(0.5, 2), p=(-1, 0.25))"
    assert number(two.widget.answer["rows"][0][0]) == pytest.approx(reference((0.5, 2), (-1, 0.25)), abs=6e-4)


def test_the_functions_are_given_two_normals_q_first():
    asked = []
    TwoGaussians(lambda q, p: asked.append((q, p)) or 1, lambda q, p: (1, 1), (1, 0.5), (-2, 3))
    (q, p), swapped = asked
    assert [type(q), type(p)] == [Normal, Normal] and swapped == (p, q)
    assert [float(v) for v in (q.mean, q.stddev, p.mean, p.stddev)] == [1, 0.5, -2, 3]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        *[((3.1, 1), ValueError), ((-4, 1), ValueError), ((0, 0.05), ValueError), ((0, -1), ValueError)],
        *[((0, 3.5), ValueError), ((float("nan"), 1), ValueError), ((0, float("inf")), ValueError)],
        *[(1.0, TypeError), ("12", TypeError), (("0", "1"), TypeError), ((0,), TypeError), ((0, 1, 2), TypeError)],
        *[(None, TypeError), ((True, 1), TypeError), ((0, None), TypeError), ({0: 1}, TypeError)],
    ],
)
@pytest.mark.parametrize("name", ["q", "p"])
def test_what_are_no_mu_and_sigma_is_one_line(refuses, name, value, error):
    wanted = rf"^{name} must be \(mu, sigma\), mu from -3 to 3 and sigma from 0.1 to 3; not "
    two = TwoGaussians(exact, estimate)
    with refuses(error, wanted):
        setattr(two, name, value)
    with refuses(error, wanted):
        TwoGaussians(exact, estimate, **{name: value})
    assert two.widget.at == two.widget.answer["at"] == [1, 0.5, 0, 1]


def test_what_are_no_functions_is_one_line(refuses):
    with refuses(TypeError, "^exact must be a function of q and p, two Normal; not 3$"):
        TwoGaussians(3, estimate)
    with refuses(TypeError, "^estimate must be a function"):
        TwoGaussians(exact, None)


def broken(q, p):
    raise ZeroDivisionError("no, not this\nand more")


BROKEN = "broken(q, p) does not work yet (ZeroDivisionError: no, not this)."


@pytest.mark.parametrize(
    ("functions", "rows", "message"),
    [
        ((broken, estimate), ["—", "0.000 ± 0.000"], BROKEN),
        ((exact, broken), ["0.000", "—"], BROKEN),
        ((lambda q, p: None, estimate), ["—", "0.000 ± 0.000"], "TypeError: it must return one number, not None"),
        ((exact, exact), ["0.000", "—"], "TypeError: it must return a mean and its standard error, not 0.0"),
        ((exact, lambda q, p: (0, "a")), ["0.000", "—"], "TypeError: it must return one number, not 'a'"),
        ((lambda q, p: torch.zeros(3), estimate), ["—", "0.000 ± 0.000"], "it must return one number, not tensor"),
        ((lambda q: 0, estimate), ["—", "0.000 ± 0.000"], "takes 1 positional argument but 2 were given"),
    ],
)
def test_a_function_that_fails_is_one_line_and_nothing_breaks(functions, rows, message):
    two = TwoGaussians(*functions, (1, 1), (1, 1))
    assert two.widget.answer["rows"] == [rows, rows]
    assert message in two.widget.answer["message"] and "\n" not in two.widget.answer["message"]
    two._repr_mimebundle_()
    two.exact, two.estimate = exact, estimate
    two.q = (1, 0.1)
    assert two.widget.answer["message"] == "" and two.widget.answer["rows"][0][0] == "1.808"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(float("nan"), "not a number"), (float("inf"), "∞"), (-float("inf"), "−∞"), (-0.0001, "0.000")],
        *[(-1.25, "−1.250"), (99.9994, "99.999"), (1800.26, "1,800.3"), (torch.tensor([2.0]), "2.000")],
    ],
)
def test_numbers_in_words(value, text):
    assert TwoGaussians(lambda q, p: value, estimate).widget.answer["rows"][0][0] == text


def test_moves_do_not_pile_up_behind_a_slow_function():
    go_on, asked = threading.Event(), []
    go_on.set()

    def slow(q, p):
        asked.append((float(q.mean), float(p.mean)))
        go_on.wait(20)
        return float(q.mean)

    two = TwoGaussians(slow, estimate)
    go_on.clear()
    asked.clear()
    # as several threads of the kernel would set it; the first one is in `slow`, the others wait
    moves = [threading.Thread(target=setattr, args=(two.widget, "at", [i / 8, 1, 0, 1])) for i in range(2, 9)]
    for move in moves:
        move.start()
        wait_for(lambda: asked)
    wait_for(lambda: two.widget.at[0] == 1)
    go_on.set()
    for move in moves:
        move.join(20)
    assert asked == [(0.25, 0), (0, 0.25), (1, 0), (0, 1)]
    assert two.widget.answer["at"] == [1, 1, 0, 1] and two.widget.answer["rows"][0][0] == "1.000"


def test_where_no_widget_lives_there_is_a_picture():
    two = TwoGaussians(exact, estimate, (0, 0.1))
    data, metadata = two._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data and data["text/plain"] == repr(two)
    picture = np.asarray(Image.open(io.BytesIO(data["image/png"])).convert("RGB")).astype(int)
    for colour in ((0x0B, 0x57, 0xD0), (0xB3, 0x47, 0x0B)):
        assert (np.abs(picture - colour).max(axis=2) < 12).sum() > 300
    for words in ("KL(q ‖ p) = 1.808 nats; by draws from q: ", "KL(p ‖ q) = 47.197 nats"):
        assert words in metadata["image/png"]["alt"]


def area(line) -> float:
    return torch.trapezoid(*(torch.as_tensor(values) for values in (line.get_ydata(), line.get_xdata()))).item()


def test_the_still_picture_is_of_the_areas():
    left, right = TwoGaussians(exact, estimate).figure().axes
    for line, true in zip(right.lines, (reference((1, 0.5), (0, 1)), reference((0, 1), (1, 0.5))), strict=True):
        assert area(line) == pytest.approx(true, abs=2e-3)
    for line in left.lines:
        assert area(line) == pytest.approx(1, abs=1e-4)
    assert left.lines[0].get_linestyle() != left.lines[1].get_linestyle()


def test_the_limits_in_the_page_are_those_in_python():
    import vaekit.lab.gaussians as here

    limits = re.search(r"LIMITS = \{ μ: (\[.*?\]), σ: (\[.*?\]) \}", here.Page._esm).groups()
    assert [f"{list(it)}" for it in (here.MU, here.SIGMA)] == list(limits)
    assert f"REACH = {here.REACH};" in here.Page._esm
