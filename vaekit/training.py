"""The one training loop. Notebook, lab, test and benchmark all iterate it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from numbers import Real

import torch
from torch import Tensor, nn

from vaekit.data import Batches, as_floats, check_images
from vaekit.losses import KINDS, kl_to_prior, reconstruction_nll
from vaekit.messages import shown

PRECISIONS = ("float32", "bfloat16")


@dataclass
class Knobs:
    """What a learner may turn while the model trains; read afresh at every step.

    beta: the weight of the KL, a number from 0 up. prior: False is the same as beta = 0.
    lr: the learning rate, a number above 0. Setting a value that makes no sense raises
    TypeError or ValueError, and the old value stays.
    """

    beta: float = 1.0
    prior: bool = True
    lr: float = 1e-3

    def __setattr__(self, name: str, value) -> None:
        check = {"beta": _check_beta, "prior": _check_prior, "lr": _check_lr}.get(name)
        if check is None:
            raise AttributeError(f"there is no knob {name!r}: the knobs are beta, prior and lr")
        super().__setattr__(name, check(value))

    @property
    def effective_beta(self) -> float:
        """What the KL is multiplied by: beta with the prior on, 0 with the prior off."""
        return self.beta if self.prior else 0.0


def _number(name: str, value, allowed: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {allowed}, not {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be {allowed}, not {number}")
    return number


def _check_beta(value) -> float:
    allowed = "a finite number from 0 up (the lab's slider goes from 0.01 to 100)"
    beta = _number("beta", value, allowed)
    if beta < 0:
        raise ValueError(f"beta must be {allowed}, not {value}")
    return beta


def _check_prior(value) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"prior must be True or False, not {shown(value)}")
    return value


def _check_lr(value) -> float:
    allowed = "a finite number above 0 (0.001 is a good start)"
    lr = _number("lr", value, allowed)
    if lr <= 0:
        raise ValueError(f"lr must be {allowed}, not {value}")
    return lr


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

    When not given: Adam, and a fresh generator seeded with 0 that draws both batches and ε.
    `batches` and `first` go on where another run stopped. "bfloat16" speeds up the model's matrix products
    on a processor with instructions for it; on others it is far slower.
    Raises ValueError or TypeError before the first step when something does not fit.
    """
    check_images(images, batch_size)
    _check_model(model, images)
    for name, value, allowed in (("kind", kind, KINDS), ("precision", precision, PRECISIONS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; not {value!r}")
    knobs = Knobs() if knobs is None else knobs
    if not isinstance(knobs, Knobs):
        raise TypeError(f"knobs must be vaekit.Knobs(beta=..., prior=..., lr=...), not {shown(knobs)}")
    if generator is None:
        generator = torch.Generator(images.device).manual_seed(0)
    if generator.device.type != images.device.type:
        raise ValueError(f"the generator is on {generator.device}, the images on {images.device}: make it there")
    batches = batches or Batches(len(images), batch_size, generator)
    optimizer = optimizer or default_optimizer(model, knobs.lr)
    return _loop(model, images, knobs, optimizer, generator, batches, kind, precision, first)


def default_optimizer(model: nn.Module, lr: float) -> torch.optim.Adam:
    """Adam on all weights; fused, which is 2 to 3 times as fast as the default on a CPU."""
    return torch.optim.Adam(model.parameters(), lr, fused=True)


def _check_model(model, images: Tensor) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module such as vaekit.VAE(), not {shown(model)}")
    weight = next(model.parameters(), None)
    if weight is None:
        raise ValueError("the model has no parameters to train")
    if weight.device != images.device:
        raise ValueError(f"the model is on {weight.device}, the images on {images.device}: use model.to(images.device)")
    if images.is_floating_point() and images.dtype != weight.dtype:
        raise TypeError(f"the images are {images.dtype}, the model {weight.dtype}: use images.to({weight.dtype})")


def _loop(model, images, knobs, optimizer, generator, batches, kind, precision, first) -> Iterator[Step]:
    # Adam's moments of pixels long dark decay into denormal numbers, which a CPU adds 10 times more
    # slowly: flushed to zero the weights stay the same, and the step takes a quarter less time.
    torch.set_flush_denormal(True)
    low_precision = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    for number in count(first):
        now = replace(knobs)  # a knob turned from here on acts at the next step
        for group in optimizer.param_groups:
            group["lr"] = now.lr

        x = as_floats(images.index_select(0, next(batches)))  # (B, C, H, W) in [0, 1]
        with low_precision:
            x_logits, mu, logvar = model(x, generator=generator)

        nll = reconstruction_nll(x_logits.to(x.dtype), x, kind)  # (B,), summed over pixels
        kl = torch.zeros_like(mu) if logvar is None else kl_to_prior(mu.to(x.dtype), logvar.to(x.dtype))  # (B, D)
        reconstruction, kl = nll.mean(), kl.mean(0)  # both: mean over the batch
        loss = reconstruction + now.effective_beta * kl.sum() if now.effective_beta else reconstruction

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield Step(number, batches.epoch, now, loss.detach(), reconstruction.detach(), kl.detach())
