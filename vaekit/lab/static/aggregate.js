// The aggregated posterior q(z): the mean of all images' posteriors, and its contours.

const SQUARES = 64; // along one side of the plane

// Density of q at the corners of n × n squares over ± extent: Float64Array, row by row from below, (n + 1)² numbers.
// Each Gaussian is a product, so that its two factors are taken once for each line of corners. A posterior narrower
// than half a square counts as wide as that: it would fall between the corners.
export function density(points, extent, n = SQUARES) {
  const q = new Float64Array((n + 1) ** 2), step = (2 * extent) / n, least = step / 2, count = points.length / 4;
  const across = new Float64Array(n + 1), up = new Float64Array(n + 1);
  const fill = (line, mu, sigma) => {
    for (let k = 0; k <= n; k++) line[k] = Math.exp(-0.5 * ((k * step - extent - mu) / sigma) ** 2) / sigma;
  };
  for (let i = 0; i < count; i++) {
    const [m1, m2, s1, s2] = points.subarray(4 * i, 4 * i + 4);
    fill(across, m1, Math.max(s1, least));
    fill(up, m2, Math.max(s2, least));
    for (let row = 0, at = 0; row <= n; row++) {
      const weight = up[row] / (2 * Math.PI * count);
      if (weight < 1e-9) at += n + 1;
      else for (let k = 0; k <= n; k++) q[at++] += weight * across[k];
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
      const corners = [[row, k], [row, k + 1], [row + 1, k + 1], [row + 1, k]];
      const places = corners.flatMap((corner, i) => crossing(corner, corners[(i + 1) % 4]));
      for (let i = 0; i + 1 < places.length; i += 2) segments.push([...places[i], ...places[i + 1]]);
    }
  return segments;
}
