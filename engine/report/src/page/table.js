// Tables that are sorted by a click on a column's name.
"use strict";

/** A name that may be broken after its dots and underscores. */
function breakable(name) {
  const parts = name.split(/(?<=[._=])/);
  return make("bdi", {}, parts.map((part, at) => [at > 0 ? make("wbr") : null, part]));
}

/**
 * A table. `columns` are `{ name, number }`; a row is a list of cells, each a text, a number, null, or
 * `{ value, text, title }`, where `value` is sorted by. The first cell heads its row.
 */
function table(caption, columns, rows, options = {}) {
  const body = make("tbody");
  const heads = columns.map((column, place) => {
    const head = make("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": "none" });
    head.append(make("button", { type: "button", onclick: () => sort(place), title: brief(column.name) }, breakable(brief(column.name, 120))));
    return head;
  });
  const plain = (cell) => (cell !== null && typeof cell === "object" ? cell.value : cell);
  let order = rows.map((_, row) => row);

  function sort(place) {
    const head = heads[place];
    const before = head.getAttribute("aria-sort");
    // Figures: the largest first, since that is mostly what is looked for.
    const first = columns[place].number ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = before === first ? other : first;
    heads.forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const none = (value) => value === null || value === undefined || value === "";
    order = rows.map((_, row) => row);
    order.sort((a, b) => {
      const [x, y] = [plain(rows[a][place]), plain(rows[b][place])];
      if (none(x) || none(y)) return Number(none(x)) - Number(none(y));
      if (typeof x === "number" && typeof y === "number") return sign * (x - y);
      return sign * String(x).localeCompare(String(y), undefined, { numeric: true });
    });
    fill();
  }

  function fill() {
    body.replaceChildren(
      ...order.map((row) => {
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
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": brief(caption || "table") }, whole);
}
