"""One training run and its way back, its twin, its recording and its file: no threads, no clock, no widgets."""

import copy
import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaekit.checkpoint import (
    CheckpointError,
    Saved,
    Snapshot,
    build_model,
    describe_images,
    describe_model,
    images_print,
    write,
)
from vaekit.data import Batches, ImageSet, check_images
from vaekit.messages import first_line, shown
from vaekit.recording import KNOBS, Recording, checked_changes, fingerprint, made_with
from vaekit.training import Knobs, Step, default_optimizer, train


class Run:
    """A model, its data and its optimizer, moved on by `train()`, and a recording of what was turned.

    The generator, seeded with `seed`, draws batches and ε; nothing else does, so that a run can go back
    to any step and come out at the same weights, to the bit.
    """

    def __init__(self, model: nn.Module, sets: dict[str, ImageSet], settings: dict, seed: int = 0, batch_size=128):
        self.model, self.sets, self.seed, self.batch_size = model, sets, seed, batch_size
        self.knobs = Knobs(**{name: settings[name] for name in KNOBS})
        self.kind, self.data = settings["kind"], settings["data"]
        self.beginning = copy.deepcopy(model.state_dict())
        self.following: Recording | None = None
        self.reset()

    @property
    def images(self) -> Tensor:
        return self.sets[self.data].images

    @property
    def settings(self) -> dict:
        """What acts on the next step."""
        return {name: getattr(self.knobs, name) for name in KNOBS} | {"kind": self.kind, "data": self.data}

    def reset(self) -> None:
        """Back to the weights and the seed of the beginning; the knobs stay where they are."""
        self.number, self.following = 0, None
        self.model.load_state_dict(self.beginning)
        self.optimizer = default_optimizer(self.model, self.knobs.lr)
        self.generator = torch.Generator(self.images.device).manual_seed(self.seed)
        self.recording = Recording(self.seed, self.settings, batch_size=self.batch_size)
        self.batches = Batches(len(self.images), self.batch_size, self.generator)
        self._go_on()
        self.snapshots = [self.snapshot()]

    def turn(self, changes: dict) -> None:
        """Turn knobs (or the kind of reconstruction, or the data set): it acts at the very next step.

        Whoever turns something has taken over: a recording that was followed is dropped.
        Raises TypeError or ValueError, in one line, when a value makes no sense; nothing is changed then.
        """
        changes = {name: value for name, value in checked_changes(changes).items() if value != self.settings[name]}
        if "data" in changes:
            self._check_data(changes["data"])
            check_images(self.sets[changes["data"]].images, self.batch_size)
        if changes:
            self.following = None
            self._apply(changes)
            self.recording.note(self.number + 1, changes)

    def advance(self) -> Step:
        """One optimizer step; what a recording that is followed has turned there is turned first."""
        its = self.following
        if its is None:
            return self._step()
        if changes := its.changes_at(self.number + 1):
            self._apply(changes)
            self.recording.note(self.number + 1, changes)
        step = self._step()
        if self.number >= its.steps:
            self.following = None
        return step

    def _step(self) -> Step:
        step = next(self.steps)
        self.number = step.number
        return step

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.number,
            copy.deepcopy(self.model.state_dict()),
            copy.deepcopy(self.optimizer.state_dict()),
            self.generator.get_state(),
            self.batches.state_dict(),
        )

    def keep(self) -> None:
        """Keep a snapshot to go back to: the beginning's and the last two are there."""
        if self.number > self.snapshots[-1].number:
            self.snapshots = [self.snapshots[0], *self.snapshots[1:][-1:], self.snapshot()]

    def go_back(self, number: int) -> None:
        """Go to the state just after step `number`, by the nearest snapshot before it and the same steps again.

        Where one of these steps fails, it is the snapshot's own state: see `number`. The knobs then stand
        where they stood last: who turned one too far must see it, and turn it back. Only where a recording
        is followed they are that step's, and it is followed from there.
        """
        wanted = self.settings
        self.snapshots = [s for s in self.snapshots if s.number <= number]
        self._restore(self.snapshots[-1])
        try:
            while self.number < number:
                self._apply(self.recording.changes_at(self.number + 1))
                self._step()
        except BaseException:
            self._restore(self.snapshots[-1])
        self.recording.cut(self.number)
        if self.following is None:
            self.turn(wanted)

    # -- twins, recordings and files ----------------------------------------------------------------------

    def twin(self) -> "Run":
        """A second run beside this one, at the same step and in the same state, with a generator of its own.

        Advanced in lockstep the two take the same batches and the same ε, as long as "data" is turned in both.
        """
        try:
            model = copy.deepcopy(self.model)
        except Exception as error:
            raise ValueError(f"this {type(self.model).__name__} cannot be copied ({first_line(error)})") from error
        other = Run(model, self.sets, self.recording.settings, self.seed, self.batch_size)
        other._take_up(self.recording, self.snapshot())
        other.beginning, other.snapshots, other.following = self.beginning, list(self.snapshots), self.following
        return other

    def record(self, twin: "Run | None" = None) -> Recording:
        """The recording so far, complete, a copy; `twin` is the run in lockstep whose course it holds too.

        The hashes take some 0.1 s: not for the training loop.
        """
        runs = _in_lockstep([self] if twin is None else [self, twin])
        courses = [run._course() for run in runs]
        whole = Recording(
            int(self.seed),
            **courses[0],
            steps=self.number,
            batch_size=int(self.batch_size),
            model=describe_model(self.model, self.beginning, self.seed),
            first_weights=fingerprint(self.beginning),
            made_with=made_with(self.images.device, self.threads),
            twin=None if twin is None else courses[1],
        )
        names = dict.fromkeys([*whole.data_names(), *(run.data for run in runs)])
        whole.data = {name: describe_images(self.sets[name]) for name in names}
        return whole

    def _course(self) -> dict:
        """What was turned and acted, and where it led."""
        mine = copy.deepcopy(self.recording)
        mine.cut(self.number)
        return {"settings": mine.settings, "events": mine.events, "result": fingerprint(self.model.state_dict())}

    def follow(self, recording: Recording) -> None:
        """Play a recording here: back to its beginning, from where `advance` turns what it turned, step by step.

        `following` is the recording until its last step, a `turn` that changes something, or `reset`.
        Raises ValueError, in one line, when this run has not its images or first weights; nothing is changed then.
        """
        recording = recording.checked()
        beginning = self._beginning_of(recording)
        for name in recording.data_names():
            self._check_data(name, recording.data.get(name))
            check_images(self.sets[name].images, recording.batch_size)
        self.beginning, self.seed, self.batch_size = beginning, recording.seed, recording.batch_size
        self.knobs = Knobs(**{name: recording.settings[name] for name in KNOBS})
        self.kind, self.data = recording.settings["kind"], recording.settings["data"]
        self.reset()
        self.following = recording if recording.steps else None

    def _check_data(self, name: str, wanted: dict | None = None) -> None:
        if name not in self.sets:
            raise ValueError(f"data must be one of {', '.join(map(repr, self.sets))[:200]}; not {name[:60]!r}")
        if wanted and images_print(self.sets[name].images) != wanted["sha256"]:
            raise ValueError(f"the images {name[:60]!r} are not those of the recording: their sha256 differ")

    def _beginning_of(self, recording: Recording) -> dict:
        """The first weights that a recording asks for: this run's, or made from the recording's seed."""
        if recording.first_weights in (None, fingerprint(self.beginning)):
            return self.beginning
        what = "the recording was made with other first weights than this run's"
        if recording.model is None:
            raise ValueError(f"{what}, by a model of its own: make a run with that model")
        made = build_model(recording.model, recording.seed).to(self.images.device).state_dict()
        if _shapes(made) != _shapes(self.beginning):
            raise ValueError(f"the recording is of another model than this run's ({shown(recording.model)})")
        if fingerprint(made) != recording.first_weights:
            raise ValueError(f"{what}, and they cannot be made here from its seed. {recording.trust()}")
        return made

    def save(self, path: str | os.PathLike) -> None:
        """All that it takes to go on from here to the bit, in one safetensors file: see `playback.resume`.

        Raises OSError when it cannot be written, ValueError when the model's state is not all tensors; in one line.
        """
        save_runs([self], path)

    def _take_up(self, recording: Recording, snapshot: Snapshot) -> None:
        """Be where `snapshot` is, on the course of `recording`, which may have turned something since."""
        settings, events = copy.deepcopy((recording.settings, recording.events))
        self.recording = Recording(self.seed, settings, events, batch_size=self.batch_size)
        self._restore(snapshot)
        self._apply(self.recording.changes_at(self.number + 1))  # turned, but no step taken since
        self.snapshots = self.snapshots[:1]
        self.keep()

    def _resume(self, recording: Recording, snapshot: Snapshot, turned: dict) -> None:
        """`_take_up` with what a file says, which need not be true."""
        try:
            for state in filter(lambda state: state is not None, (snapshot.generator, snapshot.batches["order_state"])):
                torch.Generator(self.images.device).set_state(state)
            turned = checked_changes(turned)
            self._check_data(turned.get("data", self.data))
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            made = recording.made_with.get("device", "another device")
            where = f"saved on {made}, this is {self.images.device.type}"
            raise CheckpointError(f"it cannot go on here: {where} ({first_line(error)})") from None
        course = copy.deepcopy(recording)
        course.note(snapshot.number + 1, turned)
        self._take_up(course, snapshot)

    def is_finite(self) -> bool:
        """Are all the weights numbers?"""
        return all(bool(p.isfinite().all()) for p in self.model.parameters())

    def _restore(self, snapshot: Snapshot) -> None:
        self.number = snapshot.number
        self._apply(self.recording.at(max(snapshot.number, 1)))
        self.model.load_state_dict(snapshot.model)
        self.optimizer = default_optimizer(self.model, self.knobs.lr)
        self.optimizer.load_state_dict(copy.deepcopy(snapshot.optimizer))
        self.generator.set_state(snapshot.generator)
        self.batches.load_state_dict(snapshot.batches)
        self._go_on()

    def _apply(self, changes: dict) -> None:
        for name in KNOBS:
            if name in changes:
                setattr(self.knobs, name, changes[name])
        if "kind" in changes:
            self.kind = changes["kind"]
        if "data" in changes:  # the other images begin with an epoch of their own
            self.data = changes["data"]
            self.batches = Batches(len(self.images), self.batch_size, self.generator)
        if changes.keys() & {"kind", "data"}:
            self._go_on()

    def _go_on(self) -> None:
        self.threads = torch.get_num_threads()  # asked on the thread that trains: each may have its own number
        self.steps = train(
            self.model,
            self.images,
            self.knobs,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            generator=self.generator,
            batches=self.batches,
            kind=self.kind,
            first=self.number + 1,
        )


def save_runs(runs: Sequence[Run], path: str | os.PathLike) -> None:
    """Save one run, or two in lockstep, in one file: see `Run.save`."""
    if not 1 <= len(runs) <= 2:
        raise ValueError(f"a file holds one run, or two in lockstep, not {len(runs)}")
    run, *others = runs
    states = [(one.snapshot(), one.recording.changes_at(one.number + 1)) for one in runs]
    write(path, Saved(run.record(*others), run.beginning, states))


def _in_lockstep(runs: list[Run]) -> list[Run]:
    if len({(run.number, run.seed, run.batch_size) for run in runs}) > 1:
        raise ValueError("two runs are recorded together only in lockstep: the same seed, batch size and step")
    return runs


def _shapes(weights: dict) -> dict:
    return {name: (value.shape, value.dtype) for name, value in weights.items()}
