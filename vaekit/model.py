"""The two halves: an encoder q_φ(z|x) and a decoder p_θ(x|z), each with weights of its own."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from vaekit._checks import check_type, check_whole

DIGIT = (1, 28, 28)


class Encoder(nn.Module):
    """q_φ(z|x) = N(μ(x), diag σ²(x)): from an image to a distribution over codes.

    forward(x): x (B, C, H, W) in [0, 1] → mu, logvar: (B, D) each; logvar is log σ².
    """

    def __init__(self, latent_dim: int = 2, hidden: int = 400, image_shape: tuple[int, ...] = DIGIT):
        super().__init__()
        self.hidden = nn.Linear(math.prod(image_shape), hidden)
        self.mu = nn.Linear(hidden, latent_dim)
        self.logvar = nn.Linear(hidden, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.hidden(_flatten(x, self.hidden.in_features)))  # (B, hidden)
        return self.mu(h), self.logvar(h)


def _flatten(x: Tensor, values: int) -> Tensor:
    """(B, C, H, W) → (B, C·H·W), which must be `values`."""
    x = x.flatten(1)
    if x.shape[1] != values:
        raise ValueError(
            f"this encoder takes images of {values} values, these have {x.shape[1]}: "
            "make the model with image_shape=tuple(images.shape[1:])"
        )
    return x


class Decoder(nn.Sequential):
    """p_θ(x|z): from a code to the distribution of each pixel.

    forward(z): (B, D) → x_logits (B, C, H, W); the sigmoid of a logit is the pixel's mean.
    """

    def __init__(self, latent_dim: int = 2, hidden: int = 400, image_shape: tuple[int, ...] = DIGIT):
        output = nn.Linear(hidden, math.prod(image_shape))
        super().__init__(nn.Linear(latent_dim, hidden), nn.ReLU(), output, nn.Unflatten(1, image_shape))


class ConvEncoder(nn.Module):
    """q_φ(z|x) as `Encoder`, by two convolutions that halve the image: for images of any size from 8 × 8 up.

    channels: of the first convolution; the second has twice as many.
    """

    def __init__(self, latent_dim: int = 2, channels: int = 16, image_shape: tuple[int, int, int] = DIGIT):
        super().__init__()
        _, (height, width) = _halved(image_shape)
        self.features = nn.Sequential(
            nn.Conv2d(image_shape[0], channels, 3, stride=2, padding=1),  # (B, channels, ⌈H / 2⌉, ⌈W / 2⌉)
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),  # (B, 2 channels, ⌈H / 4⌉, ⌈W / 4⌉)
            nn.ReLU(),
            nn.Flatten(),
        )
        self.mu = nn.Linear(2 * channels * height * width, latent_dim)
        self.logvar = nn.Linear(2 * channels * height * width, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.features(x)
        return self.mu(h), self.logvar(h)


class ConvDecoder(nn.Sequential):
    """p_θ(x|z) as `Decoder`: the way of a `ConvEncoder` back, each step twice as large and then convolved."""

    def __init__(self, latent_dim: int = 2, channels: int = 16, image_shape: tuple[int, int, int] = DIGIT):
        half, quarter = _halved(image_shape)
        super().__init__(
            nn.Linear(latent_dim, 2 * channels * quarter[0] * quarter[1]),
            nn.ReLU(),
            nn.Unflatten(1, (2 * channels, *quarter)),
            nn.Upsample(half),
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(tuple(image_shape[1:])),
            nn.Conv2d(channels, image_shape[0], 3, padding=1),
        )


def _halved(image_shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The height and width of half an image and of a quarter, rounded up as a convolution of stride 2 does."""
    if len(image_shape) != 3 or min(image_shape[1:]) < 8:
        raise ValueError(f"image_shape must be (C, H, W) of 8 × 8 pixels or more, not {tuple(image_shape)}")
    half = tuple(-(-side // 2) for side in image_shape[1:])
    return half, tuple(-(-side // 2) for side in half)


def reparameterize(mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """z = μ + σ ⊙ ε with ε ~ N(0, I): a draw from q(z|x) that gradients flow through.

    mu, logvar: (B, D); logvar is log σ², so σ = exp(logvar / 2). Returns z (B, D).
    Raises ValueError when the shapes differ.
    Source: Kingma & Welling 2014, section 2.4.
    """
    if mu.shape != logvar.shape:
        raise ValueError(f"mu and logvar must have one shape; they have {tuple(mu.shape)} and {tuple(logvar.shape)}")
    std = torch.exp(0.5 * logvar)
    eps = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + std * eps


class VAE(nn.Module):
    """A variational autoencoder: `encoder` (φ) and `decoder` (θ), any two modules with these shapes.

    forward(x, generator): x (B, C, H, W) → x_logits (B, C, H, W), mu (B, D), logvar (B, D).
    `generator` draws ε; with `init_generator` the first weights too come from a generator.
    """

    def __init__(
        self,
        latent_dim: int = 2,
        hidden: int = 400,
        image_shape: tuple[int, ...] = DIGIT,
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        init_generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_whole("hidden", hidden)
        self.latent_dim = check_whole("latent_dim", latent_dim)
        self.encoder = Encoder(latent_dim, hidden, image_shape) if encoder is None else encoder
        self.decoder = Decoder(latent_dim, hidden, image_shape) if decoder is None else decoder
        if init_generator is not None:
            initialize(self, init_generator)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W) in [0, 1] → mu, logvar: (B, D) each; logvar is log σ²."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """z (B, D) → x_logits (B, C, H, W), the decoder's output before the sigmoid."""
        return self.decoder(z)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x)
        z = reparameterize(mu, logvar, generator)
        return self.decode(z), mu, logvar


class Autoencoder(VAE):
    """The plain autoencoder, of the VAE's two halves: one value per code, no distribution, no noise; logvar is None."""

    def encode(self, x: Tensor) -> tuple[Tensor, None]:
        """x (B, C, H, W) in [0, 1] → the code (B, D), and None where a VAE has its logvar."""
        return self.encoder(x)[0], None

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, None]:
        z, _ = self.encode(x)
        return self.decode(z), z, None


class LinearEncoder(nn.Module):
    """q_φ(z|x) = N(V(x − mean) + bias, diag σ²), with one σ² a dimension for all images.

    A linear decoder's exact posterior has a variance that does not depend on x: a free parameter is all it needs.
    """

    def __init__(self, latent_dim: int, mean: Tensor):
        super().__init__()
        self.register_buffer("mean", mean.flatten())  # saved with the weights, but not learned
        self.mu = nn.Linear(mean.numel(), latent_dim)
        self.logvar = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu = self.mu(_flatten(x, len(self.mean)) - self.mean)
        return mu, self.logvar.expand_as(mu)


class LinearVAE(VAE):
    """A VAE without a bend, for the reconstruction "linear": `vaekit.theory` knows where its training ends.

    mean: the images' mean (C, H, W), such as as_floats(images).mean(0): the encoder subtracts it, the decoder's
    bias starts from it. Without it MNIST is a third further from the optimum after 500 steps. The rest is as in `VAE`.
    Source: Lucas et al. 2019, "Don't Blame the ELBO!".
    """

    def __init__(
        self,
        latent_dim: int = 2,
        image_shape: tuple[int, ...] = DIGIT,
        *,
        mean: Tensor | None = None,
        init_generator: torch.Generator | None = None,
    ):
        check_whole("latent_dim", latent_dim)
        allowed = f"one image {tuple(image_shape)} of floating point, such as as_floats(images).mean(0)"
        mean = check_type("mean", torch.zeros(image_shape) if mean is None else mean, Tensor, allowed)
        if mean.shape != tuple(image_shape) or not mean.is_floating_point():
            raise ValueError(f"mean must be {allowed}, not {tuple(mean.shape)} of {mean.dtype}")
        mean = mean.detach().to("cpu", torch.get_default_dtype()).clone()
        affine = nn.Linear(latent_dim, mean.numel())
        decoder = nn.Sequential(affine, nn.Unflatten(1, image_shape))
        encoder = LinearEncoder(latent_dim, mean)
        super().__init__(latent_dim, encoder=encoder, decoder=decoder, init_generator=init_generator)
        with torch.no_grad():
            affine.bias.copy_(mean.flatten())


def from_seed(kind: type[VAE], latent_dim: int, hidden: int, image_shape: tuple[int, ...], seed: int) -> VAE:
    """The VAE or Autoencoder whose first weights a seed decides, on the CPU: for labs, sweeps and recordings alike."""
    with torch.device("meta"):  # where nn.Linear draws nothing from the generator that everybody uses
        model = kind(latent_dim, hidden, tuple(image_shape))
    return initialize(model.to_empty(device="cpu"), torch.Generator("cpu").manual_seed(seed))


@torch.no_grad()
def initialize(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Draw the weights of every linear layer and convolution afresh from `generator`, as PyTorch's default does.

    PyTorch draws from the global generator, which any other thread may be using too.
    Returns the module. Source: He et al. 2015, as in torch.nn.Linear.reset_parameters.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            weight = nn.init.kaiming_uniform_(torch.empty_like(layer.weight), a=math.sqrt(5), generator=generator)
            if is_parametrized(layer, "weight"):  # made of others at each use, as by parametrizations.weight_norm
                with suppress(RuntimeError):  # not all can be undone
                    layer.weight = weight
            else:
                layer.weight.copy_(weight)
            bound = 1 / math.sqrt(weight[0].numel())
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return module


@contextmanager
def watching(model: nn.Module, training: bool = False) -> Iterator[None]:
    """No gradients, evaluation mode (or training mode), and every part's mode put back: batch norm must not notice."""
    modes = [(part, part.training) for part in model.modules()]
    try:
        with torch.no_grad():
            if not (training and model.training):  # its parts may be frozen
                model.train(training)
            yield
    finally:
        for part, training in modes:
            part.training = training
