// The KL in its two parts, as bands under its curve: I(x; z), and upon it KL(q(z) ‖ p(z)).

import { stroke, write } from "./draw.js";
import { element } from "./page.js";

const PARTS = [{ name: "I(x; z)", alpha: 0.5 }, { name: "KL(q(z) ‖ p(z))", alpha: 0.2 }];

// Rows of step, I(x; z), KL(q(z) ‖ p(z)) → lists of such rows without a gap, where both are known; neither below 0.
export function known(rows) {
  const stretches = [[]];
  for (let i = 0; i < rows.length; i += 3) {
    const [step, ...nats] = rows.subarray(i, i + 3);
    if (nats.every(Number.isFinite)) stretches.at(-1).push([step, ...nats.map((v) => Math.max(0, v))]);
    else stretches.push([]);
  }
  return stretches.filter((stretch) => stretch.length);
}

// An entry of a legend: a swatch, which is a border in the words' colour, and the words
export const legendEntry = (css, border, words) =>
  element("span", { style: `color: var(--vk-${css})` }, element("span", { class: "vk-swatch", style: `border-top: ${border}` }), words);

// The legend of the bands, with the last numbers of each run: {nodes, show(runs)}
export function makeBandsLegend() {
  const texts = PARTS.map(() => element("span"));
  const nodes = PARTS.map(({ alpha }, k) => legendEntry("blue", `0.8em solid; opacity: ${alpha}`, texts[k]));
  function show(runs) {
    const last = runs.map((rows) => [...rows.subarray(-2)].map((nats) => (Number.isFinite(nats) ? nats.toFixed(1) : "–")));
    for (const node of nodes) node.hidden = !runs.some((rows) => known(rows).length);
    PARTS.forEach(({ name }, k) => (texts[k].textContent = `${name} ${last.map((nats) => nats[k]).join(" / ")}`));
  }
  return { nodes, show };
}

// I(x; z) from 0 upwards, and KL(q(z) ‖ p(z)) upon it: together the KL.
export function drawBands({ context, ranges, colour, x, y }, rows, dash) {
  const edges = [() => 0, ([, information]) => information, ([, information, rest]) => information + rest];
  const [floor, middle, top] = edges.map((nats) => rows.map((row) => [x(row[0]), y(nats(row), ranges.right)]));
  const path = (places) => places.forEach((place) => context.lineTo(...place));
  context.fillStyle = colour("blue");
  for (const [k, [below, above]] of [[floor, middle], [middle, top]].entries()) {
    context.globalAlpha = PARTS[k].alpha;
    context.beginPath();
    path([...above, ...[...below].reverse()]);
    context.fill();
  }
  context.globalAlpha = 1;
  stroke(context, { strokeStyle: colour("blue"), lineWidth: 1, dash }, () => path(middle));
}

// In the place of the bands; `line`: counted from below.
export function writeWhy(chart, text, line) {
  const { context, box, em, colour } = chart;
  Object.assign(context, { font: `600 ${0.88 * em}px sans-serif`, textAlign: "center" });
  write(chart, text, (box.left + box.right) / 2, box.bottom - (1.2 * line - 0.6) * em, colour("blue"), 8);
}
