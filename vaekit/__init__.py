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
from vaekit.model import VAE, Autoencoder, Decoder, Encoder, reparameterize
from vaekit.training import Knobs, Step, train

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "Autoencoder",
    "Decoder",
    "Encoder",
    "ImageSet",
    "Knobs",
    "LatentLab",
    "Step",
    "device",
    "kl_to_prior",
    "mnist",
    "neg_elbo",
    "reconstruction_nll",
    "reparameterize",
    "train",
]

# What costs more to import than it is worth at the start: it loads when first asked for. Name → its module.
_LATER = {
    "DrawingPad": "vaekit.lab.pad",
    "LatentLab": "vaekit.lab",
    "LinearVAE": "vaekit.model",
    "Recording": "vaekit.recording",
    "Run": "vaekit.run",
    "diagnose": "vaekit.exercises",
    "faces": "vaekit.cartoons",
    "replay": "vaekit.playback",
    "resume": "vaekit.playback",
    "sweep": "vaekit.sweeps",
}
_MODULES = {"data", "exercises", "latent", "losses", "metrics", "model", "plotting", "theory", "training"}


def __getattr__(name):
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    if name in _MODULES:
        return import_module(f"vaekit.{name}")
    raise AttributeError(f"module 'vaekit' has no attribute {name!r}")
