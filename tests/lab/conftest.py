import pytest
from lab_helpers import make_run, some_digits, trainers, wait_for

from vaekit.lab import LatentLab, clock, registry
from vaekit.lab.engine import Engine


@pytest.fixture(autouse=True)
def no_trainer_left():
    yield
    wait_for(lambda: not trainers())  # one that ends leaves the last commands, if there are any, to another


@pytest.fixture
def engines(no_trainer_left):
    """Makes engines with one torch thread, and closes them afterwards."""
    made = []

    def make(run=make_run, view=None, **options) -> Engine:
        made.append(Engine(lambda: (run(),), view, **{"threads": 1} | options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def labs(no_trainer_left):
    """Makes labs with a small model, 300 digits and one torch thread; closes all afterwards, resumed ones as well."""
    made = []

    def make(data=None, **options) -> LatentLab:
        options = {"hidden": 16, "threads": 1, "shown": 100, "device": "cpu"} | options
        made.append(LatentLab(some_digits(300) if data is None else data, **options))
        return made[-1]

    yield make
    for lab in list(registry.labs):
        lab.engine.close()


@pytest.fixture
def stared_at(monkeypatch):
    """A page that looks after every step, and snapshots as often."""
    for name in ("FRAME_SECONDS", "DETAIL_SECONDS", "KEEP_SECONDS"):
        monkeypatch.setattr(clock, name, 0.0)
    monkeypatch.setattr(clock, "FRAME_SHARE", 1e9)
    monkeypatch.setattr(clock, "SILENCE_SECONDS", 1e9)
