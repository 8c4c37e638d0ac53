// The decoder in the page: what the learner drags across never waits for the kernel.

import { bytesOf, halves, unpackJson } from "./bytes.js";

// {step, latent_dim, kind, layers}, each linear layer with its weight and bias: see frames.pack_decoder
export function readDecoder(view) {
  const bytes = bytesOf(view);
  if (!bytes) return null;
  const [header, offset] = unpackJson(bytes);
  let at = offset;
  const take = (n) => bytes.slice(at, (at += n));
  for (const layer of header.layers) {
    if (layer.kind !== "linear") continue;
    const size = layer.rows * layer.cols;
    layer.weight = layer.bits === 8 ? scaled(halves(take(2 * layer.rows)), take(size)) : halves(take(2 * size));
    layer.bias = halves(take(2 * layer.rows));
  }
  return header;
}

// 8-bit weights, row by row, each row with a scale of its own (see frames.shrink_decoder)
function scaled(scales, bytes) {
  const columns = bytes.length / scales.length;
  return Float32Array.from(new Int8Array(bytes.buffer), (v, i) => v * scales[Math.floor(i / columns)]);
}

function linear({ rows, cols, weight, bias }, input) {
  const out = new Float32Array(rows);
  for (let r = 0, w = 0; r < rows; r++) {
    let sum = bias[r];
    for (let c = 0; c < cols; c++) sum += weight[w++] * input[c];
    out[r] = sum;
  }
  return out;
}

const ACTIVATIONS = { relu: (v) => (v > 0 ? v : 0), tanh: Math.tanh };

// z on the `pair` of dimensions shown, the others 0 → pixel means in 0..255, channel by channel
export function decode(decoder, z, pair) {
  let h = new Float32Array(decoder.latent_dim);
  pair.forEach((dim, i) => (h[dim] = z[i]));
  for (const layer of decoder.layers) h = layer.kind === "linear" ? linear(layer, h) : h.map(ACTIVATIONS[layer.kind]);
  const mean = decoder.kind === "linear" ? (v) => v : (v) => 1 / (1 + Math.exp(-v)); // see losses.pixel_mean
  return Uint8ClampedArray.from(h, (v) => Math.round(255 * mean(v)));
}
