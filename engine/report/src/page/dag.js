// The DAG: a button for each stage, edges below them; and the same as a list.
"use strict";

/** What each standing looks like: a sign and a word beside the colour. */
const STANDINGS = {
  "ran": { sign: "✓", tone: "good" },
  "up to date": { sign: "✓", tone: "good" },
  "cached": { sign: "≡", tone: "kept" },
  "frozen": { sign: "*", tone: "kept" },
  "running": { sign: "▶", tone: "busy" },
  "will run": { sign: "→", tone: "busy" },
  "may run": { sign: "?", tone: "unsure" },
  "failed": { sign: "✗", tone: "bad" },
  "skipped": { sign: "↷", tone: "unsure" },
  "cancelled": { sign: "◌", tone: "idle" },
  "waiting": { sign: "·", tone: "idle" },
};
/** Of several instances in one box the one that asks most for attention is shown. */
const WORST_FIRST = ["failed", "running", "skipped", "will run", "may run", "cancelled", "waiting", "ran", "up to date", "cached", "frozen"];

function standing(status) {
  return STANDINGS[status] || { sign: "·", tone: "idle" };
}

/** How the instances of a box stand, in words: `3 ran, 2 cached`. */
function tally(report, ids) {
  const counts = new Map();
  for (const id of ids) {
    const status = report.stages[id].status;
    counts.set(status, (counts.get(status) || 0) + 1);
  }
  const words = WORST_FIRST.filter((status) => counts.has(status));
  return {
    worst: words[0] || "waiting",
    text: ids.length === 1 ? words[0] : words.map((status) => `${counts.get(status)} ${status}`).join(", "),
  };
}

function chip(status) {
  const { sign, tone } = standing(status);
  return make("span", { class: `chip ${tone}` }, `${sign} ${status}`);
}

/** The drawing with its panel, and the list below. `choose` is called with the instance to show. */
function dagSection(report, chosen) {
  const panel = make("div", { class: "panel", id: "panel", role: "region", "aria-label": "The chosen stage", "aria-live": "polite" });
  const boxes = [];

  function choose(ids, id, reveal) {
    chosen.id = id;
    for (const box of boxes) box.button.setAttribute("aria-pressed", String(box.ids.includes(id)));
    for (const edge of edges) edge.path.classList.toggle("near", edge.ids.includes(id));
    panel.replaceChildren(stagePanel(report, ids, id, (other) => choose(ids, other, false)));
    panel.scrollTop = 0;
    if (reveal && panel.getBoundingClientRect().top > innerHeight - 80) panel.scrollIntoView({ block: "nearest" });
  }

  const edges = [];
  const parts = [];
  if (report.graph) {
    const { width, height } = report.graph;
    const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    for (const edge of report.graph.edges) {
      const path = make("path", { d: edge.path });
      const [x, y] = edge.tip;
      svg.append(path, make("path", { class: "arrow", d: `M${x} ${y}l-4 -8h8z` }));
      const ids = [edge.from, edge.to].flatMap((box) => report.graph.boxes[box].stages);
      edges.push({ path, ids });
    }
    const canvas = make("div", { class: "canvas", style: { width: `${width}px`, height: `${height}px` } }, svg);
    for (const box of report.graph.boxes) {
      const button = make("button", {
        type: "button",
        class: "box",
        "aria-pressed": "false",
        "aria-controls": "panel",
        "data-stage": brief(box.name),
        style: { left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` },
        onclick: () => choose(box.stages, box.stages.includes(chosen.id) ? chosen.id : worst(report, box.stages), true),
      });
      boxes.push({ button, ids: box.stages, name: box.name });
      canvas.append(button);
    }
    parts.push(make("div", { class: "drawing", tabindex: "0", role: "group", "aria-label": "The DAG of the stages; each is a button" }, canvas));
  } else if (report.stages.length > 0 && report.differs.length === 0) {
    parts.push(make("p", { class: "soft" }, "The workflow has too many stages for a drawing; the list below has all of them."));
  }

  /** Says anew how each stage stands; a run that goes on calls it often. */
  function refresh() {
    for (const { button, ids, name } of boxes) {
      const { worst: status, text } = tally(report, ids);
      const { sign, tone } = standing(status);
      button.className = `box ${tone}${status === "running" ? " running" : ""}`;
      const times = ids.map((id) => report.stages[id]).filter((stage) => stage.seconds !== null);
      const seconds = times.reduce((sum, stage) => sum + stage.seconds, 0);
      const time = times.length > 0 ? `, ${duration(seconds)}` : "";
      const progress = ids.length === 1 ? report.stages[ids[0]].progress : null;
      button.title = brief(`${name}: ${text}${time}`);
      const many = ids.length > 1 ? ` ×${ids.length}` : "";
      button.replaceChildren(
        make("span", { class: "name" }, `${sign} `, isolated(brief(name, 120)), many),
        make("span", { class: "state" }, progress ? progress : `${text}${time}`),
      );
    }
    const now = report.stages[chosen.id];
    const stands = now ? JSON.stringify([chosen.id, now.status, now.progress, now.curves]) : "";
    if (now && stands === shownAs) {
      // As it is shown already: what one reads in it stays where it is.
    } else if (now) {
      shownAs = stands;
      const box = boxes.find(({ ids }) => ids.includes(chosen.id));
      choose(box ? box.ids : [chosen.id], chosen.id, false);
    } else {
      panel.replaceChildren(make("p", { class: "soft" }, "Choose a stage: its parameters, inputs, key, log, versions, and the command that makes it again."));
    }
    if (details.open) fillList();
  }

  function fillList() {
    list.replaceChildren(stageList(report, (id) => choose([id], id, true)));
  }

  let shownAs = "";
  const list = make("div");
  const details = make("details", { ontoggle: () => details.open && fillList() }, make("summary", {}, `All ${report.stages.length} stages as a list`), list);
  details.open = !report.graph;
  parts.push(panel);
  refresh();
  return { element: make("div", {}, make("div", { class: report.graph ? "dag" : "" }, parts), details), refresh, choose: (id) => choose([id], id, true) };
}

/** The instance of a box that is shown first: one that failed, else the first. */
function worst(report, ids) {
  return ids.find((id) => report.stages[id].status === tally(report, ids).worst);
}

/** All stages, in the order in which they run. */
function stageList(report, choose) {
  const columns = [{ name: "stage" }, { name: "standing" }, { name: "kind" }, { name: "took", number: true }, { name: "made" }, { name: "by run" }];
  const rows = report.stages.map((stage, id) => [
    { value: stage.label, node: () => make("button", { type: "button", onclick: () => choose(id), title: brief(stage.label) }, isolated(brief(stage.label, 120))) },
    { value: WORST_FIRST.indexOf(stage.status), node: () => chip(stage.status), title: stage.reason },
    stage.kind,
    { value: stage.seconds, text: duration(stage.seconds) },
    { value: stage.finished, text: stage.finished ? localTime(stage.finished) : "" },
    stage.by || "",
  ]);
  return table("All stages, in the order in which they run", columns, rows);
}
