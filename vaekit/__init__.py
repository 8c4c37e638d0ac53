"""vaekit: understand variational autoencoders by having one in your hands.

import vaekit

digits = vaekit.mnist()
model = vaekit.VAE(latent_dim=2)
for step in vaekit.train(model, digits.images, vaekit.Knobs(beta=1.0)):
    ...                                   # endless; break when you have seen enough

vaekit.LatentLab()                        # the same loop, live, in JupyterLab
"""

from importlib import import_module

from vaekit.data import ImageSet, mnist
from vaekit.data import choose_device as device
from vaekit.losses import kl_to_prior, neg_elbo, reconstruction_nll
from vaekit.model import VAE, Autoencoder, ConvDecoder, ConvEncoder, Decoder, Encoder, LinearVAE, reparameterize
from vaekit.training import Knobs, Step, train

__version__ = "0.1.0"

# What loads when it is first asked for: each name, and the module it is in.
_LAZY = {
    "DrawingPad": "vaekit.lab.drawing",
    "LatentLab": "vaekit.lab",
    "Recording": "vaekit.runs.recording",
    "Run": "vaekit.runs.run",
    "diagnose": "vaekit.exercises",
    "faces": "vaekit.cartoons",
    "load_images": "vaekit.image_files",
    "replay": "vaekit.runs.run",
    "resume": "vaekit.runs.run",
    "sweep": "vaekit.runs.sweep",
}
_MODULES = ["cartoons", "copies", "data", "exercises", "image_files", "lab", "latent", "losses", "metrics", "model"]
_MODULES += ["plotting", "runs", "theory", "training"]

__all__ = ["VAE", "Autoencoder", "ConvDecoder", "ConvEncoder", "Decoder", "Encoder", "ImageSet", "Knobs", "LinearVAE"]
__all__ += ["Step", "device"]
__all__ += ["kl_to_prior", "mnist", "neg_elbo", "reconstruction_nll", "reparameterize", "train", *_LAZY]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _MODULES:
        return import_module(f"vaekit.{name}")
    raise AttributeError(f"module 'vaekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
