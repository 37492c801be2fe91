// The list of keys.

import { make } from "./dom.js";
import { $ } from "./page.js";

const KEYS = [
  ["↑ ↓", "next slice towards the head or the feet"],
  ["PgUp PgDn", "ten slices towards the head or the feet"],
  ["Home End", "uppermost or lowermost slice"],
  ["1 – 4", "select a pattern"],
  ["w", "next window: lung, low, high, custom"],
  ["o", "show or hide the overlay"],
  ["m", "next map: contributions, Grad-CAM, occlusion, none"],
  ["l", "show or hide the outlines of the label map"],
  ["[ ]", "decrease or increase the opacity of the overlay"],
  ["+ − 0", "zoom in, zoom out, fit"],
  ["Shift + arrows", "pan"],
  ["v", "coronal and sagittal sections; Tab moves to them, and the keys then act on the section"],
  ["n p", "next or previous slice that matches the filters"],
  ["s", "show or hide the list of scans"],
  ["?", "show or hide this list of keys"],
  ["wheel", "move through the slices; with Ctrl: zoom"],
  ["drag", "scroll, pan or window, as chosen below the slice; right button: window; Shift or middle button: pan"],
  ["click", "move the crosshair, if sections are shown"],
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
