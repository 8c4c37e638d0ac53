"""The latent code turned in the shown plane, and turned back before the decoder: no image changes, the axes do."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """z′ = R z, a rotation by `degrees` in the plane of the dimensions `pair`. At 0 degrees all is returned as it came.

    How far a place lies from a posterior, in its σ, does not change; nor do the prior, KL and reconstruction.
    """

    pair: tuple[int, int] = (0, 1)
    degrees: float = 0.0

    @property
    def matrix(self) -> np.ndarray:
        """R of the two dimensions, (2, 2)."""
        c, s = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        return np.array([[c, -s], [s, c]])

    def codes(self, z: Tensor) -> Tensor:
        """z (N, D) → z′."""
        return self._mixed(z, self.matrix)

    def back(self, z: Tensor) -> Tensor:
        """z′ (N, D) → z, which the decoder knows."""
        return self._mixed(z, self.matrix.T)

    def logvar(self, logvar: Tensor) -> Tensor:
        """log σ² (N, D) → that of each turned dimension by itself: the turned posteriors are not diagonal any more."""
        return self._mixed(logvar.exp(), self.matrix**2).log() if self.degrees else logvar

    def _mixed(self, columns: Tensor, matrix: np.ndarray) -> Tensor:
        if not self.degrees:
            return columns
        mixed, pair = columns.clone(), list(self.pair)
        mixed[:, pair] = columns[:, pair] @ torch.as_tensor(matrix.T).to(columns)
        return mixed
