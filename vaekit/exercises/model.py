"""The examination of a whole `model`: encode, decode and forward as in vaekit.VAE, whatever is inside."""

import copy
import inspect
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor, nn

from vaekit._contract import GIVES
from vaekit.exercises import noise
from vaekit.exercises.calling import Halt, guarded, is_open, slopes_of
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.formulas import same
from vaekit.model import DIGIT

IMAGES, TRIES = 8, 24
OTHER_SHAPE = "For images of another shape say so: diagnose(model=…, shape=(C, H, W))."


def examine(candidate, shape: tuple[int, ...] = ()) -> Diagnosis:
    """The verdict on a model, or on its class. shape: of its images; where it is () it is found out."""
    shape = shape or _shape_of(_made(candidate))
    model, x = _made(candidate), torch.rand(IMAGES, *shape)  # afresh, as lazy layers take the first shape they meet
    _check_shapes(model, x)
    with torch.no_grad():
        for weight in model.parameters():  # what is frozen, or starts at 0, is examined like the rest
            if weight.requires_grad or weight.numel() > 1:  # but for a count of steps
                weight.requires_grad_()
                if not weight.any():
                    weight.normal_(0, 0.05)
    found = (check(model, x) for check in (_bounded, _noise, _cut, _at_eval))
    return Diagnosis("model", tuple(next(filter(None, found), ())))  # what comes later may follow from it


def _made(candidate) -> nn.Module:
    """A copy of the model, or one of its class, on the CPU, in float32."""
    kind = candidate if inspect.isclass(candidate) else type(candidate)
    if not issubclass(kind, nn.Module):
        code = "not_started" if is_open(candidate) else "wrong_type"
        raise Halt(code, came=kind.__name__, expected="a torch.nn.Module")
    if candidate is not kind:
        return copy.deepcopy(candidate).cpu().float()
    # its parameters without a default are taken for numbers of latents
    parameters = inspect.signature(kind).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty and "VAR" not in one.kind.name]
    given = f"{kind.__name__}({', '.join(f'{name}=2' for name in needed)})"
    return guarded(lambda: kind(**dict.fromkeys(needed, 2)), given).cpu().float()


def _shape_of(model: nn.Module) -> tuple[int, ...]:
    """The shape of a model's images: a digit's where it encodes them, else what it decodes, from up to 512 latents."""
    if not any(map(nn.parameter.is_lazy, model.parameters())):
        with suppress(Halt):
            outputs(model, "encode", torch.rand(IMAGES, *DIGIT))
            return DIGIT
    for latents in range(1, 513):
        with suppress(Halt):
            (x_logits,) = outputs(model, "decode", torch.randn(2, latents))
            if x_logits.dim() == 4:
                return tuple(x_logits.shape[1:])
    return DIGIT


def _check_shapes(model: nn.Module, x: Tensor) -> None:
    """Halt when what the methods give for these images has another shape than it must."""
    mu = outputs(model, "encode", x)[0]
    given = {"encode": x, "decode": mu, "forward": x}
    due = {"x_logits": tuple(x.shape), "mu": (len(x), *mu.shape[-1:]), "logvar": (len(x), *mu.shape[-1:])}
    for method, names in GIVES.items():
        for name, out in zip(names, outputs(model, method, given[method]), strict=True):
            if out.shape != due[name]:
                came, note = f"{name} {tuple(out.shape)}", OTHER_SHAPE if name == "x_logits" and out.dim() == 4 else ""
                raise Halt("wrong_shape", input=method, came=came, expected=str(due[name]), note=note)


def outputs(model: nn.Module, method: str, given: Tensor) -> tuple[Tensor, ...]:
    """What a method gives back, as many tensors as GIVES says; else Halt."""
    names, dice = GIVES[method], {}
    if method == "forward" and "generator" in inspect.signature(model.forward).parameters:
        dice = {"generator": torch.default_generator}
    shown = f"{method}: {tuple(given.shape)}"
    out = guarded(lambda: (model if method == "forward" else getattr(model, method))(given, **dice), shown)
    parts = (out,) if isinstance(out, Tensor) else tuple(out) if isinstance(out, tuple | list) else ()
    if len(parts) != len(names) or not all(isinstance(one, Tensor) for one in parts):
        came = ", ".join(type(one).__name__ for one in parts) or type(out).__name__
        code = "not_started" if is_open(out) else "wrong_type"
        raise Halt(code, input=method, came=came, expected=", ".join(names))
    return parts


@torch.no_grad()
def _bounded(model: nn.Module, x: Tensor) -> list[Finding]:
    """Can the logits, and log σ², be as low as one likes, under ever larger weights of either sign?"""
    start, tries = {name: value.clone() for name, value in model.state_dict().items()}, []
    for k in range(TRIES):
        mu, logvar = outputs(model, "encode", x[:3])
        tries.append((outputs(model, "decode", mu)[0].nan_to_num(), logvar.nan_to_num()))
        if tries[-1][0].min() < -1.01 and tries[-1][1].min() < 0:  # a tanh ends at -1
            break
        for name, weight in model.named_parameters():
            weight.copy_(1.2**k * start[name] * torch.randn_like(weight))
    model.load_state_dict(start)
    x_logits, logvar = map(torch.cat, zip(*tries, strict=True))
    if logvar.min() >= 0:
        came = f"logvar from {logvar.min():.2g} up, whatever the weights"
        return [Finding("logvar_bounded", "encode", came, "logvar below 0 where σ < 1")]
    if x_logits.min() >= -1.01:
        came, due = f"logits from {x_logits.min():.2g} up, whatever the weights", "far below 0 where a pixel is black"
        return _not_logits("decode", x_logits) or [Finding("logits_bounded", "decode", came, due)]
    return [] if _not_logits("decode", tries[0][0]) else _not_logits("forward", outputs(model, "forward", x)[0])


def _not_logits(where: str, x_logits: Tensor) -> list[Finding]:
    low, high = float(x_logits.min()), float(x_logits.max())
    came, note = f"outputs from {low:.2g} to {high:.2g}", f"`{where}` ends in a sigmoid, or a softmax."
    is_so = low >= -1e-3 and high <= 1 + 1e-3
    return [Finding("logits_as_probabilities", where, came, "logits of any size", note)] if is_so else []


def _drawn(model: nn.Module, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor | None:
    """The draw that forward makes when encode gives these codes; None where it is not to be seen: see `faults_of`."""
    draws, own = [], {"encode": model.encode, "decode": model.decode}

    def decode(*given, **named) -> Tensor:
        z = (*given, *named.values())[0]
        if z.shape == mu.shape and torch.is_grad_enabled():  # else it is to be looked at only
            draws.append(noise.with_slopes(z, mu, logvar))
        return x.new_zeros(len(z), *x.shape[1:])

    vars(model).update(encode=lambda *_, **__: (mu.clone(), logvar.clone()), decode=decode)
    try:
        _, own_mu, _ = outputs(model, "forward", x[:1].expand(len(mu), *x.shape[1:]))
    except Halt:  # what forward takes from elsewhere is of another size
        return None
    finally:
        vars(model).update(own)
    draws = [draw for draw in draws if not draw[0].equal(mu)] or draws[:1]  # it may decode the mean, to show it
    return draws[0] if len(draws) == 1 and own_mu.equal(mu) else None


def _noise(model: nn.Module, x: Tensor) -> list[Finding]:
    """What is wrong with the noise between encode and decode; where it is not to be seen, is there any?"""
    mu, logvar = outputs(model, "encode", x)
    if mu.equal(logvar):
        return [Finding("unrecognized", "encode", "mu and logvar are the same numbers", "a layer for each")]
    found = noise.faults_of(partial(_drawn, model, x), latents=mu.shape[1])
    if not found and outputs(model, "forward", x)[0].equal(outputs(model, "forward", x)[0]):
        return [Finding("noise_missing", "forward, twice", "the same", "two draws")]
    return found


def _cut(model: nn.Module, x: Tensor) -> list[Finding]:
    """Gradients must come back to some weights from each of x_logits, mu and logvar."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for name, out in zip(GIVES["forward"], outputs(model, "forward", x), strict=True):
        if not any(slope.any() for slope in slopes_of((torch.randn(out.shape) * out).sum(), weights)):
            return [Finding("gradient_cut", "forward", f"no gradient behind {name}", "gradients to the weights")]
    return []


def _at_eval(model: nn.Module, x: Tensor) -> list[Finding]:
    """What .eval() makes of the noise; whether forward gives what encode gives."""
    nn.Module.eval(model)
    mu, logvar = outputs(model, "encode", x)
    if not (mu.equal(outputs(model, "encode", x)[0]) and model.decode(mu).equal(model.decode(mu))):
        return [Finding("noise_at_eval", "encode or decode after .eval(), twice", "two results", "one result")]
    found = noise.faults_of(partial(_drawn, model, x), latents=mu.shape[1])
    found = [finding for finding in found if finding.note != noise.IS_MEAN]  # which may be meant
    _, own_mu, own_logvar = outputs(model, "forward", x)
    if not (same(own_mu, mu, 2e-2) and same(own_logvar, logvar, 2e-2)):  # but for what bfloat16 rounds
        note = "The mu and logvar of `forward` are not those of `encode`."
        found.append(Finding("unrecognized", "forward and encode, of one x", "not the same", "the same codes", note))
    return found
