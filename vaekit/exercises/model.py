"""The examination of `reparameterize`, and of a whole `model`: encode, decode and forward as in vaekit.VAE.

One probe of the noise in z = μ + σ ⊙ ε for both: each is asked for many draws of codes that are chosen here.
"""

import copy
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor, nn

from vaekit._contract import GIVES
from vaekit.exercises.calling import Halt, Learner, as_tensor, described, guarded, slopes_of, wrong_type
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.formulas import same
from vaekit.model import DIGIT

IMAGES, TRIES = 8, 24
OTHER_SHAPE = "For images of another shape say so: diagnose(model=…, shape=(C, H, W))."
ROWS, LATENTS, CALLS = 64, 2, 30
LEVELS = torch.tensor([-2.4, -0.4, 1.6])  # of logvar: each code meets all three in turn
SIZES = {  # the noise's size is exp(power · logvar); the wrong powers' mistakes
    0.5: ("σ", None),
    1.0: ("σ²", Finding("exp_logvar_as_std", "", "μ + σ² ε", "μ + σ ε")),
    0.25: ("√σ", Finding("std_for_variance", "", "μ + √σ ε", "μ + σ ε", "Here √σ stands where σ belongs.")),
}
IS_MEAN = "z is μ itself."
AXES = {  # of ε, (calls, B, D): what it is when it is one and the same along an axis
    "noise_reused": "for the first example, at every call",
    "noise_shared": "for every example",
    "broadcast": "for all latents of an example",
}


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
        raise wrong_type(candidate, "a torch.nn.Module", came=kind.__name__)
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
    for method, given in {"encode": x, "decode": mu, "forward": x}.items():
        for name, out in zip(GIVES[method], outputs(model, method, given), strict=True):
            due = tuple(x.shape) if name == "x_logits" else (len(x), *mu.shape[-1:])
            if out.shape != due:
                note = OTHER_SHAPE if name == "x_logits" and out.dim() == 4 else ""
                raise Halt("wrong_shape", input=method, came=f"{name} {tuple(out.shape)}", expected=str(due), note=note)


def outputs(model: nn.Module, method: str, given: Tensor) -> tuple[Tensor, ...]:
    """What a method gives back, as many tensors as GIVES says; else Halt."""
    names, parameters = GIVES[method], inspect.signature(model.forward).parameters
    dice = {"generator": torch.default_generator} if method == "forward" and "generator" in parameters else {}
    shown = f"{method}: {tuple(given.shape)}"
    out = guarded(lambda: (model if method == "forward" else getattr(model, method))(given, **dice), shown)
    parts = (out,) if isinstance(out, Tensor) else tuple(out) if isinstance(out, tuple | list) else ()
    if len(parts) != len(names) or not all(isinstance(one, Tensor) for one in parts):
        came = ", ".join(type(one).__name__ for one in parts) or type(out).__name__
        raise wrong_type(out, ", ".join(names), input=method, came=came)
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
    """The draw that forward makes when encode gives these codes; None where it is not to be seen."""
    draws, own = [], {"encode": model.encode, "decode": model.decode}

    def decode(*given, **named) -> Tensor:
        z = (*given, *named.values())[0]
        if z.shape == mu.shape and torch.is_grad_enabled():  # else it is to be looked at only
            draws.append(z)
        return x.new_zeros(len(z), *x.shape[1:])

    vars(model).update(encode=lambda *_, **__: (mu.clone(), logvar.clone()), decode=decode)
    try:
        _, own_mu, _ = outputs(model, "forward", x[:1].expand(len(mu), *x.shape[1:]))
    except Halt:  # what forward takes from elsewhere is of another size
        return None
    finally:
        vars(model).update(own)
    draws = [z for z in draws if not z.equal(mu)] or draws[:1]  # it may decode the mean, to show it
    return draws[0] if len(draws) == 1 and own_mu.equal(mu) else None


def _noise(model: nn.Module, x: Tensor) -> list[Finding]:
    """What is wrong with the noise between encode and decode; where it is not to be seen, is there any?"""
    mu, logvar = outputs(model, "encode", x)
    if mu.equal(logvar):
        return [Finding("unrecognized", "encode", "mu and logvar are the same numbers", "a layer for each")]
    found = faults_of(partial(_drawn, model, x), latents=mu.shape[1])
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
    found = faults_of(partial(_drawn, model, x), latents=mu.shape[1])
    found = [finding for finding in found if finding.note != IS_MEAN]  # which may be meant
    _, own_mu, own_logvar = outputs(model, "forward", x)
    if not (same(own_mu, mu, 2e-2) and same(own_logvar, logvar, 2e-2)):  # but for what bfloat16 rounds
        note = "The mu and logvar of `forward` are not those of `encode`."
        found.append(Finding("unrecognized", "forward and encode, of one x", "not the same", "the same codes", note))
    return found


def examine_reparameterize(function) -> Diagnosis:
    """The verdict on `reparameterize`."""
    learner = Learner(function, "mu logvar")

    def draw(mu: Tensor, logvar: Tensor) -> Tensor:
        z = as_tensor(learner(mu, logvar))
        if z.shape != mu.shape:
            raise Halt("wrong_shape", input=f"mu {described(mu)}", came=described(z), expected=described(mu))
        return z

    try:  # noise that was drawn beforehand has a shape of its own, and gives it to a single code
        rows, latents = as_tensor(learner(torch.zeros(1, 1), torch.zeros(1, 1))).shape
    except (Halt, ValueError):  # it will be said of the usual shape
        rows = latents = 1
    found = faults_of(draw, rows if rows > 1 else ROWS, latents if latents > 1 else LATENTS)
    return Diagnosis("reparameterize", tuple(found))


def faults_of(draw: Callable, rows: int = ROWS, latents: int = LATENTS) -> list[Finding]:
    """What is wrong with the noise of `draw(mu, logvar)` → z; nothing where that is None, for it is not to be seen."""
    mu, places = 2 * torch.randn(rows, latents), torch.arange(rows)[:, None] + torch.arange(latents)
    logvar = torch.stack([LEVELS[(places + call) % len(LEVELS)] for call in range(CALLS)])
    draws = []
    for one in logvar:
        codes = [mu.clone().requires_grad_(), one.clone().requires_grad_()]
        if (z := draw(*codes)) is None:
            return []
        draws.append(torch.stack([z.detach().float(), *slopes_of(z.sum(), codes)]))
    z, of_mu, of_logvar = torch.stack(draws, 1)  # (calls, B, D) each; the slopes are 0 where no path leads
    off = z - mu
    if (z == 0).any() and not (z == 0).all():
        return []  # dropout on z: what is left of the noise is another one's matter
    # the slope of log |z − μ| over logvar
    slope = float((off.abs().clamp_min(1e-9).log() * (logvar - logvar.mean())).mean() / logvar.var())
    is_mean = (off.abs() < 1e-4 * (1 + mu.abs())).all()
    power = 0.5 if is_mean else next((power for power in SIZES if abs(power - slope) < 0.06), None)
    if power is None:
        return [Finding("unrecognized", expected="μ + σ ε", note="It is not μ and noise of the size of σ.")]
    found = _of_size(power, off * torch.exp(-power * logvar))
    for name, slope, due in (("mu", of_mu, torch.ones_like(z)), ("logvar", of_logvar, power * off)):
        wrong = (slope - due).abs() > 1e-2 * due.abs() + 1e-3 * (1 + mu.abs())
        if wrong.any() and all(finding.code != "unrecognized" for finding in found):
            came, expected = described(slope[wrong][0]), described(due[wrong][0])
            return [*found, Finding("gradient_cut", f"∂z/∂{name}", came, expected)]
    return found


def _of_size(power: float, eps: Tensor) -> list[Finding]:
    """What is wrong with noise of the size exp(power · logvar), whose ε is (calls, B, D)."""
    size, mistake = SIZES[power]
    found = [mistake] if mistake else []
    always = round(float(eps.mean()), 2)
    if (eps - always).abs().max() < 1e-3:  # no draw is as round as that
        text = f"z is always μ + {always:g} {size}." if always else IS_MEAN
        return [*found, Finding("noise_missing", expected="μ + σ ε", note=text)]
    due = "a draw of its own for every code and call"
    constant = [code for axis, code in enumerate(AXES) if eps.shape[axis] > 1 and (eps.std(axis) < 1e-3).all()]
    found += [Finding(code, "", f"ε = {described(eps[0, 0])} {AXES[code]}", due) for code in constant]
    mean, std, error = float(eps.mean()), float(eps.std()), 6 / eps.numel() ** 0.5
    if constant or (abs(mean) < error and abs(std - 1) < max(error, 0.05)):
        return found
    came = f"ε of mean {mean:.2g} and s.d. {std:.2g}"
    return [*found, Finding("unrecognized", "", came, "mean 0, s.d. 1", "ε is not drawn from N(0, 1).")]
