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


def walk(start: Tensor, end: Tensor, n: int = 10) -> Tensor:
    """n codes on the straight line from `start` to `end`, both included: (D,), (D,) → (n, D)."""
    if start.shape != end.shape or start.ndim != 1:
        raise ValueError(f"start and end must be two codes (D,); they have {tuple(start.shape)} and {tuple(end.shape)}")
    t = torch.linspace(0, 1, n, device=start.device)[:, None]  # (n, 1)
    return (1 - t) * start + t * end


def traversal(z: Tensor, dim: int, values: Tensor) -> Tensor:
    """The code z (D,) with its dimension `dim` set to each of `values` (n,) in turn. Returns (n, D)."""
    if not 0 <= dim < len(z):
        raise ValueError(f"dim must lie between 0 and {len(z) - 1} for a code of {len(z)} dimensions, not {dim}")
    codes = z.repeat(len(values), 1).to(torch.promote_types(z.dtype, values.dtype))
    codes[:, dim] = values
    return codes
