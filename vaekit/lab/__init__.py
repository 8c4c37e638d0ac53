"""The live lab: a VAE that trains while the learner turns its knobs."""

import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import torch
from torch import Tensor, nn

from vaekit.cartoons import faces
from vaekit.data import ImageSet, check_images, choose_device, mnist
from vaekit.lab import registry
from vaekit.lab.checks import check_model, check_pair, check_shown, make_model
from vaekit.lab.controls import SHOWN, Controls
from vaekit.lab.drawing import SHAPE, check_strokes
from vaekit.lab.engine import Engine
from vaekit.lab.export import write_html
from vaekit.lab.still import draw_still
from vaekit.lab.view import View
from vaekit.lab.words import Measured
from vaekit.messages import check_whole, one_line
from vaekit.playback import resume
from vaekit.recording import Recording, checked_changes
from vaekit.run import KNOBS, Run, save_runs
from vaekit.stills import as_bundle, png
from vaekit.theory import applies_to
from vaekit.training import Knobs

__all__ = ["LatentLab"]

WORLDS = ("Handwritten digits", "Cartoon faces")
FACES = 10_000
FEW = 500  # images of the small set, for seeing a model memorise
SIDES = ("left", "right")


class Side:
    """One run of a lab as seen from Python: of a twin there are two, `lab.sides`."""

    def __init__(self, lab: "LatentLab", number: int):
        self.lab, self.number = lab, number

    @property
    def settings(self) -> dict:
        """What acts on the next step: beta, prior, lr, kind and data."""
        return dict(self.lab._settings[self.number])

    @property
    def model(self) -> nn.Module:
        """The model itself. Pause before you read its weights."""
        return self.lab.engine.runs[self.number].model

    @property
    def measured(self) -> Measured:
        """What the meters showed last, as numbers."""
        return self.lab.view.sides[self.number].measured

    def set(self, **changes) -> None:
        """Turn this run's knobs alone: see LatentLab.set."""
        self.lab.set(side=self.number, **changes)


class LatentLab:
    """The live lab: display it in a notebook, or drive it from Python. The same engine does both.

    data: an ImageSet or images (N, C, H, W); MNIST's training digits when not given. model: any module with
    encode(x) → (mu, logvar), decode(z) → x_logits and forward(x, generator); a VAE when not given. twin: two
    such runs in lockstep, the same but for their knobs, at first the prior: off in the left one.
    shown: how many images the plane shows. pair: the latent dimensions it shows; the most active two when not given.
    threads: for torch on a CPU; chosen by the machine when not given.
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
        twin: bool = False,
        shown: int = 1000,
        pair: tuple[int, int] | None = None,
        device: str | torch.device | None = None,
        threads: int | None = None,
    ):
        checked_changes({"beta": beta, "prior": prior, "lr": lr, "kind": kind})
        check_shown(shown, pair)
        where = choose_device(device)
        if data is not None and not isinstance(data, ImageSet):
            data = ImageSet(data)
        if data is not None:
            check_images(data.images, batch_size)

        def make_runs(find: Callable[[], ImageSet]) -> tuple[Run, ...]:
            images = find()
            check_images(images.images, batch_size)
            sets = {images.name: images}
            if len(images) > 2 * FEW and batch_size <= FEW:
                few = images.first(FEW)
                sets[few.name] = few
            made = make_model(model, images, latent_dim, hidden, seed, where)
            check_model(made, images, pair)
            settings = {"beta": beta, "prior": prior, "lr": lr, "kind": kind, "data": images.name}
            run = Run(made, sets, settings, seed, batch_size)
            if not twin:
                return (run,)
            other = run.twin()
            run.turn({"prior": False})
            return run, other

        first = partial(make_runs, partial(mnist, device=where) if data is None else partial(data.to, where))
        self._worlds = {}
        if data is None is model:  # images of another kind need another model: a choice where the lab makes it
            other = partial(make_runs, partial(faces, FACES, device=where))
            self._worlds = dict(zip(WORLDS, (first, other), strict=True))
        self._start(first, shown, pair, 2 if twin else 1, threads)

    def _start(self, make_runs, shown: int, pair, runs: int, threads: int | None) -> None:
        self.view = View(shown, pair, runs)
        self.engine = Engine(make_runs, self.view, threads)
        try:
            self.engine.post(lambda: self.engine.view.frame(self.engine)).result()
        except BaseException:
            self.engine.close()
            raise
        self.side_names = SIDES if runs == 2 else ("",)
        self.sides = tuple(Side(self, number) for number in range(runs))
        self._settings = [run.settings for run in self.engine.runs]
        self._was_following = self._drawing_waits = False
        self.turning = threading.RLock()  # a page's callbacks may come on several threads at once
        linear = applies_to(self.engine.run.model, self.engine.run.kind)
        self.controls = Controls(self, self.view.sides[0].latent_dim, linear)
        self.controls.show()
        self.widget = widgets.VBox([*self.controls.rows, self.view.plane, self.view.curves])
        self.view.plane.on_msg(self._on_message)
        self.view.plane.observe(lambda change: self._on_status(change.new), "status")
        self.view.plane.observe(self._on_strokes, "strokes")
        self.engine.post(lambda: self.engine.view.rest(self.engine))
        registry.register(self)

    # -- driving it ---------------------------------------------------------------------------------------

    def run(self, steps: int) -> "LatentLab":
        """Take `steps` optimizer steps now, and pause: the same engine, without a click. Returns the lab.

        The kernel's interrupt ends it at the step it has come to. A failure is warned about and kept in `error`.
        """
        check_whole("steps", steps, least=0)
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

    def set(self, *, side: int | str | None = None, **changes) -> None:
        """Turn knobs: beta, prior, lr, kind, data. They act at the very next step.

        side: of a twin, turn those of "left" (0) or "right" (1) alone; data is always both runs'.
        Raises ValueError or TypeError, in one line, when a value makes no sense; nothing is changed then.
        """
        if unknown := changes.keys() - self._settings[0].keys():
            raise TypeError(f"there is no knob {unknown.pop()!r}: the knobs are {', '.join(self._settings[0])}")
        turned = self._sides_of(side, changes)
        with self.turning:
            wanted = {number: self._checked(self._settings[number] | changes) for number in turned}
            if changes.get("data", self.engine.run.data) not in self.engine.run.sets:
                self._go_to(changes["data"])
            for number, settings in wanted.items():
                self._settings[number] = settings
            self.engine.turn({name: wanted[turned[0]][name] for name in changes}, turned)
            self.controls.show()

    def _go_to(self, world: str) -> None:
        """Other images, and a model for them: both from the start, with the knobs as they stand."""
        was_playing = self.playing
        self.engine.replace(self._worlds[world]).result()
        for number, settings in enumerate(self._settings):
            settings["data"] = world
            self.engine.turn(settings, (number,)).result()
        if was_playing:
            self.engine.play()

    @property
    def data_names(self) -> list[str]:
        """What `set(data=...)` takes."""
        return list(dict.fromkeys([*self._worlds, *self.engine.run.sets]))

    def _sides_of(self, side, changes: dict) -> tuple[int, ...]:
        everyone = tuple(range(len(self.sides)))
        if side is None:
            return everyone
        number = SIDES.index(side) if side in SIDES else side
        if type(number) is not int or number not in everyone:
            raise ValueError(f"side must be 'left' or 'right' of a lab made with twin=True, not {side!r}")
        if len(everyone) == 2 and "data" in changes:
            raise ValueError("the two runs of a twin see the same batches: set data for both, without side")
        return (number,)

    def _checked(self, wanted: dict) -> dict:
        if wanted["data"] not in self.data_names:
            raise ValueError(f"data must be one of {', '.join(map(repr, self.data_names))}; not {wanted['data']!r}")
        return checked_changes(wanted)

    @property
    def settings(self) -> dict:
        """What acts on the next step: beta, prior, lr, kind and data; of a twin, the left run's."""
        return self.sides[0].settings

    @property
    def knobs(self) -> Knobs:
        """A copy of the knobs as they stand. Turn them with `set`."""
        return Knobs(**{name: self._settings[0][name] for name in KNOBS})

    @property
    def model(self) -> nn.Module:
        """The model itself; of a twin, the left one. Pause before you read its weights."""
        return self.sides[0].model

    @property
    def playing(self) -> bool:
        return self.engine.playing

    @property
    def steps_taken(self) -> int:
        return self.engine.run.number

    @property
    def measured(self) -> Measured:
        """What the meters showed last, as numbers; of a twin, the left run's."""
        return self.sides[0].measured

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

    # -- keeping it ---------------------------------------------------------------------------------------

    @property
    def recording(self) -> Recording:
        """What made this run what it is, so far: seed, settings and every knob turned. See Recording.save."""
        return self.engine.post(self._record).result()

    def _record(self) -> Recording:
        run, *others = self.engine.runs
        return run.record(*others)

    def follow(self, recording: Recording | str | Path) -> "LatentLab":
        """Go back to the beginning of a recording, or of the file it is in. Returns the lab.

        From there `play` or `run` turn each knob at its step, until its end; who turns one takes over.
        Raises ValueError, in one line, when it is none, or not of a run such as this lab's; nothing is changed then.
        """
        if not isinstance(recording, Recording):
            recording = Recording.load(recording)
        twins = [recording, recording.of_twin()] if recording.twin else [recording]
        if len(twins) != len(self.sides):
            what = (
                "of a twin: make the lab with twin=True" if recording.twin else "not of a twin: make a lab without one"
            )
            raise ValueError(f"this recording is {what}")
        self.engine.follow(twins).result()
        self.engine.post(self._take_settings).result()
        return self

    def save(self, path: str | Path) -> None:
        """Weights, optimizer, generator and recording in one file, whole or not at all: see LatentLab.resume.

        Raises OSError or ValueError, in one line, when it cannot be written there.
        """
        self.engine.post(lambda: save_runs(self.engine.runs, path)).result()

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        model: nn.Module | None = None,
        data: ImageSet | Tensor | dict[str, ImageSet] | None = None,
        shown: int = 1000,
        pair: tuple[int, int] | None = None,
        threads: int | None = None,
    ) -> "LatentLab":
        """The lab that `save` wrote: it goes on to the bit. model, data: needed when they were not the kit's own."""
        check_shown(shown, pair)
        saved = resume(path, model=model, data=data)
        runs = saved if isinstance(saved, tuple) else (saved,)
        check_model(runs[0].model, runs[0].sets[runs[0].data], pair)
        lab = cls.__new__(cls)
        lab._worlds = {}

        def take_over() -> tuple[Run, ...]:
            for run in runs:
                run.threads = torch.get_num_threads()  # here, on the trainer thread
            return runs

        lab._start(take_over, shown, pair, len(runs), threads)
        return lab

    def export_html(self, path: str | Path) -> Path:
        """The run so far as one HTML file, to scrub through and to drag in; it asks for nothing from anywhere.

        Returns the path. Raises OSError, in one line, when it cannot be written there.
        """
        return self.engine.post(lambda: self._export(path)).result()

    def _export(self, path: str | Path) -> Path:
        drawing, self.view.plane.strokes = self.view.plane.strokes, []  # no pad in a file: nothing there can encode
        self.view.draw(self.engine, [])
        self.view.catch_up(self.engine)
        try:
            return write_html(path, self.view, self._title())
        finally:
            self.view.plane.strokes = drawing

    # -- showing it ---------------------------------------------------------------------------------------

    def show(self, what: str = "") -> None:
        """Show in the plane what the meters measure on: "draws" from the prior, a "walk" between two codes, or ""."""
        if what not in SHOWN.values():
            raise ValueError(f"show takes one of {', '.join(map(repr, SHOWN.values()))}; not {what!r}")
        self.engine.post(lambda: self.view.show(self.engine, what))

    def show_pair(self, pair: tuple[int, int] | None) -> None:
        """Show these two latent dimensions in the plane; None: the two that say most at the time."""
        check_pair(pair, self.view.sides[0].latent_dim)
        self.engine.post(lambda: self.view.show_pair(self.engine, pair))

    def draw(self, strokes) -> "LatentLab":
        """Draw a digit on the lab's pad, from code: strokes, each a list of points (x, y) in 0..1. Returns the lab.

        Raises TypeError or ValueError, in one line, when they are none, or the lab's images are no such digits.
        """
        strokes = check_strokes(strokes)
        if why := self.why_no_pad():
            raise ValueError(why)
        self.controls.draw.value = True
        self.view.plane.strokes = strokes
        self.engine.post(lambda: None).result()  # by now it is shown
        return self

    def _show_pad(self, shown: bool = True) -> None:
        """Show the pad for a digit of one's own, or put it away with what is drawn on it."""
        self.view.plane.pad = shown
        if not shown:
            self.view.plane.strokes = []

    def why_no_pad(self) -> str:
        """Why nothing can be drawn here, in one line; empty when it can."""
        c, h, w = self.view.plane.shape
        return "" if (c, h, w) == SHAPE else f"a pad needs grey images of 28 × 28; these are {c} × {h} × {w}"

    def figure(self):
        """A still picture of the lab as it is: plane, curves and meters. Returns a matplotlib Figure."""
        return draw_still(self.view, self.engine)

    def _title(self) -> str:
        twin = "Two variational autoencoders" if len(self.sides) == 2 else "A variational autoencoder"
        return f"{twin} in training: {self.settings['data'].lower()}, {self.steps_taken:,} steps"

    def _repr_mimebundle_(self, **_):
        return as_bundle(self.widget, text=repr(self), png=png(self.figure()))

    def __repr__(self) -> str:
        twin = "twin, " if len(self.sides) == 2 else ""
        return f"LatentLab({twin}{self.settings['data']}, step {self.steps_taken})"

    def _on_message(self, _, content: dict, buffers) -> None:
        engine, view, kind = self.engine, self.view, content.get("kind")
        if kind == "seen":
            engine.seen(bool(content.get("visible")))
        elif kind == "choose":
            self._show(lambda: view.choose(engine, int(content["index"])))
        elif kind == "decode":
            self._show(lambda: view.decode(engine, content["z"]))
        elif kind == "pair":
            self.controls.choose_pair(tuple(sorted(int(dim) for dim in content["pair"])))
        elif kind == "trail":
            engine.post(view.send_trail)

    def _show(self, command) -> None:
        """What the page asked to see; where the model fails on it, the page says so."""

        def tried():
            try:
                command()
            except Exception as error:
                self.engine.notice = f"The model could not show that ({one_line(error)})."
                self.view.status(self.engine)

        self.engine.post(tried)

    def _on_strokes(self, _) -> None:
        if not self._drawing_waits:  # a slow step must not let them pile up: the last one counts
            self._drawing_waits = True
            self.engine.post(self._draw)

    def _draw(self) -> None:
        self._drawing_waits = False
        self.view.draw(self.engine, self.view.plane.strokes)

    def _on_status(self, status: dict) -> None:
        self.controls.show_playing(status.get("playing", False))
        following = status.get("following", False)
        if (following or self._was_following) and self._take_settings():
            self._was_following = following

    def _take_settings(self) -> bool:
        """A recording turns the knobs: show where they stand. False when somebody is turning one just now.

        This is the trainer's thread: it must not wait for one that may be waiting for it.
        """
        if not self.turning.acquire(blocking=False):
            return False
        try:
            self._settings = [run.settings for run in self.engine.runs]
            self.controls.show()
        finally:
            self.turning.release()
        return True

    def offer_recording(self) -> None:
        """Give the page the recording, to be saved as a file."""
        self.engine.post(lambda: self.view.offer("vaekit-recording.json", self._record().to_json()))
