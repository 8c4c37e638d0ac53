"""The two halves: shapes, which weights are whose, and where the first weights come from."""

import math

import pytest
import torch
from torch import nn

import vaekit
from vaekit import VAE, Autoencoder, Decoder, Encoder, reparameterize
from vaekit.model import initialize


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("latent_dim", "hidden", "shape"), [(2, 400, (1, 28, 28)), (5, 16, (3, 8, 6))])
def test_shapes(latent_dim, hidden, shape):
    model, x = VAE(latent_dim, hidden, shape), torch.rand(7, *shape)
    mu, logvar = model.encode(x)
    assert mu.shape == logvar.shape == (7, latent_dim)
    assert model.decode(mu).shape == x.shape
    x_logits, mu, logvar = model(x, seeded())
    assert (x_logits.shape, mu.shape, logvar.shape) == (x.shape, (7, latent_dim), (7, latent_dim))


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


def test_forward_is_encode_reparameterize_decode():
    model, x = VAE(2, 16), torch.rand(4, 1, 28, 28)
    x_logits, mu, logvar = model(x, seeded(1))
    assert torch.equal(torch.stack([mu, logvar]), torch.stack(model.encode(x)))
    assert torch.equal(x_logits, model.decode(reparameterize(mu, logvar, seeded(1))))


def test_reparameterize_is_mu_plus_std_eps():
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[math.log(9.0), math.log(0.25)]])
    eps = torch.randn(1, 2, generator=seeded(4))
    torch.testing.assert_close(reparameterize(mu, logvar, seeded(4)), mu + torch.tensor([[3.0, 0.5]]) * eps)


def test_without_a_generator_torch_s_own_is_used():
    zeros = torch.zeros(2, 2)
    torch.manual_seed(3)
    drawn = reparameterize(zeros, zeros)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.randn(2, 2))
    state = torch.get_rng_state()
    reparameterize(zeros, zeros, seeded())
    assert torch.equal(torch.get_rng_state(), state)


def test_any_two_modules_can_be_the_halves():
    class MyEncoder(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3], torch.zeros(len(x), 3)

    decoder = nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4)))
    model = VAE(3, encoder=MyEncoder(), decoder=decoder)
    x_logits, mu, _ = model(torch.rand(2, 1, 4, 4), seeded())
    assert (x_logits.shape, mu.shape, model.latent_dim) == ((2, 1, 4, 4), (2, 3), 3)
    assert model.decoder is decoder


def test_halves_have_weights_of_their_own():
    encoder, decoder = Encoder(2, 16), Decoder(2, 16)
    model = VAE(encoder=encoder, decoder=decoder)
    assert {id(p) for p in model.parameters()} == {id(p) for half in (encoder, decoder) for p in half.parameters()}


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
    torch.manual_seed(0)
    a = VAE(2, 16, init_generator=seeded(1))
    torch.manual_seed(77)  # another global state, the same weights
    b, c = VAE(2, 16, init_generator=seeded(1)), VAE(2, 16, init_generator=seeded(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True))


def test_first_weights_are_spread_as_pytorch_s_own():
    """nn.Linear draws weight and bias uniformly within ± 1/√(inputs)."""
    layer = initialize(nn.Linear(400, 784), seeded())
    for values in (layer.weight, layer.bias):
        assert values.abs().max() <= 1 / 20
        assert values.abs().max() > 0.99 / 20
        assert values.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.05)
        assert abs(values.mean().item()) < 4 / 20 / 3**0.5 / values.numel() ** 0.5
    assert initialize(nn.Linear(3, 4, bias=False), seeded()).bias is None


@pytest.mark.parametrize("name", ["latent_dim", "hidden"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "2", None])
def test_bad_sizes_get_one_line(refuses, name, value):
    with refuses(ValueError, f"^{name} must be a whole number from 1 up"):
        VAE(**{name: value})


def test_images_of_another_size_get_one_line(refuses):
    with refuses(ValueError, "takes images of 784 values, these have 1024"):
        vaekit.VAE().encode(torch.zeros(2, 1, 32, 32))
