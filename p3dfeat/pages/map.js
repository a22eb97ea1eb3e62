"use strict";
const data = JSON.parse(document.getElementById("map-data").textContent);
data.x = Float64Array.from(data.x); data.y = Float64Array.from(data.y); data.label = Int32Array.from(data.label);
const count = data.names.length;
const get = id => document.getElementById(id);
const canvas = get("points"), marks = get("marks"), tip = get("tip");
const pen = canvas.getContext("2d", { willReadFrequently: true }), marker = marks.getContext("2d");
const STEPS = 65535, REACH = 12, SHOWN = 50, LARGEST_ZOOM = 400;
const NONE = "#8a8f98";
const rgb = colour => [1, 3, 5].map(place => parseInt(colour.slice(place, place + 2), 16));
const colours = data.colours;
const labelColour = number => number < 0 ? NONE : colours[number];
const shown = new Uint8Array(data.labels.length + 1).fill(1);   // by label; the last one: points without a label
const isShown = point => shown[data.label[point] < 0 ? data.labels.length : data.label[point]] === 1;
let matches = null;                                             // of the search: one byte a point; null: no search
let chosen = -1, pointed = -1, near = [], aims = false;          // aims: the keyboard moves the map

// The view: which place of the map is at the centre of the canvas, and how many pixels of the screen a step has.
let width = 0, height = 0, ratio = 1, centre = [STEPS / 2, STEPS / 2], scale = 1, fitted = 1;
const across = point => (data.x[point] - centre[0]) * scale + width / 2;
const down = point => (centre[1] - data.y[point]) * scale + height / 2;
const radius = () => (count > 5000 ? 2.6 : count > 500 ? 3.6 : 5.5) * Math.min(2.2, Math.max(1, Math.sqrt(scale / fitted) * 0.9));

let pixels = null, image = null, waiting = false, paper = [255, 255, 255], mark = "#000";
let calm = 0;                                                   // edges are soft when the map rests
function redraw() {
  clearTimeout(calm);
  calm = setTimeout(() => draw(true), 120);
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(false); }); }
}
const word = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;   // a pixel, as the canvas keeps it

// The colours of the page, which follow the system's.
function readColours() {
  const style = getComputedStyle(document.documentElement);
  paper = rgb(style.getPropertyValue("--paper").trim());
  mark = style.getPropertyValue("--mark").trim();
}

// Points are written into the pixels of the canvas: ten thousand take a few milliseconds, also without a GPU. The
// picture has a margin, so that a disc at the border needs no check of each of its pixels.
const MARGIN = 32;
function draw(rests) {
  pixels.fill(word(...paper));
  const disc = discOf(Math.min(radius() * ratio, MARGIN - 2));
  const passes = matches === null ? [[-1, 1]] : [[0, 0.14], [1, 1]];
  for (const [match, strength] of passes) {
    const inks = [...colours, NONE].map(colour => rgb(colour).map((value, part) => Math.round(value * strength + paper[part] * (1 - strength))));
    const words = inks.map(ink => word(...ink));
    const columns = image.width, right = columns - MARGIN + disc.edge, bottom = image.height - MARGIN + disc.edge;
    const left = MARGIN - disc.edge, { solid, soft, hard, cover } = disc;
    for (let point = 0; point < count; point++) {
      if ((match >= 0 && matches[point] !== match) || !isShown(point)) continue;
      const x = Math.round(across(point) * ratio) + MARGIN, y = Math.round(down(point) * ratio) + MARGIN;
      if (x < left || y < left || x >= right || y >= bottom) continue;
      const label = data.label[point] < 0 ? colours.length : data.label[point], place = y * columns + x;
      const full = words[label], ink = inks[label];
      for (let part = 0; part < solid.length; part++) pixels[place + solid[part]] = full;
      if (!rests) {
        for (let part = 0; part < hard.length; part++) pixels[place + hard[part]] = full;
        continue;
      }
      for (let part = 0; part < soft.length; part++) {
        const at = place + soft[part], old = pixels[at], much = cover[part], rest = 256 - much;
        pixels[at] = word(
          (ink[0] * much + (old & 255) * rest) >> 8, (ink[1] * much + ((old >> 8) & 255) * rest) >> 8,
          (ink[2] * much + ((old >> 16) & 255) * rest) >> 8);
      }
    }
  }
  pen.putImageData(image, -MARGIN, -MARGIN);
  drawMarks();
}

// The pixels of a disc, as distances from the one at its centre: those inside, and those that its edge covers in part.
function discOf(size) {
  const edge = Math.ceil(size), solid = [], soft = [], cover = [];
  for (let y = -edge; y <= edge; y++)
    for (let x = -edge; x <= edge; x++) {
      const share = Math.round(256 * Math.min(1, Math.max(0, size + 0.5 - Math.hypot(x, y))));
      if (share > 0 && share < 256) { soft.push(y * image.width + x); cover.push(share); }
      if (share === 256) solid.push(y * image.width + x);
    }
  const hard = soft.filter((_, part) => cover[part] >= 128);
  return { edge, hard: Int32Array.from(hard), solid: Int32Array.from(solid), soft: Int32Array.from(soft), cover: Int32Array.from(cover) };
}

let marked = false;                                            // an empty canvas is not drawn again while the map moves
function drawMarks() {
  const any = chosen >= 0 || pointed >= 0 || aims;
  if (!any && !marked) return;
  marked = any;
  marks.hidden = !any;
  marker.setTransform(ratio, 0, 0, ratio, 0, 0);
  marker.clearRect(0, 0, width, height);
  marker.strokeStyle = mark;
  const ring = (point, extra, line) => {
    marker.lineWidth = line;
    marker.beginPath();
    marker.arc(across(point), down(point), radius() + extra, 0, 7);
    marker.stroke();
  };
  if (chosen >= 0) {
    marker.lineWidth = 1;
    marker.globalAlpha = 0.5;
    for (const other of near) {
      marker.beginPath();
      marker.moveTo(across(chosen), down(chosen));
      marker.lineTo(across(other), down(other));
      marker.stroke();
    }
    marker.globalAlpha = 1;
    near.forEach(other => ring(other, 2, 1.2));
    ring(chosen, 4, 2.5);
  }
  if (pointed >= 0) ring(pointed, 2.5, 1.8);
  if (aims) {
    marker.lineWidth = 1;
    marker.beginPath();
    for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      marker.moveTo(width / 2 + x * 5, height / 2 + y * 5);
      marker.lineTo(width / 2 + x * 11, height / 2 + y * 11);
    }
    marker.stroke();
  }
}

function resize() {
  const box = canvas.parentElement.getBoundingClientRect(), first = width === 0, zoom = scale / fitted;
  width = Math.max(1, box.width); height = Math.max(1, box.height); ratio = window.devicePixelRatio || 1;
  for (const one of [canvas, marks]) { one.width = Math.round(width * ratio); one.height = Math.round(height * ratio); }
  image = pen.createImageData(canvas.width + 2 * MARGIN, canvas.height + 2 * MARGIN);
  pixels = new Uint32Array(image.data.buffer);
  fit(first ? 1 : zoom);
  draw(true);                                                   // at once: setting the size has cleared the canvas
}

// The scale at which all points fit, times zoom; the middle of the map stays where it is.
function fit(zoom) {
  let wide = 0, high = 0;
  for (let point = 0; point < count; point++) {
    wide = Math.max(wide, Math.abs(data.x[point] - STEPS / 2)); high = Math.max(high, Math.abs(data.y[point] - STEPS / 2));
  }
  fitted = Math.min((width / 2 - 24) / Math.max(wide, 1), (height / 2 - 24) / Math.max(high, 1), Math.min(width, height) / 300);
  fitted = Math.max(fitted, 1e-4);
  scale = fitted * zoom;
}
function showAll() { centre = [STEPS / 2, STEPS / 2]; scale = fitted; hideTip(); redraw(); }
function move(x, y) { centre = [centre[0] - x / scale, centre[1] + y / scale]; hideTip(); redraw(); }
function zoomAt(factor, x, y) {
  const before = [(x - width / 2) / scale, (height / 2 - y) / scale];
  const next = Math.min(fitted * LARGEST_ZOOM, Math.max(fitted * 0.3, scale * factor)), share = scale / next;
  centre = [centre[0] + before[0] * (1 - share), centre[1] + before[1] * (1 - share)];
  scale = next; hideTip(); redraw();
}

function nearestTo(x, y, reach) {
  let best = -1, least = reach * reach;
  for (let point = 0; point < count; point++) {
    const dx = across(point) - x, dy = down(point) - y, distance = dx * dx + dy * dy;
    if (distance <= least && isShown(point) && (matches === null || matches[point])) { best = point; least = distance; }
  }
  return best;
}

// Pictures are read when they are first needed: the points are on the screen before.
let pictures = null;
function picturesOf(point) {
  const number = data.picture.length ? data.picture[point] : -1;
  if (number < 0) return null;
  pictures = pictures || JSON.parse(get("map-pictures").textContent);
  const [text, frames, wide, high] = pictures[number];
  return { address: "url(data:image/webp;base64," + text + ")", frames, wide, high };
}
function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;              // as text: names cannot become elements
  return made;
}
function frameOf(strip, number, high) {
  const made = element("div", "frame"), wide = strip.wide * high / strip.high;
  Object.assign(made.style, {
    width: wide + "px", height: high + "px", backgroundImage: strip.address,
    backgroundSize: wide * strip.frames + "px " + high + "px", backgroundPosition: -wide * number + "px 0",
  });
  return made;
}
function labelOf(point) {
  const made = element("span", "label"), dot = element("span", "dot"), label = data.label[point];
  dot.style.background = labelColour(label);
  made.append(dot, label < 0 ? (data.labels.length ? "no label" : "") : data.labels[label]);
  return label < 0 && !data.labels.length ? element("span") : made;
}

function showTip(point, x, y) {
  pointed = point;
  canvas.classList.toggle("over", point >= 0);
  tip.hidden = point < 0;
  if (point >= 0) {
    const strip = picturesOf(point);
    tip.replaceChildren(...(strip ? [frameOf(strip, strip.frames >> 1, 90)] : []), element("b", "", data.names[point]), labelOf(point));
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, width - box.width - 4)) + "px";
    tip.style.top = Math.max(4, y + 14 + box.height > height ? y - 14 - box.height : y + 14) + "px";
  }
  drawMarks();
}
function hideTip() { if (pointed >= 0) showTip(-1); }

function choose(point, go) {
  chosen = point;
  near = point < 0 ? [] : data.near[point];
  const place = get("chosen");
  place.hidden = point < 0;
  if (point >= 0) {
    const strip = picturesOf(point), frames = element("div", "strip");
    if (strip) for (let number = 0; number < strip.frames; number++) frames.append(frameOf(strip, number, 54));
    place.replaceChildren(element("h2", "", "Chosen"), element("span", "name", data.names[point]), labelOf(point), frames);
    if (near.length) place.append(element("h2", "", "Nearest neighbours"), listOf(near));
    place.scrollIntoView({ block: "nearest" });
    if (go) { centre = [data.x[point], data.y[point]]; scale = Math.max(scale, fitted * 4); }
  }
  hideTip(); redraw();
}
function listOf(points) {
  const list = element("ul");
  for (const point of points) {
    const button = element("button"), words = element("span"), strip = picturesOf(point);
    button.type = "button";
    if (strip) button.append(frameOf(strip, strip.frames >> 1, 36));
    words.append(element("span", "", data.names[point]), labelOf(point));
    button.append(words);
    button.addEventListener("click", () => choose(point, true));
    const item = element("li");
    item.append(button);
    list.append(item);
  }
  return list;
}

function search() {
  const text = get("search").value.trim().toLowerCase();
  const found = [];
  matches = null;
  if (text) {
    matches = new Uint8Array(count);
    const byLabel = data.labels.map(label => label.toLowerCase().includes(text));
    for (let point = 0; point < count; point++)
      if (byLabel[data.label[point]] || data.names[point].toLowerCase().includes(text)) { matches[point] = 1; found.push(point); }
  }
  get("count").textContent = text ? found.length.toLocaleString("en") + " of " + count.toLocaleString("en") : "";
  get("results").replaceChildren(...listOf(found.slice(0, SHOWN)).children);
  redraw();
  return found;
}

function buildLegend() {
  const counts = new Array(data.labels.length + 1).fill(0);
  data.label.forEach(label => counts[label < 0 ? data.labels.length : label]++);
  const legend = get("legend"), boxes = [];
  if (!data.labels.length) { legend.hidden = true; return; }
  const head = element("div");
  head.append(element("h2", "", "Labels"));
  for (const [name, value] of [["All", true], ["None", false]]) {
    const button = element("button", "", name);
    button.type = "button";
    button.addEventListener("click", () => { boxes.forEach(box => { box.checked = value; }); shown.fill(value ? 1 : 0); hideTip(); redraw(); });
    head.append(button);
  }
  legend.append(head);
  [...data.labels, "no label"].forEach((name, number) => {
    if (!counts[number]) return;
    const row = element("label"), box = element("input"), dot = element("span", "dot");
    box.type = "checkbox"; box.checked = true;
    dot.style.background = number < colours.length ? colours[number] : NONE;
    box.addEventListener("change", () => { shown[number] = box.checked ? 1 : 0; hideTip(); redraw(); });
    row.append(box, dot, element("span", "", name), element("span", "", counts[number].toLocaleString("en")));
    boxes.push(box);
    legend.append(row);
  });
}

// Fingers and the mouse: one moves the map, two zoom it; a press without a move chooses.
const held = new Map();
let travelled = 0;
const placeOf = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
canvas.addEventListener("pointerdown", event => {
  if (event.button > 0) return;
  held.set(event.pointerId, placeOf(event));
  canvas.setPointerCapture(event.pointerId);
  travelled = held.size > 1 ? Infinity : 0;
});
canvas.addEventListener("pointermove", event => {
  const [x, y] = placeOf(event), before = held.get(event.pointerId);
  if (!before) { showTip(nearestTo(x, y, REACH), x, y); return; }
  const others = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
  if (others.length) {
    const [fx, fy] = others[0], far = (px, py) => Math.max(1, Math.hypot(px - fx, py - fy));
    zoomAt(far(x, y) / far(...before), fx, fy);
  } else {
    travelled += Math.hypot(x - before[0], y - before[1]);
    if (travelled > 3) { canvas.classList.add("dragged"); move(x - before[0], y - before[1]); }
  }
  held.set(event.pointerId, [x, y]);
});
for (const name of ["pointerup", "pointercancel"])
  canvas.addEventListener(name, event => {
    const was = held.delete(event.pointerId);
    canvas.classList.remove("dragged");
    if (was && name === "pointerup" && travelled <= 3) choose(nearestTo(...placeOf(event), REACH), false);
  });
canvas.addEventListener("pointerleave", hideTip);
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...placeOf(event));
}, { passive: false });
canvas.addEventListener("dblclick", event => zoomAt(2, ...placeOf(event)));

const KEYS = {
  ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
  "+": () => zoomAt(1.4, width / 2, height / 2), "=": () => zoomAt(1.4, width / 2, height / 2),
  "-": () => zoomAt(1 / 1.4, width / 2, height / 2), 0: showAll,
  Enter: () => choose(nearestTo(width / 2, height / 2, Infinity), false),
};
canvas.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  aims = true;
  KEYS[event.key]();
});
document.addEventListener("keydown", event => {
  const writes = event.target === get("search");
  if (event.key === "/" && !writes) { event.preventDefault(); get("search").focus(); }
  if (event.key === "Escape") {
    if (writes && get("search").value) { get("search").value = ""; search(); } else { choose(-1, false); canvas.focus(); }
  }
});
for (const name of ["focus", "blur", "pointerdown"])
  canvas.addEventListener(name, () => { aims = name === "focus" && canvas.matches(":focus-visible"); drawMarks(); });
get("search").addEventListener("input", search);
get("search").addEventListener("keydown", event => {
  if (event.key === "Enter") { const found = search(); if (found.length) choose(found[0], true); }
});
for (const [id, key] of [["closer", "+"], ["farther", "-"], ["whole", "0"]]) get(id).addEventListener("click", KEYS[key]);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
new ResizeObserver(resize).observe(canvas.parentElement);
readColours();
buildLegend();
resize();
