"""How many threads torch gets. The machine is a pretended one."""

import os
from pathlib import Path

import pytest

from vaekit.lab import threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """cores, and the text of the cgroup's file, None for none."""

    def pretend(cores: int, quota: str | None = None):
        if quota is not None:
            (tmp_path / "cpu.max").write_text(quota)
        monkeypatch.setattr(threads, "Path", lambda name: tmp_path / Path(name).name)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    return pretend


@pytest.mark.parametrize(
    ("cores", "quota", "expected"),
    [
        (6, None, 6),  # no container at all: the affinity counts
        (16, "max 100000\n", 16),
        (16, "200000 100000\n", 2),
        (16, "50000 100000\n", 1),  # half a core is still one
        (2, "800000 100000\n", 2),  # a quota above what there is
        (16, "", 16),  # a file that says nothing
    ],
)
def test_cores_are_those_of_the_affinity_and_the_quota(machine, cores, quota, expected):
    machine(cores, quota)
    assert threads.cores() == expected


@pytest.mark.parametrize(
    ("cores", "preset", "times", "expected"),
    [
        *[(16, "3", {}, 3), (16, "4,2", {}, 4), (16, "0", {}, 1), (2, None, {}, 1)],  # where nothing is measured
        (4, None, {1: 3, 2: 1, 3: 2}, 2),
        (4, None, {1: 1, 2: 2, 3: 3}, 1),
        (16, None, {1: 9, 2: 8, 4: 4, 8: 3, 15: 5}, 8),
    ],
)
def test_a_preset_number_is_respected_of_two_cores_the_page_has_one_and_of_more_the_fastest_is_taken(
    machine, monkeypatch, cores, preset, times, expected
):
    machine(cores)
    measured = []
    monkeypatch.setattr(threads, "_seconds", lambda n: measured.append(n) or times[n])
    if preset:
        monkeypatch.setenv("OMP_NUM_THREADS", preset)
    assert threads.choose() == expected
    assert measured == list(times)
