"""What goes to the page: dictionaries of numbers, texts and little-endian bytes, as the docstrings say."""

import json
import struct
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

LEAST = 3.8  # of the plane's extent: the prior's 3 σ ring is always there
MOST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Frame:
    """The shown images' posteriors on the chosen pair of dimensions, as numpy float32 on the CPU."""

    number: int  # counts frames
    step: int
    mu: np.ndarray  # (N, 2)
    std: np.ndarray  # (N, 2)
    extent: float  # the plane shows ± extent in both directions
    beta: float  # effective: 0 with the prior off

    def state(self, most: int | None = None) -> dict:
        """Return number, step, extent, beta; points: of all images, or of the first, f16 μ₁ μ₂ σ₁ σ₂ each."""
        points = np.concatenate([self.mu, self.std], 1)[:most].clip(-MOST, MOST).astype("<f2").tobytes()
        return {"number": self.number, "step": self.step, "extent": self.extent, "beta": self.beta, "points": points}


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


def decoder_state(decoder: nn.Module, step: int, latent_dim: int, kind: str) -> dict:
    """Return step, latent_dim, kind, layers, a linear one with weight (rows, columns) and bias (rows,) as f16.

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
            return {}
    if not any("weight" in layer for layer in layers):
        return {}
    return {"step": step, "latent_dim": latent_dim, "kind": kind, "layers": layers}


def shrunk(decoder: dict) -> dict:
    """A decoder's state at half its size: a layer of many weights has them as i8, and a scale f16 (rows,)."""
    layers = list(decoder.get("layers", ()))
    for i, layer in enumerate(layers):
        weight = np.frombuffer(layer.get("weight", b""), "<f2").astype(np.float32)
        if weight.size >= 4096:
            weight = weight.reshape(len(layer["bias"]) // 2, -1)  # (rows, columns)
            scale = np.maximum(np.abs(weight).max(1, keepdims=True) / 127, 1e-6).astype("<f2")
            small = np.round(weight / scale).astype(np.int8)
            layers[i] = layer | {"scale": scale.tobytes(), "weight": small.tobytes()}
    return decoder | {"layers": layers} if layers else decoder
