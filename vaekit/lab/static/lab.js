// The lab: a plane for each run, one pointer for all, what stands beside them, and the way back along the run.

import { bytesOf } from "./bytes.js";
import { makeCurves } from "./curves.js";
import { listenToKeys } from "./keys.js";
import { element, isGone, lifetime, modelOf, saveFile, say, SIDE_NAMES, tell, whenLooksChange } from "./page.js";
import { makePad } from "./pad.js";
import { makeDimensions, makePanel } from "./panel.js";
import { makePlane } from "./plane.js";
import { makeTasks } from "./tasks.js";
import { makeTimeline } from "./timeline.js";
import { watchUploads } from "./uploads.js";

const SECOND = 1000;
const GONE = "The kernel is gone, and this lab with it: run the cell again.";

// Is a heartbeat due, so many ms after the last? Every second while something moves in sight: the kernel sends frames to
// whoever looks. All else is silent, so that a server may take a forgotten lab for idle.
export const isDue = (moving, silence) => moving && silence >= SECOND - 100;

// Once for a lab, however many views it has.
function initialize({ model }) {
  const save = (content, buffers) => {
    if (content.kind === "file") saveFile(content.name, bytesOf(buffers[0]));
  };
  model.on("msg:custom", save);
  return () => model.off("msg:custom", save);
}

export async function renderLab({ model, el }) {
  const life = lifetime(), twin = await modelOf(model, model.get("twin")), models = twin ? [model, twin] : [model];
  const lab = {
    z: [0, 0],
    count: models.length,
    moveTo(where, limit) {
      lab.z = where.map((v) => Math.max(-limit, Math.min(limit, v)));
      panel.showZ(lab.z);
      for (const plane of planes) {
        plane.showDecoded();
        plane.ask();
      }
    },
    choose: (index) => tell(model, { kind: "choose", index }),
  };
  const planes = models.map((each, i) => makePlane({ model: each, life, lab, name: twin ? `${SIDE_NAMES[i]}: ` : "" }));
  const pad = makePad({ model, life }), dimensions = makeDimensions(planes);
  const panel = makePanel(planes, pad, dimensions);
  const timeline = makeTimeline({ model, life, planes, onLook });
  const tasks = makeTasks(model), curves = makeCurves({ model, life, runs: models.length });
  const message = element("div", { class: "vk-message", role: "alert" });
  const spoken = element("div", { class: "vk-spoken", "aria-live": "polite" });
  const captions = planes.map(() => element("figcaption", {}));
  const verdicts = planes.map(() => element("div", { class: "vk-verdict" }));
  const figures = planes.map(({ canvas }, i) => !twin ? canvas
    : element("figure", { class: `vk-side${i ? " vk-lab-right" : ""}` }, captions[i], canvas, verdicts[i]));
  const below = element("div", { class: "vk-below" }, ...(twin ? [] : verdicts), timeline.node);
  const main = element("div", { class: "vk-main" }, ...figures, panel.node, below);
  const root = element("div", { class: `vk-lab ${twin ? "vk-twin" : "vk-single"}` }, message, tasks.node, main, spoken, curves.node);
  el.replaceChildren(root);

  const sideOf = (node) => (node.closest(".vk-lab-right") ? 1 : 0);
  function onLook(back) {
    root.classList.toggle("vk-past", back);
  }
  function onStatus() {
    planes.forEach(({ model: each }, i) => {
      const { headline = "", sentence = "", settings: { prior, beta } = {} } = each.get("status");
      const knobs = prior ? `prior on, β = ${Number(beta.toPrecision(3))}` : "prior off";
      captions[i].textContent = each.get("autoencoder") ? SIDE_NAMES[i] : `${SIDE_NAMES[i]}: ${knobs}`;
      verdicts[i].replaceChildren(element("strong", {}, headline), " ", sentence);
    });
    timeline.onStatus(model.get("status"));
    panel.showMeters();
    showTasks();
    dimensions.showBars();
    heart.check();
  }
  function showTasks() {
    tasks.show(root.closest(".vaekit-lab"));
  }
  function onMessage() {
    say(message, heart.gone ? GONE : model.get("message"));
  }
  function speak() {
    const said = models.map((each, i) => {
      const { headline = "", sentence = "", meters = [] } = each.get("status");
      return `${twin ? SIDE_NAMES[i] : ""} ${headline} ${sentence} ${meters.map((meter) => meter.join(" ")).join(", ")}`;
    });
    const text = said.join(". ").trim();
    if (spoken.textContent !== text) spoken.textContent = text;
  }
  const heart = makeHeart({ model, life, root, plane: planes[0], onGone: onMessage });
  const speaking = setInterval(speak, 5 * SECOND);
  life.also(() => clearInterval(speaking));

  models.forEach((each, i) => {
    life.follow(each, "pictures chosen noise", () => panel.showChosen(i));
    life.follow(each, "sheet", () => panel.showSheet(i));
    life.follow(each, "drawn", panel.showDrawn);
    life.follow(each, "status", onStatus);
    life.follow(each, "traversals", dimensions.showTraversals);
    life.trait(each, "pair", dimensions.showBars);
  });
  life.follow(model, "message", onMessage);
  life.trait(model, "tasks", showTasks);
  life.follow(model, "pad", panel.showPad);
  life.trait(model, "deaths", () => markDeaths(root, model.get("deaths")));
  life.on(root, "vk-probe", ({ detail }) => Object.assign(detail, { planes, z: lab.z })); // a test asks what is shown
  panel.showZ(lab.z);
  watchUploads({ model, life });
  let keys = null;
  whenLooksChange(life, root, () => {
    const host = root.closest(".vaekit-lab");
    if (host && !keys) root.append((keys = listenToKeys({ model, life, host, side: sideOf })));
    nameControls(root);
    sayPlaces(root);
    showTasks();
    markDeaths(root, model.get("deaths"));
    for (const painted of [...planes, curves]) painted.ask();
    pad.paint();
  });
  return life.end;
}

// Tells the kernel that somebody looks, and sees whether there is a kernel; without one the controls are of no use.
function makeHeart({ model, life, root, plane, onGone }) {
  const heart = { gone: false, check };
  const number = () => plane.frame()?.number ?? 0;
  let inView = true, before = "", beaten = -Infinity, seen = -1;

  function setGone(gone) {
    for (const row of rowsOf(root)) row.inert = gone; // at each check: a saved lab's rows may come after its planes
    if (heart.gone === gone) return;
    heart.gone = gone;
    onGone();
  }
  function check() {
    const playing = Boolean(model.get("status").playing), visible = inView && !document.hidden;
    const now = `${playing} ${visible}`, turned = now !== before && (playing || visible);
    before = now;
    if (isGone(model)) setGone(true);
    else if (turned || isDue(visible && (playing || number() !== seen), performance.now() - beaten)) beat(visible);
  }
  function beat(visible) {
    [beaten, seen] = [performance.now(), number()];
    setGone(!tell(model, { kind: "seen", frame: seen, visible }));
  }
  const sight = new IntersectionObserver((entries) => {
    inView = entries.at(-1).isIntersecting; // the last is the present one
    check();
  });
  sight.observe(root);
  life.on(document, "visibilitychange", check);
  const checking = setInterval(check, SECOND);
  life.also(() => clearInterval(checking));
  life.also(() => sight.disconnect());
  return heart;
}

const rowsOf = (root) => root.closest(".vaekit-lab")?.querySelectorAll(".vk-controls") ?? [];

// ipywidgets leaves its sliders, boxes, menus and icons without a name for screen readers: their tooltips name them. A knob
// that is on or off is a switch, named by its label, and of a twin by whose it is.
function nameControls(root) {
  for (const control of [...rowsOf(root)].flatMap((row) => [...row.querySelectorAll(".jupyter-widgets, .widget-slider")])) {
    const box = control.querySelector("input[type=checkbox]"), words = control.textContent.replace("\u200b", "").trim();
    const tip = control.title || control.querySelector("[title]:not([title=''])")?.title;
    const whose = control.closest(".vk-group")?.firstElementChild.textContent.trim();
    if (control.matches(".vk-switch")) {
      box.setAttribute("role", "switch");
      box.setAttribute("aria-label", whose ? `${whose}: ${words}` : words);
    } else if (control.matches("button") && words.length < 2) control.setAttribute("aria-label", tip);
    else if (tip && !box) {
      for (const part of control.querySelectorAll("input, select, [role=slider], .widget-readout")) part.setAttribute("aria-label", tip);
      control.querySelector('.widget-readout:not([style*="none"])')?.setAttribute("role", "textbox");
    }
  }
}

const railsOf = (root) => root.closest(".vaekit-lab")?.querySelectorAll(".vk-beta .noUi-target") ?? [];

// A slider tells a screen reader the number of its place; ipywidgets has what it stands for in a readout that is hidden.
function sayPlaces(root) {
  for (const rail of railsOf(root)) {
    const [handle, readout] = ["[role=slider]", ".widget-readout"].map((part) => rail.closest(".vk-beta").querySelector(part));
    rail.noUiSlider.off("update.vk");
    rail.noUiSlider.on("update.vk", () => handle.setAttribute("aria-valuetext", readout.textContent));
  }
}

// Marks on the β sliders: where the theory has each dimension of a linear model die.
function markDeaths(root, deaths) {
  for (const rail of railsOf(root)) {
    rail.querySelectorAll(".vk-death").forEach((mark) => mark.remove());
    for (const [dim, beta] of deaths.entries()) {
      if (beta < 0.01 || beta > 100) continue; // the slider's four decades
      const mark = element("i", { class: "vk-death", title: `direction ${dim + 1} dies at β = ${beta.toPrecision(3)}` });
      mark.style.left = `${25 * (Math.log10(beta) + 2)}%`;
      rail.append(mark);
    }
  }
}

export default { initialize, render: renderLab };
