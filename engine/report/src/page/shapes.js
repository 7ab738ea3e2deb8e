// Marks of categories: a shape as well as a colour, so that colour is never the only sign.
"use strict";

/** Each shape as an SVG path around 0, and whether a place (in units of its radius) lies in it. */
const SHAPES = [
  { path: "M5 0A5 5 0 1 1 -5 0A5 5 0 1 1 5 0Z", has: (x, y) => x * x + y * y <= 1 },
  { path: "M-4.4 -4.4H4.4V4.4H-4.4Z", has: (x, y) => Math.max(Math.abs(x), Math.abs(y)) <= 0.88 },
  { path: "M0 -5.5L5.2 4.2H-5.2Z", has: (x, y) => y <= 0.85 && y >= 1.87 * Math.abs(x) - 1.1 },
  { path: "M0 -5.8L5.8 0L0 5.8L-5.8 0Z", has: (x, y) => Math.abs(x) + Math.abs(y) <= 1.16 },
  { path: "M-1.7 -5.5H1.7V-1.7H5.5V1.7H1.7V5.5H-1.7V1.7H-5.5V-1.7H-1.7Z", has: (x, y) => Math.min(Math.abs(x), Math.abs(y)) <= 0.34 && Math.max(Math.abs(x), Math.abs(y)) <= 1.1 },
  { path: "M0 5.5L5.2 -4.2H-5.2Z", has: (x, y) => y >= -0.85 && -y >= 1.87 * Math.abs(x) - 1.1 },
];

/** The pixels of a shape of a radius: places and how far each is covered, from 0 to 256. */
function stamp(shape, radius) {
  const reach = Math.ceil(radius * 1.2);
  const [dx, dy, cover] = [[], [], []];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      let inside = 0;
      for (let j = 0; j < 4; j++) {
        for (let i = 0; i < 4; i++) {
          if (SHAPES[shape].has((x + (i - 1.5) / 4) / radius, (y + (j - 1.5) / 4) / radius)) inside++;
        }
      }
      if (inside > 0) {
        dx.push(x);
        dy.push(y);
        cover.push(inside * 16);
      }
    }
  }
  return { dx: Int32Array.from(dx), dy: Int32Array.from(dy), cover: Int32Array.from(cover), reach };
}

/** Viridis (van der Walt and Smith) at a place from 0 to 1. */
function viridis(at) {
  const stops = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const place = Math.min(Math.max(at, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((from, channel) => Math.round(from + (stops[low + 1][channel] - from) * (place - low)));
}

function rgbOf(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}
