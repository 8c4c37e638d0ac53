"""What goes to the page, as bytes: little-endian, each message laid out in the docstring that packs it."""

import json
import struct
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

FRAME_HEADER = struct.Struct("<IIIff")
LEAST = 3.8  # of the plane's extent: the prior's 3 σ ring is always there
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

    def first(self, n: int) -> "Frame":
        """The same frame of the first `n` images alone."""
        return replace(self, mu=self.mu[:n], std=self.std[:n])

    def pack(self) -> bytes:
        """u32 frame, u32 step, u32 N, f32 extent, f32 effective β; N × f16 μ₁ μ₂ σ₁ σ₂."""
        floats = (min(value, FLOAT32_MAX) for value in (self.extent, self.beta))
        points = np.concatenate([self.mu, self.std], 1).clip(-FLOAT16_MAX, FLOAT16_MAX)  # (N, 4)
        return FRAME_HEADER.pack(self.number, self.step, len(self.mu), *floats) + points.astype("<f2").tobytes()


def view_extent(mu: np.ndarray, std: np.ndarray, now: float) -> float:
    """How far the plane should reach: steps of a quarter, out at once, back only when there is room.

    mu, std: (N, 2). `now` is the extent shown.
    """
    sizes, extent = np.abs(mu) + std, max(now, LEAST)
    if not np.isfinite(sizes).all():
        return extent
    reach = float(np.quantile(sizes, 0.995))
    while reach > extent:
        extent *= 1.25
    while extent > LEAST and reach < 0.72 * extent:
        extent /= 1.25
    return max(extent, LEAST)


def to_bytes(x: Tensor) -> np.ndarray:
    """Pixels in [0, 1] → uint8, the same shape, on the CPU."""
    return x.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()


def mosaic(tiles: np.ndarray, n: int) -> np.ndarray:
    """n·n images (n·n, C, H, W) → one picture (n·H, n·W, C), row by row."""
    _, c, h, w = tiles.shape
    return tiles.reshape(n, n, c, h, w).transpose(0, 3, 1, 4, 2).reshape(n * h, n * w, c)


def pack_json(content: dict) -> bytes:
    """u32 length of the JSON, the JSON, and the bytes that `content` holds, the same ones once.

    In the JSON is {at, length} where such bytes stood: their place behind it.
    """
    places, payload = {}, bytearray()

    def place(part: bytes) -> dict:
        if part not in places:
            places[part] = {"at": len(payload), "length": len(part)}
            payload.extend(part)
        return places[part]

    text = json.dumps(content, default=place).encode()
    return struct.pack("<I", len(text)) + text + payload


def unpack_json(packed: bytes) -> dict:
    """What `pack_json` packed."""
    (length,) = struct.unpack_from("<I", packed)
    payload = packed[4 + length :]

    def fill(part: dict):
        return payload[part["at"] :][: part["length"]] if part.keys() == {"at", "length"} else part

    return json.loads(packed[4 : 4 + length], object_hook=fill)


def pack_decoder(decoder: nn.Module, step: int, latent_dim: int, kind: str) -> bytes:
    """The decoder's layers for the page, a linear one with weight (rows, columns) and bias (rows,) as f16.

    `kind`, the reconstruction's, says what its output means: see losses.pixel_mean. Empty when the page cannot run it.
    """
    layers = []
    plain = type(decoder).forward is nn.Sequential.forward  # a subclass may do something else with its parts
    for module in decoder if plain else [decoder]:
        if type(module) is nn.Linear and module.bias is not None:
            halves = {name: p.detach().half().cpu().numpy().tobytes() for name, p in module.named_parameters()}
            layers.append({"kind": "linear"} | halves)
        elif isinstance(module, nn.ReLU | nn.Tanh):
            layers.append({"kind": type(module).__name__.lower()})
        elif not isinstance(module, nn.Flatten | nn.Unflatten | nn.Identity):
            return b""
    if not any("weight" in layer for layer in layers):
        return b""
    return pack_json({"step": step, "latent_dim": latent_dim, "kind": kind, "layers": layers})


def shrink_decoder(packed: bytes) -> bytes:
    """A packed decoder at half its size: a layer of many weights has them as i8, and a scale f16 (rows,)."""
    if not packed:
        return packed
    decoder = unpack_json(packed)
    for layer in decoder["layers"]:
        weight = np.frombuffer(layer.get("weight", b""), "<f2").astype(np.float32)
        if weight.size >= 4096:
            weight = weight.reshape(len(layer["bias"]) // 2, -1)  # (rows, columns)
            scale = np.maximum(np.abs(weight).max(1, keepdims=True) / 127, 1e-4).astype("<f2")
            layer |= {"scale": scale.tobytes(), "weight": np.round(weight / scale).astype(np.int8).tobytes()}
    return pack_json(decoder)
