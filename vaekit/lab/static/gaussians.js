// Two densities to drag, q and p, and the two KLs between them. The numbers are the kernel's, who is asked at each move.

const REACH = 6.5; // the pictures go from −REACH to REACH
const LIMITS = { μ: [-3, 3], σ: [0.1, 3] };
const [SMALL, LARGE] = [0.05, 0.5]; // steps
const PAUSE = 40; // ms between two messages
const PATIENCE = 500; // ms that the curves wait for their numbers; then they go ahead, and the numbers are "…"
const [WIDTH, HEIGHT] = [560, 380]; // of a picture, in its own units
const BOX = { left: 70, right: 546, top: 34, bottom: 318 };
const NEAR = 40; // as far from a handle one may take hold of it
const CURVES = [
  { name: "q", other: "p", css: "vk-q" },
  { name: "p", other: "q", css: "vk-p" },
];
const HANDLES = [["μ", 0], ["σ", 1], ["μ", 2], ["σ", 3]].map(([what, at]) => ({ what, at, curve: CURVES[at >> 1] }));
const PLACES = Array.from({ length: 651 }, (_, i) => REACH * (i / 325 - 1));

const logDensity = (z, mu, sigma) => -0.5 * ((z - mu) / sigma) ** 2 - Math.log(sigma) - 0.5 * Math.log(2 * Math.PI);
const density = (z, mu, sigma) => Math.exp(logDensity(z, mu, sigma));
const weighted = (z, a, b) => density(z, ...a) * (logDensity(z, ...a) - logDensity(z, ...b));
const minus = (text) => text.replace("-", "−");
// to which side of its peak each curve has its letters: away from the other's
const sidesOf = ([q, p]) => (q > p ? [1, -1] : [-1, 1]);
const toX = (z) => BOX.left + ((z + REACH) / (2 * REACH)) * (BOX.right - BOX.left);

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// 3 to 6 round numbers from low to high
function roundNumbers(low, high) {
  const unit = 10 ** Math.floor(Math.log10(high - low));
  const step = [0.2, 0.5, 1, 2].map((k) => k * unit).find((it) => (high - low) / it <= 5);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

// A picture with axes: `scale(low, high)` draws them, and returns where a value lies.
function makePicture(name, title, attributes) {
  const axes = svg("g", { class: "vk-axes" }), curves = svg("g"), front = svg("g");
  const canvas = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, ...attributes }, axes, curves, front);
  const node = element("figure", { class: name }, element("figcaption", {}, title), canvas);
  const text = (x, y, anchor, words) => svg("text", { x, y, "text-anchor": anchor }, words);

  function scale(low, high) {
    const toY = (value) => BOX.bottom - ((value - low) / (high - low)) * (BOX.bottom - BOX.top);
    axes.replaceChildren(text((BOX.left + BOX.right) / 2, HEIGHT - 8, "middle", "z"));
    for (const z of [-6, -4, -2, 0, 2, 4, 6])
      axes.append(svg("path", { d: `M${toX(z)} ${BOX.bottom}v6` }), text(toX(z), BOX.bottom + 27, "middle", minus(String(z))));
    for (const value of roundNumbers(low, high))
      axes.append(
        svg("path", { d: `M${BOX.left} ${toY(value)}H${BOX.right}`, class: value ? "" : "vk-zero" }),
        text(BOX.left - 8, toY(value) + 7, "end", minus(value.toLocaleString("en"))),
      );
    return toY;
  }
  return { node, canvas, curves, front, scale, text };
}

// an area down to zero, and its outline
function drawCurve(picture, css, values, toY) {
  const line = values.map((value, i) => `${toX(PLACES[i]).toFixed(1)} ${toY(value).toFixed(1)}`).join("L");
  picture.curves.append(
    svg("path", { class: `vk-area ${css}`, d: `M${BOX.left} ${toY(0)}L${line}L${BOX.right} ${toY(0)}Z` }),
    svg("path", { class: `vk-line ${css}`, d: `M${line}` }),
  );
}

// How much of the area under a weighted curve lies outside of the picture: 0..1
function outside(a, b) {
  const sums = [0, 0], dz = 0.02;
  for (let z = -60; z < 60; z += dz) sums[Math.abs(z) > REACH ? 1 : 0] += weighted(z, a, b) * dz;
  return Math.abs(sums[0] + sums[1]) < 1e-6 ? 0 : sums[1] / (sums[0] + sums[1]);
}

function makeHandle({ what, at, curve }) {
  const [least, most] = LIMITS[what];
  return svg(
    "g",
    {
      class: `vk-handle ${curve.css}`, tabindex: 0, role: "slider", "aria-label": `${what} of ${curve.name}`,
      "aria-valuemin": least, "aria-valuemax": most, "aria-orientation": "horizontal", "data-at": at,
    },
    svg("circle", { r: 30, class: "vk-grip" }),
    svg("circle", { r: 22, class: "vk-ring" }),
    svg("circle", { r: 15 }),
    svg("text", { y: 7, "text-anchor": "middle" }, what),
  );
}

function makeReadout({ name, other, css }) {
  const swatch = svg("svg", { viewBox: "0 0 44 8", class: "vk-key" }, svg("path", { d: "M0 4H44", class: `vk-line ${css}` }));
  const [exact, draws] = [element("b"), element("span")];
  const title = element("span", { class: `vk-name ${css}` }, swatch, ` KL(${name} ‖ ${other}) = `, exact, " nats");
  const below = element("span", { class: "vk-draws" }, `by draws from ${name}: `, draws);
  return { node: element("output", {}, title, below), exact, draws };
}

function render({ model, el }) {
  const life = lifetime();
  const message = element("div", { class: "vk-message", role: "alert" });
  const readouts = CURVES.map(makeReadout);
  const left = makePicture("vk-densities", "Density: drag μ and σ", { role: "group", "aria-label": "The densities of q and p" });
  const right = makePicture("vk-weighted", "Extra surprise × density: area = KL in nats", { role: "img" });
  const bars = CURVES.map(({ css }) => svg("path", { class: `vk-bar-of ${css}` }));
  const letters = CURVES.map(({ name, css }) => svg("text", { class: `vk-letter ${css}`, "text-anchor": "middle" }, name));
  const handles = HANDLES.map(makeHandle);
  const told = CURVES.map(({ css }, i) =>
    svg("text", { class: `vk-told ${css}`, x: [4, BOX.right][i], y: 20, "text-anchor": ["start", "end"][i] }),
  );
  left.front.append(...bars, ...letters, ...told, ...handles);
  const note = element("p", { class: "vk-hint" });
  const root = element(
    "div", { class: "vk-lab vk-gaussians" }, message,
    element("div", { class: "vk-readouts" }, ...readouts.map((it) => it.node)),
    element("div", { class: "vk-pair" }, left.node, right.node), note,
  );
  el.replaceChildren(root);

  // where the handles are, and of which two curves the picture and the numbers are
  let now = [...model.get("at")], seen = now;
  let held = null, waiting = 0, late = 0, toY;

  function paintCurves() {
    const both = [seen.slice(0, 2), seen.slice(2)];
    toY = left.scale(0, 1.28 * Math.max(...both.map(([mu, sigma]) => density(mu, mu, sigma))));
    const values = both.map((it, i) => PLACES.map((z) => weighted(z, it, both[1 - i])));
    const low = Math.min(0, ...values.flat()), high = Math.max(0.2, ...values.flat());
    const toNats = right.scale(1.1 * low, 1.15 * high);
    left.curves.replaceChildren();
    right.curves.replaceChildren();
    right.front.replaceChildren();
    // the place of each curve's letters; where the two are equal, the middle
    const tops = values.map((it) => (Math.max(...it) < 1e-9 ? PLACES.length >> 1 : it.indexOf(Math.max(...it))));
    const sides = sidesOf(tops);
    CURVES.forEach(({ name, other, css }, i) => {
      drawCurve(left, css, PLACES.map((z) => density(z, ...both[i])), toY);
      drawCurve(right, css, values[i], toNats);
      const x = Math.min(BOX.right - 60, Math.max(BOX.left + 60, toX(PLACES[tops[i]]) + 8 * sides[i]));
      const word = right.text(x, toNats(values[i][tops[i]]) - 8, sides[i] < 0 ? "end" : "start", `${name} ‖ ${other}`);
      word.setAttribute("class", `vk-letter ${css}`);
      right.front.append(word);
    });
    const lost = both.map((it, i) => outside(it, both[1 - i]));
    const parts = CURVES.flatMap(({ name, other }, i) =>
      lost[i] > 0.02 ? [`${Math.round(100 * lost[i])} % of KL(${name} ‖ ${other})`] : []);
    note.textContent = parts.length ? `Outside of the picture: ${parts.join(", ")}.` : "What lies below zero counts as negative.";
  }

  function paintHandles() {
    const sides = sidesOf([now[0], now[2]]);
    CURVES.forEach(({ name }, i) => {
      const [mu, sigma] = now.slice(2 * i, 2 * i + 2);
      const peak = [toX(mu), Math.max(BOX.top, toY(density(mu, mu, sigma)))];
      const flank = [toX(mu + sigma), Math.max(BOX.top, toY(density(mu + sigma, mu, sigma)))];
      [peak, flank].forEach(([x, y], k) => handles[2 * i + k].setAttribute("transform", `translate(${x} ${y})`));
      bars[i].setAttribute("d", `M${peak[0]} ${flank[1]}H${flank[0]}`);
      letters[i].setAttribute("x", peak[0] + 12 * sides[i]);
      letters[i].setAttribute("y", peak[1] - 22);
      told[i].textContent = minus(`${name}: μ = ${mu.toFixed(2)}, σ = ${sigma.toFixed(2)}`);
      [mu, sigma].forEach((value, k) => handles[2 * i + k].setAttribute("aria-valuenow", value));
    });
  }

  function show(answer) {
    readouts.forEach(({ exact, draws }, i) => {
      [exact.textContent, draws.textContent] = answer?.rows[i] ?? ["…", "…"];
    });
    message.textContent = answer?.message ?? "";
    message.hidden = !message.textContent;
    const [a, b] = readouts.map((it) => it.exact.textContent);
    right.canvas.setAttribute("aria-label", `Extra surprise times density: KL(q ‖ p) = ${a}, KL(p ‖ q) = ${b} nats`);
    root.dataset.answered = answer ? seen.join() : "";
    paintCurves();
    paintHandles();
  }

  // The kernel's numbers, and with them the curves that they are of.
  function onAnswer() {
    const answer = model.get("answer"), isNow = answer.at?.join() === now.join();
    if (!answer.at || !(isNow || root.dataset.answered)) return; // what went ahead does not go back
    seen = answer.at;
    clearTimeout(late);
    late = isNow ? 0 : setTimeout(goAhead, PATIENCE);
    show(answer);
  }
  function goAhead() {
    late = 0;
    seen = now;
    show(null);
  }
  const wait = () => (late ||= setTimeout(goAhead, root.dataset.answered ? PATIENCE : 0));
  function send() {
    waiting = 0;
    model.set("at", [...now]);
    model.save_changes(); // waits by itself until the kernel has answered the one before
  }
  function move(at, value) {
    const [least, most] = LIMITS[HANDLES[at].what];
    const placed = Number((SMALL * Math.round(Math.min(most, Math.max(least, value)) / SMALL)).toFixed(2));
    if (placed === now[at]) return;
    now = now.map((old, i) => (i === at ? placed : old));
    paintHandles();
    wait();
    waiting ||= setTimeout(send, PAUSE);
  }

  const inPicture = (event) => {
    const box = left.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((v) => (v * WIDTH) / box.width);
  };
  const distance = (handle, [x, y]) => {
    const { e, f } = handle.transform.baseVal[0].matrix;
    return Math.hypot(e - x, f - y);
  };
  life.on(left.canvas, "pointerdown", (event) => {
    const place = inPicture(event), far = handles.map((it) => distance(it, place));
    const at = far.lastIndexOf(Math.min(...far));
    if (event.button !== 0 || held || far[at] > NEAR) return;
    left.canvas.setPointerCapture(event.pointerId);
    held = { at, pointer: event.pointerId, from: place[0], value: now[at] };
    handles[at].focus({ preventScroll: true });
    event.preventDefault();
  });
  life.on(left.canvas, "pointermove", (event) => {
    if (held?.pointer !== event.pointerId) return;
    const unit = (BOX.right - BOX.left) / (2 * REACH);
    move(held.at, held.value + (inPicture(event)[0] - held.from) / unit);
  });
  const lift = (event) => held?.pointer === event.pointerId && (held = null);
  life.on(left.canvas, "pointerup", lift);
  life.on(left.canvas, "pointercancel", lift);
  life.on(left.canvas, "keydown", (event) => {
    const at = handles.indexOf(event.target);
    const size = event.shiftKey || event.key.startsWith("Page") ? LARGE : SMALL;
    const way = { ArrowLeft: -1, ArrowDown: -1, PageDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 1, Home: -99, End: 99 }[event.key];
    if (at < 0 || !way) return;
    move(at, now[at] + way * size);
    event.preventDefault();
    event.stopPropagation();
  });

  function onAt() {
    if (held || waiting) return;
    now = [...model.get("at")];
    paintHandles();
    if (model.get("answer").at?.join() === now.join()) onAnswer();
    else wait();
  }
  life.trait(model, "at", onAt);
  life.trait(model, "answer", onAnswer);
  life.also(() => [waiting, late].forEach(clearTimeout));
  show(null);
  onAnswer();
  return life.end;
}

export default { render };
