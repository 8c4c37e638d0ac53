// One run's plane: its cloud as it moves, and the decoder that follows the pointer across it.

import { density } from "./aggregate.js";
import { bytesOf, readFrame } from "./bytes.js";
import { decode, readDecoder } from "./decode.js";
import { drawPlane, readBackdrop, sceneOf } from "./draw.js";
import { glide } from "./glide.js";
import { contextOf, element, followPointer, painter, paintImages, tell, wantsNoMotion } from "./page.js";
import { turnBy } from "./turn.js";

const CLICK = 4; // px that a click may move
const NEAR = 14; // px within which a click chooses an image
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
// with few cores painting is at the training's cost
const MOST_PAINTINGS = (globalThis.navigator?.hardwareConcurrency || 4) <= 2 ? 20 : 60; // a second, of all planes together

const READERS = {
  classes: (view) => Array.from(bytesOf(view) ?? []), shades: (view) => bytesOf(view) ?? [], backdrop: readBackdrop, decoder: readDecoder,
  posterior: (found) => (found?.levels ? found : null),
};

// The index of the point nearest to z, and within `most` of it; −1 where none is.
export function nearestPoint(points, [z1, z2], most = Infinity) {
  let best = -1, least = most ** 2;
  for (let i = 0; i < points.length / 4; i++) {
    const distance = (points[4 * i] - z1) ** 2 + (points[4 * i + 1] - z2) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

// One plane of the lab. `lab` is what both planes of a twin share: see lab.js.
export function makePlane({ model, life, name, lab }) {
  const cloud = glide(), asked = new Set();
  const canvas = element("canvas", {
    class: "vk-plane", tabindex: 0, role: "application",
    "aria-label": `${name}The latent plane. Arrow keys move the pointer, Enter chooses the nearest image.`,
  });
  const pointer = element("canvas", { class: "vk-decoded", role: "img" });
  const sent = {}; // what the kernel has sent, read
  let past = null, heap = { frame: null, q: null, reach: 0 };

  const shown = () => past ?? sent; // what is shown: of an earlier step, or of the run as it is
  const pair = () => past?.pair ?? model.get("pair"), turn = () => turnBy(model.get("turn"));
  const ask = painter(life, paint, MOST_PAINTINGS / lab.count);

  function paint(time) {
    const moving = cloud.move(time), sized = contextOf(canvas), frame = cloud.frame(), { points, extent } = cloud.now;
    if (!frame || !sized[1]) return false;
    const scene = { ...sceneOf(canvas, sized, extent), turn: turn() }, now = shown();
    const { there } = scene.turn, mark = past ? null : model.get("drawn").mark;
    const truth = model.get("status").playing ? null : now.posterior; // else the weights have moved on
    const theme = scene.dark ? 1 : 0, factor = model.get("factor"), ramp = factor ? model.get("ramp")[theme] : null;
    const about = { classes: sent.classes, shades: sent.shades, colours: model.get("palette")[theme], ramp, factor };
    drawPlane({ ...scene, points: scene.turn.points(points), ...about }, {
      ...now, yours: mark?.length ? there(mark) : null, rings: !model.get("autoencoder"), prior: frame.beta > 0, digits: model.get("digits"),
      aggregated: model.get("aggregated") && aggregate(frame.extent * scene.turn.reach, frame, moving), truth, chosen: model.get("chosen"),
      pointer: lab.z, pair: pair(), extent: frame.extent,
    });
    plane.painted += 1;
    return moving;
  }

  // The density of q(z) over ± reach, kept while the points rest: the pointer may be dragged all the same.
  function aggregate(reach, frame, moving) {
    if (moving || heap.frame !== frame || heap.reach !== reach)
      heap = { frame: moving ? null : frame, q: density(cloud.now.points, reach), reach };
    return heap;
  }

  // The decoded image at the pointer: made here where the page can, else by the kernel.
  function showDecoded() {
    const { decoder } = shown();
    if (decoder) {
      paintImages([pointer], decode(decoder, turn().back(lab.z), pair()), model.get("shape"));
      pointer.setAttribute("aria-label", `${name}The decoded image at z = (${lab.z.map((v) => v.toFixed(2)).join(", ")})`);
    } else if (cloud.frame() && !past) {
      asked.add(String(lab.z));
      tell(model, { kind: "decode", z: lab.z });
    }
  }
  function onMessage({ kind, z }, buffers) {
    // another view of the same lab has a pointer of its own
    if (kind === "decoded" && asked.delete(String(z))) paintImages([pointer], bytesOf(buffers[0]), model.get("shape"));
  }

  function onFrame() {
    const frame = past ? past.frame : readFrame(model.get("frame"));
    const before = cloud.frame();
    if (!frame || frame === before) return;
    cloud.send(frame, performance.now(), wantsNoMotion());
    if (frame.beta !== before?.beta) ask.atOnce(); // whoever turned the knob waits for it
    else ask();
  }
  function read(trait) {
    sent[trait] = READERS[trait](model.get(trait));
    ask();
  }
  for (const trait of Object.keys(READERS)) life.follow(model, trait, () => read(trait));
  life.follow(model, "frame", onFrame);
  life.trait(model, "digits aggregated factor pair turn chosen drawn", ask);
  life.follow(model, "pair turn decoder", showDecoded);
  life.message(model, onMessage);

  const plane = {
    model, canvas, pointer, ask, showDecoded, pair, turn, shown,
    cloud: cloud.now, frame: cloud.frame, painted: 0,
    // shows {frame, decoder, pair} of an earlier step; null: the run as it is
    look(back) {
      past = back;
      onFrame();
      showDecoded();
    },
  };
  listen(plane, life, lab);
  return plane;
}

// Mouse, finger, pen and keys: drag to decode, click or Enter to choose.
function listen({ canvas, cloud, turn }, life, lab) {
  let start = null; // the event of a pointer that went down

  const scaleOf = (box) => Math.min(box.width, box.height) / 2 / cloud.extent;
  const placeOf = (event, box = canvas.getBoundingClientRect()) => [
    (event.clientX - box.left - box.width / 2) / scaleOf(box),
    (box.height / 2 - (event.clientY - box.top)) / scaleOf(box),
  ];
  function choose(z, most) {
    const index = nearestPoint(cloud.points, turn().back(z), most);
    if (index >= 0) lab.choose(index);
  }
  followPointer(life, canvas, {
    down(event) {
      start = event;
      lab.moveTo(placeOf(event), cloud.extent);
      canvas.focus({ preventScroll: true });
    },
    move: (event) => lab.moveTo(placeOf(event), cloud.extent),
    up(event) {
      const clicked = Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < CLICK;
      if (clicked) choose(placeOf(event), NEAR / scaleOf(canvas.getBoundingClientRect()));
    },
  });
  life.on(canvas, "keydown", (event) => {
    if (event.key === "Enter") choose(lab.z);
    else if (event.key in ARROWS) {
      const size = (event.shiftKey ? 0.1 : 0.02) * cloud.extent;
      lab.moveTo(ARROWS[event.key].map((way, i) => lab.z[i] + way * size), cloud.extent);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
