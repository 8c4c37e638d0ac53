"""What the lab's tests share: small runs, plain loops to compare with, and a view that only counts."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partialmethod

import numpy as np
import torch
from torch import nn

from vaekit import VAE, Knobs, train
from vaekit.data import Batches, ImageSet, mnist
from vaekit.runs.run import Run
from vaekit.training import default_optimizer

SECONDS = 60  # no answer after so long is a deadlock
SETTINGS = {"beta": 1.0, "prior": True, "lr": 1e-3, "kind": "bernoulli", "data": "digits"}
EVENTS = {3: {"beta": 4.0}, 7: {"prior": False}, 8: {"lr": 5e-4}, 10: {"kind": "gaussian"}, 12: {"data": "few"}}


def some_digits(n: int, name: str = "digits") -> ImageSet:
    return replace(mnist(device="cpu").first(n), name=name)


def small_vae(seed: int = 0, latent_dim: int = 2, hidden: int = 16, **parts) -> VAE:
    return VAE(latent_dim, hidden, init_generator=torch.Generator().manual_seed(seed), **parts)


def with_methods(**methods) -> type[VAE]:
    """A VAE with these methods in place of its own."""
    return type("Learners", (VAE,), methods)


def make_run(model: nn.Module | None = None, n: int = 300, seed: int = 0, **settings) -> Run:
    """300 digits are three batches an epoch: two full ones and what is left."""
    sets = {"digits": some_digits(n), "few": some_digits(150, "few")}
    return Run(model or small_vae(seed), sets, SETTINGS | settings, seed)


def go_to(run: Run, last: int, events: dict = EVENTS) -> Run:
    """The run at step number `last`; what `events` name is turned just before its step."""
    while run.number < last:
        run.set_knobs(events.get(run.number + 1, {}))
        run.advance()
    return run


def weights(model: nn.Module) -> dict:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same_bits(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def plain_loop(model: nn.Module, sets: dict, recording, steps: int) -> dict:
    """The weights after `steps` steps of vaekit.train alone, each knob turned at the step that was recorded."""
    now, events = dict(recording.settings), dict(recording.events)
    knobs, generator = Knobs(lr=now["lr"]), torch.Generator().manual_seed(recording.seed)
    rest = {"optimizer": default_optimizer(model, now["lr"]), "generator": generator}
    for number in range(1, steps + 1):
        changes = events.get(number, {})
        now |= changes
        knobs.beta, knobs.prior, knobs.lr = now["beta"], now["prior"], now["lr"]
        if number == 1 or "data" in changes:
            rest["batches"] = Batches(len(sets[now["data"]].images), 128, generator)
        if number == 1 or changes.keys() & {"kind", "data"}:
            loop = train(model, sets[now["data"]].images, knobs, kind=now["kind"], **rest)
        next(loop)
    return weights(model)


def is_plain(run: Run, model: nn.Module | None = None) -> bool:
    """Has the run the weights that a plain loop comes to, which knows of no lab, with the knobs that it recorded?"""
    plain = plain_loop(model or small_vae(), run.sets, run.recording, run.number)
    return same_bits(weights(run.model), plain)


def done(lab) -> None:
    """Wait until the lab's thread has done all that was posted."""
    lab.engine.post(lambda: None).result(SECONDS)


def say_as_page(lab, **content) -> None:
    """Have a message come from the page, and wait until it is answered."""
    lab.view.plane._handle_custom_msg(content, [])
    done(lab)


def upload(lab, control: str, files: dict[str, bytes]) -> str:
    """Upload files as the page does, by "load" or "images". Returns what the lab then says."""
    about, upload = {"type": "", "last_modified": 1.7e12}, getattr(lab.controls, control)
    sent = [{"name": name, "content": memoryview(it), "size": len(it), **about} for name, it in files.items()]
    upload.set_state({"value": sent})
    done(lab)
    assert upload.value == ()  # the same file may be chosen again
    return lab.view.plane.message


def encoded(lab, side: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """mu and logvar of the images that `labs` shows, by the model itself."""
    with torch.no_grad():
        return lab.sides[side].model.encode(lab.engine.run.images[:100].float() / 255)


def greys(model: nn.Module, z: torch.Tensor) -> np.ndarray:
    """What a model decodes z to, as grey levels from 0 to 255: (N, H, W)."""
    with torch.no_grad():
        return torch.sigmoid(model.decode(z)).mul(255)[:, 0].numpy()


def trainers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vaekit-trainer"]


def wait_for(condition, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


class CountingView:
    """Notes when it was asked for what. `fail_in` names the methods that raise."""

    def __init__(self, *fail_in: str, error: type = RuntimeError):
        self.calls: list[tuple[str, int]] = []
        self.fail_in, self.error = fail_in, error

    def _note(self, what: str, engine) -> None:
        self.calls.append((what, engine.runs[0].number))
        if what in self.fail_in:
            raise self.error(f"no {what} today\nand a second line")

    frame = partialmethod(_note, "frame")
    details = partialmethod(_note, "details")
    status = partialmethod(_note, "status")

    def count(self, what: str) -> int:
        return sum(call == what for call, _ in list(self.calls))


class Flaky(VAE):
    """A VAE whose forward pass raises at the calls given; each call for training counts, whether it raised or not."""

    def __init__(self, *bad_calls: int, error: BaseException | None = None):
        super().__init__(2, 16, init_generator=torch.Generator().manual_seed(0))
        self.bad_calls, self.error, self.calls = bad_calls, error or RuntimeError("a cable came loose"), 0

    def forward(self, x, generator=None):
        result = super().forward(x, generator)  # ε is drawn and the batch taken before it fails
        self.calls += torch.is_grad_enabled()
        if torch.is_grad_enabled() and self.calls in self.bad_calls:
            raise self.error
        return result


def in_python(program: str, *arguments, before=(), cwd=None, check=True, **environment) -> subprocess.CompletedProcess:
    """A program in a process of its own, which comes to its end. `before`: a command that is to run it."""
    command = [*before, sys.executable, "-c", program, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 or not check, done.stderr
    return done
