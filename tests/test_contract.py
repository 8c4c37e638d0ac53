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
from vaekit._contract import check_model

SIGNATURE = (
    r"^a model needs forward\(x, generator=None\) → \(x_logits, mu, logvar\), encode\(x\) → \(mu, logvar\) and decode"
)


def toy(kind, **options):
    return kind(2, 16, (1, 8, 8), **options)


def gives(change, method="forward"):
    """A toy one of whose methods gives something else, made from what VAE's own gives."""
    own = getattr(VAE, method)

    @wraps(own)  # its signature as well
    def changed(self, *given, **named):
        out = own(self, *given, **named)
        return change(*(out if isinstance(out, tuple) else (out,)))

    return toy(with_methods(**{method: changed}))


def own_noise(change):
    """Its second head is positive; `change` makes z of mu, that and ε."""

    def encode(self, x):
        mu, raw = VAE.encode(self, x)
        return mu, nn.functional.softplus(raw)

    def forward(self, x, generator=None):
        mu, second = self.encode(x)
        return self.decode(change(mu, second, torch.randn(mu.shape, generator=generator))), mu, second

    return toy(with_methods(encode=encode, forward=forward))


SameNoise = with_methods(forward=lambda self, x, generator=None: VAE.forward(self, x, torch.manual_seed(0)))
Mean = with_methods(forward=lambda self, x: (self.decode(self.encode(x)[0]), *self.encode(x)))  # no noise at all
Keywords = with_methods(forward=lambda self, x, **keywords: VAE.forward(self, x, **keywords))
WithLabels = with_methods(forward=lambda self, x, labels: VAE.forward(self, x))
InPlace = with_methods(encode=lambda self, x: VAE.encode(self, x.sub_(0.5)))
NoGradient = with_methods(forward=torch.no_grad()(VAE.forward))
NoGenerator = with_methods(forward=lambda self, x: VAE.forward(self, x))
Deaf = with_methods(forward=lambda self, x, generator=None: VAE.forward(self, x))  # it draws from torch's own,
OWN = torch.Generator()
Private = with_methods(forward=lambda self, x, generator=None: VAE.forward(self, x, OWN))  # or from this


Detached = with_methods(encode=lambda self, x: (VAE.encode(self, x)[0].detach(), VAE.encode(self, x)[1]))
SigmaDetached = with_methods(encode=lambda self, x: (VAE.encode(self, x)[0], VAE.encode(self, x)[1].data))
NoGradInside = with_methods(encode=torch.no_grad()(VAE.encode))
BodyDetached = with_methods(__init__=lambda self, *sizes: (VAE.__init__(self, *sizes), detach_body(self))[0])
FixedSigma = with_methods(encode=lambda self, x: (VAE.encode(self, x)[0], torch.full((len(x), 2), -2.0)))


def detach_body(model):
    model.encoder.hidden.register_forward_hook(lambda layer, given, out: out.detach())


def code_detached(self, x, generator=None):
    mu, logvar = self.encode(x)
    return self.decode(vaekit.reparameterize(mu, logvar, generator).detach()), mu, logvar


class Half(VAE):
    """As trained on a GPU of today: forward is in half precision, encode and decode alone are not."""

    def forward(self, x, generator=None):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x, generator)


class HalfInside(Half):
    def forward(self, x, generator=None):
        return tuple(one.float() for one in super().forward(x, generator))


class Replaces(VAE):
    """Its buffer is counted up in a tensor of its own each time."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x, generator=None):
        self.n = self.n + 1
        return super().forward(x, generator)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(2, 2)

    def forward(self, x):
        return checkpoint(self.inside, x, use_reentrant=True) if x.requires_grad else self.inside(x)


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu, self.logvar, self.back = nn.Linear(64, 2), nn.Linear(64, 2), nn.Linear(2, 64)

    @torch.jit.export
    def encode(self, x: torch.Tensor):
        return self.mu(x.flatten(1)), self.logvar(x.flatten(1))

    @torch.jit.export
    def decode(self, z: torch.Tensor):
        return self.back(z).view(-1, 1, 8, 8)

    def forward(self, x: torch.Tensor, generator: torch.Generator | None = None):
        mu, logvar = self.encode(x)
        eps = torch.randn(mu.shape, generator=generator)
        return self.decode(mu + torch.exp(0.5 * logvar) * eps), mu, logvar


class OnlyForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = toy(VAE)

    def forward(self, x, generator=None):
        return self.inside(x, generator)


def with_layer(layer):
    model = toy(VAE)
    model.encoder.mu = nn.Sequential(nn.Linear(16, 2), layer)
    return model


WRONG_FORWARD = {
    "four things": (gives(lambda a, m, v: (a, a, m, v)), "forward of this Learners gives 4 things"),
    "one tensor": (gives(lambda a, m, v: a), "gives one Tensor"),
    "another order": (gives(lambda a, m, v: (m, v, a)), r"gives x_logits \(\d+, 2\) for images"),
    "mu (B,)": (gives(lambda a, m, v: (a, m[:, 0], v[:, 0])), r"gives mu \(\d+,\) for .*mu and logvar \(B, D\)$"),
    "one logvar": (gives(lambda a, m, v: (a, m, v[:, :1])), r"gives logvar \(\d+, 1\) for"),
    "28 to 32": (gives(lambda a: nn.functional.pad(a, (2, 2, 2, 2)), "decode"), r"x_logits \(\d+, 1, 12, 12\) for"),
    "encode's dict": (gives(lambda m, v: {"mu": m, "logvar": v}, "encode"), "Learners"),
    "an error inside": (gives(lambda a: a.no_such_thing, "decode"), r"this Learners fails with .*\(AttributeError: "),
    "labels": (toy(WithLabels), "this Learners fails with .*missing .* 'labels'"),
    "other images": (VAE(2, 16), "takes images of 784 values, these have 64: make the model with image_shape"),
}
WRONG_BY_VALUE = {
    "in place": (toy(InPlace), "of this Learners changes what it is given, .*: have it make x = x - 0.5$"),
    "σ": (own_noise(lambda mu, std, eps: mu + std * eps), r"logvar for σ: it must be log σ², as in mu \+ exp"),
    "σ²": (own_noise(lambda mu, var, eps: mu + var.sqrt() * eps), "takes its logvar for σ²: it must be log σ²"),
    "NaN": (
        gives(lambda a, m, v: (a, m, v * torch.nan)),
        "gives NaN or infinity before the first step",
    ),
}
SQUEEZES = gives(lambda m, v: (m.squeeze(), v.squeeze()), "encode")  # where the lab looks at one image
SAID = {
    "a sigmoid": (
        gives(lambda a, m, v: (a.sigmoid(), m, v)),
        "gives x_logits in 0..1, as after a sigmoid",
    ),
    "no noise": (toy(Mean), "draws no noise from its generator"),
    "one noise": (toy(SameNoise), "draws no noise from its generator"),
    "z for mu": (gives(lambda a, m, v: (a, m + 1, v)), "which the lab shows, gives another mu or logvar than forward"),
}
WRONG_WEIGHTS = {
    "a class": (VAE, TypeError, "model must be a torch.nn.Module such as vaekit.VAE.., not <class"),
    "none": (nn.ReLU(), ValueError, "no weights to train"),
    "frozen": (toy(VAE).requires_grad_(False), ValueError, r"frozen, use model.requires_grad_\(True\)"),
    "lazy": (with_layer(nn.LazyLinear(2)), ValueError, "lazy layers, of no size yet"),
    "float16": (toy(VAE).half(), TypeError, r"weights are torch.float16, .*: use model.float\(\)"),
    "elsewhere": (toy(VAE).to("meta"), ValueError, "the model is on meta, the images on cpu: use model.to"),
}


@pytest.mark.parametrize("name", WRONG_FORWARD)
def test_another_calling_convention_is_refused_before_a_weight_moves(refuses, toys, name):
    model, words = WRONG_FORWARD[name]
    before = copy.deepcopy(model.state_dict())
    with refuses((TypeError, ValueError), f"{SIGNATURE}.*{words}"):
        check_model(model, toys)
    if "encode's" in name:
        words = "'str' object has no attribute"
    with refuses((TypeError, ValueError), f"{SIGNATURE}.*{words}"):
        train(model, toys)  # when it is called: no step has been asked for
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", WRONG_BY_VALUE)
def test_the_right_shapes_with_another_meaning_are_refused(refuses, toys, name):
    model, words = WRONG_BY_VALUE[name]
    for begin in (check_model, train):
        with refuses(ValueError, words):
            begin(model, toys)


def test_one_image_alone_is_tried_for_the_lab(refuses, toys):
    with refuses(ValueError, f"{SIGNATURE}.*encode of this Learners gives mu \\(2,\\) for images \\(1, 1, 8, 8\\)"):
        check_model(SQUEEZES, toys)


@pytest.mark.parametrize("name", SAID)
def test_what_may_be_meant_is_said_and_trained_on(toys, name):
    model, words = SAID[name]
    assert words in check_model(model, toys)[1]
    assert ("sigmoid" in words) == (check_model(model, toys, kind="linear")[1] is None)  # where it gives the pixels


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_weights_that_cannot_be_trained_are_refused(refuses, toys, name):
    model, error, words = WRONG_WEIGHTS[name]
    for begin in (check_model, train):
        with refuses(error, words):
            begin(model, toys)


def test_what_the_lab_needs_beyond_forward(refuses, toys):
    for model, missing in ((OnlyForward(), "encode"), (nn.DataParallel(toy(VAE)), "encode")):
        with refuses(TypeError, f"{SIGNATURE}.*has no {missing}: see vaekit.VAE"):
            check_model(model, toys)
        assert next(train(model, toys)).loss.isfinite()
    with refuses(ValueError, f"{SIGNATURE}.*no gradient flows back"):
        next(train(toy(NoGradient), toys))


@pytest.mark.parametrize(
    "model",
    [
        toy(VAE),
        toy(vaekit.Autoencoder),
        toy(Keywords),
        gives(lambda a, m, v: [a, m, v]),
        with_layer(nn.BatchNorm1d(2)),
        with_layer(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))),
        toy(VAE).double(),
        toy(Half),
        toy(HalfInside),
        toy(Replaces),
        toy(FixedSigma),
        with_layer(Checkpointed()),
        torch.compile(toy(VAE)),  # looked at underneath: nothing is compiled here
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_is_understood_is_left_alone(toys, model):
    """No word, and no trace: weights, buffers, modes and generators are as before."""
    model.train()
    list(model.modules())[-1].eval()  # a part that somebody has frozen
    before, modes = copy.deepcopy(model.state_dict()), [part.training for part in model.modules()]
    state = torch.get_rng_state()
    assert check_model(model, toys) == (2, None)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    if not hasattr(model, "_orig_mod"):
        assert next(train(model, toys)).loss.isfinite()


@pytest.mark.parametrize(
    "make",
    [lambda: toy(NoGenerator), lambda: toy(Deaf), lambda: toy(Private), lambda: with_layer(nn.Dropout())],
    ids=["no generator", "torch's own", "a private one", "dropout"],
)
def test_noise_from_elsewhere_is_told_once_and_trained_on(toys, make):
    words = "(takes no generator|gives something else each time).*: a twin, a replay or another run .* would not hold$"
    model = make()
    with pytest.warns(UserWarning, match=words):
        next(train(model, toys))
    told = make()
    assert "would not hold" in check_model(told, toys)[1]
    with warnings.catch_warnings(action="error"):
        next(train(model, toys))
        next(train(told, toys))


CUT = [
    (Detached, "mu"),
    (NoGradInside, "mu"),
    (SigmaDetached, "logvar"),
    (BodyDetached, "mu"),
    (with_methods(forward=code_detached), "x_logits"),
]


@pytest.mark.parametrize(("kind", "symbol"), CUT)
def test_an_encoder_cut_from_the_loss_is_told_and_trained_on(toys, kind, symbol):
    words = f"^not all weights behind the {symbol} of this Learners get a gradient from it: some learn nothing"
    with pytest.warns(UserWarning, match=words):
        assert next(train(toy(kind), toys)).loss.isfinite()
    assert re.search(words, check_model(toy(kind), toys)[1])
    frozen = toy(kind)
    frozen.encoder.requires_grad_(False)  # on purpose: it says so itself
    with warnings.catch_warnings(action="error"):
        next(train(frozen, toys))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch.jit itself
def test_a_scripted_model_is_understood(toys):
    model = torch.jit.script(Scripted())
    assert check_model(model, toys) == (2, None)
    assert next(train(model, toys)).loss.isfinite()


def test_a_model_left_in_eval_mode_trains_in_training_mode(toys):
    modes = set()

    class Watched(VAE):
        def forward(self, x, generator=None):
            modes.add((self.training, self.decoder.training))
            return super().forward(x, generator)

    model = toy(Watched).eval()
    steps = train(model, toys)
    next(steps)
    model.eval()  # looked at, and not put back
    next(steps)
    assert modes == {(True, True)}
    modes.clear()
    model.decoder.eval()  # frozen on purpose
    next(steps)
    assert modes == {(True, False)}


def test_what_forward_counts_under_grad_counts_the_steps_alone(toys):
    class Counts(VAE):
        steps = 0

        def forward(self, x, generator=None):
            self.steps += torch.is_grad_enabled()
            return super().forward(x, generator)

    model = toy(Counts)
    steps = train(model, toys)
    assert model.steps == 0
    next(steps)
    assert model.steps == 1
