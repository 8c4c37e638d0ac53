"""Many runs, one for each β and seed: what each spends on the code (rate), and loses of the image (distortion)."""

import json
import math
import os
import sys
import warnings
from collections.abc import Iterable
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, product, starmap
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from vaekit._checks import check_seed, check_type, check_whole, one_line
from vaekit._files import as_path, read_whole, short_path, write_whole
from vaekit.data import as_floats, check_images, mnist
from vaekit.losses import kl_to_prior, reconstruction_nll
from vaekit.metrics import active_units, mean_std
from vaekit.model import VAE, from_seed
from vaekit.runs.recording import fingerprint
from vaekit.training import Knobs, check_knob, train


class Row(NamedTuple):
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
        return np.array(list(self.rows), list(Row.__annotations__.items()))

    def __repr__(self) -> str:
        lines = ["{:>9} {:>5} {:>8} {:>11} {:>9} {:>7} {:>7}".format(*Row._fields)]
        lines += ["{:9.4g} {:5} {:8.2f} {:11.2f} {:9.2f} {:7} {:7.3f}".format(*row) for row in self.rows]
        return "\n".join(lines + [f"{len(self.missing)} more did not finish: see .missing"] * bool(self.missing))


def sweep(
    betas: Iterable[float] | float,
    seeds: Iterable[int] | int = (0,),
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
    progress: bool = True,
) -> Sweep:
    """Train a VAE for each β and seed, on the CPU, one thread each, and measure its rate and distortion.

    images, test_images (N, C, H, W): else MNIST, and the first 2,000 of its test set (or of your images).
    A seed draws weights, batches and ε as in the lab; what is measured has a fixed ε, the same for all runs.
    executor: one of `concurrent.futures`, or Dask's; without one, the runs come one after the other.
    path: a file that keeps each run as it ends, and from which a second call goes on. progress: show a bar.
    Interrupted, or when a run fails, it warns and returns the runs there are; it raises when there are none.
    """
    pairs = product(_numbers(betas), _numbers(seeds))
    jobs = sorted({(check_knob("beta", beta) + 0.0, check_seed(seed)) for beta, seed in pairs})  # −0.0 is 0
    if not jobs:
        raise ValueError("betas and seeds must hold numbers, such as [1, 10] and [0]; one of them is empty")
    check_type("executor", executor, Executor | None, "an executor, as concurrent.futures and Dask have them")
    sizes = {"steps": steps, "latent_dim": latent_dim, "hidden": hidden, "batch_size": batch_size}
    settings = {name: check_whole(name, size) for name, size in sizes.items()}
    settings |= {"kind": kind, "lr": check_knob("lr", lr)}  # the first run checks the kind
    given = {name: x for name, x in {"images": images, "test_images": test_images}.items() if x is not None}
    for x in given.values():
        check_images(x)
    arrays = {name: (x if x.dtype == torch.uint8 else x.float()).numpy(force=True) for name, x in given.items()}
    run = partial(run_one, **arrays, **settings)  # as arrays they travel to other processes; MNIST they have
    origin = settings | {"images": "default", "test_images": "default"}
    origin |= {name: fingerprint({"": x}) for name, x in given.items()}
    origin |= {"vaekit": sys.modules["vaekit"].__version__, "torch": str(torch.__version__)}  # others round otherwise

    rows, futures, threads = {}, [], torch.get_num_threads()
    try:
        run(*jobs[0], steps=0)  # refuses what every run would refuse, and fetches MNIST before they do
        rows = _read_rows(path, origin)
        _write_rows(path, origin, rows)
        ahead = [job for job in jobs if job not in rows]
        futures = [executor.submit(run, *job) for job in ahead] if executor else []
        results = (future.result() for future in as_completed(futures)) if executor else starmap(run, ahead)
        for row in tqdm(results, "sweep", len(jobs), initial=len(jobs) - len(ahead), disable=not progress):
            rows[row.beta, row.seed] = row
            _write_rows(path, origin, rows)
    except (Exception, KeyboardInterrupt) as error:
        if not (there := rows.keys() & jobs):
            raise
        warnings.warn(f"{one_line(error)}; {len(there)} of {len(jobs)} runs are there", stacklevel=2)
    finally:
        torch.set_num_threads(threads)
        for future in futures:
            future.cancel()
    found = tuple(rows[job] for job in jobs if job in rows)
    if diverged := sum(math.isnan(row.loss) for row in found):
        warnings.warn(f"{diverged} runs diverged: their rows are NaN, try an lr below {lr:g}", stacklevel=2)
    return Sweep(found, origin, tuple(job for job in jobs if job not in rows))


def _numbers(given) -> Iterable:
    """The numbers in any iterable, however deep, or one alone; those of arrays and tensors as Python's own."""
    given = given.tolist() if hasattr(given, "tolist") else given
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    return [given] if is_one else chain.from_iterable(map(_numbers, given))


def run_one(beta, seed, *, images=None, test_images=None, steps, lr, kind, latent_dim, hidden, batch_size) -> Row:
    """Train one model and measure it, in whichever process."""
    torch.get_num_threads()  # torch sets a thread up when it is first asked, and would undo the next line
    torch.set_num_threads(1)
    # torch.tensor copies: by where an array from another process lies, the last digit of a product may depend
    x = mnist(device="cpu").images if images is None else torch.tensor(images)
    shown = mnist(train=False, device="cpu").images if images is None else x
    shown = as_floats(shown[:2000] if test_images is None else torch.tensor(test_images))
    if shown.shape[1:] != x.shape[1:]:
        shapes = f"{tuple(x.shape[1:])} and {tuple(shown.shape[1:])}"
        raise ValueError(f"images and test_images must be of one shape (C, H, W); they are {shapes}")
    model, generator = from_seed(VAE, latent_dim, hidden, x.shape[1:], seed), torch.Generator().manual_seed(seed)
    loop = train(model, x, Knobs(beta=beta, lr=lr), batch_size=batch_size, kind=kind, generator=generator)
    for _ in islice(loop, steps):
        pass
    with torch.no_grad():  # every run gets the same ε: what differs is what was learned
        x_logits, mu, logvar = model(shown, generator=torch.Generator().manual_seed(0))
    rate = float(kl_to_prior(mu, logvar).sum(1).mean(dtype=torch.float64))  # (N, D) → (N,) → ()
    distortion = float(reconstruction_nll(x_logits, shown, kind).mean(dtype=torch.float64))
    found = rate, distortion, distortion + beta * rate, int(active_units(mu).sum()), float(mean_std(logvar))
    has_diverged = not all(map(math.isfinite, found))
    return Row(beta, seed, *((math.nan, math.nan, math.nan, 0, math.nan) if has_diverged else found))


def _read_rows(path: str | os.PathLike | None, origin: dict) -> dict[tuple[float, int], Row]:
    """The finished runs of an earlier call. Raises ValueError when the file is another's, or of other settings."""
    if path is None or not as_path(path).exists():
        return {}
    try:
        content = json.loads(read_whole(path, ValueError))
        there, rows = dict(content["vaekit sweep"]), [Row(*row) for row in content["rows"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{short_path(path)} is not a file of vaekit.sweep: give another path") from None
    if other := [name for name in origin if there.get(name) != origin[name]]:
        raise ValueError(f"{short_path(path)} holds runs with another {other[0]}: give another path")
    return {(row.beta, row.seed): row for row in rows}


def _write_rows(path: str | os.PathLike | None, origin: dict, rows: dict) -> None:
    if path is not None:
        write_whole(path, json.dumps({"vaekit sweep": origin, "rows": list(rows.values())}, indent=1).encode())
