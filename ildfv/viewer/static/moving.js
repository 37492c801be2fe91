// Movement through the slices of the open scan and of the compared one.

import { $, pane, second, state } from "./page.js";

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

export function moveSecond(steps) {
  if ($("synchronous").checked) return move(Math.sign(steps) * Math.max(1, Math.round((Math.abs(steps) * state.scan.slices) / second.scan.slices)));
  second.drift += steps;
  second.go(Math.min(second.scan.slices - 1, Math.max(0, second.z + steps)));
}

// The compared scan shows the same relative position, plus its offset `second.drift`.
export function followSecond(always = false) {
  if (!second.scan || $("second").hidden || (!$("synchronous").checked && !always)) return;
  const share = state.scan.slices > 1 ? pane.z / (state.scan.slices - 1) : 0;
  const z = Math.round(share * (second.scan.slices - 1)) + second.drift;
  second.go(Math.min(second.scan.slices - 1, Math.max(0, z)));
}
