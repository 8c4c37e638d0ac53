"""A digit of one's own: strokes become an image such as MNIST's, and what a model makes of it; a pad without a lab."""

import math
import threading
from contextlib import suppress

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor, nn

from vaekit._checks import check_choice, check_type, one_line, short_repr
from vaekit._pictures import as_bundle, png
from vaekit.lab import registry
from vaekit.lab.frames import to_bytes
from vaekit.lab.page import STYLE, bundle
from vaekit.losses import KINDS, pixel_mean
from vaekit.model import reparameterize, watching
from vaekit.plotting import plot_images

SHAPE = (1, 28, 28)
BOX, CENTRE = 20, 14  # pixels of MNIST: the ink's larger side, and where its centre of mass is
PEN = 2.4  # pixels of MNIST: what the ink of its upright ones is over their height
FINE = 10  # pixels of the fine drawing along one of MNIST's
LEAST = 0.2  # of the pad: what is smaller, such as a first dot, is not made as large as a digit
NOTHING = "nothing drawn yet"
WANTED = "a model with encode(x) → (mu, logvar) and decode(z) → x_logits, for images 1 × 28 × 28"
NAMED = 8  # latent dimensions whose numbers are written out
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def latent_name(dim: int) -> str:
    """z₁ for dimension 0: matplotlib's mathematics would take 0.1 s to start."""
    return f"z{dim + 1}".translate(SUBSCRIPTS)


def digit(strokes) -> Tensor:
    """Strokes, each a list of points (x, y) in 0..1, right and down → the image (1, 28, 28) in [0, 1].

    Size and place are as in MNIST, and so is the pen, however large it was drawn. Raises as `check_strokes` does.
    """
    strokes = [np.array(stroke) for stroke in check_strokes(strokes)]  # (P, 2) each
    low, high = np.concatenate(strokes).min(0), np.concatenate(strokes).max(0)
    scale = (BOX - PEN) * FINE / max((high - low).max(), LEAST)  # as in the box of 20 × 20, with FINE pixels for each
    side, radius = (BOX + 2) * FINE, (PEN * FINE - 1) / 2
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    for stroke in strokes:
        places = (stroke - (low + high) / 2) * scale + side / 2
        pen.line([tuple(place) for place in places], fill=255, width=round(PEN * FINE))
        for x, y in places:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return torch.from_numpy(centred(picture, least=BOX * FINE))[None]


def centred(ink: Image.Image, least: int = 1) -> np.ndarray:
    """White ink on black, of any size → float32 (28, 28), put where MNIST puts its digits.

    Its bounding box is scaled to 20 × 20, its aspect kept, but counts as `least` pixels; then its centre of mass
    comes to the middle, to the nearest pixel. Source: LeCun, Cortes & Burges, the MNIST database.
    """
    ink = ink.crop(ink.getbbox())
    size = [max(1, round(side * BOX / max(*ink.size, least))) for side in ink.size]
    small = np.asarray(ink.resize(size, Image.Resampling.BOX), np.float32) / 255
    image = np.zeros(SHAPE[1:], np.float32)
    centres = [(np.arange(n) * small.sum(1 - axis)).sum() / small.sum() for axis, n in enumerate(small.shape)]
    top, left = (int(np.clip(round(CENTRE - c), 0, 28 - n)) for c, n in zip(centres, small.shape, strict=True))
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image


def check_strokes(strokes) -> list[list[list[float]]]:
    """The strokes as lists of numbers. Raises ValueError, in one line, when they are none."""
    with suppress(TypeError, ValueError):
        made = [np.asarray(stroke, float) for stroke in strokes]
        if made and all(s.shape == (len(s), 2) and len(s) and ((s >= 0) & (s <= 1)).all() for s in made):
            return [stroke.tolist() for stroke in made]
    wanted = "lists of points (x, y) in 0..1, such as [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.9)]]"
    raise ValueError(f"strokes must be {wanted}; not {short_repr(strokes)}")


def look(model: nn.Module, x: Tensor, kind: str, generator: torch.Generator, noise: float = 0.0):
    """What a model makes of an image x (1, C, H, W): mu, logvar (1, D) each, and pictures, uint8 (5, C, H, W).

    The pictures: x itself, x̂ at μ, and what three draws from q(z|x) decode to; of a plain code, whose logvar is −inf,
    the code + noise · ε.
    """
    with watching(model):
        mu, logvar = model.encode(x)
        logvar = torch.full_like(mu, -math.inf) if logvar is None else logvar
        spread = torch.full_like(mu, 2 * math.log(noise)) if noise else logvar
        draws = reparameterize(mu.expand(3, -1), spread.expand(3, -1), generator)
        decoded = pixel_mean(model.decode(torch.cat([mu, draws])), kind)
        return mu.detach(), logvar.detach(), to_bytes(torch.cat([x, decoded]))


def in_words(mu: Tensor, logvar: Tensor, dims) -> str:
    """μ ± σ of these dimensions of a code, mu and logvar (1, D)."""
    is_point, std = bool((logvar == -math.inf).all()), torch.exp(0.5 * logvar)
    form = "{} = {:.2f}" if is_point else "{} = {:.2f} ± {:.2f}"
    told = ", ".join(form.format(latent_name(dim), mu[0, dim], std[0, dim]) for dim in dims)
    return ("a point: " if is_point else "") + told.replace("-", "−")


class DrawingPad(anywidget.AnyWidget):
    """A pad to draw a digit on, and what `model` makes of it, live: posterior, x̂ at μ and three draws.

    model: any module with encode(x) → (mu, logvar) and decode(z) → x_logits, for images 1 × 28 × 28; it is asked as
    it stands at each drawing. kind: of its reconstruction, see `reconstruction_nll`.
    Raises TypeError or ValueError, in one line, when the model does not fit.
    """

    _esm = bundle("alone.js")
    _css = STYLE
    strokes = traitlets.List([]).tag(sync=True)  # these as in Plane
    pictures = traitlets.Bytes(b"").tag(sync=True)
    words = traitlets.Unicode("").tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)

    def __init__(self, model: nn.Module, kind: str = "bernoulli"):
        self.model, self.kind = check_type("model", model, nn.Module, WANTED), check_choice("kind", kind, KINDS)
        self._lock = threading.Lock()  # a page's callbacks may come on several threads
        try:
            self._look(torch.zeros(SHAPE))
        except Exception as error:
            why = f"this {type(model).__name__} fails ({one_line(error)})"
            raise ValueError(f"the pad needs {WANTED}; {why}") from error
        super().__init__()
        self.observe(lambda _: self._answer(), "strokes")

    @property
    def image(self) -> Tensor:
        """What the model sees: (1, 28, 28) in [0, 1]. Raises ValueError while there is nothing."""
        if not self.strokes:
            raise ValueError(f"{NOTHING}: use the mouse, a finger or a pen, or draw(strokes)")
        return digit(self.strokes)

    def draw(self, strokes) -> "DrawingPad":
        """Draw from code, in place of what is there: see `digit`. Returns the pad."""
        self.strokes = check_strokes(strokes)
        self._answer()  # also of the same strokes: the model may have learned since
        return self

    def clear(self) -> None:
        """Wipe the pad."""
        self.strokes = []

    def _answer(self) -> None:
        """Tell the page what the model makes of the strokes as they are now."""
        with self._lock, self.hold_sync():
            self.pictures, self.words, self.message = b"", "", ""
            try:
                if self.strokes:
                    self.pictures, self.words = self._look(self.image)
            except Exception as error:
                self.message = f"The model could not show the drawing ({one_line(error)})."

    def _look(self, image: Tensor) -> tuple[bytes, str]:
        """What the model makes of an image (1, 28, 28), asked on the thread of the lab that trains it, if one does."""
        x = image[None].to(next((p.device for p in self.model.parameters()), "cpu"))
        draws = torch.Generator(x.device).manual_seed(0)
        mu, logvar, made = registry.on_its_thread(self.model, lambda: look(self.model, x, self.kind, draws))
        return made.tobytes(), in_words(mu, logvar, range(mu.shape[1])[:NAMED])

    def figure(self) -> Figure:
        """A still picture: the digit as the model sees it, x̂ at μ and three draws; above them the posterior."""
        figure = Figure(figsize=(9, 2.5), dpi=80, layout="constrained")
        FigureCanvasAgg(figure)
        images = np.frombuffer(self.pictures, np.uint8).reshape(-1, *SHAPE)
        title = f"{self.words}\nx · x̂ at μ · three draws from q(z|x)"
        plot_images(images, columns=5, ax=figure.gca()).set_title(title, fontsize=11)
        return figure

    def _repr_mimebundle_(self, **_):
        if not self.pictures:
            return as_bundle(self, text=repr(self))
        alt = f"The drawing, its reconstruction and three draws. {self.words}"
        return as_bundle(self, alt, text=repr(self), png=png(self.figure()))

    def __repr__(self) -> str:
        return f"DrawingPad({f'strokes: {len(self.strokes)}' if self.strokes else NOTHING})"
