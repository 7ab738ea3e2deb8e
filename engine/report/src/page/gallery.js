// Small images in named groups.
"use strict";

function gallery(report, item) {
  const groups = item.groups.map((group) => {
    const images = group.images.map((image) => {
      const row = image.row === undefined || image.row === null ? "" : `row ${image.row}`;
      const label = [image.label, row].filter(Boolean).join(", ") || "image";
      return sprite(report, item, image.at, label);
    });
    return make(
      "figure",
      { class: "group" },
      make("figcaption", {}, isolated(brief(group.name, 200)), group.note ? make("span", { class: "soft" }, " — ", isolated(brief(group.note, 400))) : null),
      make("div", { class: "strip" }, images),
    );
  });
  return make("div", { class: "groups" }, groups);
}
