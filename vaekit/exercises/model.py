"""The examination of a whole `model`: encode, decode and forward as in vaekit.VAE, whatever is inside."""

import copy
import gc
import inspect
import math
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from vaekit._contract import GIVES
from vaekit.exercises import noise
from vaekit.exercises.calling import Halt, guarded, is_open, slopes_of
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.formulas import same

DIGIT, IMAGES, TRIES = (1, 28, 28), 8, 24
OTHER_SHAPE = "For images of another shape say so: diagnose(model=…, shape=(C, H, W))."
UNSURE = "To make one, the doctor gave 2 for {}; where that is no good, give a model in place of its class."

_alike = partial(same, rtol=2e-2)  # but for what bfloat16 rounds


def examine(candidate, mean_at_eval: bool, shape: tuple[int, ...] | None) -> Diagnosis:
    """The verdict on a model, or on its class. mean_at_eval: no noise is meant after .eval(). shape: of its images."""
    try:
        model, x = _with_images(candidate, shape)
    except Halt as halt:
        if halt.finding.code in ("raises", "wrong_shape") and (needed := _needed(candidate)):
            note = f"{halt.finding.note} {UNSURE.format(', '.join(needed))}".strip()
            halt.finding = replace(halt.finding, note=note)
        raise
    found, noisy = _bounded(model, x), _noise(model, x)
    # a ReLU lets no gradient through below 0
    if not {"gradient_cut", "logvar_bounded"} & {finding.code for finding in (*found, *noisy)}:
        found += _cut(model, x)
    return Diagnosis("model", (*found, *_at_eval(model, x, noisy, mean_at_eval)))


def _with_images(candidate, shape: tuple[int, ...] | None) -> tuple[nn.Module, Tensor]:
    """The model, and images that come back as they went in; Halt with what is wrong if none do."""
    if is_open(candidate):
        raise Halt("not_started")
    kind = candidate if inspect.isclass(candidate) else type(candidate)
    if not issubclass(kind, nn.Module):
        raise Halt("wrong_type", came=kind.__name__, expected="a torch.nn.Module")
    try:
        return _checked(candidate, tuple(shape or DIGIT))
    except Halt as halt:
        is_lazy = any(map(nn.parameter.is_lazy, _made(candidate).parameters()))
        other = _decoded_shape(_made(candidate)) if not shape and (is_lazy or halt.finding.code == "raises") else None
        if other in (None, DIGIT):
            raise
        return _checked(candidate, other)


def _needed(candidate) -> list[str]:
    """A class's parameters without a default; a model has none."""
    parameters = inspect.signature(candidate).parameters.values() if inspect.isclass(candidate) else ()
    return [one.name for one in parameters if one.default is one.empty and "VAR" not in one.kind.name]


def _made(candidate) -> nn.Module:
    """A copy of the model, or an instance of its class; in training mode, on the CPU, in float32; nothing frozen."""
    if inspect.isclass(candidate):  # parameters without a default are taken for numbers of latents
        model = guarded(lambda: candidate(**dict.fromkeys(_needed(candidate), 2)))
    else:  # what it keeps of earlier results is kept without its history, which cannot be copied
        results = [one for one in gc.get_objects() if type(one) is Tensor and one.grad_fn is not None]
        model = guarded(lambda: copy.deepcopy(candidate, {id(one): one.detach() for one in results}))
    has_weights = bool(list(model.parameters()))
    for name in GIVES:
        if not callable(getattr(model, name, None)):
            code, note = ("wrong_type", f"It has no method `{name}`.") if has_weights else ("not_started", "")
            raise Halt(code, came=f"no method {name}", expected="encode(x), decode(z), forward(x)", note=note)
    if not has_weights:
        raise Halt("unrecognized", came="a model without parameters", expected="weights to train")
    return nn.Module.train(model.cpu().float())


def _checked(candidate, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    """A model made afresh, as lazy layers take their first image's shape, and images; Halt when a shape is wrong."""
    model, x = _made(candidate), torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(9))
    mu, logvar = outputs(model, "encode", x)
    if mu.dim() != 2 or len(mu) != len(x):
        raise Halt("wrong_shape", input=f"encode: x {tuple(x.shape)}", came=f"mu {tuple(mu.shape)}", expected="(B, D)")
    checks = [("encode", logvar, mu), ("decode", *outputs(model, "decode", mu), x)]
    checks += [("forward", out, due) for out, due in zip(outputs(model, "forward", x), (x, mu, mu), strict=True)]
    for method, out, due in checks:
        if out.shape != due.shape:
            came, note = str(tuple(out.shape)), OTHER_SHAPE if due is x and out.dim() == 4 else ""
            raise Halt("wrong_shape", input=method, came=came, expected=str(tuple(due.shape)), note=note)
    with torch.no_grad():
        for weight in model.parameters():  # what was frozen, or starts at 0, is examined like the rest
            weight.requires_grad_(weight.requires_grad or weight.numel() > 1)  # but for a count of steps
            if weight.requires_grad and not weight.any():
                weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(12))
    return model, x


def outputs(model: nn.Module, method: str, given: Tensor) -> tuple[Tensor, ...]:
    """What a method gives back, as many tensors as GIVES says; else Halt."""
    names, call = GIVES[method], model if method == "forward" else getattr(model, method)
    dice = {"generator": torch.default_generator} if method == "forward" and _must_have_generator(model) else {}
    out = guarded(lambda: call(given, **dice), f"{method}: {tuple(given.shape)}")
    if is_open(out):
        raise Halt("not_started", input=method, came=type(out).__name__, expected=", ".join(names))
    parts = (out,) if isinstance(out, Tensor) else tuple(out) if isinstance(out, tuple | list) else ()
    came = f"{len(parts)} things" if len(parts) > 1 else f"a {type(out).__name__}"
    if len(parts) == len(names):
        pairs = zip(names, parts, strict=True)
        came = next((f"a {type(one).__name__} as {name}" for name, one in pairs if not isinstance(one, Tensor)), "")
        if not came:
            return parts
    note = f"From `{method}` came {came}, {len(names)} tensors are wanted: {', '.join(names)}."
    raise Halt("wrong_type", input=method, came=came, expected=", ".join(names), note=note)


def _must_have_generator(model: nn.Module) -> bool:
    """Has forward a parameter `generator` without a default? `train` gives it by its name."""
    with suppress(Exception):  # some have no signature
        return inspect.signature(model.forward).parameters["generator"].default is inspect.Parameter.empty
    return False


def _decoded_shape(model: nn.Module) -> tuple[int, ...] | None:
    """The shape of the images that decode makes, found by trying how many latents it takes: up to 512."""
    for latents in range(1, 513):
        try:
            (x_logits,) = outputs(model, "decode", torch.randn(2, latents))
        except Halt:
            continue
        if x_logits.dim() == 4:
            return tuple(x_logits.shape[1:])
    return None


@torch.no_grad()
def _bounded(model: nn.Module, x: Tensor) -> list[Finding]:
    """Can the logits, and log σ², be as low as one likes?"""
    z = torch.randn(3, outputs(model, "encode", x)[0].shape[1], generator=torch.Generator().manual_seed(10))
    found: list[Finding] = []
    if (lowest := _lowest(model, "decode", z)) >= -1.01:  # a tanh ends at -1
        came, due = f"logits from {lowest:.2g} up, whatever the weights", "logits far below 0 where a pixel is black"
        found = _not_logits("decode", outputs(model, "decode", 20 * z)[0])
        found = found or [Finding("logits_bounded", "decode", came, due)]
    if (lowest := _lowest(model, "encode", x[:3])) >= 0:
        came = f"logvar from {lowest:.2g} up, whatever the weights"
        found.append(Finding("logvar_bounded", "encode", came, "logvar below 0 where σ < 1"))
    return found


def _lowest(model: nn.Module, method: str, given: Tensor) -> float:
    """The least of a method's last output under ever larger weights of either sign; no more are tried below -1.01."""
    start = {name: value.clone() for name, value in model.state_dict().items()}
    generator, lowest = torch.Generator().manual_seed(12), math.inf
    for k in range(TRIES):
        lowest = min(float(outputs(model, method, given)[-1].min()), lowest)  # a nan is kept
        if not lowest >= -1.01:
            break
        for name, weight in model.named_parameters():
            weight.copy_(1.2**k * start[name] * torch.randn(weight.shape, generator=generator))
    model.load_state_dict(start)
    return lowest


def _not_logits(where: str, x_logits: Tensor) -> list[Finding]:
    low, high = float(x_logits.min()), float(x_logits.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        return []
    if any((x_logits.sum(axes) - 1).abs().max() < 1e-3 for axes in ((1, 2, 3), -1, -2, 1)):
        return [Finding("softmax", where, "outputs that add up to 1", "logits of any size")]
    came, note = f"outputs from {low:.2g} to {high:.2g}", f"`{where}` ends in a sigmoid."
    return [Finding("logits_as_probabilities", where, came, "logits of any size", note)]


def _watched(model: nn.Module, x: Tensor, codes: tuple[Tensor, ...] = ()) -> tuple[Tensor | None, tuple[Tensor, ...]]:
    """The z whose logits forward gives, None where it does not call decode; and all that forward gives.

    With codes, encode gives these and decode gives blank images: only what lies between the two is run.
    """
    encode, decode = model.encode, model.decode
    decoded: list[tuple] = [(None, None)]  # of each call, z and its logits

    def given_codes(*_, **__) -> tuple[Tensor, ...]:
        return tuple(code.clone() for code in codes)  # whose values may be changed in place

    def noted(*given, **named) -> Tensor:
        z = (*given, *named.values())[0]
        x_logits = x.new_zeros(len(z), *x.shape[1:]) if codes else decode(*given, **named).clone()
        decoded.append((z, x_logits))
        return x_logits

    vars(model).update(encode=given_codes if codes else encode, decode=noted)
    try:
        out = outputs(model, "forward", x)
    finally:
        vars(model).update(encode=encode, decode=decode)
    z = next((z for z, x_logits in decoded if x_logits is out[0]), decoded[-1][0])  # it may decode others, to show them
    return z, out


@torch.enable_grad()
def _noise(model: nn.Module, x: Tensor) -> list[Finding]:
    """What is wrong with the noise between encode and decode; where it is not to be seen, is there any?"""
    own_mu, own_logvar = outputs(model, "encode", x)
    if own_mu.equal(own_logvar):
        return [Finding("unrecognized", "encode", "mu and logvar are the same numbers", "a layer for each")]

    def draw(mu: Tensor, logvar: Tensor) -> Tensor | None:
        try:
            z, (_, own_mu, _) = _watched(model, x[:1].expand(len(mu), *x.shape[1:]), (mu, logvar))
            is_seen = z is not None and z.shape == mu.shape and own_mu.equal(mu)
            return noise.with_slopes(z, mu, logvar) if is_seen else None
        except Halt:  # what forward takes from elsewhere is of another size
            return None

    found = noise.faults_of(draw, latents=own_mu.shape[1])
    if not found and outputs(model, "forward", x)[0].equal(outputs(model, "forward", x)[0]):
        return [Finding("noise_missing", "forward, twice", "the same", "two draws")]
    return found


@torch.enable_grad()
def _cut(model: nn.Module, x: Tensor) -> list[Finding]:
    """Gradients must come back to the weights from mu, logvar and x_logits, and to z from what decode makes of it."""
    x_logits, mu, logvar = outputs(model, "forward", x)
    # far from one another, for near one place all units of a small layer can be off
    z = (3 * torch.randn(mu.shape, generator=torch.Generator().manual_seed(11))).requires_grad_()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    paths = [("mu", mu, weights), ("logvar", logvar, weights), ("x_logits", x_logits, weights)]
    for name, out, inputs in [*paths, ("decode(z)", outputs(model, "decode", z)[0], [z])]:
        mixed = (torch.randn(out.shape, generator=torch.Generator().manual_seed(11)) * out).sum()
        if not any(slope.any() for slope in slopes_of(mixed, inputs)):
            return [Finding("gradient_cut", "forward", f"no gradient behind {name}", "gradients to the weights")]
    return []


@torch.no_grad()
def _at_eval(model: nn.Module, x: Tensor, noisy: list[Finding], mean_at_eval: bool) -> list[Finding]:
    """The noise in training, and what .eval() makes of it; what forward makes of decode's logits."""
    nn.Module.eval(model)
    mu, logvar = outputs(model, "encode", x)
    if not (mu.equal(outputs(model, "encode", x)[0]) and model.decode(mu).equal(model.decode(mu))):
        # what was said of z − μ then means nothing
        return [Finding("noise_at_eval", "encode or decode after .eval(), twice", "two results", "one result")]
    z, (x_logits, *posterior) = _watched(model, x)
    found = list(noisy)
    if not all(map(_alike, posterior, (mu, logvar))):
        note = "The mu and logvar of `forward` are not those of `encode`."
        found.append(Finding("unrecognized", "forward and encode, of one x", "not the same", "the same codes", note))
    if z is not None and not _alike(x_logits, model.decode(z.to(mu.dtype))):
        note = "What `forward` returns is not `decode(z)`."
        unlike = Finding("unrecognized", "forward and decode, of one z", "not the same", "the same logits", note)
        found += _not_logits("forward", x_logits) or [unlike]
    is_drawn = not x_logits.equal(outputs(model, "forward", x)[0])
    if is_drawn and (mean_at_eval or any(finding.code == "noise_missing" for finding in noisy)):
        found.append(Finding("noise_at_eval", "forward after .eval(), twice", "two results", "one result, the mean's"))
    if z is not None and not is_drawn and not noisy and z.shape == mu.shape and not _alike(z, mu):
        note = "After `.eval()` z is always the same, and not μ."
        found.append(Finding("noise_missing", "forward after .eval(), twice", "the same z", "a draw, or μ", note))
    return found
