"""One training run and its way back: no threads, no clock, no widgets."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaekit.data import Batches, ImageSet
from vaekit.lab.recording import Recording
from vaekit.training import Knobs, Step, default_optimizer, train

KNOBS = ("beta", "prior", "lr")


@dataclass(frozen=True)
class Snapshot:
    """Everything that decides the steps to come, copied: weights, optimizer, generator, place in the epoch."""

    number: int
    model: dict
    optimizer: dict
    generator: Tensor
    batches: dict


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
        self.number = 0
        self.model.load_state_dict(self.beginning)
        self.optimizer = default_optimizer(self.model, self.knobs.lr)
        self.generator = torch.Generator(self.images.device).manual_seed(self.seed)
        self.recording = Recording(self.seed, self.settings)
        self.batches = Batches(len(self.images), self.batch_size, self.generator)
        self._go_on()
        self.snapshots = [self.snapshot()]

    def turn(self, changes: dict) -> None:
        """Turn knobs (or the kind of reconstruction, or the data set): it acts at the very next step."""
        changes = {name: value for name, value in changes.items() if value != self.settings[name]}
        if changes:
            self._apply(changes)
            self.recording.note(self.number + 1, changes)

    def advance(self) -> Step:
        """One optimizer step."""
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
        where they stood last: who turned one too far must see it, and turn it back.
        """
        wanted = self.settings
        self.snapshots = [s for s in self.snapshots if s.number <= number]
        self._restore(self.snapshots[-1])
        try:
            while self.number < number:
                self._apply(self.recording.changes_at(self.number + 1))
                self.advance()
        except BaseException:
            self._restore(self.snapshots[-1])
        self.recording.cut(self.number)
        self.turn(wanted)

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
