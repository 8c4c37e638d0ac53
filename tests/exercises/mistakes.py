"""Mistakes a learner may make, each as the code they would write. No part of it is taken from vaekit.exercises."""

import torch
import torch.nn.functional as F
from lab_helpers import with_methods
from torch.distributions import Normal  # noqa: F401

import vaekit

bce = F.binary_cross_entropy_with_logits


def each_bce(x_logits, x):
    return bce(x_logits, x, reduction="none").flatten(1)


def kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def reconstruction(x_logits, x):
    return each_bce(x_logits, x).sum(1)


def reparameterize(mu, logvar):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


def untouched(*given):
    """The gap as the notebook has it."""


def broken(*given):
    return undefined_name  # noqa: F821


def written(arguments, **table):
    """Each way to make a mistake as a function: of these arguments where it is an expression in quotation marks."""
    return {
        code: [eval(f"lambda {arguments}: {way}") if isinstance(way, str) else way for way in ways]
        for code, ways in table.items()
    }


# code: the ways to make it
KL = written(
    "mu, logvar",
    raises=[lambda mu: mu, "mu @ logvar"],
    wrong_type=["kl(mu, logvar).detach().numpy()", "'nats'"],
    wrong_shape=["0.5 * (mu.square() + logvar.exp() - 1 - logvar)", "kl(mu, logvar).mean()", "kl(mu, logvar)[:, None]"],
    sign=["-kl(mu, logvar)", "0.5 * (mu.square() + logvar.exp() - 1 + logvar).sum(1)"],
    missing_half=["2 * kl(mu, logvar)", "(mu.square() + 0.5 * (logvar.exp() - 1 - logvar)).sum(1)"],
    std_for_variance=["0.5 * (mu.square() + (logvar / 2).exp() - 1 - logvar).sum(1)"],
    log_std_for_logvar=["0.5 * (mu.square() + logvar.exp() - 1 - logvar / 2).sum(1)"],
    exp_logvar_as_std=["kl(mu, 2 * logvar)", "0.5 * (mu.square() + logvar.exp() ** 2 - 1 - logvar).sum(1)"],
    mean_over_latents=["0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(1)"],
    sum_over_batch=["kl(mu, logvar).sum()"],
    broadcast=["0.5 * (mu.square().sum(1, keepdim=True) + (logvar.exp() - 1 - logvar).sum(1))"],
    gradient_cut=["kl(mu, logvar).detach()", "kl(mu, logvar.data)", "torch.set_grad_enabled(False) and kl(mu, logvar)"],
)


def raw_bce(x_logits, x):
    return F.binary_cross_entropy(x_logits, x, reduction="none").flatten(1).sum(1)


RECONSTRUCTION = written(
    "x_logits, x",
    raises=[lambda x_logits: x_logits],
    wrong_type=["reconstruction(x_logits, x).detach().numpy()"],
    wrong_shape=["bce(x_logits, x, reduction='none')", "reconstruction(x_logits, x).mean()"],
    sign=[
        "-reconstruction(x_logits, x)",
        "(-x * F.logsigmoid(x_logits) + (1 - x) * F.logsigmoid(-x_logits)).flatten(1).sum(1)",
    ],
    mean_over_pixels=["each_bce(x_logits, x).mean(1)", "bce(x_logits, x, reduction='none').mean(-1).flatten(1).sum(1)"],
    sum_over_batch=["bce(x_logits, x, reduction='sum')"],
    broadcast=[
        "reconstruction(x_logits, x)[:, None] / 2 + reconstruction(x_logits, x) / 2",
        "(F.softplus(x_logits) - x_logits * x.squeeze(1)).flatten(1).sum(1)",
    ],
    logits_as_probabilities=[raw_bce, "reconstruction(x_logits.sigmoid(), x)"],
    softmax=[
        "F.cross_entropy(x_logits.flatten(1), x.flatten(1), reduction='none')",
        "raw_bce(x_logits.flatten(1).softmax(1), x.flatten(1))",
        "reconstruction(x_logits.flatten(1).softmax(1), x.flatten(1))",
    ],
    wrong_target=["reconstruction(x_logits, x_logits.sigmoid().detach())", lambda a, b: reconstruction(b, a)],
    gradient_cut=[
        "reconstruction(x_logits, x).detach()",
        "reconstruction(x_logits.detach(), x)",
        "reconstruction((x_logits + x_logits.detach()) / 2, x)",
    ],
    unrecognized=[
        "(x_logits.sigmoid() - x).square().flatten(1).sum(1)",
        "0.3 * reconstruction(x_logits, x)",
        "reconstruction(x_logits, x.flip(0))",
        "torch.full((len(x),), torch.nan)",
    ],
)

FIXED, ONE_ROW = torch.randn(64, 2), torch.randn(1, 2)
ANOTHER_SIZE = torch.randn(2000, 3)  # as lecture 06 has it


def std_of(logvar):
    return torch.exp(0.5 * logvar)


# These take the tensors they get, whatever their size: `model` uses them too.
NOISE = written(
    "mu, logvar",
    std_for_variance=["mu + torch.sqrt(std_of(logvar)) * torch.randn_like(mu)"],
    exp_logvar_as_std=["mu + logvar.exp() * torch.randn_like(mu)", "Normal(mu, logvar.exp()).rsample()"],
    noise_missing=["mu", "mu + std_of(logvar)"],
    noise_reused=[
        "[torch.manual_seed(0), reparameterize(mu, logvar)][1]",
        "mu + std_of(logvar) * torch.randn(mu.shape, generator=torch.Generator().manual_seed(1))",
    ],
    noise_shared=["mu + std_of(logvar) * torch.randn(mu.shape[1])"],
    broadcast=["mu + std_of(logvar) * torch.randn(len(mu), 1)"],
    gradient_cut=[
        "Normal(mu, std_of(logvar)).sample()",
        "reparameterize(mu.detach(), logvar)",
        "reparameterize(mu, logvar.detach())",
        torch.no_grad()(reparameterize),
    ],
    unrecognized=["mu + std_of(logvar) * torch.rand_like(mu)"],
)
_, plus_std = NOISE["noise_missing"]
REPARAMETERIZE = written(
    "mu, logvar",
    not_started=["..."],
    raises=["torch.normal(mu, logvar)"],
    wrong_type=["reparameterize(mu, logvar).detach().numpy()", "Normal(mu, 1.0)", "(reparameterize(mu, logvar), mu)"],
    wrong_shape=["reparameterize(mu, logvar).T", "mu + std_of(logvar) * torch.randn(2, *mu.shape)"],
    noise_reused=["mu + std_of(logvar) * FIXED", "mu + std_of(logvar) * ANOTHER_SIZE"],
    gradient_cut=[
        "mu + std_of(logvar) * ((Normal(mu, std_of(logvar)).sample() - mu) / std_of(logvar))",
        "torch.cat([reparameterize(mu[:1], logvar[:1]).detach(), reparameterize(mu[1:], logvar[1:])])",
    ],
    unrecognized=["mu + logvar * torch.randn_like(mu)", "std_of(logvar) * torch.randn_like(mu)"],
)
REPARAMETERIZE |= {code: ways + REPARAMETERIZE.get(code, []) for code, ways in NOISE.items()}


def loss_with(kl=kl, reconstruction=reconstruction, whole=lambda r, kl, beta: (r + beta * kl).mean()):
    """The loss made of these two terms, (B,) each."""
    return lambda x_logits, x, mu, logvar, beta: whole(reconstruction(x_logits, x), kl(mu, logvar), beta)


RIGHT_LOSS = loss_with()
LOSS = written(
    "r, kl, beta",
    beta_ignored=["(r + kl).mean()", "(beta * (r + kl)).mean()", "r.mean()", "(beta * r + kl).mean()"],
    sum_over_batch=["(r + beta * kl).sum()", "r.sum() + beta * kl.mean()"],
    mean_over_latents=["r.mean() + beta * kl.mean() / 3"],
    gradient_cut=["r.mean() + beta * kl.mean().item()", "(r.detach() + beta * kl).mean()", "(r + kl).mean().item()"],
    sign=["-(r + beta * kl).mean()", "(r - beta * kl).mean()", "(beta * kl - r).mean()"],
    wrong_type=["(r, kl, beta)", "(r + beta * kl).mean().detach().numpy()"],
    wrong_shape=["r + beta * kl", "torch.stack([r, beta * kl])"],
    broadcast=["r + beta * kl[:, None]"],
    unrecognized=["0.37 * (r + beta * kl).mean()", "beta * kl.mean()", "(r + 0.00025 * beta * kl).mean()"],
)
LOSS = {code: [loss_with(whole=way) for way in ways] for code, ways in LOSS.items()}
LOSS |= {"mean_over_pixels": [loss_with(reconstruction=bce)], "raises": [lambda x_logits, x: x.mean()]}
LOSS["beta_ignored"] += [lambda mu, logvar, x, output, beta: RIGHT_LOSS(output, x, mu, logvar, 1)]  # in another order
for _code in ("missing_half", "std_for_variance", "log_std_for_logvar", "exp_logvar_as_std"):
    LOSS[_code] = [loss_with(kl=wrong) for wrong in KL[_code]]
for _code in ("logits_as_probabilities", "softmax", "wrong_target"):
    LOSS[_code] = [loss_with(reconstruction=wrong) for wrong in RECONSTRUCTION[_code]]


def loss_by(loss=RIGHT_LOSS, draw=reparameterize):
    """This loss of a model and a batch, by this draw."""

    def of_model(model, x, beta):
        mu, logvar = model.encode(x)
        return loss(model.decode(draw(mu, logvar)), x, mu, logvar, beta)

    return of_model


loss_of = loss_by()


def step_with(order="zero back move", loss=loss_of, change=lambda value: value):
    """A training step in this order, along loss(model, x, beta), which goes back from `change` of it."""

    def step(model, x, beta, optimizer):
        value = loss(model, x, beta)
        does = {
            "zero": optimizer.zero_grad,
            "back": lambda: change(value).backward(),
            "clip": lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0),
            "clamp": lambda: torch.nn.utils.clip_grad_value_(model.parameters(), 0.1),
            "move": optimizer.step,
            "shift": lambda: [weight.data.sub_(1e-3 * weight.grad) for weight in model.parameters()],  # by hand
        }
        for what in order.split():
            does[what]()
        return value

    return step


STEP = {code: [step_with(loss=loss_by(ways[0]))] for code, ways in LOSS.items() if code != "broadcast"}
STEP |= {  # and else a step is read like a loss
    "raises": [lambda model: None],
    "wrong_type": [lambda *given, end=end: [step_with()(*given)] and end for end in (None, "done", (1.0, 3))],
    "wrong_shape": [lambda *given: step_with()(*given) * torch.ones(3)],
    "zero_grad_missing": [*map(step_with, ("back move", "back clip move"))],
    "wrong_gradient": [*map(step_with, ("move zero back", "back zero move", "zero move")), step_with(change=torch.neg)],
    "step_missing": [*map(step_with, ("zero back", "zero", "zero back shift"))],
}
STEP["noise_missing"] = [step_with(loss=loss_by(draw=NOISE["noise_missing"][0]))]
STEP["noise_reused"] = [step_with(loss=loss_by(draw=wrong)) for wrong in (*NOISE["noise_reused"], plus_std)]
STEP["gradient_cut"] += [step_with(loss=loss_by(draw=wrong)) for wrong in NOISE["gradient_cut"]]
STEP["gradient_cut"] += [lambda model, *given: [model.encoder.requires_grad_(False), step_with()(model, *given)][1]]


def model_with(draw=reparameterize, change=lambda x_logits: x_logits):
    """A model whose forward draws so, and does something to the logits that decode gives."""

    def forward(model, x, generator=None):
        mu, logvar = model.encode(x)
        return change(model.decode(draw(mu, logvar))), mu, logvar

    return with_methods(forward=forward)


MODEL = {code: [model_with(wrong) for wrong in ways] for code, ways in NOISE.items()}
MODEL["gradient_cut"] += [model_with(change=torch.detach), with_methods(encode=torch.no_grad()(vaekit.VAE.encode))]
MODEL["noise_missing"] += [  # the mean after .eval() may be meant, this not
    with_methods(forward=lambda self, x: model_with([plus_std, reparameterize][self.training]).forward(self, x))
]
MODEL["unrecognized"] += [
    with_methods(encode=lambda self, x: [self.encoder(x)[0]] * 2),
    with_methods(forward=lambda self, x: (self.decode(reparameterize(*self.encode(x))), *self.encode(x)[::-1])),
]
MODEL |= {
    "not_started": [None, ..., with_methods(encode=untouched), with_methods(forward=untouched)],
    "raises": [*(with_methods(**{name: broken}) for name in ("encode", "forward", "__init__")), torch.nn.Module],
    "wrong_type": [int, 3, kl, vaekit.Autoencoder, with_methods(forward=lambda self, x: x)],
    "wrong_shape": [
        with_methods(forward=lambda self, x: (self.decode(self.encode(x)[0]).flatten(1), *self.encode(x))),
        with_methods(encode=lambda self, x: [out.T for out in self.encoder(x)]),
    ],
    "noise_at_eval": [with_methods(encode=lambda self, x: [out + torch.randn_like(out) for out in self.encoder(x)])],
    "logvar_bounded": [
        with_methods(encode=lambda self, x, bound=bound: (self.encoder(x)[0], bound(self.encoder(x)[1])))
        for bound in (torch.relu, F.softplus, torch.exp, torch.sigmoid, torch.square)
    ],
    "logits_bounded": [
        with_methods(decode=lambda self, z, bound=bound: bound(self.decoder(z))) for bound in (torch.relu, torch.tanh)
    ],
    "logits_as_probabilities": [
        with_methods(decode=lambda self, z: self.decoder(z).sigmoid()),
        with_methods(decode=lambda self, z: self.decoder(z).softmax(-1)),
        model_with(change=torch.sigmoid),
        model_with(change=lambda x_logits: x_logits.flatten(1).softmax(1).view_as(x_logits)),
    ],
}

TABLE = {"kl": KL, "reconstruction": RECONSTRUCTION, "loss": LOSS, "reparameterize": REPARAMETERIZE, "step": STEP}
for _table in TABLE.values():
    _table["not_started"] = [untouched, *_table.get("not_started", [])]
    _table["raises"] = [broken, *_table["raises"]]
TABLE["model"] = MODEL
