"""What stands where a widget cannot live: on GitHub, in a page, with a dead kernel."""

import io

import numpy as np
from PIL import Image, ImageColor


def as_bundle(widget, alt: str = "", **stills) -> tuple[dict, dict]:
    """An ipywidget for IPython to show, with stills beside it: text="…", html="…", png=bytes, and `alt` in words.

    Returns data and metadata, as anywidget makes them for any widget: ipywidgets 7 can't, and Colab asks for more.
    """
    from anywidget import AnyWidget

    data, metadata = AnyWidget._repr_mimebundle_(widget)
    kinds = {"text": "text/plain", "html": "text/html", "png": "image/png"}
    data |= {kinds[name]: still for name, still in stills.items()}
    return data, metadata | ({"image/png": {"alt": alt}} if alt else {})


def hear_at_once(widgets) -> None:
    """Have widgets hear their page while a cell runs: under ipykernel 7.4 those made by a cell wait for its end."""
    for widget in widgets:
        if widget.comm:
            vars(widget.comm)["_reply_subshell_for"] = None


def png(figure) -> bytes:
    """A matplotlib figure, with a canvas that draws pixels, as the bytes of a PNG file: see `lighter`."""
    figure.canvas.draw()
    return lighter(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())))


def lighter(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file in 256 colours, a grey one in 32: a notebook should stay light."""
    file, picture = io.BytesIO(), picture.convert("RGB")
    is_grey = picture.convert("L").convert("RGB") == picture
    (picture.quantize(32) if is_grey else _quantized(picture)).save(file, format="PNG", compress_level=6)
    return file.getvalue()


def _quantized(picture: Image.Image) -> Image.Image:
    """In 256 colours. A strip of the kit's own under the picture makes them count, however rare they are in it."""
    from vaekit.plotting import BLUE, ORANGE, PALETTE, RAMP  # and with it matplotlib, here where a picture is made

    width, height = (-(-side // 3) for side in picture.size)  # every third pixel is enough to choose by, and quick
    own = [ImageColor.getrgb(name) for name in (*PALETTE[0], *RAMP[0], ORANGE, BLUE)]
    strip = Image.fromarray(np.array([own], np.uint8)).resize((width, height // 5 + 1), Image.Resampling.NEAREST)
    both = Image.new("RGB", (width, height + strip.height))
    both.paste(picture.resize((width, height), Image.Resampling.NEAREST))
    both.paste(strip, (0, height))
    return picture.quantize(palette=both.quantize(256), dither=Image.Dither.NONE)
