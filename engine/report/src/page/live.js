// The page while a run goes on: its events come as they are told, and the document anew when a stage has ended.
"use strict";

/** How often the document is asked for at most, in milliseconds. */
const PAUSE = 1500;

function watch() {
  let asked = false;
  let due = false;
  let byLabel = new Map();
  // What was told while the document was on its way: it may know of it already, or not.
  let missed = [];

  async function fetchDocument() {
    if (asked) {
      due = true;
      return;
    }
    asked = true;
    missed = [];
    try {
      const answer = await fetch("/document.json", { cache: "no-store" });
      if (answer.ok) {
        const report = await answer.json();
        byLabel = new Map(report.stages.map((stage, id) => [stage.label, id]));
        show(report);
        say(report);
        missed.splice(0).forEach(hear);
      } else {
        tell(await answer.text());
      }
    } catch {
      tell("flow ui has ended; the page shows what it knew last");
    }
    setTimeout(() => {
      asked = false;
      if (due) {
        due = false;
        fetchDocument();
      }
    }, PAUSE);
  }

  function tell(text) {
    const place = document.getElementById("live") || document.getElementById("head").appendChild(make("p", { id: "live", role: "status" }));
    place.hidden = false;
    place.textContent = text;
  }

  function say(report) {
    const running = report.run && report.run.status === "running";
    tell(running ? "live: the run goes on" : report.run ? "live: waiting for the next run" : "live: waiting for a run");
  }

  /** One event of the run's journal. */
  function hear(event) {
    if (event.event === "document") {
      fetchDocument();
      return;
    }
    if (asked) missed.push(event);
    const id = byLabel.get(event.label);
    const stage = id === undefined ? null : page.report.stages[id];
    if (!stage || ["ran", "cached", "failed"].includes(stage.status)) return;
    switch (event.event) {
      case "execute":
        Object.assign(stage, { status: "running", progress: null });
        break;
      case "waiting":
        Object.assign(stage, { status: "running", progress: `waits for ${event.holder}` });
        break;
      case "progress":
        stage.status = "running";
        stage.progress = `${event.unit} ${event.done}${event.total > 0 ? `/${event.total}` : ""}${event.message ? `, ${event.message}` : ""}`;
        break;
      case "metric":
        keep(stage, event);
        break;
      default:
        return;
    }
    soon();
  }

  /** A figure of a step, once. */
  function keep(stage, { name, step, value }) {
    if (typeof step !== "number" || typeof value !== "number") return;
    stage.curves = stage.curves || {};
    const points = (stage.curves[name] = stage.curves[name] || []);
    if (points.length === 0 || points[points.length - 1][0] < step) points.push([step, value]);
  }

  let drawn = false;
  function soon() {
    if (drawn || !page.dag) return;
    drawn = true;
    setTimeout(() => {
      drawn = false;
      page.dag.refresh();
    }, 200);
  }

  const source = new EventSource("/events");
  // The server begins each connection with `document`, so nothing that was told before is missed.
  source.onmessage = (message) => hear(JSON.parse(message.data));
  source.onerror = () => tell("flow ui does not answer; it may have ended");
}
