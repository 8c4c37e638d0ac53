// What the kernel sends as bytes, read. vaekit/lab/frames.py packs it, and has each layout.

// float16 → float32 by table: one look-up a number, in every browser.
const HALF = Float32Array.from({ length: 65536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
});

// A trait's bytes, copied: the message's own buffer may start at any odd address. null when there are none.
export function bytesOf(view) {
  if (!view?.byteLength) return null;
  return new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength).slice();
}

// float16 numbers → float32; a loop takes a decoder in 1 ms, Float32Array.from in 30
export function halves(view) {
  const bits = new Uint16Array(bytesOf(view)?.buffer ?? 0), found = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) found[i] = HALF[bits[i]];
  return found;
}

// What frames.pack_json packed: an object, with bytes in it; null when there is none.
export function unpack(view) {
  const bytes = bytesOf(view);
  if (!bytes) return null;
  const start = 4 + new DataView(bytes.buffer).getUint32(0, true), text = new TextDecoder().decode(bytes.subarray(4, start));
  const fill = (_, value) =>
    Object.hasOwn(Object(value), "at") ? bytes.slice(start + value.at, start + value.at + value.length) : value;
  return JSON.parse(text, fill);
}

// The cloud at one step; points: μ₁ μ₂ σ₁ σ₂ of each image.
export const readFrame = (frame) => (frame?.points ? { ...frame, points: halves(frame.points) } : null);

// float32 numbers, such as the curves' rows, one after the other: see History
export const floats = (view) => new Float32Array(bytesOf(view)?.buffer ?? 0);
