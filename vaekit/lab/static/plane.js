// One run's plane: its cloud as it moves, and the decoder that follows the pointer across it.

const HEADER = 24; // bytes before the points, see frames.Frame.pack

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

function readProbe(view) {
  const bytes = bytesOf(view);
  if (!bytes) return null;
  const [header, offset] = unpackJson(bytes);
  return { ...header, pixels: bytes.subarray(offset) };
}

// One plane of the lab. `lab` is what both planes of a twin share: see lab.js; `host` carries what a test may read.
function makePlane({ model, life, host, name, lab }) {
  const cloud = glide();
  const canvas = element("canvas", { class: "vk-plane", tabindex: 0, role: "application" });
  canvas.setAttribute(
    "aria-label",
    `${name}The latent plane. Arrow keys move the pointer, Enter chooses the nearest image.`,
  );
  const pointer = element("canvas", { class: "vk-decoded", role: "img" });
  let classes = [], backdrop = null, probe = null, decoder = null, dragged = null, painted = 0, past = null;

  const px = { em: 16, scale: 1, x: (v) => v, y: (v) => v };
  function place(width, height) {
    px.scale = Math.min(width, height) / 2 / cloud.now.extent;
    px.x = (v) => width / 2 + v * px.scale;
    px.y = (v) => height / 2 - v * px.scale;
  }
  const pair = () => past?.pair ?? model.get("pair");

  function paint(time) {
    const moving = cloud.move(time);
    const [context, width, height] = contextOf(canvas);
    if (!cloud.frame || !width) return false;
    const dark = isDark(), palette = model.get("palette")[dark ? 1 : 0];
    const style = getComputedStyle(canvas), ink = style.color, halo = style.getPropertyValue("--vk-ground");
    const points = cloud.now.points, blue = style.getPropertyValue("--vk-blue");
    px.em = parseFloat(style.fontSize);
    place(width, height);
    context.fillStyle = halo;
    context.fillRect(0, 0, width, height);
    if (!past) drawBackdrop(context, backdrop, px, dark);
    drawEllipses(context, points, classes, palette, px);
    drawDots(context, points, classes, palette, px, model.get("digits"));
    drawRings(context, px, ink, cloud.frame.beta > 0);
    drawChosen(context, points, model.get("chosen"), px, ink, halo);
    if (classes.length) drawNumerals(context, points, classes, palette, px, ink, halo);
    if (!past) drawProbe(context, probe, px, blue, style.getPropertyValue("--vk-orange"), halo);
    drawRingNames(context, px, ink, halo, cloud.frame.beta > 0);
    const yours = past ? null : model.get("drawn").mark;
    if (yours?.length) drawYours(context, yours, width, height, px, style.getPropertyValue("--vk-yours"), halo);
    drawPointer(context, lab.z, px, blue, halo);
    drawScale(context, width, height, ink, halo);
    painted += 1;
    report();
    return moving;
  }
  // with few cores painting is at the training's cost: two planes share what one may take
  const ask = painter(paint, ((navigator.hardwareConcurrency || 4) <= 2 ? 20 : 60) / lab.count);

  function drawScale(context, width, height, ink, halo) {
    context.font = `600 ${0.9 * px.em}px sans-serif`;
    context.textBaseline = "alphabetic";
    context.lineWidth = 4;
    context.strokeStyle = halo;
    context.fillStyle = ink;
    const [i, j] = pair();
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
    const yours = model.get("drawn").mark ?? "";
    Object.assign(host.dataset, { frame: number, step, beta, extent, painted, spread, sigma, yours, pair: pair() });
  }

  function showDecoded() {
    if (!cloud.frame) return;
    const able = past ? past.decoder : decoder;
    Object.assign(host.dataset, { z1: lab.z[0], z2: lab.z[1], decoderStep: able?.step ?? "" });
    if (!able) return past || tell(model, { kind: "decode", z: lab.z });
    const start = performance.now(), pixels = decode(able, lab.z, pair());
    host.dataset.decodeMs = performance.now() - start;
    paintImage(pointer, pixels, model.get("shape"));
    pointer.setAttribute("aria-label", `${name}The decoded image at z = (${lab.z.map((v) => v.toFixed(2)).join(", ")})`);
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
    if (best >= 0) lab.choose(best);
  }

  life.on(canvas, "pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    dragged = [event.clientX, event.clientY];
    lab.moveTo(fromEvent(event), cloud.now.extent);
    canvas.focus({ preventScroll: true });
  });
  life.on(canvas, "pointermove", (event) => dragged && lab.moveTo(fromEvent(event), cloud.now.extent));
  life.on(canvas, "pointerup", (event) => {
    if (dragged && Math.hypot(event.clientX - dragged[0], event.clientY - dragged[1]) < 4)
      chooseNear(fromEvent(event), 14);
    dragged = null;
  });
  life.on(canvas, "pointercancel", () => (dragged = null));
  life.on(canvas, "keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "Enter") chooseNear(lab.z);
    else if (move) {
      const size = (event.shiftKey ? 0.1 : 0.02) * cloud.now.extent;
      lab.moveTo([lab.z[0] + move[0] * size, lab.z[1] + move[1] * size], cloud.now.extent);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function onFrame() {
    const frame = past ? past.frame : readFrame(model.get("frame"));
    if (!frame) return;
    cloud.send(frame, performance.now());
    ask();
  }
  function onDecoder() {
    decoder = readDecoder(model.get("decoder"));
    showDecoded();
  }
  const onClasses = () => ((classes = Array.from(bytesOf(model.get("classes")) ?? [])), ask());
  const onBackdrop = () => ((backdrop = readBackdrop(model.get("backdrop"))), ask());
  const onProbe = () => ((probe = readProbe(model.get("probe"))), lab.showProbe(), ask());
  const onDecoded = (content, buffers) => {
    if (content.kind === "decoded") paintImage(pointer, bytesOf(buffers[0]), model.get("shape"));
  };

  life.trait(model, "frame", () => past || onFrame());
  life.trait(model, "decoder", onDecoder);
  life.trait(model, "digits pair chosen drawn", ask);
  life.trait(model, "pair", showDecoded);
  life.trait(model, "classes", onClasses);
  life.trait(model, "backdrop", onBackdrop);
  life.trait(model, "probe", onProbe);
  model.on("msg:custom", onDecoded);
  life.also(() => (model.off("msg:custom", onDecoded), ask.stop()));

  return {
    model, canvas, pointer, ask, showDecoded,
    get number() { return cloud.frame?.number ?? 0; },
    get probe() { return past ? null : probe; },
    start() {
      onClasses();
      onBackdrop();
      onFrame();
      onDecoder();
      onProbe();
    },
    // shows {frame, decoder, pair} of an earlier step; null: the run as it is
    look(back) {
      past = back;
      onFrame();
      showDecoded();
    },
  };
}
