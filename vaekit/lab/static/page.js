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

// A canvas's context in CSS pixels, sharp on every screen. Out of sight it has no size, and keeps its picture.
function contextOf(canvas) {
  const scale = Math.min(devicePixelRatio || 1, 2);
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (width && (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale))) {
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
function lifetime() {
  const undo = [];
  return {
    on(target, type, callback, options) {
      target.addEventListener(type, callback, options);
      undo.push(() => target.removeEventListener(type, callback, options));
    },
    trait(model, names, callback) {
      for (const name of names.split(" ")) {
        model.on(`change:${name}`, callback);
        undo.push(() => model.off(`change:${name}`, callback));
      }
    },
    also: (callback) => undo.push(callback),
    end: () => undo.forEach((callback) => callback()),
  };
}

// ipywidgets leaves its sliders, boxes and menus without a name for screen readers: their tooltips name them.
function nameControls(root) {
  for (const control of root.closest(".widget-vbox")?.querySelectorAll(".vk-controls > *") ?? []) {
    const name = control.querySelector("[title]:not([title=''])")?.title;
    if (name) control.querySelector("input, select, [role=slider]")?.setAttribute("aria-label", name);
  }
}

// Marks on the β sliders: where the theory has each dimension of a linear model die.
function markDeaths(root, deaths) {
  for (const rail of root.closest(".widget-vbox")?.querySelectorAll(".vk-beta .noUi-target") ?? []) {
    rail.querySelectorAll(".vk-death").forEach((mark) => mark.remove());
    for (const [dim, beta] of deaths.entries()) {
      const mark = element("i", { class: "vk-death", title: `direction ${dim + 1} dies at β = ${beta.toPrecision(3)}` });
      mark.style.left = `${25 * (Math.log10(beta) + 2)}%`; // the slider's four decades begin at 0.01
      if (beta >= 0.01 && beta <= 100) rail.append(mark);
    }
  }
}

// Sends to the kernel. Returns false when there is none any more, as after a restart.
function tell(model, content) {
  try {
    model.send(content);
    return true;
  } catch {
    return false;
  }
}

// Has the browser save `bytes` as a file.
function saveFile(name, bytes) {
  const url = URL.createObjectURL(new Blob([bytes]));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Calls back when the theme or the size of `node` changes, and when it comes into sight: out of sight it has no
// size, so that nothing could be painted there.
function whenLooksChange(life, node, callback) {
  // JupyterLab says so while all is hidden for a moment
  const theme = new MutationObserver(() => [0, 100, 1000].forEach((wait) => setTimeout(callback, wait)));
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  const size = new ResizeObserver(callback);
  size.observe(node);
  const sight = new IntersectionObserver(callback);
  sight.observe(node);
  life.also(() => (theme.disconnect(), size.disconnect(), sight.disconnect()));
}
