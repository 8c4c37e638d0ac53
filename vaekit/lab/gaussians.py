"""Two Gaussians on four sliders, and the KL between them, in both directions."""

import html
import threading
from collections.abc import Callable

import ipywidgets as widgets
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.distributions import Normal

from vaekit._checks import one_line, short_repr
from vaekit._pictures import as_bundle, png
from vaekit.plotting import BLUE, GREY, INK, ORANGE, PURPLE

LIMITS = {"μ": (-3, 3), "σ": (0.1, 3)}
REACH = 6.5  # the pictures go from -REACH to REACH
LEGEND = {"fontsize": 13, "loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "frameon": False}
LOOKS = (("q", "p", BLUE, "-"), ("p", "q", ORANGE, "--"))


class TwoGaussians:
    """Two normal densities, q and p, to be moved, and what `exact` and `estimate` say of them, in nats.

    exact(q, p): KL(q ‖ p), a number. estimate(q, p): the same by draws, (mean, standard error). Both are asked at
    each move, for both directions, with torch.distributions.Normal; one that fails is shown as a line.
    q, p: (mu, sigma), mu from -3 to 3, sigma from 0.1 to 3; to be set later as well.
    formula(q, p): another formula of KL(q ‖ p), to be tested: its curve over σ of q stands beside `exact`'s in place
    of the two areas, and only q is on sliders.
    Raises ValueError, in one line, when q or p is none of these.
    """

    def __init__(self, exact: Callable, estimate: Callable, q=(1.0, 0.5), p=(0.0, 1.0), *, formula=None):
        self.exact, self.estimate, self.formula = exact, estimate, formula
        self._lock = threading.RLock()  # a page's callbacks may come on several threads
        self.sliders = {name: [_slider(f"{what} of {name}", *LIMITS[what]) for what in LIMITS] for name in "qp"}
        self.q, self.p = q, p
        self.words, self.picture = widgets.HTML(), widgets.Image(layout={"max_width": "100%"})
        moved = "q" if formula else "qp"
        rows = [widgets.HBox(self.sliders[name], layout={"flex_flow": "row wrap"}) for name in moved]
        self.widget = widgets.VBox([*rows, self.words, self.picture])
        for slider in (*self.sliders["q"], *self.sliders["p"]):
            slider.observe(lambda _: self._show(), "value")
        self._show()

    q = property(lambda self: self._at("q"), lambda self, value: self._move("q", value), doc="(mu, sigma) of q.")
    p = property(lambda self: self._at("p"), lambda self, value: self._move("p", value), doc="(mu, sigma) of p.")

    def _at(self, name: str) -> tuple[float, float]:
        return tuple(slider.value for slider in self.sliders[name])

    def _move(self, name: str, value) -> None:
        try:
            mu, sigma = map(float, value)
            fits = -3 <= mu <= 3 and 0.1 <= sigma <= 3
        except (TypeError, ValueError):
            fits = False
        if not fits:
            wanted = "(mu, sigma), mu from -3 to 3 and sigma from 0.1 to 3"
            raise ValueError(f"{name} must be {wanted}; not {short_repr(value)}")
        self.sliders[name][0].value, self.sliders[name][1].value = mu, sigma

    def _show(self) -> None:
        """Show the curves as they are now, and what the functions say: a line each way, and one of what fails."""
        with self._lock:
            normals, self.lines, messages = self._normals(), [], []
            for name, other, *_ in LOOKS[:1] if self.formula else LOOKS:
                both = normals[name], normals[other]
                exact, draws = (_said(function, *both, messages) for function in (self.exact, self.estimate))
                self.lines.append(f"KL({name} ‖ {other}) = {exact} nats; by draws from {name}: {draws}")
            if self.formula:
                said = _said(self.formula, normals["q"], normals["p"], messages)
                self.lines.append(f"The formula says {said} nats.")
            self.lines += messages[:1]
            self.words.value = "<br>".join(map(html.escape, self.lines))
            self.picture.value = png(self.figure())

    def _normals(self) -> dict[str, Normal]:
        return {name: Normal(*map(torch.tensor, self._at(name))) for name in "qp"}

    def figure(self) -> Figure:
        """A still picture: the densities, and the curves whose areas are the two KLs, or both formulas over σ."""
        figure = Figure(figsize=(11, 4.2), dpi=80, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        z, normals = torch.linspace(-REACH, REACH, 1301), self._normals()
        for name, other, colour, dash in LOOKS:
            density = normals[name].log_prob(z).exp()
            surprise = density * (normals[name].log_prob(z) - normals[other].log_prob(z))
            label = f"{name} = N({normals[name].mean:.2f}, {normals[name].stddev:.2f}²)"
            panels = ((left, density, label), (right, surprise, f"KL({name} ‖ {other})"))
            for ax, values, words in panels[:1] if self.formula else panels:
                ax.plot(z, values, color=colour, ls=dash, lw=2.5, label=words)
                ax.fill_between(z, values, color=colour, alpha=0.2, lw=0)
                ax.legend(**LEGEND)
        left.set(xlabel="z", ylabel="density")
        right.set(xlabel="z", ylabel="extra surprise × density, nats")
        if self.formula:
            self._draw_formulas(right, normals["q"], normals["p"])
        return figure

    def _draw_formulas(self, ax, q: Normal, p: Normal) -> None:
        """Both formulas over σ of q, its μ as it is, and a dot where q is now; one that fails has no curve."""
        sigmas, now = torch.linspace(*LIMITS["σ"], 59), float(q.stddev)
        looks = ((self.exact, "KL(q ‖ p)", INK, "-"), (self.formula, "formula", PURPLE, "--"))
        for function, words, colour, dash in looks:
            try:
                values = [float(function(Normal(q.mean, sigma), p)) for sigma in (*sigmas, q.stddev)]
            except Exception:  # it is said in words
                continue
            ax.plot(sigmas, values[:-1], color=colour, ls=dash, lw=3, label=words)
            ax.plot(now, values[-1], "o", ms=11, color=colour)
        ax.axhline(0, color=GREY, lw=1)
        ax.set(xlabel=f"σ of q, at μ = {float(q.mean):.2f}", ylabel="nats", ylim=(-6, 8))
        ax.legend(**LEGEND)

    def _repr_mimebundle_(self, **_):
        right = "the KL and the formula over σ of q" if self.formula else "the curves whose areas are the KLs"
        alt = f"The densities of q and p, and {right}. {'; '.join(self.lines)}"
        return as_bundle(self.widget, alt, text=repr(self), png=bytes(self.picture.value))

    def __repr__(self) -> str:
        return "TwoGaussians(q=({:g}, {:g}), p=({:g}, {:g}))".format(*self.q, *self.p)


def _slider(name: str, low: float, high: float) -> widgets.FloatSlider:
    return widgets.FloatSlider(1, min=low, max=high, step=0.05, description=name, layout={"width": "400px"})


def _said(function: Callable, q: Normal, p: Normal, messages: list[str]) -> str:
    """What a learner's function returns, a number or a mean ± its error; a dash and a message where it fails."""
    try:
        value = function(q, p)
        numbers = [float(part) for part in (value if isinstance(value, tuple | list) else [value])]
    except Exception as error:
        name = getattr(function, "__name__", type(function).__name__)
        messages.append(f"{name}(q, p) does not work yet ({one_line(error)}).")
        return "—"
    return " ± ".join(f"{round(number, 3) + 0.0:,.3f}" for number in numbers).replace("-", "−")  # + 0.0: no −0.000
