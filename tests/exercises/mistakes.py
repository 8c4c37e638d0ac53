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


def grad_off(mu, logvar):
    torch.set_grad_enabled(False)  # and left so
    return kl(mu, logvar)


# code: the ways to make it
KL = written(
    "mu, logvar",
    not_started=[untouched],
    raises=[broken, lambda mu: mu, "mu @ logvar"],
    wrong_type=["kl(mu, logvar).detach().numpy()", "'nats'"],
    wrong_shape=[
        "0.5 * (mu.square() + logvar.exp() - 1 - logvar)",
        "kl(mu, logvar).mean()",
        "kl(mu, logvar)[:, None]",
    ],
    sign=["-kl(mu, logvar)", "0.5 * (mu.square() + logvar.exp() - 1 + logvar).sum(1)"],
    missing_half=["2 * kl(mu, logvar)", "(mu.square() + 0.5 * (logvar.exp() - 1 - logvar)).sum(1)"],
    std_for_variance=["0.5 * (mu.square() + (logvar / 2).exp() - 1 - logvar).sum(1)"],
    log_std_for_logvar=["0.5 * (mu.square() + logvar.exp() - 1 - logvar / 2).sum(1)"],
    exp_logvar_as_std=["kl(mu, 2 * logvar)", "0.5 * (mu.square() + logvar.exp() ** 2 - 1 - logvar).sum(1)"],
    mean_over_latents=["0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(1)"],
    sum_over_batch=["kl(mu, logvar).sum()"],
    broadcast=["0.5 * (mu.square().sum(1, keepdim=True) + (logvar.exp() - 1 - logvar).sum(1))"],
    gradient_cut=["kl(mu, logvar).detach()", "kl(mu, logvar.detach())", torch.no_grad()(kl), grad_off],
)


def raw_bce(x_logits, x):
    return F.binary_cross_entropy(x_logits, x, reduction="none").flatten(1).sum(1)


RECONSTRUCTION = written(
    "x_logits, x",
    not_started=[untouched],
    raises=[broken, lambda x_logits: x_logits],
    wrong_type=["reconstruction(x_logits, x).detach().numpy()"],
    wrong_shape=["bce(x_logits, x, reduction='none')", "reconstruction(x_logits, x).mean()"],
    sign=[
        "-reconstruction(x_logits, x)",
        "(-x * F.logsigmoid(x_logits) + (1 - x) * F.logsigmoid(-x_logits)).flatten(1).sum(1)",
    ],
    mean_over_pixels=[
        "each_bce(x_logits, x).mean(1)",
        "bce(x_logits, x, reduction='none').mean(-1).flatten(1).sum(1)",
    ],
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
    wrong_target=["reconstruction(x_logits, x_logits.sigmoid().detach())", "reconstruction(x, x_logits)"],
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
REPARAMETERIZE = written(
    "mu, logvar",
    not_started=[untouched, "..."],
    raises=[broken, "torch.normal(mu, logvar)"],
    wrong_type=[
        "reparameterize(mu, logvar).detach().numpy()",
        "Normal(mu, 1.0)",
        "(reparameterize(mu, logvar), mu)",
    ],
    wrong_shape=["reparameterize(mu, logvar).T", "mu + std_of(logvar) * torch.randn(2, *mu.shape)"],
    noise_reused=["mu + std_of(logvar) * FIXED", "mu + std_of(logvar) * ANOTHER_SIZE"],
    gradient_cut=[
        "mu + std_of(logvar) * ((Normal(mu, std_of(logvar)).sample() - mu) / std_of(logvar))",
        "torch.cat([reparameterize(mu[:1], logvar[:1]).detach(), reparameterize(mu[1:], logvar[1:])])",
    ],
    unrecognized=["mu + logvar * torch.randn_like(mu)", "std_of(logvar) * torch.randn_like(mu)"],
)
REPARAMETERIZE |= {code: ways + REPARAMETERIZE.get(code, []) for code, ways in NOISE.items()}


def loss_with(kl=kl, reconstruction=reconstruction):
    """The loss made of these two terms, (B,) each."""
    return lambda x_logits, x, mu, logvar, beta: (reconstruction(x_logits, x) + beta * kl(mu, logvar)).mean()


def of_terms(combined):
    """The loss combined(reconstruction, kl, beta) of these terms, (B,) each."""
    return lambda x_logits, x, mu, logvar, beta: combined(reconstruction(x_logits, x), kl(mu, logvar), beta)


RIGHT_LOSS = loss_with()
LOSS = written(
    "r, kl, beta",
    beta_ignored=["(r + kl).mean()", "(beta * (r + kl)).mean()", "r.mean()", "(beta * r + kl).mean()"],
    sum_over_batch=["(r + beta * kl).sum()", "r.sum() + beta * kl.mean()"],
    mean_over_latents=["r.mean() + beta * kl.mean() / 3"],
    gradient_cut=["r.mean() + beta * kl.mean().item()", "(r.detach() + beta * kl).mean()"],
    sign=["-(r + beta * kl).mean()", "(r - beta * kl).mean()", "(beta * kl - r).mean()"],
    wrong_type=["(r, kl, beta)"],
    wrong_shape=["r + beta * kl"],
    broadcast=["r + beta * kl[:, None]"],
    unrecognized=["0.37 * (r + beta * kl).mean()", "beta * kl.mean()", "(r + 0.00025 * beta * kl).mean()"],
)
LOSS = {code: [of_terms(way) for way in ways] for code, ways in LOSS.items()}
LOSS["mean_over_pixels"] = [loss_with(reconstruction=bce)]
for _code in ("missing_half", "std_for_variance", "log_std_for_logvar", "exp_logvar_as_std"):
    LOSS[_code] = [loss_with(kl=wrong) for wrong in KL[_code]]
for _code in ("logits_as_probabilities", "softmax", "wrong_target"):
    LOSS[_code] = [loss_with(reconstruction=wrong) for wrong in RECONSTRUCTION[_code]]


def step_with(loss=RIGHT_LOSS, order="zero back move", change=lambda value: value, draw=reparameterize):
    """A training step around this loss and draw, in this order, which goes back from `change` of the loss."""

    def step(model, x, beta, optimizer):
        mu, logvar = model.encode(x)
        value = loss(model.decode(draw(mu, logvar)), x, mu, logvar, beta)
        does = {
            "zero": optimizer.zero_grad,
            "back": lambda: change(value).backward(),
            "clip": lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0),
            "move": optimizer.step,
        }
        for what in order.split():
            does[what]()
        return value

    return step


def by_hand(model, x, beta, optimizer):
    value = step_with(order="zero back")(model, x, beta, optimizer)
    for weight in model.parameters():
        weight.data -= 1e-3 * weight.grad
    return value


STEP = {code: [step_with(ways[0])] for code, ways in LOSS.items() if code not in ("wrong_shape", "broadcast")}
STEP |= {  # and else a step is read like a loss
    "not_started": [untouched],
    "raises": [broken, lambda model: None],
    "wrong_type": [lambda *given, end=end: [step_with()(*given)] and end for end in (None, "done", (1.0, 3))],
    "wrong_shape": [lambda *given: step_with()(*given) * torch.ones(3)],
    "zero_grad_missing": [step_with(order="back move"), step_with(order="back clip move")],
    "wrong_gradient": [step_with(order=order) for order in ("move zero back", "back zero move", "zero move")],
    "step_missing": [step_with(order="zero back"), step_with(order="zero"), by_hand],
}
STEP["wrong_gradient"] += [step_with(change=lambda value: -value)]
STEP["noise_missing"] = [step_with(draw=NOISE["noise_missing"][0])]
STEP["noise_reused"] = [step_with(draw=wrong) for wrong in NOISE["noise_reused"] + NOISE["noise_missing"][1:]]
STEP["gradient_cut"] += [step_with(draw=wrong) for wrong in NOISE["gradient_cut"]]
STEP["gradient_cut"] += [lambda model, *given: [model.encoder.requires_grad_(False), step_with()(model, *given)][1]]
LOSS["not_started"] = [untouched]
LOSS["raises"] = [broken, lambda x_logits, x: x.mean()]
LOSS["wrong_type"] += [lambda *given: RIGHT_LOSS(*given).detach().numpy()]
LOSS["wrong_shape"] += [lambda x_logits, x, mu, logvar, beta: x_logits]
LOSS["gradient_cut"] += [lambda *given: RIGHT_LOSS(*given).item()]


def model_with(draw=reparameterize, change=lambda x_logits: x_logits):
    """A model whose forward draws so, and does something to the logits that decode gives."""

    def forward(model, x, generator=None):
        mu, logvar = model.encode(x)
        return change(model.decode(draw(mu, logvar))), mu, logvar

    return with_methods(forward=forward)


MODEL = {code: [model_with(wrong) for wrong in ways] for code, ways in NOISE.items()}
MODEL["gradient_cut"] += [model_with(change=torch.detach), with_methods(encode=torch.no_grad()(vaekit.VAE.encode))]
MODEL["unrecognized"] += [
    with_methods(encode=lambda self, x: [self.encoder(x)[0]] * 2),
    with_methods(forward=lambda self, x: (self.decode(reparameterize(*self.encode(x))), *self.encode(x)[::-1])),
]
MODEL |= {
    "not_started": [None, ..., with_methods(encode=untouched), with_methods(forward=untouched)],
    "raises": [
        with_methods(encode=broken),
        with_methods(forward=broken),
        with_methods(__init__=broken),
        torch.nn.Module,
    ],
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

TABLE = {"kl": KL, "reconstruction": RECONSTRUCTION, "loss": LOSS}
TABLE |= {"reparameterize": REPARAMETERIZE, "step": STEP, "model": MODEL}
