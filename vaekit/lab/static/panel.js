// What stands beside and below the planes: under the pointer, the chosen image, the meters, the dimensions.

import { bytesOf } from "./bytes.js";
import { axisName } from "./draw.js";
import { element, paintImages, SIDE_NAMES, tell } from "./page.js";
import { turnBy } from "./turn.js";

// of meters, where two runs share the room, or more than eight stand there
const SHORT = { "spread of means": "spread", "active units": "active", completeness: "complete", reconstruction: "recon." };

// of meters, measured on the two dimensions that are shown
const IN_PLANE = ["overlap", "continuity", "completeness"];

// "z₁ = 0.52 ± 0.11" in one piece, wherever the line ends
export const unbroken = (words) => words.replace(/ ([=±]) /g, "\u00a0$1\u00a0");

export const titled = (title, note, ...children) =>
  element("section", {}, element("h4", {}, title, " ", note), ...children);

const makeCanvases = (count, name) => Array.from({ length: count }, () => element("canvas", { class: name }));

// `count` canvases in a row with a caption: {canvases, node}
function pictures(caption, count) {
  const canvases = makeCanvases(count, "vk-thumb");
  const row = element("div", { class: "vk-row" }, ...canvases);
  return { canvases, node: element("figure", {}, row, element("figcaption", {}, caption)) };
}

// An image and what each of `count` runs makes of it: {node, drawn, paint(i, bytes, shape)}; bytes: x, x̂ at μ, three
// draws, which are in the row `drawn`. `own`: an autoencoder's, which has no μ.
export function makeChosen(count, own = false) {
  const original = pictures("x", 1), names = count > 1 ? SIDE_NAMES.map((name) => `${name}: `) : [""];
  const means = names.map((name) => pictures(count > 1 || own ? `${name}x̂` : "x̂ at μ", 1));
  const draws = names.map((name) => pictures(own ? "code + σ ε" : count > 1 ? `${name}draws` : "draws from q(z|x)", 3));
  const row = (name, parts) => element("div", { class: `vk-row ${name}` }, ...parts.map(({ node }) => node));
  const drawn = row("vk-draws", draws), node = element("div", { class: "vk-row vk-chosen" }, row("vk-means", [original, ...means]), drawn);
  const paint = (i, bytes, shape) =>
    paintImages([original, means[i], draws[i]].flatMap(({ canvases }) => canvases), bytes, shape);
  return { node, drawn, paint };
}

// The panel for one run or two, with the pad and the dimensions: its node, and functions that fill it.
export function makePanel(planes, pad, dimensions) {
  const twin = planes.length > 1, models = planes.map(({ model }) => model);
  const z = element("output", { class: "vk-z" }), words = element("output", { class: "vk-words" });
  const hint = element("p", { class: "vk-hint" }, twin
    ? "Drag in a plane: both decoders follow. Click a point: its image is found in both."
    : "Drag in the plane: the decoder follows. Click a point to choose its image.");
  const under = planes.map(({ pointer }, i) =>
    twin ? element("figure", {}, pointer, element("figcaption", {}, SIDE_NAMES[i])) : pointer);
  const own = models[0].get("autoencoder"), chosen = makeChosen(planes.length, own), title = element("b", {}, "Chosen image");
  const note = element("span", {}), meters = element("div", { class: twin ? "vk-meters vk-two" : "vk-meters" });
  const drawing = titled("Draw a digit", "", pad.node);
  const sheets = planes.map((_, i) => titled(twin ? `New, ${SIDE_NAMES[i]}` : "New digits", "", element("div", { class: "vk-sheet" })));
  const pointers = titled("Under the pointer", z, element("div", { class: "vk-row" }, ...under, hint));
  const node = element("div", { class: "vk-panel" },
    element("div", { class: "vk-row vk-top" }, drawing, pointers, ...dimensions.bars, ...sheets),
    titled(title, words, chosen.node), ...dimensions.rows, titled("Now", note, meters));

  function showZ([z1, z2]) {
    z.textContent = `z = (${z1.toFixed(2)}, ${z2.toFixed(2)})`;
  }
  function showChosen(i) {
    const bytes = bytesOf(models[i].get("pictures"));
    if (bytes) chosen.paint(i, bytes, models[i].get("shape"));
    chosen.drawn.hidden = own && !models[i].get("noise");
  }
  function showSheet(i) {
    const bytes = bytesOf(models[i].get("sheet")), shape = models[i].get("shape");
    const canvases = makeCanvases((bytes?.length ?? 0) / shape.reduce((a, b) => a * b), "vk-small");
    sheets[i].hidden = !bytes;
    node.classList.toggle("vk-new", Boolean(bytes));
    paintImages(canvases, bytes, shape);
    sheets[i].lastChild.replaceChildren(...canvases);
  }
  function showPad() {
    drawing.hidden = !models[0].get("pad");
    pad.paint(); // hidden it had no size
  }
  // whose pictures these are: the chosen image's, or those of what the learner drew
  function showDrawn() {
    const said = models.map((model) => model.get("drawn").words ?? "");
    title.textContent = said[0] ? "Your drawing" : "Chosen image";
    words.textContent = said[0] && unbroken(said.map((text, i) => (twin ? `${SIDE_NAMES[i]}: ${text}` : text)).join(" · "));
  }
  function showMeters() {
    const many = models[0].get("status").kl?.length > 2;
    node.classList.toggle("vk-many", many);
    const [first, ...others] = models.map((model) => model.get("status").meters ?? []);
    const heads = twin ? [element("div", {}, ...["", ...SIDE_NAMES].map((side) => element("span", {}, side)))] : [];
    meters.replaceChildren(...heads, ...first.map(([name, value], i) => {
      const values = [value, ...others.map((other) => other[i]?.[1] ?? "")];
      const short = twin || first.length > 8 ? SHORT[name] ?? name : name, mark = many && IN_PLANE.includes(name) ? "*" : "";
      return element("div", {}, element("span", { title: name }, short + mark), ...values.map((text) => element("b", {}, twin ? text.replace(" of ", "/") : text)));
    }));
    note.textContent = meters.textContent.includes("*") ? "(* in the plane)" : "";
  }
  return { node, showZ, showChosen, showSheet, showPad, showDrawn, showMeters };
}

// KL of each dimension as bars to choose the pair by, and the chosen image's traversals; with two dimensions nothing.
export function makeDimensions(planes) {
  const made = (title, name) => planes.map((_, i) =>
    titled(`${title}${planes.length > 1 ? `, ${SIDE_NAMES[i]}` : ""}`, "", element("div", { class: name })));
  const bars = made("KL per dimension, nats", "vk-bars"), rows = made("One dimension varied, −3 to 3", "vk-traversals");

  const nameOf = (model, dim) => axisName(dim) + (model.get("pair").includes(dim) ? turnBy(model.get("turn")).mark : "");

  function makeBar(model, dim) {
    const bar = element("button", { class: "vk-bar", type: "button" }, element("i"), element("span"));
    bar.addEventListener("click", () => {
      const pair = model.get("pair");
      if (!pair.includes(dim)) tell(planes[0].model, { kind: "pair", pair: [pair[1], dim] });
    });
    return bar;
  }
  function showBars() {
    for (const [i, { model }] of planes.entries()) {
      const node = bars[i].lastChild, pair = model.get("pair");
      const kl = model.get("autoencoder") ? [] : model.get("status").kl ?? [], most = Math.max(0.1, ...kl);
      bars[i].hidden = rows[i].hidden = kl.length < 3;
      if (node.childElementCount !== kl.length) node.replaceChildren(...kl.map((_, dim) => makeBar(model, dim)));
      for (const [dim, nats] of kl.entries()) {
        const bar = node.children[dim];
        bar.firstChild.style.height = `calc(${(nats ?? most) / most} * (100% - 1.4em))`; // below it stands the name
        bar.lastChild.textContent = nameOf(model, dim);
        bar.title = `${nameOf(model, dim)}: ${nats?.toFixed(2) ?? "∞"} nats`;
        bar.setAttribute("aria-pressed", pair.includes(dim));
      }
    }
  }
  function showTraversals() {
    for (const [i, { model }] of planes.entries()) {
      const found = model.get("traversals");
      if (!found?.dims) continue;
      const lines = found.dims.map((dim) => [nameOf(model, dim), makeCanvases(found.across, "vk-small")]);
      paintImages(lines.flatMap(([, canvases]) => canvases), bytesOf(found.images), model.get("shape"));
      rows[i].lastChild.replaceChildren(...lines.map(([name, canvases]) =>
        element("div", { class: "vk-row" }, element("span", {}, name), ...canvases)));
    }
  }
  return { bars, rows, showBars, showTraversals };
}
