"""The one training loop. Notebook, lab, test and benchmark all iterate it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import count

import torch
from torch import Tensor, nn

from vaekit._checks import check_choice, check_number, check_type, short_repr
from vaekit._contract import forward_of
from vaekit.data import Batches, as_floats, check_images
from vaekit.losses import KINDS, kl_to_prior, reconstruction_nll


def _knob(default, check: Callable, label: str, tip: str):
    """A row of the table of knobs. check(name, value) → the sound value, or TypeError or ValueError in one line."""
    return field(default=default, metadata={"check": check, "label": label, "tip": tip})


_UP = "a finite number from 0 up (the lab's slider goes from 0.01 to 100)"
_from_zero = partial(check_number, allowed=_UP, fits=lambda number: number >= 0)
_above_zero = partial(check_number, allowed="a finite number above 0 (0.001 is a good start)", fits=lambda x: x > 0)
_on_or_off = partial(check_type, kind=bool, allowed="True or False")


@dataclass
class Knobs:
    """What a learner may turn while the model trains; read afresh at every step. Each field is a row of a table.

    beta: the weight of the KL, a number from 0 up. prior: False is the same as beta = 0.
    lr: the learning rate, a number above 0. Setting a value that makes no sense raises
    TypeError or ValueError, and the old value stays.
    """

    beta: float = _knob(1.0, _from_zero, "β", "β, the weight of the KL, on a log scale")
    prior: bool = _knob(True, _on_or_off, "Prior", "The prior's pull, β·KL, in the loss: on or off")
    lr: float = _knob(1e-3, _above_zero, "learning rate", "The learning rate of Adam, above 0")

    def __setattr__(self, name: str, value) -> None:
        super().__setattr__(name, check_knob(name, value))

    @property
    def effective_beta(self) -> float:
        """What the KL is multiplied by: beta with the prior on, 0 with the prior off."""
        return self.beta if self.prior else 0.0


KNOBS = {row.name: row for row in fields(Knobs)}  # the table: each row's name, type, default, check, label and tip


def check_knob(name: str, value):
    """The sound value of a knob. Raises AttributeError, TypeError or ValueError, in one line."""
    if name not in KNOBS:
        raise AttributeError(f"there is no knob {short_repr(name)}: the knobs are {', '.join(KNOBS)}")
    return KNOBS[name].metadata["check"](name, value)


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, as it was: detached tensors that stay on the device until you ask for a number.

    number: from 1 up. epoch: images seen / images there are. knobs: a copy of those that acted.
    loss, reconstruction: () in nats per image, the batch's mean. kl: (D,) nats per image and dimension.
    """

    number: int
    epoch: float
    knobs: Knobs
    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


def train(
    model: nn.Module,
    images: Tensor,
    knobs: Knobs | None = None,
    *,
    batch_size: int = 128,
    optimizer: torch.optim.Optimizer | None = None,
    generator: torch.Generator | None = None,
    batches: Batches | None = None,
    kind: str = "bernoulli",
    precision: str = "float32",
    first: int = 1,
) -> Iterator[Step]:
    """Train `model` on `images` (N, C, H, W): an endless iterator, one optimizer step per `Step`.

    When not given: Adam, a fresh generator seeded with 0 that draws both batches and ε, and knobs at β = 1 with
    the optimizer's own learning rate. The knob drives the optimizer's first group, the others keep their ratio to it;
    where it rests a scheduler may move them, as a step's knobs show.
    `batches` and `first` go on where another run stopped. "bfloat16" speeds up the model's matrix products
    on a processor with instructions for it; on others it is far slower.
    Raises ValueError or TypeError when it is called, before the first step, if something does not fit: a model too,
    which goes forward with a few images without a trace.
    """
    check_images(images, batch_size)
    forward = forward_of(model, images, check_choice("kind", kind, KINDS))
    check_choice("precision", precision, ("float32", "bfloat16"))
    optimizer = default_optimizer(model, Knobs.lr) if optimizer is None else optimizer
    check_type("optimizer", optimizer, torch.optim.Optimizer, "one of torch.optim, of the model's weights")
    if set(model.parameters()).isdisjoint(w for group in optimizer.param_groups for w in group["params"]):
        raise ValueError("the optimizer has none of this model's weights: make it anew, with model.parameters()")
    knobs = Knobs(lr=_learning_rate(optimizer) or Knobs.lr) if knobs is None else knobs
    check_type("knobs", knobs, Knobs, "vaekit.Knobs(beta=..., prior=..., lr=...)")
    generator = torch.Generator(images.device).manual_seed(0) if generator is None else generator
    check_type("generator", generator, torch.Generator, "such as torch.Generator().manual_seed(0)")
    if generator.device.type != images.device.type:
        raise ValueError(f"the generator is on {generator.device}, the images on {images.device}: make it there")
    batches = Batches(len(images), batch_size, generator) if batches is None else batches
    check_type("batches", batches, Batches, "a vaekit.data.Batches(len(images), batch_size, generator)")
    return _loop(model, forward, images.detach(), knobs, optimizer, generator, batches, kind, precision, first)


def default_optimizer(model: nn.Module, lr: float) -> torch.optim.Adam:
    """Adam on all weights; fused, which is 2 to 3 times as fast as the default on a CPU."""
    return torch.optim.Adam(model.parameters(), lr, fused=True)


def _learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate of an optimizer's first group that has one; 0 where none has."""
    return next(filter(None, (float(group["lr"]) for group in optimizer.param_groups)), 0.0)


def _loop(model, forward, images, knobs, optimizer, generator, batches, kind, precision, first) -> Iterator[Step]:
    dtype = next(model.parameters()).dtype
    low_precision = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    scales, acting = [group["lr"] / (_learning_rate(optimizer) or Knobs.lr) for group in optimizer.param_groups], None
    for number in count(first):
        now = replace(knobs)  # a knob turned from here on acts at the next step
        if now.lr != acting:
            for group, scale in zip(optimizer.param_groups, scales, strict=True):
                group["lr"] = now.lr * scale
        acting, vars(now)["lr"] = now.lr, _learning_rate(optimizer)  # as a scheduler moved it: 0 is no knob's
        if not model.training:
            model.train()

        with _flushing_denormals(), torch.enable_grad():
            x = as_floats(images.index_select(0, next(batches))).to(dtype)  # (B, C, H, W) in [0, 1]
            with low_precision:
                x_logits, mu, logvar = forward(x, generator=generator)

            nll = reconstruction_nll(x_logits.to(dtype), x, kind)  # (B,), summed over pixels
            kl = torch.zeros_like(mu) if logvar is None else kl_to_prior(mu.to(dtype), logvar.to(dtype))  # (B, D)
            reconstruction, kl = nll.mean(), kl.mean(0)  # both: mean over the batch
            loss = reconstruction + now.effective_beta * kl.sum() if now.effective_beta else reconstruction

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield Step(number, batches.epoch, now, loss.detach(), reconstruction.detach(), kl.detach())


@contextmanager
def _flushing_denormals() -> Iterator[None]:
    """Numbers below 1e-38 count as 0 on this thread, and afterwards as before.

    Adam's moments of pixels long dark decay into such denormal numbers, which a CPU adds 10 times more slowly:
    flushed to zero the weights stay the same, and the step takes a quarter less time.
    """
    before = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
