"""A pad to draw a digit on, without a lab."""

import threading

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from vaekit._checks import one_line, short_repr
from vaekit._pictures import as_bundle, png
from vaekit.lab import registry
from vaekit.lab.drawing import NOTHING, SHAPE, check_strokes, digit, in_words, look
from vaekit.lab.page import Pad
from vaekit.plotting import plot_images
from vaekit.runs.recording import checked_changes


class DrawingPad:
    """A pad to draw a digit on, and what `model` makes of it, live: posterior, x̂ at μ and three draws.

    model: any module with encode(x) → (mu, logvar) and decode(z) → x_logits, for images 1 × 28 × 28; it is asked as
    it stands at each drawing. kind: of its reconstruction, see `reconstruction_nll`.
    Raises TypeError or ValueError, in one line, when the model does not fit.
    """

    def __init__(self, model: nn.Module, kind: str = "bernoulli"):
        checked_changes({"kind": kind})
        self.model, self.kind = model, kind
        self._image, self._lock = None, threading.Lock()  # a page's callbacks may come on several threads
        _check(model, kind)
        self.widget = Pad()
        self.widget.observe(lambda _: self._answer(), "strokes")

    @property
    def image(self) -> Tensor:
        """What the model sees: (1, 28, 28) in [0, 1]. Raises ValueError while there is nothing."""
        if self._image is None:
            raise ValueError(f"{NOTHING}: use the mouse, a finger or a pen, or draw(strokes)")
        return self._image

    def draw(self, strokes) -> "DrawingPad":
        """Draw from code, in place of what is there: see `digit`. Returns the pad."""
        self.widget.strokes = check_strokes(strokes)
        self._answer()  # also of the same strokes: the model may have learned since
        return self

    def clear(self) -> None:
        """Wipe the pad."""
        self.widget.strokes = []

    def _answer(self) -> None:
        """To the page: what the model makes of the strokes as they are now."""
        with self._lock:
            strokes, widget = self.widget.strokes, self.widget
            self._image, pictures, words, message = None, b"", "", ""
            if strokes:
                self._image = digit(strokes)
                try:
                    pictures, words = registry.on_its_thread(self.model, self._look)
                except Exception as error:
                    message = f"The model could not show the drawing ({one_line(error)})."
            with widget.hold_sync():
                widget.pictures, widget.words, widget.message = pictures, words, message

    def _look(self) -> tuple[bytes, str]:
        x = self._image[None].to(_device(self.model))
        mu, logvar, pictures = look(self.model, x, self.kind, torch.Generator(x.device).manual_seed(0))
        return pictures.tobytes(), in_words(mu, logvar)

    def figure(self) -> Figure:
        """A still picture: the digit as the model sees it, x̂ at μ and three draws; above them the posterior."""
        figure = Figure(figsize=(9, 2.5), dpi=80, layout="constrained")
        FigureCanvasAgg(figure)
        images = np.frombuffer(self.widget.pictures, np.uint8).reshape(-1, *SHAPE)
        title = f"{self.widget.words}\nx · x̂ at μ · three draws from q(z|x)"
        plot_images(images, columns=5, ax=figure.gca()).set_title(title, fontsize=11)
        return figure

    def _repr_mimebundle_(self, **_):
        if not self.widget.pictures:
            return as_bundle(self.widget, text=repr(self))
        alt = f"The drawing, its reconstruction and three draws. {self.widget.words}"
        return as_bundle(self.widget, alt, text=repr(self), png=png(self.figure()))

    def __repr__(self) -> str:
        strokes = len(self.widget.strokes)
        return f"DrawingPad({f'strokes: {strokes}' if strokes else NOTHING})"


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _check(model: nn.Module, kind: str) -> None:
    wanted = "the pad needs a model with encode(x) → (mu, logvar) and decode(z) → x_logits, for images 1 × 28 × 28"
    if not isinstance(model, nn.Module) or not all(callable(getattr(model, it, None)) for it in ("encode", "decode")):
        raise TypeError(f"{wanted}; not {short_repr(model)}")
    x = torch.zeros(1, *SHAPE, device=_device(model))
    try:
        registry.on_its_thread(model, lambda: look(model, x, kind, torch.Generator(x.device)))
    except Exception as error:
        raise ValueError(f"{wanted}; this {type(model).__name__} fails ({one_line(error)})") from error
