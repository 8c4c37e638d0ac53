"""The examination of a whole `model`: encode, decode and forward as in vaekit.VAE, whatever is inside."""

import copy
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType

import torch
from torch import Tensor, nn

from vaekit.exercises.calling import OPEN, Halt, guarded
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.noise import Draws, faults_of, power_of

SHAPES = ((1, 28, 28), (3, 64, 64), (3, 32, 32), (1, 32, 32), (1, 64, 64), (3, 16, 16), (3, 18, 18), (1, 8, 8))
ROWS = 600  # for what is measured of the noise
FEW = 32  # for all the rest
PULLS = 30


def examine(candidate, mean_at_eval: bool) -> Diagnosis:
    """The verdict on a model, or on its class. mean_at_eval: no noise is meant after .eval()."""
    model = _instance(candidate)
    try:
        x, few = _images(model)
    except Halt as halt:
        raise _told_to_make_one(halt, candidate) from None
    loose = _loose_layers(model)
    _rouse(model)
    frozen = _thaw(model, few)
    found = loose + _decoder(model, few) + _floor(model, few)
    model = _spread(model, few)
    with torch.enable_grad():
        which = _place(model, few)
        seen = _watched(model, few, which)
    with torch.no_grad():
        noise = _noise(_watched(model, x, which, z_only=True), _watched(model, x, which, z_only=True))
    cut = []
    if all(finding.code != "logvar_bounded" for finding in found):  # a ReLU lets no gradient through below 0
        behind = _behind(model, seen)
        cut = _cut(model, seen, noise, behind) or _unreached(model, few, behind, frozen)
    return Diagnosis("model", (*found, *_modes(model, few, which, noise, mean_at_eval), *cut))


def _instance(candidate) -> nn.Module:
    if any(candidate is nothing for nothing in OPEN):
        raise Halt("not_started")
    if inspect.isclass(candidate):
        if not issubclass(candidate, nn.Module):
            raise Halt("wrong_type", came=f"the class {candidate.__name__}", expected="a torch.nn.Module")
        try:
            candidate = guarded(lambda: _made(candidate), "the model's class")
        except Halt as halt:
            raise _told_to_make_one(halt, candidate) from None
    if not isinstance(candidate, nn.Module):
        raise Halt("wrong_type", came=type(candidate).__name__, expected="a torch.nn.Module")
    for name in ("encode", "decode"):
        if not callable(getattr(candidate, name, None)):
            raise Halt("not_started", came=f"no method {name}", expected="encode(x), decode(z), forward(x)")
    model = guarded(lambda: _copied(candidate).cpu().float())
    if not list(model.parameters()):
        raise Halt("unrecognized", came="a model without parameters", expected="weights to train")
    return model


def _copied(model: nn.Module) -> nn.Module:
    """A copy; results that the model keeps lose their history, which cannot be copied."""
    copied = copy.deepcopy(model, {id(value): value.detach().clone() for value in _kept_results(model)})
    for name, value in vars(copied).items():
        if isinstance(value, FunctionType):  # self.decode = lambda z: self.net(z), whose self is the model still
            cells = [CellType(copied) if cell.cell_contents is model else cell for cell in value.__closure__ or ()]
            made = FunctionType(value.__code__, value.__globals__, name, value.__defaults__, tuple(cells) or None)
            made.__kwdefaults__ = value.__kwdefaults__
            vars(copied)[name] = made
    return copied


def _training(model: nn.Module, on: bool = True) -> nn.Module:
    """`model.train()`, whatever a class makes of that name."""
    nn.Module.train(model, on)
    return model


def _kept_results(model: nn.Module) -> Iterator[Tensor]:
    """The tensors with a history that a model keeps, in whatever they are."""
    seen, queue = set(), [model]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, type | FunctionType | ModuleType):
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            if one.grad_fn is not None:
                yield one
        elif isinstance(one, dict):
            queue.extend(one.values())
        elif isinstance(one, list | tuple | set):
            queue.extend(one)
        elif hasattr(one, "__dict__"):
            queue.extend(vars(one).values())


def _made(kind: type) -> nn.Module:
    """An instance; parameters that have no default are taken for numbers of latents."""
    needed = _needed(kind)
    by_name = {one.name: 2 for one in needed if one.kind is one.KEYWORD_ONLY}
    return kind(*[2 for one in needed if one.name not in by_name], **by_name)


def _needed(kind: type) -> list[inspect.Parameter]:
    listed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    wanted = inspect.signature(kind).parameters.values()
    return [one for one in wanted if one.default is one.empty and one.kind not in listed]


def _told_to_make_one(halt: Halt, candidate) -> Halt:
    """The Halt; where a class needs more than the number of latents, with the advice to give an instance."""
    if halt.finding.code != "raises" or not inspect.isclass(candidate) or len(_needed(candidate)) < 2:
        return halt
    names = ", ".join(one.name for one in _needed(candidate))
    note = f"The check took 2 for each of {names}: give an instance, as in model={candidate.__name__}(…)."
    return Halt("raises", input=halt.finding.input, came=halt.finding.came, note=note)


def _images(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Images, many and few, of the first shape that comes back as it went in; Halt with the error if none does."""
    generator = torch.Generator().manual_seed(9)
    halted = []
    for shape in SHAPES:
        rows = ROWS if math.prod(shape) < 2000 else ROWS // 3
        x = torch.rand(rows, *shape, generator=generator) * torch.rand(rows, 1, 1, 1, generator=generator)
        for count in (FEW, *_held_rows(model)):
            try:
                _shapes(_copied(model), x[:count])  # a copy: a lazy layer takes the shape of its first image
                _shapes(model, x[:count])
                return (x if count == FEW else x[:count]), x[:count]
            except Halt as halt:
                if halt.finding.code not in ("raises", "wrong_shape"):
                    raise
                halted.append(halt)
    raise next((halt for halt in halted if halt.finding.code != "raises"), halted[0])


def _held_rows(model: nn.Module) -> list[int]:
    """How many rows noise has that the model keeps, and so a batch must have."""
    kept = [value for part in model.modules() for value in (*vars(part).values(), *part._buffers.values())]
    return sorted({len(value) for value in kept if isinstance(value, Tensor) and value.dim() == 2 and len(value) > 1})


@torch.no_grad()
def _rouse(model: nn.Module) -> None:
    """Weights that start at 0 hide what lies behind them: they are given small random values."""
    generator = torch.Generator().manual_seed(12)
    for weight in model.parameters():
        if weight.requires_grad and not weight.any():
            weight.normal_(0, 0.05, generator=generator)


def _thaw(model: nn.Module, x: Tensor) -> set[str]:
    """A half that was frozen on purpose is examined like the other. Returns the names of all that was frozen."""
    frozen = {name: weight for name, weight in model.named_parameters() if not weight.requires_grad}
    if not frozen:
        return set()
    for weight in frozen.values():
        weight.requires_grad_(weight.is_floating_point())
    try:
        _shapes(model, x)
    except Halt:  # one that is no weight, but counts steps
        for weight in frozen.values():
            weight.requires_grad_(False)
    return set(frozen)


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


def _shapes(model: nn.Module, x: Tensor) -> None:
    """Halt when a shape is wrong."""
    mu, logvar = _pair(model, x)
    if mu.dim() != 2 or len(mu) != len(x) or logvar.shape != mu.shape:
        came = f"mu {tuple(mu.shape)}, logvar {tuple(logvar.shape)}"
        raise Halt("wrong_shape", input=f"encode: x {tuple(x.shape)}", came=came, expected="(B, D) both")
    given = f"decode: z {tuple(mu.shape)}"
    decoded = guarded(lambda: model.decode(mu), given)
    if not isinstance(decoded, Tensor):
        gap = any(decoded is nothing for nothing in OPEN)
        raise Halt("not_started" if gap else "wrong_type", input=given, came=type(decoded).__name__)
    if decoded.shape != x.shape:
        raise Halt("wrong_shape", input=given, came=str(tuple(decoded.shape)), expected=str(tuple(x.shape)))
    x_logits, mu, logvar = _forward(model, x)
    if x_logits.shape != x.shape:
        given = f"forward: x {tuple(x.shape)}"
        raise Halt("wrong_shape", input=given, came=f"x_logits {tuple(x_logits.shape)}", expected=str(tuple(x.shape)))
    if mu.shape != logvar.shape or mu.dim() != 2:
        raise Halt("wrong_shape", input="forward", came=f"mu {tuple(mu.shape)}, logvar {tuple(logvar.shape)}")


def _loose_layers(model: nn.Module) -> list[Finding]:
    """Layers in a plain list, which are not among the model's parameters."""
    own = {id(part) for part in model.modules()}
    for part in model.modules():
        for name, value in vars(part).items():
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            if any(isinstance(one, nn.Module) and id(one) not in own and _learns(one) for one in values):
                kind = type(value).__name__
                note = f"What is in a plain {kind} is not among `model.parameters()`: no optimizer sees it."
                expected = "nn.ModuleDict" if kind == "dict" else "nn.ModuleList or nn.Sequential"
                return [Finding("gradient_cut", came=f"{name}: a {kind}", expected=expected, note=note)]
    return []


def _learns(part: nn.Module) -> bool:
    return any(weight.requires_grad for weight in part.parameters())


def _decoder(model: nn.Module, x: Tensor) -> list[Finding]:
    """Are the decoder's outputs logits? Then they can be pulled down as far as one likes."""
    generator = torch.Generator().manual_seed(10)
    z = torch.randn(len(x), _pair(model, x)[0].shape[1], generator=generator)
    lowest = _pulled_down(model, lambda pulled: pulled.decode(z[:16]), -1.01)  # a tanh ends at -1
    if lowest is None:
        return []
    with torch.no_grad():
        found = _not_logits("decode", guarded(lambda: model.decode(20 * z)))
    came = f"logits from {lowest:.2g} up, after {PULLS} steps that pull them down"
    return found or [Finding("logits_bounded", "decode", came, "logits far below 0 where a pixel is black")]


def _not_logits(where: str, x_logits: Tensor) -> list[Finding]:
    low, high = float(x_logits.min()), float(x_logits.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        return []
    sums = [x_logits.flatten(1).sum(1), x_logits.sum(-1), x_logits.sum(-2), x_logits.sum(1)]
    if any((total - 1).abs().max() < 1e-3 for total in sums):
        return [Finding("softmax", where, "outputs that add up to 1", "logits of any size")]
    came, note = f"outputs from {low:.2g} to {high:.2g}", f"`{where}` ends in a sigmoid."
    return [Finding("logits_as_probabilities", where, came, "logits of any size", note)]


def _floor(model: nn.Module, x: Tensor) -> list[Finding]:
    """Can log σ² fall below 0, and so σ below 1?"""
    lowest = _pulled_down(model, lambda pulled: _pair(pulled, x[:16])[1], 0.0)
    if lowest is None:
        return []
    came = f"logvar from {lowest:.2g} up, after {PULLS} steps that pull it down"
    return [Finding("logvar_bounded", "encode", came, "logvar below 0 where σ < 1")]


def _pulled_down(model: nn.Module, output: Callable, bound: float) -> float | None:
    """The least of an output that steps which do nothing but pull it down do not bring below `bound`; else None."""
    pulled = _training(_copied(model))
    optimizer = torch.optim.Adam(pulled.parameters(), lr=0.1)
    with torch.enable_grad():
        for _ in range(PULLS + 1):
            out = output(pulled)
            if not (out.min() >= bound and out.requires_grad):
                return None
            optimizer.zero_grad()
            out.mean().backward()
            optimizer.step()
    return float(out.detach().min())


@torch.no_grad()
def _spread(model: nn.Module, x: Tensor) -> nn.Module:
    """The model in training, with weights so large that logvar differs between images."""
    larger = _training(_copied(model))

    def scaled(factor: float) -> Tensor:
        for weight in larger.parameters():
            if weight.is_floating_point():
                weight *= factor
        return _pair(larger, x)[1]

    logvar = scaled(1)
    for _ in range(14):  # 1.2 ** 14 is about 13
        if logvar.std(0).min() > 0.5:
            break
        logvar = scaled(1.2)
        if not logvar.abs().max() <= 9:  # beyond, z − μ drowns in rounding
            scaled(1 / 1.2)
            break
    return larger


@dataclass
class _Pass:
    """One forward pass; z (B, D) is what the decoder took, None when that was not to be seen."""

    z: Tensor | None
    mu: Tensor
    logvar: Tensor
    x_logits: Tensor


def _watched(model: nn.Module, x: Tensor, which: int, z_only: bool = False) -> _Pass:
    """A forward pass; z is what `decode` took, or else the code at the place `which` (see _place).

    z_only: nothing but mu, logvar and z is wanted, so that one image may stand for what decode makes of all.
    """
    x_logits, mu, logvar, decoded, taken = _listened(model, x, z_only)
    if decoded:  # perhaps more than once: what came back last, or what forward returns
        z = next((z for z, out in decoded if out is x_logits), decoded[-1][0])
        return _Pass(z if z.shape == mu.shape else None, mu, logvar, x_logits)
    codes = _codes(taken, mu)
    return _Pass(codes[which] if len(codes) >= -which else None, mu, logvar, x_logits)


def _codes(taken: list[Tensor], mu: Tensor) -> list[Tensor]:
    return [value for value in taken if value.shape == mu.shape]


def _listened(model: nn.Module, x: Tensor, z_only: bool = False) -> tuple:
    """forward's x_logits, mu and logvar; what decode took and gave; and what the modules took, in their order."""
    taken: list[Tensor] = []
    decoded: list[tuple] = []

    def take(module, given):
        taken.extend(value for value in given if isinstance(value, Tensor))

    hooks = [part.register_forward_pre_hook(take) for part in model.modules() if part is not model]
    decode, own = model.decode, vars(model).get("decode")

    def noted(*given, **named):
        z, *rest = *given, *named.values()
        if z_only and not rest:
            out = decode(z[:2])[:1]  # two: a batch norm wants no less
            out = out.expand(len(z), *out.shape[1:])
        else:
            out = decode(*given, **named)
        decoded.append((z, out))
        return out

    vars(model)["decode"] = noted
    try:
        return *_forward(model, x), decoded, taken
    finally:
        del vars(model)["decode"]
        if own is not None:
            vars(model)["decode"] = own
        for hook in hooks:
            hook.remove()


def _place(model: nn.Module, x: Tensor) -> int:
    """Where, counted from the end, z stands among the codes that modules take, when forward does not call decode.

    It is the one of which decode makes what forward returns; or else the first that mu and logvar do not follow
    from; or else mu.
    """
    x_logits, mu, logvar, decoded, taken = _listened(_training(model, False), x)
    codes = [] if decoded else _codes(taken, mu)
    fits = [i for i, code in enumerate(codes) if _alike(x_logits, model.decode(code))]
    free = [i for i, code in enumerate(codes) if not (_follows(mu, code) or _follows(logvar, code))]
    same = [i for i, code in enumerate(codes) if code.equal(mu)]
    _training(model)
    return next((i - len(codes) for i in (*fits[-1:], *free, *same)), -1)


def _alike(x_logits: Tensor, decoded: Tensor) -> bool:
    return x_logits.shape == decoded.shape and bool((x_logits - decoded).abs().max() <= 1e-3 * decoded.abs().max())


def _follows(out: Tensor, code: Tensor) -> bool:
    """Was `out` worked out from `code`?"""
    if not (out.requires_grad and code.requires_grad):
        return out.equal(code)
    return torch.autograd.grad(out.sum(), code, allow_unused=True, retain_graph=True)[0] is not None


def _noise(one: _Pass, two: _Pass) -> list[Finding]:
    if one.mu.equal(one.logvar):
        return [Finding("unrecognized", "encode", "mu and logvar are the same numbers", "a layer for each")]
    if one.z is not None and two.z is not None:
        return faults_of(Draws.of_two((one.mu, one.logvar, one.z), (two.mu, two.logvar, two.z)))
    if one.x_logits.equal(two.x_logits):
        return [Finding("noise_missing", "forward, twice", "the same", "two draws")]
    return []


def _slopes(out: Tensor, weights: list) -> list[Tensor]:
    """d(Σ out)/d(each weight), in a sum with fixed random weights; zeros where no path leads."""
    if not out.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    mixed = torch.randn(out.shape, generator=torch.Generator().manual_seed(11))
    slopes = torch.autograd.grad((mixed * out).sum(), weights, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(weight) if slope is None else slope for weight, slope in zip(weights, slopes, strict=True)]


def _trainable(model: nn.Module) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
    """The names of the weights that learn, and the weights."""
    return tuple(
        zip(*((name, weight) for name, weight in model.named_parameters() if weight.requires_grad), strict=True)
    )


def _behind(model: nn.Module, seen: _Pass) -> dict[str, list[Tensor]]:
    """What comes back from mu, logvar and x_logits to each weight."""
    _, weights = _trainable(model)
    return {name: _slopes(getattr(seen, name), weights) for name in ("mu", "logvar", "x_logits")}


def _cut(model: nn.Module, seen: _Pass, noise: list[Finding], behind: dict[str, list[Tensor]]) -> list[Finding]:
    """Gradients must come back from mu, logvar and x_logits, and go through z as they do through μ + σ ⊙ ε."""
    names, weights = _trainable(model)
    for name, slopes in behind.items():
        if not any(slope.any() for slope in slopes):
            return [Finding("gradient_cut", "forward", f"no gradient behind {name}", "gradients to the weights")]
    z = seen.z
    if z is None or any(finding.code == "unrecognized" for finding in noise):
        return []
    through_sigma = seen.logvar * (power_of(noise) * (z - seen.mu)).detach()
    due = _slopes(seen.mu + through_sigma, weights)
    largest = max(expected.abs().max() for expected in due)
    for name, came, expected, far in zip(names, _slopes(z, weights), due, behind["x_logits"], strict=True):
        rounding = 1e-4 * largest  # a bias before a batch norm has nothing but rounding for a gradient
        if (came - expected).abs().max() > 1e-2 * expected.abs().max() + rounding:
            return [Finding("gradient_cut", "forward", f"{name} gets another gradient through z than through μ + σ ε")]
        if came.abs().max() > rounding and not far.any():
            return [Finding("gradient_cut", "forward", f"the reconstruction's gradient does not reach {name}")]
    return []


def _unreached(model: nn.Module, x: Tensor, behind: dict[str, list[Tensor]], frozen: set[str]) -> list[Finding]:
    """A weight that the outputs depend on, but no gradient comes back to. What is not used at all is no matter."""
    names, weights = _trainable(model)
    unmoved = [i for i, slopes in enumerate(zip(*behind.values(), strict=True)) if not any(s.any() for s in slopes)]
    silent = [i for i in unmoved if names[i] not in frozen]
    if not silent or not _move_answers(model, x, [weights[i] for i in silent]):
        return []
    first = next((i for i in silent if _move_answers(model, x, [weights[i]])), silent[0])
    return [Finding("gradient_cut", "forward", f"no gradient reaches {names[first]}", "one to each weight")]


@torch.no_grad()
def _move_answers(model: nn.Module, x: Tensor, weights: list[Tensor]) -> bool:
    """Do other values of these weights change what encode and decode give? They are put back."""
    generator = torch.Generator().manual_seed(13)
    before, kept = _answers(model, x), [weight.clone() for weight in weights]
    for weight in weights:
        weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    after = _answers(model, x)
    for weight, old in zip(weights, kept, strict=True):
        weight.copy_(old)
    return bool((after - before).abs().max() > 1e-3 * before.abs().max())


def _answers(model: nn.Module, x: Tensor) -> Tensor:
    """What encode and decode give, with the same dropout each time."""
    torch.default_generator.manual_seed(14)
    mu, logvar = _pair(model, x)
    return torch.cat([out.flatten() for out in (mu, logvar, model.decode(mu))])


@torch.no_grad()
def _modes(model: nn.Module, x: Tensor, which: int, noise: list[Finding], mean_at_eval: bool) -> list[Finding]:
    """The noise in training, and what .eval() makes of it; what forward makes of decode's logits."""
    _training(model, False)
    mu = _pair(model, x)[0]
    if not (mu.equal(_pair(model, x)[0]) and model.decode(mu).equal(model.decode(mu))):
        # what was said of z − μ then means nothing
        return [Finding("noise_at_eval", "encode or decode after .eval(), twice", "two results", "one result")]
    seen = _watched(model, x, which)
    found = list(noise) if seen.z is None else noise + _unlike_decode(seen.x_logits, model.decode(seen.z))
    at_eval = not seen.x_logits.equal(_forward(model, x)[0])
    if at_eval and (mean_at_eval or any(finding.code == "noise_missing" for finding in noise)):
        found.append(Finding("noise_at_eval", "forward after .eval(), twice", "two results", "one result, the mean's"))
    return found


def _unlike_decode(x_logits: Tensor, decoded: Tensor) -> list[Finding]:
    """forward's x_logits should be decode(z)."""
    if _alike(x_logits, decoded):
        return []
    note = "What `forward` returns is not `decode(z)`."
    unlike = Finding("unrecognized", "forward and decode, of one z", "not the same", "the same logits", note)
    return _not_logits("forward", x_logits) or [unlike]
