"""The examination of a whole `model`: encode, decode and forward as in vaekit.VAE, whatever is inside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vaekit.exercises import noise
from vaekit.exercises.calling import guarded
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.exercises.instance import forward, pair, training, with_images

PULLS = 15


def examine(candidate, mean_at_eval: bool, shape: tuple[int, ...] | None) -> Diagnosis:
    """The verdict on a model, or on its class. mean_at_eval: no noise is meant after .eval(). shape: of its images."""
    model, x = with_images(candidate, shape)
    _thaw(model)
    found = _bounded_logits(model, x) + _bounded_logvar(model, x)
    noisy = _noise(model, x)
    if all(finding.code != "logvar_bounded" for finding in found):  # a ReLU lets no gradient through below 0
        found += _cut(model, x, noisy)
    return Diagnosis("model", (*found, *_at_eval(model, x, noisy, mean_at_eval)))


@torch.no_grad()
def _thaw(model: nn.Module) -> None:
    """What was frozen, or starts at 0, is examined like the rest."""
    for weight in model.parameters():
        weight.requires_grad_(weight.requires_grad or weight.numel() > 1)  # but for a count of steps
        if weight.requires_grad and not weight.any():
            weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(12))


def _bounded_logits(model: nn.Module, x: Tensor) -> list[Finding]:
    """Are the decoder's outputs logits? Then they can be pulled down as far as one likes."""
    z = torch.randn(3, pair(model, x)[0].shape[1], generator=torch.Generator().manual_seed(10))
    lowest = _pulled_down(model, lambda: guarded(lambda: model.decode(z)), -1.01)  # a tanh ends at -1
    if lowest is None:
        return []
    with torch.no_grad():
        found = _not_logits("decode", guarded(lambda: model.decode(20 * z)))
    came = f"logits from {lowest:.2g} up, after {PULLS} steps that pull them down"
    return found or [Finding("logits_bounded", "decode", came, "logits far below 0 where a pixel is black")]


def _bounded_logvar(model: nn.Module, x: Tensor) -> list[Finding]:
    """Can log σ² fall below 0, and so σ below 1?"""
    lowest = _pulled_down(model, lambda: pair(model, x[:3])[1], 0.0)
    came = f"logvar from {lowest or 0:.2g} up, after {PULLS} steps that pull it down"
    return [] if lowest is None else [Finding("logvar_bounded", "encode", came, "logvar below 0 where σ < 1")]


@torch.enable_grad()
def _pulled_down(model: nn.Module, output: Callable, bound: float) -> float | None:
    """The least of an output that steps which do nothing but pull it down do not bring below `bound`; else None."""
    start = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
    try:
        for _ in range(PULLS):
            out = output()
            if not (out.min() >= bound and out.requires_grad):
                return None
            optimizer.zero_grad()
            out.mean().backward()
            optimizer.step()
        return float(out.detach().min())
    finally:
        optimizer.zero_grad()
        model.load_state_dict(start)


def _not_logits(where: str, x_logits: Tensor) -> list[Finding]:
    low, high = float(x_logits.min()), float(x_logits.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        return []
    if any((x_logits.sum(axes) - 1).abs().max() < 1e-3 for axes in ((1, 2, 3), -1, -2, 1)):
        return [Finding("softmax", where, "outputs that add up to 1", "logits of any size")]
    came, note = f"outputs from {low:.2g} to {high:.2g}", f"`{where}` ends in a sigmoid."
    return [Finding("logits_as_probabilities", where, came, "logits of any size", note)]


@contextmanager
def _tapped(model: nn.Module, codes: tuple[Tensor, Tensor] | None = None) -> Iterator[list]:
    """While it lasts, each (z, x_logits) of decode is written down; with codes, encode gives these."""
    decoded: list[tuple[Tensor, Tensor]] = []
    own = {name: vars(model).get(name) for name in ("encode", "decode")}
    encode, decode = model.encode, model.decode

    def noting(*given, **named) -> Tensor:
        z, *others = (*given, *named.values())
        if not codes:
            out = decode(*given, **named)
        elif decoded:  # what comes of it does not matter
            out = decoded[0][1].view_as(decoded[0][1])
        else:
            out = decode(z[:2], *others)[:1].expand(len(z), -1, -1, -1)
        decoded.append((z, out))
        return out

    vars(model).update(decode=noting, encode=lambda x: codes or encode(x))
    try:
        yield decoded
    finally:
        for name, kept in own.items():
            del vars(model)[name]
            vars(model).update({name: kept} if kept else {})


def _code(decoded: list[tuple[Tensor, Tensor]], x_logits: Tensor) -> Tensor | None:
    """The z whose logits forward returns, else the last one; None where decode was not asked."""
    return next((z for z, out in decoded if out is x_logits), decoded[-1][0] if decoded else None)


@torch.no_grad()
def _noise(model: nn.Module, x: Tensor) -> list[Finding]:
    """What is wrong with the noise between encode and decode; where it is not to be seen, is there any?"""
    mu, logvar = pair(model, x)
    if mu.equal(logvar):
        return [Finding("unrecognized", "encode", "mu and logvar are the same numbers", "a layer for each")]

    def draw(mu: Tensor, logvar: Tensor) -> Tensor | None:
        with _tapped(model, (mu, logvar)) as decoded:
            x_logits, own_mu, _ = forward(model, x[:1].expand(len(mu), *x.shape[1:]))
        z = _code(decoded, x_logits)
        return z if z is not None and z.shape == mu.shape and own_mu.equal(mu) else None

    found = noise.faults_of(draw, mu.shape[1])
    if not found and forward(model, x)[0].equal(forward(model, x)[0]):
        return [Finding("noise_missing", "forward, twice", "the same", "two draws")]
    return found


def _slopes(out: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """d(Σ out)/d(each weight), in a sum with fixed random weights; zeros where no path leads."""
    if not out.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    mixed = (torch.randn(out.shape, generator=torch.Generator().manual_seed(11)) * out).sum()
    return list(torch.autograd.grad(mixed, weights, allow_unused=True, materialize_grads=True, retain_graph=True))


@torch.enable_grad()
def _cut(model: nn.Module, x: Tensor, noisy: list[Finding]) -> list[Finding]:
    """Gradients must come back from mu, logvar and x_logits, and go through z as they do through μ + σ ⊙ ε."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    with _tapped(model) as decoded:
        x_logits, mu, logvar = forward(model, x)
    every = list(weights.values())
    behind = {"mu": _slopes(mu, every), "logvar": _slopes(logvar, every), "x_logits": _slopes(x_logits, every)}
    for name, slopes in behind.items():
        if not any(slope.any() for slope in slopes):
            return [Finding("gradient_cut", "forward", f"no gradient behind {name}", "gradients to the weights")]
    z = _code(decoded, x_logits)
    is_known = z is not None and z.shape == mu.shape and not (z == 0).any()  # and no dropout on z
    if is_known and all(finding.code != "unrecognized" for finding in noisy):
        due = _slopes(mu + logvar * (noise.power_of(noisy) * (z - mu)).detach(), every)
        rounding = 1e-4 * max(expected.abs().max() for expected in due)  # all that a bias before a batch norm has
        for name, slope, expected in zip(weights, _slopes(z, every), due, strict=True):
            if (slope - expected).abs().max() > 1e-2 * expected.abs().max() + rounding:
                came = f"{name} gets another gradient through z than through μ + σ ε"
                return [Finding("gradient_cut", "forward", came)]
        if z.requires_grad and not _slopes(x_logits, [z])[0].any():
            return [Finding("gradient_cut", "forward", "the reconstruction's gradient does not reach z")]
    return []


@torch.no_grad()
def _at_eval(model: nn.Module, x: Tensor, noisy: list[Finding], mean_at_eval: bool) -> list[Finding]:
    """The noise in training, and what .eval() makes of it; what forward makes of decode's logits."""
    training(model, False)
    mu = pair(model, x)[0]
    if not (mu.equal(pair(model, x)[0]) and model.decode(mu).equal(model.decode(mu))):
        # what was said of z − μ then means nothing
        return [Finding("noise_at_eval", "encode or decode after .eval(), twice", "two results", "one result")]
    with _tapped(model) as decoded:
        x_logits = forward(model, x)[0]
    found, z = list(noisy), _code(decoded, x_logits) if decoded else mu
    if decoded and not _alike(x_logits, model.decode(z)):
        note = "What `forward` returns is not `decode(z)`."
        unlike = Finding("unrecognized", "forward and decode, of one z", "not the same", "the same logits", note)
        found += _not_logits("forward", x_logits) or [unlike]
    is_drawn = not x_logits.equal(forward(model, x)[0])
    if is_drawn and (mean_at_eval or any(finding.code == "noise_missing" for finding in noisy)):
        found.append(Finding("noise_at_eval", "forward after .eval(), twice", "two results", "one result, the mean's"))
    if not is_drawn and not noisy and z.shape == mu.shape and not _alike(z, mu):
        note = "After `.eval()` z is always the same, and not μ."
        found.append(Finding("noise_missing", "forward after .eval(), twice", "the same z", "a draw, or μ", note))
    return found


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= 1e-3 * other.abs().max())
