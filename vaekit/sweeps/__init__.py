"""Many runs side by side: what each β spends on the code (rate), and what it loses of the image (distortion)."""

import hashlib
import math
import operator
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict
from itertools import product

import numpy as np
import torch
from torch import Tensor

from vaekit.data import check_images
from vaekit.messages import one_line, shown
from vaekit.sweeps.kept import Kept
from vaekit.sweeps.one import Settings, make_model, run, tensors
from vaekit.sweeps.pool import outcomes
from vaekit.sweeps.table import Job, Row, Sweep
from vaekit.training import Knobs, train

__all__ = ["Row", "Sweep", "sweep"]


def sweep(
    betas: Iterable[float],
    seeds: Iterable[int] = (0,),
    *,
    images: Tensor | None = None,
    test_images: Tensor | None = None,
    steps: int = 1000,
    latent_dim: int = 2,
    hidden: int = 400,
    kind: str = "bernoulli",
    lr: float = 1e-3,
    batch_size: int = 128,
    executor: Executor | None = None,
    path: str | os.PathLike | None = None,
    progress: bool | Callable[[int, int, Row | None], None] = True,
) -> Sweep:
    """Train a VAE for each β and seed, on the CPU, one thread each, and measure its rate and distortion.

    images, test_images (N, C, H, W): else MNIST, and the first 2,000 of its test set (or of your images).
    A seed draws weights, batches and ε as in the lab; what is measured has a fixed ε, the same for all runs.
    executor: anything with `submit`; else a process for each core. Images of your own travel with every run.
    path: a file that keeps each run as it ends, and from which a second call goes on.
    progress: a line on stderr, or your function of (done, total, row or None). Interrupted, it returns what it has.
    """
    jobs = _jobs(betas, seeds)
    settings = Settings(_whole("steps", steps, 1), latent_dim, hidden, kind, Knobs(lr=lr).lr, batch_size)
    _check_callables(executor, progress)
    data = _check_data(settings, images, test_images)
    common = _common(settings, *data)
    kept = Kept(path, common)
    show = _Line() if progress is True else progress or (lambda done, total, row: None)

    found = {job: kept.rows[job] for job in jobs if job in kept.rows}
    failed: dict[Job, Exception] = {}
    notes = []
    try:
        with closing(outcomes(executor, run, [job for job in jobs if job not in found], (settings, *data))) as ended:
            for job, outcome in ended:
                if isinstance(outcome, Row):
                    found[job] = outcome
                    kept.keep(outcome)
                else:
                    failed[job] = outcome
                show(len(found) + len(failed), len(jobs), found.get(job))
    except KeyboardInterrupt:
        notes.append(f"interrupted: {len(found)} of {len(jobs)} runs are there, .missing names the others")
    finally:
        if progress is True:
            show.end()

    if failed and not found:
        job, error = next(iter(failed.items()))
        raise RuntimeError(f"not one run could be made; {_named([job])}: {one_line(error)}") from error
    for note in [*notes, *_notes(found, failed, lr), *filter(None, [kept.note])]:
        warnings.warn(note, stacklevel=2)
    missing = tuple(sorted(job for job in jobs if job not in found))
    return Sweep(tuple(found[job] for job in sorted(found)), common, missing)


class _Line:
    """Progress in one line of text that is written over and over."""

    width = 0

    @property
    def file(self):
        # JupyterLab paints what comes on stderr like an error
        return sys.stdout if type(sys.stderr).__module__.startswith("ipykernel") else sys.stderr

    def __call__(self, done: int, total: int, row: Row | None) -> None:
        last = "" if row is None else f"; β = {row.beta:g}: rate {row.rate:.1f}, distortion {row.distortion:.1f} nats"
        text = f"sweep: {done} of {total} runs{last}"
        print(f"\r{text:<{self.width}}", end="", file=self.file, flush=True)
        self.width = len(text)

    def end(self) -> None:
        if self.width:
            print(file=self.file)


def _notes(found: dict[Job, Row], failed: dict[Job, Exception], lr: float) -> list[str]:
    """What the reader of the table must know, a line each."""
    notes = []
    if failed:
        error = one_line(next(iter(failed.values())))
        notes.append(f"failed runs: {len(failed)} ({_named(failed)}), {error}; the others are there")
    if diverged := [job for job, row in found.items() if math.isnan(row.loss)]:
        notes.append(f"diverged runs: {len(diverged)} ({_named(diverged)}); their rows are NaN, try an lr below {lr:g}")
    return notes


def _named(jobs: Iterable[Job]) -> str:
    names = [f"β = {beta:g} seed {seed}" for beta, seed in jobs]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _common(settings: Settings, images: np.ndarray | None, test: np.ndarray | None) -> dict:
    """All that decides what a run comes out at, beside its β and seed; other software may round otherwise."""
    versions = {"vaekit": sys.modules["vaekit"].__version__, "torch": str(torch.__version__)}
    return versions | asdict(settings) | {"images": _fingerprint(images), "test_images": _fingerprint(test)}


def _fingerprint(images: np.ndarray | None) -> str:
    return "default" if images is None else f"{images.shape} {images.dtype} {hashlib.sha256(images).hexdigest()[:16]}"


def _jobs(betas: Iterable[float], seeds: Iterable[int]) -> list[Job]:
    """Every β with every seed, each once."""
    betas = [Knobs(beta=beta).beta + 0.0 for beta in _several("betas", betas, "[0.1, 1, 10]")]  # −0.0 is 0
    seeds = [_whole("a seed", seed, 0) for seed in _several("seeds", seeds, "range(3)")]
    return list(dict.fromkeys(product(betas, seeds)))


def _several(name: str, values, example: str) -> list:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise TypeError(f"{name} must be several numbers such as {example}, not {shown(values)}")
    values = values.tolist() if hasattr(values, "tolist") else list(values)  # a tensor's elements are tensors
    if not values:
        raise ValueError(f"{name} is empty: give at least one, such as {example}")
    return values


def _whole(name: str, value, least: int) -> int:
    wanted = f"{name} must be a whole number from {least} up"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{wanted}, not {shown(value)}")
    if not least <= number < 2**63:
        raise ValueError(f"{wanted} and below 2**63, not {number}")
    return number


def _check_callables(executor, progress) -> None:
    if executor is not None and (isinstance(executor, type) or not callable(getattr(executor, "submit", None))):
        raise TypeError(
            "executor must have a submit method, as concurrent.futures.ThreadPoolExecutor(2) and Dask's "
            f"client.get_executor() have; not {shown(executor)}"
        )
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress must be True, False or a function of (done, total, row), not {shown(progress)}")


def _check_data(settings: Settings, images, test_images) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Refuse here, in one line, what every run would refuse; and fetch MNIST before many processes do."""
    data = _as_array("images", images), _as_array("test_images", test_images)
    x, test = tensors(*data)
    if test.shape[1:] != x.shape[1:]:
        shapes = f"{tuple(x.shape[1:])} and {tuple(test.shape[1:])}"
        raise ValueError(f"images and test_images must be of one shape (C, H, W); they are {shapes}")
    model = make_model(settings, x, 0)
    train(model, x, Knobs(lr=settings.lr), batch_size=settings.batch_size, kind=settings.kind)
    return data


def _as_array(name: str, images: Tensor | None) -> np.ndarray | None:
    if images is None:
        return None
    check_images(images)
    if images.dtype not in (torch.uint8, torch.float32):
        raise TypeError(f"{name} must be uint8 or float32, not {images.dtype}: use {name}.to(torch.float32)")
    return images.detach().cpu().contiguous().numpy()
