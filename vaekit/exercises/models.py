"""The examination of a whole `model`: encode, decode and forward as in vaekit.VAE, whatever is inside."""

import copy
import inspect
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaekit.exercises.calling import OPEN, Halt, guarded
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.noise import POWER_OF, Draws, faults_of

SHAPES = ((1, 28, 28), (3, 64, 64), (3, 32, 32), (1, 64, 64), (1, 8, 8))
ROWS = 600
PULLS = 30


def examine(candidate, mean_at_eval: bool) -> Diagnosis:
    """The verdict on a model, or on its class. mean_at_eval: no noise is meant after .eval()."""
    model = _instance(candidate)
    x = _images(model)
    found = _decoder(model, _shapes(model, x)) + _floor(model, x)
    model = _spread(model, x)
    with torch.enable_grad():
        one, two = _watched(model, x), _watched(model, x)
    noise = _noise(one, two)
    found += _modes(model, x, noise, mean_at_eval)
    return Diagnosis("model", (*found, *_cut(model, one, noise)))


def _instance(candidate) -> nn.Module:
    if any(candidate is nothing for nothing in OPEN):
        raise Halt("not_started")
    if inspect.isclass(candidate):
        if not issubclass(candidate, nn.Module):
            raise Halt("wrong_type", came=f"the class {candidate.__name__}", expected="a torch.nn.Module")
        candidate = guarded(lambda: _made(candidate), "the model's class")
    if not isinstance(candidate, nn.Module):
        raise Halt("wrong_type", came=type(candidate).__name__, expected="a torch.nn.Module")
    for name in ("encode", "decode"):
        if not callable(getattr(candidate, name, None)):
            raise Halt("not_started", came=f"no method {name}", expected="encode(x), decode(z), forward(x)")
    model = guarded(lambda: _copied(candidate)).cpu()
    if not list(model.parameters()):
        raise Halt("unrecognized", came="a model without parameters", expected="weights to train")
    return model.requires_grad_(True)  # a half that was frozen on purpose is examined like the other


def _copied(model: nn.Module) -> nn.Module:
    """A copy; results that the model keeps as attributes lose their history, which cannot be copied."""
    held = [value for part in model.modules() for value in vars(part).values() if isinstance(value, Tensor)]
    return copy.deepcopy(model, {id(value): value.detach().clone() for value in held})


def _made(kind: type) -> nn.Module:
    """An instance; parameters that have no default are taken for numbers of latents."""
    wanted = inspect.signature(kind).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    open_ones = [one for one in wanted if one.default is one.empty and one.kind in plain]
    return kind(*[2 for _ in open_ones])


def _images(model: nn.Module) -> Tensor:
    """Images of a shape that the model's encoder takes; Halt with the error of the first shape when it takes none."""
    generator = torch.Generator().manual_seed(9)
    first = None
    for shape in SHAPES:
        rows = ROWS if math.prod(shape) < 2000 else ROWS // 3
        x = torch.rand(rows, *shape, generator=generator) * torch.rand(rows, 1, 1, 1, generator=generator)
        try:
            guarded(lambda x=x: model.encode(x[:8]), f"encode: x {tuple(x[:8].shape)}")
            return x
        except Halt as halt:
            first = first or halt
            if halt.finding.code != "raises":
                break
    raise first


def _pair(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    out = guarded(lambda: model.encode(x), f"encode: x {tuple(x.shape)}")
    return _tensors(out, 2, "encode", "(mu, logvar)")


def _forward(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    out = guarded(lambda: model(x), f"forward: x {tuple(x.shape)}")
    return _tensors(out, 3, "forward", "(x_logits, mu, logvar)")


def _tensors(out, count: int, where: str, expected: str) -> tuple:
    if any(out is nothing for nothing in OPEN):
        raise Halt("not_started", input=where, came=type(out).__name__, expected=expected)
    if not isinstance(out, tuple | list) or len(out) != count or not all(isinstance(one, Tensor) for one in out):
        parts = out if isinstance(out, tuple | list) else ()
        came = f"{type(out).__name__}({', '.join(type(one).__name__ for one in parts[:5])})"
        raise Halt("wrong_type", input=where, came=came, expected=expected)
    return tuple(out)


def _shapes(model: nn.Module, x: Tensor) -> Tensor:
    """Halt when a shape is wrong. Returns mu."""
    x = x[:8]
    mu, logvar = _pair(model, x)
    if mu.dim() != 2 or len(mu) != len(x) or logvar.shape != mu.shape:
        came = f"mu {tuple(mu.shape)}, logvar {tuple(logvar.shape)}"
        raise Halt("wrong_shape", input=f"encode: x {tuple(x.shape)}", came=came, expected="(B, D) both")
    x_logits, mu, logvar = _forward(model, x)
    if x_logits.shape != x.shape:
        given = f"forward: x {tuple(x.shape)}"
        raise Halt("wrong_shape", input=given, came=f"x_logits {tuple(x_logits.shape)}", expected=str(tuple(x.shape)))
    if mu.shape != logvar.shape or mu.dim() != 2:
        raise Halt("wrong_shape", input="forward", came=f"mu {tuple(mu.shape)}, logvar {tuple(logvar.shape)}")
    return mu


@torch.no_grad()
def _decoder(model: nn.Module, mu: Tensor) -> list[Finding]:
    """Are the decoder's outputs logits? Codes far out must lead below 0 or above 1."""
    z = 20 * torch.randn(64, mu.shape[1], generator=torch.Generator().manual_seed(10))
    x_logits = guarded(lambda: model.decode(z), f"decode: z {tuple(z.shape)}")
    if not isinstance(x_logits, Tensor):
        raise Halt("not_started" if x_logits is None else "wrong_type", input="decode", came=type(x_logits).__name__)
    low, high = float(x_logits.min()), float(x_logits.max())
    if low < 0 or high > 1:
        return []
    sums = [x_logits.flatten(1).sum(1), x_logits.sum(-1), x_logits.sum(1)]
    if any((total - 1).abs().max() < 1e-3 for total in sums):
        return [Finding("softmax", "decode", "outputs that add up to 1", "logits of any size")]
    came = f"outputs from {low:.2g} to {high:.2g}"
    return [Finding("logits_as_probabilities", "decode", came, "logits of any size", "The decoder ends in a sigmoid.")]


def _floor(model: nn.Module, x: Tensor) -> list[Finding]:
    """Can log σ² fall below 0, and so σ below 1? Steps that do nothing but pull it down must bring it there."""
    pulled = _copied(model).train()
    optimizer = torch.optim.Adam(pulled.parameters(), lr=0.05)
    with torch.enable_grad():
        for _ in range(PULLS):
            logvar = _pair(pulled, x[:16])[1]
            if not (logvar.min() >= 0 and logvar.requires_grad):
                return []
            optimizer.zero_grad()
            logvar.mean().backward()
            optimizer.step()
    came = f"logvar from {float(logvar.detach().min()):.2g} up, after {PULLS} steps that pull it down"
    return [Finding("logvar_bounded", "encode", came, "logvar below 0 where σ < 1")]


def _spread(model: nn.Module, x: Tensor) -> nn.Module:
    """The model in training, with weights so large that logvar differs between images."""
    previous = model
    for factor in (1, 1.5, 2, 3, 4, 6, 9, 14):
        larger = _copied(model).train()
        with torch.no_grad():
            for weight in larger.parameters():
                weight *= factor
            logvar = _pair(larger, x)[1]
        if factor > 1 and not logvar.abs().max() <= 9:  # beyond, z − μ drowns in rounding
            return previous
        if logvar.std(0).min() > 0.5:
            return larger
        previous = larger
    return previous


@dataclass
class _Pass:
    """One forward pass; z (B, D) is what the decoder took, None when that was not to be seen."""

    z: Tensor | None
    mu: Tensor
    logvar: Tensor
    x_logits: Tensor


def _watched(model: nn.Module, x: Tensor) -> _Pass:
    """A forward pass; z is what `decode`, or the first module after the encoder, took."""
    taken: list[Tensor] = []

    def take(module, given):
        taken.extend(value for value in given if isinstance(value, Tensor))

    hooks = [part.register_forward_pre_hook(take) for part in model.modules() if part is not model]
    decode = model.decode

    def noted(z, *rest, **more):
        taken.insert(0, z)
        return decode(z, *rest, **more)

    model.__dict__["decode"] = noted
    try:
        x_logits, mu, logvar = _forward(model, x)
    finally:
        del model.__dict__["decode"]
        for hook in hooks:
            hook.remove()
    codes = [value for value in taken if value.shape == mu.shape]
    z = next((value for value in codes if not value.equal(mu)), codes[0] if codes else None)
    return _Pass(z, mu, logvar, x_logits)


def _noise(one: _Pass, two: _Pass) -> list[Finding]:
    if one.z is not None and two.z is not None:
        again = two.z - two.mu + one.mu  # with dropout the two passes have not quite the same mu
        return faults_of(Draws(*(value.detach() for value in (one.mu, one.logvar, one.z, again))))
    if one.x_logits.equal(two.x_logits):
        return [Finding("noise_missing", "forward, twice", "the same", "two draws")]
    return []


def _slopes(out: Tensor, weights: list) -> list[Tensor]:
    """d(Σ out)/d(each weight), zeros where no path leads."""
    if not out.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    slopes = torch.autograd.grad(out.sum(), weights, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(weight) if slope is None else slope for weight, slope in zip(weights, slopes, strict=True)]


def _cut(model: nn.Module, seen: _Pass, noise: list[Finding]) -> list[Finding]:
    """Gradients must come back from mu, logvar and x_logits, and go through z as they do through μ + σ ⊙ ε."""
    names, weights = zip(*model.named_parameters(), strict=True)
    for name in ("mu", "logvar", "x_logits"):
        if not any(slope.any() for slope in _slopes(getattr(seen, name), weights)):
            return [Finding("gradient_cut", "forward", f"no gradient behind {name}", "gradients to the weights")]
    codes = [finding.code for finding in noise]
    z = seen.z
    if z is None or "unrecognized" in codes:
        return []
    power = next((POWER_OF[code] for code in codes if code in POWER_OF), 0.5)
    mixed = torch.randn(z.shape, generator=torch.Generator().manual_seed(11))
    through_sigma = seen.logvar * (power * (z - seen.mu)).detach()
    due = _slopes(mixed * (seen.mu + through_sigma), weights)
    behind = _slopes(seen.x_logits, weights)
    largest = max(expected.abs().max() for expected in due)
    for name, came, expected, far in zip(names, _slopes(mixed * z, weights), due, behind, strict=True):
        rounding = 1e-4 * largest  # a bias before a batch norm has nothing but rounding for a gradient
        if (came - expected).abs().max() > 1e-2 * expected.abs().max() + rounding:
            return [Finding("gradient_cut", "forward", f"{name} gets another gradient through z than through μ + σ ε")]
        if came.abs().max() > rounding and not far.any():
            return [Finding("gradient_cut", "forward", f"the reconstruction's gradient does not reach {name}")]
    return []


@torch.no_grad()
def _modes(model: nn.Module, x: Tensor, noise: list[Finding], mean_at_eval: bool) -> list[Finding]:
    """The noise in training, and what .eval() makes of it."""
    model.eval()
    mu = _pair(model, x)[0]
    z = torch.ones(4, mu.shape[1])
    if not (mu.equal(_pair(model, x)[0]) and model.decode(z).equal(model.decode(z))):
        # what was said of z − μ then means nothing
        return [Finding("noise_at_eval", "encode or decode after .eval(), twice", "two results", "one result")]
    at_eval = not _forward(model, x)[0].equal(_forward(model, x)[0])
    if at_eval and (mean_at_eval or any(finding.code == "noise_missing" for finding in noise)):
        last = Finding("noise_at_eval", "forward after .eval(), twice", "two results", "one result, the mean's")
        return [*noise, last]
    return noise
