// The window of HU that is shown as grey values.

import { WINDOWS } from "./colours.js";
import { make, number } from "./dom.js";
import { $, pane, second, sections, state } from "./page.js";

export function buildWindows() {
  for (const one of WINDOWS) {
    const label = make("label", "", $("windows"));
    const input = make("input", "", label);
    Object.assign(input, { type: "radio", name: "window", value: one.id });
    make("span", "", label, one.name);
    input.addEventListener("change", () => setWindow(one));
  }
}

export function setWindow(one) {
  state.window = one;
  const [centre, width] = [(one.low + one.high) / 2, one.high - one.low];
  const text = `${one.name}  C ${number(centre)}  W ${number(width)}`;
  for (const each of [pane, second, ...sections.both]) each.view.window(one.low, one.high, text);
  $("windows").querySelector(`[value=${one.id}]`).checked = true;
  if (document.activeElement !== $("centre")) $("centre").value = String(Math.round(centre));
  if (document.activeElement !== $("width")) $("width").value = String(Math.round(width));
}

export function customWindow(centre, width) {
  if (!Number.isFinite(centre) || !Number.isFinite(width) || width < 1) return;
  const custom = WINDOWS.at(-1);
  [custom.low, custom.high] = [centre - width / 2, centre + width / 2];
  setWindow(custom);
}

// wider: increase of the width, HU. brighter: twice the decrease of the centre, HU.
export function shiftWindow(wider, brighter) {
  const { low, high } = state.window;
  customWindow(Math.round((low + high) / 2 - brighter / 2), Math.min(8000, Math.max(10, Math.round(high - low + wider))));
}
