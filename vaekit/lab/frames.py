"""What goes to the page, as bytes: little-endian, each message laid out in the docstring that packs it."""

import json
import struct
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

FRAME_HEADER = struct.Struct("<IIIfff")
FLOAT16_MAX, FLOAT32_MAX = (float(np.finfo(kind).max) for kind in (np.float16, np.float32))


@dataclass(frozen=True)
class Frame:
    """The shown images' posteriors on the chosen pair of dimensions, as numpy float32 on the CPU."""

    number: int  # counts frames
    step: int
    mu: np.ndarray  # (N, 2)
    std: np.ndarray  # (N, 2)
    extent: float  # the plane shows ± extent in both directions
    beta: float  # effective: 0 with the prior off
    lr: float

    def pack(self) -> bytes:
        """u32 frame, u32 step, u32 N, f32 extent, f32 effective β, f32 learning rate; N × f16 μ₁ μ₂ σ₁ σ₂."""
        floats = (min(value, FLOAT32_MAX) for value in (self.extent, self.beta, self.lr))
        points = np.concatenate([self.mu, self.std], 1).clip(-FLOAT16_MAX, FLOAT16_MAX)  # (N, 4)
        return FRAME_HEADER.pack(self.number, self.step, len(self.mu), *floats) + points.astype("<f2").tobytes()


def view_extent(mu: np.ndarray, std: np.ndarray, now: float, least: float = 3.8) -> float:
    """How far the plane should reach: steps of a quarter, out at once, back only when there is room.

    mu, std: (N, 2). `now` is the extent shown; `least` always holds the prior's 3 σ ring.
    """
    sizes = np.abs(mu) + std
    if not np.isfinite(sizes).all():
        return max(now, least)
    reach = float(np.quantile(sizes, 0.995)) if len(mu) else 0.0
    extent = max(now, least)
    while reach > extent:
        extent *= 1.25
    while extent > least and reach < 0.72 * extent:
        extent /= 1.25
    return max(extent, least)


def to_bytes(x: Tensor) -> np.ndarray:
    """Pixels in [0, 1] → uint8, the same shape, on the CPU."""
    return x.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()


def mosaic(x: Tensor, n: int) -> np.ndarray:
    """n·n images (n·n, C, H, W) in [0, 1] → one picture (n·H, n·W, C), uint8, row by row."""
    _, c, h, w = x.shape
    tiles = to_bytes(x).reshape(n, n, c, h, w)
    return np.ascontiguousarray(tiles.transpose(0, 3, 1, 4, 2)).reshape(n * h, n * w, c)


def pack_json(header: dict, payload: bytes) -> bytes:
    """u32 length of the JSON, the JSON padded with spaces to a multiple of 4, the payload."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + payload


def pack_decoder(decoder: nn.Module, step: int, latent_dim: int, pair: tuple[int, int]) -> bytes:
    """The decoder for the page: layers as JSON, weights as f16. Empty when the page cannot run these layers.

    A linear layer has `rows`, `cols`; its weight (rows, cols) and bias (rows,) follow each other in the payload.
    """
    layers, payload = [], []
    plain = type(decoder).forward is nn.Sequential.forward  # a subclass may do something else with its parts
    modules = list(decoder) if plain else [decoder]
    for module in modules:
        if type(module) is nn.Linear and module.bias is not None:
            layers.append({"kind": "linear", "rows": module.out_features, "cols": module.in_features})
            payload += [module.weight, module.bias]
        elif isinstance(module, nn.ReLU | nn.Tanh):
            layers.append({"kind": type(module).__name__.lower()})
        elif not isinstance(module, nn.Flatten | nn.Unflatten | nn.Identity):
            return b""
    if not payload:
        return b""
    flat = torch.cat([p.detach().flatten() for p in payload]).to(torch.float16).cpu().numpy()
    return pack_json({"step": step, "latent_dim": latent_dim, "pair": pair, "layers": layers}, flat.tobytes())
