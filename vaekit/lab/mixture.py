"""A mixture of Gaussians fitted to the codes: what new images are drawn from where the prior does not fit them."""

from collections.abc import Callable

import numpy as np
import torch

from vaekit.data import as_floats
from vaekit.model import watching

COMPONENTS = 30
CODES = 5000  # that it is fitted to, at most: a second or two


def fit(run) -> Callable[[int, int], torch.Tensor]:
    """Fit a mixture of full covariances to the codes of a run's first images, by scikit-learn's GaussianMixture.

    Returns draw(n, seed) → n codes, (n, D). Raises ImportError, in one line, where there is no scikit-learn.
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise ImportError("a mixture is fitted by scikit-learn: pip install scikit-learn") from None
    images = as_floats(run.images[:CODES]).to(next(run.model.parameters()).dtype)
    with watching(run.model):
        codes = torch.cat([run.model.encode(some)[0] for some in images.split(500)]).detach()  # (N, D)
    count = min(COMPONENTS, len(codes) // 10 + 1)
    found = GaussianMixture(count, reg_covar=1e-5, random_state=run.seed % 2**32).fit(codes.double().cpu().numpy())

    def draw(n: int, seed: int) -> torch.Tensor:
        z, _ = found.set_params(random_state=seed % 2**32).sample(n)
        return codes.new_tensor(np.random.default_rng(seed % 2**32).permutation(z))  # they come by component

    return draw
