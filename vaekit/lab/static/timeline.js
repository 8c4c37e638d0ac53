// Looking back along the run: a slider over the frames that were kept, each with the decoder kept nearest to it.

import { readFrame, unpack } from "./bytes.js";
import { readDecoder } from "./decode.js";
import { element, tell } from "./page.js";

export const LAST = 1000; // the slider's right end: the run as it is now

// Of a list of {step}, the one nearest to a step.
export const nearest = (list, step) =>
  list.reduce((best, other) => (Math.abs(other.step - step) < Math.abs(best.step - step) ? other : best));

// `onLook(back)` is told whether an earlier step is looked at.
export function makeTimeline({ model, life, planes, onLook }) {
  const slider = element("input", {
    type: "range", class: "vk-way", min: 0, max: LAST, value: LAST, step: 1, "aria-label": "Look back along the run",
  });
  const label = element("output"), name = element("span", {}, "look back");
  const node = element("div", { class: "vk-row vk-back" }, name, slider, label);
  let trail = null, asked = false;

  function askForTrail() {
    if (trail || model.get("status").playing) return;
    asked = true;
    tell(model, { kind: "trail" });
  }
  function onMessage(content, buffers) {
    if (content.kind !== "trail" || !asked) return; // else it is another view's
    asked = false;
    trail = content.trail ?? unpack(buffers[0]);
    lookBack();
  }
  function lookBack() {
    if (!trail) return;
    const last = trail.frames.at(-1), found = nearest(trail.frames, (slider.value / LAST) * last.step);
    show(found === last ? null : found);
  }
  // Shows what was kept of an earlier step; null: the run as it is.
  function show(found) {
    const decoder = found && nearest(trail.decoders, found.step);
    planes.forEach((plane, i) => plane.look(found &&
      { pair: found.pair, frame: readFrame(found.parts[i]), decoder: readDecoder(decoder.parts[i]) }));
    label.textContent = found
      ? `step ${found.step.toLocaleString("en")}, decoder of step ${decoder.step.toLocaleString("en")}` : "now";
    if (!found) slider.value = LAST;
    model.set("scrub", found?.step ?? -1);
    onLook(found !== null);
  }
  // What was kept is out of date as soon as the run goes on.
  function onStatus({ playing, step }) {
    node.hidden = playing;
    if (!trail || (!playing && step === trail.frames.at(-1).step)) return;
    trail = null;
    show(null);
  }
  life.on(slider, "pointerdown", askForTrail);
  life.on(slider, "focus", askForTrail);
  life.on(slider, "input", lookBack);
  life.message(model, onMessage);
  return { node, onStatus };
}
