// The code turned in the plane by `degrees`: z′ = R z. The kernel sends places as they were; the page turns them, of the
// past as well, and turns them back for the decoder.
export function turnBy(degrees) {
  const angle = (degrees * Math.PI) / 180, c = Math.cos(angle), s = Math.sin(angle);
  const there = ([x, y, ...rest]) => [c * x - s * y, s * x + c * y, ...rest];
  return {
    there,
    back: ([x, y]) => [c * x + s * y, c * y - s * x],
    // points μ₁ μ₂ σ₁ σ₂: their ellipses keep their σ, and are tilted
    points(given) {
      const turned = given.slice();
      for (let i = 0; i < given.length; i += 4) turned.set(there(given.subarray(i, i + 2)), i);
      return turned;
    },
    tilt: -angle, // on a canvas, whose y points down
    reach: Math.abs(c) + Math.abs(s), // of a turned square that holds one of reach 1
    mark: degrees ? "′" : "", // of the turned dimensions' names
  };
}
