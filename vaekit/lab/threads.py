"""How many threads torch should use while a page wants a core of its own."""

import math
import os
import timeit
from pathlib import Path

import torch


def cores() -> int:
    """The cores this process may use: its affinity, capped by the cgroup's quota (containers)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, round(min(count, _cgroup_quota())))


def _cgroup_quota() -> float:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such cgroup, or "max": no limit
        return math.inf


def choose(available: int | None = None) -> int:
    """OMP_NUM_THREADS when it is set; one with up to two cores; else the fastest of a short measurement."""
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    except (KeyError, ValueError):
        available = available or cores()
    if available <= 2:
        return 1
    candidates = sorted({1, 2, 4, available // 2, available - 1} & set(range(1, available)))
    return min(candidates, key=_seconds)


def _seconds(threads: int) -> float:
    """The time that the largest products of a digit's step take with so many threads."""
    torch.set_num_threads(threads)
    products = timeit.Timer("x.T @ (x @ w)", globals={"x": torch.ones(128, 784), "w": torch.ones(784, 400)})
    products.timeit(3)
    return products.timeit(30)
