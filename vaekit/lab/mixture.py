"""A mixture of Gaussians fitted to the codes: what new images are drawn from where the prior does not fit them."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

COMPONENTS = 30
CODES = 10_000  # that it is fitted to, at most: three seconds


def fit(codes: Tensor, seed: int = 0) -> Callable[[int, int], Tensor]:
    """Fit a mixture of full covariances to codes (N, D), by scikit-learn's GaussianMixture.

    Returns draw(n, seed) → n draws, (n, D), as the codes are.
    Raises ImportError, in one line, where there is no scikit-learn.
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise ImportError("a mixture is fitted by scikit-learn: pip install scikit-learn") from None
    count = min(COMPONENTS, len(codes) // 10 + 1)
    found = GaussianMixture(count, reg_covar=1e-5, random_state=seed % 2**32).fit(codes.double().cpu().numpy())

    def draw(n: int, seed: int) -> Tensor:
        z, _ = found.set_params(random_state=seed % 2**32).sample(n)
        return codes.new_tensor(np.random.default_rng(seed % 2**32).permutation(z))  # they come by component

    return draw
