"""What a lab shows of its runs, and what its page asks of it."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from vaekit._checks import check_choice, check_number, check_whole, one_line
from vaekit._files import short_path
from vaekit._pictures import as_bundle, png
from vaekit.data import ImageSet
from vaekit.lab.controls import SOURCES
from vaekit.lab.drawing import SHAPE, check_strokes
from vaekit.lab.export import write_html
from vaekit.lab.meters import Measured
from vaekit.lab.mixture import fit
from vaekit.lab.page import Plane
from vaekit.lab.recipe import check_pair
from vaekit.lab.registry import check_kernel
from vaekit.lab.still import draw_still

TITLES = (("A variational autoencoder", "Two variational autoencoders"), ("An autoencoder", "Two autoencoders"))
TOO_LARGE = "MB, and a page can send 10: give fewer or smaller ones, or in a cell: lab.learn(vaekit.load_images(path))"


class LabRun:
    """A run of a lab as seen from Python: of a twin there are two, `lab.sides`."""

    def __init__(self, lab, number: int):
        self.engine, self.view, self.number = lab.engine, lab.view, number

    @property
    def settings(self) -> Mapping:
        """What acts on the next step: the knobs, kind and data. Read only: see LatentLab.set."""
        return self.engine.settings[self.number]

    @property
    def model(self) -> nn.Module:
        """The model itself. Pause before you read its weights."""
        return self.engine.runs[self.number].model

    @property
    def measured(self) -> Measured:
        """What the meters showed last, as numbers."""
        return self.view.sides[self.number].meters.measured

    @property
    def plane(self) -> Plane:
        """What the page shows of this run, read only: its traits, such as noise, factor, chosen, aggregated, scrub."""
        return self.view.sides[self.number].plane


class Display(LabRun):
    """The part of a lab that shows its runs, on the page and elsewhere, and answers what the page asks."""

    def new_digits(self, shown: bool = True, source: str = "prior") -> None:
        """Show twenty new images, decoded from draws of the prior, which follow the training; each call draws anew.

        source: "prior", or "mixture", thirty Gaussians fitted to the codes as they are now; that takes seconds, in a
        thread of its own, and scikit-learn.
        """
        wanted = bool(shown), check_choice("source", source, SOURCES.values())
        self.engine.ask("show_new", wanted, self._fit)

    def _fit(self, codes: list, images: ImageSet) -> None:
        try:
            mixtures = [fit(some, self.engine.run.seed) for some in codes]
            said = "New digits from a mixture of Gaussians, fitted to the codes as they were."
        except Exception as error:
            mixtures, said = None, f"No mixture could be fitted ({one_line(error)})."
        self.engine.ask("show_fitted", mixtures, images, said)

    def choose(self, index: int) -> None:
        """Show this image of the plane in full, as a click on its dot does.

        Raises ValueError when index is no whole number below the number of images in the plane.
        """
        index = check_whole("index", index, 0, len(self.view.sides[0].images) - 1)
        self.engine.ask("choose", index).result()

    def add_noise(self, sigma: float) -> None:
        """Show what an autoencoder's codes + sigma · ε decode to; 0: no noise. Its training does not see it.

        Raises TypeError or ValueError when sigma is no number from 0 up, or the model has a σ of its own.
        """
        sigma = check_number("sigma", sigma, "a finite number from 0 up", lambda sigma: sigma >= 0)
        if not self.view.plane.autoencoder:
            raise ValueError("noise is added to an autoencoder's codes; this model has a σ of its own")
        self._put("noise", sigma)

    def turn_code(self, degrees: float) -> None:
        """Turn the code in the shown plane by 0 to 90 degrees: z′ = R z, and the decoder turns it back.

        Images, prior, KL and reconstruction do not change, and training does not see it: its axes do, and what is
        measured and shown along them. Raises TypeError or ValueError when it is another number.
        """
        self._put("turn", check_number("degrees", degrees, "a number from 0 to 90", lambda turn: 0 <= turn <= 90))

    def show_posterior(self, shown: bool = True) -> None:
        """Show the true posterior p(z|x) of the chosen image under its ellipses, while the run rests.

        Its contours hold as much of it as the ellipses of σ and 2 σ hold of q(z|x): 39 and 86 %.
        Raises ValueError when the model has more than two latent dimensions, or is an autoencoder.
        """
        side = self.view.sides[0]
        if side.latent_dim != 2 or side.plane.autoencoder:
            raise ValueError("the true posterior is shown of a VAE with two latent dimensions: use latent_dim=2")
        self._put("with_posterior", shown)

    def colour_by(self, factor: str = "") -> None:
        """Colour the dots by a factor that the images were drawn from, such as "smile" of `faces`; "": by class."""
        self._put("factor", check_choice("factor", factor, ["", *self.view.sides[0].factors]))

    def show_pair(self, pair: tuple[int, int] | None) -> None:
        """Show these two latent dimensions in the plane; None: the two that say most now, else the first."""
        self.engine.ask("show_pair", check_pair(pair, self.view.sides[0].latent_dim))

    def draw(self, strokes) -> "Display":
        """Draw a digit on the lab's pad, from code: strokes, each a list of points (x, y) in 0..1. Returns the lab.

        Raises TypeError or ValueError, in one line, when they are none, or the lab's images are no such digits.
        """
        strokes = check_strokes(strokes)
        if why := self.why_no_pad():
            raise ValueError(why)
        self.view.plane.pad = True
        self._put("strokes", strokes)
        return self

    def why_no_pad(self) -> str:
        """Why nothing can be drawn here, in one line; empty when it can."""
        c, h, w = self.view.plane.shape
        return "" if (c, h, w) == SHAPE else f"a pad needs grey images of 28 × 28; these are {c} × {h} × {w}"

    def _put(self, trait: str, value) -> None:
        """Set a trait of the plane, as a control does, and wait until what hangs on it is shown."""
        setattr(self.view.plane, trait, value)
        self.engine.post(lambda: None).result()

    def export_html(self, path: str | Path) -> Path:
        """Write the run so far as one HTML file, to scrub through and to drag in; it asks for nothing from anywhere.

        Returns the path. Raises OSError, in one line, when it cannot be written there.
        """
        return self.engine.post(lambda: self._export(path), report=False).result()

    def _export(self, path: str | Path) -> Path:
        self.view.frame(self.engine, whole=True)  # a run that plays unseen has not been looked at for long
        self.view.details(self.engine)
        self.view.status(self.engine)
        one, two = TITLES[self.plane.autoencoder]
        what = two if len(self.sides) == 2 else one
        title = f"{what} in training: {self.settings['data'].lower()}, {self.steps_taken:,} steps"
        return write_html(path, self.view, title)

    def figure(self):
        """Return a still picture of the lab as it is, a matplotlib Figure: plane, curves and meters."""
        return self.engine.post(lambda: draw_still(self.view), report=False).result()

    def _repr_mimebundle_(self, **_):
        self.say(check_kernel())
        return as_bundle(self.widget, text=repr(self), png=png(self.figure()))

    def __repr__(self) -> str:
        twin = "twin, " if len(self.sides) == 2 else ""
        return f"LatentLab({twin}{self.settings['data']}, step {self.steps_taken})"

    # -- what comes from the page, and what it is told ----------------------------------------------------

    def _on_message(self, _, content: dict, buffers) -> None:
        ask, try_to = self.engine.ask, self.controls.try_to
        answers = {
            "seen": lambda: self.engine.heartbeat(bool(content.get("visible"))),
            "choose": lambda: ask("choose", content.get("index")),
            "decode": lambda: ask("each", "decode", content.get("z")),
            "pair": lambda: try_to(lambda c: c.choose_pair(tuple(sorted(int(dim) for dim in content["pair"])))),
            "key": lambda: try_to(lambda c: c.press(content["key"], int(content["side"]))),
            "trail": lambda: ask("send_trail"),
            "too large": lambda: self.say(f"{short_path(content['name'])} has {content['size'] / 1e6:.0f} {TOO_LARGE}"),
        }
        answers.get(content.get("kind"), lambda: None)()

    def _on_status(self, change) -> None:
        self.controls.show_playing(change.new.get("playing", False))
        self.controls.show(only_news=True)
