// The lab's page: a plane for each run, one pointer for all, what stands beside them, and the way back along the run.

// JSON header and bytes of view.send_trail → {frames, decoders}: lists of {step, pair, parts: one for each run}
function readTrail(view) {
  const bytes = bytesOf(view), [header, offset] = unpackJson(bytes);
  let at = offset;
  const read = (list) => list.map(({ step, pair, bytes: lengths }) =>
    ({ step, pair, parts: lengths.map((length) => bytes.subarray(at, (at += length))) }));
  return { frames: read(header.frames), decoders: read(header.decoders) };
}

// A second widget's model: anywidget hands it over as a reference.
async function twinOf(model) {
  const twin = model.get("twin");
  return typeof twin === "string" ? model.widget_manager.get_model(twin.slice("IPY_MODEL_".length)) : twin;
}

async function render({ model, el }) {
  const life = lifetime(), twin = await twinOf(model), models = twin ? [model, twin] : [model];
  const root = element("div", { class: twin ? "vk-lab vk-twin" : "vk-lab" });
  let inView = true, trail = null;

  const lab = {
    z: [0, 0],
    count: models.length,
    moveTo(where, limit) {
      lab.z = where.map((v) => Math.max(-limit, Math.min(limit, v)));
      panel.showZ(lab.z);
      for (const plane of planes) plane.showDecoded(), plane.ask();
    },
    choose: (index) => tell(model, { kind: "choose", index }),
    showProbe: () => strip?.show(),
  };
  let strip = null;
  const hosts = models.map((_, i) => (i === 0 ? root : element("div", { class: "vk-lab-right" })));
  const planes = models.map((each, i) =>
    makePlane({ model: each, life, lab, host: hosts[i], name: twin ? `${NAMES[i]}: ` : "" }));
  const pad = makePad({ model, life });
  const panel = makePanel(planes, pad), dimensions = makeDimensions(planes);
  strip = makeStrip(planes);
  const message = element("div", { class: "vk-message", role: "alert" });
  const captions = planes.map(() => element("figcaption", {}));
  const verdicts = planes.map(() => element("div", { class: "vk-verdict" }));
  const spoken = element("div", { class: "vk-spoken", "aria-live": "polite" });
  const way = makeWay();
  root.append(
    message,
    element("div", { class: "vk-main" }, ...planes.map((plane, i) =>
      twin ? element("figure", { class: "vk-side" }, captions[i], plane.canvas, verdicts[i]) : plane.canvas), panel.node),
    ...(twin ? hosts.slice(1) : verdicts), strip.node, dimensions.node, way.node, spoken);
  el.replaceChildren(root);

  // -- looking back along the run ---------------------------------------------------------------------------

  function makeWay() {
    const slider = element("input", { type: "range", class: "vk-way", min: 0, max: 1000, value: 1000, step: 1 });
    slider.setAttribute("aria-label", "Look back along the run");
    const label = element("output"), node = element("div", { class: "vk-row vk-back" }, element("span", {}, "look back"), slider, label);
    life.on(slider, "pointerdown", fetchTrail);
    life.on(slider, "focus", fetchTrail);
    life.on(slider, "input", lookBack);
    return { node, slider, label };
  }
  function fetchTrail() {
    if (!trail && !model.get("status").playing) tell(model, { kind: "trail" });
  }
  const nearest = (list, step) =>
    list.reduce((best, other) => (Math.abs(other.step - step) < Math.abs(best.step - step) ? other : best));
  function lookBack() {
    if (!trail) return;
    const wanted = (way.slider.value / 1000) * trail.frames.at(-1).step, found = nearest(trail.frames, wanted);
    if (found === trail.frames.at(-1)) return lookAt(null);
    lookAt(found);
  }
  // Shows what was kept of an earlier step; null: the run as it is.
  function lookAt(found) {
    const decoder = found && nearest(trail.decoders, found.step);
    planes.forEach((plane, i) => plane.look(found &&
      { pair: found.pair, frame: readFrame(found.parts[i]), decoder: readDecoder(decoder.parts[i]) }));
    way.label.textContent = found
      ? `step ${found.step.toLocaleString("en")}, decoder of step ${decoder.step.toLocaleString("en")}` : "now";
    if (!found) way.slider.value = 1000;
    strip.show();
    model.set("scrub", found?.step ?? -1);
    root.dataset.scrub = found?.step ?? "";
    root.classList.toggle("vk-past", Boolean(found));
  }

  // -- what comes from the kernel ---------------------------------------------------------------------------

  function onStatus() {
    planes.forEach((plane, i) => {
      const { headline = "", sentence = "", state, playing, settings } = plane.model.get("status");
      const { prior, beta } = settings ?? {};
      captions[i].textContent = `${NAMES[i]}: ${prior ? `prior on, β = ${Number(beta?.toPrecision(3))}` : "prior off"}`;
      verdicts[i].replaceChildren(element("strong", {}, headline), " ", sentence);
      Object.assign(hosts[i].dataset, { state, playing });
    });
    const { playing, step } = model.get("status");
    if (trail && (playing || step !== trail.frames.at(-1).step)) [trail] = [null, lookAt(null)];
    way.node.hidden = playing;
    panel.showMeters();
    dimensions.showBars();
    message.textContent = model.get("message");
    message.hidden = !message.textContent;
  }
  function onMessage(content, buffers) {
    if (content.kind === "trail") {
      trail = content.trail ?? readTrail(buffers[0]);
      lookBack();
    } else if (content.kind === "file") saveFile(content.name, bytesOf(buffers[0]));
  }
  const speak = () => {
    const said = models.map((each, i) => {
      const { headline, sentence, meters } = each.get("status");
      return `${twin ? NAMES[i] : ""} ${headline ?? ""} ${sentence ?? ""} ${(meters ?? []).map((m) => m.join(" ")).join(", ")}`;
    });
    const text = said.join(". ").trim();
    if (spoken.textContent !== text) spoken.textContent = text;
  };

  function beat() {
    if (tell(model, { kind: "seen", frame: planes[0].number, visible: inView && !document.hidden })) return;
    timers.forEach(clearInterval);
    message.textContent = "The kernel is gone, and this lab with it: run the cell again.";
    message.hidden = false;
  }
  const seen = new IntersectionObserver(([entry]) => ((inView = entry.isIntersecting), beat()));
  seen.observe(root);
  life.on(document, "visibilitychange", beat);
  const timers = [setInterval(beat, 1000), setInterval(speak, 5000)];
  life.also(() => (timers.forEach(clearInterval), seen.disconnect()));

  models.forEach((each, i) => {
    life.trait(each, "pictures chosen", () => panel.showChosen(i));
    life.trait(each, "drawn", panel.showDrawn);
    life.trait(each, "status", onStatus);
    life.trait(each, "traversals", dimensions.showTraversals);
    life.trait(each, "pair", dimensions.showBars);
  });
  life.trait(model, "message", onStatus);
  life.trait(model, "pad", panel.showPad);
  life.trait(model, "deaths", () => markDeaths(root, model.get("deaths")));
  model.on("msg:custom", onMessage);
  life.also(() => model.off("msg:custom", onMessage));
  whenLooksChange(life, root, () => {
    nameControls(root);
    markDeaths(root, model.get("deaths"));
    planes.forEach((plane) => plane.ask());
    pad.paint();
  });

  pad.start();
  panel.showPad();
  panel.showDrawn();
  panel.showZ(lab.z);
  planes.forEach((plane, i) => (plane.start(), panel.showChosen(i)));
  dimensions.showTraversals();
  onStatus();
  beat();
  return life.end;
}

export default { render, decode, readDecoder, readFrame };
