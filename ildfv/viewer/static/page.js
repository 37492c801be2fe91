// The parts of the page and the user's choices, which all modules share.

import { WINDOWS } from "./colours.js";

export const $ = (id) => document.getElementById(id);
export const state = {
  scan: null, // the open scan as the server describes it
  number: null, // index of the open scan
  pattern: 0,
  system: null,
  window: WINDOWS[0],
  kind: "", // of the map, "" for none
  overlay: true,
  outlines: true,
  opacity: 0.7,
};
export let study, scans, strips, pane, second, sections, corrections;

export function build(parts) {
  ({ study, scans, strips, pane, second, sections, corrections } = parts);
}
