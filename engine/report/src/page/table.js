// Tables that are sorted by a click on a column's name.
"use strict";

/** A name that may be broken after its dots and underscores. */
function breakable(name) {
  const parts = name.split(/(?<=[._=])/);
  return make("bdi", {}, parts.map((part, at) => [at > 0 ? make("wbr") : null, part]));
}

/**
 * A table. `columns` are `{ name, number }`; a row is a list of cells, each a text, a number, null, or
 * `{ value, text, title }`, where `value` is sorted by. The first cell heads its row. With `options.page` a table of more
 * rows shows that many at once, and a filter.
 */
function table(caption, columns, rows, options = {}) {
  const body = make("tbody");
  const heads = columns.map((column, place) => {
    const head = make("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": "none" });
    head.append(make("button", { type: "button", onclick: () => sort(place), title: brief(column.name) }, breakable(brief(column.name, 120))));
    return head;
  });
  const plain = (cell) => (cell !== null && typeof cell === "object" ? cell.value : cell);
  const all = rows.map((_, row) => row);
  const paged = options.page !== undefined && rows.length > options.page;
  // All rows in their order, and those of them that are shown.
  let sorted = all;
  let order = all;
  let first = 0;

  function sort(place) {
    const head = heads[place];
    const before = head.getAttribute("aria-sort");
    // Figures: the largest first, since that is mostly what is looked for.
    const usual = columns[place].number ? "descending" : "ascending";
    const other = usual === "ascending" ? "descending" : "ascending";
    const direction = before === usual ? other : usual;
    heads.forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const none = (value) => value === null || value === undefined || value === "";
    sorted = [...all];
    sorted.sort((a, b) => {
      const [x, y] = [plain(rows[a][place]), plain(rows[b][place])];
      if (none(x) || none(y)) return Number(none(x)) - Number(none(y)) || a - b;
      if (typeof x === "number" && typeof y === "number") return sign * (x - y) || a - b;
      return sign * String(x).localeCompare(String(y), undefined, { numeric: true }) || a - b;
    });
    filter(field.value);
  }

  const written = (cell) => (cell !== null && typeof cell === "object" ? cell.text : cell) ?? "";
  /** What the words of a filter are looked for in: `name=value` of each cell. */
  const texts = [];
  const textOf = (row) => (texts[row] ??= rows[row].map((cell, place) => `${columns[place].name}=${written(cell)}`).map((text) => `\n${text}\n`).join("").toLowerCase());

  function filter(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    // `lr=0.1` is not `lr=0.15`.
    const fits = (text, word) => (word.includes("=") ? text.includes(`\n${word}\n`) : text.includes(word));
    order = sorted.filter((row) => words.every((word) => fits(textOf(row), word)));
    first = 0;
    fill();
  }

  const field = make("input", { type: "search", oninput: (event) => filter(event.target.value), placeholder: "words, name=value" });
  const counted = make("span", { role: "status" });
  const back = make("button", { type: "button", onclick: () => turn(-options.page) }, "previous");
  const on = make("button", { type: "button", onclick: () => turn(options.page) }, "next");

  function turn(rowsOn) {
    first = Math.max(0, first + rowsOn);
    fill();
  }

  function fill() {
    const end = paged ? Math.min(order.length, first + options.page) : order.length;
    if (paged) {
      counted.textContent = order.length === 0 ? "no row fits" : `rows ${first + 1} to ${end} of ${order.length}`;
      back.disabled = first === 0;
      on.disabled = end >= order.length;
    }
    body.replaceChildren(
      ...order.slice(first, end).map((row) => {
        const line = make("tr", { class: options.rowClass ? options.rowClass(row) : null });
        rows[row].forEach((cell, place) => line.append(shown(cell, place)));
        return line;
      }),
    );
  }

  function shown(cell, place) {
    const attributes = { class: columns[place].number ? "number" : null };
    const tag = place === 0 ? "th" : "td";
    if (place === 0) attributes.scope = "row";
    if (cell !== null && typeof cell === "object") {
      attributes.title = cell.title ? brief(cell.title) : null;
      return make(tag, attributes, cell.node ? cell.node() : isolated(cell.text));
    }
    if (typeof cell === "number") attributes.title = String(cell);
    return make(tag, attributes, isolated(typeof cell === "number" ? shortest(cell) : cell === null ? "" : brief(cell, 600)));
  }

  fill();
  const whole = make("table", {}, caption ? make("caption", {}, isolated(caption)) : null, make("thead", {}, make("tr", {}, heads)), body);
  // It can be scrolled by keyboard, so it needs a name.
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": brief(caption || "table") }, whole);
  if (!paged) return scroll;
  return make("div", { class: "paged" }, make("div", { class: "row" }, make("label", {}, "rows with ", field), back, on, counted), scroll);
}
