// Charts: Vega-Lite, its expressions interpreted rather than compiled, so that the page's policy can forbid `eval`.
"use strict";

/** A palette that the common kinds of colour blindness tell apart (Okabe and Ito), in an order that suits light and dark. */
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8a7a00", "#7f7f7f"];

/** Charts that are shown, so that another theme draws them anew. */
const charts = new Set();

function chartTheme() {
  const rgb = (name) => `rgb(${colourOf(name).join(",")})`;
  const [ink, soft, line] = [rgb("--ink"), rgb("--soft"), rgb("--line")];
  const font = "system-ui, sans-serif";
  return {
    background: null,
    font,
    axis: { labelColor: ink, titleColor: ink, domainColor: soft, tickColor: soft, gridColor: line, titleFontWeight: 500, labelLimit: 160 },
    legend: { labelColor: ink, titleColor: ink, symbolBaseFillColor: ink, symbolBaseStrokeColor: ink, labelLimit: 220, titleFontWeight: 500 },
    header: { labelColor: ink, titleColor: ink },
    title: { color: ink },
    text: { color: ink },
    rule: { color: soft },
    view: { stroke: line },
    range: { category: PALETTE },
    bar: { color: PALETTE[0] },
    rect: { color: PALETTE[0] },
    line: { color: PALETTE[0] },
    point: { color: PALETTE[0] },
    area: { color: PALETTE[0] },
    tick: { color: PALETTE[0] },
  };
}

/** Nothing is loaded, and no link is followed; pictures in a chart may be given as `data:`. */
const noLoader = {
  load: () => Promise.reject(new Error("charts in a report load nothing")),
  http: () => Promise.reject(new Error("charts in a report load nothing")),
  file: () => Promise.reject(new Error("charts in a report load nothing")),
  sanitize: (uri, options) =>
    options && options.context === "image" && /^data:image\//.test(uri)
      ? Promise.resolve({ href: uri })
      : Promise.reject(new Error("charts in a report have no links")),
};

/** What is pointed at in a chart: its fields as a list. */
function chartTip(_handler, event, _item, value) {
  if (value === null || value === undefined || value === "") return tip(null);
  const content =
    typeof value === "object"
      ? make("dl", {}, Object.entries(value).map(([name, of]) => [make("dt", {}, isolated(brief(name, 80))), make("dd", {}, isolated(brief(typeof of === "object" ? JSON.stringify(of) : of, 200)))]))
      : isolated(brief(value));
  return tip(content, event.clientX, event.clientY);
}

/** An element that shows a chart as soon as it is seen. */
function chart(spec, alt) {
  const place = make("div", { class: "chart", role: "img", "aria-label": brief(alt, 1000) });
  const state = { view: null, place, draw };
  whenSeen(place, () => {
    charts.add(state);
    draw();
  });

  async function draw() {
    if (state.view) state.view.finalize();
    try {
      const config = chartTheme();
      const full = { $schema: undefined, height: 220, ...spec };
      const alone = !("facet" in spec || "hconcat" in spec || "vconcat" in spec || "concat" in spec || "repeat" in spec);
      const faceted = !alone || ["facet", "row", "column"].some((channel) => spec.encoding && channel in spec.encoding);
      if (faceted) delete full.height;
      if (alone && !faceted && !("width" in spec)) {
        full.width = "container";
        full.autosize = { type: "fit-x", contains: "padding" };
      }
      if ("height" in spec) full.height = spec.height;
      const compiled = vegaLite.compile(full, { config, logger: vega.logger(vega.Error) });
      const runtime = vega.parse(compiled.spec, null, { ast: true });
      const view = new vega.View(runtime, {
        expr: vegaInterpreter,
        loader: noLoader,
        renderer: "svg",
        container: place,
        hover: true,
        tooltip: chartTip,
        logger: vega.logger(vega.Error),
      });
      state.view = view;
      await view.runAsync();
      widen(place);
      place.classList.add("drawn");
    } catch (error) {
      place.replaceChildren(make("p", { class: "problem" }, `This chart can't be drawn: ${brief(error.message)}`));
      place.classList.add("drawn");
    }
  }

  place.addEventListener("pointerleave", () => tip(null));
  return place;
}

/** Gives a chart that does not fit into its column the whole width. */
function widen(place) {
  const item = place.closest(".item");
  if (item && place.scrollWidth > place.clientWidth + 1) item.classList.add("wide");
}

/** Draws all charts anew in the colours of the page. */
function redrawCharts() {
  for (const state of charts) {
    if (state.place.isConnected) state.draw();
    else charts.delete(state);
  }
}

/** The charts of several instances laid over each other; a click on an instance's name shows it alone or beside others. */
function comparedChart(compared) {
  const chosen = new Set();
  const place = make("div");
  const buttons = compared.instances.map((name, at) =>
    make("button", { type: "button", "aria-pressed": "false", onclick: () => toggle(at), title: brief(name) }, swatch(at), make("span", { class: "name" }, isolated(brief(name, 80)))),
  );

  function toggle(at) {
    if (chosen.has(at)) chosen.delete(at);
    else chosen.add(at);
    buttons.forEach((button, each) => {
      button.setAttribute("aria-pressed", String(chosen.has(each)));
      button.classList.toggle("off", chosen.size > 0 && !chosen.has(each));
    });
    show();
  }

  function show() {
    const names = compared.instances.filter((_, at) => chosen.size === 0 || chosen.has(at));
    const values = compared.spec.data.values.filter((row) => names.includes(row[compared.field]));
    const alt = `${compared.title} of ${names.join(", ")}`;
    place.replaceChildren(chart({ ...compared.spec, data: { values } }, alt));
  }

  show();
  return make("figure", { class: "item wide" }, make("h4", { title: brief(compared.title) }, isolated(brief(compared.title, 200))), place, make("ul", { class: "legend" }, buttons.map((button) => make("li", {}, button))));
}

/** A small sign in the colour and shape of a category. */
function swatch(at) {
  const d = SHAPES[Math.floor(at / PALETTE.length) % SHAPES.length].path;
  return make("svg", { width: 12, height: 12, viewBox: "-6 -6 12 12", "aria-hidden": "true" }, make("path", { d, fill: PALETTE[at % PALETTE.length] }));
}
