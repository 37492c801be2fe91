// Maps and outlines on the slice, with their legends.

import { OUTLINES, diverging } from "./colours.js";
import { make, number } from "./dom.js";
import { $, pane, second, state } from "./page.js";

export function buildOverlays() {
  const { scan } = state;
  const kinds = [...new Map(scan.maps.map((one) => [one.kind, one.title]))];
  $("map").replaceChildren();
  make("option", "", $("map"), "none").value = "";
  for (const [kind, title] of kinds) make("option", "", $("map"), title).value = kind;
  if (!kinds.some(([kind]) => kind === state.kind)) state.kind = kinds[0]?.[0] ?? "";
  $("map").value = state.kind;
  for (const id of ["map-row", "opacity-row"]) $(id).hidden = !kinds.length;
  $("outline-row").hidden = $("outline-legend").hidden = !scan.labels;
  $("outline-legend").replaceChildren();
  scan.patterns.forEach((pattern, c) => {
    const item = make("li", "", $("outline-legend"), pattern);
    item.style.setProperty("--c", OUTLINES[c % OUTLINES.length]);
  });
  $("overlays").hidden = !kinds.length && !scan.labels;
}

export async function chooseMap() {
  const { scan, kind, pattern, overlay } = state;
  const find = (one) => one.maps.findIndex((map) => map.kind === kind && map.pattern === pattern);
  const found = overlay && kind ? find(scan) : -1;
  $("legend").hidden = found < 0;
  $("map-note").textContent = "";
  if (found < 0) pane.choose(null);
  else {
    if (!pane.maps.has(found)) {
      $("map-note").textContent = "Reading the maps …";
      for (const id of ["low", "high"]) $(id).textContent = "\u2007";
      $("legend-text").textContent = legendText(scan.patterns[pattern], scan.maps[found]);
    }
    try {
      await pane.choose(found);
      if (scan !== state.scan || found !== find(scan) || state.kind !== kind || state.pattern !== pattern) return;
      legend(pane.map, scan.patterns[pattern], scan.maps[found]);
      $("map-note").textContent = "";
    } catch (error) {
      if (error.name !== "AbortError") $("map-note").textContent = error.message;
    }
  }
  if (!second.scan) return;
  const other = overlay && kind ? find(second.scan) : -1;
  second.choose(other < 0 ? null : other).catch((error) => ($("map-note").textContent = error.message));
}

export function legendText(pattern, { unit, title }) {
  return `${title}, ${pattern}: orange is evidence for the pattern, blue is evidence against it. Unit: ${unit}. Full colour: 99.5th percentile of the absolute values in the scan.`;
}

export function legend(map, pattern, one) {
  if (!map) return;
  $("low").textContent = `−${number(map.scale, 2)}`;
  $("high").textContent = `+${number(map.scale, 2)}`;
  $("legend-text").textContent = legendText(pattern, one);
}

export function drawRamp() {
  const context = $("ramp").getContext("2d");
  const pixels = context.createImageData(256, 10);
  const packed = new Uint32Array(pixels.data.buffer);
  const table = diverging();
  for (let i = 0; i < packed.length; i++) packed[i] = table[((i % 256) - 128) & 0xff];
  context.putImageData(pixels, 0, 0);
}

export function setOverlay(changes) {
  Object.assign(state, changes);
  $("show").checked = state.overlay;
  $("outline").checked = state.outlines;
  $("opacity").value = String(Math.round(state.opacity * 100));
  $("opacity-value").textContent = `${Math.round(state.opacity * 100)} %`;
  const settings = { outlines: state.outlines && state.overlay, opacity: state.opacity };
  for (const each of [pane, second]) each.set(settings);
  if ("overlay" in changes || "kind" in changes) chooseMap();
}
