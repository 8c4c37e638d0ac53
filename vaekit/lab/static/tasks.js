// The tasks: those done as ticks, the present one in words, and what it speaks of marked.

import { element, SIDE_NAMES } from "./page.js";

const SPOKEN_OF = "vk-spoken-of";

// The controls and meters whose name, up to its unit, is in the text as a word.
export const namedIn = (text, names) => {
  const words = ` ${text.toLowerCase().replace(/[.,;:()=]/g, " ")} `;
  return names.filter((name) => name && words.includes(` ${name.toLowerCase().split(",")[0]} `));
};

export function makeTasks(model) {
  const ticks = element("span", { class: "vk-ticks" }), text = element("b");
  const node = element("div", { class: "vk-tasks", role: "status" }, ticks, text);

  function show(host) {
    const tasks = model.get("tasks"), done = tasks.filter(({ ticked }) => ticked).length, present = tasks[done];
    node.hidden = !tasks.length;
    if (!tasks.length) return;
    ticks.textContent = tasks.map((_, i) => (i < done ? "\u2611" : "\u2610")).join(" ");
    ticks.title = tasks.map((task) => `${task.ticked ? "done: " : ""}${task.text}`).join("\n");
    ticks.setAttribute("aria-label", `${done} of ${tasks.length} tasks done`);
    const words = present ? present.text : "All done.";
    if (text.textContent !== words) text.textContent = words; // a screen reader says what changes
    mark(host, present?.text ?? "");
  }
  return { node, show };
}

function mark(host, text) {
  const parts = [...host?.querySelectorAll(".vk-controls .widget-label, .vk-switch label, .vk-controls button, .vk-meters span") ?? []];
  const names = namedIn(text, parts.map((part) => part.textContent.trim()));
  const sides = SIDE_NAMES.filter((side) => names.includes(side)); // what is the other's, or both's, is not meant
  for (const part of parts) {
    const words = part.textContent.trim(), whose = part.closest(".vk-group")?.firstElementChild.textContent.trim();
    const lock = part.querySelector(".fa-link") && !names.includes("together");
    const others = whose ? !sides.includes(whose) : lock || SIDE_NAMES.includes(words);
    const node = part.closest(".vk-meters:not(.vk-two) > div") ?? part;
    node.classList.toggle(SPOKEN_OF, names.includes(words) && !(sides.length && others));
  }
}
