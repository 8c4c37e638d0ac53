"""Recordings and their files: what is written, what is read again, and what is refused."""

import json
import re
from dataclasses import field, fields, make_dataclass, replace
from pathlib import Path

import pytest
import torch
from lab_helpers import SETTINGS

import vaekit
import vaekit.runs.recording
from vaekit.runs.recording import Recording, RecordingError, fingerprint

SCHEMA = Path(vaekit.runs.recording.__file__).with_name("recording.schema.json")
TEXT = (Path(__file__).with_name("version1") / "recording.json").read_text()  # with something in every field


def whole(**changes) -> Recording:
    return replace(Recording.from_json(TEXT), **changes)


def test_what_is_loaded_is_what_was_saved(tmp_path):
    plain = Recording(0, dict(SETTINGS))
    for recording in (whole(), whole(twin=None, model=None, made_with={}, result=None), plain):
        recording.save(tmp_path / "run.json")
        assert Recording.load(str(tmp_path / "run.json")) == recording == Recording.from_json(recording.to_json())


def test_the_file_is_plain_json_with_the_fields_as_documented():
    content = json.loads(whole().to_json())
    assert content == json.loads(TEXT) and content.pop("format") == "vaekit recording" and content.pop("version") == 1
    assert list(content) == [part.name for part in fields(Recording)]
    for name in [*content, *content["model"], *content["data"]["few"], *content["made_with"]]:
        assert re.search(rf"\b{name}\b", Recording.__doc__), f"the docstring says nothing about {name}"


def test_numbers_are_read_as_the_knobs_hold_them_and_events_in_their_order():
    content = json.loads(TEXT) | {"twin": None}
    content |= {"settings": SETTINGS | {"beta": 2}, "events": [[7, {"beta": 3}], [3, {"lr": 1}], [7, {"lr": 2}]]}
    recording = Recording.from_json(json.dumps(content))
    assert type(recording.settings["beta"]) is float
    assert recording.events == [(3, {"lr": 1.0}), (7, {"beta": 3.0, "lr": 2.0})] and type(recording.events[0]) is tuple


def test_a_file_of_notepad_and_strange_names_are_read(tmp_path):
    name = "Zahlen \U0001f600 \ud800 \n"
    recording = whole(settings=SETTINGS | {"data": name}, events=[], twin=None, data={name: whole().data["few"]})
    assert Recording.from_json(recording.to_json()) == recording
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + recording.to_json().encode())
    assert Recording.load(tmp_path / "bom.json") == recording


def test_a_new_knob_is_its_row_alone(monkeypatch, refuses):
    """An older file means its default; in a newer one it is checked, and acts."""
    row = field(default=0.5, metadata=vaekit.training.KNOBS["beta"].metadata)
    more = make_dataclass("More", [("free_bits", float, row)])
    monkeypatch.setitem(vaekit.training.KNOBS, "free_bits", fields(more)[0])
    assert whole().settings["free_bits"] == 0.5
    newer = whole(settings=SETTINGS | {"free_bits": 0.1}, events=[(3, {"free_bits": 2})], twin=None)
    assert Recording.from_json(newer.to_json()).at(3)["free_bits"] == 2.0
    with refuses(RecordingError, "at step 3, free_bits must be a finite number"):
        whole(events=[(3, {"free_bits": -1})], twin=None).checked()
    monkeypatch.undo()
    with refuses(RecordingError, "at step 1, there is no knob 'free_bits': the knobs are beta, prior, lr, kind, data"):
        Recording.from_json(newer.to_json())


DROP = object()


def with_fault(path: str, value) -> str:
    """The text of a sound file, but with `value` at `path`, such as "twin.events.0.1.beta"; DROP takes it away."""
    content = json.loads(TEXT)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    here = content
    for part in parents:
        here = here[part]
    here[last] = value
    if value is DROP:
        del here[last]
    return json.dumps(content)


FAULTS = [
    ("version", 2, "version must be 1 .*: look for a newer one .2 is not"),
    ("format", "other", "format must be 'vaekit recording'"),
    *[(part.name, DROP, f"'{part.name}' is a required") for part in fields(Recording)],
    ("colour", 3, "'colour' was unexpected"),
    ("seed", 1.5, "seed must be a whole number from -2..63 to 2..64 - 1 .1.5 is not of type 'integer'"),
    ("batch_size", 0, "batch_size must be a whole number from 1"),
    ("settings.beta", -1, "at step 1, beta must be a finite number from 0 up"),
    ("settings.beta", float("nan"), "at step 1, beta must be .*, not nan"),
    ("settings.lr", DROP, "settings must be .*'lr' is a required"),
    ("settings.kind", "poisson", "at step 1, kind must be one of"),
    ("settings.data", 3, "at step 1, data must be a data set's name"),
    ("events.0", [3], r"events\[0\] must be \[step, changes\]"),
    ("events.0.0", 1, r"events\[0\]\[0\] must be the step, a whole number from 2"),
    ("events.0.1", {}, r"events\[0\]\[1\] must be the changes"),
    ("model", {}, "model must be the class and the sizes"),
    ("model.hidden", 10**9, r"model.hidden must be a whole number from 1 to 10\*\*6"),
    ("model.image_shape", [28, 28], r"model.image_shape must be \[channels, height, width\]"),
    ("result", "a" * 64 + "\n", "result must be a sha256"),
    ("data.few", {}, "data.few must be images, shape, sha256 and source"),
    ("data.few.source", {}, "data.few.source must be the name of a data set"),
    ("made_with.torch", "2\n9", "made_with.torch must be a word or two"),
    ("twin", [], "twin must be settings, events and result"),
    ("twin.events", [], "twin turns data alone: two runs in lockstep see the same images"),
    ("twin.events.0.1.lr", -1, "of the twin, at step 3, lr must be"),
]
NO_JSON = "this is not a recording .no JSON"
FILES = [(with_fault(path, value), pattern) for path, value, pattern in FAULTS] + [
    ("", NO_JSON),
    ("[]", "it must be a recording with the fields of version 1"),
    ("[" * 200_000, f"{NO_JSON}.*recursion"),
    ('{"seed": ' + "1" * 5000 + "}", NO_JSON),
    (with_fault("settings.beta", 1).replace("0.0005", "1e999"), "at step 7, lr must be .* not inf"),
    (b"\x89PNG\r\n\x1a\n\xff\xfe", NO_JSON),
]


@pytest.mark.parametrize(("content", "pattern"), FILES, ids=[pattern[:40] for _, pattern in FILES])
def test_a_fault_is_named_with_the_file_and_the_field(tmp_path, refuses, content, pattern):
    (tmp_path / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with refuses(RecordingError, rf"run\.json: .*{pattern}"):
        Recording.load(tmp_path / "run.json")


def test_the_schema_says_in_words_what_each_part_must_be():
    parts = []
    json.loads(SCHEMA.read_text(), object_hook=parts.append)
    checks = [part for part in parts if part.keys() & {"type", "enum"}]
    assert checks[20:] and all("description" in part for part in checks)


@pytest.mark.parametrize("fault", [{"seed": torch.tensor(7)}, {"events": {3: {}}}, {"twin": {"events": []}}], ids=str)
def test_what_is_not_sound_is_not_saved(tmp_path, refuses, fault):
    whole().save(tmp_path / "run.json")
    with refuses(RecordingError, "^this recording: "):
        whole(**fault).save(tmp_path / "run.json")
    assert Recording.load(tmp_path / "run.json") == whole()


def test_it_says_what_is_other_here_than_where_it_was_made():
    here = vaekit.runs.recording.made_with(torch.device("cpu"))
    assert here["vaekit"] == vaekit.__version__ and here["torch"] == torch.__version__
    for made_with, pattern in (
        (here, "^nothing known$"),
        ({}, "^nothing known$"),
        (here | {"threads": 99}, r"^threads 99 \(here \d+\)$"),
        (here | {"torch": "1.0", "machine": "abacus"}, r"^torch 1.0 \(here .*\), machine abacus \(here [^\n]*\)$"),
    ):
        assert re.search(pattern, replace(whole(), made_with=made_with).differences())


def test_a_fingerprint_sees_names_types_shapes_and_every_bit():
    plain = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3), "c": torch.ones(4)},
        {"a": -torch.zeros(2, 3), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3)},
    ]
    prints = [fingerprint(state) for state in (plain, *others)]
    assert len(set(prints)) == len(prints)
    same = {"b": torch.ones(4, 2)[:, 0], "a": torch.zeros(3, 2).T}  # in another order, and not contiguous
    assert fingerprint(same) == prints[0]
