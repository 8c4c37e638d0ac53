// The lab's keys, its full screen, and the list of both.

import { element, tell } from "./page.js";

const KEYS = [
  [" ", "Space", "play or pause"], ["s", "S", "one step"], ["p", "P", "prior on or off"], ["[", "[", "smaller β"],
  ["]", "]", "larger β"], ["n", "N", "new digits"], ["f", "F", "full screen"], ["?", "?", "this list"],
];
const TYPED = "input:not([type=checkbox], [type=range]), select, textarea";

// Answers keys pressed, and buttons clicked, anywhere in `host`, the whole lab. Returns the list, to be put into it.
// A model without a kernel names the keys that are left.
export function listenToKeys({ model, life, host, side }) {
  const keys = KEYS.filter(([key]) => model.keys?.includes(key) ?? true);
  const rows = keys.map(([, name, what]) => element("div", {}, element("b", { class: "vk-key" }, name), element("span", {}, what)));
  const list = element("div", { class: "vk-keys", role: "dialog", "aria-label": "Keys", hidden: "" }, ...rows);

  function toggleList() {
    list.hidden = !list.hidden;
  }
  function toggleFullScreen() {
    if (document.fullscreenElement === host) document.exitFullscreen();
    else host.requestFullscreen?.().catch(() => {}); // a frame that may not: the lab stays as it is
  }
  life.on(host, "click", ({ target }) => {
    if (target.closest(".vk-full")) toggleFullScreen();
    else if (target.closest(".vk-help")) toggleList();
    else list.hidden = true;
  });
  life.on(host, "keydown", (event) => {
    const { key, target } = event, busy = event.ctrlKey || event.metaKey || event.altKey || target.matches(TYPED);
    if (key === "Escape") list.hidden = true;
    if (busy || !keys.some(([own]) => own === key.toLowerCase())) return;
    if (key === " " && target.matches("button, input")) return; // it is that control's
    if (key.toLowerCase() === "f") toggleFullScreen();
    else if (key === "?") toggleList();
    else tell(model, { kind: "key", key: key.toLowerCase(), side: side(target) });
    event.preventDefault();
    event.stopPropagation();
  });
  return list;
}
