// The pad on its own: what is drawn, and what the model makes of it.

import { bytesOf } from "./bytes.js";
import { element, lifetime, say, whenLooksChange } from "./page.js";
import { makePad } from "./pad.js";
import { makeChosen, titled, unbroken } from "./panel.js";

function render({ model, el }) {
  const life = lifetime(), pad = makePad({ model, life }), chosen = makeChosen(1);
  const message = element("div", { class: "vk-message", role: "alert" });
  const words = element("output", { "aria-live": "polite" });
  const panel = element("div", { class: "vk-panel" }, titled("What the model makes of it", "", words, chosen.node));
  const main = element("div", { class: "vk-main" }, pad.node, panel);
  const root = element("div", { class: "vk-lab vk-alone" }, message, main);
  el.replaceChildren(root);

  function show() {
    const bytes = bytesOf(model.get("pictures"));
    chosen.node.hidden = !bytes;
    words.textContent = unbroken(model.get("words")) || "nothing drawn yet";
    say(message, model.get("message"));
    if (bytes) chosen.paint(0, bytes, [1, 28, 28]);
  }
  life.follow(model, "pictures words message", show);
  whenLooksChange(life, root, pad.paint);
  return life.end;
}

export default { render };
