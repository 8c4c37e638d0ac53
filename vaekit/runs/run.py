"""One training run, its way back, its twin, its recording and its file. No threads, no clock, no widgets."""

import copy
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from vaekit._checks import check_choice, check_type, check_whole, first_line, short_repr
from vaekit._contract import underneath
from vaekit._files import read_whole, short_path
from vaekit.data import Batches, ImageSet, check_images, choose_device
from vaekit.runs import checkpoint
from vaekit.runs.checkpoint import CheckpointError, Snapshot
from vaekit.runs.datasets import describe_images, find_images
from vaekit.runs.recording import Recording, checked_changes, fingerprint, made_with, plain_name
from vaekit.training import KNOBS, Knobs, Step, default_optimizer, train

Data = ImageSet | Tensor | dict[str, ImageSet] | None


class Run:
    """A model, its data and its optimizer, moved on by `train()`, and a recording of every knob that was turned.

    settings: what acts on the next step, a read-only mapping of all knobs, "kind" and "data". number: steps taken.
    The generator, seeded with `seed`, draws the batches and ε; nothing else does, so that a run can go back
    to any step and come out at the same weights, to the bit.
    """

    def __init__(self, model: nn.Module, sets: dict[str, ImageSet], settings: Mapping, seed: int = 0, batch_size=128):
        self.model, self.sets, self.seed, self.batch_size = model, sets, seed, batch_size
        self._weights = underneath(model)  # a compiled model has other names for its weights
        self.settings: Mapping = MappingProxyType(dict(settings))
        self.initial_state = copy.deepcopy(self._weights.state_dict())
        self.reset()

    @property
    def images(self) -> Tensor:
        return self.sets[self.settings["data"]].images

    @property
    def knobs(self) -> Knobs:
        """A copy of the knobs that act on the next step."""
        return Knobs(**{name: self.settings[name] for name in KNOBS})

    def reset(self) -> None:
        """Go back to the initial weights and the seed; the knobs stay where they are."""
        self.replaying: Recording | None = None
        self.recording = Recording(self.seed, dict(self.settings), batch_size=self.batch_size)
        self.generator = torch.Generator(self.images.device).manual_seed(self.seed)
        self.snapshots = [Snapshot(0, self.initial_state, {}, self.generator.get_state())]
        self._restore(self.snapshots[0])

    def check_knobs(self, changes: Mapping) -> dict:
        """Return `changes` as plain values; any thread may ask. Raises TypeError or ValueError, in one line."""
        sound = checked_changes(dict(changes))
        if "data" in sound:
            self._check_data(sound["data"], self.batch_size)
        return sound

    def set_knobs(self, changes: Mapping) -> None:
        """Turn knobs, or change kind or data: it acts at the very next step, and ends a replay.

        Raises TypeError or ValueError, in one line, when a value makes no sense; nothing is changed then.
        """
        sound = self.check_knobs(changes)
        if changed := {name: value for name, value in sound.items() if value != self.settings[name]}:
            self.replaying = None
            self._turn(changed)

    def advance(self) -> Step:
        """Take one optimizer step; a recording that is replayed turns its knobs first."""
        if self.replaying:
            self._turn(self.replaying.changes_at(self.number + 1))
        step = next(self._loop)
        self.number = step.number
        if self.replaying and self.number >= self.replaying.steps:
            self.replaying = None
        return step

    def _turn(self, changes: Mapping) -> None:
        """Have sound changes act from the next step on, and record them."""
        self.recording.note(self.number + 1, changes)
        self.settings = MappingProxyType({**self.settings, **changes})
        vars(self._knobs).update(vars(self.knobs))  # those that the loop reads
        if "data" in changes:  # other images begin with an epoch of their own
            self.batches = Batches(len(self.images), self.batch_size, self.generator)
        if changes.keys() & {"kind", "data"}:
            self._make_loop()

    def _make_loop(self) -> None:
        self._knobs = self.knobs  # the loop reads them afresh at every step
        parts = {"optimizer": self.optimizer, "generator": self.generator, "batches": self.batches}
        about = {"batch_size": self.batch_size, "kind": self.settings["kind"], "first": self.number + 1}
        self._loop = train(self.model, self.images, self._knobs, **parts, **about)

    def snapshot(self) -> Snapshot:
        state = copy.deepcopy((self._weights.state_dict(), self.optimizer.state_dict()["state"]))
        return Snapshot(self.number, *state, self.generator.get_state(), **self.batches.state_dict())

    def keep(self) -> None:
        """Keep a snapshot to go back to, beside the first one and the last but one."""
        if self.number > self.snapshots[-1].number:
            self.snapshots = [self.snapshots[0], *self.snapshots[1:][-1:], self.snapshot()]

    def go_back(self, number: int) -> None:
        """Go to the state just after step `number`: to the nearest snapshot before it, then the same steps again.

        Where one of these steps fails, the run stays at the snapshot: see `number`. The knobs stay as they stand:
        who turned one too far must see it. Only a recording that is replayed sets them, and is replayed from there.
        """
        stood, replaying = self.settings, self.replaying
        self.replaying = replace(self.recording, steps=number)
        self.snapshots = [snapshot for snapshot in self.snapshots if snapshot.number <= number]
        self._restore(self.snapshots[-1])
        try:
            with suppress(Exception):  # an interrupt is not the model's fault: it goes on to the caller
                while self.number < number:
                    self.advance()
        finally:
            if self.number < number:
                self._restore(self.snapshots[-1])
            self.replaying = replaying
            if replaying is None:
                self.set_knobs(stood)

    def _restore(self, snapshot: Snapshot) -> None:
        self.number = snapshot.number
        self.recording.events = [event for event in self.recording.events if event[0] <= self.number]
        self.settings = MappingProxyType(self.recording.at(snapshot.number))
        self._weights.load_state_dict(snapshot.model)
        self.optimizer = default_optimizer(self.model, self.settings["lr"])
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": copy.deepcopy(snapshot.moments)})
        self.generator.set_state(snapshot.generator)
        self.batches = Batches(len(self.images), self.batch_size, self.generator)
        self.batches.load_state_dict({"taken": snapshot.taken, "order_state": snapshot.order_state})
        self._make_loop()

    def twin(self) -> "Run":
        """Return a second run, at the beginning, with the same knobs: in lockstep both see the same batches and ε."""
        try:
            model = copy.deepcopy(self.model)
        except Exception as error:
            raise ValueError(f"this {type(self.model).__name__} cannot be copied ({first_line(error)})") from error
        underneath(model).load_state_dict(self.initial_state)
        return Run(model, self.sets, self.settings, self.seed, self.batch_size)

    def record(self, twin: "Run | None" = None) -> Recording:
        """Return the recording so far, a copy, with that of `twin`, a run in lockstep. Its hashes take 0.1 s."""
        if len({(run.number, run.seed, run.batch_size) for run in (self, twin or self)}) > 1:
            raise ValueError("two runs are recorded together only in lockstep: the same seed, batch size and step")
        whole = Recording(int(self.seed), **self._knob_history(), steps=self.number, batch_size=int(self.batch_size))
        whole.first_weights = fingerprint(self.initial_state)
        whole.model = checkpoint.describe_model(self._weights, whole.first_weights, self.seed)
        whole.made_with = made_with(self.images.device)
        whole.twin = twin and twin._knob_history()
        names = dict.fromkeys(self.recording.data_history().values())  # a twin's are the same
        whole.data = {name: describe_images(self.sets[name]) for name in names}
        return whole

    def _knob_history(self) -> dict:
        """What was turned and acted, and where it led."""
        acted = [(step, dict(changes)) for step, changes in self.recording.events if step <= self.number]
        result = fingerprint(self._weights.state_dict())
        return {"settings": dict(self.recording.settings), "events": acted, "result": result}

    def follow(self, recording: Recording) -> None:
        """Go back to the beginning of a recording, from where `advance` turns its knobs, each at its step.

        `replaying` is the recording until its last step, a knob that somebody turns, or `reset`.
        Raises ValueError, in one line, when its images or weights are not this run's; nothing is changed then.
        """
        recording, initial_state = recording.checked(), self.initial_state
        if recording.first_weights not in (None, fingerprint(initial_state)):  # then they are made of its seed
            made = checkpoint.build_model(recording.model, recording.seed).state_dict() if recording.model else {}
            is_alike = checkpoint.layout(made) == checkpoint.layout(initial_state)
            if not is_alike or fingerprint(made) != recording.first_weights:  # another torch may make others of a seed
                about = short_repr(recording.model) if recording.model else "one of its own"
                what = f"the recording is of another model than this run's ({about}): make a run with that one"
                raise ValueError(f"{what}; what differs here: {recording.differences()}")
            initial_state = {name: made[plain_name(name)] for name in initial_state}
        for name in recording.data_history().values():
            self._check_data(name, recording.batch_size, recording.data.get(name))
        self.initial_state, self.seed, self.batch_size = initial_state, recording.seed, recording.batch_size
        self.settings = MappingProxyType(dict(recording.settings))
        self.reset()
        self.replaying = recording if recording.steps else None

    def _check_data(self, name: str, batch_size: int, recorded: dict | None = None) -> None:
        check_choice("data", name, self.sets)
        if recorded and describe_images(self.sets[name])["sha256"] != recorded["sha256"]:
            raise ValueError(f"the images {name[:60]!r} are not those of the recording: their sha256 differ")
        check_images(self.sets[name].images, batch_size)

    def save(self, path: str | os.PathLike, twin: "Run | None" = None) -> None:
        """Save what it takes to go on to the bit, `twin` in lockstep too, as one file. Raises OSError or ValueError."""
        states = [(run.snapshot(), run.recording.changes_at(run.number + 1)) for run in (self, twin) if run]
        checkpoint.write(path, self.record(twin), self.initial_state, states)


def replay(
    recording: Recording, *, model: nn.Module | None = None, data: Data = None, steps: int | None = None
) -> Run | tuple[Run, Run]:
    """Play a recording to its end, or to `steps`: the run, or two of them when it has a twin.

    model, data: needed when they were not the kit's own; the model with its first weights.
    Warns when the weights are not the recorded ones to the bit. Raises ValueError or TypeError, in one line.
    """
    recording = check_type("recording", recording, Recording, "a vaekit.Recording, by load(path)").checked()
    steps = recording.steps if steps is None else check_whole("steps", steps, 0, recording.steps)
    runs = _make_runs(recording, model, data, dict.fromkeys(recording.data_history().values()))
    for run, recorded in runs.items():
        run.follow(recorded)
        for _ in range(steps):
            run.advance()
        if steps == recorded.steps and recorded.result not in (None, fingerprint(run._weights.state_dict())):
            what = f"after step {steps} the weights are not the recorded ones"
            warnings.warn(f"{what}; where it was made, other than here: {recorded.differences()}", stacklevel=2)
    return tuple(runs) if recording.twin else run


def resume(path: str | os.PathLike, *, model: nn.Module | None = None, data: Data = None) -> Run | tuple[Run, Run]:
    """The run, or the two in lockstep, that `save` wrote: it goes on as if it had never stopped, to the bit.

    model, data: needed when they were not the kit's own; the model's weights are replaced by the saved ones.
    Raises CheckpointError, ValueError or TypeError, in one line.
    """
    content = read_whole(path, CheckpointError)
    try:
        recording, tensors, taken, turned = checkpoint.read(content)
        runs = _make_runs(recording, model, data, recording.data)
        for i, (run, recorded) in enumerate(runs.items()):
            if (device := recorded.made_with["device"]) != run.images.device.type:
                raise CheckpointError(f"it cannot go on here: saved on {device}, this is {run.images.device.type}")
            changes = run.check_knobs(turned[i])
            run.initial_state, snapshot = checkpoint.unpack(tensors, i, recording.steps, taken[i], run._weights)
            run.reset()
            run.recording.settings, run.recording.events = recorded.settings, recorded.events
            run._restore(snapshot)
            run._turn(changes)
            run.keep()
    except CheckpointError as error:
        raise CheckpointError(f"{short_path(path)}: {error}") from None
    return tuple(runs) if recording.twin else run


def _make_runs(recording: Recording, model: nn.Module | None, data: Data, names) -> dict[Run, Recording]:
    """A run at the first step of a recording, and its twin, each with its own recording."""
    if model is None:
        made = checkpoint.build_model(recording.model, recording.seed)
        model = made.to(choose_device(recording.made_with.get("device")))
    check_type("model", model, nn.Module, "a torch.nn.Module such as vaekit.VAE()")
    sets = find_images(names, recording, data, next(model.parameters(), torch.empty(0)).device)
    run, twin = Run(model, sets, recording.settings, recording.seed, recording.batch_size), recording.of_twin()
    return {run: recording} if twin is None else {run: recording, run.twin(): twin}
