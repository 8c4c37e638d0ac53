"""The two halves: shapes, which weights are whose, and where the first weights come from."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from vaekit import VAE, Autoencoder, ConvDecoder, ConvEncoder
from vaekit.model import DIGIT, LinearVAE, from_seed, initialize


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_halves_compute_what_they_say():
    """784-400-2-400-784 with ReLU, by NumPy."""
    model, x = VAE(2), torch.rand(3, 1, 28, 28)
    w = {name: p.detach().double().numpy() for name, p in model.named_parameters()}
    assert sum(p.size for p in w.values()) == 784 * 400 + 400 + 2 * (400 * 2 + 2) + 2 * 400 + 400 + 400 * 784 + 784
    h = (x.view(3, 784).double().numpy() @ w["encoder.hidden.weight"].T + w["encoder.hidden.bias"]).clip(0)
    mu = h @ w["encoder.mu.weight"].T + w["encoder.mu.bias"]
    logvar = h @ w["encoder.logvar.weight"].T + w["encoder.logvar.bias"]
    g = (mu @ w["decoder.0.weight"].T + w["decoder.0.bias"]).clip(0)
    x_logits = (g @ w["decoder.2.weight"].T + w["decoder.2.bias"]).reshape(3, 1, 28, 28)
    for ours, by_hand in zip((*model.encode(x), model.decode(model.encode(x)[0])), (mu, logvar, x_logits), strict=True):
        torch.testing.assert_close(ours.detach().double(), torch.from_numpy(by_hand), rtol=1e-5, atol=1e-5)


def test_autoencoder_has_the_same_weights_and_no_noise():
    vae, plain = VAE(2, 16, init_generator=seeded()), Autoencoder(2, 16, init_generator=seeded())
    plain.load_state_dict(vae.state_dict())
    x, state = torch.rand(4, 1, 28, 28), torch.get_rng_state()
    x_logits, z, logvar = plain(x)
    assert logvar is None and plain.encode(x)[1] is None
    assert torch.equal(z, vae.encode(x)[0])
    assert torch.equal(x_logits, vae.decode(z))
    assert torch.equal(torch.get_rng_state(), state)


def test_first_weights_come_from_the_generator_alone():
    def make(seed):
        layers = [nn.ConvTranspose1d(2, 3, 3), nn.Conv3d(2, 3, 3), weight_norm(nn.Linear(3, 4)), ConvDecoder(2)]
        return list(initialize(nn.ModuleList([*layers, VAE(2, 16)]), seeded(seed)).parameters())

    a = make(1)
    torch.manual_seed(77)  # another global state, the same weights
    assert all(torch.equal(p, q) for p, q in zip(a, make(1), strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(a, make(2), strict=True))
    given, from_a_seed = VAE(2, 16, init_generator=seeded()), from_seed(VAE, 2, 16, DIGIT, 0)
    assert torch.equal(given.encoder.mu.weight, from_a_seed.encoder.mu.weight)


@pytest.mark.parametrize(("layer", "inputs"), [(nn.Linear(400, 784), 400), (nn.ConvTranspose2d(20, 25, 4), 400)])
def test_first_weights_are_spread_as_pytorch_s_own(layer, inputs):
    """Weight and bias uniformly within ± 1/√(inputs); of a transposed convolution torch counts 25 · 4 · 4."""
    initialize(layer, seeded())
    assert 0.99 < layer.weight.abs().max() * inputs**0.5 <= 1 and 0.5 < layer.bias.abs().max() * inputs**0.5 <= 1
    assert layer.weight.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.05)
    assert abs(layer.weight.mean().item()) < 4 * (3 * inputs * layer.weight.numel()) ** -0.5
    assert initialize(nn.Linear(3, 4, bias=False), seeded()).bias is None


def test_linear_vae_computes_what_it_says():
    """μ = V(x − mean) + b, x_hat = Wz + c, by NumPy; log σ² is one number a dimension, the same for all images."""
    mean, x = torch.rand(3, 8, 6), torch.rand(4, 3, 8, 6)
    model = LinearVAE(5, (3, 8, 6), mean=mean)
    with torch.no_grad():
        model.encoder.logvar.copy_(torch.arange(5.0))
    w = {name: p.detach().double().numpy() for name, p in model.named_parameters()}
    mu, logvar = model.encode(x)
    by_hand = (x - mean).view(4, 144).double().numpy() @ w["encoder.mu.weight"].T + w["encoder.mu.bias"]
    torch.testing.assert_close(mu.detach().double(), torch.from_numpy(by_hand), rtol=1e-5, atol=1e-6)
    assert logvar.tolist() == [[0, 1, 2, 3, 4]] * 4
    x_hat = (by_hand @ w["decoder.0.weight"].T + w["decoder.0.bias"]).reshape(4, 3, 8, 6)
    torch.testing.assert_close(model.decode(mu).detach().double(), torch.from_numpy(x_hat), rtol=1e-5, atol=1e-5)


def test_linear_vae_starts_at_the_mean_image():
    mean = torch.rand(3, 8, 6)
    model = LinearVAE(2, (3, 8, 6), mean=mean, init_generator=seeded())
    assert torch.equal(model.decode(torch.zeros(1, 2))[0], mean)
    assert torch.equal(model.encode(mean[None])[0][0], model.encoder.mu.bias)
    mean.zero_()  # the caller's own
    assert model.encoder.mean.any()
    without = LinearVAE(2, (3, 8, 6), init_generator=seeded())
    assert not without.encoder.mean.any() and not without.decode(torch.zeros(1, 2)).any()
    assert torch.equal(without.encoder.mu.weight, model.encoder.mu.weight)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (1, 9, 13), (3, 33, 64)])
def test_convolutional_halves_take_images_of_any_size(shape):
    halves = {"encoder": ConvEncoder(3, 4, shape), "decoder": ConvDecoder(3, 4, shape)}
    model, x = VAE(3, **halves, init_generator=seeded()), torch.rand(2, *shape)
    x_logits, mu, logvar = model(x)
    assert (x_logits.shape, mu.shape, logvar.shape, model.latent_dim) == (x.shape, (2, 3), (2, 3), 3)
    assert x_logits.min() < 0 < x_logits.max()  # no bend after the last layer
    (x_logits.sum() + logvar.sum()).backward()
    assert all(weight.grad.any() for weight in model.parameters())


SIZE = "must be a whole number from 1 up, not 2.0"
MEAN = r"^mean must be one image \(1, 28, 28\) of floating point, .*, not "


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VAE(latent_dim=2.0), f"^latent_dim {SIZE}"),
        (lambda: VAE(hidden=2.0), f"^hidden {SIZE}"),
        (lambda: LinearVAE(latent_dim=2.0), f"^latent_dim {SIZE}"),
        (lambda: LinearVAE().encode(torch.zeros(2, 1, 32, 32)), "takes images of 784 values, these have 1024"),
        (lambda: LinearVAE(mean=[0.0]), MEAN),
        (lambda: LinearVAE(mean=torch.zeros(1, 28, 28, dtype=torch.uint8)), MEAN),
        (lambda: LinearVAE(mean=torch.zeros(28, 28)), MEAN),
        (lambda: ConvEncoder(image_shape=(1, 7, 28)), r"\(C, H, W\) of 8 × 8 pixels or more, not \(1, 7, 28\)"),
        (lambda: ConvDecoder(image_shape=(28, 28)), r"\(C, H, W\) of 8 × 8 pixels or more, not \(28, 28\)"),
    ],
)
def test_what_does_not_fit_gets_one_line(refuses, make, words):
    with refuses((TypeError, ValueError), words):
        make()
