"""Mistakes a learner may make, each as the code they would write. No part of it is taken from vaekit.exercises."""

import torch
import torch.nn.functional as F
from lab_helpers import with_methods
from torch.distributions import Normal

import vaekit

bce = F.binary_cross_entropy_with_logits


def kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def reconstruction(x_logits, x):
    return bce(x_logits, x, reduction="none").flatten(1).sum(1)


def reparameterize(mu, logvar):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


def untouched(*given):
    """The gap as the notebook has it."""


def broken(*given):
    return undefined_name  # noqa: F821


# code: the ways to make it
KL = {
    "not_started": [untouched],
    "raises": [broken, lambda mu: mu, lambda mu, logvar: mu @ logvar],
    "wrong_type": [lambda mu, logvar: kl(mu, logvar).detach().numpy(), lambda mu, logvar: "nats"],
    "wrong_shape": [
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 - logvar),
        lambda mu, logvar: kl(mu, logvar).mean(),
        lambda mu, logvar: kl(mu, logvar)[:, None],
    ],
    "sign": [
        lambda mu, logvar: -kl(mu, logvar),
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 + logvar).sum(1),
    ],
    "missing_half": [
        lambda mu, logvar: 2 * kl(mu, logvar),
        lambda mu, logvar: (mu.square() + 0.5 * (logvar.exp() - 1 - logvar)).sum(1),
    ],
    "std_for_variance": [lambda mu, logvar: 0.5 * (mu.square() + (logvar / 2).exp() - 1 - logvar).sum(1)],
    "log_std_for_logvar": [lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 - logvar / 2).sum(1)],
    "exp_logvar_as_std": [
        lambda mu, logvar: kl(mu, 2 * logvar),
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() ** 2 - 1 - logvar).sum(1),
    ],
    "mean_over_latents": [lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(1)],
    "sum_over_batch": [lambda mu, logvar: kl(mu, logvar).sum()],
    "broadcast": [
        lambda mu, logvar: 0.5 * (mu.square().sum(1, keepdim=True) + (logvar.exp() - 1 - logvar).sum(1)),
    ],
    "gradient_cut": [
        lambda mu, logvar: kl(mu, logvar).detach(),
        lambda mu, logvar: kl(mu, logvar.detach()),
        torch.no_grad()(kl),
        lambda mu, logvar: [torch.set_grad_enabled(False), kl(mu, logvar)][1],
    ],
}


def by_class(x_logits, x):
    return F.cross_entropy(x_logits.flatten(1), x.flatten(1), reduction="none")


def of_softmax(x_logits, x):
    p = x_logits.flatten(1).softmax(1)
    return F.binary_cross_entropy(p, x.flatten(1), reduction="none").sum(1)


def of_softmax_and_sigmoid(x_logits, x):
    p = x_logits.flatten(1).softmax(1).view_as(x)
    return bce(p, x, reduction="none").flatten(1).sum(1)


def met_by_all(x_logits, x):
    return (F.softplus(x_logits) - x_logits * x.squeeze(1)).flatten(1).sum(1)


def raw_bce(x_logits, x):
    return F.binary_cross_entropy(x_logits, x, reduction="none").flatten(1).sum(1)


RECONSTRUCTION = {
    "not_started": [untouched],
    "raises": [broken, lambda x_logits: x_logits],
    "wrong_type": [lambda x_logits, x: reconstruction(x_logits, x).detach().numpy()],
    "wrong_shape": [
        lambda x_logits, x: bce(x_logits, x, reduction="none"),
        lambda x_logits, x: reconstruction(x_logits, x).mean(),
    ],
    "sign": [
        lambda x_logits, x: -reconstruction(x_logits, x),
        lambda x_logits, x: (-x * F.logsigmoid(x_logits) + (1 - x) * F.logsigmoid(-x_logits)).flatten(1).sum(1),
    ],
    "mean_over_pixels": [
        lambda x_logits, x: bce(x_logits, x, reduction="none").flatten(1).mean(1),
        lambda x_logits, x: bce(x_logits, x, reduction="none").mean(-1).flatten(1).sum(1),
    ],
    "sum_over_batch": [lambda x_logits, x: bce(x_logits, x, reduction="sum")],
    "broadcast": [
        lambda x_logits, x: (reconstruction(x_logits, x) / 2)[:, None] + reconstruction(x_logits, x) / 2,
        met_by_all,
    ],
    "logits_as_probabilities": [raw_bce, lambda x_logits, x: reconstruction(x_logits.sigmoid(), x)],
    "softmax": [
        by_class,
        of_softmax,
        of_softmax_and_sigmoid,
    ],
    "wrong_target": [
        lambda x_logits, x: reconstruction(x_logits, x.flip(0)),
        lambda x_logits, x: reconstruction(x_logits, x_logits.sigmoid().detach()),
        lambda x_logits, x: reconstruction(x, x_logits),
        lambda x_logits, x: reconstruction(x_logits, x.bernoulli()),
        lambda x_logits, x: reconstruction(x_logits, x.flip(-1)),
        lambda x_logits, x: reconstruction(x_logits, 255 * x),
    ],
    "gradient_cut": [
        lambda x_logits, x: reconstruction(x_logits, x).detach(),
        lambda x_logits, x: reconstruction(x_logits.detach(), x),
        lambda x_logits, x: reconstruction((x_logits + x_logits.detach()) / 2, x),
    ],
    "unrecognized": [
        lambda x_logits, x: (x_logits.sigmoid() - x).square().flatten(1).sum(1),
        lambda x_logits, x: 0.3 * reconstruction(x_logits, x),
        lambda x_logits, x: torch.full((len(x),), torch.nan),
    ],
}

FIXED, ONE_ROW = torch.randn(64, 2), torch.randn(1, 2)
ANOTHER_SIZE = torch.randn(2000, 3)  # as lecture 06 has it


def seeded(mu, logvar):
    torch.manual_seed(0)
    return reparameterize(mu, logvar)


def own_seed(mu, logvar):
    return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=torch.Generator().manual_seed(1))


def with_noise(draw):
    """z = μ + σ ε with ε = draw(μ)."""
    return lambda mu, logvar: mu + torch.exp(0.5 * logvar) * draw(mu)


# These take the tensors they get, whatever their size: `step` and `model` use them too.
NOISE = {
    "std_for_variance": [lambda mu, logvar: mu + torch.sqrt(torch.exp(0.5 * logvar)) * torch.randn_like(mu)],
    "exp_logvar_as_std": [
        lambda mu, logvar: mu + logvar.exp() * torch.randn_like(mu),
        lambda mu, logvar: Normal(mu, logvar.exp()).rsample(),
    ],
    "noise_missing": [lambda mu, logvar: mu, lambda mu, logvar: mu + torch.exp(0.5 * logvar)],
    "noise_reused": [seeded, own_seed],
    "noise_shared": [with_noise(lambda mu: torch.randn(mu.shape[1]))],
    "broadcast": [with_noise(lambda mu: torch.randn(len(mu), 1))],
    "gradient_cut": [
        lambda mu, logvar: Normal(mu, torch.exp(0.5 * logvar)).sample(),
        lambda mu, logvar: reparameterize(mu, logvar.detach()),
        torch.no_grad()(reparameterize),
    ],
    "unrecognized": [with_noise(torch.rand_like)],
}


def standardized(mu, logvar):
    """ε from a sample: its gradients cancel those of μ and σ."""
    std = torch.exp(0.5 * logvar)
    return mu + std * ((Normal(mu, std).sample() - mu) / std)


REPARAMETERIZE = NOISE | {
    "not_started": [untouched, lambda mu, logvar: ...],
    "raises": [broken, lambda mu, logvar: torch.normal(mu, logvar)],
    "wrong_type": [lambda mu, logvar: reparameterize(mu, logvar).detach().numpy(), lambda mu, logvar: Normal(mu, 1.0)]
    + [lambda mu, logvar: (reparameterize(mu, logvar), mu)],
    "wrong_shape": [
        lambda mu, logvar: reparameterize(mu, logvar).T,
        with_noise(lambda mu: torch.randn(2, *mu.shape)),
    ],
    "noise_reused": [
        *NOISE["noise_reused"],
        with_noise(lambda mu: FIXED),
        with_noise(lambda mu: ANOTHER_SIZE),
    ],
    "gradient_cut": [
        *NOISE["gradient_cut"],
        standardized,
        lambda mu, logvar: torch.cat([reparameterize(mu[:1], logvar[:1]).detach(), reparameterize(mu[1:], logvar[1:])]),
    ],
    "unrecognized": [
        *NOISE["unrecognized"],
        lambda mu, logvar: mu + logvar * torch.randn_like(mu),
        lambda mu, logvar: torch.exp(0.5 * logvar) * torch.randn_like(mu),
    ],
}


def loss_with(kl=kl, reconstruction=reconstruction):
    """The loss made of these two terms, (B,) each."""
    return lambda x_logits, x, mu, logvar, beta: (reconstruction(x_logits, x) + beta * kl(mu, logvar)).mean()


def of_terms(combined):
    """The loss combined(reconstruction, kl, beta) of these terms, (B,) each."""
    return lambda x_logits, x, mu, logvar, beta: combined(reconstruction(x_logits, x), kl(mu, logvar), beta)


def mean_over_latents(mu, logvar):
    return -0.5 * torch.mean(1 + logvar - mu.square() - logvar.exp())


LOSS = {
    "beta_ignored": [
        of_terms(lambda r, kl, beta: (r + kl).mean()),
        of_terms(lambda r, kl, beta: (beta * (r + kl)).mean()),
        of_terms(lambda r, kl, beta: r.mean()),
        of_terms(lambda r, kl, beta: (beta * r + kl).mean()),
    ],
    "sum_over_batch": [
        of_terms(lambda r, kl, beta: (r + beta * kl).sum()),
        of_terms(lambda r, kl, beta: r.sum() + beta * kl.mean()),
    ],
    "mean_over_pixels": [loss_with(reconstruction=bce)],
    "mean_over_latents": [loss_with(mean_over_latents)],
    "gradient_cut": [
        of_terms(lambda r, kl, beta: r.mean() + beta * kl.mean().item()),
        of_terms(lambda r, kl, beta: (r.detach() + beta * kl).mean()),
    ],
    "sign": [
        of_terms(lambda r, kl, beta: -(r + beta * kl).mean()),
        of_terms(lambda r, kl, beta: (r - beta * kl).mean()),
        of_terms(lambda r, kl, beta: (beta * kl - r).mean()),
    ],
}
for _code in ("missing_half", "std_for_variance", "log_std_for_logvar", "exp_logvar_as_std"):
    LOSS[_code] = [loss_with(kl=wrong) for wrong in KL[_code]]
for _code in ("logits_as_probabilities", "softmax", "wrong_target"):
    LOSS[_code] = [loss_with(reconstruction=wrong) for wrong in RECONSTRUCTION[_code]]


RIGHT_LOSS = loss_with()


def step_with(loss=RIGHT_LOSS, forward=lambda model, x: model(x), zero=True, back=True, move=True):
    """A training step around this loss and this way through the model."""

    def step(model, x, beta, optimizer):
        x_logits, mu, logvar = forward(model, x)
        value = loss(x_logits, x, mu, logvar, beta)
        if zero:
            optimizer.zero_grad()
        if back:
            value.backward()
        if move:
            optimizer.step()
        return value

    return step


def forward_with(reparameterize):
    """The way through the model by hand, with this draw."""

    def forward(model, x, generator=None):
        mu, logvar = model.encode(x)
        return model.decode(reparameterize(mu, logvar)), mu, logvar

    return forward


def clipped(model, x, beta, optimizer):
    value = RIGHT_LOSS(*pass_through(model, x), beta)
    value.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return value


def pass_through(model, x):
    x_logits, mu, logvar = model(x)
    return x_logits, x, mu, logvar


def steps_first(model, x, beta, optimizer):
    optimizer.step()
    optimizer.zero_grad()
    value = RIGHT_LOSS(*pass_through(model, x), beta)
    value.backward()
    return value


def clears_in_between(model, x, beta, optimizer):
    x_logits, x, mu, logvar = pass_through(model, x)
    reconstructed, kept = reconstruction(x_logits, x).mean(), kl(mu, logvar).mean()
    optimizer.zero_grad()
    reconstructed.backward(retain_graph=True)
    optimizer.zero_grad()
    (beta * kept).backward()
    optimizer.step()
    return reconstructed + beta * kept


def by_hand(model, x, beta, optimizer):
    value = step_with(move=False)(model, x, beta, optimizer)
    for weight in model.parameters():
        weight.data -= 1e-3 * weight.grad
    return value


def backward_of(change):
    """A step that goes back from something else than the loss that it returns."""

    def step(model, x, beta, optimizer):
        value = RIGHT_LOSS(*pass_through(model, x), beta)
        optimizer.zero_grad()
        change(value, x).backward()
        optimizer.step()
        return value

    return step


def without_the_encoder(model, x, beta, optimizer):
    model.encoder.requires_grad_(False)
    return step_with()(model, x, beta, optimizer)


def clears_too_late(model, x, beta, optimizer):
    x_logits, mu, logvar = model(x)
    value = RIGHT_LOSS(x_logits, x, mu, logvar, beta)
    value.backward()
    optimizer.zero_grad()
    optimizer.step()
    return value


STEP = {code: [step_with(ways[0])] for code, ways in LOSS.items()}  # a step is read like a loss
for _code, _ways in NOISE.items():
    STEP[_code] = STEP.get(_code, []) + [step_with(forward=forward_with(_ways[0]))]
STEP |= {
    "not_started": [untouched],
    "raises": [broken, lambda model: None],
    "wrong_type": [lambda *given: step_with()(*given) and None, lambda *given: [step_with()(*given)] and "done"],
    "wrong_shape": [lambda model, x, beta, optimizer: step_with()(model, x, beta, optimizer) * torch.ones(3)],
    "zero_grad_missing": [step_with(zero=False), clipped],
    "wrong_gradient": [steps_first, clears_in_between],
    "step_missing": [step_with(move=False), step_with(move=False, back=False), clears_too_late, by_hand],
}
STEP["wrong_type"] += [lambda *given: (step_with()(*given), 3)]
STEP["gradient_cut"] += [step_with(back=False), without_the_encoder]
STEP["sign"] += [backward_of(lambda loss, x: -loss)]
STEP["sum_over_batch"] += [backward_of(lambda loss, x: loss * len(x))]
STEP["unrecognized"] = STEP.get("unrecognized", []) + [backward_of(lambda loss, x: loss / 3)]
STEP["noise_reused"] += [
    step_with(forward=lambda model, x: model(x, generator=torch.Generator().manual_seed(1))),
]
LOSS |= {
    "not_started": [untouched],
    "raises": [broken, lambda x_logits, x: x.mean()],
    "wrong_type": [lambda *given: RIGHT_LOSS(*given).detach().numpy(), of_terms(lambda *terms: terms)],
    "wrong_shape": [of_terms(lambda r, kl, beta: r + beta * kl), lambda x_logits, x, mu, logvar, beta: x_logits],
    "broadcast": [of_terms(lambda r, kl, beta: r + beta * kl[:, None])],
    "gradient_cut": [*LOSS["gradient_cut"], lambda *given: RIGHT_LOSS(*given).item()],
    "unrecognized": [
        lambda *given: 0.37 * RIGHT_LOSS(*given),
        of_terms(lambda r, kl, beta: beta * kl.mean()),
        of_terms(lambda r, kl, beta: (r + 0.00025 * beta * kl).mean()),
    ],
}


def half_detached(self, x, generator=None):
    """One head for mu and logvar: every weight is reached, but not by way of σ."""
    mu, logvar = (self.encoder.mu.weight.sum() * 0 + out for out in self.encode(x))
    return self.decode(reparameterize(mu, logvar.detach())), mu, logvar


def upside_down(self, x, generator=None):
    mu, logvar = self.encode(x)
    return self.decode(mu if self.training else reparameterize(mu, logvar)), mu, logvar


class Dropout(vaekit.VAE):
    """With it, no two passes have the same mu and logvar."""

    def __init__(self):
        super().__init__(2, 64)
        self.dropout = torch.nn.Dropout(0.2)

    def encode(self, x):
        return self.encoder(self.dropout(x))


class DropoutAndSeed(Dropout):
    forward = forward_with(own_seed)


def after_forward(change):
    """A model whose forward does something to the logits that decode gives."""

    def forward(self, x, generator=None):
        x_logits, mu, logvar = vaekit.VAE.forward(self, x, generator)
        return change(x_logits), mu, logvar

    return with_methods(forward=forward)


MODEL = {code: [with_methods(forward=forward_with(wrong)) for wrong in ways] for code, ways in NOISE.items()}
MODEL["gradient_cut"] += [
    with_methods(forward=half_detached),
    with_methods(forward=lambda self, x: (self.decode(reparameterize(*self.encode(x))).detach(), *self.encode(x))),
    with_methods(encode=torch.no_grad()(vaekit.VAE.encode)),
    with_methods(decode=lambda self, z: self.decoder[3](self.decoder[2](self.decoder[0](z).relu().detach()))),
]
MODEL["noise_reused"] += [DropoutAndSeed]
MODEL["unrecognized"] += [
    with_methods(encode=lambda self, x: [self.encoder(x)[0]] * 2),
    after_forward(lambda x_logits: x_logits.flip(0)),
    with_methods(forward=lambda self, x: (self.decode(reparameterize(*self.encode(x))), *self.encode(x)[::-1])),
]
MODEL |= {
    "not_started": [None, ..., torch.nn.Module, with_methods(encode=untouched), with_methods(forward=untouched)],
    "raises": [with_methods(encode=broken), with_methods(forward=broken), with_methods(__init__=broken)],
    "wrong_type": [int, 3, kl, vaekit.Autoencoder, with_methods(forward=lambda self, x: x)],
    "wrong_shape": [
        with_methods(forward=lambda self, x: (self.decode(self.encode(x)[0]).flatten(1), *self.encode(x))),
        with_methods(encode=lambda self, x: [out.T for out in self.encoder(x)]),
    ],
    "noise_at_eval": [
        with_methods(encode=lambda self, x: [out + torch.randn_like(out) for out in self.encoder(x)]),
    ],
    "logvar_bounded": [
        with_methods(encode=lambda self, x, bound=bound: (self.encoder(x)[0], bound(self.encoder(x)[1])))
        for bound in (torch.relu, F.softplus, torch.exp, torch.sigmoid, torch.square)
    ],
    "logits_bounded": [
        with_methods(decode=lambda self, z: self.decoder(z).relu()),
        with_methods(decode=lambda self, z: self.decoder(z).tanh()),
    ],
    "logits_as_probabilities": [
        with_methods(decode=lambda self, z: self.decoder(z).sigmoid()),
        after_forward(torch.sigmoid),
    ],
    "softmax": [
        after_forward(lambda x_logits: x_logits.flatten(1).softmax(1).view_as(x_logits)),
        with_methods(decode=lambda self, z: self.decoder(z).softmax(-1)),
        with_methods(decode=lambda self, z: self.decoder(z).flatten(1).softmax(1).unflatten(1, (1, 28, 28))),
    ],
}

TABLE = {
    "kl": KL,
    "reconstruction": RECONSTRUCTION,
    "reparameterize": REPARAMETERIZE,
    "loss": LOSS,
    "step": STEP,
    "model": MODEL,
}
