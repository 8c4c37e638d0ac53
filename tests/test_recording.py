"""Recordings and their files: what is written, what is refused, and that a file is whole or as it was."""

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from copy import deepcopy
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from lab_helpers import SETTINGS, killed_while_saving

import vaekit
import vaekit.files
import vaekit.recording
from vaekit.files import write_whole
from vaekit.recording import VERSION, Recording, RecordingError, fingerprint

A, B, C = "a" * 64, "b" * 64, "c" * 64
EVENTS = [(3, {"beta": 4.0}), (7, {"prior": False, "lr": 5e-4}), (10, {"kind": "gaussian"}), (12, {"data": "few"})]
DIGITS = {"images": 60_000, "shape": [1, 28, 28], "sha256": A, "source": "mnist"}
MADE_WITH = {"vaekit": "0.1.0", "torch": "2.9.0", "device": "cpu", "threads": 1, "machine": "x86_64 AVX2"}
TWIN = {"settings": SETTINGS | {"prior": False}, "events": [(12, {"data": "few"})], "result": C}


def whole(**changes) -> Recording:
    """A recording with something in every field."""
    parts = {
        "seed": 7,
        "settings": SETTINGS,
        "events": EVENTS,
        "steps": 20,
        "batch_size": 64,
        "model": {"class": "VAE", "latent_dim": 2, "hidden": 400, "image_shape": [1, 28, 28]},
        "first_weights": A,
        "data": {"digits": DIGITS, "few": DIGITS | {"images": 150, "source": None}},
        "made_with": MADE_WITH,
        "result": B,
        "twin": TWIN,
    }
    return Recording(**deepcopy(parts | changes))


def as_json(**changes) -> dict:
    return json.loads(whole().to_json()) | changes


# -- the course of a run ----------------------------------------------------------------------------------


def test_what_acts_at_a_step_and_what_was_turned_there():
    its = whole()
    assert its.at(2) == SETTINGS and its.at(3)["beta"] == 4.0 and its.at(9)["kind"] == "bernoulli"
    assert its.at(99) == {"beta": 4.0, "prior": False, "lr": 5e-4, "kind": "gaussian", "data": "few"}
    assert [its.changes_at(step) for step in (1, 3, 4, 12, 13)] == [{}, {"beta": 4.0}, {}, {"data": "few"}, {}]


def test_cut_forgets_what_acted_later():
    for step, left in ((2, 0), (3, 1), (9, 2), (10, 3), (12, 4), (99, 4)):
        its = whole()
        its.cut(step)
        assert its.events == EVENTS[:left]


def test_the_second_run_is_a_recording_of_its_own():
    other = whole().of_twin()
    assert (other.settings, other.events, other.result, other.twin) == (*TWIN.values(), None)
    assert (other.seed, other.steps, other.data) == (7, 20, whole().data)
    assert other.of_twin() is None


def test_data_names_in_the_order_of_their_use():
    assert whole(twin=None).data_names() == ["digits", "few"]
    assert whole(events=[], twin=TWIN | {"events": [(5, {"data": "more"})]}).data_names() == ["digits", "more"]


# -- the file ---------------------------------------------------------------------------------------------


def test_what_is_loaded_is_what_was_saved(tmp_path):
    for its in (whole(), whole(twin=None, model=None, made_with={}, result=None), Recording(0, dict(SETTINGS))):
        its.save(tmp_path / "run.json")
        assert Recording.load(str(tmp_path / "run.json")) == its == Recording.from_json(its.to_json())
    assert os.listdir(tmp_path) == ["run.json"]


def test_the_file_is_plain_json_with_the_fields_as_documented(tmp_path):
    whole().save(tmp_path / "run.json")
    read = json.loads((tmp_path / "run.json").read_text())
    assert read.pop("format") == "vaekit recording" and read.pop("version") == VERSION == 1
    assert list(read) == [field.name for field in fields(Recording)]
    assert read["events"] == [[step, changes] for step, changes in EVENTS]
    for name in read:
        assert re.search(rf"\b{name}\b", Recording.__doc__), f"the docstring says nothing about {name}"
    for name in {**read["model"], **read["data"]["few"], **read["made_with"]}:
        assert re.search(rf"\b{name}\b", Recording.__doc__), f"the docstring says nothing about {name}"


def test_numbers_are_read_as_the_knobs_hold_them():
    text = json.dumps(as_json(settings=SETTINGS | {"beta": 2}, events=[[3, {"lr": 1}]]))
    its = Recording.from_json(text)
    assert type(its.settings["beta"]) is float and its.events == [(3, {"lr": 1.0})] and type(its.events[0]) is tuple


def test_a_file_of_notepad_and_strange_names_are_read(tmp_path):
    name = "Zahlen \U0001f600 \ud800 \n"
    its = whole(settings=SETTINGS | {"data": name}, events=[], twin=None, data={name: DIGITS})
    its.save(tmp_path / "run.json")
    assert Recording.load(tmp_path / "run.json") == its
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + its.to_json().encode())
    assert Recording.load(tmp_path / "bom.json") == its


def deep(path: str, value) -> str:
    """The text of a sound file, but with `value` at `path`, such as "twin.events.0.1.beta"; DROP takes it away."""
    its = as_json()
    *way, last = path.split(".")
    here = its
    for step in way:
        here = here[int(step) if isinstance(here, list) else step]
    last = int(last) if isinstance(here, list) else last
    if value is DROP:
        del here[last]
    else:
        here[last] = value
    return json.dumps(its)


DROP = object()
FAULTS = [
    ("version", 2, "has the version 2; this vaekit reads version 1"),
    ("version", True, "has the version True"),
    ("version", "1", "has the version '1'"),
    ("version", DROP, "has the version None"),
    ("format", "other", 'has no "format": "vaekit recording"'),
    *[(name.name, DROP, f"the field '{name.name}' is missing") for name in fields(Recording)],
    ("colour", 3, "there is no field 'colour'"),
    ("seed", 1.5, "seed must be a whole number"),
    ("seed", True, "seed must be a whole number"),
    ("seed", 2**64, "seed must be a whole number"),
    ("seed", 10**4000, "seed must be a whole number"),
    ("steps", -1, "steps must be a whole number from 0"),
    ("steps", 19.0, "steps must be a whole number"),
    ("steps", 11, r"events\[3\] acts at step 12, but the recording has only 11 steps"),
    ("batch_size", 0, "batch_size must be a whole number from 1"),
    ("batch_size", None, "batch_size must be a whole number from 1"),
    ("settings", [], "settings must name what was turned"),
    ("settings.beta", -1, "in settings, beta must be a finite number from 0 up"),
    ("settings.beta", True, "in settings, beta must be"),
    ("settings.beta", "1", "in settings, beta must be"),
    ("settings.lr", 0, "in settings, lr must be a finite number above 0"),
    ("settings.lr", DROP, "settings must hold beta, prior, lr, kind, data"),
    ("settings.prior", 1, "in settings, prior must be True or False"),
    ("settings.kind", "poisson", "in settings, kind must be one of"),
    ("settings.kind", [], "in settings, kind must be one of"),
    ("settings.data", 3, "in settings, data must be a data set's name"),
    ("settings.data", "x" * 1000, "data says nothing about 'xxx"),
    ("settings.gamma", 1, "in settings, there is no knob 'gamma'"),
    ("events", {}, "events must be a list"),
    ("events.0", 3, r"events\[0\] must be \[step, changes\]"),
    ("events.0", [3], r"events\[0\] must be \[step, changes\]"),
    ("events.0.0", "3", r"the step of events\[0\] must be a whole number from 2"),
    ("events.0.0", 1, r"the step of events\[0\] must be a whole number from 2"),
    ("events.1.0", 3, r"events\[1\] acts at step 3, but events\[0\] at 3: sort them"),
    ("events.1.0", 11, r"events\[2\] acts at step 10, but events\[1\] at 11: sort them"),
    ("events.3.0", 21, r"events\[3\] acts at step 21, but the recording has only 20 steps"),
    ("events.0.1", {}, r"events\[0\] must name what was turned"),
    ("events.0.1", [], r"events\[0\] must name what was turned"),
    ("events.0.1.beta", None, r"in events\[0\], beta must be"),
    ("events.0.1.temperature", 1, r"in events\[0\], there is no knob 'temperature'"),
    ("events.3.1.data", "cats", "data says nothing about 'cats', which is used"),
    ("model", {}, "model must hold class, latent_dim, hidden, image_shape"),
    ("model.class", 3, "model.class must be a name"),
    ("model.hidden", 0, "model.hidden must be a whole number from 1"),
    ("model.latent_dim", 10**9, "model.latent_dim must be a whole number from 1"),
    ("model.hidden", 10**6, "a model of 1,576,000,000 weights is too large"),
    ("model.image_shape", [28, 28], r"model.image_shape must be \[channels, height, width\]"),
    ("model.image_shape", [1, 28, -28], "model.image_shape must be a whole number"),
    ("first_weights", "abc", "first_weights must be a sha256"),
    ("result", "A" * 64, "result must be a sha256"),
    ("result", 3, "result must be a sha256"),
    ("data", [], "data must be about data sets by name"),
    ("data.few", {}, "data.'few'. must hold images, shape, sha256, source"),
    ("data.few.images", 0, "data.'few'..images must be a whole number"),
    ("data.few.sha256", None, "data.'few'..sha256 is missing"),
    ("data.few.source", "http://example.org", "data.'few'..source must be one of mnist, mnist test or null"),
    ("data.few.source", {}, "data.'few'..source must be one of"),
    ("data.few", DROP, "data says nothing about 'few', which is used"),
    ("made_with", None, "made_with must hold"),
    ("made_with.torch", DROP, "made_with must hold vaekit, torch, device, threads, machine"),
    ("made_with.torch", "2\n9", "made_with.torch must be a word or two"),
    ("made_with.threads", "1", "made_with.threads must be a whole number"),
    ("twin", [], "twin must hold settings, events, result"),
    ("twin.settings", {}, "twin.settings must name"),
    ("twin.events.0.0", 1, r"the step of twin.events\[0\] must be"),
    ("twin.events.0.1.lr", -1, r"in twin.events\[0\], lr must be"),
    ("twin.result", "x", "twin.result must be a sha256"),
]


@pytest.mark.parametrize(
    ("path", "value", "pattern"), FAULTS, ids=lambda value: "dropped" if value is DROP else str(value)[:30]
)
def test_a_fault_is_named_with_the_file_and_the_field(tmp_path, refuses, path, value, pattern):
    (tmp_path / "run.json").write_text(deep(path, value))
    with refuses(RecordingError, rf"run\.json: {pattern}"):
        Recording.load(tmp_path / "run.json")


def test_the_file_that_the_faults_are_made_in_is_sound():
    assert Recording.from_json(deep("seed", 7)) == whole()


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", "this is not a recording .no JSON"),
        ("hello", "this is not a recording .no JSON"),
        ("[]", 'has no "format"'),
        ("3", 'has no "format"'),
        ("null", 'has no "format"'),
        ("{}", 'has no "format"'),
        ('{"format": "vaekit recording"', "this is not a recording .no JSON"),
        ("[" * 200_000, "brackets within brackets"),
        ('{"a":' * 200_000, "brackets within brackets"),
        ('{"format": "vaekit recording", "version": 1, "seed": NaN}', "NaN is no number"),
        ('{"format": "vaekit recording", "version": 1, "seed": -Infinity}', "-Infinity is no number"),
        ('{"seed": ' + "1" * 5000 + "}", "no JSON"),
        (json.dumps(as_json()).replace("0.0005", "1e999"), r"in events\[1\], lr must be .* not inf"),
        (None, "no JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_text_that_is_none(refuses, text, pattern):
    with refuses(RecordingError, f"this text: .*{pattern}"):
        Recording.from_json(text)


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "no text at all"),
        (b"\x80\x04\x95cposix\nsystem\n", "no text at all"),
        (b"", "no JSON"),
        (b"\0" * 100, "no JSON"),
    ],
)
def test_a_file_that_is_none(tmp_path, refuses, content, pattern):
    (tmp_path / "run.json").write_bytes(content)
    with refuses(RecordingError, f"run.json: this is not a recording .*{pattern}"):
        Recording.load(tmp_path / "run.json")


def test_what_is_no_file_or_too_large_is_not_read(tmp_path, refuses):
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(2 * 2**30)  # 2 GB of nothing
    os.mkfifo(tmp_path / "pipe")
    for path, pattern in (
        (tmp_path, "this is a folder"),
        (tmp_path / "none.json", "it cannot be read .No such file"),
        (tmp_path / "pipe", "this is not a file"),
        ("/dev/zero", "this is not a file"),
        (tmp_path / "large.json", "2,147,483,648 bytes are too many"),
        (tmp_path / ("x" * 300), "cannot be read"),
        ("~nobody-of-that-name/run.json", "cannot be read"),
    ):
        with refuses(RecordingError, pattern):
            Recording.load(path)
    for path, error in (
        (3, TypeError),
        (None, TypeError),
        (b"run.json", TypeError),
        ("a\0b", ValueError),
        ("", ValueError),
    ):
        with refuses(error, "path"):
            Recording.load(path)
        with refuses(error, "path"):
            whole().save(path)


def test_what_is_not_sound_is_not_saved(tmp_path, refuses):
    whole().save(tmp_path / "run.json")
    for fault in ({"steps": 5}, {"seed": "7"}, {"settings": {}}, {"settings": SETTINGS | {"beta": float("nan")}}):
        with refuses(RecordingError, "^this recording: "):
            whole(**fault).save(tmp_path / "run.json")
    assert Recording.load(tmp_path / "run.json") == whole()


# -- how far to trust it ----------------------------------------------------------------------------------


def test_trust():
    here = vaekit.recording.made_with(torch.device("cpu"), 1)
    assert here["vaekit"] == vaekit.__version__ and here["torch"] == torch.__version__
    cases = [
        (here, "the same software, processor and number of threads: a replay is the same to the bit"),
        (here | {"threads": 4}, r"threads 4 \(here 1\).*need not be.*set_num_threads\(4\) would make it so"),
        (here | {"torch": "1.0", "machine": "abacus"}, r"torch 1.0 \(here .*, machine abacus \(here .*need not be"),
        (here | {"device": "cuda", "threads": 4}, r"device cuda \(here cpu\), threads 4 \(here 1\)"),
        ({}, "is not known: a replay need not be the same"),
    ]
    for made_with, pattern in cases:
        said = whole(made_with=made_with).trust(threads=1)
        if torch.cuda.is_available() and made_with.get("device") == "cuda":
            continue
        assert re.search(pattern, said) and said.count(". ") == 0 and said.endswith(".") and "\n" not in said, said
        assert "set_num_threads" not in said or made_with["torch"] == here["torch"]


def test_a_fingerprint_sees_names_types_shapes_and_every_bit():
    plain = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3), "c": torch.ones(4)},
        {"a": -torch.zeros(2, 3), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3)},
    ]
    prints = [fingerprint(it) for it in (plain, *others)]
    assert len(set(prints)) == len(prints)
    same = {"b": torch.ones(4, 2)[:, 0], "a": torch.zeros(3, 2).T}  # in another order, and not contiguous
    assert fingerprint(same) == prints[0]


# -- whole or not at all ----------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path, refuses, monkeypatch):
    path = tmp_path / "run.json"
    write_whole(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(vaekit.files.os, name, fail)
            with refuses(OSError, "run.json could not be written .No space left on device.; nothing has changed"):
                write_whole(path, b"new")
        assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["run.json"]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.slow
def test_a_disk_that_is_full_in_the_middle_of_a_file(tmp_path):
    """A real failure of the system's: no file may grow beyond 100,000 bytes."""
    program = """
import resource, sys
from vaekit.files import write_whole
write_whole(sys.argv[1], b"old" * 10_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_whole(sys.argv[1], b"new" * 100_000)
except OSError as error:
    print(error)
"""
    said = in_python(program, tmp_path / "run.json")
    assert "run.json could not be written (File too large); nothing has changed" in said and said.count("\n") == 1
    assert (tmp_path / "run.json").read_bytes() == b"old" * 10_000 and os.listdir(tmp_path) == ["run.json"]


def in_python(program: str, *arguments) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(vaekit.__file__).parent.parent)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100).stdout


def test_where_nothing_can_be_written(tmp_path, refuses):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    for path, pattern in (
        (tmp_path / "folder", "it is a folder"),
        (tmp_path / "none" / "run.json", "No such file or directory"),
        (tmp_path / "file" / "run.json", "Not a directory"),
        (tmp_path / ("x" * 255), "File name too long"),
        ("/proc/run.json", "could not be written"),
    ):
        with refuses(OSError, pattern):
            whole().save(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"] and not os.listdir(tmp_path / "folder")
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.slow
def test_what_is_read_only_stays_as_it_is():
    """Root may write everywhere: then the program becomes nobody, in a folder that nobody may enter."""
    program = """
import os, sys
from pathlib import Path
from vaekit.files import write_whole
folder = Path(sys.argv[1])
if os.geteuid() == 0:
    os.chown(folder, 65534, 65534)
    os.setuid(65534)
def attempt():
    try:
        write_whole(folder / "run.json", b"new")
    except OSError as error:
        print(error)
write_whole(folder / "run.json", b"old")
(folder / "run.json").chmod(0o444)
attempt()
(folder / "run.json").chmod(0o644)
folder.chmod(0o555)
attempt()
print((folder / "run.json").read_bytes(), os.listdir(folder))
folder.chmod(0o755)
attempt()
print((folder / "run.json").read_bytes(), os.listdir(folder))
"""
    with tempfile.TemporaryDirectory() as folder:
        said = in_python(program, folder).splitlines()
    assert "it is read-only" in said[0] and "Permission denied" in said[1]
    assert said[2:] == ["b'old' ['run.json']", "b'new' ['run.json']"]


def test_a_link_stays_a_link_and_a_planted_one_is_not_followed(tmp_path, refuses):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "run.json")
    write_whole(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "real" / "run.json").read_bytes() == b"new"
    (tmp_path / "other").write_bytes(b"somebody else's")
    (tmp_path / ".run.json.saving").symlink_to(tmp_path / "other")
    with refuses(OSError, "could not be written"):
        write_whole(tmp_path / "run.json", b"new")
    assert (tmp_path / "other").read_bytes() == b"somebody else's"


def test_what_a_killed_save_left_is_taken_over(tmp_path):
    (tmp_path / ".run.json.saving").write_bytes(b"half of something much longer than what comes now")
    write_whole(tmp_path / "run.json", b"new")
    assert (tmp_path / "run.json").read_bytes() == b"new" and os.listdir(tmp_path) == ["run.json"]


def test_many_who_save_the_same_file_at_once_take_turns(tmp_path):
    """Each content is one byte's, of a length of its own: half a file or a mixture of two would show."""
    path, faults, done = tmp_path / "run.json", [], threading.Event()

    def save(byte: int):
        try:
            for _ in range(30):
                write_whole(path, bytes([byte]) * (byte * 1000))
        except BaseException as error:
            faults.append(error)

    def look():
        while not done.is_set():
            content = path.read_bytes()
            if len(content) != content[0] * 1000 or content.strip(content[:1]):
                faults.append(len(content))

    write_whole(path, b"\x01" * 1000)
    savers = [threading.Thread(target=save, args=(byte,)) for byte in (65, 80, 95, 110)]
    reader = threading.Thread(target=look)
    for thread in (*savers, reader):
        thread.start()
    for thread in savers:
        thread.join()
    done.set()
    reader.join()
    assert not faults and os.listdir(tmp_path) == ["run.json"]


def test_who_waits_too_long_for_another_save_says_so(tmp_path, refuses, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(vaekit.files, "PATIENCE", 0.05)
    with open(tmp_path / ".run.json.saving", "wb") as draft:
        fcntl.flock(draft, fcntl.LOCK_EX)
        with refuses(OSError, "it is being saved by somebody else"):
            write_whole(tmp_path / "run.json", b"new")


@pytest.mark.slow
def test_kill_9_while_a_recording_is_saved_leaves_a_whole_one(tmp_path):
    """50 times, at moments drawn from a seed; two recordings of 300 kB, saved in turn without end."""
    path = tmp_path / "run.json"
    states = [replace(whole(), seed=seed, events=long_course(), steps=5_000) for seed in (1, 2)]
    states[0].save(path)
    program = f"""
from vaekit.recording import Recording
one = Recording.load({str(path)!r})
two = Recording.from_json(one.to_json().replace('"seed": 1', '"seed": 2'))
texts = [one.to_json(), two.to_json()]
one.to_json = lambda: texts[0]  # the time is to be spent in writing
two.to_json = lambda: texts[1]

def save(turn):
    (one, two)[turn % 2].save({str(path)!r})
"""
    found, drafts = [], 0
    for _ in killed_while_saving(program, times=50):
        found.append(Recording.load(path))
        drafts += len(os.listdir(tmp_path)) - 1
        assert len(os.listdir(tmp_path)) <= 2
    assert all(its in states for its in found) and states[0] in found and states[1] in found
    assert drafts > 2, "hardly a kill struck while a file was written: nothing is proved"
    states[0].save(path)
    assert os.listdir(tmp_path) == ["run.json"]


def long_course() -> list:
    return [(step, {"beta": step / 7}) for step in range(2, 5_000)]


def test_asdict_of_a_loaded_recording_is_json():
    assert json.loads(json.dumps(asdict(Recording.from_json(whole().to_json())))) == {
        name: value for name, value in as_json().items() if name not in ("format", "version")
    }
