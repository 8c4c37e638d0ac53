"""What a lab is made of: the checks of what it is given, and the runs that come of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vaekit._checks import check_type, check_whole
from vaekit._contract import check_model
from vaekit.data import ImageSet, as_floats, check_images
from vaekit.image_files import LoadedImages
from vaekit.model import VAE, from_seed
from vaekit.runs.run import Run

FEW = 500  # images of the small set, for seeing a model memorise


@dataclass
class Recipe:
    """Makes the runs of a lab, on one data set or another. caveat: a line to be said of the model that was made."""

    model: nn.Module | None
    latent_dim: int
    hidden: int
    settings: dict
    seed: int
    batch_size: int
    twin: bool
    pair: tuple[int, int] | None
    device: torch.device
    caveat: str | None = None

    def __post_init__(self):
        self.seed = check_whole("seed", self.seed, least=-(2**63), most=2**64 - 1)
        self.batch_size = check_whole("batch_size", self.batch_size)
        check_type("twin", self.twin, bool, "True or False")

    def make_runs(self, load: Callable[[torch.device], ImageSet]) -> tuple[Run, ...]:
        """Return the run on the images that `load` gives; of a twin, two runs, the left one without the prior."""
        images = load(self.device)
        batch_size = min(self.batch_size, len(images)) if isinstance(images, LoadedImages) else self.batch_size
        check_images(images.images, batch_size)
        sets = {images.name: images}
        if len(images) > 2 * FEW and self.batch_size <= FEW:
            few = images.first(FEW)
            sets[few.name] = few
        model = self._make_model(images)
        self.caveat = check_lab_model(model, images, self.pair, self.settings["kind"])
        left = Run(model, sets, self.settings | {"data": images.name}, self.seed, batch_size)
        if not self.twin:
            return (left,)
        right = left.twin()
        left.set_knobs({"prior": False})
        return left, right

    def _make_model(self, images: ImageSet) -> nn.Module:
        """Return the learner's own model, or a VAE whose initial weights the seed decides; on the device."""
        if self.model is None:
            made = from_seed(VAE, self.latent_dim, self.hidden, images.images.shape[1:], self.seed)
            return made.to(self.device, torch.promote_types(as_floats(images.images[:1]).dtype, torch.float32))
        model = check_type("model", self.model, nn.Module, "a torch.nn.Module such as vaekit.VAE()")
        return model if any(weight.is_meta for weight in model.parameters()) else model.to(self.device)


def check_lab_model(model: nn.Module, data: ImageSet, pair: tuple[int, int] | None, kind="linear") -> str | None:
    """See that the lab can train a model and show it: as `check_model`, and with two dimensions for the plane."""
    latent_dim, caveat = check_model(model, data.images, kind)
    check_pair((0, 1) if pair is None else pair, latent_dim)
    return caveat


def check_pair(pair, latent_dim: int | None = None) -> tuple[int, int] | None:
    """Return a pair of whole numbers, which must name two of the latent dimensions where their number is known."""
    if pair is None:
        return None
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not {type(dim) for dim in pair} <= {int, np.int64}:
        raise ValueError(f"pair must be two latent dimensions such as (0, 1), not {pair!r}")
    if latent_dim and (not all(0 <= dim < latent_dim for dim in pair) or pair[0] == pair[1]):
        what = f"the plane needs two latent dimensions; this model has {latent_dim}, the pair is {tuple(pair)}"
        raise ValueError(f"{what}: choose others, or a larger latent_dim")
    return int(pair[0]), int(pair[1])
