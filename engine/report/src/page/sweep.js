// Results as tables: the points of a sweep, and the stages of one point beside each other.
"use strict";

/** A mean with its 95 % interval, and the single values on hover. */
function cellOf(cell, seeds, whole) {
  if (!cell || cell.n === 0 || cell.mean === null || cell.mean === undefined) return { value: null, text: cell && cell.n > 0 ? "not finite" : "–" };
  const shown = (value) => (Number.isInteger(value) && !whole ? value.toFixed(4) : number(value));
  const mean = shown(cell.mean);
  const half = cell.half_width === null || cell.half_width === undefined ? "" : ` ± ${shown(cell.half_width)}`;
  const lead = cell.lead && cell.lead.significant ? " *" : "";
  const values = cell.values.map(({ seed, value }) => `seed ${seed}: ${value === null ? "not finite" : number(value)}`).join("; ");
  const few = cell.n > 1 && cell.n < seeds ? ` (n = ${cell.n})` : "";
  return { value: cell.mean, text: `${mean}${half}${few}${lead}`, title: values };
}

/** Whether a column holds counts, which are written without digits after the point. */
function isWhole(cells) {
  return cells.every((cell) => !cell || cell.values.every(({ value }) => value === null || Number.isInteger(value)));
}

/** Rows of a table that are shown at once. */
const PAGE = 50;

/** The places of the points, the best first where there is a goal; what has no mean comes last. */
function ranked(results) {
  const places = results.rows.map((_, at) => at);
  if (!results.goal) return places;
  const mean = (at) => results.rows[at].cells[results.goal.metric]?.mean ?? null;
  const sign = results.goal.maximise ? -1 : 1;
  return places.sort((a, b) => {
    const [x, y] = [mean(a), mean(b)];
    if (x === null || y === null) return Number(x === null) - Number(y === null) || a - b;
    return sign * (x - y) || a - b;
  });
}

/** The points of a sweep: axes and figures as columns. */
function pointsTable(results) {
  const same = results.metrics.filter((name) => isSame(results, name));
  const figures = results.metrics.filter((name) => !same.includes(name));
  const columns = [
    { name: "point" },
    ...results.axes.map((axis) => ({ name: axis, number: results.rows.every((row) => typeof row.point[axis] === "number") })),
    ...figures.map((name) => ({ name, number: true })),
    { name: "standing" },
  ];
  const whole = new Map(figures.map((name) => [name, isWhole(results.rows.map((row) => row.cells[name]))]));
  const places = ranked(results);
  const rows = places.map((at) => {
    const row = results.rows[at];
    const marks = [row.best ? "best" : "", row.base ? "base" : ""].filter(Boolean).join(", ");
    return [
      { value: at + 1, text: `${at + 1}${marks ? ` (${marks})` : ""}` },
      ...results.axes.map((axis) => axisCell(row.point[axis])),
      ...figures.map((name) => cellOf(row.cells[name], results.seeds.length, whole.get(name))),
      { value: row.status, text: row.status, title: row.reason ?? undefined },
    ];
  });
  const goal = results.goal ? ` The goal is to ${results.goal.maximise ? "maximise" : "minimise"} ${results.goal.metric}.` : "";
  return make(
    "div",
    {},
    table("The points of the sweep", columns, rows, { rowClass: (row) => (results.rows[places[row]].best ? "best" : null), page: PAGE }),
    make("p", { class: "soft" }, interval(results), isolated(goal), " ", significance(results)),
    lacking(results),
    same.length > 0 ? sameEverywhere(results, same) : null,
  );
}

/** Why points are not complete: too long for a row. */
function lacking(results) {
  const rows = results.rows.map((row, at) => [at + 1, row.status, row.reason ?? ""]).filter(([, status]) => status !== "complete");
  if (rows.length === 0) return null;
  const columns = [{ name: "point" }, { name: "standing" }, { name: "why" }];
  return make("details", {}, make("summary", {}, rows.length === 1 ? "1 point is not complete" : `${rows.length} points are not complete`), table(null, columns, rows, { page: PAGE }));
}

/** The figures that the sweep does not change, for who looks for them. */
function sameEverywhere(results, names) {
  const rows = names.map((name) => {
    const cell = results.rows[0].cells[name];
    return [name, cellOf(cell, results.seeds.length, isWhole([cell]))];
  });
  const columns = [{ name: "figure" }, { name: "at every point", number: true }];
  return make("details", {}, make("summary", {}, names.length === 1 ? `${names[0]} is the same at every point` : `${names.length} figures are the same at every point`), table(null, columns, rows));
}

/** Whether no point differs from another in a figure. */
function isSame(results, name) {
  const of = (row) => JSON.stringify(row.cells[name] && row.cells[name].values.map(({ seed, value }) => [seed, value]));
  return results.rows.length > 1 && results.rows.every((row) => of(row) === of(results.rows[0])) && !(results.goal && results.goal.metric === name);
}

function axisCell(value) {
  if (value === undefined || value === null) return null;
  return typeof value === "number" ? { value, text: String(value) } : valueText(value);
}

function interval(results) {
  return results.seeds.length > 1
    ? `Mean ± half of the 95 % interval (Student's t) over ${results.seeds.length} seeds.`
    : "One seed: there is no interval, and a difference may be noise.";
}

function significance(results) {
  const any = results.rows.some((row) => Object.values(row.cells).some((cell) => cell.lead && cell.lead.significant));
  return any ? "*: differs from the base by more than seed noise (t-test paired by seed, Holm's correction over the points, p < 0.05)." : "";
}

/** The stages of one point beside each other: what each strategy reached. */
function strategiesTable(results) {
  const split = (name) => {
    const end = name.includes("[") && name.indexOf("[") < name.indexOf(".") ? name.indexOf("].") + 1 : name.indexOf(".");
    return [name.slice(0, end), name.slice(end + 1)];
  };
  const stages = new Map();
  const figures = [];
  for (const name of results.metrics) {
    const [stage, figure] = split(name);
    if (!stages.has(stage)) stages.set(stage, new Map());
    stages.get(stage).set(figure, name);
    if (!figures.includes(figure)) figures.push(figure);
  }
  // Figures that the same stages have stand in one table.
  const sets = new Map();
  for (const [stage, names] of stages) {
    const key = [...names.keys()].join("\n");
    if (!sets.has(key)) sets.set(key, []);
    sets.get(key).push(stage);
  }
  const place = make("div");

  function show(row) {
    place.replaceChildren(
      ...[...sets].map(([key, members]) => {
        const own = figures.filter((figure) => key.split("\n").includes(figure));
        const columns = [{ name: "stage" }, ...own.map((figure) => ({ name: figure.replaceAll("_", " "), number: true }))];
        const cell = (stage, figure) => row.cells[stages.get(stage).get(figure)];
        const whole = new Map(own.map((figure) => [figure, isWhole(members.map((stage) => cell(stage, figure)))]));
        const rows = members.map((stage) => [stage, ...own.map((figure) => cellOf(cell(stage, figure), results.seeds.length, whole.get(figure)))]);
        return make("div", { class: "strategies" }, table(own.map((figure) => figure.replaceAll("_", " ")).join(", "), columns, rows));
      }),
    );
  }

  const first = results.rows.find((row) => row.best) || results.rows.find((row) => row.base) || results.rows[0];
  const parts = [];
  if (results.rows.length > 1) {
    const select = make("select", { id: "point", onchange: (event) => show(results.rows[Number(event.target.value)]) });
    results.rows.forEach((row, at) => {
      const text = results.axes.filter((axis) => axis in row.point).map((axis) => `${axis}=${valueText(row.point[axis])}`).join(", ") || "the workflow as it stands";
      select.append(make("option", { value: at, selected: row === first }, brief(`${text}${row.best ? " (best)" : row.base ? " (base)" : ""}`, 160)));
    });
    parts.push(make("div", { class: "row" }, make("label", { for: "point" }, "at the point"), select));
  }
  show(first);
  return make("div", {}, parts, place, make("p", { class: "soft" }, interval(results)));
}

/** The charts of one figure; a choice of the figure where there are several. */
function sweepFigures(report) {
  const names = [...new Set(report.figures.map((figure) => figure.metric))];
  const place = make("div", { class: "items" });
  const show = (name) => place.replaceChildren(...report.figures.filter((figure) => figure.metric === name).map((item) => itemOf(report, null, item)));
  if (names.length > 0) show(names[0]);
  if (names.length < 2) return place;
  const select = make("select", { id: "figure", onchange: (event) => show(names[Number(event.target.value)]) });
  names.forEach((name, at) => select.append(make("option", { value: at }, brief(name, 120))));
  return make("div", {}, make("div", { class: "row" }, make("label", { for: "figure" }, "charts of"), select), place);
}
