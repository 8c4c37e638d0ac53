// What all widgets share: nodes, canvases, the loop that rests, theme and size, and the way to the kernel.

export const SIDE_NAMES = ["left", "right"];

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const wantsNoMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// A canvas's context in CSS pixels, sharp on every screen. Out of sight it has no size, and keeps its picture.
export function contextOf(canvas) {
  const { clientWidth, clientHeight } = canvas, scale = Math.min(devicePixelRatio || 1, 2);
  const [width, height] = [clientWidth, clientHeight].map((side) => Math.round(side * scale));
  if (width && (canvas.width !== width || canvas.height !== height)) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return [context, clientWidth, clientHeight];
}

// Fills a canvas with width × height pixels, the i-th of colour(i): four bytes, red the lowest. Returns the canvas.
export function paintPixels(canvas, width, height, colour) {
  const image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colour(i);
  Object.assign(canvas, { width, height }).getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export const colourOfBytes = (red, green, blue, alpha = 255) => red | (green << 8) | (blue << 16) | (alpha << 24);

// images [C, H, W] in 0..255, one after the other in `pixels`, each into its canvas
export function paintImages(canvases, pixels, [channels, height, width]) {
  const size = width * height, apart = channels === 3 ? size : 0;
  for (const [k, canvas] of canvases.entries()) {
    const [red, green, blue] = [0, 1, 2].map((c) => k * channels * size + c * apart);
    paintPixels(canvas, width, height, (i) => colourOfBytes(pixels[red + i], pixels[green + i], pixels[blue + i]));
  }
}

// Paints when asked to, at most `rate` times a second, or at once when that is asked; goes on only while paint() says so.
export function painter(life, paint, rate) {
  let asked = 0, last = 0;
  const turn = (now) => {
    const early = now - last < 1000 / rate - 4;
    if (!early) [asked, last] = [0, now];
    if (early || paint(now)) asked = requestAnimationFrame(turn);
  };
  life.also(() => cancelAnimationFrame(asked));
  const ask = () => void (asked ||= requestAnimationFrame(turn));
  ask.atOnce = () => {
    last = 0;
    ask();
  };
  return ask;
}

// Everything that must be taken down again when the view goes.
export function lifetime() {
  const controller = new AbortController(), { signal } = controller;
  const also = (callback) => signal.addEventListener("abort", callback);
  const hear = (model, event, callback) => {
    model.on(event, callback);
    also(() => model.off(event, callback));
  };
  const trait = (model, names, callback) => names.split(" ").forEach((name) => hear(model, `change:${name}`, callback));
  return {
    also,
    on: (target, type, callback, options) => target.addEventListener(type, callback, { ...options, signal }),
    trait,
    // calls back now, and whenever one of the traits changes
    follow(model, names, callback) {
      trait(model, names, callback);
      callback();
    },
    message: (model, callback) => hear(model, "msg:custom", callback),
    end: () => controller.abort(),
  };
}

// Follows one pointer over a node, from where its main button goes down until it comes up, wherever it is by then;
// others wait. `up` is told only of a button that came up. Returns {held: is there one?, drop: follow it no more}.
export function followPointer(life, node, { down, move, up = () => {} }) {
  let held = null;
  const drop = () => (held = null);
  life.on(node, "pointerdown", (event) => {
    const busy = held !== null && held !== event.pointerId && node.hasPointerCapture(held);
    if (event.button !== 0 || busy) return;
    held = event.pointerId;
    node.setPointerCapture(held);
    down(event);
  });
  life.on(node, "pointermove", (event) => {
    if (held !== event.pointerId) return;
    if (event.buttons & 1) move(event);
    else drop(); // it came up where nobody heard of it: in a menu, say
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
    life.on(node, type, (event) => {
      if (held !== event.pointerId) return;
      drop();
      if (type === "pointerup") up(event);
    });
  return { held: () => held !== null, drop };
}

// What a node says; without a text it is hidden.
export const say = (node, text) => Object.assign(node, { textContent: text, hidden: !text });

// Sends to the kernel. Returns false when there is none any more, as after a restart.
export function tell(model, content) {
  try {
    model.send(content);
    return true;
  } catch {
    return false;
  }
}

// Another widget's model: anywidget hands it over as a reference.
export const modelOf = (model, reference) =>
  typeof reference === "string" ? model.widget_manager.get_model(reference.slice("IPY_MODEL_".length)) : reference;

// Is the kernel's end of the widget gone? Its layout, a widget as well, lives and dies with it.
export const isGone = (model) => model.get("layout")?.comm_live === false;

// Has the browser save `bytes` as a file.
export function saveFile(name, bytes) {
  const url = URL.createObjectURL(new Blob([bytes]));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Is the text around a node light, and so its ground dark? The theme's one rule, for scripts and style sheet, in
// JupyterLab or any page; VS Code says it.
function onDarkGround(node) {
  const { vscodeThemeKind: kind } = document.body.dataset;
  if (kind) return kind === "vscode-dark" || kind === "vscode-high-contrast";
  const context = element("canvas").getContext("2d", { willReadFrequently: true });
  context.fillStyle = getComputedStyle(node).color;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return red + green + blue > 3 * 128;
}

// Calls back when the window moves to a screen of another sharpness; not every browser has an event for it.
function whenScreenChanges(life, callback) {
  let sharpness = devicePixelRatio;
  const looking = setInterval(() => {
    if (sharpness !== (sharpness = devicePixelRatio)) callback();
  }, 400);
  life.also(() => clearInterval(looking));
}

// Calls back when the theme, the screen or the size of `root` changes, and when it comes into sight: out of sight it
// has no size, so that nothing could be painted there. In the dark, `root` has the class vk-dark.
export function whenLooksChange(life, root, callback) {
  const look = () => {
    root.classList.toggle("vk-dark", onDarkGround(root.parentElement));
    callback();
  };
  const soon = () => [0, 100, 1000].forEach((wait) => setTimeout(look, wait)); // a theme's colours may come late
  const theme = new MutationObserver(soon);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind", "class", "style"] });
  life.on(matchMedia("(prefers-color-scheme: dark)"), "change", soon);
  whenScreenChanges(life, look);
  const size = new ResizeObserver(look), sight = new IntersectionObserver(look);
  for (const observer of [size, sight]) observer.observe(root);
  life.also(() => [theme, size, sight].forEach((observer) => observer.disconnect()));
  look();
}
