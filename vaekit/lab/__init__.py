"""The live lab: a VAE that trains while the learner turns its knobs."""

import threading
import warnings

import ipywidgets as widgets
import torch
from torch import Tensor, nn

from vaekit.data import ImageSet, as_floats, check_images, choose_device, mnist
from vaekit.lab import registry
from vaekit.lab.controls import Controls
from vaekit.lab.engine import Engine, one_line
from vaekit.lab.run import KNOBS, Run
from vaekit.lab.still import draw_still, png
from vaekit.lab.view import View, watching
from vaekit.lab.words import Measured
from vaekit.losses import KINDS
from vaekit.model import VAE
from vaekit.training import Knobs

__all__ = ["LatentLab"]

FEW = 500  # images of the small set, for seeing a model memorise


class LatentLab:
    """The live lab: display it in a notebook, or drive it from Python. The same engine does both.

    data: an ImageSet or images (N, C, H, W); MNIST's training digits when not given. model: any module with
    encode(x) → (mu, logvar), decode(z) → x_logits and forward(x, generator); a VAE when not given.
    shown: how many images the plane shows. threads: for torch on a CPU; chosen by the machine when not given.
    Raises ValueError or TypeError when something does not fit, DataError when the digits cannot be had.
    """

    def __init__(
        self,
        data: ImageSet | Tensor | None = None,
        *,
        model: nn.Module | None = None,
        latent_dim: int = 2,
        hidden: int = 400,
        beta: float = 1.0,
        prior: bool = True,
        lr: float = 1e-3,
        kind: str = "bernoulli",
        seed: int = 0,
        batch_size: int = 128,
        shown: int = 1000,
        pair: tuple[int, int] = (0, 1),
        device: str | torch.device | None = None,
        threads: int | None = None,
    ):
        self._knobs = Knobs(beta, prior, lr)
        _check_kind(kind)
        _check_shown(shown, pair)
        where = choose_device(device)
        if data is not None and not isinstance(data, ImageSet):
            data = ImageSet(data)
        if data is not None:
            check_images(data.images, batch_size)
        self.view = View(shown, pair)

        def make_run() -> Run:
            images = mnist(device=where) if data is None else data.to(where)
            check_images(images.images, batch_size)
            sets = {images.name: images}
            if len(images) > 2 * FEW and batch_size <= FEW:
                few = images.first(FEW)
                sets[few.name] = few
            made = _make_model(model, images, latent_dim, hidden, seed, where)
            _check_model(made, images, pair)
            settings = {"beta": beta, "prior": prior, "lr": lr, "kind": kind, "data": images.name}
            return Run(made, sets, settings, seed, batch_size)

        self.engine = Engine(make_run, self.view, threads)
        try:
            self.engine.post(lambda: self.engine.view.frame(self.engine)).result()
        except BaseException:
            self.engine.close()
            raise
        self._settings = self.engine.run.settings
        self.turning = threading.RLock()  # a page's callbacks may come on several threads at once
        self.controls = Controls(self, self.engine.run.sets)
        self.controls.show(self._settings)
        self.widget = widgets.VBox([*self.controls.rows, self.view.plane, self.view.curves])
        self.view.plane.on_msg(self._on_message)
        self.view.plane.observe(lambda change: self.controls.show_playing(change.new.get("playing", False)), "status")
        self.engine.post(lambda: self.engine.view.rest(self.engine))
        registry.register(self)

    # -- driving it ---------------------------------------------------------------------------------------

    def run(self, steps: int) -> "LatentLab":
        """Take `steps` optimizer steps now, and pause: the same engine, without a click. Returns the lab.

        The kernel's interrupt ends it at the step it has come to. A failure is warned about and kept in `error`.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise ValueError(f"steps must be a whole number from 0 up, not {steps!r}")
        try:
            self.engine.steps(steps).result()
        except KeyboardInterrupt:
            self.engine.pause("Interrupted.").result()
            warnings.warn(
                f"interrupted: paused at step {self.engine.run.number}; run on or play as you like", stacklevel=2
            )
        if self.error:
            warnings.warn(self.error, stacklevel=2)
        return self

    def play(self) -> None:
        """Train until paused, in the background."""
        self.engine.play()
        if registry.others_playing(self):
            self.say("Another lab is training as well: the two share the processor, and each is slower.")

    def pause(self) -> None:
        """Stop after the step under way. The weights may be read from here on."""
        self.engine.pause().result()

    def step(self) -> None:
        """Pause, and take one optimizer step."""
        self.run(1)

    def reset(self) -> None:
        """Back to the first weights and the same seed. The knobs stay where they are."""
        self.engine.reset().result()

    def set(self, **changes) -> None:
        """Turn knobs: beta, prior, lr, kind, data. They act at the very next step.

        Raises ValueError or TypeError, in one line, when a value makes no sense; nothing is changed then.
        """
        if unknown := changes.keys() - self._settings.keys():
            raise TypeError(f"there is no knob {unknown.pop()!r}: the knobs are {', '.join(self._settings)}")
        with self.turning:
            wanted = self._checked(self._settings | changes)
            self._settings = wanted
            self.engine.turn({name: wanted[name] for name in changes})
            self.controls.show(wanted)

    def _checked(self, wanted: dict) -> dict:
        knobs = Knobs(**{name: wanted[name] for name in KNOBS})
        _check_kind(wanted["kind"])
        if wanted["data"] not in self.engine.run.sets:
            raise ValueError(
                f"data must be one of {', '.join(map(repr, self.engine.run.sets))}; not {wanted['data']!r}"
            )
        return wanted | {name: getattr(knobs, name) for name in KNOBS}  # plain numbers: a recording is JSON

    @property
    def settings(self) -> dict:
        """What acts on the next step: beta, prior, lr, kind and data."""
        return dict(self._settings)

    @property
    def knobs(self) -> Knobs:
        """A copy of the knobs as they stand. Turn them with `set`."""
        return Knobs(**{name: self._settings[name] for name in KNOBS})

    @property
    def model(self) -> nn.Module:
        """The model itself. Pause before you read its weights."""
        return self.engine.run.model

    @property
    def playing(self) -> bool:
        return self.engine.playing

    @property
    def steps_taken(self) -> int:
        return self.engine.run.number

    @property
    def measured(self) -> Measured:
        """What the meters showed last, as numbers."""
        return self.view.measured

    @property
    def error(self) -> str | None:
        """One line about what went wrong, or None."""
        return self.engine.error

    def say(self, text: str) -> None:
        """Show one line to whoever looks at the page, until something else is done."""
        self.view.plane.message = text
        self.engine.say(text)

    def retire(self) -> None:
        """Pause and free the thread, because a newer lab took this one's place."""
        self.engine.pause(
            "Stopped: its cell was run again and made a new lab. Press play to use this one all the same."
        )
        self.engine.close()

    # -- showing it ---------------------------------------------------------------------------------------

    def figure(self):
        """A still picture of the lab as it is: plane, curves and meters. Returns a matplotlib Figure."""
        return draw_still(self.view, self.engine)

    def _repr_mimebundle_(self, **kwargs):
        # The picture stands where the widget cannot live: on GitHub, in nbconvert, with a dead kernel.
        bundle = self.widget._repr_mimebundle_(**kwargs) or {}
        bundle = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        return bundle | {"text/plain": repr(self), "image/png": png(self.figure())}

    def __repr__(self) -> str:
        return f"LatentLab({self._settings['data']}, step {self.steps_taken})"

    def _on_message(self, _, content: dict, buffers) -> None:
        engine, kind = self.engine, content.get("kind")
        if kind == "seen":
            engine.seen(bool(content.get("visible")))
        elif kind == "choose":
            engine.post(lambda: self.view.choose(engine, int(content["index"])))
        elif kind == "decode":
            engine.post(lambda: self.view.decode(engine, content["z"]))


def _check_kind(kind) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; not {kind!r}")


def _check_shown(shown, pair) -> None:
    if isinstance(shown, bool) or not isinstance(shown, int) or shown < 1:
        raise ValueError(f"shown must be a whole number of images from 1 up, not {shown!r}")
    if not isinstance(pair, tuple | list) or [type(dim) for dim in pair] != [int, int]:
        raise ValueError(f"pair must be two latent dimensions such as (0, 1), not {pair!r}")


def _make_model(model, images: ImageSet, latent_dim: int, hidden: int, seed: int, device) -> nn.Module:
    if model is None:
        generator = torch.Generator().manual_seed(seed)
        model = VAE(latent_dim, hidden, tuple(images.images.shape[1:]), init_generator=generator)
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module such as vaekit.VAE(), not {model!r}")
    return model.to(device)


def _check_model(model: nn.Module, data: ImageSet, pair: tuple[int, int]) -> None:
    """See that a model fits the lab and the images, in one line each."""
    wanted = "the lab needs a model with encode(x) → (mu, logvar) and decode(z) → x_logits"
    for method in ("encode", "decode"):
        if not callable(getattr(model, method, None)):
            raise TypeError(f"{wanted}; this {type(model).__name__} has no {method}: see vaekit.VAE")
    x = as_floats(data.images[:2])
    try:
        with watching(model):
            mu, logvar = model.encode(x)
            x_logits = model.decode(mu)
    except Exception as error:
        raise ValueError(f"{wanted}; with images {tuple(x.shape)} this one fails ({one_line(error)})") from error
    if mu.ndim != 2 or (logvar is not None and logvar.shape != mu.shape):
        raise ValueError(f"{wanted}, both (B, D); mu is {tuple(mu.shape)}")
    if x_logits.shape != x.shape:
        raise ValueError(f"{wanted} of the images' shape {tuple(x.shape)}; this one decodes to {tuple(x_logits.shape)}")
    if mu.shape[1] < 2 or not all(0 <= dim < mu.shape[1] for dim in pair) or pair[0] == pair[1]:
        raise ValueError(f"the plane needs two latent dimensions; this model has {mu.shape[1]}, the pair is {pair}")
