"""Code that people write and publish: right where it is right, and by its name where it is not."""

import threading
import time

import pytest
import torch
import torch.nn.functional as F
from mistakes import RIGHT_LOSS, kl, model_with, pass_through, reconstruction, reparameterize, step_with
from test_right_answers import LargeImages, OneHead, std_of
from torch import nn
from torch.distributions import Bernoulli, Normal

import vaekit
from vaekit.exercises import check, diagnose

pytestmark = pytest.mark.slow


def descend(value, optimizer):
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value


def step_of(loss):
    """A step around `loss(model, x, beta)`."""
    return lambda model, x, beta, optimizer: descend(loss(model, x, beta), optimizer)


def autocast(model, x, beta, exact=False, factor=1.0):
    with torch.autocast("cpu", torch.bfloat16):
        x_logits, mu, logvar = model(x)
        loss = (reconstruction(x_logits.float(), x) + beta * factor * kl(mu, logvar)).mean()
    return RIGHT_LOSS(x_logits.float(), x, mu.float(), logvar.float(), beta) if exact else loss


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
    draws = [reconstruction(model.decode(reparameterize(mu, logvar)), x) for _ in range(2)]
    return (sum(draws) / 2 + beta * kl(mu, logvar)).mean()


def draws_in_one_batch(model, x, beta):
    mu, logvar = model.encode(x)
    z = torch.cat([reparameterize(mu, logvar) for _ in range(3)])
    return (reconstruction(model.decode(z), x.repeat(3, 1, 1, 1)).view(3, -1).mean(0) + beta * kl(mu, logvar)).mean()


def draws_in_turn(model, x, beta):
    mu, logvar = model.encode(x)
    z = reparameterize(mu.repeat_interleave(2, 0), logvar.repeat_interleave(2, 0))
    draws = reconstruction(model.decode(z), x.repeat_interleave(2, 0)).view(-1, 2)
    return (draws.mean(1) + beta * kl(mu, logvar)).mean()


def kl_by_its_own_draw(mu, logvar):
    q = Normal(mu, std_of(logvar))
    z = q.rsample()
    return (q.log_prob(z) - Normal(0, 1).log_prob(z)).sum(1)


def kl_by_the_draw(model, x, beta):
    mu, logvar = model.encode(x)
    q = Normal(mu, std_of(logvar))
    z = q.rsample()
    nll = -Bernoulli(logits=model.decode(z), validate_args=False).log_prob(x).flatten(1).sum(1)
    return (nll + beta * (q.log_prob(z) - Normal(0, 1).log_prob(z)).sum(1)).mean()


def dropout_on_z(model, x, beta):
    mu, logvar = model.encode(x)
    return RIGHT_LOSS(model.decode(F.dropout(reparameterize(mu, logvar), 0.1)), x, mu, logvar, beta)


def recomputed(model, x, beta, optimizer):
    step_with()(model, x, beta, optimizer)
    return RIGHT_LOSS(*pass_through(model, x), beta)


STEPS = {
    "bfloat16": step_of(autocast),
    "bfloat16, the loss outside": step_of(lambda *given: autocast(*given, exact=True)),
    "a gradient scaler": scaled,
    "a gradient scaler, clipped": lambda *given: scaled(*given, clip=True),
    "two draws": step_of(two_draws),
    "three draws in one batch": step_of(draws_in_one_batch),
    "two draws in turn": step_of(draws_in_turn),
    "a KL by the draw": step_of(kl_by_the_draw),
    "dropout on z": step_of(dropout_on_z),
    "shuffled": step_of(lambda model, x, beta: RIGHT_LOSS(*pass_through(model, x[torch.randperm(len(x))]), beta)),
    "a loss of another draw": recomputed,
    "other names": lambda model, optimizer, batch, beta: step_with()(model, batch, beta, optimizer),
    "compiled": torch.compile(step_with()),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_right_steps(step):
    assert diagnose(step=step).findings == ()


def test_a_wrong_step_in_half_precision_is_named():
    assert diagnose(step=step_of(lambda *given: autocast(*given, factor=2.0))).faults == ("missing_half",)


def bce(x_logits, x):
    return F.binary_cross_entropy_with_logits(x_logits, x, reduction="none").flatten(1).sum(1)


FUNCTIONS = [
    {"reconstruction": lambda x, x_logits: bce(x_logits, x)},
    {"reconstruction": lambda target, output: bce(output, target)},
    {"reconstruction": lambda y_true, y_pred: bce(y_pred, y_true)},
    {"reconstruction": lambda input, logits: bce(logits, input)},
    {"reconstruction": lambda input, target: bce(input, target)},
    {"reconstruction": lambda x, x_hat: bce(x, x_hat)},  # right as it is called, whatever the names say
    {"kl": lambda logvar, mu: kl(mu, logvar)},
    {"kl": lambda log_var, mean: kl(mean, log_var)},
    {"reparameterize": lambda logvar, mu: reparameterize(mu, logvar)},
    {"loss": lambda x, logits, mean, log_var, beta=1.0: RIGHT_LOSS(logits, x, mean, log_var, beta)},
    {"kl": torch.compile(kl)},
    {"reparameterize": lambda mu, logvar: mu + std_of(logvar.clamp(-6, 2)) * torch.randn_like(mu)},
]


@pytest.mark.parametrize("asked", FUNCTIONS)
def test_right_functions(asked):
    assert diagnose(**asked).findings == ()


def test_the_order_of_unknown_names_is_that_of_the_exercise():
    assert diagnose(reconstruction=lambda a, b: bce(b, a)).faults == ("wrong_target",)


def test_a_kl_by_one_draw_is_an_estimate():
    found = diagnose(kl=kl_by_its_own_draw)
    assert found.ok and "by one draw" in found.summary and "estimate" in repr(check(kl=kl_by_its_own_draw))
    assert diagnose(loss=lambda a, x, mu, logvar, beta: (bce(a, x) + beta * kl_by_its_own_draw(mu, logvar)).mean()).ok
    assert not diagnose(kl=lambda mu, logvar: 2 * kl_by_its_own_draw(mu, logvar)).ok


class Methods(OneHead):
    def reparameterize(self, mu, logvar):
        return reparameterize(mu, logvar) if self.training else mu

    def kl(self, mu, logvar):
        return kl(mu, logvar)


def test_methods_of_a_model_in_eval_mode():
    model = Methods().eval()
    assert diagnose(reparameterize=model.reparameterize).ok and diagnose(kl=model.kl).ok
    assert not model.training and not model.head.training


def test_compiled_models():
    assert diagnose(model=torch.compile(vaekit.VAE(2, 16))).ok
    model = vaekit.VAE(2, 16)
    model.encoder, inner = torch.compile(model.encoder), torch.compile(reconstruction)
    assert diagnose(model=model).ok
    assert diagnose(loss=lambda a, x, mu, logvar, beta: (inner(a, x) + beta * kl(mu, logvar)).mean()).ok


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 16, 16), (3, 96, 96), (1, 14, 14), (1, 28, 56), (4, 32, 32)])
def test_images_of_any_shape_are_found_out(shape):
    assert diagnose(model=vaekit.VAE(2, 16, shape)).ok


class Convolutions(OneHead):
    """Makes 4 × 4 of 28 × 28 pixels, and of 32 × 32; its decoder makes 32 × 32."""

    def __init__(self):
        super().__init__()
        down = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in ((1, 8), (8, 16), (16, 32))]
        up = [nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(a, b, 3, 2, 1, 1)) for a, b in ((32, 16), (16, 8), (8, 1))]
        self.body, self.head = nn.Sequential(*down, nn.Flatten()), nn.Linear(512, 10)
        self.back = nn.Sequential(nn.Linear(5, 512), nn.Unflatten(1, (32, 4, 4)), *up)

    def encode(self, x):
        return self.head(self.body(x)).chunk(2, 1)

    def decode(self, z):
        return self.back(z)


def test_32_pixels_made_of_28():
    (finding,) = diagnose(model=Convolutions).findings
    assert finding.code == "wrong_shape" and "(8, 1, 32, 32)" in finding.evidence and "shape=" in finding.words
    assert diagnose(model=Convolutions, shape=(1, 32, 32)).ok
    assert diagnose(model=vaekit.VAE(2, 16, (1, 13, 17)), shape=[1, 13, 17]).ok


def drawn(draw):
    def forward(self, x, generator=None):
        mu, logvar = self.encode(x)
        return self.decode(draw(self, mu, logvar)), mu, logvar

    return model_with(forward=forward)


def test_noise_in_models():
    assert diagnose(model=drawn(lambda self, mu, logvar: reparameterize(mu, logvar.clamp(-8, 2)))).ok
    assert diagnose(model=drawn(lambda self, *q: F.dropout(reparameterize(*q), 0.2, self.training))).ok
    wide = drawn(lambda self, mu, logvar: reparameterize(mu, 2 * logvar))
    assert diagnose(model=wide).faults == ("exp_logvar_as_std",)
    at_eval = drawn(lambda self, mu, logvar: reparameterize(mu, logvar) if self.training else mu + std_of(logvar))
    assert diagnose(model=at_eval).faults == ("noise_missing",)


def test_what_a_model_gives_back_is_counted():
    four = model_with(forward=lambda self, x: (*vaekit.VAE.forward(self, x), x))
    named = model_with(encode=lambda self, x: dict(zip(("mu", "logvar"), self.encoder(x), strict=True)))
    assert "came 4 things, 3 tensors are wanted: x_logits, mu, logvar" in diagnose(model=four).findings[0].words
    assert "came a dict, 2 tensors are wanted: mu, logvar" in diagnose(model=named).findings[0].words


@pytest.mark.parametrize(("last", "faults"), [(None, ()), (nn.Tanh(), ("logits_bounded",))])
def test_a_large_model_beside_other_work(last, faults):
    """No time limit is blamed on a loop: each single call is short."""
    stop = threading.Event()
    work = torch.randn(300, 300)
    busy = threading.Thread(target=lambda: [work @ work for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        assert diagnose(model=LargeImages(last)).faults == faults
    finally:
        stop.set()
        busy.join()


def test_many_short_calls_are_no_loop(monkeypatch):
    monkeypatch.setattr("vaekit.exercises.calling.LIMIT_S", 0.5)

    def slow(mu, logvar):
        time.sleep(0.03)
        return reparameterize(mu, logvar)

    assert diagnose(reparameterize=slow).ok


def test_the_verdict_is_the_same_on_a_machine_with_a_gpu():
    """A notebook there names its device; the doctor's own is the CPU."""

    def draw(mu, logvar):
        return mu + std_of(logvar) * torch.randn(mu.shape, device=torch.device("cuda"))

    assert diagnose(reparameterize=draw).ok
    assert diagnose(step=lambda model, x, *others: step_with()(model.to("cuda:0"), x.cuda(), *others)).ok


def test_a_preview_after_the_draw():
    def forward(self, x, generator=None):
        mu, logvar = self.encode(x)
        x_logits = self.decode(reparameterize(mu, logvar))
        self.preview = self.decode(mu).detach()
        return x_logits, mu, logvar

    assert diagnose(model=model_with(forward=forward)).ok
