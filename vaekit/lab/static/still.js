// A run without a kernel: the widgets' models as they were last, and the answers that can be given from the file.

import { bytesOf, readFrame, unpack } from "./bytes.js";
import { decode, readDecoder } from "./decode.js";
import { renderLab } from "./lab.js";
import { LAST } from "./timeline.js";

// What a widget's model is to its page; `answers` are functions of what the page sends, by its kind.
function stillModel(state, answers = {}) {
  const heard = {}, hear = (name) => (heard[name] ??= new Set());
  const fire = (name, ...args) => hear(name).forEach((callback) => callback(...args));
  return {
    answers,
    keys: "f?",
    get: (name) => state[name],
    set(name, value) {
      state[name] = value;
      fire(`change:${name}`);
    },
    on: (name, callback) => hear(name).add(callback),
    off: (name, callback) => hear(name).delete(callback),
    save_changes() {},
    send: (content) => answers[content.kind]?.(content),
    tell: (content) => fire("msg:custom", content, []),
  };
}

// The state in the page, with bytes in place of each {at, length}.
async function readRun() {
  const packed = Uint8Array.from(atob(document.getElementById("run").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  return unpack(bytes);
}

// A draw from N(0, 1)
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

// The chosen image: x from the file, and where the code is two numbers its x̂ at μ and three draws, decoded here.
function choose(models, images, index) {
  for (const model of models) {
    const size = model.get("shape").reduce((a, b) => a * b), decoder = readDecoder(model.get("decoder"));
    if ((index + 1) * size > images.length) return;
    model.set("chosen", index);
    if (decoder?.latent_dim !== 2) continue;
    const [m1, m2, s1, s2] = readFrame(model.get("frame")).points.subarray(4 * index, 4 * index + 4);
    const draws = [1, 2, 3].map(() => [m1 + s1 * normal(), m2 + s2 * normal()]);
    const decoded = [[m1, m2], ...draws].map((z) => decode(decoder, z, [0, 1]));
    const original = images.subarray(index * size, (index + 1) * size);
    model.set("pictures", Uint8Array.from([original, ...decoded].flatMap((image) => [...image])));
    model.set("drawn", {}); // else what was drawn stays in view: no pad here, as nothing can encode
  }
}

// The step that the page's address names, as in run.html#step=400: the slider goes there.
function openAt({ frames }) {
  const step = location.hash.match(/^#step=(\d+)$/)?.[1], slider = document.querySelector(".vk-way");
  if (!step) return;
  slider.dispatchEvent(new Event("focus"));
  slider.value = (LAST * step) / frames.at(-1).step;
  slider.dispatchEvent(new Event("input"));
}

// Within another page, such as the book's, this one cannot be looked into: it says how high it is.
function tellHeight() {
  const send = () => parent.postMessage({ height: document.body.scrollHeight }, "*");
  new ResizeObserver(send).observe(document.body);
}

async function start() {
  const run = await readRun(), nothing = { sheet: null, posterior: null, parts: null, tasks: [], digits: false, aggregated: false, scrub: -1, pad: false, strokes: [] };
  const models = run.planes.map((state) => stillModel({ ...state, ...nothing }));
  const [first, second = null] = models;
  first.set("twin", second);
  first.answers.choose = ({ index }) => choose(models, bytesOf(run.images), index);
  first.answers.trail = () => first.tell({ kind: "trail", trail: run.trail });
  await renderLab({ model: first, el: document.getElementById("plane") });
  openAt(run.trail);
  addEventListener("hashchange", () => openAt(run.trail));
  if (parent !== window) tellHeight();
}

// The picture in the page stands for what cannot be shown.
start().catch((error) => {
  const why = "DecompressionStream" in globalThis ? error : "it is too old for this page";
  document.getElementById("plane").replaceChildren(`This browser cannot show the live run (${why}). This is how it ended:`);
  document.getElementById("picture").hidden = false;
});
