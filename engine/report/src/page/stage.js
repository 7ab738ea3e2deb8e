// One stage: what it is, what it read and made, how it came to be, and the command that makes it again.
"use strict";

function stagePanel(report, ids, id, choose) {
  const stage = report.stages[id];
  const parts = [make("h3", {}, isolated(brief(stage.label, 400)))];
  if (ids.length > 1) {
    const select = make("select", { id: "instance", onchange: (event) => choose(Number(event.target.value)) });
    for (const each of ids) {
      const { label, status } = report.stages[each];
      select.append(make("option", { value: each, selected: each === id }, `${standing(status).sign} ${brief(label, 120)}`));
    }
    parts.push(make("div", { class: "row" }, make("label", { for: "instance" }, `one of ${ids.length} instances`), select));
  }
  parts.push(make("p", {}, chip(stage.status), stage.seconds === null ? "" : ` ${duration(stage.seconds)}`));
  if (stage.summary) parts.push(make("p", { class: "soft" }, isolated(stage.summary)));
  if (stage.reason) parts.push(make("p", { class: stage.status === "failed" ? "problem" : "soft" }, isolated(stage.reason)));
  if (stage.shows) {
    parts.push(make("p", {}, make("a", { href: `#${identifier("stage", stage.stage)}` }, "What it shows")));
  }
  const details = stage.details;
  if (!details) {
    parts.push(make("p", { class: "told" }, "Its details are left out, since there are too many stages. `flow show` has them."));
  } else {
    parts.push(...stageDetails(report, stage, details));
  }
  return make("div", {}, parts);
}

function stageDetails(report, stage, details) {
  const parts = [];
  const titled = (title, content) => content && parts.push(make("h4", {}, title), content);
  if (details.again) {
    const copy = make("button", { type: "button", onclick: () => copyText(copy, details.again) }, "copy");
    titled("Makes it again", make("div", {}, make("pre", { class: "text" }, details.again), copy));
    if (details.changed) parts.push(make("p", { class: "soft" }, "The workflow file has changed since."));
  }
  titled("Parameters", facts(Object.entries(details.parameters).map(([name, value]) => [name, valueText(value)])));
  if (details.seed !== null) parts.push(facts([["seed", String(details.seed)]]));
  titled("Figures", facts(Object.entries(stage.metrics).filter(([, value]) => typeof value === "number").map(([name, value]) => [name, number(value)])));
  titled("Inputs", facts(details.inputs.map((input) => [input.role, input.from])));
  titled("Outputs", facts(details.outputs.map((output) => [output.role, `${output.artifact}, ${bytes(output.size)}, ${output.digest}`])));
  const made = [["key", stage.key], ["by run", stage.by], ["made", stage.finished && localTime(stage.finished)], ...details.made];
  titled("Made", facts(made.filter(([, value]) => value)));
  if (stage.curves) titled("Figures as they came", curvesOf(stage.curves));
  if (details.log) {
    const { lines, whole, left_out } = details.log;
    const end = left_out > 0 ? `The end of its log, which left out ${bytes(left_out)}` : "The end of its log";
    titled(whole ? "Its log" : end, make("pre", { class: "text", tabindex: "0" }, lines.join("\n")));
  }
  return parts;
}

/** Names and values; none where there is nothing. */
function facts(pairs) {
  if (pairs.length === 0) return null;
  return make("dl", {}, pairs.map(([name, value]) => [make("dt", {}, isolated(name)), make("dd", { class: "mono" }, value)]));
}

async function copyText(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    // Without the right to the clipboard: selected, so that one key copies it.
    getSelection().selectAllChildren(button.previousElementSibling);
    button.textContent = "selected";
  }
  setTimeout(() => (button.textContent = "copy"), 2000);
}

/** Small curves of figures by step: what a running or failed stage told before it had anything else to show. */
function curvesOf(curves) {
  const figures = Object.entries(curves).map(([name, points]) => {
    const [width, height] = [240, 80];
    const [steps, values] = [points.map((p) => p[0]), points.map((p) => p[1])];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const [first, last] = [Math.min(...steps), Math.max(...steps)];
    const x = (step) => (last === first ? width / 2 : ((step - first) / (last - first)) * (width - 8) + 4);
    const y = (value) => (high === low ? height / 2 : height - 4 - ((value - low) / (high - low)) * (height - 8));
    const line = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    const now = points[points.length - 1];
    const text = `${number(now[1])} at ${now[0]}; from ${number(low)} to ${number(high)}`;
    const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": brief(`${name}: ${text}`) }, make("polyline", { points: line }));
    return make("figure", {}, make("figcaption", {}, isolated(name), " ", make("span", { class: "soft" }, text)), picture);
  });
  return figures.length > 0 ? make("div", { class: "curves" }, figures) : null;
}
