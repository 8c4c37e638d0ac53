"""Places in the latent space worth decoding. Everything returns codes (N, D); `model.decode` does the rest."""

import torch
from torch import Tensor


def grid(extent: float, n: int = 15, center: tuple[float, float] = (0.0, 0.0), device=None) -> Tensor:
    """The middles of n × n square tiles that fill the plane out to ± extent around `center`.

    Returns (n·n, 2), row by row from the top left, as an image is drawn: z₁ to the right, z₂ upwards.
    """
    middles = (torch.arange(n, device=device) + 0.5) * (2 * extent / n) - extent  # (n,)
    z2, z1 = torch.meshgrid(-middles + center[1], middles + center[0], indexing="ij")
    return torch.stack([z1, z2], -1).reshape(-1, 2)  # (n, n, 2) → (n·n, 2)


def traversal(z: Tensor, dim: int, values: Tensor) -> Tensor:
    """The code z (D,) with its dimension `dim` set to each of `values` (n,) in turn. Returns (n, D)."""
    if not 0 <= dim < len(z):
        raise ValueError(f"dim must lie between 0 and {len(z) - 1} for a code of {len(z)} dimensions, not {dim}")
    codes = z.repeat(len(values), 1).to(torch.promote_types(z.dtype, values.dtype))
    codes[:, dim] = values
    return codes
