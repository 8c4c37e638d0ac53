"""A learner's model, and images that it takes: an instance in training mode, its shapes checked."""

import copy
import gc
import inspect
import math
from itertools import product

import torch
from torch import Tensor, nn

from vaekit.exercises.calling import OPEN, Halt, guarded

FEW = 8
SIZES = (28, 32, 64, 16, 96, 128, 14, 8, 18, 24, 48)
OTHER_SHAPE = "For images of another shape say so: diagnose(model=…, shape=(C, H, W))."


def made(candidate) -> nn.Module:
    """A copy of the model, or an instance of its class; in training mode, on the CPU, in float32."""
    if any(candidate is nothing for nothing in OPEN):
        raise Halt("not_started")
    kind = candidate if inspect.isclass(candidate) else type(candidate)
    if not issubclass(kind, nn.Module):
        raise Halt("wrong_type", came=kind.__name__, expected="a torch.nn.Module")
    model = guarded(lambda: instance_of(kind) if kind is candidate else copied(candidate))
    for name in ("encode", "decode"):
        if not callable(getattr(model, name, None)):
            raise Halt("not_started", came=f"no method {name}", expected="encode(x), decode(z), forward(x)")
    if not list(model.parameters()):
        raise Halt("unrecognized", came="a model without parameters", expected="weights to train")
    return training(model.cpu().float())


def instance_of(kind: type) -> nn.Module:
    """An instance. The parameters without a default are taken for numbers of latents."""
    listed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(kind).parameters.values()
    return kind(**{one.name: 2 for one in parameters if one.default is one.empty and one.kind not in listed})


def copied(model: nn.Module) -> nn.Module:
    """A copy. What the model keeps of earlier results is kept without its history, which cannot be copied."""
    results = [one for one in gc.get_objects() if type(one) is Tensor and one.grad_fn is not None]
    return copy.deepcopy(model, {id(one): one.detach() for one in results})


def training(model: nn.Module, on: bool = True) -> nn.Module:
    """`model.train()`, whatever a class makes of that name."""
    return nn.Module.train(model, on)


def with_images(candidate, shape: tuple[int, ...] | None) -> tuple[nn.Module, Tensor]:
    """The model, and images that come back as they went in; Halt with the first fault if none do."""
    halts: list[Halt] = []
    for one in [tuple(shape)] if shape else _shapes(made(candidate)):
        model = made(candidate)  # afresh: a lazy layer takes the shape of its first image
        is_lazy = any(nn.parameter.is_lazy(weight) for weight in model.parameters())
        x = torch.rand(FEW, *one, generator=torch.Generator().manual_seed(9))
        try:
            _check_shapes(model, x, is_sure=bool(shape) or (one == (1, 28, 28) and not is_lazy))
            return model, x
        except Halt as halt:
            is_final = halt.finding.note == OTHER_SHAPE or halt.finding.input.startswith("forward")
            if halt.finding.code not in ("raises", "wrong_shape") or is_final:
                raise
            halts.append(halt)
    raise next((halt for halt in halts if halt.finding.code != "raises"), halts[0])


def _shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """Shapes of images to try: digits, what the layers say of themselves, and the usual sizes."""
    shapes = [(1, 28, 28)]
    for part in model.modules():
        shapes += [one for one in vars(part).values() if isinstance(one, tuple) and len(one) == 3]
        if isinstance(part, nn.Linear):
            shapes += [(c, math.isqrt(part.in_features // c), math.isqrt(part.in_features // c)) for c in (1, 3)]
    channels = [part.in_channels for part in model.modules() if isinstance(part, nn.Conv2d)]
    shapes += [(c, side, side) for c, side in product({*channels[:1], 1, 3}, SIZES)]
    return list(dict.fromkeys(one for one in shapes if all(isinstance(size, int) and size > 0 for size in one)))


def pair(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """What `encode` gives: mu and logvar; else Halt."""
    return _tensors(guarded(lambda: model.encode(x), f"encode: x {tuple(x.shape)}"), 2, "encode", "mu, logvar")


def forward(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """What `forward` gives: x_logits, mu and logvar; else Halt."""
    return _tensors(guarded(lambda: model(x), f"forward: x {tuple(x.shape)}"), 3, "forward", "x_logits, mu, logvar")


def _tensors(out, count: int, where: str, names: str) -> tuple[Tensor, ...]:
    if any(out is nothing for nothing in OPEN):
        raise Halt("not_started", input=where, came=type(out).__name__, expected=f"({names})")
    parts = tuple(out) if isinstance(out, tuple | list) else ()
    if len(parts) == count and all(isinstance(one, Tensor) for one in parts):
        return parts
    came = f"{len(parts)} things" if parts else f"a {type(out).__name__}"
    note = f"From `{where}` came {came}, {count} tensors are wanted: {names}."
    raise Halt("wrong_type", input=where, came=came, expected=f"({names})", note=note)


def _check_shapes(model: nn.Module, x: Tensor, is_sure: bool) -> None:
    """Halt when a shape is wrong. is_sure: these must be the model's images."""
    mu, logvar = pair(model, x)
    if mu.dim() != 2 or len(mu) != len(x) or logvar.shape != mu.shape:
        came = f"mu {tuple(mu.shape)}, logvar {tuple(logvar.shape)}"
        raise Halt("wrong_shape", input=f"encode: x {tuple(x.shape)}", came=came, expected="(B, D) both")
    for where, given in (("decode", mu), ("forward", x)):
        told = f"{where}: {tuple(given.shape)}"
        out = guarded(lambda: model.decode(mu), told) if where == "decode" else forward(model, x)[0]
        if not isinstance(out, Tensor):
            is_open = any(out is nothing for nothing in OPEN)
            raise Halt("not_started" if is_open else "wrong_type", input=told, came=type(out).__name__)
        if out.shape != x.shape:
            note = OTHER_SHAPE if is_sure else ""
            raise Halt("wrong_shape", input=told, came=str(tuple(out.shape)), expected=str(tuple(x.shape)), note=note)
    if any(out.shape != mu.shape for out in forward(model, x)[1:]):
        raise Halt("wrong_shape", input="forward", came="another mu or logvar than of encode", expected="(B, D) both")
