"""What a model must be: every other one is understood, or refused in one line before a weight has moved."""

import copy
import re
import warnings
from functools import wraps

import pytest
import torch
from lab_helpers import with_methods
from torch import nn
from torch.utils.checkpoint import checkpoint

import vaekit
from vaekit import VAE, train
from vaekit import reparameterize as sample
from vaekit._contract import check_model

SIGNATURE = (
    r"^a model needs forward\(x, generator=None\) → \(x_logits, mu, logvar\), encode\(x\) → \(mu, logvar\) and decode"
)


def toy(kind):
    return kind(2, 16, (1, 8, 8))


def gives(change, method="forward"):
    """A toy one of whose methods gives something else, made from what VAE's own gives."""
    own = getattr(VAE, method)

    @wraps(own)  # its signature as well
    def changed(self, *given, **named):
        out = own(self, *given, **named)
        return change(*(out if isinstance(out, tuple) else (out,)))

    return toy(with_methods(**{method: changed}))


def drawing(draw, head=torch.clone):
    """Its encoder's second output goes through `head`; `draw` makes z of what comes, and a generator."""

    def encode(self, x):
        mu, raw = VAE.encode(self, x)
        return mu, head(raw)

    def forward(self, x, generator=None):
        mu, second = self.encode(x)
        return self.decode(draw(mu, second, generator)), mu, second

    return toy(with_methods(encode=encode, forward=forward))


def own_forward(forward):
    return toy(with_methods(forward=forward))


def body_detached():
    model = toy(VAE)
    model.encoder.hidden.register_forward_hook(lambda layer, given, out: out.detach())
    return model


def half(self, x, generator=None):
    """As on a GPU of today: forward is in half precision, encode and decode alone are not."""
    with torch.autocast("cpu", torch.bfloat16):
        return VAE.forward(self, x, generator)


def counted():
    """Its buffer is counted up in a tensor of its own each time."""

    def forward(self, x, generator=None):
        self.n = self.n + 1
        return VAE.forward(self, x, generator)

    model = own_forward(forward)
    model.register_buffer("n", torch.zeros(()))
    return model


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(2, 2)

    def forward(self, x):
        return checkpoint(self.inside, x, use_reentrant=True) if x.requires_grad else self.inside(x)


def with_layer(layer):
    model = toy(VAE)
    model.encoder.mu = nn.Sequential(nn.Linear(16, 2), layer)
    return model


WRONG_FORWARD = {
    "four things": (gives(lambda a, m, v: (a, a, m, v)), r"forward of this Learners gives (\(\d+.*){4} for images"),
    "one tensor": (gives(lambda a, m, v: a), r"gives \(\d+, 1, 8, 8\) for images"),
    "another order": (gives(lambda a, m, v: (m, v, a)), r"gives \(\d+, 2\), .* for images"),
    "mu (B,)": (gives(lambda a, m, v: (a, m[:, 0], v[:, 0])), r", \(\d+,\), \(\d+,\) for .*mu and logvar \(B, D\)$"),
    "one logvar": (gives(lambda a, m, v: (a, m, v[:, :1])), r", \(\d+, 1\) for"),
    "28 to 32": (gives(lambda a: nn.functional.pad(a, (2, 2, 2, 2)), "decode"), r"gives \(\d+, 1, 12, 12\)"),
    "encode's dict": (gives(lambda m, v: {"mu": m, "logvar": v}, "encode"), "of this Learners"),
    "an error inside": (gives(lambda a: a.no_such_thing, "decode"), r"this Learners fails with .*\(AttributeError: "),
    "labels": (own_forward(lambda self, x, labels: VAE.forward(self, x)), "Learners fails with .*missing .* 'labels'"),
    "other images": (VAE(2, 16), "takes images of 784 values, these have 64: make the model with image_shape"),
    "no gradient": (own_forward(torch.no_grad()(VAE.forward)), "no gradient flows back from x_logits"),
}
REFUSED = {name: (model, f"{SIGNATURE}.*{words}") for name, (model, words) in WRONG_FORWARD.items()}
REFUSED |= {
    "in place": (
        toy(with_methods(encode=lambda self, x: VAE.encode(self, x.sub_(0.5)))),
        "of this Learners changes what it is given, .*: have it make x = x - 0.5$",
    ),
    "σ": (drawing(lambda mu, std, dice: sample(mu, 2 * std.log(), dice), nn.Softplus()), r"for σ: .*, as in mu \+ exp"),
    "σ²": (drawing(lambda mu, var, dice: sample(mu, var.log(), dice), nn.Softplus()), "its logvar for σ²: it must be"),
    "NaN": (gives(lambda a, m, v: (a, m, v * torch.nan)), "gives NaN or infinity before the first step"),
    "a class": (VAE, "model must be a torch.nn.Module such as vaekit.VAE.., not <class"),
    "no weights": (nn.ReLU(), "no weights to train"),
    "frozen": (toy(VAE).requires_grad_(False), r"frozen, use model.requires_grad_\(True\)"),
    "lazy": (with_layer(nn.LazyLinear(2)), "lazy layers, of no size yet"),
    "float16": (toy(VAE).half(), r"weights are torch.float16, .*: use model.float\(\)"),
    "elsewhere": (toy(VAE).to("meta"), "the model is on meta, the images on cpu: use model.to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_before_a_weight_moves(refuses, toys, name):
    """When `train` is called, too: no step has been asked for."""
    model, words = REFUSED[name]
    before = copy.deepcopy(model.state_dict()) if isinstance(model, nn.Module) and name != "lazy" else {}
    for begin in (check_model, train):
        with refuses((TypeError, ValueError), words):
            begin(model, toys)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items() if not value.is_meta)


def test_what_the_lab_needs_beyond_forward(refuses, toys):
    model = nn.DataParallel(toy(VAE))
    with refuses(TypeError, f"{SIGNATURE}.*has no encode: see vaekit.VAE"):
        check_model(model, toys)
    assert next(train(model, toys)).loss.isfinite()
    squeezes = gives(lambda m, v: (m.squeeze(), v.squeeze()), "encode")  # where the lab looks at one image
    with refuses(ValueError, rf"{SIGNATURE}.*encode of this Learners gives \(2,\), \(2,\) for images \(1, 1, 8, 8\)"):
        check_model(squeezes, toys)


ELSEWHERE = "(takes no generator|gives something else each time).*: a twin, a replay or another run .* would not hold$"
CUT = "^not all weights behind the {} of this (VAE|Learners) get a gradient from it: some learn nothing"
NONE, OWN = "draws no noise from its generator", torch.Generator()
SAID = {  # each makes a model, and what is said of it
    "a sigmoid": (lambda: gives(lambda a, m, v: (a.sigmoid(), m, v)), "gives x_logits in 0..1, as after a sigmoid"),
    "no noise": (lambda: own_forward(lambda self, x: (self.decode(self.encode(x)[0]), *self.encode(x))), NONE),
    "one noise": (lambda: drawing(lambda mu, logvar, _: sample(mu, logvar, torch.manual_seed(0))), NONE),
    "no generator": (lambda: own_forward(lambda self, x: VAE.forward(self, x)), ELSEWHERE),
    "torch's own": (lambda: drawing(lambda mu, logvar, _: sample(mu, logvar)), ELSEWHERE),
    "a private one": (lambda: drawing(lambda mu, logvar, _: sample(mu, logvar, OWN)), ELSEWHERE),
    "dropout": (lambda: with_layer(nn.Dropout()), ELSEWHERE),
    "mu detached": (lambda: gives(lambda mu, logvar: (mu.detach(), logvar), "encode"), CUT.format("mu")),
    "σ detached": (lambda: gives(lambda mu, logvar: (mu, logvar.data), "encode"), CUT.format("logvar")),
    "no_grad": (lambda: toy(with_methods(encode=torch.no_grad()(VAE.encode))), CUT.format("mu")),
    "body detached": (body_detached, CUT.format("mu")),
    "z detached": (lambda: drawing(lambda *given: sample(*given).detach()), CUT.format("x_logits")),
}


@pytest.mark.parametrize("name", SAID)
def test_what_may_be_meant_is_said_once_and_trained_on(toys, name):
    make, words = SAID[name]
    model, told = make(), make()
    with pytest.warns(UserWarning, match=words):
        assert next(train(model, toys)).loss.isfinite()
    assert re.search(words, check_model(told, toys)[1])
    with warnings.catch_warnings(action="error"):
        next(train(model, toys)), next(train(told, toys))


def test_what_is_meant_is_not_said(toys):
    z_for_mu = gives(lambda a, m, v: (a, m + 1, v))  # trained all the same
    assert "which the lab shows, gives another mu or logvar than forward" in check_model(z_for_mu, toys)[1]
    pixels = SAID["a sigmoid"][0]()
    frozen = SAID["mu detached"][0]()
    frozen.encoder.requires_grad_(False)  # on purpose: it says so itself
    for model, kind in ((pixels, "linear"), (frozen, "bernoulli")):
        assert check_model(model, toys, kind)[1] is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: toy(VAE),
        lambda: toy(vaekit.Autoencoder),
        lambda: own_forward(lambda self, x, **keywords: VAE.forward(self, x, **keywords)),
        lambda: gives(lambda a, m, v: [a, m, v]),
        lambda: with_layer(nn.BatchNorm1d(2)),
        lambda: with_layer(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))),
        lambda: toy(VAE).double(),
        lambda: own_forward(half),
        lambda: own_forward(lambda self, x, generator=None: tuple(one.float() for one in half(self, x, generator))),
        counted,
        lambda: gives(lambda mu, logvar: (mu, torch.full_like(mu, -2.0)), "encode"),
        lambda: with_layer(Checkpointed()),
        lambda: torch.compile(toy(VAE)),  # looked at underneath: nothing is compiled here
    ],
)
def test_what_is_understood_is_left_alone(toys, make):
    """No word, and no trace: weights, buffers, modes and generators are as before."""
    model = make().train()
    list(model.modules())[-1].eval()  # a part that somebody has frozen
    before, modes = copy.deepcopy(model.state_dict()), [part.training for part in model.modules()]
    state = torch.get_rng_state()
    assert check_model(model, toys) == (2, None)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    if not hasattr(model, "_orig_mod"):
        assert next(train(model, toys)).loss.isfinite()


def test_a_model_trains_in_training_mode_and_what_it_counts_under_grad_are_its_steps(toys):
    def note(model, given) -> None:
        if torch.is_grad_enabled():
            model.modes.append((model.training, model.decoder.training))

    model = toy(VAE).eval()
    model.modes = []  # a copy's are its own
    model.register_forward_pre_hook(note)
    steps = train(model, toys)
    assert model.modes == []  # what is tried when it is called is no step
    next(steps)
    model.eval()  # looked at, and not put back
    next(steps)
    model.decoder.eval()  # frozen on purpose
    next(steps)
    assert model.modes == [(True, True), (True, True), (True, False)]
