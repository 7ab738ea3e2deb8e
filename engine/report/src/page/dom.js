// Elements, and how values are written. Whatever comes from the document is set as text, never read as HTML.
"use strict";

/** An element with attributes (an `on…` one is a listener, `class` and the like as in HTML) and children; strings are text. */
function make(tag, attributes, ...children) {
  const svg = ["svg", "path", "polyline", "line", "circle", "rect", "g", "defs", "marker", "text"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, of] of Object.entries(value)) element.style.setProperty(key, of);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Text from elsewhere, whose direction does not spill over what stands around it. */
function isolated(text, attributes) {
  return make("bdi", attributes, text);
}

/** A text for an attribute such as `title`: at most 300 characters. */
function brief(text, most = 300) {
  const characters = Array.from(String(text));
  return characters.length > most ? characters.slice(0, most).join("") + "…" : String(text);
}

/** A number as short as it stays useful. */
function number(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e4 ? value.toFixed(4) : value.toExponential(3);
}

/** A number without digits that nobody reads: four after the point, or four in all where it is small. */
function shortest(value) {
  if (Number.isInteger(value)) return String(value);
  return String(Number(Math.abs(value) >= 1 ? value.toFixed(4) : value.toPrecision(4)));
}

/** A length of time. */
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  const two = (n) => String(n).padStart(2, "0");
  return whole < 3600
    ? `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
    : `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** A size. */
function bytes(count) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (count < 1000 || unit === "GB") return `${count < 10 && unit !== "B" ? count.toFixed(1) : Math.round(count)} ${unit}`;
    count /= 1000;
  }
  return "";
}

/** A time (RFC 3339), here. */
function localTime(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return "";
  const two = (n) => String(n).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** A parameter's value: text as it is, anything else as JSON. */
function valueText(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The colour that a variable of the style sheet stands for now, as numbers from 0 to 255. */
function colourOf(variable) {
  const probe = make("span", { style: { color: `var(${variable})` } });
  document.body.append(probe);
  const found = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return found.slice(0, 3);
}

/** Names that are safe in `id` and in a link's fragment. */
const identifiers = new Map();
function identifier(prefix, name) {
  const key = `${prefix} ${name}`;
  if (!identifiers.has(key)) identifiers.set(key, `${prefix}-${identifiers.size + 1}`);
  return identifiers.get(key);
}

/** Shows what is pointed at, beside the pointer; `null` hides it. */
function tip(content, x, y) {
  const box = document.getElementById("tip");
  box.hidden = content === null;
  if (content === null) return;
  box.replaceChildren(content);
  const { width, height } = box.getBoundingClientRect();
  const left = x + 16 + width > innerWidth ? Math.max(4, x - 16 - width) : x + 16;
  const top = y + 16 + height > innerHeight ? Math.max(4, y - 16 - height) : y + 16;
  box.style.transform = `translate(${left}px, ${top}px)`;
}

/** Calls `build` once, when the element is about to be seen. */
const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      waiting.get(entry.target)();
      waiting.delete(entry.target);
    }
  },
  { rootMargin: "600px" },
);
const waiting = new Map();
function whenSeen(element, build) {
  waiting.set(element, build);
  seen.observe(element);
}
