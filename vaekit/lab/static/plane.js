// The latent plane, what lies under the pointer, the chosen image, the meters and the line in words.

const HEADER = 24; // bytes before the points, see frames.Frame.pack
const AREA = 3e6; // px² of ellipses in one painting; beyond it fewer are drawn, each the stronger

function readFrame(view) {
  const bytes = bytesOf(view);
  if (!bytes) return null;
  const head = new DataView(bytes.buffer);
  return {
    number: head.getUint32(0, true),
    step: head.getUint32(4, true),
    count: head.getUint32(8, true),
    extent: head.getFloat32(12, true),
    beta: head.getFloat32(16, true),
    points: halves(bytes, HEADER), // μ₁ μ₂ σ₁ σ₂ of each image
  };
}

// Between two frames: the points glide from where they are seen to where they were sent to be.
function glide() {
  let from = null, to = null, start = 0, duration = 100, arrived = 0;
  const now = { points: new Float32Array(0), extent: 3.8 };
  return {
    now,
    get frame() { return to; },
    send(frame, time) {
      const jump = !to || to.count !== frame.count || still();
      duration = Math.min(Math.max(time - arrived, 30), 250);
      arrived = start = time;
      from = { points: now.points.slice(), extent: now.extent };
      to = frame;
      if (jump) [from, start] = [frame, -Infinity];
    },
    // moves `now` to its place at `time`; true while it is on its way
    move(time) {
      if (!to) return false;
      // a painting's time may lie before the frame's: it began before the frame came
      const t = Math.min(1, Math.max(0, (time - start) / duration));
      if (now.points.length !== to.points.length) now.points = new Float32Array(to.points.length);
      for (let i = 0; i < to.points.length; i++) now.points[i] = from.points[i] + t * (to.points[i] - from.points[i]);
      now.extent = from.extent + t * (to.extent - from.extent);
      return t < 1;
    },
  };
}

const axisName = (dim) => `z${String(dim + 1).replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d])}`;

function drawBackdrop(context, backdrop, px, dark) {
  if (!backdrop) return;
  const half = backdrop.extent * px.scale;
  context.globalAlpha = dark ? 0.4 : 0.3;
  context.imageSmoothingEnabled = true;
  context.drawImage(dark ? backdrop.light : backdrop.dark, px.x(0) - half, px.y(0) - half, 2 * half, 2 * half);
  context.globalAlpha = 1;
}

function drawRings(context, px, ink, on) {
  context.strokeStyle = ink;
  context.fillStyle = ink;
  context.setLineDash([6, 5]);
  context.lineWidth = 1.5;
  context.font = `600 ${0.9 * px.em}px sans-serif`;
  context.globalAlpha = on ? 0.85 : 0.3;
  for (const r of [1, 2, 3]) {
    context.beginPath();
    context.arc(px.x(0), px.y(0), r * px.scale, 0, 2 * Math.PI);
    context.stroke();
    context.fillText(`${r}σ`, px.x(r * 0.72) + 4, px.y(r * 0.72) - 2);
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
}

// Soft ellipses: the more lie upon each other, the fainter each, so that about half shows through the heap.
function drawEllipses(context, points, classes, colours, px) {
  const count = points.length / 4;
  let area = 0, reach = 0;
  for (let i = 0; i < count; i++) {
    const [m1, m2, s1, s2] = points.subarray(4 * i, 4 * i + 4);
    area += 4 * Math.PI * s1 * s2;
    reach += (m1 * m1 + m2 * m2 + 2 * (s1 * s1 + s2 * s2)) / count;
  }
  const every = Math.max(1, Math.ceil((area * px.scale ** 2) / AREA));
  const depth = area / every / (2 * Math.PI * reach);
  context.globalAlpha = Math.min(0.28, 1 - 0.45 ** (1 / depth));
  for (let i = 0; i < count; i += every) {
    const [m1, m2, s1, s2] = points.subarray(4 * i, 4 * i + 4);
    if (2 * s1 * px.scale < 1.5 && 2 * s2 * px.scale < 1.5) continue; // the dot covers it
    context.fillStyle = colours[(classes[i] ?? 0) % colours.length];
    context.beginPath();
    context.ellipse(px.x(m1), px.y(m2), 2 * s1 * px.scale, 2 * s2 * px.scale, 0, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
}

function drawDots(context, points, classes, colours, px, digits) {
  context.font = `600 ${0.75 * px.em}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const size = px.em / 5;
  for (let i = 0; i < points.length / 4; i++) {
    context.fillStyle = colours[(classes[i] ?? 0) % colours.length];
    const x = px.x(points[4 * i]), y = px.y(points[4 * i + 1]);
    if (digits && classes.length) context.fillText(classes[i], x, y);
    else context.fillRect(x - size / 2, y - size / 2, size, size);
  }
}

// The classes' numerals at their centres; where all centres are one, one label says so.
function drawNumerals(context, points, classes, colours, px, ink, halo) {
  const sums = new Map();
  classes.forEach((c, i) => {
    const sum = sums.get(c) ?? sums.set(c, { c, x: 0, y: 0, n: 0 }).get(c);
    sum.x += points[4 * i];
    sum.y += points[4 * i + 1];
    sum.n += 1;
  });
  let labels = [...sums.values()].map(({ c, x, y, n }) => ({
    text: `${c}`, x: px.x(x / n), y: px.y(y / n), colour: colours[c % colours.length],
  }));
  const [{ x, y }] = labels;
  if (labels.length > 1 && labels.every((label) => Math.hypot(label.x - x, label.y - y) < 16))
    labels = [{ text: `${Math.min(...sums.keys())} to ${Math.max(...sums.keys())}`, x, y, colour: ink }];
  context.font = `800 ${1.4 * px.em}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 5;
  context.strokeStyle = halo;
  for (const label of labels) {
    context.strokeText(label.text, label.x, label.y);
    context.fillStyle = label.colour;
    context.fillText(label.text, label.x, label.y);
  }
}

function drawChosen(context, points, i, px, ink, halo) {
  if (!(4 * i < points.length)) return;
  const [m1, m2, s1, s2] = points.subarray(4 * i, 4 * i + 4);
  for (const [colour, width] of [[halo, 5], [ink, 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    for (const k of [1, 2]) {
      context.beginPath();
      context.ellipse(px.x(m1), px.y(m2), Math.max(k * s1 * px.scale, 4 * k), Math.max(k * s2 * px.scale, 4 * k), 0, 0, 7);
      context.stroke();
    }
  }
}

function drawPointer(context, [z1, z2], px, colour, halo) {
  for (const [stroke, width] of [[halo, 6], [colour, 3]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(px.x(z1) - 14, px.y(z2));
    context.lineTo(px.x(z1) + 14, px.y(z2));
    context.moveTo(px.x(z1), px.y(z2) - 14);
    context.lineTo(px.x(z1), px.y(z2) + 14);
    context.stroke();
  }
}

function readBackdrop(view) {
  const bytes = bytesOf(view);
  if (!bytes) return null;
  const [{ extent, size, channels }, offset] = unpackJson(bytes);
  const tinted = (ink) => {
    const canvas = element("canvas");
    canvas.width = canvas.height = size;
    const image = new ImageData(size, size);
    for (let i = 0; i < size * size; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = channels === 3 ? bytes[offset + 3 * i + c] : ink;
      image.data[4 * i + 3] = channels === 3 ? 255 : bytes[offset + i];
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  };
  return { extent, dark: tinted(40), light: tinted(225) };
}

// the panel on the right: [node, its parts by name]
function panel() {
  const parts = {};
  const part = (name, tag, attributes) => (parts[name] = element(tag, attributes));
  const titled = (title, note, ...children) =>
    element("section", {}, element("h4", {}, title, " ", note), ...children);
  const figure = (name, caption) =>
    element("figure", {}, part(name, "canvas", { class: "vk-thumb" }), element("figcaption", {}, caption));
  const node = element(
    "div",
    { class: "vk-panel" },
    titled(
      "Under the pointer",
      part("z", "output", { class: "vk-z" }),
      element(
        "div",
        { class: "vk-row" },
        part("pointer", "canvas", { class: "vk-decoded", role: "img" }),
        part("hint", "p", { class: "vk-hint" }),
      ),
    ),
    titled(
      "Chosen image",
      part("chosen", "output", {}),
      element("div", { class: "vk-row vk-chosen" }, figure("x", "x"), figure("mean", "x̂ at μ"),
        figure("draw0", "draws"), figure("draw1", "from"), figure("draw2", "q(z|x)")),
    ),
    titled("Now", "", part("meters", "div", { class: "vk-meters" })),
  );
  parts.hint.textContent = "Drag in the plane: the decoder follows. Click a point to choose its image.";
  return [node, parts];
}

function render({ model, el }) {
  const life = lifetime(model), cloud = glide();
  const canvas = element("canvas", { class: "vk-plane", tabindex: 0, role: "application" });
  canvas.setAttribute("aria-label", "The latent plane. Arrow keys move the pointer, Enter chooses the nearest image.");
  const [side, parts] = panel();
  const message = element("div", { class: "vk-message", role: "alert" });
  const verdict = element("div", { class: "vk-verdict" });
  const spoken = element("div", { class: "vk-spoken", "aria-live": "polite" });
  const root = element("div", { class: "vk-lab" }, message, element("div", { class: "vk-main" }, canvas, side), verdict, spoken);
  el.replaceChildren(root);

  let z = [0, 0], decoder = null, backdrop = null, dragged = null, painted = 0, inView = true;
  let classes = [];

  const px = { em: 16, scale: 1, x: (v) => v, y: (v) => v };
  function place(width, height) {
    px.scale = Math.min(width, height) / 2 / cloud.now.extent;
    px.x = (v) => width / 2 + v * px.scale;
    px.y = (v) => height / 2 - v * px.scale;
  }

  function paint(time) {
    const moving = cloud.move(time);
    const [context, width, height] = contextOf(canvas);
    if (!cloud.frame || !width) return false;
    const dark = isDark(), palette = model.get("palette")[dark ? 1 : 0];
    const style = getComputedStyle(root), ink = style.color, halo = style.getPropertyValue("--vk-ground");
    const points = cloud.now.points;
    px.em = parseFloat(style.fontSize);
    place(width, height);
    context.fillStyle = halo;
    context.fillRect(0, 0, width, height);
    drawBackdrop(context, backdrop, px, dark);
    drawEllipses(context, points, classes, palette, px);
    drawDots(context, points, classes, palette, px, model.get("digits"));
    drawRings(context, px, ink, cloud.frame.beta > 0);
    if (classes.length) drawNumerals(context, points, classes, palette, px, ink, halo);
    drawChosen(context, points, model.get("chosen"), px, ink, halo);
    drawPointer(context, z, px, style.getPropertyValue("--vk-blue"), halo);
    drawScale(context, width, height, ink, halo);
    painted += 1;
    report();
    return moving;
  }
  const ask = painter(paint, (navigator.hardwareConcurrency || 4) <= 2 ? 20 : 60);

  function drawScale(context, width, height, ink, halo) {
    context.font = `600 ${0.9 * px.em}px sans-serif`;
    context.textBaseline = "alphabetic";
    context.lineWidth = 4;
    context.strokeStyle = halo;
    context.fillStyle = ink;
    const [i, j] = model.get("pair");
    const label = (text, x, y, align) => {
      context.textAlign = align;
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    };
    label(`${axisName(i)} →`, width - 8, height - 9, "right");
    label(`↑ ${axisName(j)}`, 8, px.em + 6, "left");
    label(`view ±${cloud.frame.extent.toFixed(1)}, follows the cloud`, 8, height - 9, "left");
    context.textAlign = "left";
  }

  // What a test, or a curious learner, may read from the outside.
  function report() {
    const { number, step, beta, extent } = cloud.frame, { points } = cloud.now, n = points.length / 4;
    let sigma = 0, mean = [0, 0], square = 0;
    for (let i = 0; i < n; i++) {
      mean[0] += points[4 * i] / n;
      mean[1] += points[4 * i + 1] / n;
      square += (points[4 * i] ** 2 + points[4 * i + 1] ** 2) / n;
      sigma += (points[4 * i + 2] + points[4 * i + 3]) / (2 * n);
    }
    const spread = Math.sqrt(Math.max(0, square - mean[0] ** 2 - mean[1] ** 2) / 2);
    Object.assign(root.dataset, { frame: number, step, beta, extent, painted, spread, sigma });
  }

  function showDecoded() {
    parts.z.textContent = `z = (${z[0].toFixed(2)}, ${z[1].toFixed(2)})`;
    Object.assign(root.dataset, { z1: z[0], z2: z[1], decoderStep: decoder?.step ?? "" });
    if (!decoder) return model.send({ kind: "decode", z });
    const start = performance.now(), pixels = decode(decoder, z);
    root.dataset.decodeMs = performance.now() - start;
    paintImage(parts.pointer, pixels, model.get("shape"));
    parts.pointer.setAttribute("aria-label", `The decoded image at ${parts.z.textContent}`);
  }

  function moveTo(where) {
    const limit = cloud.now.extent;
    z = where.map((v) => Math.max(-limit, Math.min(limit, v)));
    showDecoded();
    ask();
  }

  const fromEvent = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      (event.clientX - box.left - box.width / 2) / px.scale,
      (box.height / 2 - (event.clientY - box.top)) / px.scale,
    ];
  };

  function chooseNear([z1, z2], within = Infinity) {
    const points = cloud.now.points;
    let best = -1, least = (within / px.scale) ** 2;
    for (let i = 0; i < points.length / 4; i++) {
      const distance = (points[4 * i] - z1) ** 2 + (points[4 * i + 1] - z2) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    if (best >= 0) model.send({ kind: "choose", index: best });
  }

  life.on(canvas, "pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    dragged = [event.clientX, event.clientY];
    moveTo(fromEvent(event));
    canvas.focus({ preventScroll: true });
  });
  life.on(canvas, "pointermove", (event) => dragged && moveTo(fromEvent(event)));
  life.on(canvas, "pointerup", (event) => {
    if (dragged && Math.hypot(event.clientX - dragged[0], event.clientY - dragged[1]) < 4)
      chooseNear(fromEvent(event), 14);
    dragged = null;
  });
  life.on(canvas, "pointercancel", () => (dragged = null));
  life.on(canvas, "keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "Enter") chooseNear(z);
    else if (move) {
      const size = (event.shiftKey ? 0.1 : 0.02) * cloud.now.extent;
      moveTo([z[0] + move[0] * size, z[1] + move[1] * size]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function onFrame() {
    const frame = readFrame(model.get("frame"));
    if (!frame) return;
    cloud.send(frame, performance.now());
    ask();
  }
  function onDecoder() {
    decoder = readDecoder(model.get("decoder"));
    if (cloud.frame) showDecoded();
  }
  function onChosen() {
    const bytes = bytesOf(model.get("pictures"));
    if (!bytes) return;
    const shape = model.get("shape"), size = shape.reduce((a, b) => a * b);
    ["x", "mean", "draw0", "draw1", "draw2"].forEach((name, i) =>
      paintImage(parts[name], bytes.subarray(i * size, (i + 1) * size), shape));
    ask();
  }
  function onStatus() {
    const status = model.get("status");
    verdict.replaceChildren(element("strong", {}, status.headline ?? ""), " ", status.sentence ?? "");
    parts.meters.replaceChildren(
      ...(status.meters ?? []).map(([name, value]) =>
        element("div", {}, element("span", {}, name), element("b", {}, value))));
    Object.assign(root.dataset, { state: status.state, playing: status.playing });
    message.textContent = model.get("message");
    message.hidden = !message.textContent;
  }
  const speak = () => {
    const { headline, sentence, meters } = model.get("status");
    const text = `${headline ?? ""} ${sentence ?? ""} ${(meters ?? []).map((m) => m.join(" ")).join(", ")}`;
    if (spoken.textContent !== text) spoken.textContent = text;
  };

  const beat = () => model.send({ kind: "seen", frame: cloud.frame?.number ?? 0, visible: inView && !document.hidden });
  const seen = new IntersectionObserver(([entry]) => ((inView = entry.isIntersecting), beat()));
  seen.observe(root);
  life.on(document, "visibilitychange", beat);
  const timers = [setInterval(beat, 1000), setInterval(speak, 5000)];
  life.also(() => (timers.forEach(clearInterval), seen.disconnect(), ask.stop()));

  life.trait("frame", onFrame);
  life.trait("decoder", onDecoder);
  life.trait("pictures chosen", onChosen);
  life.trait("status message", onStatus);
  life.trait("digits pair", ask);
  life.trait("classes", () => ((classes = Array.from(bytesOf(model.get("classes")) ?? [])), ask()));
  life.trait("backdrop", () => ((backdrop = readBackdrop(model.get("backdrop"))), ask()));
  const onDecoded = (content, buffers) => {
    if (content.kind === "decoded") paintImage(parts.pointer, bytesOf(buffers[0]), model.get("shape"));
  };
  model.on("msg:custom", onDecoded);
  life.also(() => model.off("msg:custom", onDecoded));
  whenLooksChange(life, root, () => (nameControls(root), ask()));

  classes = Array.from(bytesOf(model.get("classes")) ?? []);
  backdrop = readBackdrop(model.get("backdrop"));
  onFrame();
  onDecoder();
  onChosen();
  onStatus();
  beat();
  return life.end;
}

export default { render };
