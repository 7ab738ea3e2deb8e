// What stages show, by stage, in the order of the DAG.
"use strict";

/** One section for all instances of a stage; a choice of the instance where several show something. */
function stageViews(report, name, shown) {
  const place = make("div");
  const parts = [];
  const show = (view) => place.replaceChildren(viewOf(report, view));
  if (shown.length > 1) {
    const id = identifier("view", name);
    const select = make("select", { id, onchange: (event) => show(shown[Number(event.target.value)]) });
    shown.forEach((view, at) => select.append(make("option", { value: at }, brief(report.stages[view.stage].label, 120))));
    parts.push(make("div", { class: "row" }, make("label", { for: id }, `one of ${shown.length} instances`), select));
  }
  show(shown[0]);
  return make("div", {}, parts, place);
}

function viewOf(report, view) {
  const items = view.items.filter((item) => item.type !== "thumbnails").map((item) => itemOf(report, view, item));
  const told = view.problem ? [make("p", { class: "problem" }, isolated(view.problem))] : [];
  return make("div", {}, told, make("div", { class: "items" }, items));
}

function itemOf(report, view, item) {
  const wide = item.type === "gallery" || (item.type === "table" && item.columns.length > 6);
  const whole = make("figure", { class: wide ? "item wide" : "item" }, make("h4", { title: brief(item.title || "") }, isolated(brief(item.title || "", 200))));
  if (item.left_out) {
    whole.append(make("p", { class: "told" }, isolated(item.left_out)));
    return whole;
  }
  whole.append(contentOf(report, view, item));
  for (const note of [item.note, item.sampled]) {
    if (note) whole.append(make("figcaption", {}, isolated(brief(note, 600))));
  }
  return whole;
}

function contentOf(report, view, item) {
  switch (item.type) {
    case "text":
      return make("p", { class: "long text" }, item.text);
    case "table": {
      const columns = item.columns.map((name, place) => ({ name, number: place > 0 && item.rows.every((row) => row[place] === null || typeof row[place] === "number") }));
      return table(null, columns, item.rows.map((row) => row.map((cell) => (typeof cell === "boolean" ? String(cell) : cell))));
    }
    case "image": {
      const url = fileUrl(report, item.file);
      return make("img", { src: url, alt: item.alt, loading: "lazy" });
    }
    case "vega-lite":
      return chart(item.spec, item.alt || item.title);
    case "gallery":
      return gallery(report, item);
    case "points": {
      const place = make("div", { style: { "min-height": "20rem" } });
      whenSeen(place, () => {
        place.style.minHeight = "";
        place.append(pointsPlot(report, item, picturesFor(report, view.stage)));
      });
      return place;
    }
    default:
      return make("p", { class: "problem" }, "This page does not know how to show it.");
  }
}

/** What finds the picture of a row: in the thumbnails of the stages that a stage descends from. */
function picturesFor(report, id) {
  const ancestors = new Set([id]);
  const next = [id];
  while (next.length > 0) {
    for (const source of report.stages[next.pop()].sources) {
      if (!ancestors.has(source)) {
        ancestors.add(source);
        next.push(source);
      }
    }
  }
  const rows = new Map();
  for (const view of report.views) {
    if (!ancestors.has(view.stage)) continue;
    for (const sheet of view.items) {
      if (sheet.type !== "thumbnails" || sheet.left_out) continue;
      sheet.row.forEach((row, at) => rows.has(row) || rows.set(row, { sheet, at }));
    }
  }
  return (row) => rows.get(row);
}
