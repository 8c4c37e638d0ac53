"""Runs saved and resumed: they go on to the bit, and nothing that is not one is taken for one."""

import os
import struct
import warnings
from pathlib import Path

import pytest
import torch
from lab_helpers import EVENTS, SETTINGS, go_to, is_plain, make_run, same_bits, small_vae, weights, with_methods
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import vaekit
import vaekit.runs.checkpoint
from vaekit.data import ImageSet
from vaekit.runs.checkpoint import CheckpointError
from vaekit.runs.recording import Recording, fingerprint
from vaekit.runs.run import Run, replay, resume

LATER = EVENTS | {35: {"kind": "bernoulli"}, 41: {"data": "digits"}, 42: {"beta": 0.5}}


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


@pytest.fixture(scope="module")
def sets() -> dict:
    return make_run().sets


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1, 9, 11, 40])
def test_resumed_anywhere_it_goes_on_to_the_bit(tmp_path, at):
    """At the beginning, in mid-epoch, at an epoch's end, and just after something was turned but before its step."""
    run = go_to(make_run(), at, LATER)
    run.set_knobs(LATER.get(at + 1, {}))
    run.save(tmp_path / "run")
    again = resume(tmp_path / "run", data=run.sets)
    assert again.number == at and again.settings == run.settings and again.recording == run.recording
    assert same_bits(weights(again.model), weights(run.model)) and os.listdir(tmp_path) == ["run"]
    assert go_to(again, 50, LATER).record() == go_to(run, 50, LATER).record() and is_plain(again)


@pytest.mark.slow
def test_runs_in_lockstep_are_replayed_and_resumed_then_they_go_on_go_back_and_begin_again(tmp_path):
    """In mid-epoch of another data set, with knobs turned before and after, in each of the two."""
    runs = go_to(make_run(Own()), 30), go_to(make_run(Own(), prior=False, lr=2e-3), 30)
    its = runs[0].record(runs[1])
    first, second = replay(its, model=Own(), data=runs[0].sets)
    assert first.record(second) == its and same_bits(weights(second.model), weights(runs[1].model))
    assert its.of_twin().settings["prior"] is False and its.of_twin().twin is None
    runs[0].save(tmp_path / "run", runs[1])
    spoilt = Own()
    torch.nn.init.ones_(spoilt.encoder.mu.weight)  # the given model's own weights do not matter
    for run, again in zip(runs, resume(tmp_path / "run", model=spoilt, data=runs[0].sets), strict=True):
        assert go_to(again, 60, LATER).record() == go_to(run, 60, LATER).record()
        again.go_back(11), run.go_back(11)
        assert same_bits(weights(again.model), weights(run.model)) and again.recording == run.recording
        again.reset()
        assert same_bits(weights(again.model), weights(Own()))


def compiled(model, what: str):
    """The model, or its halves, compiled; or neither."""
    if what == "halves":
        model.encoder, model.decoder = compiled(model.encoder, "all"), compiled(model.decoder, "all")
    return torch.compile(model, backend="eager") if what == "all" else model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own, while it compiles
@pytest.mark.parametrize(("before", "after"), [("halves", "none"), ("none", "all")])
def test_compiled_or_not_a_run_is_saved_resumed_and_followed(tmp_path, sets, before, after):
    run = go_to(Run(compiled(small_vae(), before), sets, SETTINGS), 5)
    recording = run.record()
    run.save(tmp_path / "run")
    again = resume(tmp_path / "run", model=compiled(small_vae(9), after), data=sets)
    assert fingerprint(again.model.state_dict()) == fingerprint(run.model.state_dict()) == recording.result
    go_to(run, 8), go_to(again, 8)
    torch.testing.assert_close(list(again.model.parameters()), list(run.model.parameters()))
    other = Run(compiled(small_vae(), after), sets, SETTINGS)
    other.follow(recording)  # its first weights are the same
    go_to(other, 5, {})
    assert other.replaying is None and other.recording.events == recording.events


VERSION_1 = Path(__file__).with_name("version1")


def test_a_recording_and_a_run_of_the_first_version_go_on(tmp_path, toys):
    """Made with the version that had this format first, by two runs in lockstep."""
    recording = Recording.load(VERSION_1 / "recording.json")
    data = {"toys": ImageSet(toys, name="toys"), "few": ImageSet(toys[:150], name="few")}
    resumed = resume(VERSION_1 / "run.safetensors", data=data)
    results = [recording.result, recording.twin["result"]]
    assert [fingerprint(run.model.state_dict()) for run in resumed] == results
    assert [run.number for run in resumed] == [15, 15] and resumed[0].recording.events == recording.events
    resumed[0].save(tmp_path / "again", resumed[1])
    assert same_bits(load_file(VERSION_1 / "run.safetensors"), load_file(tmp_path / "again"))
    with warnings.catch_warnings(record=True, action="always") as said:  # another processor may round otherwise
        replayed = replay(recording, data=data)
    for pair in zip(resumed, replayed, strict=True):
        mine, theirs = (weights(go_to(run, 20, {}).model) for run in pair)
        assert all(torch.allclose(w, theirs[name], atol=1e-4) for name, w in mine.items())
        assert said or same_bits(mine, theirs)


def test_what_cannot_be_saved(tmp_path, refuses):
    stateful = with_methods(get_extra_state=lambda model: {}, set_extra_state=lambda model, state: None)
    with refuses(CheckpointError, "'_extra_state' of the model's state is no tensor"):
        make_run(stateful(2, 16)).save(tmp_path / "run")
    run = make_run()
    ahead = run.twin()
    ahead.advance()
    with refuses(ValueError, "only in lockstep"):
        run.save(tmp_path / "run", ahead)
    assert not os.listdir(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "run"
    go_to(make_run(), 30).save(path)
    return path


DAMAGE = {
    "one byte short": lambda c: c[:-1],
    "a header of 2**63 bytes": lambda c: struct.pack("<Q", 2**63) + c[8:],
    "brackets": lambda c: struct.pack("<Q", 100_000) + b"[" * 100_000,
    "a shape that lies": lambda c: c.replace(b'"shape":[2,16]', b'"shape":[9,16]'),
    "a pickle": lambda c: b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system",
    "a bit of the weights": lambda c: c[:-1000] + bytes([c[-1000] ^ 1]) + c[-999:],
    "a knob in the header": lambda c: c.replace(b'\\"beta\\": 4.0', b'\\"beta\\": 5.0'),
    "another version": lambda c: c.replace(b'"version":"1"', b'"version":"2"'),
    "another format": lambda c: c.replace(b'"format"', b'"tamrof"'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_in_one_line(tmp_path, refuses, saved, sets, damage):
    content = saved.read_bytes()
    spoilt = DAMAGE[damage](content)
    assert spoilt != content
    (tmp_path / "run.st").write_bytes(spoilt)
    with refuses(CheckpointError, "run.st: it is damaged"):
        resume(tmp_path / "run.st", data=sets)


def put(name: str, value: torch.Tensor):
    return lambda tensors, metadata: tensors.update({name: value})


@pytest.mark.filterwarnings("ignore:device 'meta' is not available")
@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (put("0/model/encoder.mu.weight", torch.zeros(3, 16)), r"encoder.mu.weight is .*, but .*, 3, 16\) in the file"),
        (put("0/model/encoder.mu.weight", torch.zeros(2, 16, dtype=torch.float64)), r"but \(torch.float64"),
        (lambda tensors, _: tensors.pop("0/model/decoder.0.bias"), "decoder.0.bias is .*, but missing in the file"),
        (put("0/optimizer/0/exp_avg", torch.zeros(1)), r"exp_avg is .*, 16, 784\), but .*, 1\) in the file"),
        (lambda _, it: it.update(recording="{}"), "the recording in it: it must be a recording with the"),
        (lambda _, it: it.update(recording=it["recording"].replace('"cpu"', '"meta"')), "saved on meta, this is cpu"),
        (lambda _, it: it.pop("taken"), "it is damaged, or not a saved run .KeyError: 'taken'"),
    ],
)
def test_what_does_not_fit_is_refused_even_when_its_sum_is_right(tmp_path, refuses, saved, sets, change, pattern):
    """The file is sealed anew after the change: what only somebody who means it could make."""
    with safe_open(saved, "pt") as file:
        tensors, metadata = load_file(saved), file.metadata()
    del metadata["sha256"]
    change(tensors, metadata)
    metadata["sha256"] = vaekit.runs.checkpoint._seal(tensors, metadata)
    save_file(tensors, tmp_path / "run.st", metadata)
    with refuses(CheckpointError, f"run.st: .*{pattern}"):
        resume(tmp_path / "run.st", data=sets)


def test_a_model_that_does_not_fit_is_refused_and_stays_as_it_is(tmp_path, refuses):
    run = make_run(Own())
    run.save(tmp_path / "own")
    given = small_vae()
    given_weights = weights(given)
    for model in (given, small_vae(hidden=17)):
        with refuses(CheckpointError, "own: is model= the right one.* Of this VAE "):
            resume(tmp_path / "own", model=model, data=run.sets)
    assert same_bits(weights(given), given_weights), "it did not fit, and is no longer as it was"
    assert resume(tmp_path / "own", model=Own(), data=run.sets).number == 0
