// A pad to draw a digit on, in the lab and on its own: the strokes go to the kernel, which alone has the encoder.

const PAUSE = 60; // ms between two messages while a stroke is drawn

// "z₁ = 0.52 ± 0.11" in one piece, wherever the line ends
const unbroken = (words) => words.replace(/ ([=±]) /g, "\u00a0$1\u00a0");

// `model` has the trait `strokes`, each [[x, y], ...] in 0..1, which the kernel may set as well.
function makePad({ model, life }) {
  const canvas = element("canvas", { class: "vk-pad", role: "img" });
  const undo = element("button", { type: "button", title: "Take the last stroke back" }, "Undo");
  const clear = element("button", { type: "button", title: "Wipe the pad" }, "Clear");
  let strokes = [], drawing = false, waiting = 0, last = "";

  function paint() {
    const [context, width, height] = contextOf(canvas);
    if (!width) return;
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.strokeStyle = context.fillStyle = "#fff";
    context.lineWidth = 0.1 * width;
    context.lineCap = context.lineJoin = "round";
    for (const points of strokes) {
      context.beginPath();
      // a line to where it begins makes a single point a dot
      for (const [x, y] of [points[0], ...points]) context.lineTo(x * width, y * height);
      context.stroke();
    }
    if (!strokes.length) {
      context.fillStyle = "#b8bec6";
      context.font = `${getComputedStyle(canvas).fontSize} sans-serif`;
      context.textAlign = "center";
      context.fillText("draw a digit", width / 2, height / 2);
    }
  }
  function show() {
    undo.disabled = clear.disabled = !strokes.length;
    const count = `${strokes.length} ${strokes.length === 1 ? "stroke" : "strokes"}`;
    canvas.setAttribute("aria-label", `A pad to draw a digit on, with the mouse, a finger or a pen: ${count}`);
    paint();
  }
  function send() {
    waiting = 0;
    last = JSON.stringify(strokes);
    model.set("strokes", JSON.parse(last));
    model.save_changes(); // waits by itself until the kernel has answered the one before
  }
  const changed = () => (show(), (waiting ||= setTimeout(send, PAUSE)));

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
      .map((v) => Math.round(1000 * Math.min(1, Math.max(0, v))) / 1000);
  };
  life.on(canvas, "pointerdown", (event) => {
    if (event.button !== 0 || drawing) return;
    canvas.setPointerCapture(event.pointerId);
    drawing = event.pointerId;
    strokes.push([place(event)]);
    event.preventDefault();
    changed();
  });
  life.on(canvas, "pointermove", (event) => {
    if (drawing !== event.pointerId) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    const points = strokes.at(-1);
    for (const point of (passed.length ? passed : [event]).map(place)) {
      const [x, y] = points.at(-1);
      if (Math.hypot(point[0] - x, point[1] - y) > 0.008) points.push(point);
    }
    changed();
  });
  const lift = (event) => drawing === event.pointerId && (drawing = false);
  life.on(canvas, "pointerup", lift);
  life.on(canvas, "pointercancel", lift);
  life.on(undo, "click", () => (strokes.pop(), changed()));
  life.on(clear, "click", () => ((strokes = []), changed()));
  life.also(() => clearTimeout(waiting));

  function onStrokes() {
    const now = JSON.stringify(model.get("strokes"));
    if (drawing !== false || waiting || now === last) return;
    last = now;
    strokes = JSON.parse(now);
    show();
  }
  life.trait(model, "strokes", onStrokes);
  const node = element("div", { class: "vk-row vk-drawing" }, canvas, element("div", { class: "vk-tools" }, undo, clear));
  return { node, paint, start: () => (onStrokes(), show()) };
}
