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

WANTED = "the pad needs a model with encode(x) → (mu, logvar) and decode(z) → x_logits, for images 1 × 28 × 28"


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
        if not isinstance(model, nn.Module) or not all(callable(getattr(model, it, 0)) for it in ("encode", "decode")):
            raise TypeError(f"{WANTED}; not {short_repr(model)}")
        try:
            self._look(torch.zeros(SHAPE))
        except Exception as error:
            raise ValueError(f"{WANTED}; this {type(model).__name__} fails ({one_line(error)})") from error
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
                    pictures, words = self._look(self._image)
                except Exception as error:
                    message = f"The model could not show the drawing ({one_line(error)})."
            with widget.hold_sync():
                widget.pictures, widget.words, widget.message = pictures, words, message

    def _look(self, image: Tensor) -> tuple[bytes, str]:
        """What the model makes of an image (1, 28, 28), asked on the thread of the lab that trains it, if one does."""
        x = image[None].to(next((p.device for p in self.model.parameters()), "cpu"))
        generator = torch.Generator(x.device).manual_seed(0)
        shown = registry.on_its_thread(self.model, lambda: look(self.model, x, self.kind, generator))
        mu, logvar, pictures = shown
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
