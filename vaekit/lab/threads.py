"""How many threads torch should use while a page wants a core of its own."""

import os
import timeit
from contextlib import suppress
from pathlib import Path

import torch


def cores() -> int:
    """The cores this process may use: its affinity, capped by the cgroup's quota (containers)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError, ZeroDivisionError):  # no such cgroup, or "max": no limit
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, int(quota) / int(period))
    return max(1, round(count))


def choose() -> int:
    """OMP_NUM_THREADS when it is set; one with up to two cores; else the fastest of a short measurement."""
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    except (KeyError, ValueError):
        available = cores()
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
