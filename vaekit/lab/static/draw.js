// How things in the plane look. A `scene` has the canvas's context, width and height; em, the text's size; ink, ground,
// blue, orange and yours, the theme's colours; x, y and scale, which make pixels of places; turn: see turn.js.

import { contour, onRing } from "./aggregate.js";
import { bytesOf, floats } from "./bytes.js";
import { colourOfBytes, element, paintPixels } from "./page.js";

const AREA = 3e6; // px² of ellipses in one painting; beyond it fewer are drawn, each the stronger
const CIRCLE = 2 * Math.PI;

export const axisName = (dim) => `z${String(dim + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit])}`;

// The posterior of image i: [μ₁, μ₂, σ₁, σ₂]
export const posterior = (points, i) => points.subarray(4 * i, 4 * i + 4);

// The canvas as a scene whose plane reaches from −extent to extent.
export function sceneOf(canvas, [context, width, height], extent) {
  const style = getComputedStyle(canvas), colour = (name) => style.getPropertyValue(`--vk-${name}`);
  const scale = Math.min(width, height) / 2 / extent;
  return {
    context, width, height, scale,
    x: (v) => width / 2 + v * scale,
    y: (v) => height / 2 - v * scale,
    em: parseFloat(style.fontSize),
    dark: canvas.closest(".vk-dark") !== null,
    ...{ ink: style.color, ground: colour("ground"), blue: colour("blue"), orange: colour("orange"), yours: colour("yours") },
  };
}

// Text with a rim in the ground's colour, so that it is read over whatever lies there.
export function write({ context, ground }, text, x, y, colour, rim = 4) {
  Object.assign(context, { lineJoin: "round", lineWidth: rim, strokeStyle: ground, fillStyle: colour });
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

function font({ context, em }, weight, size, textAlign = "left", textBaseline = "alphabetic") {
  Object.assign(context, { font: `${weight} ${size * em}px sans-serif`, textAlign, textBaseline });
}

// Strokes a path in a style of the context's own properties, and `dash`.
export function stroke(context, { dash = [], ...style }, path) {
  context.save();
  Object.assign(context, style);
  context.setLineDash(dash);
  context.beginPath();
  path();
  context.stroke();
  context.restore();
}

// A line to stroke
export function line(context, x1, y1, x2, y2) {
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
}

// Strokes a path twice: broad in the ground's colour, then in its own.
function strokeWithRim({ context, ground }, colour, width, rim, path) {
  stroke(context, { strokeStyle: ground, lineWidth: rim }, path);
  stroke(context, { strokeStyle: colour, lineWidth: width }, path);
}

// The whole plane. The scene has points, turned already, classes and colours as well; of what else is shown some may be
// missing.
export function drawPlane(scene, { backdrop, rings, prior, aggregated, truth, digits, chosen, yours, pointer, pair, extent }) {
  const { context, width, height, ground } = scene;
  context.fillStyle = ground;
  context.fillRect(0, 0, width, height);
  if (backdrop) drawBackdrop(scene, backdrop);
  drawEllipses(scene);
  drawDots(scene, digits);
  if (rings) drawRings(scene, prior);
  if (aggregated) drawAggregate(scene, aggregated);
  drawChosen(scene, chosen);
  if (truth) drawTruth(scene, truth);
  if (scene.ramp) drawRamp(scene);
  else if (scene.classes.length) drawNumerals(scene);
  if (rings) drawRingNames(scene, prior);
  if (yours?.length) drawYours(scene, yours);
  drawPointer(scene, pointer);
  drawScale(scene, pair, extent);
}

function drawBackdrop({ context, x, y, scale, dark }, backdrop) {
  const half = backdrop.extent * scale;
  context.globalAlpha = dark ? 0.24 : 0.16; // it must never compete with the cloud
  context.imageSmoothingEnabled = true;
  context.drawImage(dark ? backdrop.light : backdrop.dark, x(0) - half, y(0) - half, 2 * half, 2 * half);
  context.globalAlpha = 1;
}

function drawRings({ context, x, y, scale, ink }, on) {
  const style = { strokeStyle: ink, lineWidth: 1.5, globalAlpha: on ? 0.85 : 0.3, dash: [6, 5] };
  for (const r of [1, 2, 3]) stroke(context, style, () => context.arc(x(0), y(0), r * scale, 0, CIRCLE));
}

// q(z) as contours at the heights that the prior has on its rings: where they are the rings, q(z) is the prior.
function drawAggregate(scene, { q, reach }) {
  for (const r of [1, 2, 3]) strokeSegments(scene, scene.orange, contour(q, onRing(r), reach));
}

// Line segments [x1, y1, x2, y2], not turned yet; place(x, y) → where they lie in the plane
function strokeSegments(scene, colour, segments, place = (x, y) => [x, y]) {
  const pixels = (x, y) => {
    const [z1, z2] = scene.turn.there(place(x, y));
    return [scene.x(z1), scene.y(z2)];
  };
  strokeWithRim(scene, colour, 2.5, 5, () => {
    for (const [x1, y1, x2, y2] of segments) line(scene.context, ...pixels(x1, y1), ...pixels(x2, y2));
  });
}

// The rings' names, over all that may lie upon the rings.
function drawRingNames(scene, on) {
  font(scene, 600, 0.9);
  scene.context.globalAlpha = on ? 0.85 : 0.3;
  for (const r of [1, 2, 3]) write(scene, `${r}σ`, scene.x(r * 0.72) + 4, scene.y(r * 0.72) - 2, scene.ink, 3);
  scene.context.globalAlpha = 1;
}

// Labels {x, y} that would cover each other give way, by `most` px at most; sorted out in a few rounds.
export function spread(labels, room, most) {
  const places = labels.map(({ x, y }) => ({ x, y }));
  for (let round = 0; round < 6; round++)
    for (const [i, a] of labels.entries())
      for (const b of labels.slice(i + 1)) push(a, b, room);
  labels.forEach((label, i) => {
    const { x, y } = places[i], dx = label.x - x, dy = label.y - y;
    const part = Math.min(1, most / (Math.hypot(dx, dy) || 1));
    Object.assign(label, { x: x + part * dx, y: y + part * dy });
  });
}

// Two labels nearer than `room` to each other are pushed as far apart, each by half the way.
function push(a, b, room) {
  const dx = b.x - a.x, dy = b.y - a.y, apart = Math.hypot(dx, dy), half = Math.max(0, (room - apart) / 2);
  const [ux, uy] = apart ? [dx / apart, dy / apart] : [1, 0];
  Object.assign(a, { x: a.x - half * ux, y: a.y - half * uy });
  Object.assign(b, { x: b.x + half * ux, y: b.y + half * uy });
}

// Image i's colour: of its class, or of how much of a factor it has.
const colourOf = ({ classes, colours, ramp, shades }, i) =>
  ramp ? ramp[shades[i] >> 4] : colours[(classes[i] ?? 0) % colours.length];

// The scale of the colours, where they stand for a factor.
function drawRamp(scene) {
  const { context, width, em, ramp, factor, ink } = scene, step = 0.55 * em, left = width - step * ramp.length - 2 * em;
  ramp.forEach((colour, i) => {
    context.fillStyle = colour;
    context.fillRect(left + i * step, 1.6 * em, step + 1, 0.7 * em);
  });
  font(scene, 600, 0.9);
  write(scene, factor, left, 1.3 * em, ink);
  write(scene, "0", left - 0.8 * em, 2.25 * em, ink);
  write(scene, "1", width - 1.8 * em, 2.25 * em, ink);
}

// Soft ellipses of 2 σ: the more lie upon each other, the fainter each, so that about half shows through the heap.
function drawEllipses(scene) {
  const { context, x, y, scale, points, turn } = scene;
  const count = points.length / 4;
  let area = 0, reach = 0;
  for (let i = 0; i < count; i++) {
    const [m1, m2, s1, s2] = posterior(points, i);
    area += 2 * CIRCLE * s1 * s2;
    reach += (m1 * m1 + m2 * m2 + 2 * (s1 * s1 + s2 * s2)) / count;
  }
  const every = Math.max(1, Math.ceil((area * scale ** 2) / AREA));
  const depth = area / every / (CIRCLE * reach);
  context.globalAlpha = Math.min(0.28, 1 - 0.45 ** (1 / depth));
  for (let i = 0; i < count; i += every) {
    const [m1, m2, s1, s2] = posterior(points, i);
    if (2 * s1 * scale < 1.5 && 2 * s2 * scale < 1.5) continue; // the dot covers it
    context.fillStyle = colourOf(scene, i);
    context.beginPath();
    context.ellipse(x(m1), y(m2), 2 * s1 * scale, 2 * s2 * scale, turn.tilt, 0, CIRCLE);
    context.fill();
  }
  context.globalAlpha = 1;
}

function drawDots(scene, digits) {
  const { context, points, classes } = scene, radius = scene.em / 8;
  font(scene, 600, 0.75, "center", "middle");
  for (let i = 0; i < points.length / 4; i++) {
    context.fillStyle = colourOf(scene, i);
    const x = scene.x(points[4 * i]), y = scene.y(points[4 * i + 1]);
    if (digits && classes.length) context.fillText(classes[i], x, y);
    else {
      context.beginPath();
      context.arc(x, y, radius, 0, CIRCLE);
      context.fill();
    }
  }
}

// The centre of each class in the plane: [{c, x, y}]
export function centres(points, classes) {
  const sums = new Map();
  classes.slice(0, points.length / 4).forEach((c, i) => {
    const sum = sums.get(c) ?? sums.set(c, { c, x: 0, y: 0, n: 0 }).get(c);
    sum.x += points[4 * i];
    sum.y += points[4 * i + 1];
    sum.n += 1;
  });
  return [...sums.values()].map(({ c, x, y, n }) => ({ c, x: x / n, y: y / n }));
}

// The classes' numerals at their centres; where all centres are one, one label says so.
function drawNumerals(scene) {
  const { points, classes, colours } = scene;
  const found = centres(points, classes), all = found.map(({ c }) => c), colour = (c) => colours[c % colours.length];
  let labels = found.map(({ c, x, y }) => ({ text: `${c}`, x: scene.x(x), y: scene.y(y), colour: colour(c) }));
  const [{ x, y }] = labels;
  if (labels.length > 1 && labels.every((label) => Math.hypot(label.x - x, label.y - y) < 16))
    labels = [{ text: `${Math.min(...all)} to ${Math.max(...all)}`, x, y, colour: scene.ink }];
  spread(labels, 1.3 * scene.em, 2 * scene.em);
  font(scene, 800, 1.4, "center", "middle");
  for (const label of labels) write(scene, label.text, label.x, label.y, label.colour, 5);
}

// The chosen image's posterior: an ellipse at σ and at 2 σ
function drawChosen(scene, i) {
  const { context, x, y, scale, points, turn } = scene;
  if (!(4 * i < points.length)) return;
  const [m1, m2, s1, s2] = posterior(points, i);
  for (const k of [1, 2])
    strokeWithRim(scene, scene.ink, 2.5, 5, () =>
      context.ellipse(x(m1), y(m2), Math.max(k * s1 * scale, 4 * k), Math.max(k * s2 * scale, 4 * k), turn.tilt, 0, CIRCLE));
}

// The chosen image's true posterior (see pictures.true_posterior): contours that hold as much of it as the ellipses of σ and 2 σ hold of q(z|x).
function drawTruth(scene, { centre, scale, reach, squares, levels, weights }) {
  const density = floats(weights), place = (x, y) => [centre[0] + scale[0] * x, centre[1] + scale[1] * y];
  for (const level of levels) strokeSegments(scene, scene.yours, contour(density, level, reach, squares), place);
}

// The learner's own digit: a star in its posterior's ellipse of 2 σ; one that lies outside is shown at the border.
function drawYours(scene, [m1, m2, s1, s2]) {
  const { context, width, height, em, scale, yours } = scene, inside = (v, most) => Math.min(most - em, Math.max(em, v));
  const x = inside(scene.x(m1), width), y = inside(scene.y(m2), height), right = x > width / 2;
  const outside = Math.hypot(x - scene.x(m1), y - scene.y(m2)) > em;
  const [across, up] = outside ? [0, 0] : [2 * s1 * scale, 2 * s2 * scale];
  strokeWithRim(scene, yours, 3, 7, () => context.ellipse(x, y, across, up, scene.turn.tilt, 0, CIRCLE));
  font(scene, 800, 1.5, "center", "middle");
  write(scene, "★", x, y, yours, 7);
  font(scene, 800, 1.1, right ? "right" : "left");
  const beside = Math.max(0.6 * em, 0.8 * across) * (right ? -1 : 1), above = Math.max(0.6 * em, 0.8 * up);
  write(scene, outside ? "yours, outside" : "yours", x + beside, Math.max(1.1 * em, y - above), yours, 7);
}

function drawPointer(scene, [z1, z2]) {
  const { context } = scene, x = scene.x(z1), y = scene.y(z2);
  strokeWithRim(scene, scene.blue, 3, 6, () => {
    line(context, x - 14, y, x + 14, y);
    line(context, x, y - 14, x, y + 14);
  });
}

// The names of the axes, and how far the plane reaches.
function drawScale(scene, [across, up], extent) {
  const { width, height, em, ink, context, turn } = scene;
  font(scene, 600, 0.9);
  write(scene, `↑ ${axisName(up)}${turn.mark}`, 8, em + 6, ink);
  write(scene, `view ±${extent.toFixed(1)}, follows the cloud`, 8, height - 9, ink);
  context.textAlign = "right";
  write(scene, `${axisName(across)}${turn.mark} →`, width - 8, height - 9, ink);
}

// The decoded images behind the cloud, in an ink for each theme: {extent, dark, light}
export function readBackdrop(found) {
  if (!found?.pixels) return null;
  const { extent, size: [rows, columns], channels } = found, pixels = bytesOf(found.pixels);
  const coloured = (i) => colourOfBytes(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]);
  const tinted = (ink) =>
    paintPixels(element("canvas"), columns, rows, channels === 3 ? coloured : (i) => colourOfBytes(ink, ink, ink, pixels[i]));
  return { extent, dark: tinted(40), light: tinted(225) };
}
