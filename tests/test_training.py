"""The one training loop: beside a loop written by hand, to the bit, and beside what it promises."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import vaekit
from vaekit import Knobs, train
from vaekit.data import Batches


def same(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Are all weights the same, to the bit, and the gradients that the last step left behind?"""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) and torch.equal(a.grad, b.grad) for a, b in pairs)


def by_hand(model, images, settings, seed=0, rough=False, kind="bernoulli"):
    """A VAE's training loop as one writes it in plain PyTorch. settings: (β, learning rate) of each step.

    Returns of each step the loss, the reconstruction and the KL of each dimension.
    """
    generator, dtype = torch.Generator().manual_seed(seed), next(model.parameters()).dtype
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    found, queue = [], []
    for beta, lr in settings:
        if not queue:
            queue = list(torch.randperm(len(images), generator=generator).split(128))
        x = (images[queue.pop(0)].float() * (1 / 255)).to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=rough):
            h = torch.relu(model.encoder.hidden(x.view(len(x), -1)))
            mu, logvar = model.encoder.mu(h), model.encoder.logvar(h)
            z = mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
            x_logits = model.decoder(z)
        x_logits, mu, logvar = x_logits.to(dtype), mu.to(dtype), logvar.to(dtype)
        nll = F.binary_cross_entropy_with_logits(x_logits, x, reduction="none")
        if kind == "gaussian":  # of variance ½
            nll = (x - torch.sigmoid(x_logits)).square() + 0.5 * math.log(math.pi)
        nll = nll.flatten(1).sum(1).mean()
        kl = (0.5 * (mu.square() + torch.expm1(logvar) - logvar)).mean(0)
        loss = nll + beta * kl.sum()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append((loss.detach(), nll.detach(), kl.detach()))
    return found


@pytest.mark.parametrize(
    ("options", "setting", "seed"),
    [
        ({}, (1.0, 1e-3), 0),  # Adam at 1e-3, β = 1, batches of 128 and seed 0
        ({"knobs": Knobs(0.7, lr=2e-3), "kind": "gaussian"}, (0.7, 2e-3), 5),
        ({"precision": "bfloat16"}, (1.0, 1e-3), 5),
    ],
    ids=["without arguments", "other knobs", "bfloat16"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_train_equals_a_loop_by_hand_to_the_bit(toys, toy_model, options, setting, seed, dtype):
    ours, theirs = toy_model().to(dtype), toy_model().to(dtype)
    its_own = {"generator": torch.Generator().manual_seed(seed)} if seed else {}
    steps = list(islice(train(ours, toys, **options, **its_own), 20))  # 6 epochs and two batches
    found = [(step.loss, step.reconstruction, step.kl) for step in steps]
    expected = by_hand(theirs, toys, 20 * [setting], seed, "precision" in options, options.get("kind"))
    torch.testing.assert_close(found, expected, rtol=10 * torch.finfo(dtype).eps, atol=0)  # the BCE rounds otherwise
    assert same(ours, theirs)
    assert not any(tensor.requires_grad for tensors in found for tensor in tensors)
    numbers = [(step.number, round(step.epoch * 300)) for step in steps[:4]]
    assert numbers == [(1, 128), (2, 256), (3, 300), (4, 428)]


def test_plain_autoencoder_trains_by_the_same_loop(toys):
    model = vaekit.Autoencoder(2, 16, (1, 8, 8), init_generator=torch.Generator().manual_seed(0))
    steps = list(islice(train(model, toys, Knobs(beta=5.0, lr=1e-2)), 150))
    assert all(step.kl.tolist() == [0, 0] and torch.equal(step.loss, step.reconstruction) for step in steps)
    assert steps[-1].loss < steps[0].loss


def test_a_knob_acts_at_the_very_next_step_and_is_recorded(toys, toy_model):
    ours, theirs, knobs = toy_model(), toy_model(), Knobs()
    steps = []
    for step in islice(train(ours, toys, knobs), 12):
        steps.append(step)
        if step.number == 4:
            knobs.beta, knobs.lr = 10.0, 5e-3
        if step.number == 8:
            knobs.prior = False
    settings = 4 * [(1.0, 1e-3)] + 4 * [(10.0, 5e-3)] + 4 * [(0.0, 5e-3)]
    losses = [loss for loss, *_ in by_hand(theirs, toys, settings)]
    torch.testing.assert_close([step.loss for step in steps], losses)
    assert same(ours, theirs)
    assert torch.equal(steps[-1].loss, steps[-1].reconstruction) and steps[-1].kl.sum() > 0  # off, but still measured
    recorded = [Knobs(1.0, True, 1e-3), Knobs(10.0, True, 5e-3), Knobs(10.0, False, 5e-3)]
    assert [step.knobs for step in steps] == [its for its in recorded for _ in range(4)]


def test_the_learning_rate_is_the_optimizers_own_until_a_knob_says_otherwise(toys, toy_model):
    """Without knobs the optimizer's stays; with them the first group has the knob's, the others keep their ratio."""

    def rates(lrs, knobs=None):
        model = toy_model()
        groups = zip((model.encoder, model.decoder), lrs, strict=True)
        sgd = torch.optim.SGD([{"params": list(part.parameters()), "lr": lr} for part, lr in groups])
        step = next(train(model, toys, knobs, optimizer=sgd))
        return [group["lr"] for group in sgd.param_groups], step.knobs.lr

    assert rates((0.1, 0.1)) == ([0.1, 0.1], 0.1)
    assert rates((1e-4, 1e-2)) == ([1e-4, 1e-2], 1e-4)
    assert rates((0.0, 1e-2)) == ([0.0, 1e-2], 1e-2)  # half of it at rest
    found, _ = rates((1e-4, 1e-2), Knobs(lr=1e-3))
    assert found == pytest.approx([1e-3, 1e-1])


def test_a_scheduler_moves_the_learning_rate_where_the_knob_rests(toys, toy_model):
    knobs, rates, model = Knobs(lr=0.1), [], toy_model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiplicativeLR(sgd, lambda step: 0.5 if step < 4 else 0)
    for step in islice(train(model, toys, knobs, optimizer=sgd), 5):
        rates.append((step.knobs.lr, sgd.param_groups[0]["lr"]))
        schedule.step()
        knobs.lr = 0.3 if step.number == 2 else knobs.lr
    assert rates == [(rate, rate) for rate in (0.1, 0.05, 0.3, 0.15, 0)]


BAD_KNOBS = [
    ({"beta": -1e-9}, "^beta must be "),
    ({"beta": math.nan}, "^beta must be "),
    ({"beta": 10**400}, "^beta must be "),
    ({"beta": True}, "^beta must be "),
    ({"beta": torch.ones(3, 3)}, "^beta must be "),
    ({"lr": 0}, "^lr must be "),
    ({"prior": 1}, "^prior must be "),
]


@pytest.mark.parametrize(("bad", "words"), BAD_KNOBS, ids=str)
def test_bad_knobs_get_one_line_and_the_old_value_stays(refuses, bad, words):
    knobs = Knobs(beta=2.0, prior=False, lr=0.01)
    before = replace(knobs)
    with refuses((TypeError, ValueError), words):
        setattr(knobs, *next(iter(bad.items())))
    assert knobs == before
    with refuses((TypeError, ValueError), words):
        Knobs(**bad)
    with refuses(AttributeError, "no knob 'gamma': the knobs are beta, prior, lr"):
        knobs.gamma = 1.0


@pytest.mark.parametrize(
    ("n", "size", "sizes"), [(300, 128, [128, 128, 44]), (257, 128, [128, 129]), (3, 1, [1, 1, 1])]
)
def test_every_image_once_an_epoch_and_never_a_single_one_left_over(n, size, sizes):
    batches = Batches(n, size, torch.Generator().manual_seed(0))
    orders = []
    for _ in range(3):
        epoch = [next(batches) for _ in sizes]
        assert [len(batch) for batch in epoch] == sizes
        orders.append(torch.cat(epoch))
        assert orders[-1].sort().values.tolist() == list(range(n))
    assert n < 100 or not torch.equal(orders[0], orders[1])


class Calls(TorchDispatchMode):
    """The names of all tensor operations while it is on."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


# Whatever makes the host wait for the device: a number, a truth, or a size that depends on values.
SYNCS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "_unique2", "item"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_step_waits_for_the_device(toys, toy_model, precision):
    knobs = Knobs()
    steps = train(toy_model(), toys, knobs, precision=precision)
    with Calls() as calls:
        for step in islice(steps, 7):  # over the ends of two epochs
            knobs.beta += 1
            knobs.prior = step.number % 2 == 0
    assert {"index_select", "addmm", "_fused_adam_", "randperm"} <= calls.names  # it has seen the loop
    assert not calls.names & SYNCS
    with Calls() as calls:
        step.loss.item()
    assert calls.names & SYNCS  # and it would have seen a number asked for


def test_denormal_numbers_are_flushed_inside_a_step_only(toys, toy_model):
    """The learner's own cells count with them, between two steps and after the last; and as before, if they did not."""
    inside, denormal, model = [], torch.tensor([1e-39]), toy_model()
    model.encoder.register_forward_pre_hook(lambda *_: inside.append(float(denormal * 0.5)))
    steps = train(model, toys)
    for flushed in (False, True, False):
        torch.set_flush_denormal(flushed)
        next(steps)
        assert inside[-1] == 0
        assert (float(denormal * 0.5) == 0) == flushed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 301}, "300 images do not fill one batch of 301: give more, or batch_size=300"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 up"),
        ({"kind": "mse"}, "kind must be one of bernoulli, gaussian, linear; not 'mse'"),
        ({"precision": "int8"}, "precision must be one of float32, bfloat16; not 'int8'"),
        ({"knobs": {"beta": 1.0}}, "knobs must be vaekit.Knobs"),
        ({"optimizer": torch.optim.Adam}, "optimizer must be one of torch.optim"),
        ({"optimizer": torch.optim.SGD(vaekit.VAE().parameters())}, "the optimizer has none of this model's weights"),
        ({"generator": 0}, "generator must be such as torch.Generator"),
        ({"batches": [torch.arange(9)]}, "batches must be a vaekit.data.Batches"),
    ],
)
def test_other_arguments_get_one_line(refuses, toys, toy_model, options, words):
    """Images are in test_images.py, models in test_contract.py."""
    with refuses((TypeError, ValueError), words):
        train(toy_model(), toys, **options)
