// The pad on its own: what is drawn, and what the model makes of it.

function render({ model, el }) {
  const life = lifetime(), pad = makePad({ model, life });
  const message = element("div", { class: "vk-message", role: "alert" });
  const [[image], original] = pictures("x", 1), [[mean], first] = pictures("x̂ at μ", 1);
  const [draws, rest] = pictures("draws from q(z|x)", 3);
  const words = element("output", { "aria-live": "polite" });
  const seen = element("div", { class: "vk-row vk-chosen" }, original, first, rest);
  const panel = element("div", { class: "vk-panel" }, titled("What the model makes of it", "", words, seen));
  const root = element("div", { class: "vk-lab vk-alone" }, message, element("div", { class: "vk-main" }, pad.node, panel));
  el.replaceChildren(root);

  function show() {
    const bytes = bytesOf(model.get("pictures")), size = 28 * 28;
    seen.hidden = !bytes;
    words.textContent = unbroken(model.get("words")) || "nothing drawn yet";
    message.textContent = model.get("message");
    message.hidden = !message.textContent;
    if (bytes)
      [image, mean, ...draws].forEach((canvas, k) => paintImage(canvas, bytes.subarray(k * size, (k + 1) * size), [1, 28, 28]));
  }
  life.trait(model, "pictures words message", show);
  whenLooksChange(life, root, pad.paint);
  pad.start();
  show();
  return life.end;
}

export default { render };
