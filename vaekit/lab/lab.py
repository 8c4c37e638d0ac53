"""The live lab: a VAE that trains while the learner turns its knobs."""

import warnings
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import torch
from torch import Tensor, nn

from vaekit._checks import check_choice, check_type, check_whole, short_repr
from vaekit.data import ImageSet, check_images, choose_device
from vaekit.lab import registry
from vaekit.lab.controls import Controls
from vaekit.lab.display import Display, LabRun
from vaekit.lab.engine import Engine
from vaekit.lab.recipe import Recipe, check_lab_model
from vaekit.lab.side import HANGS_ON
from vaekit.lab.tasks import Task, TaskList
from vaekit.lab.view import View
from vaekit.losses import KINDS
from vaekit.runs.datasets import DATA_SETS
from vaekit.runs.recording import Recording, checked_changes
from vaekit.runs.run import resume
from vaekit.training import KNOBS, Knobs

SIDES = ("left", "right")
DATA = "images with labels come first, as vaekit.ImageSet(images, labels)"


class LatentLab(Display):
    """The live lab: display it in a notebook, or drive it from Python. The same engine does both.

    data: an ImageSet or images (N, C, H, W); MNIST's training digits when not given. model: any module with
    encode(x) → (mu, logvar), decode(z) → x_logits and forward(x, generator); a VAE when not given. kind: of the
    reconstruction. knobs: how they stand at first, such as beta=4.0, prior=False, lr=3e-4. twin: two such runs in
    lockstep, the same but for their knobs, at first the prior: off in the left one.
    shown: how many images the plane shows. pair: the latent dimensions it shows; the most active two when not given.
    threads: for torch on a CPU; chosen by the machine when not given. tasks: what the learner is to do, in order.
    Of a twin, settings, model and measured are the left run's. Raises ValueError or TypeError when something does
    not fit, DataError when the digits cannot be had.
    """

    number = 0

    def __init__(
        self,
        data: ImageSet | Tensor | None = None,
        *,
        model: nn.Module | None = None,
        latent_dim: int = 2,
        hidden: int = 400,
        kind: str = "bernoulli",
        seed: int = 0,
        batch_size: int = 128,
        twin: bool = False,
        shown: int = 1000,
        pair: tuple[int, int] | None = None,
        device: str | torch.device | None = None,
        threads: int | None = None,
        tasks: Sequence[Task] = (),
        **knobs,
    ):
        if unknown := knobs.keys() - KNOBS.keys():
            raise TypeError(f"LatentLab takes no {unknown.pop()!r}: the knobs are {', '.join(KNOBS)}; {DATA}")
        settings = vars(Knobs(**knobs)) | {"kind": check_choice("kind", kind, KINDS)}
        device = choose_device(device)
        recipe = Recipe(model, latent_dim, hidden, settings, seed, batch_size, twin, pair, device)
        if data is not None and not isinstance(data, ImageSet):
            data = ImageSet(data)
        loaders = DATA_SETS if data is None else {data.name: data.to}
        makers = {name: partial(recipe.make_runs, load) for name, load in loaders.items()}
        # Images of another kind need another model: there is a choice where the lab makes it.
        self._recipe, self._data_sets = (recipe, makers) if model is None else (None, {})
        self._open(next(iter(makers.values())), 1 + bool(twin), shown, pair, threads, TaskList(tasks))
        if recipe.caveat:
            self.say(recipe.caveat)

    def _open(self, make_runs, n_runs: int, shown: int, pair, threads: int | None, tasks: TaskList) -> None:
        registry.check_kernel()
        self.view = View(shown, pair, n_runs, tasks)
        self._n_done = 0  # how many tasks were ticked when `run` or `solve` ended
        self.engine = Engine(make_runs, self.view, threads, registry.cell_is_running.is_set)
        try:
            self.engine.post(lambda: self.view.frame(self.engine), report=False).result()
        except BaseException:
            self.engine.close()
            raise
        self.side_names = SIDES if n_runs == 2 else ("",)
        self.sides = tuple(LabRun(self, number) for number in range(n_runs))
        self.view.lab = weakref.ref(self)
        self.controls = Controls(self, self.view.sides[0].latent_dim, not self.view.plane.autoencoder)
        self.controls.show()
        self.widget = widgets.VBox([*self.controls.rows, self.view.plane])
        self.widget.add_class("vaekit-lab")
        plane = self.view.plane
        plane.uploads = [self.controls.images, self.controls.load]
        plane.on_msg(registry.weakly(self, LatentLab._on_message))
        plane.observe(registry.weakly(self, LatentLab._on_status), "status")
        plane.observe(lambda change: change.new or plane.set_trait("strokes", []), "pad")
        followed = HANGS_ON.keys() - {"pair", "chosen", "draw_number"}  # these the view sets
        plane.observe(registry.weakly(self, lambda lab, change: lab.engine.ask("follow", change.name)), list(followed))
        registry.take_down_with(self, [self.widget, vars(self.controls)])
        self.engine.ask("details")
        self.engine.post(lambda: None).result()  # now it can be displayed
        registry.register(self)

    # -- driving it ---------------------------------------------------------------------------------------

    def run(self, steps: int) -> "LatentLab":
        """Take `steps` optimizer steps now, and pause: the same engine, without a click. Returns the lab.

        The kernel's interrupt ends it at the step it has come to. A failure is warned about and kept in `error`.
        """
        check_whole("steps", steps, least=0)
        try:
            self.engine.train_for(steps).result()
        except KeyboardInterrupt:
            self.engine.pause("Interrupted.").result()
            what = f"interrupted: paused at step {self.steps_taken}; run on or play as you like"
            warnings.warn(what, stacklevel=2)
        if self.error:
            warnings.warn(self.error, stacklevel=2)
        self._n_done = sum(task.ticked for task in self.tasks)
        return self

    def play(self) -> None:
        """Train until paused, in the background."""
        self.engine.play()
        if any(lab is not self and lab.playing for lab in list(registry.labs)):
            self.say("Another lab is training as well: the two share the processor, and each is slower.")

    def pause(self) -> None:
        """Stop after the step under way. The weights may be read from here on."""
        self.engine.pause().result()

    def step(self) -> None:
        """Pause, and take one optimizer step."""
        self.run(1)

    def reset(self) -> None:
        """Go back to the initial weights and the same seed. The knobs stay where they are."""
        self.engine.reset().result()

    def set(self, *, side: int | str | None = None, **changes) -> None:
        """Turn knobs, such as beta, prior, lr; or set kind, data. They act at the very next step.

        side: of a twin, turn those of "left" (0) or "right" (1) alone; data is always both runs'.
        Raises ValueError or TypeError, in one line, when a value makes no sense; nothing is changed then.
        """
        sides = None if side is None else (self._number_of(side),)
        if "data" in changes:
            check_choice("data", changes["data"], self.data_names)
        if sides is None and changes.get("data", self.settings["data"]) not in self.engine.run.sets:
            self.engine.replace(self._data_sets[changes["data"]], checked_changes(changes)).result()
        else:
            self.engine.set_knobs(changes, sides)
        self.controls.show()

    def learn(self, images: ImageSet | Tensor) -> None:
        """Learn other images: a lab that made its model makes one for them; a model of your own goes on with them.

        They are then a data set that `set(data=...)` takes. Raises TypeError or ValueError, in one line, when they do
        not fit; nothing is changed then.
        """
        images = images if isinstance(images, ImageSet) else ImageSet(images)
        if self._recipe:
            make = partial(self._recipe.make_runs, images.to)
            self.engine.replace(make, {"data": images.name}).result()
            self._data_sets[images.name] = make
        else:
            name = self.engine.post(partial(self._take_in, images), report=False).result()
            self.engine.set_knobs({"data": name})
        self.controls.show()
        self.say(getattr(images, "told", None))

    def _take_in(self, images: ImageSet) -> str:
        """Give the runs another data set that their model fits. Returns the name that it has there."""
        run, images = self.engine.run, images.to(self.engine.run.images.device)
        check_images(images.images, run.batch_size)
        own, theirs = (" × ".join(map(str, some.shape[1:])) for some in (run.images, images.images))
        try:
            check_lab_model(run.model, images, self.view.pair)
        except (TypeError, ValueError):
            raise ValueError(f"this model learns images of {own}; it cannot learn these, of {theirs}") from None
        names = [images.name, *(f"{images.name} ({again})" for again in range(2, len(run.sets) + 2))]
        name = next(name for name in names if name not in run.sets)  # a recording may speak of the earlier ones
        run.sets[name] = images  # of a twin, both runs'
        return name

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The lab's tasks, each with `ticked`."""
        return self.view.tasks.tasks

    def solve(self, *, side: int | str | None = None, most: int = 3000, **changes) -> "LatentLab":
        """Do the next task: turn knobs as `set` does, then train until it is ticked. Returns the lab.

        The next is the first that was not ticked when `run` or `solve` last ended: what is shown since may do it.
        Raises RuntimeError when it is not done after `most` steps, or there is none.
        """
        number, last = self._n_done, self.steps_taken + check_whole("most", most)
        if number == len(self.tasks):
            raise RuntimeError("all tasks of this lab are done")
        task = self.tasks[number]
        self.set(side=side, **changes)
        self.run(0)
        goal = self.steps_taken
        while not task.ticked and self.steps_taken == goal < last and not self.error:  # else it was interrupted
            goal = min(goal + 25, last)
            self.run(goal - self.steps_taken)
        if not task.ticked:
            why = self.view.plane.message or task.text
            raise RuntimeError(f"the task is not done after {most + self.steps_taken - last} steps: {why}")
        self._n_done = number + 1
        return self

    def __setattr__(self, name: str, value) -> None:
        if name in KNOBS:
            raise AttributeError(f"a lab's knobs are turned by lab.set({name}={short_repr(value)})")
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol):
        raise TypeError("a lab has a thread and widgets, which cannot be copied: use lab.save(path), or lab.recording")

    def _number_of(self, side) -> int:
        if len(self.sides) == 1 or type(side) not in (int, str) or side not in (0, 1, *SIDES):
            raise ValueError(f"side must be 'left' or 'right' of a lab made with twin=True, not {side!r}")
        return SIDES.index(side) if side in SIDES else side

    @property
    def data_names(self) -> list[str]:
        """What `set(data=...)` takes."""
        return list(dict.fromkeys([*self._data_sets, *self.engine.run.sets]))

    @property
    def knobs(self) -> Knobs:
        """A copy of the knobs as they stand. Turn them with `set`."""
        return Knobs(**{name: self.settings[name] for name in KNOBS})

    @property
    def playing(self) -> bool:
        return self.engine.playing

    @property
    def steps_taken(self) -> int:
        return self.engine.run.number

    @property
    def error(self) -> str | None:
        """One line about what went wrong, or None."""
        return self.engine.error

    def say(self, text: str) -> None:
        """Show one line to whoever looks at the page, until something else is done."""
        self.engine.say(check_type("text", text, str | None, "a line of text"))

    def retire(self) -> None:
        """Pause, free the thread, and live on only where a variable holds the lab: its cell was run again."""
        self.engine.pause(
            "Stopped: its cell was run again and made a new lab. Press play to use this one all the same."
        )
        self.engine.close()
        registry.forget(self)

    # -- keeping it ---------------------------------------------------------------------------------------

    @property
    def recording(self) -> Recording:
        """What made this run what it is, so far: seed, settings and every knob turned. See Recording.save."""
        return self.engine.post(lambda: self.engine.run.record(*self.engine.runs[1:]), report=False).result()

    def follow(self, recording: Recording | str | Path) -> "LatentLab":
        """Go back to the beginning of a recording, or of the file or the web address it is at. Returns the lab.

        From there `play` or `run` turn each knob at its step, until its end; who turns one takes over.
        Raises ValueError, in one line, when it is none, or not of a run such as this lab's; nothing is changed then.
        """
        if not isinstance(recording, Recording):
            recording = Recording.load(recording)
        twins = [recording, recording.of_twin()] if recording.twin else [recording]
        if len(twins) != len(self.sides):
            hints = ("not of a twin: make a lab without one", "of a twin: make the lab with twin=True")
            raise ValueError(f"this recording is {hints[len(twins) - 1]}")
        self.engine.follow(twins).result()
        self.controls.show()
        return self

    def save(self, path: str | Path) -> None:
        """Save weights, optimizer, generator and recording in one file, whole or not at all: see LatentLab.resume.

        Raises OSError or ValueError, in one line, when it cannot be written there.
        """
        self.engine.post(lambda: self.engine.run.save(path, *self.engine.runs[1:]), report=False).result()

    @classmethod
    def resume(cls, path: str | Path, *, model=None, data=None, shown=1000, pair=None, threads=None) -> "LatentLab":
        """Return the lab that `save` wrote: it goes on to the bit. model, data: needed when they were your own."""
        saved = resume(path, model=model, data=data)
        runs = saved if isinstance(saved, tuple) else (saved,)
        check_lab_model(runs[0].model, ImageSet(runs[0].images), pair)
        lab = cls.__new__(cls)
        lab._recipe, lab._data_sets = None, {}
        lab._open(lambda: runs, len(runs), shown, pair, threads, TaskList())
        return lab

    def offer_recording(self) -> None:
        """Give the page the recording, to be saved as a file."""
        about, plane = {"kind": "file", "name": "vaekit-recording.json"}, self.view.plane
        self.engine.post(lambda: plane.send(about, buffers=[self.recording.to_json().encode()]))
