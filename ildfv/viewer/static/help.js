// The list of keys.

import { make } from "./dom.js";
import { $ } from "./page.js";

const KEYS = [
  ["↑ ↓", "next slice towards the head, the feet"],
  ["PgUp PgDn", "ten slices"],
  ["Home End", "uppermost, lowermost slice"],
  ["1 – 4", "pattern"],
  ["w", "next window: lung, low, high, custom"],
  ["o", "overlay on and off"],
  ["m", "next map: contributions, CAM, occlusion, none"],
  ["l", "outlines of the label map on and off"],
  ["[ ]", "opacity of the overlay"],
  ["+ − 0", "zoom in, out, fit"],
  ["Shift + arrows", "pan"],
  ["v", "coronal and sagittal sections; Tab moves to them, and the keys then act on the section"],
  ["n p", "next, previous slice that matches the filters"],
  ["s", "list of scans"],
  ["?", "these keys"],
  ["wheel", "slices; with Ctrl: zoom"],
  ["drag", "slices, pan or window, as chosen; right button: window; Shift or middle button: pan"],
  ["click", "crosshair, with sections"],
  ["double click", "fit"],
];

export function buildHelp() {
  for (const [keys, what] of KEYS) {
    const row = make("tr", "", $("keys"));
    const head = make("th", "", row);
    head.scope = "row";
    make("kbd", "", head, keys);
    make("td", "", row, what);
  }
}

export function toggleHelp() {
  if ($("help").open) $("help").close();
  else $("help").showModal();
}
