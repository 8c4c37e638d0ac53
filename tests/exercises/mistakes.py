"""Mistakes a learner may make, each as the code they would write. No part of it is taken from vaekit.exercises."""

import torch
import torch.nn.functional as F
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


def forever(*given):
    while True:
        pass


def broken(*given):
    return undefined_name  # noqa: F821


# code: the ways to make it
KL = {
    "not_started": [untouched],
    "raises": [broken, lambda mu: mu, lambda mu, logvar: mu @ logvar],
    "wrong_type": [
        lambda mu, logvar: kl(mu, logvar).detach().numpy(),
        lambda mu, logvar: kl(mu, logvar).tolist(),
        lambda mu, logvar: list(kl(mu, logvar)),
        lambda mu, logvar: "nats",
    ],
    "wrong_shape": [
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 - logvar),
        lambda mu, logvar: kl(mu, logvar).mean(),
        lambda mu, logvar: kl(mu, logvar)[:, None],
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(0),
    ],
    "sign": [
        lambda mu, logvar: -kl(mu, logvar),
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 + logvar).sum(1),
        lambda mu, logvar: 0.5 * (-mu.square() + logvar.exp() - 1 - logvar).sum(1),
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() + 1 - logvar).sum(1),
        lambda mu, logvar: 0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1),
    ],
    "missing_half": [
        lambda mu, logvar: 2 * kl(mu, logvar),
        lambda mu, logvar: (mu.square() + 0.5 * (logvar.exp() - 1 - logvar)).sum(1),
    ],
    "std_for_variance": [lambda mu, logvar: 0.5 * (mu.square() + (logvar / 2).exp() - 1 - logvar).sum(1)],
    "log_std_for_logvar": [lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 - logvar / 2).sum(1)],
    "exp_logvar_as_std": [
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() ** 2 - 1 - 2 * logvar).sum(1),
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() ** 2 - 1 - logvar).sum(1),
    ],
    "mean_over_latents": [lambda mu, logvar: 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(1)],
    "sum_over_batch": [
        lambda mu, logvar: kl(mu, logvar).sum(),
        lambda mu, logvar: -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()),
    ],
    "broadcast": [
        lambda mu, logvar: 0.5 * (mu.square().sum(1, keepdim=True) + (logvar.exp() - 1 - logvar).sum(1)),
    ],
    "gradient_cut": [
        lambda mu, logvar: kl(mu, logvar).detach(),
        lambda mu, logvar: kl(mu, logvar.detach()),
        lambda mu, logvar: 0.5 * (mu.square() + logvar.exp().detach() - 1 - logvar).sum(1),
        torch.no_grad()(kl),
    ],
}


def by_class(x_logits, x):
    return F.cross_entropy(x_logits.flatten(1), x.flatten(1), reduction="none")


def of_softmax(x_logits, x):
    p = x_logits.flatten(1).softmax(1)
    return F.binary_cross_entropy(p, x.flatten(1), reduction="none").sum(1)


def of_row_softmax(x_logits, x):
    return F.binary_cross_entropy(x_logits.softmax(-1), x, reduction="none").flatten(1).sum(1)


def raw_bce(x_logits, x):
    return F.binary_cross_entropy(x_logits, x, reduction="none").flatten(1).sum(1)


def raw_by_hand(x_logits, x):
    return -(x * x_logits.log() + (1 - x) * (1 - x_logits).log()).flatten(1).sum(1)


RECONSTRUCTION = {
    "not_started": [untouched],
    "raises": [broken, lambda x_logits: x_logits],
    "wrong_type": [lambda x_logits, x: reconstruction(x_logits, x).detach().numpy()],
    "wrong_shape": [
        lambda x_logits, x: bce(x_logits, x, reduction="none"),
        lambda x_logits, x: reconstruction(x_logits, x).mean(),
        lambda x_logits, x: bce(x_logits, x, reduction="none").sum(0),
    ],
    "sign": [lambda x_logits, x: -reconstruction(x_logits, x)],
    "mean_over_pixels": [lambda x_logits, x: bce(x_logits, x, reduction="none").flatten(1).mean(1)],
    "sum_over_batch": [lambda x_logits, x: bce(x_logits, x, reduction="sum")],
    "broadcast": [lambda x_logits, x: (reconstruction(x_logits, x) / 2)[:, None] + reconstruction(x_logits, x) / 2],
    "logits_as_probabilities": [raw_bce, raw_by_hand, lambda x_logits, x: reconstruction(x_logits.sigmoid(), x)],
    "softmax": [by_class, of_softmax, of_row_softmax],
    "wrong_target": [
        lambda x_logits, x: reconstruction(x_logits, x.flip(0)),
        lambda x_logits, x: reconstruction(x_logits, x.roll(1, 0)),
        lambda x_logits, x: reconstruction(x_logits, x[torch.randperm(len(x))]),
        lambda x_logits, x: reconstruction(x_logits, x[:1].expand_as(x)),
        lambda x_logits, x: reconstruction(x_logits, x_logits.sigmoid().detach()),
        lambda x_logits, x: reconstruction(x, x_logits),
        lambda x_logits, x: reconstruction(x_logits, (x > 0.5).float()),
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

FIXED, ONE_ROW = torch.randn(4, 2), torch.randn(1, 3)


def seeded(mu, logvar):
    torch.manual_seed(0)
    return reparameterize(mu, logvar)


def own_seed(mu, logvar):
    eps = torch.randn(mu.shape, generator=torch.Generator().manual_seed(1))
    return mu + torch.exp(0.5 * logvar) * eps


# These take the tensors they get, whatever their size: `step` and `model` use them too.
NOISE = {
    "std_for_variance": [lambda mu, logvar: mu + torch.sqrt(torch.exp(0.5 * logvar)) * torch.randn_like(mu)],
    "exp_logvar_as_std": [
        lambda mu, logvar: mu + logvar.exp() * torch.randn_like(mu),
        lambda mu, logvar: Normal(mu, logvar.exp()).rsample(),
    ],
    "noise_missing": [lambda mu, logvar: mu, lambda mu, logvar: mu + torch.exp(0.5 * logvar)],
    "noise_reused": [seeded, own_seed],
    "noise_shared": [
        lambda mu, logvar: mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape[1]),
        lambda mu, logvar: mu + torch.exp(0.5 * logvar) * torch.randn_like(mu[:1]),
    ],
    "broadcast": [lambda mu, logvar: mu + torch.exp(0.5 * logvar) * torch.randn(len(mu), 1)],
    "gradient_cut": [
        lambda mu, logvar: Normal(mu, torch.exp(0.5 * logvar)).sample(),
        lambda mu, logvar: mu + torch.exp(0.5 * logvar).detach() * torch.randn_like(mu),
        torch.no_grad()(reparameterize),
    ],
    "unrecognized": [lambda mu, logvar: mu + torch.exp(0.5 * logvar) * torch.rand_like(mu)],
}

REPARAMETERIZE = NOISE | {
    "not_started": [untouched, lambda mu, logvar: ...],
    "raises": [broken, lambda mu, logvar: torch.normal(mu, logvar)],
    "wrong_type": [lambda mu, logvar: reparameterize(mu, logvar).detach().numpy(), lambda mu, logvar: Normal(mu, 1.0)],
    "wrong_shape": [
        lambda mu, logvar: reparameterize(mu, logvar).T,
        lambda mu, logvar: mu + torch.exp(0.5 * logvar) * torch.randn(2, *mu.shape),
    ],
    "noise_reused": [*NOISE["noise_reused"], lambda mu, logvar: mu + torch.exp(0.5 * logvar) * FIXED],
    "unrecognized": [
        *NOISE["unrecognized"],
        lambda mu, logvar: mu + logvar * torch.randn_like(mu),
        lambda mu, logvar: torch.exp(0.5 * logvar) * torch.randn_like(mu),
        lambda mu, logvar: mu + torch.exp(0.5 * logvar) * 1.3 * torch.randn_like(mu),
    ],
}


def loss_with(kl=kl, reconstruction=reconstruction):
    """The loss made of these two terms, (B,) each."""
    return lambda x_logits, x, mu, logvar, beta: (reconstruction(x_logits, x) + beta * kl(mu, logvar)).mean()


def terms(x_logits, x, mu, logvar):
    return reconstruction(x_logits, x), kl(mu, logvar)


LOSS = {
    "beta_ignored": [
        lambda x_logits, x, mu, logvar, beta: sum(terms(x_logits, x, mu, logvar)).mean(),
        lambda x_logits, x, mu, logvar, beta: (beta * sum(terms(x_logits, x, mu, logvar))).mean(),
        lambda x_logits, x, mu, logvar, beta: reconstruction(x_logits, x).mean(),
        lambda x_logits, x, mu, logvar, beta: (beta * reconstruction(x_logits, x) + kl(mu, logvar)).mean(),
    ],
    "sum_over_batch": [
        lambda x_logits, x, mu, logvar, beta: loss_with()(x_logits, x, mu, logvar, beta) * len(x),
        lambda x_logits, x, mu, logvar, beta: bce(x_logits, x, reduction="sum") + beta * kl(mu, logvar).mean(),
        lambda x_logits, x, mu, logvar, beta: reconstruction(x_logits, x).mean() + beta * kl(mu, logvar).sum(),
    ],
    "mean_over_pixels": [
        lambda x_logits, x, mu, logvar, beta: bce(x_logits, x) + beta * kl(mu, logvar).mean(),
        lambda x_logits, x, mu, logvar, beta: loss_with()(x_logits, x, mu, logvar, beta) / x[0].numel(),
    ],
    "mean_over_latents": [
        lambda x_logits, x, mu, logvar, beta: (
            reconstruction(x_logits, x).mean() - 0.5 * beta * torch.mean(1 + logvar - mu.square() - logvar.exp())
        ),
    ],
    "gradient_cut": [
        lambda x_logits, x, mu, logvar, beta: (reconstruction(x_logits, x) + beta * kl(mu, logvar).detach()).mean(),
        lambda x_logits, x, mu, logvar, beta: reconstruction(x_logits, x).mean() + beta * kl(mu, logvar).mean().item(),
        lambda x_logits, x, mu, logvar, beta: (reconstruction(x_logits.detach(), x) + beta * kl(mu, logvar)).mean(),
    ],
    "sign": [
        lambda x_logits, x, mu, logvar, beta: -loss_with()(x_logits, x, mu, logvar, beta),
        loss_with(kl=lambda mu, logvar: -kl(mu, logvar)),
        loss_with(reconstruction=lambda x_logits, x: -reconstruction(x_logits, x)),
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


def clears_too_late(model, x, beta, optimizer):
    x_logits, mu, logvar = model(x)
    value = loss_with()(x_logits, x, mu, logvar, beta)
    value.backward()
    optimizer.zero_grad()
    optimizer.step()
    return value


STEP = {code: [step_with(wrong) for wrong in ways] for code, ways in LOSS.items()}
for _code, _ways in NOISE.items():
    STEP[_code] = STEP.get(_code, []) + [step_with(forward=forward_with(wrong)) for wrong in _ways]
STEP |= {
    "not_started": [untouched],
    "raises": [broken, lambda model: None],
    "wrong_type": [lambda *given: step_with()(*given) and None, lambda *given: [step_with()(*given)] and "done"],
    "wrong_shape": [lambda model, x, beta, optimizer: step_with()(model, x, beta, optimizer) * torch.ones(3)],
    "zero_grad_missing": [step_with(zero=False)],
    "step_missing": [step_with(move=False), step_with(move=False, back=False), clears_too_late],
}
STEP["gradient_cut"] += [step_with(back=False)]
STEP["noise_reused"] += [
    step_with(forward=lambda model, x: model(x, generator=torch.Generator().manual_seed(1))),
]
LOSS |= {
    "not_started": [untouched],
    "raises": [broken, lambda x_logits, x: x.mean()],
    "wrong_type": [lambda *given: loss_with()(*given).detach().numpy()],
    "wrong_shape": [
        lambda x_logits, x, mu, logvar, beta: reconstruction(x_logits, x) + beta * kl(mu, logvar),
        lambda x_logits, x, mu, logvar, beta: x_logits,
    ],
    "broadcast": [
        lambda x_logits, x, mu, logvar, beta: reconstruction(x_logits, x) + beta * kl(mu, logvar)[:, None],
    ],
    "gradient_cut": [*LOSS["gradient_cut"], lambda *given: loss_with()(*given).item()],
    "unrecognized": [lambda *given: 0.37 * loss_with()(*given)],
}


def model_with(**methods):
    """A VAE with these methods in place of its own."""
    return type("Learners", (vaekit.VAE,), methods)


def half_detached(self, x, generator=None):
    """One head for mu and logvar: every weight is reached, but not by way of σ."""
    mu, logvar = (self.encoder.mu.weight.sum() * 0 + out for out in self.encode(x))
    return self.decode(reparameterize(mu, logvar.detach())), mu, logvar


def upside_down(self, x, generator=None):
    mu, logvar = self.encode(x)
    return self.decode(mu if self.training else reparameterize(mu, logvar)), mu, logvar


MODEL = {code: [model_with(forward=forward_with(wrong)) for wrong in ways] for code, ways in NOISE.items()}
MODEL["gradient_cut"] += [
    model_with(forward=half_detached),
    model_with(forward=lambda self, x: (self.decode(reparameterize(*self.encode(x))).detach(), *self.encode(x))),
    model_with(encode=torch.no_grad()(vaekit.VAE.encode)),
    model_with(decode=lambda self, z: self.decoder[3](self.decoder[2](self.decoder[0](z).relu().detach()))),
]
MODEL |= {
    "not_started": [None, ..., torch.nn.Module, model_with(encode=untouched), model_with(forward=untouched)],
    "raises": [model_with(encode=broken), model_with(forward=broken), model_with(__init__=broken)],
    "wrong_type": [int, 3, kl, vaekit.Autoencoder, model_with(forward=lambda self, x: x)],
    "wrong_shape": [
        model_with(forward=lambda self, x: (self.decode(self.encode(x)[0]).flatten(1), *self.encode(x))),
        model_with(encode=lambda self, x: [out.T for out in self.encoder(x)]),
    ],
    "noise_at_eval": [
        model_with(encode=lambda self, x: [out + torch.randn_like(out) for out in self.encoder(x)]),
    ],
    "logvar_bounded": [
        model_with(encode=lambda self, x, bound=bound: (self.encoder(x)[0], bound(self.encoder(x)[1])))
        for bound in (torch.relu, F.softplus, torch.exp, torch.sigmoid, torch.square)
    ],
    "logits_as_probabilities": [model_with(decode=lambda self, z: self.decoder(z).sigmoid())],
    "softmax": [
        model_with(decode=lambda self, z: self.decoder(z).softmax(-1)),
        model_with(decode=lambda self, z: self.decoder(z).flatten(1).softmax(1).unflatten(1, (1, 28, 28))),
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
