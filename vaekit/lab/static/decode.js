// The decoder in the page: what the learner drags across never waits for the kernel.

// float16 → float32 by table: one look-up a number, in every browser.
const HALF = (() => {
  const table = new Float32Array(65536);
  for (let i = 0; i < 65536; i++) {
    const sign = i & 0x8000 ? -1 : 1, exponent = (i >> 10) & 31, fraction = i & 1023;
    if (exponent === 0) table[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) table[i] = fraction ? NaN : sign * Infinity;
    else table[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return table;
})();

// A trait's bytes, copied: the message's own buffer may start at any odd address.
function bytesOf(view) {
  if (!view || !view.byteLength) return null;
  return new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength).slice();
}

function halves(bytes, offset) {
  const raw = new Uint16Array(bytes.buffer, offset), out = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = HALF[raw[i]];
  return out;
}

// u32 length, JSON, payload (see frames.pack_json)
function unpackJson(bytes) {
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return [header, 4 + length];
}

function readDecoder(view) {
  const bytes = bytesOf(view);
  if (!bytes) return null;
  const [header, offset] = unpackJson(bytes);
  let at = offset;
  const take = (n) => bytes.slice(at, (at += n));
  for (const layer of header.layers) {
    if (layer.kind !== "linear") continue;
    const size = layer.rows * layer.cols;
    layer.weight = layer.bits === 8 ? scaled(halves(take(2 * layer.rows), 0), take(size)) : halves(take(2 * size), 0);
    layer.bias = halves(take(2 * layer.rows), 0);
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

// z on the `pair` of dimensions shown, the others 0 → pixel means in 0..255, channel by channel
function decode(decoder, z, pair) {
  let h = new Float32Array(decoder.latent_dim);
  pair.forEach((dim, i) => (h[dim] = z[i]));
  for (const layer of decoder.layers) {
    if (layer.kind === "linear") h = linear(layer, h);
    else h = h.map(layer.kind === "relu" ? (v) => (v > 0 ? v : 0) : Math.tanh);
  }
  const mean = decoder.kind === "linear" ? (v) => v : (v) => 1 / (1 + Math.exp(-v)); // see losses.pixel_mean
  return Uint8ClampedArray.from(h, (v) => Math.round(255 * mean(v)));
}

// pixels [C, H, W] in 0..255 into a canvas of H × W
function paintImage(canvas, pixels, [channels, height, width]) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height), size = width * height;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[i + (channels === 3 ? c * size : 0)];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
