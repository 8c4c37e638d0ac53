"""Two Gaussians that one drags, and the KL between them, in both directions."""

import math
import threading
from collections.abc import Callable

import anywidget
import torch
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.distributions import Normal

from vaekit.lab.page import STATIC, STYLE, script
from vaekit.messages import one_line, shown
from vaekit.plotting import BLUE, ORANGE
from vaekit.stills import as_bundle, png

MU, SIGMA = (-3, 3), (0.1, 3)  # the limits; static/gaussians.js has them too
REACH = 6.5  # the pictures go from -REACH to REACH
LOOKS = (("q", "p", BLUE, "-"), ("p", "q", ORANGE, "--"))
UNKNOWN = "—"


class Page(anywidget.AnyWidget):
    """What the page is sent: `at` is set by the page or the kernel, `answer` by the kernel alone."""

    _esm = script("gaussians")
    _css = STYLE + (STATIC / "gaussians.css").read_text(encoding="utf-8")
    at = traitlets.List(traitlets.Float(), minlen=4, maxlen=4).tag(sync=True)  # μ, σ of q, μ, σ of p
    answer = traitlets.Dict({}).tag(sync=True)  # {at, rows: [[exact, by draws]] of KL(q‖p) and KL(p‖q), message}


class TwoGaussians:
    """Two normal densities, q and p, to be dragged, and what `exact` and `estimate` say of them, in nats.

    exact(q, p): KL(q ‖ p), a number. estimate(q, p): the same by draws, (mean, standard error). Both are asked at
    each move, for both directions, with torch.distributions.Normal; one that fails is shown as a line.
    q, p: (mu, sigma), mu from -3 to 3, sigma from 0.1 to 3; to be set later as well.
    Raises TypeError or ValueError, in one line, when one of them is none of these.
    """

    def __init__(self, exact: Callable, estimate: Callable, q=(1.0, 0.5), p=(0.0, 1.0)):
        for name, function in (("exact", exact), ("estimate", estimate)):
            if not callable(function):
                raise TypeError(f"{name} must be a function of q and p, two Normal; not {shown(function)}")
        self.exact, self.estimate = exact, estimate
        self._lock = threading.RLock()  # a page's callbacks may come on several threads
        self.widget = Page(at=[*_checked("q", q), *_checked("p", p)])
        self.widget.observe(lambda _: self._answer(), "at")
        self._answer()

    @property
    def q(self) -> tuple[float, float]:
        """(mu, sigma) as it stands."""
        return tuple(self.widget.at[:2])

    @q.setter
    def q(self, value) -> None:
        with self._lock:
            self.widget.at = [*_checked("q", value), *self.p]

    @property
    def p(self) -> tuple[float, float]:
        """(mu, sigma) as it stands."""
        return tuple(self.widget.at[2:])

    @p.setter
    def p(self, value) -> None:
        with self._lock:
            self.widget.at = [*self.q, *_checked("p", value)]

    def _answer(self) -> None:
        """To the page: what the two functions say of the curves as they are now, and of which curves they say it."""
        with self._lock:
            at = list(self.widget.at)
            if self.widget.answer.get("at") == at:
                return  # while this one waited, another call has answered for both
            rows, messages = [], []
            q, p = _normal(at[:2]), _normal(at[2:])
            for pair in ((q, p), (p, q)):
                exact = _said(self.exact, pair, _number, messages)
                rows.append([exact, _said(self.estimate, pair, _with_error, messages)])
            self.widget.answer = {"at": at, "rows": rows, "message": next(iter(messages), "")}

    def figure(self) -> Figure:
        """A still picture: the densities, and the curves whose areas are the two KLs."""
        figure = Figure(figsize=(11, 4.6), dpi=80, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        z, pair = torch.linspace(-REACH, REACH, 1301), {"q": _normal(self.q), "p": _normal(self.p)}
        for name, other, colour, dash in LOOKS:
            density = pair[name].log_prob(z).exp()
            weighted = density * (pair[name].log_prob(z) - pair[other].log_prob(z))
            label = f"{name} = N({pair[name].mean:.2f}, {pair[name].stddev:.2f}²)"
            for ax, values, words in ((left, density, label), (right, weighted, f"KL({name} ‖ {other})")):
                ax.plot(z, values, color=colour, ls=dash, lw=2.5, label=words)
                ax.fill_between(z, values, color=colour, alpha=0.2, lw=0)
        left.set(xlabel="z", ylabel="density")
        right.set(xlabel="z", ylabel="extra surprise × density, nats")
        for ax in (left, right):
            ax.legend(fontsize=11)
        figure.suptitle(self._in_words(), fontsize=13)
        return figure

    def _in_words(self) -> str:
        answer = self.widget.answer
        lines = [
            f"KL({name} ‖ {other}) = {exact} nats; by draws from {name}: {draws}"
            for (name, other, *_), (exact, draws) in zip(LOOKS, answer["rows"], strict=True)
        ]
        return "\n".join([*lines, answer["message"]] if answer["message"] else lines)

    def _repr_mimebundle_(self, **_):
        alt = f"The densities of q and p, and the curves whose areas are the KLs. {self._in_words()}"
        bundle = as_bundle(self.widget, text=repr(self), png=png(self.figure()))
        return bundle, {"image/png": {"alt": alt.replace("\n", "; ")}}

    def __repr__(self) -> str:
        (mu_q, std_q), (mu_p, std_p) = self.q, self.p
        return f"TwoGaussians(q=({mu_q:g}, {std_q:g}), p=({mu_p:g}, {std_p:g}))"


def _checked(name: str, value) -> tuple[float, float]:
    wanted = f"{name} must be (mu, sigma), mu from {MU[0]} to {MU[1]} and sigma from {SIGMA[0]} to {SIGMA[1]}"
    if not isinstance(value, tuple | list) or len(value) != 2 or any(isinstance(it, str | bool) for it in value):
        raise TypeError(f"{wanted}; not {shown(value)}")
    try:
        mu, sigma = map(float, value)
    except (TypeError, ValueError):
        raise TypeError(f"{wanted}; not {shown(value)}") from None
    if not (MU[0] <= mu <= MU[1] and SIGMA[0] <= sigma <= SIGMA[1]):
        raise ValueError(f"{wanted}; not {shown(value)}")
    return mu, sigma


def _normal(at) -> Normal:
    mu, sigma = at
    return Normal(torch.tensor(float(mu)), torch.tensor(float(sigma)))


def _said(function: Callable, pair: tuple[Normal, Normal], in_words: Callable, messages: list[str]) -> str:
    """What a learner's function returns, in words; a dash and one more message where it fails."""
    try:
        return in_words(function(*pair))
    except Exception as error:
        name = getattr(function, "__name__", type(function).__name__)
        messages.append(f"{name}(q, p) does not work yet ({one_line(error)}).")
        return UNKNOWN


def _number(value) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"it must return one number, not {shown(value)}") from None
    if not math.isfinite(number):
        return "not a number" if math.isnan(number) else "∞" if number > 0 else "−∞"
    digits = 3 if abs(number) < 100 else 1
    return f"{round(number, digits) + 0.0:,.{digits}f}".replace("-", "−")  # + 0.0: no "−0.000"


def _with_error(value) -> str:
    try:
        mean, error = value
    except (TypeError, ValueError):
        raise TypeError(f"it must return a mean and its standard error, not {shown(value)}") from None
    return f"{_number(mean)} ± {_number(error)}"
