"""Whatever a learner's code does, a verdict comes back, in time, and the notebook is left as it was."""

import threading
import time

import pytest
import torch
from lab_helpers import wait_for

import vaekit
from vaekit.exercises import calling, diagnose
from vaekit.exercises.doctor import EXERCISES

pytestmark = pytest.mark.slow  # all of them together


class EvilError(Exception):
    def __str__(self):
        raise RuntimeError("not even a message")


def raiser(error):
    def function(*given):
        raise error

    return function


def deep(*given):
    return deep(*given)


HOSTILE = {
    "a number": (3, "wrong_type"),
    "SystemExit": (raiser(SystemExit(3)), "raises"),
    "KeyboardInterrupt": (raiser(KeyboardInterrupt()), "raises"),
    "an error without words": (raiser(EvilError()), "raises"),
    "NotImplementedError": (raiser(NotImplementedError()), "not_started"),
    "recursion": (deep, "raises"),
    "an arithmetic gap": (lambda *given: 0.5 * ..., "not_started"),
    "None": (None, "not_started"),
    "a seed": (lambda *given: torch.manual_seed(1), "wrong_type"),
    "a dtype": (lambda *given: torch.set_default_dtype(torch.float16), "not_started"),
}
RETURNS = {
    "an empty list": [],
    "ragged": [[1.0], [1.0, 2.0]],
    "a class": int,
    "a complex tensor": torch.ones(5, dtype=torch.complex64),
    "True": True,
    "inf": torch.full((5,), torch.inf),
    "an empty tensor": torch.empty(0),
    "a meta tensor": torch.empty(5, device="meta"),
    "a sparse tensor": torch.eye(5).to_sparse(),
}
HOSTILE |= {what: (lambda *given, result=result: result, "") for what, result in RETURNS.items()}


def around(code, exercise):
    """The code, or a model whose encoder is this function."""
    return type("Odd", (vaekit.VAE,), {"encode": code}) if exercise == "model" and callable(code) else code


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_code_gets_a_verdict(exercise, what):
    (code, fault), before = HOSTILE[what], torch.get_rng_state()
    found = diagnose(**{exercise: around(code, exercise)})
    assert torch.equal(torch.get_rng_state(), before) and torch.get_default_dtype() == torch.float32
    assert found.faults == (fault,) if fault else not found.ok and "not_started" not in found.faults
    assert "\n" not in repr(found) and found._repr_html_()


def forever(*given):
    while True:
        pass


LONG = 30.0  # seconds: no check takes so long that leaves a loop
left = threading.Event()


def stubborn(*given):
    """Swallows everything that is thrown at it, until it has been left."""
    end = time.monotonic() + LONG
    while time.monotonic() < end and not left.is_set():
        try:
            while time.monotonic() < end and not left.is_set():
                pass
        except BaseException:
            pass


LOOPS = [(exercise, forever) for exercise in EXERCISES]
LOOPS += [("kl", stubborn), ("model", stubborn), ("kl", lambda *given: left.wait(LONG))]


@pytest.mark.parametrize(("exercise", "loop"), LOOPS)
def test_a_loop_is_left_and_its_thread_ends(monkeypatch, exercise, loop):
    monkeypatch.setattr(calling, "LIMIT_S", 0.3)
    left.clear()
    start = time.monotonic()
    assert diagnose(**{exercise: around(loop, exercise)}).faults == ("timeout",)
    assert time.monotonic() - start < LONG
    left.set()
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "vaekit-exercise"])


def test_the_default_dtype_changes_no_verdict():
    torch.set_default_dtype(torch.float64)
    try:
        assert diagnose(model=vaekit.VAE).ok and torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_model_is_examined_as_a_copy():
    model = vaekit.VAE(2, 8).eval()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        assert diagnose(model=model).ok
    assert not model.training
    assert all(torch.equal(start[name], value) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    model.lock = threading.Lock()
    assert "cannot pickle '_thread.lock'" in diagnose(model=model).text()  # there is no copy to be examined
