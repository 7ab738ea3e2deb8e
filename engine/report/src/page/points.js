// Scatter plots of many points: drawn into one image, so that 25,000 of them can be moved while one looks on.
"use strict";

/** Plots that are shown, so that another theme draws them anew. */
const plots = new Set();

/** Radius of a point in CSS pixels, and how near the pointer has to come to one. */
const RADIUS = 3;
const REACH = 12;
/** Pixels that one frame may paint; more points, or a finer screen, have smaller marks. */
const MOST_PIXELS = 1_600_000;

function pointsPlot(report, item, pictures) {
  const { row, x, y, colour } = item.points;
  const frame = unitSquare(x, y);
  const grid = gridOf(frame);
  const canvas = make("canvas", { tabindex: "0", role: "img", "aria-label": brief(`${item.alt}. Arrow keys move, plus and minus zoom, 0 shows all.`, 1000) });
  const ring = make("div", { class: "ring", hidden: true });
  const plot = make("div", { class: "plot" }, canvas, ring);
  const legend = make("ul", { class: "legend", "aria-label": "Legend" });
  // The part of the unit square that is seen: its middle, and how much of it fits.
  const look = { x: 0.5, y: 0.5, span: 1.06 };
  const state = { by: 0, only: new Set(), dirty: false, frames: [], draw: () => ask() };
  let marks = null;

  function ask() {
    if (state.dirty) return;
    state.dirty = true;
    requestAnimationFrame(() => {
      state.dirty = false;
      const began = performance.now();
      draw();
      state.frames.push(performance.now() - began);
      if (state.frames.length > 200) state.frames.shift();
    });
  }

  /** Device pixels of one unit, and of the canvas's middle. */
  function scale() {
    return { unit: Math.min(canvas.width, canvas.height) / look.span, left: canvas.width / 2, top: canvas.height / 2 };
  }

  function draw() {
    const ratio = devicePixelRatio || 1;
    const wide = plot.clientWidth;
    if (wide === 0) return;
    const high = Math.round(Math.min(520, wide * 0.72));
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
      canvas.style.height = `${high}px`;
    }
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const ground = colourOf("--ground");
    const image = context.createImageData(canvas.width, canvas.height);
    new Uint32Array(image.data.buffer).fill((255 << 24) | (ground[2] << 16) | (ground[1] << 8) | ground[0]);
    marks = marks || marksOf(colour[state.by], row.length);
    const most = Math.sqrt(MOST_PIXELS / Math.max(1, row.length) / Math.PI);
    paint(image, Math.max(1, Math.min(RADIUS * ratio, most)));
    context.putImageData(image, 0, 0);
  }

  function paint(image, radius) {
    const { unit, left, top } = scale();
    const stamps = SHAPES.map((_, shape) => stamp(shape, radius));
    const { data, width, height } = image;
    for (let point = 0; point < row.length; point++) {
      const mark = marks.of[point];
      if (state.only.size > 0 && !state.only.has(mark)) continue;
      const px = Math.round(left + (frame.x[point] - look.x) * unit);
      const py = Math.round(top - (frame.y[point] - look.y) * unit);
      const { dx, dy, cover, reach } = stamps[marks.shape[point]];
      if (px < -reach || py < -reach || px >= width + reach || py >= height + reach) continue;
      const at = point * 3;
      const [red, green, blue] = [marks.rgb[at], marks.rgb[at + 1], marks.rgb[at + 2]];
      for (let k = 0; k < cover.length; k++) {
        const xk = px + dx[k];
        const yk = py + dy[k];
        if (xk < 0 || yk < 0 || xk >= width || yk >= height) continue;
        const place = (yk * width + xk) * 4;
        const over = (cover[k] * 225) >> 8;
        const under = 256 - over;
        data[place] = (red * over + data[place] * under) >> 8;
        data[place + 1] = (green * over + data[place + 1] * under) >> 8;
        data[place + 2] = (blue * over + data[place + 2] * under) >> 8;
      }
    }
  }

  /** The point nearest to a place of the canvas, in CSS pixels; -1 where none is near. */
  function nearest(cssX, cssY) {
    const ratio = canvas.width / plot.clientWidth;
    const { unit, left, top } = scale();
    const ux = (cssX * ratio - left) / unit + look.x;
    const uy = (top - cssY * ratio) / unit + look.y;
    const shown = (point) => state.only.size === 0 || state.only.has(marks.of[point]);
    return grid.nearest(ux, uy, (REACH * ratio) / unit, shown);
  }

  function placeOf(point) {
    const ratio = canvas.width / plot.clientWidth;
    const { unit, left, top } = scale();
    return [(left + (frame.x[point] - look.x) * unit) / ratio, (top - (frame.y[point] - look.y) * unit) / ratio];
  }

  function hover(event) {
    const box = canvas.getBoundingClientRect();
    const point = marks ? nearest(event.clientX - box.left, event.clientY - box.top) : -1;
    ring.hidden = point < 0;
    if (point < 0) return tip(null);
    const [left, top] = placeOf(point);
    ring.style.transform = `translate(${left}px, ${top}px)`;
    return tip(pointTip(report, item, point, pictures), event.clientX, event.clientY);
  }

  function zoom(factor, cssX, cssY) {
    const ratio = canvas.width / plot.clientWidth;
    const { unit, left, top } = scale();
    const span = Math.min(4, Math.max(0.002, look.span * factor));
    // What is under the pointer stays there.
    const [ox, oy] = [(cssX * ratio - left) / unit, (top - cssY * ratio) / unit];
    look.x += ox * (1 - span / look.span);
    look.y += oy * (1 - span / look.span);
    look.span = span;
    moved();
  }

  function moved() {
    ring.hidden = true;
    tip(null);
    ask();
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoom(Math.exp(Math.sign(event.deltaY) * Math.min(0.3, Math.abs(event.deltaY) / 300)), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", () => (held = null));
  canvas.addEventListener("pointercancel", () => (held = null));
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return hover(event);
    const ratio = canvas.width / plot.clientWidth;
    const { unit } = scale();
    look.x -= ((event.clientX - held.x) * ratio) / unit;
    look.y += ((event.clientY - held.y) * ratio) / unit;
    held = { x: event.clientX, y: event.clientY };
    return moved();
  });
  canvas.addEventListener("pointerleave", () => {
    ring.hidden = true;
    tip(null);
  });
  canvas.addEventListener("dblclick", all);
  canvas.addEventListener("keydown", (event) => {
    const step = look.span * 0.1;
    const middle = [plot.clientWidth / 2, canvas.clientHeight / 2];
    const keys = {
      ArrowLeft: () => (look.x -= step),
      ArrowRight: () => (look.x += step),
      ArrowUp: () => (look.y += step),
      ArrowDown: () => (look.y -= step),
      "+": () => zoom(0.8, ...middle),
      "=": () => zoom(0.8, ...middle),
      "-": () => zoom(1.25, ...middle),
      0: all,
    };
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
    moved();
  });

  function all() {
    Object.assign(look, { x: 0.5, y: 0.5, span: 1.06 });
    moved();
  }

  function colourBy(place) {
    state.by = place;
    state.only.clear();
    marks = marksOf(colour[place], row.length);
    fillLegend(legend, colour[place], marks, state, ask);
    moved();
  }

  const controls = make("div", { class: "row" });
  if (colour.length > 1) {
    const id = identifier("colour", String(plots.size));
    const select = make("select", { id, onchange: (event) => colourBy(Number(event.target.value)) });
    colour.forEach((each, place) => select.append(make("option", { value: place }, brief(each.name, 80))));
    controls.append(make("label", { for: id }, "coloured by"), select);
  } else if (colour.length === 1) {
    controls.append(make("span", { class: "soft" }, "coloured by ", isolated(colour[0].name)));
  }
  const zooms = [["−", "Zoom out", 1.25], ["+", "Zoom in", 0.8]];
  for (const [sign, name, factor] of zooms) {
    controls.append(make("button", { type: "button", "aria-label": name, onclick: () => zoom(factor, plot.clientWidth / 2, canvas.clientHeight / 2) }, sign));
  }
  controls.append(make("button", { type: "button", onclick: all }, "show all"));
  if (colour.length > 0) colourBy(0);
  new ResizeObserver(ask).observe(plot);
  plots.add(state);
  // For the tests: how long frames took to draw, and where a point is.
  plot.drawn = { frames: state.frames, placeOf, ask };
  return make("div", {}, controls, plot, legend);
}

/** The points in a unit square, their proportions kept. */
function unitSquare(x, y) {
  const range = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const [[left, right], [low, high]] = [range(x), range(y)];
  const size = Math.max(right - left, high - low) || 1;
  return {
    x: Float64Array.from(x, (value) => 0.5 + (value - (left + right) / 2) / size),
    y: Float64Array.from(y, (value) => 0.5 + (value - (low + high) / 2) / size),
  };
}

/** The points by the cell of a grid that they lie in. */
function gridOf(frame) {
  const SIDE = 64;
  const n = frame.x.length;
  const along = (value) => Math.min(SIDE - 1, Math.max(0, Math.floor(value * SIDE)));
  const starts = new Int32Array(SIDE * SIDE + 1);
  const cells = new Int32Array(n);
  for (let point = 0; point < n; point++) {
    cells[point] = along(frame.y[point]) * SIDE + along(frame.x[point]);
    starts[cells[point] + 1]++;
  }
  for (let cell = 0; cell < SIDE * SIDE; cell++) starts[cell + 1] += starts[cell];
  const next = starts.slice();
  const members = new Int32Array(n);
  for (let point = 0; point < n; point++) members[next[cells[point]]++] = point;
  return {
    nearest(x, y, reach, shown) {
      let [best, least] = [-1, reach * reach];
      for (let j = along(y - reach); j <= along(y + reach); j++) {
        for (let i = along(x - reach); i <= along(x + reach); i++) {
          for (let k = starts[j * SIDE + i]; k < starts[j * SIDE + i + 1]; k++) {
            const point = members[k];
            const distance = (frame.x[point] - x) ** 2 + (frame.y[point] - y) ** 2;
            if (distance < least && shown(point)) [best, least] = [point, distance];
          }
        }
      }
      return best;
    },
  };
}

/** Colour and shape of each point, by one of the things that it can be coloured by. */
function marksOf(by, count) {
  const rgb = new Uint8Array(count * 3);
  const shape = new Uint8Array(count);
  const of = new Int32Array(count).fill(-1);
  const none = [150, 150, 150];
  const palette = PALETTE.map(rgbOf);
  const found = (by && by.value) || [];
  const numbers = by && by.kind === "number" ? found.filter((value) => value !== null) : [];
  const [low, high] = numbers.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  for (let point = 0; point < count; point++) {
    const value = by ? found[point] : 0;
    let colour = none;
    if (!by) {
      colour = palette[0];
    } else if (by.kind === "number") {
      if (value !== null && value !== undefined) colour = viridis(high > low ? (value - low) / (high - low) : 0.5);
    } else if (value !== null && value >= 0) {
      colour = palette[value % palette.length];
      shape[point] = Math.floor(value / palette.length) % SHAPES.length;
      of[point] = value;
    } else {
      shape[point] = 4;
    }
    rgb.set(colour, point * 3);
  }
  return { rgb, shape, of, low, high };
}

/** The legend: a click on an entry shows its points alone, a second adds another, and so on. */
function fillLegend(legend, by, marks, state, ask) {
  if (by.kind === "number") {
    const stops = [0, 0.25, 0.5, 0.75, 1].map((at) => `rgb(${viridis(at).join(",")})`);
    const bar = make("div", { class: "scale", style: { "background-image": `linear-gradient(90deg, ${stops.join(",")})` } });
    const ends = marks.high >= marks.low ? [number(marks.low), number(marks.high)] : ["", ""];
    legend.replaceChildren(make("li", { class: "row" }, ends[0], bar, ends[1]));
    return;
  }
  const counts = new Map();
  for (const mark of marks.of) counts.set(mark, (counts.get(mark) || 0) + 1);
  const entries = [...counts.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b);
  const buttons = entries.map((mark) => {
    const name = mark < 0 ? "none" : by.names[mark];
    const sign = mark < 0 ? make("svg", { width: 12, height: 12, viewBox: "-6 -6 12 12", "aria-hidden": "true" }, make("path", { d: SHAPES[4].path, fill: "#969696" })) : swatch(mark);
    const button = make("button", { type: "button", "aria-pressed": "false", title: brief(name), onclick: () => toggle(mark) }, sign, make("span", { class: "name" }, isolated(brief(name, 80))), make("span", { class: "soft" }, String(counts.get(mark))));
    return [mark, button];
  });

  function toggle(mark) {
    if (state.only.has(mark)) state.only.delete(mark);
    else state.only.add(mark);
    for (const [each, button] of buttons) {
      button.setAttribute("aria-pressed", String(state.only.has(each)));
      button.classList.toggle("off", state.only.size > 0 && !state.only.has(each));
    }
    ask();
  }

  legend.replaceChildren(...buttons.map(([, button]) => make("li", {}, button)));
}

/** What is said of a point, with its picture where a stage before it has one of its row. */
function pointTip(report, item, point, pictures) {
  const { row, colour } = item.points;
  const picture = pictures(row[point]);
  const pairs = [["row", String(row[point])]];
  for (const by of colour) {
    const value = by.value[point];
    const none = value === null || value === undefined || (by.kind !== "number" && value < 0);
    pairs.push([by.name, none ? "none" : by.kind === "number" ? number(value) : by.names[value]]);
  }
  const list = make("dl", {}, pairs.map(([name, value]) => [make("dt", {}, isolated(brief(name, 60))), make("dd", {}, isolated(brief(value, 120)))]));
  return make("div", {}, picture ? sprite(report, picture.sheet, picture.at, `row ${row[point]}`) : null, list);
}
