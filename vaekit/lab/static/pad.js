// A pad to draw a digit on, in the lab and on its own: the strokes go to the kernel, which alone has the encoder.

import { contextOf, element } from "./page.js";

const PAUSE = 60; // ms between two messages while a stroke is drawn
const SAME = 0.008; // of the pad: a point so near to the last is none
const PEN = 0.1; // of the pad's width

// Strokes, each [[x, y], ...] in 0..1, and which pointer draws the last one: null when none does.
export function makeStrokes() {
  const strokes = { all: [], drawing: null, begin, move, end, replace };
  function begin(pointer, point) {
    if (strokes.drawing !== null && strokes.drawing !== pointer) return; // one hand draws
    strokes.drawing = pointer;
    strokes.all.push([point]);
  }
  function move(pointer, points) {
    if (strokes.drawing !== pointer) return;
    const stroke = strokes.all.at(-1), far = ([x, y]) => Math.hypot(x - stroke.at(-1)[0], y - stroke.at(-1)[1]) > SAME;
    for (const point of points) if (far(point)) stroke.push(point);
  }
  function end(pointer) {
    if (strokes.drawing === pointer) strokes.drawing = null;
  }
  // what is taken away in mid-stroke goes on nowhere
  function replace(all) {
    Object.assign(strokes, { all, drawing: null });
  }
  return strokes;
}

// `model` has the trait `strokes`, which the kernel may set as well.
export function makePad({ model, life }) {
  const canvas = element("canvas", { class: "vk-pad", role: "img" });
  const undo = element("button", { type: "button", title: "Take the last stroke back" }, "Undo");
  const wipe = element("button", { type: "button", title: "Wipe the pad" }, "Clear");
  const strokes = makeStrokes();
  let waiting = 0, sent = "";

  const paint = () => paintStrokes(canvas, strokes.all);
  function show() {
    const count = strokes.all.length;
    undo.disabled = wipe.disabled = count === 0;
    const drawn = `${count} ${count === 1 ? "stroke" : "strokes"}`;
    canvas.setAttribute("aria-label", `A pad to draw a digit on, with the mouse, a finger or a pen: ${drawn}`);
    paint();
  }
  function send() {
    waiting = 0;
    sent = JSON.stringify(strokes.all);
    model.set("strokes", JSON.parse(sent));
    model.save_changes(); // waits by itself until the kernel has answered the one before
  }
  function changed() {
    show();
    waiting ||= setTimeout(send, PAUSE);
  }
  function replace(all) {
    strokes.replace(all);
    changed();
  }
  function onStrokes() {
    const now = JSON.stringify(model.get("strokes"));
    if (strokes.drawing !== null || waiting || now === sent) return;
    sent = now;
    strokes.replace(JSON.parse(now));
    show();
  }

  life.on(canvas, "pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    strokes.begin(event.pointerId, placeIn(canvas, event));
    event.preventDefault();
    changed();
  });
  life.on(canvas, "pointermove", (event) => {
    if (strokes.drawing !== event.pointerId) return;
    if (!(event.buttons & 1)) return strokes.end(event.pointerId); // it came up where nobody heard of it
    const passed = event.getCoalescedEvents?.() ?? [];
    strokes.move(event.pointerId, (passed.length ? passed : [event]).map((each) => placeIn(canvas, each)));
    changed();
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
    life.on(canvas, type, (event) => strokes.end(event.pointerId));
  life.on(undo, "click", () => replace(strokes.all.slice(0, -1)));
  life.on(wipe, "click", () => replace([]));
  life.follow(model, "strokes", onStrokes);
  life.also(() => clearTimeout(waiting));
  const tools = element("div", { class: "vk-tools" }, undo, wipe);
  return { node: element("div", { class: "vk-row vk-drawing" }, canvas, tools), paint };
}

// Where in the pad an event is: [x, y] in 0..1, right and down
function placeIn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  return place.map((v) => Math.round(1000 * Math.min(1, Math.max(0, v))) / 1000);
}

function paintStrokes(canvas, strokes) {
  const [context, width, height] = contextOf(canvas);
  if (!width) return;
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  Object.assign(context, { strokeStyle: "#fff", lineWidth: PEN * width, lineCap: "round", lineJoin: "round" });
  for (const points of strokes) {
    context.beginPath();
    // a line to where it begins makes a single point a dot
    for (const [x, y] of [points[0], ...points]) context.lineTo(x * width, y * height);
    context.stroke();
  }
  if (strokes.length) return;
  const font = `${getComputedStyle(canvas).fontSize} sans-serif`;
  Object.assign(context, { fillStyle: "#b8bec6", font, textAlign: "center" });
  context.fillText("draw a digit", width / 2, height / 2);
}
