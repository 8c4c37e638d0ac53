// A run without a kernel: the two widgets' models as they were last, and the answers that can be given from the file.

const light = () => (document.body.dataset.jpThemeLight = String(!matchMedia("(prefers-color-scheme: dark)").matches));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", light);
light();

function stillModel(state) {
  const heard = {};
  const fire = (name, ...args) => (heard[name] ?? []).forEach((callback) => callback(...args));
  return {
    get: (name) => state[name],
    set(name, value) {
      state[name] = value;
      fire(`change:${name}`);
    },
    on: (name, callback) => (heard[name] ??= []).push(callback),
    off: (name, callback) => (heard[name] = (heard[name] ?? []).filter((other) => other !== callback)),
    save_changes() {},
    answers: {},
    send(content) {
      this.answers[content.kind]?.(content);
    },
    tell: (content, buffers) => fire("msg:custom", content, buffers),
  };
}

async function readRun() {
  const text = document.getElementById("run").textContent;
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const start = 4 + length, place = (value) => bytes.slice(start + value.at, start + value.at + value.length);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)), (_, value) =>
    Object.hasOwn(Object(value), "at") ? place(value) : value);
}

// The chosen image: x from the file, and where the code is two numbers its x̂ at μ and three draws, decoded here.
function choose(models, images, index) {
  for (const model of models) {
    const shape = model.get("shape"), size = shape.reduce((a, b) => a * b);
    if ((index + 1) * size > images.length) return;
    model.set("chosen", index);
    const { decode, readDecoder, readFrame } = planePage, decoder = readDecoder(model.get("decoder"));
    if (decoder?.latent_dim !== 2) continue;
    const [m1, m2, s1, s2] = readFrame(model.get("frame")).points.subarray(4 * index, 4 * index + 4);
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    const codes = [[m1, m2], ...[1, 2, 3].map(() => [m1 + s1 * normal(), m2 + s2 * normal()])];
    const pixels = [images.subarray(index * size, (index + 1) * size), ...codes.map((z) => decode(decoder, z, [0, 1]))];
    model.set("pictures", Uint8Array.from(pixels.flatMap((image) => [...image])));
  }
}

const run = await readRun(), noPad = { pad: false, strokes: [], drawn: {} };
const models = run.planes.map((state) => stillModel({ ...state, digits: false, showing: "", scrub: -1, ...noPad }));
const curves = stillModel({ ...run.curves, scrub: -1 });
const [first] = models;
first.set("twin", models[1] ?? null);
first.on("change:scrub", () => curves.set("scrub", first.get("scrub")));
first.answers = {
  choose: ({ index }) => choose(models, run.images, index),
  trail: () => first.tell({ kind: "trail", trail: run.trail }),
};
await planePage.render({ model: first, el: document.getElementById("plane") });
curvesPage.render({ model: curves, el: document.getElementById("curves") });
