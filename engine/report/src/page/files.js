// Pictures that the document holds: each is made a blob once, whatever shows it.
"use strict";

const urls = new Map();

/** The URL of a file of the document; none where it was left out. */
function fileUrl(report, digest) {
  const file = report.files[digest];
  if (!file) return null;
  if (!urls.has(digest)) {
    const raw = atob(file.data);
    const content = Uint8Array.from(raw, (c) => c.charCodeAt(0));
    urls.set(digest, URL.createObjectURL(new Blob([content], { type: file.type })));
  }
  return urls.get(digest);
}

/** One image of a sheet of images of one size, enlarged by whole numbers to about 32 pixels. */
function sprite(report, sheet, at, label) {
  const url = fileUrl(report, sheet.sprite);
  const [width, height] = sheet.size;
  const factor = Math.max(1, Math.round(36 / Math.max(width, height)));
  const style = {
    width: `${width * factor}px`,
    height: `${height * factor}px`,
    "background-size": `${sheet.columns * width * factor}px auto`,
    "background-position": `${-(at % sheet.columns) * width * factor}px ${-Math.floor(at / sheet.columns) * height * factor}px`,
  };
  if (url) style["background-image"] = `url(${url})`;
  return make("span", { class: "sprite", role: "img", "aria-label": brief(label), title: brief(label), style });
}
