// Movement through the slices of the open scan.

import { followSecond } from "./compare.js";
import { pane, state } from "./page.js";

const WAITING = 3; // maximum number of pending single steps

// The slice shown first: the highest score of the pattern, or the middle of the scan.
export function firstSlice() {
  const scores = state.system?.scores.map((row) => row[state.pattern] ?? -Infinity);
  if (!scores || !scores.some(Number.isFinite)) return Math.floor(state.scan.slices / 2);
  return scores.indexOf(Math.max(...scores));
}

export function go(z) {
  z = Math.min(state.scan.slices - 1, Math.max(0, z));
  if (z === pane.z) return;
  pane.go(z);
  followSecond();
}

// Single steps are ignored while WAITING slices are loading, so that a fast wheel does not skip slices.
export function move(steps) {
  const waiting = pane.at == null ? 0 : (pane.z - pane.at) * Math.sign(steps);
  if (Math.abs(steps) > 1 || waiting < WAITING) go(pane.z + steps);
}
