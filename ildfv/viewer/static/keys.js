// Keys of the page.

import { WINDOWS } from "./colours.js";
import { toggleSections } from "./compare.js";
import { toggleHelp } from "./help.js";
import { move } from "./moving.js";
import { openScan, toggleScans } from "./open.js";
import { setOverlay } from "./overlays.js";
import { $, scans, pane, sections, state, study } from "./page.js";
import { selectPattern } from "./scores.js";
import { setWindow } from "./windows.js";

export function nextMatch(direction) {
  const found = scans.next(state.number, pane.z, direction);
  if (found) openScan(...found);
}

// Keys for movement and zoom act on the section that has the focus, otherwise on the slice.
const view = () => (sections.focused ?? pane).view;

function step(steps) {
  if (sections.focused) sections.focused.move(steps);
  else move(steps);
}

const ACTIONS = {
  ArrowUp: () => step(1),
  ArrowDown: () => step(-1),
  PageUp: () => step(10),
  PageDown: () => step(-10),
  Home: () => step(Infinity),
  End: () => step(-Infinity),
  w: () => setWindow(WINDOWS[(WINDOWS.indexOf(state.window) + 1) % WINDOWS.length]),
  o: () => setOverlay({ overlay: !state.overlay }),
  l: () => setOverlay({ outlines: !state.outlines }),
  m: () => {
    const options = [...$("map").options].map((option) => option.value);
    $("map").value = options[(options.indexOf(state.kind) + 1) % options.length];
    setOverlay({ kind: $("map").value });
  },
  "[": () => setOverlay({ opacity: Math.max(0, state.opacity - 0.1) }),
  "]": () => setOverlay({ opacity: Math.min(1, state.opacity + 0.1) }),
  "+": () => view().zoomBy(1.25),
  "=": () => view().zoomBy(1.25),
  "-": () => view().zoomBy(0.8),
  0: () => view().reset(),
  v: toggleSections,
  n: () => nextMatch(1),
  p: () => nextMatch(-1),
  s: () => study.scans.length > 1 && toggleScans(),
  "?": toggleHelp,
};
const PANS = { ArrowUp: [0, 40], ArrowDown: [0, -40], ArrowLeft: [40, 0], ArrowRight: [-40, 0] };

export function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if ($("help").open && event.key !== "?") return;
  const field = event.target.closest("input, select, textarea");
  if (field && (field.type === "number" || field.type !== "checkbox") && !(field.id === "slider" && /^(Page|Home|End|[a-z?0-9])/.test(event.key))) {
    // Form fields keep the keys that they handle.
    if (field.tagName === "SELECT" || field.type === "number" || event.key.startsWith("Arrow")) return;
  }
  if (event.shiftKey && PANS[event.key]) view().move(...PANS[event.key]);
  else if (/^[1-9]$/.test(event.key)) selectPattern(Number(event.key) - 1);
  else if (ACTIONS[event.key]) ACTIONS[event.key]();
  else return;
  event.preventDefault();
}
