// Reconstruction, KL and their weighted sum over the steps, with a mark where a knob was turned.

const LINES = [
  { name: "reconstruction", column: 1, axis: "left", css: "--vk-orange" },
  { name: "total", column: 3, axis: "left", css: "--vk-grey", dash: [3, 4] },
  { name: "KL", column: 2, axis: "right", css: "--vk-blue" },
];
const TWIN = [
  { name: "reconstruction, left", column: 1, axis: "left", css: "--vk-orange" },
  { name: "right", column: 4, axis: "left", css: "--vk-orange", dash: [8, 4] },
  { name: "KL, left", column: 2, axis: "right", css: "--vk-blue" },
  { name: "right", column: 5, axis: "right", css: "--vk-blue", dash: [8, 4] },
];
const columnsOf = (runs) => 1 + 3 * runs; // step, and of each run reconstruction, KL, total

function readHistory(view) {
  const bytes = bytesOf(view);
  return bytes ? new Float32Array(bytes.buffer) : new Float32Array(0);
}

// each column's running mean over the last `window` rows: a single batch is a noisy witness
function smooth(rows, columns, window) {
  const out = rows.slice(), sums = new Float64Array(columns);
  for (let i = 0; i < rows.length / columns; i++)
    for (let c = 1; c < columns; c++) {
      sums[c] += rows[i * columns + c] - (i >= window ? rows[(i - window) * columns + c] : 0);
      out[i * columns + c] = sums[c] / Math.min(i + 1, window);
    }
  return out;
}

// the round numbers that hold an axis's lines: their first fall may leave the top, what is going on now may not
function rangeOf(rows, columns, shown, least) {
  const values = [];
  for (let i = 0; i < rows.length; i += columns) for (const { column } of shown) values.push(rows[i + column]);
  if (!values.length) return [0, 1];
  const recent = Math.max(...values.slice(-Math.ceil(values.length / 5)));
  values.sort((a, b) => a - b);
  let low = values[0], high = Math.max(recent, values[Math.floor(0.97 * (values.length - 1))]);
  if (high - low < least) [low, high] = [low - least / 2, high + least / 2];
  const unit = 10 ** Math.floor(Math.log10(high - low)) / 2;
  return [Math.max(0, Math.floor(low / unit) * unit), Math.ceil((high + 0.02 * (high - low)) / unit) * unit];
}

function render({ model, el }) {
  const life = lifetime(), runs = model.get("runs"), columns = columnsOf(runs), lines = runs > 1 ? TWIN : LINES;
  const legend = element("div", { class: "vk-legend" }, element("strong", {}, "Loss, nats per image"));
  for (const { name, css, axis, dash } of lines) {
    const swatch = element("span", { class: "vk-swatch" });
    swatch.style.borderColor = `var(${css})`;
    swatch.style.borderTopStyle = !dash ? "solid" : dash[0] > 4 ? "dashed" : "dotted";
    const key = element("span", {}, swatch, axis === "right" && !dash ? `${name} (right axis)` : name);
    key.style.color = `var(${css})`;
    legend.append(key);
  }
  const canvas = element("canvas", { class: "vk-curves", role: "img", "aria-label": "Loss curves" });
  const [left, right] = [element("span"), element("span")];
  const foot = element("div", { class: "vk-foot" }, left, right);
  const root = element("div", { class: "vk-lab" }, legend, canvas, foot);
  el.replaceChildren(root);

  let em = 16;

  function paint() {
    const [context, width, height] = contextOf(canvas);
    if (!width) return false;
    const raw = readHistory(model.get("history")), style = getComputedStyle(root);
    const rows = smooth(raw, columns, Math.ceil(raw.length / columns / 150));
    const colour = (name) => style.getPropertyValue(name);
    em = parseFloat(style.fontSize);
    const box = { left: 3.3 * em, right: width - 2.8 * em, top: 1.25 * em, bottom: height - 1.25 * em };
    const count = rows.length / columns, first = 0;
    const last = Math.max(rows[(count - 1) * columns] ?? 1, 1);
    const x = (step) => box.left + ((step - first) / (last - first)) * (box.right - box.left);
    const on = (axis) => lines.filter((line) => line.axis === axis && line.name !== "total");
    const ranges = { left: rangeOf(rows, columns, on("left"), 10), right: rangeOf(rows, columns, on("right"), 2) };
    const y = (value, axis) => {
      const [low, high] = ranges[axis];
      return box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    };
    context.clearRect(0, 0, width, height);
    drawAxes(context, box, ranges, first, last, colour);
    drawMarks(context, box, x, last, colour);
    if (model.get("scrub") >= 0) drawScrub(context, box, x(model.get("scrub")), colour);
    context.save();
    context.beginPath();
    context.rect(box.left, box.top - 2, box.right - box.left, box.bottom - box.top + 4);
    context.clip();
    const line = (values, column, axis) => {
      context.beginPath();
      for (let i = 0; i < count; i++) context.lineTo(x(values[i * columns]), y(values[i * columns + column], axis));
      context.stroke();
    };
    for (const { column, axis, css, dash } of lines) {
      context.strokeStyle = colour(css);
      context.globalAlpha = 0.25;
      context.lineWidth = 1;
      context.setLineDash([]);
      if (!dash && runs === 1) line(raw, column, axis);
      context.globalAlpha = 1;
      context.lineWidth = dash && runs === 1 ? 1.5 : 2.5;
      context.setLineDash(dash ?? []);
      line(rows, column, axis);
    }
    context.restore();
    root.dataset.rows = count;
    root.dataset.marks = model.get("marks").map(({ step, label }) => `${step}: ${label}`).join("; ");
    return false;
  }

  function drawAxes(context, box, ranges, first, last, colour) {
    context.font = `${0.88 * em}px sans-serif`;
    context.setLineDash([]);
    context.strokeStyle = colour("--vk-line");
    context.lineWidth = 1;
    for (const t of [0, 0.5, 1]) {
      const at = box.bottom - t * (box.bottom - box.top);
      context.beginPath();
      context.moveTo(box.left, at);
      context.lineTo(box.right, at);
      context.stroke();
      for (const [axis, edge, align, css] of [["left", box.left - 6, "right", "--vk-orange"], ["right", box.right + 6, "left", "--vk-blue"]]) {
        const [low, high] = ranges[axis], value = low + t * (high - low);
        context.textAlign = align;
        context.fillStyle = colour(css);
        context.fillText(Number(value.toPrecision(3)), edge, at + 5);
      }
    }
    context.fillStyle = colour("--vk-soft");
    context.textAlign = "left";
    context.fillText(`step ${Math.round(first).toLocaleString("en")}`, box.left, box.bottom + 1.1 * em);
    context.textAlign = "right";
    context.fillText(Math.round(last).toLocaleString("en"), box.right, box.bottom + 1.1 * em);
  }

  function drawMarks(context, box, x, last, colour) {
    context.font = `600 ${0.85 * em}px sans-serif`;
    context.textAlign = "left";
    context.lineJoin = "round";
    const free = [0, 0, 0]; // the right end of the last label, above the curves and in two lines below it
    for (const { step, label } of model.get("marks")) {
      const at = Math.max(box.left, x(step));
      context.strokeStyle = context.fillStyle = colour("--vk-ink");
      context.lineWidth = 1.5;
      context.setLineDash([4, 3]);
      context.beginPath();
      context.moveTo(at, box.top);
      context.lineTo(at, box.bottom);
      context.stroke();
      context.setLineDash([]);
      const width = context.measureText(label).width;
      const start = Math.min(at + 3, box.right - width);
      const row = free.findIndex((end) => start >= end);
      if (row < 0) continue; // no room: the line alone stands
      free[row] = start + width + 8;
      const text = [label, start, box.top - 6 + 1.05 * em * row];
      context.strokeStyle = colour("--vk-ground"); // a rim, where curves run behind
      context.lineWidth = 4;
      context.strokeText(...text);
      context.fillText(...text);
    }
  }

  function drawScrub(context, box, at, colour) {
    context.strokeStyle = colour("--vk-ink");
    context.lineWidth = 3;
    context.beginPath();
    context.moveTo(at, box.top);
    context.lineTo(at, box.bottom);
    context.stroke();
  }

  function onStatus() {
    const { step = 0, epoch = 0, device = "", speed = 0 } = model.get("status");
    left.textContent = `Step ${step.toLocaleString("en")} · epoch ${epoch.toFixed(1)}`;
    right.textContent = `${device}${speed ? ` · ${Math.round(speed)} steps/s` : ""}`;
  }

  const ask = painter(paint, 10);
  life.also(ask.stop);
  life.trait(model, "history marks scrub", ask);
  life.trait(model, "status", onStatus);
  whenLooksChange(life, root, ask);
  onStatus();
  ask();
  return life.end;
}

export default { render };
