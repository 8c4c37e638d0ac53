// The aggregated posterior q(z): the mean of all images' posteriors, and its contours.

const SQUARES = 64; // along one side of the plane

// Density of q at the corners of n × n squares over ± extent: Float64Array, row by row from below, (n + 1)² numbers.
// Each Gaussian is a product, so that its two factors are taken once for each line of corners, out to 6 σ. A posterior
// narrower than half a square counts as wide as that: it would fall between the corners.
export function density(points, extent, n = SQUARES) {
  const q = new Float64Array((n + 1) ** 2), step = (2 * extent) / n, count = points.length / 4;
  const across = new Float64Array(n + 1), up = new Float64Array(n + 1);
  const fill = (line, mu, std) => { // the first and the last line of corners that are filled
    const sigma = Math.max(std, step / 2), place = (z) => (z + extent) / step;
    const first = Math.max(0, Math.ceil(place(mu - 6 * sigma))), last = Math.min(n, Math.floor(place(mu + 6 * sigma)));
    for (let k = first; k <= last; k++) line[k] = Math.exp(-0.5 * ((k * step - extent - mu) / sigma) ** 2) / sigma;
    return [first, last];
  };
  for (let i = 0; i < count; i++) {
    const [m1, m2, s1, s2] = points.subarray(4 * i, 4 * i + 4);
    const [left, right] = fill(across, m1, s1), [low, high] = fill(up, m2, s2);
    for (let row = low; row <= high; row++) {
      const weight = up[row] / (2 * Math.PI * count), at = row * (n + 1);
      for (let k = left; k <= right; k++) q[at + k] += weight * across[k];
    }
  }
  return q;
}

// The density of the prior on its ring of radius r.
export const onRing = (r) => Math.exp(-0.5 * r * r) / (2 * Math.PI);

// Line segments [x1, y1, x2, y2] where q crosses a level, by marching squares.
export function contour(q, level, extent, n = SQUARES) {
  const step = (2 * extent) / n, segments = [], at = ([row, k]) => q[row * (n + 1) + k];
  // between two corners: the place [x, y], or none
  const crossing = (a, b) => {
    if (at(a) > level === at(b) > level) return [];
    const t = (level - at(a)) / (at(b) - at(a));
    return [[1, 0].map((i) => (a[i] + t * (b[i] - a[i])) * step - extent)];
  };
  for (let row = 0; row < n; row++)
    for (let k = 0; k < n; k++) {
      const j = row * (n + 1) + k, above = (q[j] > level) + (q[j + 1] > level) + (q[j + n + 1] > level) + (q[j + n + 2] > level);
      if (above % 4 === 0) continue; // the level passes it by
      const corners = [[row, k], [row, k + 1], [row + 1, k + 1], [row + 1, k]];
      const places = corners.flatMap((corner, i) => crossing(corner, corners[(i + 1) % 4]));
      for (let i = 0; i + 1 < places.length; i += 2) segments.push([...places[i], ...places[i + 1]]);
    }
  return segments;
}
