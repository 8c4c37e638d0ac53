"""What goes to the page, as bytes: little-endian, each message laid out in the docstring that packs it."""

import json
import struct
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

FRAME_HEADER = struct.Struct("<IIIff")
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


def view_extent(mu: np.ndarray, std: np.ndarray, now: float, least: float = 3.8) -> float:
    """How far the plane should reach: steps of a quarter, out at once, back only when there is room.

    mu, std: (N, 2). `now` is the extent shown; `least` always holds the prior's 3 σ ring.
    """
    sizes, extent = np.abs(mu) + std, max(now, least)
    if not np.isfinite(sizes).all():
        return extent
    reach = float(np.quantile(sizes, 0.995)) if len(mu) else 0.0
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


def pack_json(header: dict, payload: bytes = b"") -> bytes:
    """u32 length of the JSON, the JSON padded with spaces to a multiple of 4, the payload.

    Bytes in the header come behind the payload, the same ones once; in the JSON is {at, length}, their place in it.
    """
    payload, places = bytearray(payload), {}

    def place(part: bytes) -> dict:
        if part not in places:
            places[part] = {"at": len(payload), "length": len(part)}
            payload.extend(part)
        return places[part]

    text = json.dumps(header, default=place).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + payload


def pack_decoder(decoder: nn.Module, step: int, latent_dim: int, kind: str) -> bytes:
    """The decoder for the page: layers as JSON, weights as f16. Empty when the page cannot run these layers.

    `kind`, the reconstruction's, says what its output means: see losses.pixel_mean. A linear layer has `rows`
    and `cols`; its weight (rows, cols) and bias (rows,) follow each other in the payload.
    """
    layers, payload = [], []
    plain = type(decoder).forward is nn.Sequential.forward  # a subclass may do something else with its parts
    for module in decoder if plain else [decoder]:
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
    return pack_json({"step": step, "latent_dim": latent_dim, "kind": kind, "layers": layers}, flat.tobytes())


def shrink_decoder(packed: bytes, least: int = 4096) -> bytes:
    """A packed decoder at half its size: layers of `least` weights and more as 8-bit whole numbers, row by row.

    Such a layer has `bits` 8; its payload is f16 scale (rows,), i8 weight (rows, cols), f16 bias (rows,).
    """
    if not packed:
        return packed
    header, payload = unpack_json(packed)
    weights, parts = np.frombuffer(payload, "<f2"), []
    for layer in header["layers"]:
        if layer["kind"] != "linear":
            continue
        rows, size = layer["rows"], layer["rows"] * layer["cols"]
        weight, bias, weights = np.split(weights, [size, size + rows])
        if size >= least:
            layer["bits"] = 8
            weight = weight.reshape(rows, -1).astype(np.float32)
            scale = (np.abs(weight).max(1, keepdims=True) / 127).astype("<f2")
            weight = np.round(weight / np.maximum(scale.astype(np.float32), 1e-12)).clip(-127, 127).astype(np.int8)
            parts.append(scale.tobytes())
        parts += [weight.tobytes(), bias.tobytes()]
    return pack_json(header, b"".join(parts))


def unpack_json(packed: bytes) -> tuple[dict, bytes]:
    """What `pack_json` packed: the JSON and the payload."""
    (length,) = struct.unpack_from("<I", packed)
    return json.loads(packed[4 : 4 + length]), packed[4 + length :]
