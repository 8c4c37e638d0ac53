// The decoder in the page: what the learner drags across never waits for the kernel.

import { bytesOf, halves } from "./bytes.js";

// {step, latent_dim, kind, layers}, each linear layer with its weight and bias: see frames.decoder_state
export function readDecoder(decoder) {
  const read = ({ scale, weight, bias, ...about }) =>
    weight ? { ...about, weight: scale ? scaled(halves(scale), bytesOf(weight)) : halves(weight), bias: halves(bias) } : about;
  return decoder?.layers ? { ...decoder, layers: decoder.layers.map(read) } : null;
}

// 8-bit weights, row by row, each row with a scale of its own (see frames.shrunk)
function scaled(scales, bytes) {
  const columns = bytes.length / scales.length;
  return new Float32Array(new Int8Array(bytes.buffer)).map((v, i) => v * scales[Math.floor(i / columns)]);
}

const linear = ({ weight, bias }, input) =>
  bias.map((sum, row) => {
    for (let c = 0, w = row * input.length; c < input.length; c++) sum += weight[w++] * input[c];
    return sum;
  });

const ACTIVATIONS = { relu: (v) => (v > 0 ? v : 0), tanh: Math.tanh };

// z on the `pair` of dimensions shown, the others 0 → pixel means in 0..255, channel by channel
export function decode(decoder, z, pair) {
  let h = new Float32Array(decoder.latent_dim);
  pair.forEach((dim, i) => (h[dim] = z[i]));
  for (const layer of decoder.layers) h = layer.kind === "linear" ? linear(layer, h) : h.map(ACTIVATIONS[layer.kind]);
  const mean = decoder.kind === "linear" ? (v) => v : (v) => 1 / (1 + Math.exp(-v)); // see losses.pixel_mean
  return Uint8ClampedArray.from(h, (v) => Math.round(255 * mean(v)));
}
