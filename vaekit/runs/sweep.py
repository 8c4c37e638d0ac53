"""Many runs, one for each β and seed: what each spends on the code (rate), and loses of the image (distortion)."""

import hashlib
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, as_completed
from dataclasses import astuple, dataclass, fields
from functools import partial
from itertools import islice, product

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vaekit._checks import check_type, check_whole, one_line, short_repr
from vaekit._files import as_path, read_whole, short_path, write_whole
from vaekit.data import as_floats, check_images, mnist
from vaekit.losses import kl_to_prior, reconstruction_nll
from vaekit.metrics import active_units, mean_std
from vaekit.model import VAE, from_seed
from vaekit.training import Knobs, check_knob, train

N_MEASURED = 2000  # test images when none are given, and how many are measured at a time


@dataclass(frozen=True)
class Row:
    """One run, measured after its last step on the test images: means over them, in nats per image.

    rate: the KL, summed over dimensions. distortion: the reconstruction, summed over pixels.
    loss: distortion + β · rate. active: how many dimensions say something (`metrics.active_units`).
    std: the mean σ, in units of z; 1 is the prior's. A run that diverged has NaN everywhere, and active = 0.
    """

    beta: float
    seed: int
    rate: float
    distortion: float
    loss: float
    active: int
    std: float


COLUMNS = [(field.name, field.type) for field in fields(Row)]
MEANS = [("beta", float), ("runs", int), *((name, float) for name, _ in COLUMNS[2:])]


@dataclass(frozen=True, repr=False)
class Sweep:
    """What `sweep` found: `rows`, sorted by β and seed; `missing`, the (β, seed) that did not finish.

    Printed, it is a plain table, in ASCII for any terminal. `settings` is what all the runs have in common.
    """

    rows: tuple[Row, ...]
    settings: dict
    missing: tuple[tuple[float, int], ...] = ()

    def table(self) -> np.ndarray:
        """All rows as a structured array (runs,): `table()["rate"]` is a column."""
        return np.array([astuple(row) for row in self.rows], COLUMNS)

    def frontier(self) -> np.ndarray:
        """The mean over the seeds of each β, as a structured array (βs,), with the number of `runs` behind it."""
        groups = [self.table()[self.table()["beta"] == beta] for beta in np.unique(self.table()["beta"])]
        return np.array([(g["beta"][0], len(g), *(g[name].mean() for name, _ in MEANS[2:])) for g in groups], MEANS)

    def __repr__(self) -> str:
        lines = ["     beta  seed     rate  distortion      loss  active     std"]
        form = "{:9.4g} {:5} {:8.2f} {:11.2f} {:9.2f} {:7} {:7.3f}"
        lines += [form.format(*astuple(row)) for row in self.rows]
        return "\n".join(lines + [f"{len(self.missing)} more did not finish: see .missing"] * bool(self.missing))


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
    executor: one of `concurrent.futures`, or Dask's; without one, the runs come one after the other.
    path: a file that keeps each run as it ends, and from which a second call goes on.
    progress: a bar, or your function of (done, total, row or None). Interrupted, it returns what it has.
    """
    betas = _several("betas", betas, lambda beta: check_knob("beta", beta) + 0.0)  # −0.0 is 0
    seeds = _several("seeds", seeds, lambda seed: check_whole("a seed", seed, 0, 2**63 - 1))
    counts = {"steps": steps, "latent_dim": latent_dim, "hidden": hidden, "batch_size": batch_size}
    settings = {name: check_whole(name, count) for name, count in counts.items()}
    settings |= {"lr": check_knob("lr", lr), "kind": kind}
    if executor is not None:
        check_type("executor", executor, Executor, "an executor, as concurrent.futures and Dask have them")
    if not callable(progress):
        check_type("progress", progress, bool, "True, False or a function of (done, total, row)")
    data = _check_data(images, test_images, settings)
    origin = settings | _origin(*data)
    kept = _read_rows(path, origin)
    _write_rows(path, origin, kept)  # whoever cannot, hears of it before the first run

    jobs = list(product(betas, seeds))
    rows = {job: kept[job] for job in jobs if job in kept}
    results = _results(executor, [job for job in jobs if job not in rows], data, settings)
    problems = _collect(results, rows, len(jobs), lambda: _write_rows(path, origin, kept | rows), progress)
    if not rows and isinstance(problems[0], Exception):
        raise RuntimeError(f"not one run could be made: {one_line(problems[0])}") from problems[0]
    for text in dict.fromkeys(map(one_line, problems)):
        warnings.warn(f"{text}; {len(rows)} of {len(jobs)} runs are there", stacklevel=2)
    if diverged := sum(math.isnan(row.loss) for row in rows.values()):
        warnings.warn(f"{diverged} runs diverged: their rows are NaN, try an lr below {lr:g}", stacklevel=2)
    return Sweep(tuple(rows[job] for job in sorted(rows)), origin, tuple(sorted(set(jobs) - set(rows))))


def _collect(results: Iterator[tuple], rows: dict, total: int, save: Callable, progress) -> list[BaseException]:
    """Put each run's row into `rows`, and save, as it ends. Returns what went wrong, an interrupt included."""
    out = sys.stdout if type(sys.stderr).__module__.startswith("ipykernel") else sys.stderr  # which Jupyter paints red
    problems, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)  # which the threads of an executor that are new begin with, too
    try:
        with tqdm(desc="sweep", initial=len(rows), total=total, file=out, disable=progress is not True) as bar:
            for done, (job, result) in enumerate(results, len(rows) + 1):
                try:
                    rows[job] = result()
                    bar.set_postfix(beta=job[0], rate=rows[job].rate, distortion=rows[job].distortion, refresh=False)
                    save()
                except Exception as error:
                    problems.append(error)
                bar.update()
                if callable(progress):
                    progress(done, total, rows.get(job))
    except KeyboardInterrupt as interrupt:
        problems.append(interrupt)
    finally:
        torch.set_num_threads(threads)
        results.close()
    return problems


def _results(executor: Executor | None, jobs: list, data: list, settings: dict) -> Iterator[tuple]:
    """Each job with a call that returns its row or raises, as the runs end. Closed early, it calls off the rest."""
    if executor is None:
        yield from ((job, partial(run_one, *job, *data, **settings)) for job in jobs)
        return
    futures = {executor.submit(run_one, *job, *data, **settings): job for job in jobs}
    try:
        yield from ((futures[future], future.result) for future in as_completed(futures))
    finally:
        for future in futures:
            future.cancel()


def run_one(beta, seed, images, test_images, *, steps, lr, kind, latent_dim, hidden, batch_size) -> Row:
    """Train and measure one model, in whichever process."""
    torch.get_num_threads()  # torch sets a thread up when it is first asked, and would undo the next line
    torch.set_num_threads(1)
    images, test_images = _tensors(images, test_images)
    model = from_seed(VAE, latent_dim, hidden, images.shape[1:], seed)
    how = {"batch_size": batch_size, "kind": kind, "generator": torch.Generator().manual_seed(seed)}
    for _ in islice(train(model, images, Knobs(beta=beta, lr=lr), **how), steps):
        pass
    return Row(beta, seed, *_measure(model, test_images, beta, kind))


@torch.no_grad()
def _measure(model: VAE, images: Tensor, beta: float, kind: str) -> tuple:
    """Rate, distortion, loss, active units, mean σ; every run gets the same ε: what differs is what was learned."""
    generator, parts = torch.Generator().manual_seed(0), []
    for part in images.split(N_MEASURED):
        x = as_floats(part)
        x_logits, mu, logvar = model(x, generator=generator)
        parts.append((reconstruction_nll(x_logits, x, kind), mu, logvar))  # (B,), (B, D), (B, D)
    nll, mu, logvar = map(torch.cat, zip(*parts, strict=True))
    rate = float(kl_to_prior(mu, logvar).sum(1).mean(dtype=torch.float64))  # (N, D) → (N,) → ()
    distortion = float(nll.mean(dtype=torch.float64))
    found = (rate, distortion, distortion + beta * rate, int(active_units(mu).sum()), float(mean_std(logvar)))
    return found if all(map(math.isfinite, found)) else (math.nan, math.nan, math.nan, 0, math.nan)


def _check_data(images, test_images, settings: dict) -> list[np.ndarray | None]:
    """The images as they travel. Refuses, in one line, what every run would refuse; fetches MNIST before they do."""
    arrays = []
    for given in (images, test_images):
        if given is not None:
            check_images(given)
            given = (given if given.dtype == torch.uint8 else given.float()).detach().cpu().numpy()
        arrays.append(given)
    x, test = _tensors(*arrays)
    if test.shape[1:] != x.shape[1:]:
        shapes = f"{tuple(x.shape[1:])} and {tuple(test.shape[1:])}"
        raise ValueError(f"images and test_images must be of one shape (C, H, W); they are {shapes}")
    model = from_seed(VAE, settings["latent_dim"], settings["hidden"], x.shape[1:], 0)
    train(model, x, batch_size=settings["batch_size"], kind=settings["kind"])
    return arrays


def _tensors(images: np.ndarray | None, test_images: np.ndarray | None) -> tuple[Tensor, Tensor]:
    """The images to train on and those to measure on, (N, C, H, W); None stands for MNIST, which need not travel."""
    # torch.tensor copies: by where an array from another process lies, the last digit of a product may depend
    x = mnist(device="cpu").images if images is None else torch.tensor(images)
    if test_images is not None:
        return x, torch.tensor(test_images)
    return x, (mnist(train=False, device="cpu").images if images is None else x)[:N_MEASURED]


def _origin(images: np.ndarray | None, test_images: np.ndarray | None) -> dict:
    """What decides how a run ends, beside its settings: other software may round otherwise."""
    found = {"vaekit": sys.modules["vaekit"].__version__, "torch": str(torch.__version__)}
    for name, array in (("images", images), ("test_images", test_images)):
        found[name] = "default" if array is None else f"{array.shape} {hashlib.sha256(array).hexdigest()[:16]}"
    return found


def _read_rows(path: str | os.PathLike | None, origin: dict) -> dict[tuple[float, int], Row]:
    """The finished runs of an earlier call. Raises ValueError when the file is another's, or of other settings."""
    if path is None or not as_path(path).exists():
        return {}
    text = read_whole(path, 2**26, ValueError)
    try:
        there, rows = (json.loads(text)[part] for part in ("vaekit sweep", "rows"))
        other = [name for name in origin | there if there.get(name) != origin.get(name)]
        found = [Row(*(kind(value) for (_, kind), value in zip(COLUMNS, row, strict=True))) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{short_path(path)} is not a file of vaekit.sweep: give another path") from None
    if other:
        raise ValueError(f"{short_path(path)} holds runs with another {other[0]}: give another path")
    return {(row.beta, row.seed): row for row in found}


def _write_rows(path: str | os.PathLike | None, origin: dict, rows: dict) -> None:
    if path is not None:
        content = {"vaekit sweep": origin, "rows": [astuple(row) for row in rows.values()]}
        write_whole(path, json.dumps(content, indent=1).encode())


def _several(name: str, values, check: Callable) -> list:
    """The values as a list, each checked, each once."""
    values = values.tolist() if hasattr(values, "tolist") else values  # a tensor's elements are tensors
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be several numbers such as [1, 10], not {short_repr(values)}")
    if not (found := list(dict.fromkeys(map(check, values)))):
        raise ValueError(f"{name} is empty: give at least one")
    return found
