// A pad to draw a digit on, in the lab and on its own: the strokes go to the kernel, which alone has the encoder.

import { contextOf, element, followPointer } from "./page.js";

const PAUSE = 60; // ms between two messages while a stroke is drawn
const SAME = 0.008; // of the pad: a point so near to the last is none
const PEN = 0.1; // of the pad's width

// `model` has the trait `strokes`, which the kernel may set as well.
export function makePad({ model, life }) {
  const canvas = element("canvas", { class: "vk-pad", role: "img" });
  const undo = element("button", { type: "button", title: "Take the last stroke back" }, "Undo");
  const wipe = element("button", { type: "button", title: "Wipe the pad" }, "Clear");
  let strokes = [], waiting = 0, sent = ""; // strokes: each [[x, y], ...] in 0..1

  const paint = () => paintStrokes(canvas, strokes);
  function show() {
    const count = strokes.length;
    undo.disabled = wipe.disabled = count === 0;
    const drawn = `${count} ${count === 1 ? "stroke" : "strokes"}`;
    canvas.setAttribute("aria-label", `A pad to draw a digit on, with the mouse, a finger or a pen: ${drawn}`);
    paint();
  }
  function send() {
    waiting = 0;
    sent = JSON.stringify(strokes);
    model.set("strokes", JSON.parse(sent));
    model.save_changes(); // waits by itself until the kernel has answered the one before
  }
  function changed() {
    show();
    waiting ||= setTimeout(send, PAUSE);
  }
  function replace(all) {
    hand.drop(); // what is taken away in mid-stroke goes on nowhere
    strokes = all;
    changed();
  }
  function onStrokes() {
    const now = JSON.stringify(model.get("strokes"));
    if (hand.held() || waiting || now === sent) return;
    sent = now;
    strokes = JSON.parse(now);
    show();
  }

  const hand = followPointer(life, canvas, {
    down(event) {
      event.preventDefault();
      strokes.push([placeIn(canvas, event)]);
      changed();
    },
    move(event) {
      const passed = event.getCoalescedEvents?.() ?? [], stroke = strokes.at(-1);
      for (const [x, y] of (passed.length ? passed : [event]).map((each) => placeIn(canvas, each)))
        if (Math.hypot(x - stroke.at(-1)[0], y - stroke.at(-1)[1]) > SAME) stroke.push([x, y]);
      changed();
    },
  });
  life.on(undo, "click", () => replace(strokes.slice(0, -1)));
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
