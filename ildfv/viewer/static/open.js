// Opens a scan of the study.

import { json, started } from "./api.js";
import { make, rich } from "./dom.js";
import { firstSlice, followSecond, go } from "./moving.js";
import { buildOverlays } from "./overlays.js";
import { $, scans, corrections, pane, second, sections, state, strips, study } from "./page.js";
import { buildPatterns, selectPattern } from "./scores.js";

export const NARROW = "(max-width: 74.99rem)"; // as in style.css: the list of scans covers the slice

export async function openFromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const found = study.scans.findIndex((one) => one.name === wanted.get("scan"));
  if (wanted.has("pattern")) state.pattern = Number(wanted.get("pattern")) - 1 || 0;
  const z = wanted.has("slice") ? Number(wanted.get("slice")) - 1 : undefined;
  const scored = study.scans.findIndex((one) => Object.keys(one.predicted).length);
  await openScan(found >= 0 ? found : Math.max(0, scored), found >= 0 && Number.isInteger(z) ? z : undefined);
}

export async function openScan(i, z) {
  if (matchMedia(NARROW).matches) toggleScans(false);
  scans.select(i);
  if (state.number === i && state.scan) {
    if (z !== undefined) go(z);
    return;
  }
  const first = started();
  const scan = i === first.number ? first.scan : await json(`api/scan/${i}`);
  Object.assign(state, { scan, number: i });
  state.pattern = Math.min(Math.max(0, state.pattern), scan.patterns.length - 1);
  const known = scan.systems.filter((one) => one.scores.some((row) => row.some((value) => value != null)));
  $("system").replaceChildren();
  for (const one of known) make("option", "", $("system"), one.name).value = one.name;
  $("system-row").hidden = known.length < 2;
  state.system = known.find((one) => one.name === state.system?.name) || known[0] || null;
  if (state.system) $("system").value = state.system.name;
  $("title").textContent = scan.patient ? `Patient ${scan.patient.slice(0, 6)}${scan.fold == null ? "" : `, fold ${scan.fold}`}` : scan.name;
  $("phantom").hidden = !scan.phantom;
  $("slider").max = String(scan.slices - 1);
  strips.open(scan);
  strips.system(state.system);
  buildPatterns();
  buildOverlays();
  buildTexts();
  $("correction").hidden = !study.corrections;
  $("similar-list").replaceChildren();
  $("similar-note").textContent = "";
  z ??= firstSlice();
  pane.settings = { outlines: state.outlines && state.overlay, opacity: state.opacity };
  await pane.open(i, scan, Math.min(scan.slices - 1, Math.max(0, z)));
  sections.open(i, scan);
  strips.move(pane.z);
  selectPattern(state.pattern);
  if (study.corrections) corrections.open(i, scan).catch((error) => ($("correct-note").textContent = error.message));
  if (second.scan) followSecond();
}

export function buildTexts() {
  const { scan } = state;
  const fill = (id, lines) => {
    $(id).hidden = !lines.length;
    const place = $(id).querySelector("div");
    place.replaceChildren();
    for (const line of lines) rich(make("p", "", place), line);
  };
  fill("reliability", scan.statements);
  fill("notes", [...scan.notes, ...study.notes]);
  $("hu-note").hidden = !scan.hu_note;
  $("hu-note").textContent = scan.hu_note ? `${scan.hu_note[0].toUpperCase()}${scan.hu_note.slice(1)}.` : "";
}

export function toggleScans(open = $("scans").hidden) {
  $("scans").hidden = !open;
  $("scans-toggle").setAttribute("aria-expanded", String(open));
  document.body.classList.toggle("with-scans", open);
}
