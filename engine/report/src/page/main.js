// Puts the page together: its head, its sections, and what happens when the document comes anew.
"use strict";

const page = { report: null, chosen: { id: null }, dag: null, sections: new Map() };

/** The sections that a report has, in order: title, what they are made of, and how. */
function sectionsOf(report) {
  const sections = [
    {
      key: "stages",
      title: "Stages",
      from: [report.stages.map((stage) => [stage.label, stage.key, stage.details]), report.graph],
      build: () => (page.dag = dagSection(report, page.chosen)).element,
    },
  ];
  if (report.differs.length > 0) {
    const shown = ({ title, columns, rows }) => table(title, columns.map((name) => ({ name })), rows);
    sections.unshift({ key: "differs", title: "What differs", from: report.differs, build: () => make("div", {}, report.differs.map(shown)) });
  }
  const results = report.table;
  if (results && results.metrics.length > 0 && results.rows.length > 0) {
    sections.push({ key: "results", title: "Results", from: results, build: () => strategiesTable(results) });
  }
  if (results && (results.axes.length > 0 || report.figures.length > 0)) {
    const build = () => make("div", {}, sweepFigures(report), pointsTable(results));
    sections.push({ key: "sweep", title: "Sweep", from: [results, report.figures], build });
  }
  if (report.compared.length > 0) {
    const build = () => make("div", { class: "items" }, report.compared.map(comparedChart));
    sections.push({ key: "compared", title: "Side by side", from: report.compared, build });
  }
  const byStage = new Map();
  for (const view of report.views) {
    if (!view.problem && !view.items.some((item) => item.type !== "thumbnails")) continue;
    const { stage } = report.stages[view.stage];
    if (!byStage.has(stage)) byStage.set(stage, []);
    byStage.get(stage).push(view);
  }
  for (const [stage, shown] of byStage) {
    sections.push({ key: `stage ${stage}`, id: identifier("stage", stage), title: stage, within: "What the stages show", from: shown, build: () => stageViews(report, stage, shown) });
  }
  if (report.told.length > 0) {
    sections.push({ key: "told", title: "What is not on this page", from: report.told, build: () => make("ul", {}, report.told.map((text) => make("li", {}, isolated(text)))) });
  }
  return sections;
}

function headOf(report) {
  const facts = [];
  const { run } = report;
  if (run) {
    facts.push(`run ${run.id}: ${run.status}`);
    if (run.counts) facts.push(run.counts);
    if (run.seconds !== null) facts.push(duration(run.seconds));
    if (run.started) facts.push(`began ${localTime(run.started)}`);
    if (run.host) facts.push(run.host);
  } else {
    facts.push(tally(report, report.stages.map((_, id) => id)).text || "no stages");
  }
  if (report.seed !== null) facts.push(`seed ${report.seed}`);
  if (report.overrides) facts.push(report.overrides);
  const theme = make("select", { id: "theme", onchange: (event) => setTheme(event.target.value) });
  for (const [value, text] of [["light dark", "as the system"], ["light", "light"], ["dark", "dark"]]) {
    theme.append(make("option", { value, selected: value === page.theme }, text));
  }
  return [
    make("h1", {}, isolated(report.workflow)),
    make("p", { class: "facts", id: "facts" }, isolated(facts.join(" · "))),
    make("p", { id: "live", class: "soft", role: "status", hidden: true }),
    make("div", {}, make("label", { for: "theme" }, "colours "), theme),
  ];
}

function setTheme(theme) {
  page.theme = theme;
  document.documentElement.style.colorScheme = theme;
  try {
    localStorage.setItem("flow-theme", theme);
  } catch {
    // A page from disk may be allowed no storage.
  }
  redraw();
}

function redraw() {
  redrawCharts();
  for (const plot of plots) plot.draw();
}

/** Shows a document; of what is shown already, only what has changed is built anew. */
function show(report) {
  page.report = report;
  document.title = `${brief(report.workflow, 80)} – flow report`;
  document.getElementById("head").replaceChildren(...headOf(report));
  const main = document.getElementById("main");
  const links = [];
  const wanted = sectionsOf(report);
  const kept = new Map();
  let heading = null;
  const children = [];
  for (const section of wanted) {
    if (section.within && section.within !== heading) {
      heading = section.within;
      children.push(make("h2", { id: "shown" }, heading));
      links.push({ title: heading, id: "shown", below: [] });
    }
    const from = JSON.stringify(section.from);
    const before = page.sections.get(section.key);
    const id = section.id || section.key;
    const element = before && before.from === from ? before.element : make("section", { id, "aria-label": brief(section.title) }, make(section.within ? "h3" : "h2", {}, isolated(brief(section.title, 400))), section.build());
    kept.set(section.key, { from, element });
    children.push(element);
    if (section.within) links[links.length - 1].below.push({ title: section.title, id });
    else links.push({ title: section.title, id, below: [] });
  }
  page.sections = kept;
  // Those that stay are not taken out: what is scrolled to and focused stays so.
  const old = [...main.children];
  children.forEach((child, at) => {
    if (main.children[at] !== child) main.insertBefore(child, main.children[at] || null);
  });
  for (const child of old) if (!children.includes(child)) child.remove();
  if (page.dag) page.dag.refresh();
  const link = ({ title, id }) => make("a", { href: `#${id}`, title: brief(title) }, isolated(brief(title, 80)));
  document.getElementById("sections").replaceChildren(
    make("ul", {}, links.map((each) => make("li", {}, link(each), each.below.length > 0 ? make("ul", {}, each.below.map((one) => make("li", {}, link(one)))) : null))),
  );
  document.getElementById("foot").replaceChildren(make("p", {}, report.made_with), make("p", {}, "Charts by Vega and Vega-Lite (BSD 3-Clause, University of Washington Interactive Data Lab)."));
}

function begin() {
  page.theme = "light dark";
  try {
    page.theme = localStorage.getItem("flow-theme") || page.theme;
  } catch {
    // See setTheme.
  }
  document.documentElement.style.colorScheme = page.theme;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("keydown", (event) => event.key === "Escape" && tip(null));
  const embedded = document.getElementById("document");
  if (embedded) show(JSON.parse(embedded.textContent));
  else watch();
}

begin();
