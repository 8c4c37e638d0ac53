// Reconstruction, KL and their weighted sum over the steps, with a mark where a knob was turned.

import { drawBands, known, legendEntry, makeBandsLegend, writeWhy } from "./bands.js";
import { floats } from "./bytes.js";
import { line, stroke, write } from "./draw.js";
import { contextOf, element, painter, SIDE_NAMES } from "./page.js";

const LINES = [
  { name: "reconstruction", column: 1, axis: "left", css: "orange", faint: true },
  { name: "total", column: 3, axis: "left", css: "grey", dash: [3, 4], style: "dotted", width: 1.5, free: true },
  { name: "KL (right axis)", column: 2, axis: "right", css: "blue", faint: true },
];
const TWIN = [
  { name: "reconstruction, left", column: 1, axis: "left", css: "orange" },
  { name: "right", column: 4, axis: "left", css: "orange", dash: [8, 4], style: "dashed" },
  { name: "KL, left (right axis)", column: 2, axis: "right", css: "blue" },
  { name: "right", column: 5, axis: "right", css: "blue", dash: [8, 4], style: "dashed" },
];
const ROWS_SEEN = 150; // as many separate values a line has, at most

// Each column's running mean over the last `window` rows: a single batch is a noisy witness.
export function smooth(rows, columns, window) {
  const out = rows.slice(), sums = new Float64Array(columns);
  for (let i = 0; i < rows.length / columns; i++)
    for (let c = 1; c < columns; c++) {
      sums[c] += rows[i * columns + c] - (i >= window ? rows[(i - window) * columns + c] : 0);
      out[i * columns + c] = sums[c] / Math.min(i + 1, window);
    }
  return out;
}

// The round numbers that hold an axis's lines: their first fall may leave the top, what is going on now may not.
export function rangeOf(rows, columns, lines, least) {
  const values = [];
  for (let i = 0; i < rows.length; i += columns) for (const { column } of lines) values.push(rows[i + column]);
  if (!values.length) return [0, 1];
  const recent = Math.max(...values.slice(-Math.ceil(values.length / 5)));
  values.sort((a, b) => a - b);
  let low = values[0], high = Math.max(recent, values[Math.floor(0.97 * (values.length - 1))]);
  if (high - low < least) [low, high] = [low - least / 2, high + least / 2];
  const unit = 10 ** Math.floor(Math.log10(high - low)) / 2;
  return [Math.max(0, Math.floor(low / unit) * unit), Math.ceil((high + 0.02 * (high - low)) / unit) * unit];
}

function makeLegend(lines, bands) {
  const entries = lines.map(({ name, css, style = "solid" }) => legendEntry(css, `4px ${style}`, name));
  return element("div", { class: "vk-legend" }, element("strong", {}, "Loss, nats per image"), ...entries, ...bands.nodes);
}

// The curves of `runs` runs: {node, ask: paints them}
export function makeCurves({ model, life, runs }) {
  const columns = 1 + 3 * runs, own = model.get("autoencoder");
  const lines = (runs > 1 ? TWIN : LINES).filter(({ css }) => !own || css === "orange");
  const canvas = element("canvas", { class: "vk-curves", role: "img" });
  const [steps, speed] = [element("span"), element("span")];
  const foot = element("div", { class: "vk-foot" }, steps, speed);
  const bands = makeBandsLegend();
  const node = element("div", {}, makeLegend(lines, bands), element("div", { class: "vk-chart" }, canvas, foot));

  function paint() {
    const [context, width, height] = contextOf(canvas);
    if (!width) return;
    const raw = floats(model.get("history")), rows = smooth(raw, columns, Math.ceil(raw.length / columns / ROWS_SEEN));
    const { why, runs: parts } = shownParts(), bottom = parts.some((some) => known(some).length) ? 0 : null;
    const chart = chartOf(canvas, context, width, height, rows, columns, lines, bottom);
    context.clearRect(0, 0, width, height);
    drawAxes(chart);
    drawMarks(chart, model.get("marks"));
    if (model.get("scrub") >= 0) drawUpright(chart, chart.x(model.get("scrub")), 3);
    context.save();
    clipTo(chart);
    for (const [i, some] of parts.entries()) for (const rows of known(some)) drawBands(chart, rows, i ? [8, 4] : []);
    drawLines(chart, raw, rows, columns, lines);
    context.restore();
    why.forEach((text, i) => writeWhy(chart, text, why.length - i));
  }
  // the KL's parts (see Meters), and why there are none now, where they are asked for
  function shownParts() {
    const { why = [], rows = [] } = (model.get("aggregated") && !own && model.get("parts")) || {};
    const named = why.map((text, i) => (text && why.length > 1 ? `${SIDE_NAMES[i]}: ${text}` : text));
    return { runs: rows.map(floats), why: named.filter(Boolean) };
  }
  function onMarks() {
    const turned = model.get("marks").map(({ step, label }) => `${step}: ${label}`).join("; ");
    const said = [...shownParts().why, ...(turned ? [`knobs turned at step ${turned}`] : [])];
    canvas.setAttribute("aria-label", ["Loss curves", ...said].join("; "));
    bands.show(shownParts().runs);
    ask();
  }
  function onStatus() {
    const { step = 0, epoch = 0, device = "", speed: now = 0 } = model.get("status");
    steps.textContent = `Step ${step.toLocaleString("en")} · epoch ${epoch.toFixed(1)}`;
    speed.textContent = `${device}${now ? ` · ${Math.round(now)} steps/s` : ""}`;
  }
  const ask = painter(life, paint, 10);
  life.trait(model, "history scrub", ask);
  life.follow(model, "marks parts aggregated", onMarks);
  life.follow(model, "status", onStatus);
  return { node, ask };
}

// What is drawn on: the box inside of the axes, and where a step and a value lie. bottom: of the right axis, if given.
function chartOf(canvas, context, width, height, rows, columns, lines, bottom) {
  const style = getComputedStyle(canvas), em = parseFloat(style.fontSize);
  const colour = (name) => style.getPropertyValue(`--vk-${name}`);
  const box = { left: 3.3 * em, right: width - 2.8 * em, top: 1.25 * em, bottom: height - 1.25 * em };
  const last = Math.max(rows[rows.length - columns] ?? 1, 1);
  const on = (axis) => lines.filter((line) => line.axis === axis && !line.free);
  const ranges = { left: rangeOf(rows, columns, on("left"), 10), right: on("right").length ? rangeOf(rows, columns, on("right"), 2) : null };
  if (bottom !== null && ranges.right) ranges.right[0] = bottom;
  return {
    ...{ context, em, box, last, ranges, colour, ink: colour("ink"), ground: colour("ground") },
    x: (step) => box.left + (step / last) * (box.right - box.left),
    y: (value, [low, high]) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top),
  };
}

// From here on nothing is drawn beyond the axes.
function clipTo({ context, box }) {
  context.beginPath();
  context.rect(box.left, box.top - 2, box.right - box.left, box.bottom - box.top + 4);
  context.clip();
}

function drawLines({ context, ranges, colour, x, y }, raw, rows, columns, lines) {
  const draw = (values, { column, axis, css }, style) =>
    stroke(context, { strokeStyle: colour(css), ...style }, () => {
      for (let i = 0; i < values.length; i += columns) context.lineTo(x(values[i]), y(values[i + column], ranges[axis]));
    });
  for (const shown of lines) {
    if (shown.faint) draw(raw, shown, { lineWidth: 1, globalAlpha: 0.25 });
    draw(rows, shown, { lineWidth: shown.width ?? 2.5, dash: shown.dash });
  }
}

function drawAxes({ context, em, box, last, ranges, colour }) {
  context.font = `${0.88 * em}px sans-serif`;
  const label = (text, css, textAlign, x, y) => {
    Object.assign(context, { fillStyle: colour(css), textAlign });
    context.fillText(text, x, y);
  };
  for (const t of [0, 0.5, 1]) {
    const y = box.bottom - t * (box.bottom - box.top);
    const at = ([low, high]) => Number((low + t * (high - low)).toPrecision(3));
    stroke(context, { strokeStyle: colour("line"), lineWidth: 1 }, () => line(context, box.left, y, box.right, y));
    label(at(ranges.left), "orange", "right", box.left - 6, y + 5);
    if (ranges.right) label(at(ranges.right), "blue", "left", box.right + 6, y + 5);
  }
  label("step 0", "soft", "left", box.left, box.bottom + 1.1 * em);
  label(Math.round(last).toLocaleString("en"), "soft", "right", box.right, box.bottom + 1.1 * em);
}

function drawUpright({ context, box, ink }, x, lineWidth, dash) {
  stroke(context, { strokeStyle: ink, lineWidth, dash }, () => line(context, x, box.top, x, box.bottom));
}

function drawMarks(chart, marks) {
  const { context, box, em, ink } = chart;
  const free = [0, 0, 0]; // the right end of the last label, above the curves and in two lines below it
  Object.assign(context, { font: `600 ${0.85 * em}px sans-serif`, textAlign: "left" });
  for (const { step, label } of marks) {
    const x = Math.max(box.left, chart.x(step)), width = context.measureText(label).width;
    const start = Math.min(x + 3, box.right - width), row = free.findIndex((end) => start >= end);
    drawUpright(chart, x, 1.5, [4, 3]);
    if (row < 0) continue; // no room: the line alone stands
    free[row] = start + width + 8;
    write(chart, label, start, box.top - 6 + 1.05 * em * row, ink);
  }
}
