"""A mixture of Gaussians fitted to the codes: what new images are drawn from where the prior does not fit them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COMPONENTS = 30
CODES = 10_000  # that it is fitted to, at most: three seconds


@dataclass(frozen=True)
class Mixture:
    """weights (K,), means (K, D), and the Cholesky factors (K, D, D) of the covariances."""

    weights: Tensor
    means: Tensor
    factors: Tensor

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n draws (n, D), on the device of the generator."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        eps = torch.randn(n, self.means.shape[1], generator=generator, device=self.means.device, dtype=self.means.dtype)
        return self.means[chosen] + torch.einsum("nij,nj->ni", self.factors[chosen], eps)


def fit(codes: Tensor, seed: int = 0) -> Mixture:
    """Fit a mixture of full covariances to codes (N, D), by scikit-learn's GaussianMixture.

    Raises ImportError, in one line, where there is no scikit-learn.
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise ImportError("a mixture is fitted by scikit-learn: pip install scikit-learn") from None
    count = min(COMPONENTS, len(codes) // 10 + 1)
    found = GaussianMixture(count, reg_covar=1e-5, random_state=seed % 2**32).fit(codes.double().cpu().numpy())
    parts = found.weights_, found.means_, np.linalg.cholesky(found.covariances_)
    return Mixture(*(torch.as_tensor(part).to(codes.device, codes.dtype) for part in parts))
