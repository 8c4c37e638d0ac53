// What stands beside and below the planes: under the pointer, the chosen image, the meters, the words.

const NAMES = ["left", "right"];

const titled = (title, note, ...children) => element("section", {}, element("h4", {}, title, " ", note), ...children);

function pictures(caption, count) {
  const canvases = Array.from({ length: count }, () => element("canvas", { class: "vk-thumb" }));
  return [canvases, element("figure", {}, element("div", { class: "vk-row" }, ...canvases), element("figcaption", {}, caption))];
}

// The panel for one run or two, with the pad: its node, and functions that fill it.
function makePanel(planes, pad) {
  const twin = planes.length > 1, z = element("output", { class: "vk-z" });
  const hint = element("p", { class: "vk-hint" }, twin
    ? "Drag in a plane: both decoders follow. Click a point: its image is found in both."
    : "Drag in the plane: the decoder follows. Click a point to choose its image.");
  const under = planes.map(({ pointer }, i) =>
    twin ? element("figure", {}, pointer, element("figcaption", {}, NAMES[i])) : pointer);
  const [[image], original] = pictures("x", 1);
  const decoded = planes.map((_, i) => {
    const [[mean], first] = pictures(twin ? `${NAMES[i]}: x̂ at μ` : "x̂ at μ", 1);
    const [draws, rest] = pictures("draws from q(z|x)", 3);
    return { thumbs: [mean, ...draws], nodes: [first, rest] };
  });
  const drawing = titled("Draw a digit", "", pad.node);
  const title = element("b", {}, "Chosen image"), words = element("output", { class: "vk-words" });
  const note = element("span", {});
  const meters = element("div", { class: twin ? "vk-meters vk-two" : "vk-meters" });
  const chosen = twin
    ? element("div", { class: "vk-row vk-chosen" }, original,
        element("div", {}, ...decoded.map(({ nodes }) => element("div", { class: "vk-row" }, ...nodes))))
    : element("div", { class: "vk-row vk-chosen" }, original, ...decoded[0].nodes);
  const node = element("div", { class: "vk-panel" },
    element("div", { class: "vk-row vk-top" }, drawing,
      titled("Under the pointer", z, element("div", { class: "vk-row" }, ...under, hint))),
    titled(title, words, chosen),
    titled("Now", note, meters));
  return {
    node,
    // in many dimensions, these are of the two that are shown
    showDimensions: (many) => (note.textContent = `${twin ? "left · right " : ""}${
      many ? "(overlap, continuity and completeness: in the plane)" : ""}`),
    showZ: ([z1, z2]) => (z.textContent = `z = (${z1.toFixed(2)}, ${z2.toFixed(2)})`),
    showChosen(i) {
      const { model } = planes[i], bytes = bytesOf(model.get("pictures"));
      if (!bytes) return;
      const shape = model.get("shape"), size = shape.reduce((a, b) => a * b);
      [image, ...decoded[i].thumbs].forEach((canvas, k) =>
        paintImage(canvas, bytes.subarray(k * size, (k + 1) * size), shape));
    },
    showPad() {
      drawing.hidden = !planes[0].model.get("pad");
      pad.paint(); // hidden it had no size
    },
    // whose pictures these are: the chosen image's, or those of what the learner drew
    showDrawn() {
      const said = planes.map(({ model }) => model.get("drawn").words);
      title.textContent = said[0] ? "Your drawing" : "Chosen image";
      words.textContent = said[0] ? unbroken(said.map((text, i) => (twin ? `${NAMES[i]}: ${text}` : text)).join(" · ")) : "";
    },
    showMeters() {
      this.showDimensions(planes[0].model.get("status").kl?.length > 2);
      const [first, ...others] = planes.map(({ model }) => model.get("status").meters ?? []);
      meters.replaceChildren(...first.map(([name, value], i) =>
        element("div", {}, element("span", {}, name), element("b", {}, value),
          ...others.map((other) => element("b", {}, other[i]?.[1] ?? "")))));
    },
  };
}

// KL of each dimension as bars to choose the pair by, and the chosen image's traversals; with two dimensions nothing.
function makeDimensions(planes) {
  const parts = planes.map(({ model }, i) => {
    const bars = element("div", { class: "vk-bars" }), rows = element("div", { class: "vk-traversals" });
    const name = planes.length > 1 ? `, ${NAMES[i]}` : "";
    const node = element("div", { class: "vk-dims" },
      titled(`KL per dimension, nats${name}`, "", bars), titled(`One dimension varied, −3 to 3${name}`, "", rows));
    return { model, bars, rows, node };
  });
  const node = element("div", { class: "vk-row vk-alldims" }, ...parts.map((part) => part.node));
  function choose(model, dim) {
    const [i, j] = model.get("pair");
    if (dim !== i && dim !== j) tell(planes[0].model, { kind: "pair", pair: [j, dim] });
  }
  function showBars() {
    for (const { model, bars } of parts) {
      const kl = model.get("status").kl ?? [], most = Math.max(0.1, ...kl), shown = model.get("pair");
      node.hidden = kl.length < 3;
      if (bars.childElementCount !== kl.length)
        bars.replaceChildren(...kl.map((_, dim) => {
          const bar = element("button", { class: "vk-bar", type: "button" }, element("i"), element("span", {}, axisName(dim)));
          bar.addEventListener("click", () => choose(model, dim));
          return bar;
        }));
      kl.forEach((nats, dim) => {
        const bar = bars.children[dim];
        bar.firstChild.style.height = `calc(${(nats ?? most) / most} * (100% - 1.4em))`; // below it stands the name
        bar.title = `${axisName(dim)}: ${nats?.toFixed(2) ?? "∞"} nats`;
        bar.setAttribute("aria-pressed", shown.includes(dim));
      });
    }
  }
  function showTraversals() {
    for (const { model, rows } of parts) {
      const bytes = bytesOf(model.get("traversals"));
      if (!bytes) continue;
      const [{ dims, across }, offset] = unpackJson(bytes), shape = model.get("shape");
      const size = shape.reduce((a, b) => a * b);
      rows.replaceChildren(...dims.map((dim, row) => {
        const line = element("div", { class: "vk-row" }, element("span", {}, axisName(dim)));
        for (let k = 0; k < across; k++) {
          const canvas = element("canvas", { class: "vk-small" }), at = offset + (row * across + k) * size;
          paintImage(canvas, bytes.subarray(at, at + size), shape);
          line.append(canvas);
        }
        return line;
      }));
    }
  }
  return { node, showBars, showTraversals };
}

// What the shown draws, or stops of a walk, decode to; a hit has a full frame, a miss a broken one.
function makeStrip(planes) {
  const node = element("div", { class: "vk-strips" });
  function show() {
    node.replaceChildren(...planes.flatMap(({ model, probe }, side) => {
      if (!probe) return [];
      const hits = probe.points.filter((point) => point[2]).length, all = probe.points.length;
      const what = probe.what === "draws" ? "draws from the prior" : "stops on a walk between two codes";
      const title = `${planes.length > 1 ? `${NAMES[side]}: ` : ""}${hits} of ${all} ${what} within 2σ of a code (○ hit, × miss)`;
      const shape = model.get("shape"), size = shape.reduce((a, b) => a * b);
      const images = probe.decoded.map((point, k) => {
        const hit = probe.points[point][2];
        const canvas = element("canvas", { class: `vk-small ${hit ? "vk-hit" : "vk-miss"}`, role: "img" });
        canvas.setAttribute("aria-label", hit ? "hit" : "miss");
        paintImage(canvas, probe.pixels.subarray(k * size, (k + 1) * size), shape);
        return canvas;
      });
      return [titled(title, "", element("div", { class: "vk-row" }, ...images))];
    }));
  }
  return { node, show };
}
