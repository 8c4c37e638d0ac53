"""One run of a sweep: what an executor is given to do."""

import math
import threading
from dataclasses import astuple, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vaekit.data import as_floats, mnist
from vaekit.losses import kl_to_prior, reconstruction_nll
from vaekit.metrics import active_units, mean_std
from vaekit.model import VAE, from_seed
from vaekit.sweeps.table import Row
from vaekit.training import Knobs, train

SHOWN = 2000  # test images when none are given, and how many are measured at a time


@dataclass(frozen=True)
class Settings:
    """What all runs of a sweep have in common, beside the images."""

    steps: int
    latent_dim: int
    hidden: int
    kind: str
    lr: float
    batch_size: int


def run(beta: float, seed: int, settings: Settings, images: np.ndarray | None, test: np.ndarray | None) -> Row:
    """Train and measure one model. None stands for MNIST, whose 47 MB need not travel."""
    with ONE_THREAD:
        images, test = tensors(images, test)
        model = make_model(settings, images, seed)
        generator = torch.Generator().manual_seed(seed)
        how = {"batch_size": settings.batch_size, "kind": settings.kind, "generator": generator}
        for step in train(model, images, Knobs(beta=beta, lr=settings.lr), **how):
            if step.number == settings.steps:
                break
        return measure(model, test, beta, seed, settings.kind)


def tensors(images: np.ndarray | None, test: np.ndarray | None) -> tuple[Tensor, Tensor]:
    """The images to train on, (N, C, H, W), and those to measure on."""
    # torch.tensor copies: an array that came through a pipe may be read-only, and lies at another address,
    # by which the last digit of a product may depend.
    own = None if images is None else torch.tensor(images)
    if test is not None:
        return mnist(device="cpu").images if own is None else own, torch.tensor(test)
    if own is not None:
        return own, own[:SHOWN]
    return mnist(device="cpu").images, mnist(train=False, device="cpu").images[:SHOWN]


def make_model(settings: Settings, images: Tensor, seed: int) -> VAE:
    """A fresh model for images (N, C, H, W), its weights drawn from the seed."""
    return from_seed(VAE, settings.latent_dim, settings.hidden, images.shape[1:], seed)


@torch.no_grad()
def measure(model: VAE, images: Tensor, beta: float, seed: int, kind: str) -> Row:
    """The row of a trained model. Every run gets the same ε: what differs is what was learned."""
    generator = torch.Generator().manual_seed(0)
    nll, mu, logvar = (torch.cat(parts) for parts in zip(*_forward(model, images, generator, kind), strict=True))
    rate = float(kl_to_prior(mu, logvar).sum(1).mean(dtype=torch.float64))  # (N, D) → (N,) → ()
    distortion = float(nll.mean(dtype=torch.float64))
    active, std = int(active_units(mu).sum()), float(mean_std(logvar))
    row = Row(beta, seed, rate, distortion, distortion + beta * rate, active, std)
    if all(map(math.isfinite, astuple(row))):
        return row
    return replace(row, rate=math.nan, distortion=math.nan, loss=math.nan, active=0, std=math.nan)


def _forward(model: VAE, images: Tensor, generator: torch.Generator, kind: str):
    for part in images.split(SHOWN):
        x = as_floats(part)
        x_logits, mu, logvar = model(x, generator=generator)
        yield reconstruction_nll(x_logits, x, kind), mu, logvar  # (B,), (B, D), (B, D)


class OneThread:
    """Inside `with`, a run has one torch thread; the last one that leaves puts the user's number back.

    A pool's thread starts with the number that another thread set last: only the first to enter sees the user's.
    """

    def __init__(self):
        self.lock, self.inside, self.before = threading.Lock(), 0, 1

    def __enter__(self):
        with self.lock:
            now = torch.get_num_threads()  # asked in any case: torch sets a new thread up when first asked
            self.before = self.before if self.inside else now
            self.inside += 1
            torch.set_num_threads(1)

    def __exit__(self, *_):
        with self.lock:
            self.inside -= 1
            torch.set_num_threads(self.before)


ONE_THREAD = OneThread()
