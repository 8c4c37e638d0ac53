"""What a model must be for `train`, the lab and a sweep: how it is called, and what it gives back."""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vaekit._checks import check_type, one_line
from vaekit.data import as_floats
from vaekit.model import watching

CONTRACT = (
    "a model needs forward(x, generator=None) → (x_logits, mu, logvar), encode(x) → (mu, logvar) and "
    "decode(z) → x_logits; a plain autoencoder's logvar is None"
)
GIVES = {"encode": ("mu", "logvar"), "decode": ("x_logits",), "forward": ("x_logits", "mu", "logvar")}
NO_GRADIENT = f"{CONTRACT}; no gradient flows back from x_logits of forward of this {{}}: is there a no_grad()?"
_examined: WeakSet[nn.Module] = WeakSet()  # models of which all has been said


def check_model(model: nn.Module, images: Tensor, kind: str = "bernoulli") -> tuple[int, str | None]:
    """D of a model that can be trained on these images and looked at; and a line to be said of it, or None.

    A few images are tried, without a trace. Any other model is refused by a TypeError or ValueError, in one line.
    """
    x, plain = _check_weights(model, images), underneath(model)
    with _put_back(model, x.device):
        for some in (x[:1], x):  # one alone as well: a squeeze() would take its batch away
            shown = _outputs(model, "encode", some, some)
            _outputs(model, "decode", some, shown[0])
        trained = _outputs(plain, "forward", x, x, **_dice(plain, x))[1:]
    line = _examine(plain, x, kind)
    if not _alike(shown, trained, rough=True):
        this = f"this {type(plain).__name__}"
        line = f"encode of {this}, which the lab shows, gives another mu or logvar than forward, which is trained"
    return shown[0].shape[1], line


def forward_of(model: nn.Module, images: Tensor, kind: str) -> Callable:
    """The model as a function (x, generator) → (x_logits, mu, logvar), whether or not it takes a generator.

    Warns, once a model, of what `check_model` has to say of it; refuses as that does, but may lack encode and decode.
    """
    x, plain = _check_weights(model, images), underneath(model)
    if plain not in _examined and (line := _examine(plain, x, kind)):
        warnings.warn(line, stacklevel=3)  # at the line that called train
    takes_generator = bool(_dice(plain, x))

    def forward(x: Tensor, generator: torch.Generator) -> tuple:
        x_logits, mu, logvar = model(x, generator=generator) if takes_generator else model(x)
        if not x_logits.requires_grad:
            raise ValueError(NO_GRADIENT.format(type(plain).__name__))
        return x_logits, mu, logvar

    return forward


def underneath(model: nn.Module) -> nn.Module:
    """The model that torch.compile or DataParallel has wrapped."""
    inside = getattr(model, "_orig_mod", None)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inside = model.module
    return model if inside is None else underneath(inside)


def _check_weights(model, images: Tensor) -> Tensor:
    """Two of the images, (2, C, H, W), for a model whose weights can be trained on them; any other is refused."""
    check_type("model", model, nn.Module, "a torch.nn.Module such as vaekit.VAE()")
    weights = list(model.parameters())
    if any(is_lazy(weight) for weight in weights):
        raise ValueError("the model has lazy layers, of no size yet: call it once before, model(as_floats(images[:2]))")
    if not any(weight.requires_grad for weight in weights):
        raise ValueError("the model has no weights to train: if they are frozen, use model.requires_grad_(True)")
    if elsewhere := {weight.device for weight in weights} - {images.device}:
        where = f"the model is on {elsewhere.pop()}, the images on {images.device}"
        way = "to_empty(device=images.device), and give it weights" if weights[0].is_meta else "to(images.device)"
        raise ValueError(f"{where}: use model.{way}")
    if weights[0].dtype not in (torch.float32, torch.float64):
        raise TypeError(f"the model's weights are {weights[0].dtype}, too rough to be trained: use model.float()")
    return as_floats(images[[0, -1]]).to(weights[0].dtype)


def _examine(model: nn.Module, x: Tensor, kind: str) -> str | None:
    """A line to be said of forward, or None. Refuses what is not finite, or a logvar that is none."""
    x = x.repeat(8, 1, 1, 1)  # so that what is drawn is not the same by chance
    this = f"forward of this {type(model).__name__}"
    first, again, other = (_trial(model, x, seed, moved) for seed, moved in ((0, 0), (0, 1), (1, 2)))
    if not all(value.isfinite().all() for value in first if value is not None):
        raise ValueError(f"{this} gives NaN or infinity before the first step: make the model anew")
    if meant := _meant_by_logvar(model, *first):
        raise ValueError(f"{this} takes its logvar for {meant}: it must be log σ², as in mu + exp(logvar / 2) * eps")
    cut = _cut(model, x[:2])
    if cut == "all":
        raise ValueError(NO_GRADIENT.format(type(model).__name__))
    _examined.add(model)
    if cut:
        what = f"not all weights behind the {cut} of this {type(model).__name__} get a gradient from it"
        return f"{what}: some learn nothing (a detach()? frozen on purpose?)"
    low, high = first[0].aminmax()
    if kind != "linear" and 0 < low < high <= 1:
        return f"{this} gives x_logits in 0..1, as after a sigmoid: leave it out, as the loss has one of its own"
    if not _alike(first, again):
        own = "gives something else each time (dropout? randn_like?)" if _dice(model, x) else "takes no generator"
        return f"{this} {own}: a twin, a replay or another run with its seed would not hold"
    if first[2] is not None and _alike(first, other):
        return f"{this} draws no noise from its generator: decode mu + exp(logvar / 2) * eps, or σ has no effect"
    return None


def _trial(model: nn.Module, x: Tensor, seed: int = 0, moved: int = 0) -> tuple:
    """What forward gives in training mode, with torch's own generators moved on by so many draws."""
    with _put_back(model, x.device, training=True):
        torch.rand(moved), torch.rand(moved, device=x.device)
        return _outputs(model, "forward", x, x, **_dice(model, x, seed))


@torch.no_grad()
def _cut(model: nn.Module, x: Tensor) -> str:
    """Which of mu, logvar and x_logits gives no gradient to some of the weights that it is made of, or "", or "all".

    A copy goes forward, as what a model counts under gradients are its steps.
    """
    with suppress(Exception):  # some cannot be copied, or will not be looked through
        copied = copy.deepcopy(model)
        with _put_back(copied, x.device, training=True), torch.enable_grad():
            reached = [_weights_behind(out) for out in copied(x, **_dice(copied, x))]
        if not reached[0]:
            return "all"
        if not _alike(_trial(copied, x), _trial(copied, x)):
            return ""
        for symbol, i in {"mu": 1, "logvar": 2, "x_logits": 0}.items():
            before = _trial(copied, x)[i]
            for weight in copied.parameters():
                if weight.requires_grad and weight not in reached[i]:
                    weight.mul_(-1.5).add_(0.1)
            if not _alike([before], [_trial(copied, x)[i]]):
                return symbol
    return ""


def _weights_behind(out: Tensor | None) -> set[Tensor]:
    """The weights that a gradient would come back to from `out`. Raises ValueError where this is not to be seen."""
    found, ahead = set(), {getattr(out, "grad_fn", None)} - {None}
    while ahead:
        found |= ahead
        ahead = {before for step in ahead for before, _ in step.next_functions if before} - found
    if any("Checkpoint" in step.name() for step in found):  # what is run on the way back
        raise ValueError("weights that the graph does not show")
    return {step.variable for step in found if hasattr(step, "variable")}


def _meant_by_logvar(model: nn.Module, x_logits: Tensor, mu: Tensor, logvar: Tensor | None) -> str:
    """What a model takes its logvar for: σ or σ², where with that its noise gives its x_logits; else ""."""
    with suppress(Exception), _put_back(model, mu.device, training=True):
        eps = torch.randn(mu.shape, device=mu.device, dtype=mu.dtype, **_dice(model, mu))
        for meant, std in (("", torch.exp(logvar / 2)), ("σ", logvar), ("σ²", logvar.sqrt())):
            if _alike([model.decode(mu + std * eps)], [x_logits], rough=not meant):
                return meant
    return ""


def _alike(some: Sequence, others: Sequence, rough: bool = False) -> bool:
    """Are they the same, but for rounding? rough: that of bfloat16 too, where one of them was made under autocast."""
    tolerance = (2e-2, 2e-2) if rough else (1e-4, 1e-5)
    pairs = [(a.float(), b.float()) for a, b in zip(some, others, strict=True) if a is not None is not b]
    return all(torch.allclose(a, b, *tolerance, equal_nan=True) for a, b in pairs)


def _dice(model: nn.Module, like: Tensor, seed: int = 0) -> dict[str, torch.Generator]:
    """A fresh generator as forward takes one by its name; empty where it takes none."""
    parameters = inspect.signature(model.forward).parameters.values()
    takes_one = any(one.name == "generator" or one.kind is one.VAR_KEYWORD for one in parameters)
    return {"generator": torch.Generator(like.device).manual_seed(seed)} if takes_one else {}


def _outputs(model: nn.Module, name: str, x: Tensor, given: Tensor, **keywords) -> tuple:
    """What a method gives, which must be what the contract says for the images x."""
    this, method = f"this {type(model).__name__}", model if name == "forward" else getattr(model, name, None)
    if not callable(method):
        raise TypeError(f"{CONTRACT}; {this} has no {name}: see vaekit.VAE")
    before = given.clone()
    try:
        outputs = method(given, **keywords)
    except Exception as error:
        what = f"{name} of {this} fails with {tuple(given.shape)} ({one_line(error)})"
        raise ValueError(f"{CONTRACT}; {what}") from error
    if not torch.allclose(given, before, 0, 0, equal_nan=True):
        raise ValueError(f"{name} of {this} changes what it is given, as x -= 0.5 does: have it make x = x - 0.5")
    outputs = (outputs,) if name == "decode" or not isinstance(outputs, tuple | list) else tuple(outputs)
    shapes = [tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__ for out in outputs]
    came = dict(zip(GIVES[name], shapes, strict=False))
    codes = (len(x), *came.get("mu", ())[-1:])  # (B, D)
    wanted = {"x_logits": [tuple(x.shape)], "mu": [codes], "logvar": [codes, "NoneType"]}
    if len(shapes) != len(GIVES[name]) or any(shape not in wanted[symbol] for symbol, shape in came.items()):
        what = f"gives {', '.join(map(str, shapes))[:90]} for images {tuple(x.shape)}"
        raise ValueError(f"{CONTRACT}; {name} of {this} {what}: x_logits must be shaped like x, mu and logvar (B, D)")
    return outputs


@contextmanager
def _put_back(model: nn.Module, device: torch.device, training: bool = False) -> Iterator[None]:
    """No gradients; and the model's modes and buffers, and torch's own generators, as they were."""
    kept = [(part, name, it, it.clone()) for part in model.modules() for name, it in part.named_buffers(recurse=False)]
    with watching(model, training), torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            for part, name, buffer, before in kept:
                setattr(part, name, buffer)  # forward may have put another in its place
                buffer.copy_(before)
