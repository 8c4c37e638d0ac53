"""No false alarm: right answers, written in other ways, with two seeds."""

import copy
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

import vaekit
from vaekit.exercises import diagnose

pytestmark = pytest.mark.slow  # all of them together


def std_of(logvar):
    return torch.exp(0.5 * logvar)


def kl_of_distributions(mu, logvar):
    return kl_divergence(Normal(mu, std_of(logvar)), Normal(0.0, 1.0)).sum(dim=-1)


def kl_in_place(mu, logvar):
    total = mu.square()
    total += logvar.exp()
    total -= 1
    logvar *= -1
    total += logvar
    return total.sum(1).mul_(0.5)


def kl_by_name(*, logvar, mu):
    return vaekit.kl_to_prior(mu, logvar).sum(1)


KL = [
    kl_of_distributions,
    kl_in_place,
    kl_by_name,
    partial(lambda scale, mu, logvar: scale * (mu**2 + logvar.exp() - 1 - logvar).sum(1), 0.5),
    lambda mu, logvar: -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1),
    lambda mu, logvar: (std_of(logvar) ** 2 / 2 + mu**2 / 2 - 0.5 - torch.log(std_of(logvar))).sum(1),
    lambda mu, logvar: 0.5 * (mu.double() ** 2 + logvar.double().exp() - 1 - logvar.double()).sum(1),
]


def bernoulli_images(x_logits, x):
    return -Bernoulli(logits=x_logits, validate_args=False).log_prob(x).flatten(1).sum(1)


def image_by_image(x_logits, x):
    losses = [F.binary_cross_entropy_with_logits(a, b, reduction="sum") for a, b in zip(x_logits, x, strict=True)]
    return torch.stack(losses)


RECONSTRUCTION = [
    lambda x_logits, x: (
        -(x * (x_logits.sigmoid() + 1e-5).log() + (1 - x) * (1 - x_logits.sigmoid() + 1e-5).log()).flatten(1).sum(1)
    ),
    vaekit.reconstruction_nll,
    bernoulli_images,
    image_by_image,
    lambda x_logits, x: (F.softplus(x_logits) - x_logits * x).flatten(1).sum(1),
    lambda x_logits, x: F.binary_cross_entropy(x_logits.sigmoid(), x, reduction="none").view(len(x), -1).sum(-1),
]


def row_by_row(mu, logvar):
    return torch.stack([m + std_of(v) * torch.randn(len(m)) for m, v in zip(mu, logvar, strict=True)])


def with_generator(mu, logvar, generator=None):
    return mu + torch.randn(mu.shape, generator=generator) * logvar.mul(0.5).exp()


OWN = torch.Generator().manual_seed(0)

REPARAMETERIZE = [
    vaekit.reparameterize,
    with_generator,
    row_by_row,
    lambda mu, logvar: Normal(mu, std_of(logvar)).rsample(),
    lambda mu, logvar: torch.addcmul(mu, logvar.exp().sqrt(), torch.randn_like(logvar)),
    lambda mu, logvar: mu - std_of(logvar) * torch.empty_like(mu).normal_(),
    lambda mu, logvar: mu + std_of(logvar) * torch.randn(mu.shape, generator=OWN),
    lambda *, mu, logvar: mu + std_of(logvar) * Normal(0, 1).sample(mu.shape),
]


def pytorch_example(x_logits, x, mu, logvar, beta):
    bce = F.binary_cross_entropy(torch.sigmoid(x_logits).view(-1, 784), x.view(-1, 784), reduction="sum")
    return (bce - beta * 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())) / len(x)


LOSS = [
    pytorch_example,
    lambda x_logits, x, mu, logvar, beta: vaekit.neg_elbo(x_logits, x, mu, logvar, beta).mean(),
    lambda x_logits, x, mu, logvar, beta: (
        bernoulli_images(x_logits, x).mean() + beta * kl_of_distributions(mu, logvar).mean()
    ),
    lambda x_logits, x, mu, logvar, beta: torch.lerp(
        image_by_image(x_logits, x).mean(),
        image_by_image(x_logits, x).mean() + vaekit.kl_to_prior(mu, logvar).sum(1).mean(),
        beta,
    ),
]


def plain(model, x, beta, optimizer):
    x_logits, mu, logvar = model(x)
    loss = vaekit.neg_elbo(x_logits, x, mu, logvar, beta).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def with_closure(model, x, beta, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = pytorch_example(model(x)[0], x, *model(x)[1:], beta)  # two passes: wasteful, but right
        loss.backward()
        return loss

    return optimizer.step(closure)


def by_halves(model, x, beta, optimizer):
    mu, logvar = model.encoder(x)
    x_logits = model.decoder(Normal(mu, std_of(logvar)).rsample())
    loss = pytorch_example(x_logits, x, mu, logvar, beta)
    for weight in model.parameters():
        weight.grad = None
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def one_pixel_loss_for_the_log(model, x, beta, optimizer):
    return plain(model, x, beta, optimizer).item() / 784


def in_two_parts(model, x, beta, optimizer):
    """Gradients of both parts add up before the one step."""
    optimizer.zero_grad()
    loss = 0.0
    for part in x.tensor_split(2):
        x_logits, mu, logvar = model(part)
        share = pytorch_example(x_logits, part, mu, logvar, beta) * len(part) / len(x)
        share.backward()
        loss += share.item()
    optimizer.step()
    return loss


def term_by_term(model, x, beta, optimizer):
    x_logits, mu, logvar = model(x)
    reconstruction, kl = bernoulli_images(x_logits, x).mean(), vaekit.kl_to_prior(mu, logvar).sum(1).mean()
    optimizer.zero_grad()
    reconstruction.backward(retain_graph=True)
    (beta * kl).backward()
    optimizer.step()
    return reconstruction + beta * kl


def looks_at_the_terms_first(model, x, beta, optimizer):
    """And keeps an average of the weights beside the model."""
    x_logits, mu, logvar = model(x)
    kl = vaekit.kl_to_prior(mu, logvar).sum(1).mean()
    torch.autograd.grad(kl, list(model.encoder.parameters()), retain_graph=True)  # to print its size
    loss = bernoulli_images(x_logits, x).mean() + beta * kl
    averaged = copy.deepcopy(model)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for average, weight in zip(averaged.parameters(), model.parameters(), strict=True):
        average.detach().lerp_(weight.detach(), 0.1)
    return loss


STEP = [plain, with_closure, by_halves, one_pixel_loss_for_the_log]
STEP += [in_two_parts, term_by_term, looks_at_the_terms_first]


class OneHead(nn.Module):
    """No part is called encoder or decoder; mu and logvar leave one layer; it keeps what it drew."""

    def __init__(self, latents=5):
        super().__init__()
        self.body, self.head = nn.Linear(784, 64), nn.Linear(64, 2 * latents)
        self.back = nn.Sequential(nn.Linear(latents, 64), nn.SiLU(), nn.Linear(64, 784))

    def encode(self, x):
        return self.head(F.silu(self.body(x.flatten(1)))).chunk(2, dim=1)

    def decode(self, z):
        return self.back(z).view(-1, 1, 28, 28)

    def forward(self, x):
        mu, logvar = self.encode(x)
        self.z = Normal(mu, std_of(logvar)).rsample()
        return self.decode(self.z), mu, logvar


class MeanAtEval(OneHead):
    def forward(self, x, generator=None):
        mu, logvar = self.encode(x)
        return self.decode(vaekit.reparameterize(mu, logvar) if self.training else mu), mu, logvar


class Convolutions(nn.Module):
    """Batch norm and dropout, and a decoder without a method of the encoder's calls in forward."""

    def __init__(self, latent_dim):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Flatten())
        self.mu, self.logvar = nn.Linear(8 * 14 * 14, latent_dim), nn.Linear(8 * 14 * 14, latent_dim)
        self.up = nn.Sequential(nn.Linear(latent_dim, 8 * 14 * 14), nn.Unflatten(1, (8, 14, 14)), nn.ReLU())
        self.last = nn.ConvTranspose2d(8, 1, 4, 2, 1)

    def encode(self, x):
        h = self.down(x)
        return self.mu(h), self.logvar(h)

    def decode(self, z):
        return self.last(self.up(z))

    def forward(self, x):
        h = self.down(x)
        mu, logvar = self.mu(h), self.logvar(h)
        return self.last(self.up(mu + torch.randn_like(mu) * std_of(logvar))), mu, logvar


class LogStd(OneHead):
    """The head gives log σ; what leaves the model is log σ² all the same, on a path of its own."""

    def encode(self, x):
        mu, log_std = super().encode(x)
        return mu, 2 * log_std

    def forward(self, x):
        mu, log_std = super().encode(x)
        return self.decode(mu + log_std.exp() * torch.randn_like(mu)), mu, 2 * log_std


class Sampling(nn.Module):
    """As tutorials of another library write it: the draw is a layer."""

    def forward(self, mu, logvar):
        return mu + std_of(logvar) * torch.randn_like(mu)


class DrawsInALayer(vaekit.VAE):
    def __init__(self):
        super().__init__(2, 32)
        self.sampling = Sampling()

    def forward(self, x, generator=None):
        mu, logvar = self.encoder(x)
        return self.decoder(self.sampling(mu, logvar)), mu, logvar


class OneWidthForAll(OneHead):
    """logvar is no layer's output but a parameter of its own, and starts at 2."""

    def __init__(self):
        super().__init__()
        self.width = nn.Parameter(torch.full((5,), 2.0))

    def encode(self, x):
        mu = super().encode(x)[0]
        return mu, self.width.expand_as(mu)


class KeepsEverything(OneHead):
    """Its results in a tuple, a dictionary and a distribution; layers without weights in a list; a count of steps."""

    def __init__(self):
        super().__init__()
        self.acts, self.seen = [nn.Tanh()], {}
        self.shadow = [copy.deepcopy(self.back).requires_grad_(False)]
        self.steps = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x):
        mu, logvar = self.encode(x)
        self.steps += 1
        self.q, self.seen["mu"] = Normal(mu, std_of(logvar)), mu
        self.last = self.decode(self.q.rsample()), mu, logvar
        return self.last


class LooksTwice(OneHead):
    """Decodes the mean as well, to show it."""

    def forward(self, x):
        mu, logvar = self.encode(x)
        with torch.no_grad():
            self.preview = self.decode(mu)
        return self.decode(vaekit.reparameterize(mu, logvar)), mu, logvar


class Backbone(OneHead):
    """The first layer is another model's, and stays as it is."""

    def __init__(self):
        super().__init__()
        self.body.requires_grad_(False)

    def encode(self, x):
        with torch.no_grad():
            h = self.body(x.flatten(1))
        return self.head(F.silu(h)).chunk(2, dim=1)


class ByAttribute(vaekit.VAE):
    def __init__(self):
        super().__init__(2, 32)
        self.decode = lambda code, *, scale=1.0: self.decoder(code) * scale

    def forward(self, x, generator=None):
        mu, logvar = self.encode(x)
        return self.decode(code=vaekit.reparameterize(mu, logvar)), mu, logvar


class Lazy(OneHead):
    """Of colour images: a lazy layer takes the first shape it meets for its own."""

    def __init__(self):
        super().__init__()
        self.body, self.back[2] = nn.LazyLinear(64), nn.Linear(64, 3072)

    def decode(self, z):
        return self.back(z).view(-1, 3, 32, 32)


class LargeImages(OneHead):
    """As in PyTorch-VAE: colour images of 64 × 64 pixels, five convolutions of up to 512 channels, each half."""

    def __init__(self, last=None):
        super().__init__(128)
        wide = (3, 32, 64, 128, 256, 512)
        down = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU()) for a, b in pairwise(wide)]
        up = [nn.Sequential(nn.LeakyReLU(), nn.ConvTranspose2d(b, a, 3, 2, 1, 1)) for a, b in pairwise(wide)]
        self.body, self.head = nn.Sequential(*down, nn.Flatten()), nn.Linear(2048, 256)
        self.back = nn.Sequential(nn.Linear(128, 2048), nn.Unflatten(1, (512, 2, 2)), *up[::-1], last or nn.Identity())

    def encode(self, x):
        return self.head(self.body(x)).chunk(2, 1)

    def decode(self, z):
        return self.back(z)


def run_once(model):
    model(torch.rand(3, 1, 28, 28))
    return model


def frozen():
    model = vaekit.VAE(2, 8)
    model.encoder.requires_grad_(False)
    return model


MODEL = [
    vaekit.VAE,
    lambda: vaekit.VAE(4, 16, (3, 64, 64)),
    lambda: vaekit.LinearVAE(2),
    OneHead,
    MeanAtEval,
    Convolutions,
    LogStd,
    frozen,
    lambda: run_once(OneHead()),
    DrawsInALayer,
    OneWidthForAll,
    Lazy,
    lambda: OneHead().double(),
    LargeImages,
    KeepsEverything,
    lambda: run_once(KeepsEverything()),
    LooksTwice,
    Backbone,
    ByAttribute,
]

CASES = [
    pytest.param(exercise, right, id=f"{exercise}-{i}")
    for exercise, ways in (
        ("kl", KL),
        ("reconstruction", RECONSTRUCTION),
        ("reparameterize", REPARAMETERIZE),
        ("loss", LOSS),
        ("step", STEP),
        ("model", MODEL),
    )
    for i, right in enumerate(ways)
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("exercise", "right"), CASES)
def test_right_answers_are_right(exercise, right, seed):
    torch.manual_seed(seed)
    OWN.manual_seed(seed)
    if exercise == "model" and not isinstance(right, type):
        right = right()  # an instance
    found = diagnose(**{exercise: right})
    assert found.ok, found.findings
    assert found.effective_beta == (1.0 if exercise in ("kl", "reconstruction", "loss", "step") else None)


def test_the_mean_at_evaluation_when_it_was_asked_for():
    assert diagnose(model=MeanAtEval, mean_at_eval=True).ok
    assert diagnose(model=vaekit.VAE, mean_at_eval=True).faults == ("noise_at_eval",)


class OwnNoise(vaekit.VAE):
    def forward(self, x, generator=None):
        return super().forward(x, OWN)


@pytest.mark.parametrize("seed", range(10))
def test_noise_that_happens_to_look_odd_is_still_right(seed):
    """No seed of the learner's own generator may look like a mistake; nor may a model with one latent."""
    OWN.manual_seed(100 + seed)
    assert diagnose(reparameterize=REPARAMETERIZE[7]).ok
    if seed < 4:
        assert diagnose(model=OwnNoise(1, 8, init_generator=torch.Generator().manual_seed(seed))).ok
