"""What a run is made of: a seed, the settings it began with, and what was turned at which step; and its file.

A recording's file is JSON, made by `Recording.save`. It holds "format": "vaekit recording", "version": 1, and
the fields of `Recording` under their own names, an event as [step, {name: value}].
"""

import hashlib
import json
import math
import os
import platform
import sys
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace

import torch
from torch import Tensor

from vaekit.data import choose_device
from vaekit.files import read_whole, short_path, write_whole
from vaekit.losses import KINDS
from vaekit.messages import shown
from vaekit.training import Knobs

FORMAT, VERSION = "vaekit recording", 1
KNOBS = ("beta", "prior", "lr")
SETTINGS = (*KNOBS, "kind", "data")
MADE_WITH = ("vaekit", "torch", "device", "threads", "machine")
SOURCES = ("mnist", "mnist test")  # data sets that anyone can have; their first n images, too
LARGEST_FILE = 64 * 2**20  # bytes: a knob turned at each of a million steps
MOST = 10**12  # steps, images, pixels: beyond it is a slip


class RecordingError(ValueError):
    """A recording, or its file, is not what it should be; the message says what and where, in one line."""


@dataclass
class Recording:
    """A run, to be played again: the same seed, settings and events give the same weights, to the bit.

    settings, and the changes of events (number of the first step they acted on, changes): beta, prior, lr, kind, data.
    steps: how many were taken, in batches of batch_size.
    model: class, latent_dim, hidden and image_shape of a model whose first weights come from the seed; else None.
    data, of each name: images (how many), shape (C, H, W), sha256, and source: "mnist", "mnist test" or None.
    made_with: vaekit, torch, device, threads, machine. first_weights and result: sha256 of the weights, before the
    first step and after `steps`. twin: None, or settings, events and result of a second run in lockstep.
    """

    seed: int
    settings: dict
    events: list[tuple[int, dict]] = field(default_factory=list)
    steps: int = 0
    batch_size: int = 128
    model: dict | None = None
    first_weights: str | None = None
    data: dict = field(default_factory=dict)
    made_with: dict = field(default_factory=dict)
    result: str | None = None
    twin: dict | None = None

    # -- while it is made, and while it is played ---------------------------------------------------------

    def note(self, step: int, changes: dict) -> None:
        """Record `changes` that act from `step` on; changes before the first step are simply how it begins."""
        if not changes:
            return
        if step <= 1:
            self.settings.update(changes)
        elif self.events and self.events[-1][0] == step:
            self.events[-1][1].update(changes)
        else:
            self.events.append((step, dict(changes)))

    def at(self, step: int) -> dict:
        """The settings that act on step number `step`."""
        now = dict(self.settings)
        for number, changes in self.events:
            if number > step:
                break
            now.update(changes)
        return now

    def changes_at(self, step: int) -> dict:
        """What was turned just before step number `step`."""
        place = self._place(step)
        there = place < len(self.events) and self.events[place][0] == step
        return self.events[place][1] if there else {}

    def cut(self, step: int) -> None:
        """Forget the events that act after step number `step`."""
        self.events = self.events[: self._place(step + 1)]

    def _place(self, step: int) -> int:
        """How many events act before step number `step`."""
        return bisect_left(self.events, step, key=lambda event: event[0])

    def of_twin(self) -> "Recording | None":
        """The second run, as a recording of its own; None when there was none."""
        if self.twin is None:
            return None
        return replace(self, **{"twin": None, "result": None} | self.twin)

    def data_names(self) -> list[str]:
        """The names of the data sets that are used, in the order of their use."""
        runs = [self, *filter(None, [self.of_twin()])]
        names = [changes.get("data") for run in runs for changes in (run.settings, *(c for _, c in run.events))]
        return list(dict.fromkeys(name for name in names if name is not None))

    # -- the file -----------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write it as JSON, whole or not at all.

        Raises RecordingError when it is not sound, OSError when it cannot be written; each in one line.
        """
        write_whole(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Recording":
        """Read a file that `save` wrote. Raises RecordingError, in one line that names the file and the field."""
        content = read_whole(path, LARGEST_FILE, RecordingError)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise RecordingError(f"{short_path(path)}: this is not a recording (it is no text at all)") from None
        return cls.from_json(text, short_path(path))

    def to_json(self) -> str:
        """The text of its file. Raises RecordingError when it is not sound."""
        sound = self.checked()
        return json.dumps({"format": FORMAT, "version": VERSION} | asdict(sound), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, name: str = "this text") -> "Recording":
        """What `to_json` wrote; `name` says in a message where the text is from. Raises RecordingError."""
        read = _parse(text, name)
        _need(isinstance(read, dict) and read.get("format") == FORMAT, name, f'has no "format": "{FORMAT}"')
        version = read.get("version")
        _need(
            type(version) is int and version == VERSION,
            name,
            f"has the version {shown(version)}; this vaekit reads version {VERSION}: see whether there is a newer one",
        )
        known = [part.name for part in fields(cls)]
        if missing := [part for part in known if part not in read]:
            raise RecordingError(f"{name}: the field {missing[0]!r} is missing")
        if unknown := read.keys() - {"format", "version", *known}:
            raise RecordingError(f"{name}: there is no field {shown(min(unknown))} in a recording")
        return cls(**{part: read[part] for part in known}).checked(name)

    def checked(self, name: str = "this recording") -> "Recording":
        """A copy with plain numbers. Raises RecordingError, beginning with `name`, when a value makes no sense."""
        _whole(self.seed, -(2**63), 2**64 - 1, name, "seed")
        _whole(self.steps, 0, MOST, name, "steps")
        _whole(self.batch_size, 1, MOST, name, "batch_size")
        _check_model(self.model, name)
        _check_made_with(self.made_with, name)
        _check_data(self.data, name)
        _check_sha256(self.first_weights, name, "first_weights")
        sound = replace(self, **_check_course(self, self.steps, name), model=_copy(self.model), data=_copy(self.data))
        if self.twin is not None:
            _check_keys(self.twin, ("settings", "events", "result"), name, "twin")
            sound.twin = _check_course(replace(self, **self.twin), self.steps, name, "twin.")
        if self.data and (unknown := [n for n in sound.data_names() if n not in self.data]):
            raise RecordingError(f"{name}: data says nothing about {shown(unknown[0])}, which is used")
        return sound

    # -- how far to trust it ------------------------------------------------------------------------------

    def trust(self, threads: int | None = None) -> str:
        """One sentence: how far a replay here, on `threads` (torch's number when not given), can be trusted."""
        if not self.made_with:
            return "What this recording was made with is not known: a replay need not be the same to the bit."
        here = made_with(device_for(self), threads or torch.get_num_threads())
        there = self.made_with
        names = [name for name in MADE_WITH if there[name] != here[name]]
        if there["device"] == here["device"] != "cpu":
            names = [name for name in names if name != "threads"]  # of the CPU
        if not names:
            return "Made with the same software, processor and number of threads: a replay is the same to the bit."
        what = ", ".join(f"{name} {there[name]} (here {here[name]})" for name in names)
        hint = f"; torch.set_num_threads({there['threads']}) would make it so" if names == ["threads"] else ""
        return f"Made with {what}: a replay here follows the same course, but need not be the same to the bit{hint}."


def checked_changes(changes: dict) -> dict:
    """The same changes of beta, prior, lr, kind and data, as plain numbers and words.

    Raises TypeError or ValueError, in one line, when a name is unknown or a value makes no sense.
    """
    knobs, sound = Knobs(), dict(changes)
    for name, value in changes.items():
        if name in KNOBS:
            setattr(knobs, name, value)
            sound[name] = getattr(knobs, name)
        elif name == "kind":
            if value not in KINDS:
                raise ValueError(f"kind must be one of {', '.join(KINDS)}; not {shown(value)}")
        elif name == "data":
            if not isinstance(value, str):
                raise TypeError(f"data must be a data set's name, not {shown(value)}")
        else:
            raise ValueError(f"there is no knob {shown(name)}: the knobs are {', '.join(SETTINGS)}")
    return sound


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of tensors: of their names, in order, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if isinstance(tensor := tensors[name], Tensor):  # a module's state may hold other things
            digest.update(f"{name!r} {tensor.dtype} {list(tensor.shape)}\n".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def made_with(device: torch.device, threads: int) -> dict:
    """What may decide the last bits of a run on `device`."""
    if device.type == "cuda":
        machine = torch.cuda.get_device_name(device)
    else:
        machine = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    version = sys.modules["vaekit"].__version__  # there, since this module is of it
    values = (version, str(torch.__version__), device.type, threads, machine)
    return dict(zip(MADE_WITH, values, strict=True))


def device_for(recording: Recording) -> torch.device:
    """Where to play it: on the kind of device it was made on, when that is here."""
    wanted = recording.made_with.get("device")
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return torch.device(wanted) if here.get(wanted) else choose_device()


# -- checks: each raises RecordingError in one line -------------------------------------------------------


def _need(sound: bool, name: str, fault: str) -> None:
    if not sound:
        raise RecordingError(f"{name}: {fault}")


def _parse(text: str, name: str):
    def refuse(word: str):
        raise RecordingError(f"{name}: {word} is no number that a recording can hold")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecordingError:
        raise
    except RecursionError:
        raise RecordingError(f"{name}: this is not a recording (brackets within brackets without end)") from None
    except (ValueError, TypeError) as error:
        raise RecordingError(f"{name}: this is not a recording (no JSON: {str(error)[:80]})") from None


def _whole(value, low: int, high: int, name: str, where: str) -> None:
    sound = type(value) is int and low <= value <= high
    _need(sound, name, f"{where} must be a whole number from {low} to {high}, not {shown(value)}")


def _check_keys(value, keys: tuple[str, ...], name: str, where: str) -> None:
    sound = isinstance(value, dict) and value.keys() == set(keys)
    _need(sound, name, f"{where} must hold {', '.join(keys)}, and nothing else; not {shown(value)}")


def _check_sha256(value, name: str, where: str) -> None:
    sound = value is None or (isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef"))
    _need(sound, name, f"{where} must be a sha256 (64 digits 0-9a-f) or null, not {shown(value)}")


def _check_course(run: Recording, steps: int, name: str, prefix: str = "") -> dict:
    """Settings, events and result, with plain numbers."""
    settings = _check_changes(run.settings, name, f"{prefix}settings")
    _check_keys(settings, SETTINGS, name, f"{prefix}settings")
    _check_sha256(run.result, name, f"{prefix}result")
    _need(isinstance(run.events, list), name, f"{prefix}events must be a list, not {shown(run.events)}")
    events, last = [], 1
    for number, event in enumerate(run.events):
        where = f"{prefix}events[{number}]"
        _need(isinstance(event, list | tuple) and len(event) == 2, name, f"{where} must be [step, changes]")
        step, changes = event
        _whole(step, 2, MOST, name, f"the step of {where}")
        _need(step > last, name, f"{where} acts at step {step}, but events[{number - 1}] at {last}: sort them by step")
        _need(step <= steps, name, f"{where} acts at step {step}, but the recording has only {steps} steps")
        events.append((step, _check_changes(changes, name, where)))
        last = step
    return {"settings": settings, "events": events, "result": run.result}


def _check_changes(changes, name: str, where: str) -> dict:
    _need(isinstance(changes, dict) and changes, name, f"{where} must name what was turned, not {shown(changes)}")
    try:
        return checked_changes(changes)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"{name}: in {where}, {error}") from None


def _check_model(model, name: str) -> None:
    if model is None:
        return
    _check_keys(model, ("class", "latent_dim", "hidden", "image_shape"), name, "model")
    _need(isinstance(model["class"], str), name, f"model.class must be a name, not {shown(model['class'])}")
    for part in ("latent_dim", "hidden"):
        _whole(model[part], 1, 10**6, name, f"model.{part}")
    _check_shape(model["image_shape"], name, "model.image_shape")
    weights = 2 * model["hidden"] * (math.prod(model["image_shape"]) + 2 * model["latent_dim"])
    _need(weights <= 10**9, name, f"a model of {weights:,} weights is too large: 1,000,000,000 at the most")


def _check_shape(shape, name: str, where: str) -> None:
    sound = isinstance(shape, list | tuple) and len(shape) == 3
    _need(sound, name, f"{where} must be [channels, height, width], not {shown(shape)}")
    for size in shape:
        _whole(size, 1, 10**6, name, where)


def _check_data(data, name: str) -> None:
    _need(isinstance(data, dict), name, f"data must be about data sets by name, not {shown(data)}")
    for key, its in data.items():
        where = f"data[{shown(key)}]"
        _check_keys(its, ("images", "shape", "sha256", "source"), name, where)
        _whole(its["images"], 1, MOST, name, f"{where}.images")
        _check_shape(its["shape"], name, f"{where}.shape")
        _need(isinstance(its["sha256"], str), name, f"{where}.sha256 is missing")
        _check_sha256(its["sha256"], name, f"{where}.sha256")
        known = its["source"] is None or its["source"] in SOURCES
        _need(known, name, f"{where}.source must be one of {', '.join(SOURCES)} or null, not {shown(its['source'])}")


def _check_made_with(made, name: str) -> None:
    if made == {}:
        return
    _check_keys(made, MADE_WITH, name, "made_with")
    _whole(made["threads"], 1, 10**6, name, "made_with.threads")
    for part in set(MADE_WITH) - {"threads"}:
        sound = isinstance(made[part], str) and len(made[part]) <= 60 and made[part].isprintable()
        _need(sound, name, f"made_with.{part} must be a word or two, not {shown(made[part])}")


def _copy(description: dict | None) -> dict | None:
    return None if description is None else json.loads(json.dumps(description))  # shapes become lists
