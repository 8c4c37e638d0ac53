// How things in the plane look. px: x, y and scale turn places of the plane into pixels; em is the text's size.

const AREA = 3e6; // px² of ellipses in one painting; beyond it fewer are drawn, each the stronger

const axisName = (dim) => `z${String(dim + 1).replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d])}`;

function drawBackdrop(context, backdrop, px, dark) {
  if (!backdrop) return;
  const half = backdrop.extent * px.scale;
  context.globalAlpha = dark ? 0.4 : 0.3;
  context.imageSmoothingEnabled = true;
  context.drawImage(dark ? backdrop.light : backdrop.dark, px.x(0) - half, px.y(0) - half, 2 * half, 2 * half);
  context.globalAlpha = 1;
}

function drawRings(context, px, ink, on) {
  context.strokeStyle = ink;
  context.setLineDash([6, 5]);
  context.lineWidth = 1.5;
  context.globalAlpha = on ? 0.85 : 0.3;
  for (const r of [1, 2, 3]) {
    context.beginPath();
    context.arc(px.x(0), px.y(0), r * px.scale, 0, 2 * Math.PI);
    context.stroke();
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
}

// The rings' names, over all that may lie upon the rings.
function drawRingNames(context, px, ink, halo, on) {
  context.font = `600 ${0.9 * px.em}px sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.lineWidth = 3;
  context.strokeStyle = halo;
  context.fillStyle = ink;
  context.globalAlpha = on ? 0.85 : 0.3;
  for (const r of [1, 2, 3]) {
    const at = [`${r}σ`, px.x(r * 0.72) + 4, px.y(r * 0.72) - 2];
    context.strokeText(...at);
    context.fillText(...at);
  }
  context.globalAlpha = 1;
}

// Labels that would cover each other give way, by `most` px at most; sorted out in a few rounds.
function spread(labels, room, most) {
  const places = labels.map(({ x, y }) => ({ x, y }));
  for (let round = 0; round < 6; round++)
    labels.forEach((a, i) => labels.slice(i + 1).forEach((b) => {
      const dx = b.x - a.x, dy = b.y - a.y, apart = Math.hypot(dx, dy), push = (room - apart) / 2;
      if (push <= 0) return;
      const [ux, uy] = apart ? [dx / apart, dy / apart] : [1, 0];
      for (const [label, sign] of [[a, -1], [b, 1]]) (label.x += sign * push * ux), (label.y += sign * push * uy);
    }));
  labels.forEach((label, i) => {
    const dx = label.x - places[i].x, dy = label.y - places[i].y, part = Math.min(1, most / (Math.hypot(dx, dy) || 1));
    Object.assign(label, { x: places[i].x + part * dx, y: places[i].y + part * dy });
  });
}

// Soft ellipses: the more lie upon each other, the fainter each, so that about half shows through the heap.
function drawEllipses(context, points, classes, colours, px) {
  const count = points.length / 4;
  let area = 0, reach = 0;
  for (let i = 0; i < count; i++) {
    const [m1, m2, s1, s2] = points.subarray(4 * i, 4 * i + 4);
    area += 4 * Math.PI * s1 * s2;
    reach += (m1 * m1 + m2 * m2 + 2 * (s1 * s1 + s2 * s2)) / count;
  }
  const every = Math.max(1, Math.ceil((area * px.scale ** 2) / AREA));
  const depth = area / every / (2 * Math.PI * reach);
  context.globalAlpha = Math.min(0.28, 1 - 0.45 ** (1 / depth));
  for (let i = 0; i < count; i += every) {
    const [m1, m2, s1, s2] = points.subarray(4 * i, 4 * i + 4);
    if (2 * s1 * px.scale < 1.5 && 2 * s2 * px.scale < 1.5) continue; // the dot covers it
    context.fillStyle = colours[(classes[i] ?? 0) % colours.length];
    context.beginPath();
    context.ellipse(px.x(m1), px.y(m2), 2 * s1 * px.scale, 2 * s2 * px.scale, 0, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
}

function drawDots(context, points, classes, colours, px, digits) {
  context.font = `600 ${0.75 * px.em}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const size = px.em / 5;
  for (let i = 0; i < points.length / 4; i++) {
    context.fillStyle = colours[(classes[i] ?? 0) % colours.length];
    const x = px.x(points[4 * i]), y = px.y(points[4 * i + 1]);
    if (digits && classes.length) context.fillText(classes[i], x, y);
    else context.fillRect(x - size / 2, y - size / 2, size, size);
  }
}

// The classes' numerals at their centres; where all centres are one, one label says so.
function drawNumerals(context, points, classes, colours, px, ink, halo) {
  const sums = new Map();
  classes.slice(0, points.length / 4).forEach((c, i) => {
    const sum = sums.get(c) ?? sums.set(c, { c, x: 0, y: 0, n: 0 }).get(c);
    sum.x += points[4 * i];
    sum.y += points[4 * i + 1];
    sum.n += 1;
  });
  let labels = [...sums.values()].map(({ c, x, y, n }) => ({
    text: `${c}`, x: px.x(x / n), y: px.y(y / n), colour: colours[c % colours.length],
  }));
  const [{ x, y }] = labels;
  if (labels.length > 1 && labels.every((label) => Math.hypot(label.x - x, label.y - y) < 16))
    labels = [{ text: `${Math.min(...sums.keys())} to ${Math.max(...sums.keys())}`, x, y, colour: ink }];
  spread(labels, 1.15 * px.em, 0.9 * px.em);
  context.font = `800 ${1.4 * px.em}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 5;
  context.strokeStyle = halo;
  for (const label of labels) {
    context.strokeText(label.text, label.x, label.y);
    context.fillStyle = label.colour;
    context.fillText(label.text, label.x, label.y);
  }
}

function drawChosen(context, points, i, px, ink, halo) {
  if (!(4 * i < points.length)) return;
  const [m1, m2, s1, s2] = points.subarray(4 * i, 4 * i + 4);
  for (const [colour, width] of [[halo, 5], [ink, 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    for (const k of [1, 2]) {
      context.beginPath();
      context.ellipse(px.x(m1), px.y(m2), Math.max(k * s1 * px.scale, 4 * k), Math.max(k * s2 * px.scale, 4 * k), 0, 0, 7);
      context.stroke();
    }
  }
}

// The learner's own digit: a star in its posterior's ellipse of 2 σ; one that lies outside is shown at the border.
function drawYours(context, [m1, m2, s1, s2], width, height, px, colour, halo) {
  const size = 0.5 * px.em, edge = 1.2 * px.em, inside = (v, most) => Math.min(most - edge, Math.max(edge, v));
  const x = inside(px.x(m1), width), y = inside(px.y(m2), height);
  const outside = Math.abs(x - px.x(m1)) + Math.abs(y - px.y(m2)) > edge;
  context.font = `800 ${1.1 * px.em}px sans-serif`;
  context.textAlign = x > width / 2 ? "right" : "left";
  context.textBaseline = "alphabetic";
  const radii = outside ? [0, 0] : [2 * s1 * px.scale, 2 * s2 * px.scale];
  const [across, up] = radii.map((r) => Math.max(size, 0.8 * r));
  const text = [outside ? "yours, outside" : "yours", x > width / 2 ? x - across : x + across, Math.max(1.1 * px.em, y - up)];
  context.lineJoin = "round";
  for (const [stroke, more] of [[halo, 4], [colour, 0]]) {
    context.strokeStyle = context.fillStyle = stroke;
    context.lineWidth = 3 + more;
    context.beginPath();
    context.ellipse(x, y, ...radii, 0, 0, 7);
    context.stroke();
    context.beginPath();
    for (let i = 0; i < 10; i++) {
      const angle = ((i - 2.5) * Math.PI) / 5, r = size * (i % 2 ? 0.42 : 1);
      context.lineTo(x + r * Math.cos(angle), y + r * Math.sin(angle));
    }
    context.closePath();
    if (more) context.stroke(), context.strokeText(...text);
    else context.fill(), context.fillText(...text);
  }
}

function drawPointer(context, [z1, z2], px, colour, halo) {
  for (const [stroke, width] of [[halo, 6], [colour, 3]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(px.x(z1) - 14, px.y(z2));
    context.lineTo(px.x(z1) + 14, px.y(z2));
    context.moveTo(px.x(z1), px.y(z2) - 14);
    context.lineTo(px.x(z1), px.y(z2) + 14);
    context.stroke();
  }
}

function readBackdrop(view) {
  const bytes = bytesOf(view);
  if (!bytes) return null;
  const [{ extent, size: [rows, columns], channels }, offset] = unpackJson(bytes);
  const tinted = (ink) => {
    const canvas = element("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const image = new ImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = channels === 3 ? bytes[offset + 3 * i + c] : ink;
      image.data[4 * i + 3] = channels === 3 ? 255 : bytes[offset + i];
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  };
  return { extent, dark: tinted(40), light: tinted(225) };
}

// Where draws from the prior, or the stops of a walk, fall: hits are rings, misses crosses, whatever the colours.
function drawProbe(context, probe, px, hit, miss, halo) {
  if (!probe) return;
  const size = px.em * 0.36;
  if (probe.what === "walk") {
    context.lineWidth = 2;
    context.strokeStyle = hit;
    context.setLineDash([3, 4]);
    context.beginPath();
    for (const [z1, z2] of probe.points) context.lineTo(px.x(z1), px.y(z2));
    context.stroke();
    context.setLineDash([]);
  }
  // the rarer kind lies on top
  const side = 2 * probe.points.filter((point) => point[2]).length > probe.points.length ? -1 : 1;
  for (const [z1, z2, covered] of [...probe.points].sort((a, b) => side * (a[2] - b[2]))) {
    const x = px.x(z1), y = px.y(z2);
    context.beginPath();
    if (covered) context.arc(x, y, size, 0, 2 * Math.PI);
    else {
      context.moveTo(x - size, y - size);
      context.lineTo(x + size, y + size);
      context.moveTo(x + size, y - size);
      context.lineTo(x - size, y + size);
    }
    for (const [colour, width] of [[halo, 5], [covered ? hit : miss, 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }
}
