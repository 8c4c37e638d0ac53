"""Runs saved and resumed: they go on to the bit, and nothing that is not one is taken for one."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lab_helpers import SETTINGS, Flaky, killed_while_saving, make_run, same_bits, small_vae, some_digits, weights
from safetensors.torch import load_file, save_file

import vaekit
import vaekit.checkpoint
from vaekit.checkpoint import CheckpointError, images_print
from vaekit.data import mnist
from vaekit.playback import resume
from vaekit.recording import fingerprint
from vaekit.run import Run, save_runs

EVENTS = {3: {"beta": 4.0}, 7: {"prior": False}, 20: {"lr": 5e-4}, 26: {"data": "few"}}
LATER = {35: {"kind": "gaussian"}, 41: {"data": "digits"}, 42: {"beta": 0.5}}


class Own(vaekit.VAE):
    """A model of the user's own: tied weights, a buffer that moves, a parameter never used, one in double precision."""

    def __init__(self):
        super().__init__(2, 16, init_generator=torch.Generator().manual_seed(5))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.unused = torch.nn.Parameter(torch.ones(3))
        self.scale = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.again = self.encoder.mu

    def encode(self, x):
        self.seen += 1
        mu, logvar = self.encoder(x)
        return mu * self.scale.to(mu.dtype), logvar


MODELS = {"small_vae": small_vae, "Own": Own}


def go_to(run, last: int, events: dict = EVENTS | LATER) -> None:
    while run.number < last:
        run.turn(events.get(run.number + 1, {}))
        run.advance()


def in_a_new_process(program: str, *arguments) -> str:
    folders = [str(Path(vaekit.__file__).parent.parent), str(Path(__file__).parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


GO_ON = """
import sys, torch
torch.set_num_threads(int(sys.argv[3]))
from test_checkpoint import MODELS, fingerprint, go_to, make_run, resume
path, name = sys.argv[1:3]
model = None if name == "small_vae" else MODELS[name]()
run = resume(path, model=model, data=make_run().sets)
runs = run if isinstance(run, tuple) else (run,)
for one in runs:
    go_to(one, 60)
print(*(fingerprint(one.model.state_dict()) for one in runs))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "with_twin"), [("small_vae", False), ("Own", True)])
def test_thirty_steps_and_thirty_more_in_a_new_process_are_sixty_at_once(tmp_path, name, with_twin):
    """In mid-epoch of another data set, with knobs turned before and after."""
    at_once, run = make_run(MODELS[name]()), make_run(MODELS[name]())
    go_to(at_once, 60)
    go_to(run, 30)
    runs, wanted = [run], [fingerprint(at_once.model.state_dict())]
    if with_twin:
        other = make_run(MODELS[name](), prior=False)
        other.turn({"lr": 2e-3})
        go_to(other, 30)
        runs.append(other)
    save_runs(runs, tmp_path / "run.safetensors")
    if with_twin:
        go_to(other, 60)
        wanted.append(fingerprint(other.model.state_dict()))
    said = in_a_new_process(GO_ON, tmp_path / "run.safetensors", name, torch.get_num_threads())
    assert said.split() == wanted


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1, 3, 6, 25, 26, 30, 40])
def test_resumed_anywhere_it_goes_on_to_the_bit(tmp_path, at):
    """At the beginning, in mid-epoch, at an epoch's end, and just after something was turned but before its step."""
    run, events = make_run(), EVENTS | LATER
    go_to(run, at)
    run.turn(events.get(at + 1, {}))
    run.save(tmp_path / "run")
    again = resume(tmp_path / "run", data=run.sets)
    assert again.number == at and again.settings == run.settings and again.recording == run.recording
    assert same_bits(weights(again.model), weights(run.model))
    go_to(run, 50)
    go_to(again, 50)
    assert same_bits(weights(again.model), weights(run.model)) and again.record() == run.record()


@pytest.mark.parametrize("name", MODELS)
def test_a_resumed_run_goes_back_begins_again_and_has_twins(tmp_path, name):
    run = make_run(MODELS[name]())
    go_to(run, 30)
    run.save(tmp_path / "run")
    spoilt = MODELS[name]()
    torch.nn.init.ones_(spoilt.encoder.mu.weight)  # the given model's own weights do not matter
    again = resume(tmp_path / "run", model=spoilt, data=run.sets)
    twin = again.twin()
    go_to(twin, 33), go_to(run, 33)
    assert same_bits(weights(twin.model), weights(run.model))
    again.go_back(11)
    run.go_back(11)
    assert same_bits(weights(again.model), weights(run.model)) and again.recording == run.recording
    again.reset()
    assert same_bits(weights(again.model), weights(MODELS[name]()))


def test_nothing_need_be_given_when_all_is_the_kits_own(tmp_path):
    digits = mnist(device="cpu").first(300)
    run = Run(small_vae(2), {digits.name: digits}, SETTINGS | {"data": digits.name}, seed=2)
    go_to(run, 5, {})
    run.save(tmp_path / "run")
    again = resume(tmp_path / "run")
    go_to(run, 9, {}), go_to(again, 9, {})
    assert same_bits(weights(again.model), weights(run.model))


def test_saving_changes_nothing_and_leaves_one_file(tmp_path):
    run, single = make_run(), make_run()
    for last in (3, 8, 12):
        go_to(run, last)
        run.save(tmp_path / "run")
    go_to(single, 12)
    assert same_bits(weights(run.model), weights(single.model)) and os.listdir(tmp_path) == ["run"]


def test_when_it_cannot_be_saved_the_run_goes_on(tmp_path, refuses):
    run, single = make_run(), make_run()
    go_to(run, 5)
    with refuses(OSError, "it is a folder: add a file's name"):
        run.save(tmp_path)
    go_to(run, 9), go_to(single, 9)
    assert same_bits(weights(run.model), weights(single.model)) and not os.listdir(tmp_path)


def test_what_cannot_be_saved(tmp_path, refuses):
    class Stateful(vaekit.VAE):
        def get_extra_state(self):
            return {"anything": object()}

        def set_extra_state(self, state):
            pass

    with refuses(CheckpointError, "'beginning/_extra_state' of the model's state is no tensor"):
        make_run(Stateful(2, 16)).save(tmp_path / "run")
    run = make_run()
    for runs in ([], [run, run.twin(), run.twin()]):
        with refuses(ValueError, "a file holds one run, or two in lockstep"):
            save_runs(runs, tmp_path / "run")
    ahead = run.twin()
    ahead.advance()
    with refuses(ValueError, "only in lockstep"):
        save_runs([run, ahead], tmp_path / "run")
    assert not os.listdir(tmp_path)


def test_images_are_hashed_once_and_again_when_they_were_changed(monkeypatch):
    asked = []
    monkeypatch.setattr(vaekit.checkpoint, "fingerprint", lambda tensors: asked.append(1) or fingerprint(tensors))
    images = some_digits(20).images.clone()
    first = images_print(images)
    assert images_print(images) == first == fingerprint({"images": images}) and len(asked) == 1
    assert images_print(images.clone()) == first and images_print(images[:19]) != first
    images[3] = 0
    assert images_print(images) == fingerprint({"images": images}) != first


# -- what is not a saved run ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "run"
    run = make_run()
    go_to(run, 30)
    run.turn({"beta": 2.0})
    run.save(path)
    return path


@pytest.fixture(scope="module")
def sets() -> dict:
    return make_run().sets


def header_of(content: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header, rest: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


DAMAGE = {
    "empty": lambda c: b"",
    "eight bytes": lambda c: c[:8],
    "half": lambda c: c[: len(c) // 2],
    "one byte short": lambda c: c[:-1],
    "one byte more": lambda c: c + b"x",
    "all zero": lambda c: bytes(len(c)),
    "a header of 2**63 bytes": lambda c: struct.pack("<Q", 2**63) + c[8:],
    "a header of 10**8 bytes": lambda c: struct.pack("<Q", 10**8) + c[8:],
    "a header of no bytes": lambda c: struct.pack("<Q", 0) + c[8:],
    "no JSON": lambda c: with_header(b"hello", c),
    "brackets": lambda c: with_header(b"[" * 100_000, b""),
    "a pickle": lambda c: b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system",
    "a zip": lambda c: b"PK\x03\x04" + c,
    "a bit of the weights": lambda c: c[:-1000] + bytes([c[-1000] ^ 1]) + c[-999:],
    "a bit of the first tensor": lambda c: flip(c, 8 + struct.unpack("<Q", c[:8])[0] + 2),
    "a knob in the header": lambda c: c.replace(b'\\"beta\\": 4.0', b'\\"beta\\": 5.0'),
}


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_in_one_line(tmp_path, refuses, saved, sets, damage):
    content = saved.read_bytes()
    spoilt = DAMAGE[damage](content)
    assert spoilt != content
    (tmp_path / "run.st").write_bytes(spoilt)
    with refuses(CheckpointError, "run.st: is damaged"):
        resume(tmp_path / "run.st", data=sets)


@pytest.mark.parametrize("lie", ["shape", "dtype", "offsets", "overlap", "overflow"])
def test_a_header_that_lies_is_not_believed(tmp_path, refuses, saved, sets, lie):
    header, rest = header_of(saved.read_bytes())
    weight = header["0/model/encoder.mu.weight"]
    other = header["0/model/decoder.0.weight"]
    if lie == "shape":
        weight["shape"] = [10**6, 10**6]
    if lie == "dtype":
        weight["dtype"] = "F64"
    if lie == "offsets":
        weight["data_offsets"] = [0, 10**12]
    if lie == "overlap":
        weight["data_offsets"] = other["data_offsets"]
    if lie == "overflow":
        weight["shape"] = [2**63, 2**63]
    (tmp_path / "run.st").write_bytes(with_header(header, rest))
    with refuses(CheckpointError, "run.st: is damaged, or not a saved run"):
        resume(tmp_path / "run.st", data=sets)


def test_what_is_no_file(tmp_path, refuses):
    os.mkfifo(tmp_path / "pipe")
    for path, pattern in ((tmp_path, "a folder"), (tmp_path / "none", "not a file"), (tmp_path / "pipe", "not a file")):
        with refuses(CheckpointError, pattern):
            resume(path)
    for path, error in ((3, TypeError), ("", ValueError), ("a\0b", ValueError)):
        with refuses(error, "path"):
            resume(path)


def test_another_safetensors_file_is_no_saved_run(tmp_path, refuses, saved, sets):
    save_file({"a": torch.zeros(2)}, tmp_path / "run.st")
    with refuses(CheckpointError, "run.st: this is not a saved run"):
        resume(tmp_path / "run.st", data=sets)
    about = header_of(saved.read_bytes())[0]["__metadata__"]
    save_file({"a": torch.zeros(2)}, tmp_path / "run.st", about | {"version": "2"})
    with refuses(CheckpointError, "run.st: has the version '2'; this vaekit reads version 1"):
        resume(tmp_path / "run.st", data=sets)


def forged(saved: Path, path: Path, change) -> None:
    """The file again, sealed anew after `change(tensors, about)`: what only somebody who means it could make."""
    tensors, about = load_file(saved), header_of(saved.read_bytes())[0]["__metadata__"]
    del about["sha256"]
    change(tensors, about)
    about["sha256"] = vaekit.checkpoint._seal(tensors, about)
    save_file(tensors, path, about)


def put(name: str, value):
    return lambda tensors, about: tensors.update({name: value})


def say(name: str, value: str):
    return lambda tensors, about: about.update({name: value})


FORGED = [
    (put("0/model/encoder.mu.weight", torch.zeros(3, 16)), "is torch.float32 .3, 16., where the model has"),
    (put("0/model/encoder.mu.weight", torch.zeros(2, 16, dtype=torch.float64)), "is torch.float64"),
    (put("beginning/encoder.mu.weight", torch.zeros(2)), "is torch.float32 .2,., where"),
    (put("0/optimizer/0/exp_avg", torch.zeros(1)), "is torch.float32 .1,., where"),
    (put("0/optimizer/0/step", torch.zeros(2)), "where the model has torch.float32 ..."),
    (put("0/optimizer/99/step", torch.zeros(())), "'0/optimizer/99/step' in it, which this model has not"),
    (put("0/generator", torch.zeros(5, dtype=torch.uint8)), "it cannot go on here"),
    (put("0/generator", torch.zeros(5056, dtype=torch.uint8)), "it cannot go on here"),
    (put("0/generator", torch.full((5056,), 255, dtype=torch.uint8)), "it cannot go on here"),
    (put("0/generator", torch.zeros(5056)), "where the model has torch.uint8"),
    (put("0/order_state", torch.zeros(7, dtype=torch.uint8)), "it cannot go on here"),
    (put("1/generator", torch.zeros(5056, dtype=torch.uint8)), "which this model has not"),
    (lambda tensors, about: tensors.pop("0/generator"), "'0/generator' is not in it"),
    (lambda tensors, about: tensors.pop("0/optimizer/3/exp_avg"), "'0/optimizer/3/exp_avg' is not in it"),
    (lambda tensors, about: tensors.pop("0/order_state"), "its place in the epoch makes no sense"),
    (say("taken", "[-128]"), "its place in the epoch makes no sense"),
    (say("taken", "[1.5]"), "its place in the epoch makes no sense"),
    (say("taken", "[0]"), "its place in the epoch makes no sense"),
    (say("taken", "[128, 128]"), "does not hold as many runs as its recording"),
    (say("taken", "{}"), "does not hold as many runs"),
    (say("taken", "hello"), "Expecting value"),
    (say("taken", "[" * 100_000), "recursion"),
    (say("turned", '[{"beta": -3}]'), "beta must be"),
    (say("turned", '[{"data": "cats"}]'), "data must be one of"),
    (say("turned", "[7]"), "it cannot go on here"),
    (say("recording", "{}"), 'the recording in it: has no "format"'),
    (lambda tensors, about: about.pop("taken"), "is damaged"),
]


@pytest.mark.parametrize("number", range(len(FORGED)))
def test_what_does_not_fit_is_refused_even_when_its_sum_is_right(tmp_path, refuses, saved, sets, number):
    change, pattern = FORGED[number]
    forged(saved, tmp_path / "run.st", change)
    with refuses(CheckpointError, f"run.st: .*{pattern}"):
        resume(tmp_path / "run.st", data=sets)


def test_the_file_that_is_forged_is_sound(tmp_path, saved, sets):
    forged(saved, tmp_path / "run.st", lambda tensors, about: None)
    assert resume(tmp_path / "run.st", data=sets).settings["beta"] == 2.0


def test_models_and_images_of_ones_own_must_be_given(tmp_path, refuses, saved):
    with refuses(ValueError, "made with 300 images of its own, 'digits'"):
        resume(saved)
    run = make_run(Own())
    run.save(tmp_path / "own")
    with refuses(ValueError, "a model of its own: give it as model="):
        resume(tmp_path / "own", data=run.sets)
    for model, error, pattern in (
        (small_vae(), CheckpointError, "own: there is '.*again.bias' in it, which this model has not"),
        (small_vae(hidden=17), CheckpointError, "is model= the right one"),
        (Flaky, TypeError, "model must be a torch.nn.Module"),
    ):
        with refuses(error, pattern):
            resume(tmp_path / "own", model=model, data=run.sets)
    with refuses(ValueError, "the ones given differ"):
        resume(tmp_path / "own", model=Own(), data=some_digits(299))
    assert resume(tmp_path / "own", model=Own(), data=run.sets).number == 0


# -- whole or not at all ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_kill_9_while_a_run_is_saved_leaves_a_whole_one(tmp_path):
    """50 times, at moments drawn from a seed; the same run at steps 3 and 6, in turn without end."""
    path, run = tmp_path / "run", make_run(small_vae(hidden=64))
    go_to(run, 3)
    states = {3: weights(run.model)}
    run.save(path)
    program = f"""
import safetensors.torch, torch, vaekit.checkpoint
from test_checkpoint import go_to, make_run, resume
torch.set_num_threads(1)
early = resume({str(path)!r}, data=make_run().sets)
late = early.twin()
go_to(late, 6)

def once(function):  # the time is to be spent in writing, not in hashing
    known = {{}}
    def wrapped(tensors, about):
        key = about["recording"]
        if key not in known:
            known[key] = function(tensors, about)
        return known[key]
    return wrapped

for run in (early, late):
    run.record = lambda its=run.record(): its
vaekit.checkpoint._seal = once(vaekit.checkpoint._seal)
safetensors.torch.save = once(safetensors.torch.save)

def save(turn):
    (early, late)[turn % 2].save({str(path)!r})

save(1)
save(0)
"""
    go_to(run, 6)
    states[6] = weights(run.model)
    found, drafts = [], 0
    for _ in killed_while_saving(program, times=50):
        again = resume(path, data=run.sets)
        assert same_bits(weights(again.model), states[again.number])
        found.append(again.number)
        drafts += len(os.listdir(tmp_path)) - 1
        assert len(os.listdir(tmp_path)) <= 2
    assert set(found) == {3, 6}
    assert drafts > 2, "hardly a kill struck while a file was written: nothing is proved"
    run.save(path)
    assert os.listdir(tmp_path) == ["run"]
