"""A recording of a run: its seed, the settings it began with, and what was turned at which step; and its file.

The file is JSON: the fields of `Recording` and "format" and "version", as recording.schema.json describes them.
"""

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from vaekit._checks import check_choice, check_type, first_line, short_repr
from vaekit._files import read_whole, short_path, write_whole
from vaekit.data import choose_device
from vaekit.losses import KINDS
from vaekit.training import KNOBS, check_knob

HEADER = {"format": "vaekit recording", "version": 1}


class RecordingError(ValueError):
    """A recording, or its file, is not what it should be; the message says what and where, in one line."""


@dataclass
class Recording:
    """A run, to be played again: the same seed, settings and events give the same weights, to the bit.

    settings, and the changes of events (number of the first step they acted on, changes): the knobs, kind and data.
    steps: how many were taken, in batches of batch_size.
    model: class, latent_dim, hidden and image_shape of a model whose first weights come from the seed; else None.
    data, of each name: images (how many), shape (C, H, W), sha256, and source: a name in `datasets.SOURCES` or None.
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

    def note(self, step: int, changes: dict) -> None:
        """Record `changes` that act from `step` on; those before the first step are part of the initial settings."""
        last, latest = self.events[-1] if self.events else (1, self.settings)
        if step <= last:
            latest.update(changes)
        elif changes:
            self.events.append((step, dict(changes)))

    def at(self, step: int) -> dict:
        """The settings that act on step number `step`."""
        past = [self.settings, *(changes for number, changes in self.events if number <= step)]
        return {name: value for changes in past for name, value in changes.items()}

    def changes_at(self, step: int) -> dict:
        """What was turned just before step number `step`."""
        return dict(self.events).get(step, {})

    def of_twin(self) -> "Recording | None":
        """The second run, as a recording of its own; None when there was none."""
        return None if self.twin is None else replace(self, **self.twin, twin=None)

    def data_history(self) -> dict[int, str]:
        """From which step on the run saw which data set."""
        return {step: turned["data"] for step, turned in [(1, self.settings), *self.events] if "data" in turned}

    def save(self, path: str | os.PathLike) -> None:
        """Write its file whole or not at all. Raises RecordingError when it is not sound, OSError; in one line."""
        write_whole(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Recording":
        """Read a file that `save` wrote, from its path or its web address. Raises RecordingError, in one line."""
        return cls.from_json(read_whole(path, RecordingError), short_path(path))

    def to_json(self) -> str:
        """The text of its file. Raises RecordingError when it is not sound."""
        return json.dumps(HEADER | vars(self.checked()), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, name: str = "this text") -> "Recording":
        """The recording in a text that is from `name`. Raises RecordingError, in one line that names the field."""
        try:
            return _sound(json.loads(text))
        except RecordingError as error:
            raise RecordingError(f"{name}: {error}") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise RecordingError(f"{name}: this is not a recording (no JSON: {first_line(error)[:80]})") from None

    def checked(self) -> "Recording":
        """A sound copy. Raises RecordingError, in one line."""
        text = json.dumps(HEADER | vars(self), default=short_repr)  # what JSON does not know, the check refuses
        return self.from_json(text, "this recording")

    def differences(self) -> str:
        """What is other here than where it was made; where nothing is, a replay is the same to the bit."""
        here = made_with(choose_device(self.made_with.get("device")))
        there = {name: value for name, value in self.made_with.items() if value != here[name]}
        return ", ".join(f"{name} {value} (here {here[name]})" for name, value in there.items()) or "nothing known"


def _sound(content) -> Recording:
    """The recording in a file's content. Raises RecordingError when something in it makes no sense."""
    for error in _validator().iter_errors(content):
        name = short_path(error.json_path).removeprefix("$").lstrip(".") or "it"
        raise RecordingError(f"{name} must be {error.schema['description']} ({first_line(error)[:100]})")
    recording = Recording(**{name: value for name, value in content.items() if name not in HEADER})
    runs = {"": vars(recording)} | ({"of the twin, ": recording.twin} if recording.twin else {})
    for where, run in runs.items():
        history = Recording(0, {name: knob.default for name, knob in KNOBS.items()})  # one may be newer than the file
        for step, changes in [(1, run["settings"]), *sorted(run["events"], key=lambda event: event[0])]:
            try:
                history.note(step, checked_changes(changes))
            except (TypeError, ValueError) as error:
                raise RecordingError(f"{where}at step {step}, {error}") from None
        run.update(settings=history.settings, events=history.events)
    if recording.twin and recording.of_twin().data_history() != recording.data_history():
        raise RecordingError("twin turns data alone: two runs in lockstep see the same images")
    return recording


@cache
def _validator():
    from jsonschema import Draft202012Validator, validators  # slow to import

    schema = json.loads(Path(__file__).with_name("recording.schema.json").read_text(encoding="utf-8"))
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)  # 3.0 is none
    return validators.extend(Draft202012Validator, type_checker=types)(schema)


def checked_changes(changes: dict) -> dict:
    """The same changes of knobs, kind and data, as plain numbers and words. Raises TypeError or ValueError."""
    checks = dict.fromkeys(KNOBS, check_knob) | {"kind": partial(check_choice, choices=KINDS)}
    checks["data"] = partial(check_type, kind=str, allowed="a data set's name")
    if unknown := [name for name in changes if name not in checks]:
        raise ValueError(f"there is no knob {short_repr(unknown[0])}: the knobs are {', '.join(checks)}")
    return {name: checks[name](name, value) for name, value in changes.items()}


def made_with(device: torch.device) -> dict:
    """What may decide the last bits of a run on `device`, on this thread: each may have its own number of torch's."""
    processor = platform.processor()
    with suppress(OSError, TypeError):  # no Linux, or one that gives no name; two of a kind may round differently
        processor = re.search(r"(?m)^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text())[1]
    words = platform.machine(), torch.backends.cpu.get_cpu_capability(), processor
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else " ".join(words).strip()
    versions = {"vaekit": sys.modules["vaekit"].__version__, "torch": str(torch.__version__)}
    return versions | {"device": device.type, "threads": torch.get_num_threads(), "machine": machine[:60]}


def plain_name(name: str) -> str:
    """The name of a weight, without what `torch.compile` puts into it."""
    return name.replace("_orig_mod.", "")


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of a model's state: of plain names, dtypes, shapes and bytes; what is no tensor is left out."""
    total = hashlib.sha256()
    for name, tensor in sorted((plain_name(name), value) for name, value in tensors.items()):
        if isinstance(tensor, Tensor):
            total.update(f"{name!r} {tensor.dtype} {list(tensor.shape)}\n".encode())
            total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()
