// What the plane and the curves share: theme, sizes, the loop that rests.

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function isDark() {
  const jupyter = document.body.dataset.jpThemeLight;
  if (jupyter !== undefined) return jupyter === "false";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// A canvas's context in CSS pixels, sharp on every screen.
function contextOf(canvas) {
  const scale = Math.min(devicePixelRatio || 1, 2);
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return [context, width, height];
}

// Paints when asked to, at most `rate` times a second, and goes on only while paint() says so.
function painter(paint, rate) {
  let asked = 0, last = 0;
  const turn = (now) => {
    if (now - last < 1000 / rate - 4) {
      asked = requestAnimationFrame(turn);
      return;
    }
    asked = 0;
    last = now;
    if (paint(now)) asked = requestAnimationFrame(turn);
  };
  const ask = () => (asked ||= requestAnimationFrame(turn));
  ask.stop = () => cancelAnimationFrame(asked);
  return ask;
}

// Everything that must be taken down again when the view goes.
function lifetime(model) {
  const undo = [];
  return {
    on(target, type, callback, options) {
      target.addEventListener(type, callback, options);
      undo.push(() => target.removeEventListener(type, callback, options));
    },
    trait(names, callback) {
      for (const name of names.split(" ")) {
        model.on(`change:${name}`, callback);
        undo.push(() => model.off(`change:${name}`, callback));
      }
    },
    also: (callback) => undo.push(callback),
    end: () => undo.forEach((callback) => callback()),
  };
}

// Calls back when the theme or the size of `node` changes.
function whenLooksChange(life, node, callback) {
  const theme = new MutationObserver(callback);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  const size = new ResizeObserver(callback);
  size.observe(node);
  life.also(() => (theme.disconnect(), size.disconnect()));
}
