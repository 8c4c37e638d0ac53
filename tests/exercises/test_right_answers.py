"""No false alarm: right answers in the ways that people write and publish them."""

import copy
import threading
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from lab_helpers import with_methods
from mistakes import RIGHT_LOSS, kl, loss_of, model_with, reconstruction, reparameterize, std_of, step_with
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

import vaekit
from vaekit.exercises import check, diagnose

pytestmark = pytest.mark.slow  # all of them together


def kl_of_draw(mu, logvar, z):
    return (Normal(mu, std_of(logvar)).log_prob(z) - Normal(0, 1).log_prob(z)).sum(1)


def kl_by_its_own_draw(mu, logvar):
    return kl_of_draw(mu, logvar, reparameterize(mu, logvar))


KL = [
    lambda mu, logvar, /: kl(mu, logvar),
    lambda mu, logvar: kl_divergence(Normal(mu, std_of(logvar)), Normal(0.0, 1.0)).sum(dim=-1),
    lambda mu, logvar: mu.square().add_(logvar.exp()).sub_(1).add_(logvar.mul_(-1)).sum(1).mul_(0.5),
    lambda *, logvar, mu: vaekit.kl_to_prior(mu, logvar).sum(1),
    partial(lambda scale, mu, logvar: scale * (mu**2 + logvar.exp() - 1 - logvar).sum(1), 0.5),
    lambda mu, logvar: (std_of(logvar) ** 2 / 2 + mu**2 / 2 - 0.5 - torch.log(std_of(logvar))).sum(1),
    lambda mu, logvar: 0.5 * (mu.double() ** 2 + logvar.double().exp() - 1 - logvar.double()).sum(1),
    lambda logvar, mu: kl(mu, logvar),
    torch.compile(kl),
]


def bernoulli_images(x_logits, x):
    return -Bernoulli(logits=x_logits, validate_args=False).log_prob(x).flatten(1).sum(1)


RECONSTRUCTION = [
    lambda x_logits, x: (
        -(x * (x_logits.sigmoid() + 1e-5).log() + (1 - x) * (1 - x_logits.sigmoid() + 1e-5).log()).flatten(1).sum(1)
    ),
    bernoulli_images,
    lambda x_logits, x: (F.softplus(x_logits) - x_logits * x).flatten(1).sum(1),
    lambda x_logits, x: F.binary_cross_entropy(x_logits.sigmoid(), x, reduction="none").view(len(x), -1).sum(-1),
    lambda input, target: reconstruction(input, target),
    lambda x, x_hat: reconstruction(x, x_hat),  # right as it is called, whatever the names say
    lambda x_logits, x: reconstruction(x_logits.bfloat16(), x.bfloat16()),
]
TARGET_FIRST = "target output, x_true x_pred, labels output_logits, y rec, original recon, ground_truth recons"
for x, x_logits in map(str.split, TARGET_FIRST.split(", ")):
    RECONSTRUCTION.append(eval(f"lambda {x}, {x_logits}: reconstruction({x_logits}, {x})"))


class Elsewhere(torch.Generator):
    device = torch.device("cuda")


OWN = torch.Generator().manual_seed(0)
REPARAMETERIZE = [
    lambda mu, logvar: torch.stack([reparameterize(*row) for row in zip(mu, logvar, strict=True)]),
    lambda mu, logvar: mu - std_of(logvar) * torch.empty_like(mu).normal_(),
    lambda mu, logvar: mu + std_of(logvar) * torch.randn(mu.shape, generator=OWN),
    lambda *, mu, logvar: mu + std_of(logvar) * Normal(0, 1).sample(mu.shape),
    lambda logvar, mu: reparameterize(mu, logvar),
    lambda mu, logvar: reparameterize(mu, logvar.clamp(-6, 2)),
    # a notebook on a machine with a GPU names its device; the doctor's own is the CPU
    lambda mu, logvar: mu + std_of(logvar) * torch.randn(mu.shape, device=torch.device("cuda")),
    lambda mu, logvar: mu.to(0) + std_of(logvar) * torch.randn(mu.shape, device=0),
    lambda mu, logvar: vaekit.reparameterize(mu, logvar, Elsewhere()),
]


def pytorch_example(x_logits, x, mu, logvar, beta):
    bce = F.binary_cross_entropy(torch.sigmoid(x_logits).view(-1, 784), x.view(-1, 784), reduction="sum")
    return (bce - beta * 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())) / len(x)


compiled = torch.compile(reconstruction)
LOSS = [
    pytorch_example,
    lambda x_logits, x, mu, logvar, beta: vaekit.neg_elbo(x_logits, x, mu, logvar, beta).mean(),
    lambda x, logits, mean, log_var, beta=1.0: RIGHT_LOSS(logits, x, mean, log_var, beta),
    lambda data, reconstruction, z_mean, z_log_var, beta: RIGHT_LOSS(reconstruction, data, z_mean, z_log_var, beta),
    lambda x_logits, x, mu, logvar, beta: (compiled(x_logits, x) + beta * kl(mu, logvar)).mean(),
    lambda a, x, mu, logvar, beta: (reconstruction(a, x) + beta * kl_by_its_own_draw(mu, logvar)).mean(),
]


def by_two_passes(model, x, beta):
    return pytorch_example(model(x)[0], x, *model(x)[1:], beta)  # wasteful, but right


def by_halves(model, x, beta):
    mu, logvar = model.encoder(x)
    return pytorch_example(model.decoder(Normal(mu, std_of(logvar)).rsample()), x, mu, logvar, beta)


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


def looks_at_the_terms_first(model, x, beta, optimizer):
    """Looks at some images, goes back term by term, and keeps an average of the weights beside the model."""
    x_logits, mu, logvar = model(x)
    with torch.no_grad():
        model.decode(mu[:3])
    divergence = kl(mu, logvar).mean()
    torch.autograd.grad(divergence, list(model.encoder.parameters()), retain_graph=True)  # to print its size
    averaged = copy.deepcopy(model)
    optimizer.zero_grad()
    bernoulli_images(x_logits, x).mean().backward(retain_graph=True)
    (beta * divergence).backward()
    optimizer.step()
    for average, weight in zip(averaged.parameters(), model.parameters(), strict=True):
        average.detach().lerp_(weight.detach(), 0.1)
    return bernoulli_images(x_logits, x).mean() + beta * divergence


def autocast(model, x, beta):
    with torch.autocast("cpu", torch.bfloat16):
        x_logits, mu, logvar = model(x)
        return (reconstruction(x_logits.float(), x) + beta * kl(mu, logvar)).mean()


def functional(model, x, beta, optimizer):
    def loss_of(weights):
        x_logits, mu, logvar = torch.func.functional_call(model, weights, (x,))
        return RIGHT_LOSS(x_logits, x, mu, logvar, beta)

    slopes, loss = torch.func.grad_and_value(loss_of)(dict(model.named_parameters()))
    for name, weight in model.named_parameters():
        weight.grad = slopes[name]
    optimizer.step()
    return loss


def scaled(model, x, beta, optimizer, clip=False):
    scaler = torch.amp.GradScaler("cpu")
    optimizer.zero_grad()
    loss = autocast(model, x, beta)
    scaler.scale(loss).backward()
    if clip:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    return loss.item()


def two_draws(model, x, beta):
    mu, logvar = model.encode(x)
    draws = [reconstruction(model.decode(F.dropout(reparameterize(mu, logvar), 0.1)), x) for _ in range(2)]
    return (sum(draws) / 2 + beta * kl(mu, logvar)).mean()


def kl_by_the_draw(model, x, beta):
    mu, logvar = model.encode(x)
    z = reparameterize(mu, logvar)
    return (reconstruction(model.decode(z), x) + beta * kl_of_draw(mu, logvar, z)).mean()


STEP = [in_two_parts, looks_at_the_terms_first, functional, scaled, partial(scaled, clip=True)]
STEP += [step_with(loss=loss) for loss in (autocast, two_draws, kl_by_the_draw)]
STEP += [
    lambda *given: given[-1].step(lambda: step_with("zero back", by_two_passes)(*given)),  # by a closure
    step_with("zero back clip move", by_halves),
    lambda *given: step_with("back clamp move zero")(*given).item() / 784,  # per pixel, for the log
    step_with(loss=lambda model, x, beta: loss_of(model, x[torch.randperm(len(x))], beta)),
    lambda model, optimizer, batch, beta: step_with()(model, batch, beta, optimizer),
    lambda *given: [step_with()(*given), loss_of(*given[:3])][1],  # the loss afterwards
    torch.compile(step_with()),
    lambda model, x, *others: step_with()(model.to("cuda:0"), x.cuda(), *others),
]


class OneHead(nn.Module):
    """No part is called encoder or decoder; mu and logvar leave one layer."""

    def __init__(self, latents):
        super().__init__()
        self.body, self.head = nn.Linear(784, 64), nn.Linear(64, 2 * latents)
        self.back = nn.Sequential(nn.Linear(latents, 64), nn.SiLU(), nn.Linear(64, 784))

    def encode(self, x):
        return self.head(F.silu(self.body(x.flatten(1)))).chunk(2, dim=1)

    def decode(self, z):
        return self.back(z).view(-1, 1, 28, 28)

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(Normal(mu, std_of(logvar)).rsample()), mu, logvar


class MeanAtEval(OneHead):
    def reparameterize(self, mu, logvar):
        return reparameterize(mu, logvar) if self.training else mu

    def kl(self, mu, logvar):
        return kl(mu, logvar)

    def forward(self, x, generator=None):
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def chunked(self, x):
    return self.encoder(x).chunk(2, dim=1)


def apart(self, x):
    """Calls neither encode nor decode."""
    mu, logvar = self.encoder(x).chunk(2, dim=1)
    return self.decoder(reparameterize(mu, logvar)), mu, logvar


LAYERS = nn.Flatten(), nn.Linear(784, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 4)


class KeepsEverything(OneHead):
    """Its results in a tuple, a dictionary and a distribution; layers without weights in a list; a count of steps.

    It decodes the mean as well, to show it, before and after the draw.
    """

    def __init__(self):
        super().__init__(5)
        self.acts, self.seen = [nn.Tanh()], {}
        self.shadow = [copy.deepcopy(self.back).requires_grad_(False)]
        self.steps = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x):
        mu, logvar = self.encode(x)
        self.steps += 1
        self.q, self.seen["mu"] = Normal(mu, std_of(logvar)), mu
        with torch.no_grad():
            self.before = self.decode(mu)
        self.last = self.decode(self.q.rsample()), mu, logvar
        self.after = self.decode(mu).detach()
        return self.last


class Backbone(nn.Linear):
    """A layer of another model, which stays as it is."""

    forward = torch.no_grad()(nn.Linear.forward)


class ByAttribute(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decoder = vaekit.Encoder(2, 32), vaekit.Decoder(2, 32)
        self.decode = lambda code, *, scale=1.0: self.decoder(code) * scale

    def forward(self, x, generator=None):
        mu, logvar = self.encode(x)
        return self.decode(code=vaekit.reparameterize(mu, logvar)), mu, logvar


class Lazy(OneHead):
    """Of colour images: a lazy layer takes the first shape it meets for its own."""

    def __init__(self):
        super().__init__(5)
        self.body, self.back[2] = nn.LazyLinear(64), nn.Linear(64, 3072)

    def decode(self, z):
        return self.back(z).view(-1, 3, 32, 32)


def convolutional(sides, features, side, latents, last=None):
    """As in PyTorch-VAE: convolutions of so many channels, each half as high and wide."""
    down = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU()) for a, b in pairwise(sides)]
    up = [nn.Sequential(nn.LeakyReLU(), nn.ConvTranspose2d(b, a, 3, 2, 1, 1)) for a, b in pairwise(sides)]
    start = nn.Linear(latents, features), nn.Unflatten(1, (sides[-1], side, side))
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(features, 2 * latents))
    decoder = nn.Sequential(*start, *up[::-1], last or nn.Identity())
    return with_methods(encode=chunked)(encoder=encoder, decoder=decoder)


LargeImages = partial(convolutional, (3, 32, 64, 128, 256, 512), 2048, 2, 128)  # of 64 × 64 pixels


def changed(model, change):
    change(model)
    return model


MODEL = [vaekit.VAE, OneHead, MeanAtEval, Lazy, LargeImages(), KeepsEverything, ByAttribute]
MODEL += [
    with_methods(encode=chunked, forward=apart)(encoder=nn.Sequential(*LAYERS)),
    type("HalfPrecision", (OneHead,), {"forward": torch.autocast("cpu", torch.bfloat16)(OneHead.forward)}),
    changed(OneHead(5), lambda model: model.add_module("body", Backbone(784, 64))),
    with_methods(forward=lambda self, x, generator: vaekit.VAE.forward(self, x, generator)),  # it must have one
    model_with(lambda mu, logvar: reparameterize(mu, logvar.clamp(-8, 2))),
    model_with(lambda mu, logvar: F.dropout(reparameterize(mu, logvar), 0.2)),
    vaekit.LinearVAE(2),
    changed(vaekit.LinearVAE(2), lambda model: nn.init.constant_(model.encoder.logvar, 2.0)),  # no layer's output
    changed(vaekit.VAE(2, 8), lambda model: model.encoder.requires_grad_(False)),
    changed(vaekit.VAE(2, 8), lambda model: nn.init.constant_(model.decoder[0].bias, -0.7)),  # off near the middle
    changed(KeepsEverything(), lambda model: model(torch.rand(3, 1, 28, 28))),
    OneHead(5).double(),
    torch.compile(vaekit.VAE(2, 16)),
    *(vaekit.VAE(2, 16, shape) for shape in ((3, 64, 64), (1, 14, 14), (1, 28, 56), (4, 32, 32))),
]

TABLE = {"kl": KL, "reconstruction": RECONSTRUCTION, "reparameterize": REPARAMETERIZE}
TABLE |= {"loss": LOSS, "step": STEP, "model": MODEL}


@pytest.mark.parametrize(("exercise", "right"), [(exercise, right) for exercise in TABLE for right in TABLE[exercise]])
def test_right_answers_are_right(exercise, right):
    found = diagnose(**{exercise: right})
    assert found.findings == ()
    assert found.effective_beta == (1.0 if exercise in ("kl", "reconstruction", "loss", "step") else None)


@pytest.mark.parametrize("seed", range(10))
def test_noise_that_happens_to_look_odd_is_still_right(seed):
    """No seed of the learner's own generator may look like a mistake; nor may a model with one latent."""
    OWN.manual_seed(100 + seed)
    assert diagnose(reparameterize=REPARAMETERIZE[2]).ok
    own_noise = with_methods(forward=lambda self, x: vaekit.VAE.forward(self, x, OWN))
    assert diagnose(model=own_noise(1, 8, init_generator=torch.Generator().manual_seed(seed))).ok


def test_a_kl_by_one_draw_is_an_estimate():
    assert "✓ kl: right. As an estimate, such as a KL by one draw" in repr(check(kl=kl_by_its_own_draw))
    assert not diagnose(kl=lambda mu, logvar: 2 * kl_by_its_own_draw(mu, logvar)).ok


def test_methods_of_a_model_in_eval_mode():
    model = MeanAtEval(5).eval()
    assert diagnose(reparameterize=model.reparameterize).ok and diagnose(kl=model.kl).ok
    assert not model.training and not model.head.training
    model.lock = threading.Lock()  # of which there is no copy
    assert diagnose(kl=model.kl).ok


def test_32_pixels_made_of_28():
    rounded = convolutional((1, 8, 16, 32), 512, 4, 5)  # makes 4 × 4 of 28 × 28 pixels, and of 32 × 32
    (finding,) = diagnose(model=rounded).findings
    assert finding.code == "wrong_shape" and "(8, 1, 32, 32)" in finding.evidence and "shape=" in finding.words
    assert diagnose(model=rounded, shape=(1, 32, 32)).ok
    assert diagnose(model=vaekit.VAE(2, 16, (1, 13, 17)), shape=[1, 13, 17]).ok


def test_a_large_model_is_examined_in_time():
    assert diagnose(model=LargeImages(nn.Tanh())).faults == ("logits_bounded",)
