// The page: one study, one open case, and the controls that act on it.

import { json, onLost } from "./api.js";
import { Cases } from "./cases.js";
import { OUTLINES, WINDOWS, diverging } from "./colours.js";
import { Corrections } from "./corrections.js";
import { Pane } from "./pane.js";
import { Strips } from "./strips.js";
import { make, number, rich } from "./viewport.js";

const PING = 3000; // ms between checks that the server is running
const NARROW = "(max-width: 74.99rem)"; // as in style.css: the list of scans covers the slice
const AHEAD = 3; // maximum number of slices that single steps may be ahead of the screen
const TOP = 5; // slices with the highest scores
const $ = (id) => document.getElementById(id);
const state = { scan: null, pattern: 0, system: null, window: WINDOWS[0], kind: "", overlay: true, outlines: true, opacity: 0.7 };
let study, cases, strips, pane, second, corrections;
let drift = 0; // offset of the compared scan, in slices, from scrolling it alone

const LOST = {
  ended: "The server of the viewer has stopped. Start “ildfv view” again and open the address that it prints.",
  token: "This address is no longer valid. Open the address that “ildfv view” printed last.",
};

function showLost(reason) {
  $("lost").textContent = LOST[reason];
  $("lost").hidden = false;
}

// --- opening

async function start() {
  onLost(showLost);
  study = await json("api/study");
  document.title = `${study.title} – ildfv view`;
  $("title").textContent = study.title;
  $("phantom").hidden = !study.phantom;
  $("report-link").hidden = !study.report;
  pane = new Pane($("image"), { steps: move, windowed: shiftWindow, shown: (z) => describe(z) });
  second = new Pane($("second"), { steps: moveSecond, windowed: shiftWindow, shown: () => {} });
  strips = new Strips($("strips"), { jump: go, choose: selectPattern });
  corrections = new Corrections($("correction"));
  cases = new Cases(study, { open: openCase });
  buildWindows();
  buildHelp();
  listen();
  setWindow(WINDOWS[0]);
  const many = study.cases.length > 1;
  $("cases-toggle").hidden = !many;
  $("compare-section").hidden = !many;
  $("similar").hidden = !study.similar;
  study.cases.forEach((one, i) => (make("option", "", $("compare"), caseName(one)).value = String(i)));
  toggleCases(many && !matchMedia(NARROW).matches);
  await openFromAddress();
  setInterval(ping, PING);
}

function caseName(one) {
  return one.patient ? `${one.patient.slice(0, 6)}${one.fold == null ? "" : `, fold ${one.fold}`}` : one.name;
}

async function openFromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const found = study.cases.findIndex((one) => one.name === wanted.get("case"));
  if (wanted.has("pattern")) state.pattern = Number(wanted.get("pattern")) - 1 || 0;
  const z = wanted.has("slice") ? Number(wanted.get("slice")) - 1 : undefined;
  const scored = study.cases.findIndex((one) => Object.keys(one.predicted).length);
  await openCase(found >= 0 ? found : Math.max(0, scored), found >= 0 && Number.isInteger(z) ? z : undefined);
}

async function openCase(i, z) {
  if (matchMedia(NARROW).matches) toggleCases(false);
  cases.select(i);
  if (state.number === i && state.scan) {
    if (z !== undefined) go(z);
    return;
  }
  const scan = await json(`api/case/${i}`);
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
  const first = z ?? look();
  pane.settings = { outlines: state.outlines && state.overlay, opacity: state.opacity };
  await pane.open(i, scan, Math.min(scan.slices - 1, Math.max(0, first)));
  strips.move(pane.z);
  selectPattern(state.pattern);
  if (study.corrections) corrections.open(i, scan).catch((error) => ($("correct-note").textContent = error.message));
  if (second.scan) followSecond();
}

// The slice shown first: the highest score of the pattern, or the middle of the scan.
function look() {
  const scores = state.system?.scores.map((row) => row[state.pattern] ?? -Infinity);
  if (!scores || !scores.some(Number.isFinite)) return Math.floor(state.scan.slices / 2);
  return scores.indexOf(Math.max(...scores));
}

// --- moving

function go(z) {
  z = Math.min(state.scan.slices - 1, Math.max(0, z));
  if (z === pane.z) return;
  pane.go(z);
  followSecond();
}

// On a slow machine a wheel turns faster than slices load. Single steps then wait, so that no slice is skipped.
function move(steps) {
  const ahead = pane.at == null ? 0 : (pane.z - pane.at) * Math.sign(steps);
  if (Math.abs(steps) > 1 || ahead < AHEAD) go(pane.z + steps);
}

function moveSecond(steps) {
  if ($("synchronous").checked) return move(Math.sign(steps) * Math.max(1, Math.round((Math.abs(steps) * state.scan.slices) / second.scan.slices)));
  drift += steps;
  second.go(Math.min(second.scan.slices - 1, Math.max(0, second.z + steps)));
}

// The compared scan shows the same relative position, plus its offset `drift`.
function followSecond(always = false) {
  if (!second.scan || $("second").hidden || (!$("synchronous").checked && !always)) return;
  const share = state.scan.slices > 1 ? pane.z / (state.scan.slices - 1) : 0;
  const z = Math.round(share * (second.scan.slices - 1)) + drift;
  second.go(Math.min(second.scan.slices - 1, Math.max(0, z)));
}

// z: the slice of the compared scan that corresponds to the current slice; by default at the same relative position.
async function compare(i, z) {
  drift = 0;
  const on = i !== "";
  $("second").hidden = !on;
  $("stage").classList.toggle("two", on);
  if (!on) {
    second.close();
    second.scan = null;
    return;
  }
  const scan = await json(`api/case/${i}`);
  second.settings = { outlines: state.outlines && state.overlay, opacity: state.opacity };
  second.label = caseName(study.cases[i]);
  $("second").setAttribute("aria-label", `Slice of ${second.label}`);
  await second.open(Number(i), scan, 0);
  setWindow(state.window);
  followSecond(true);
  if (z !== undefined) {
    drift = z - second.z;
    followSecond(true);
  }
  chooseMap();
}

// The nearest slices of other patients; a chosen one is shown next to the current slice and scrolls with it.
async function findSimilar() {
  const [i, z] = [state.number, pane.at];
  const list = $("similar-list");
  list.replaceChildren();
  $("similar-note").textContent = "Searching …";
  try {
    const { layer, results } = await json(`api/case/${i}/similar/${z}`);
    if (i !== state.number) return;
    for (const { case: other, slice, distance } of results) {
      const one = study.cases[other];
      const button = make("button", "", make("li", "", list));
      button.type = "button";
      make("span", "", button, `${caseName(one)}, slice ${slice + 1}`);
      make("span", "", button, number(distance, 3));
      make("small", "", button, labelled(one, slice));
      button.addEventListener("click", () => {
        $("compare").value = String(other);
        $("synchronous").checked = true;
        go(z);
        compare(String(other), slice);
      });
    }
    $("similar-note").textContent = results.length
      ? `Distances to slice ${z + 1} between projected Fisher vectors of ${layer}; one slice per patient.`
      : "There are no slices of other patients.";
  } catch (error) {
    $("similar-note").textContent = error.message;
  }
}

function labelled(one, z) {
  if (!one.truth) return "not labelled";
  const values = study.patterns.map((_, c) => one.truth[z * study.patterns.length + c]);
  if (values.every((value) => value === "-")) return "not labelled";
  return study.patterns.filter((_, c) => values[c] === "1").join(", ") || "no pattern";
}

// Updates everything that depends on the displayed slice.
let speaking = 0;
let writing = 0;
function describe(z) {
  const { scan, system } = state;
  $("slider").value = String(z);
  strips.move(z);
  scan.patterns.forEach((_, c) => {
    const cells = $("patterns").tBodies[0].rows[c].cells;
    const [score, chance, present, truth] = [system?.scores[z][c], system?.probability[z][c], system?.presence[z][c], scan.truth?.[z][c]];
    cells[1].textContent = score == null ? "–" : number(score, 3);
    cells[2].textContent = chance == null ? "–" : `${Math.round(chance * 100)} %`;
    cells[3].textContent = verdict(present);
    cells[3].className = present === 1 ? "yes" : "";
    cells[4].textContent = verdict(truth);
    cells[4].className = truth === 1 ? "yes" : "";
  });
  corrections.show(z);
  clearTimeout(speaking);
  speaking = setTimeout(() => ($("said").textContent = sentence(z)), 400); // not for every slice of a scroll
  clearTimeout(writing);
  writing = setTimeout(() => {
    const place = new URLSearchParams({ case: scan.name, slice: String(z + 1), pattern: String(state.pattern + 1) });
    history.replaceState(null, "", `#${place}`);
  }, 300);
}

const verdict = (value) => (value === 1 ? "yes" : value === 0 ? "no" : "–");

function sentence(z) {
  const { scan, system, pattern } = state;
  const mm = scan.positions[z];
  const parts = [`Slice ${z + 1} of ${scan.slices}${mm == null ? "" : `, ${Math.round(mm)} millimetres`}`];
  const score = system?.scores[z][pattern];
  if (score != null) parts.push(`${scan.patterns[pattern]}: score ${number(score, 3)}, ${system.presence[z][pattern] === 1 ? "predicted" : "not predicted"}`);
  return `${parts.join(". ")}.`;
}

// --- patterns, windows, overlays

function buildPatterns() {
  const body = $("patterns").tBodies[0];
  body.replaceChildren();
  state.scan.patterns.forEach((pattern, c) => {
    const row = make("tr", "", body);
    const head = make("th", "", row);
    head.scope = "row";
    const button = make("button", "pattern", head);
    button.type = "button";
    button.setAttribute("aria-keyshortcuts", String(c + 1));
    make("kbd", "", button, String(c + 1));
    make("span", "", button, pattern);
    button.addEventListener("click", () => selectPattern(c));
    for (let i = 0; i < 4; i++) make("td", "", row, "–");
  });
  $("patterns").classList.toggle("labelled", Boolean(state.scan.truth));
  $("unscored").hidden = Boolean(state.system);
  $("unscored").textContent = study.mode === "workspace" ? "No system has been scored on the fold of this scan." : "No prediction was given for this scan.";
}

function selectPattern(c) {
  if (c >= state.scan.patterns.length) return;
  state.pattern = c;
  strips.select(c);
  [...$("patterns").tBodies[0].rows].forEach((row, i) => {
    row.classList.toggle("chosen", i === c);
    row.querySelector("button").setAttribute("aria-pressed", String(i === c));
  });
  buildTop();
  chooseMap();
  if (pane.at != null) describe(pane.at);
}

function selectSystem(name) {
  state.system = state.scan.systems.find((one) => one.name === name);
  strips.system(state.system);
  buildTop();
  if (pane.at != null) describe(pane.at);
}

function buildTop() {
  const { system, scan, pattern } = state;
  $("top").hidden = !system;
  if (!system) return;
  $("top-pattern").textContent = `of ${scan.patterns[pattern]}`;
  const order = system.scores.map((row, z) => [row[pattern], z]).filter(([value]) => value != null);
  order.sort((a, b) => b[0] - a[0]);
  const apart = Math.max(1, Math.round(scan.slices / 50)); // neighbouring slices look almost the same
  const chosen = [];
  for (const [value, z] of order) {
    if (chosen.length < TOP && chosen.every(([, other]) => Math.abs(other - z) > apart)) chosen.push([value, z]);
  }
  $("top-list").replaceChildren();
  for (const [value, z] of chosen) {
    const button = make("button", "", make("li", "", $("top-list")));
    button.type = "button";
    make("span", "", button, `slice ${z + 1}`);
    make("span", "", button, number(value, 3));
    button.addEventListener("click", () => go(z));
  }
}

function buildWindows() {
  for (const one of WINDOWS) {
    const label = make("label", "", $("windows"));
    const input = make("input", "", label);
    Object.assign(input, { type: "radio", name: "window", value: one.id });
    make("span", "", label, one.name);
    input.addEventListener("change", () => setWindow(one));
  }
}

function setWindow(one) {
  state.window = one;
  const [centre, width] = [(one.low + one.high) / 2, one.high - one.low];
  const text = `${one.name}  C ${number(centre)}  W ${number(width)}`;
  for (const each of [pane, second]) each.view.window(one.low, one.high, text);
  $("windows").querySelector(`[value=${one.id}]`).checked = true;
  if (document.activeElement !== $("centre")) $("centre").value = String(Math.round(centre));
  if (document.activeElement !== $("width")) $("width").value = String(Math.round(width));
}

function customWindow(centre, width) {
  if (!Number.isFinite(centre) || !Number.isFinite(width) || width < 1) return;
  const custom = WINDOWS.at(-1);
  [custom.low, custom.high] = [centre - width / 2, centre + width / 2];
  setWindow(custom);
}

function shiftWindow(wider, brighter) {
  const { low, high } = state.window;
  customWindow(Math.round((low + high) / 2 - brighter / 2), Math.min(8000, Math.max(10, Math.round(high - low + wider))));
}

function buildOverlays() {
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

async function chooseMap() {
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

function legendText(pattern, { unit, title }) {
  return `${title}, ${pattern}: blue against, orange for the pattern; ${unit}. Full colour at the 99.5th percentile of the scan.`;
}

function legend(map, pattern, one) {
  if (!map) return;
  $("low").textContent = `−${number(map.scale, 2)}`;
  $("high").textContent = `+${number(map.scale, 2)}`;
  $("legend-text").textContent = legendText(pattern, one);
}

function drawRamp() {
  const context = $("ramp").getContext("2d");
  const pixels = context.createImageData(256, 10);
  const packed = new Uint32Array(pixels.data.buffer);
  const table = diverging();
  for (let i = 0; i < packed.length; i++) packed[i] = table[((i % 256) - 128) & 0xff];
  context.putImageData(pixels, 0, 0);
}

function setOverlay(changes) {
  Object.assign(state, changes);
  $("show").checked = state.overlay;
  $("outline").checked = state.outlines;
  $("opacity").value = String(Math.round(state.opacity * 100));
  $("opacity-value").textContent = `${Math.round(state.opacity * 100)} %`;
  const settings = { outlines: state.outlines && state.overlay, opacity: state.opacity };
  for (const each of [pane, second]) each.set(settings);
  if ("overlay" in changes || "kind" in changes) chooseMap();
}

// --- texts

function buildTexts() {
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

const KEYS = [
  ["↑ ↓", "next slice towards the head, the feet"],
  ["PgUp PgDn", "ten slices"],
  ["Home End", "uppermost, lowermost slice"],
  ["1 – 4", "pattern"],
  ["w", "next window: lung, low, high, custom"],
  ["o", "overlay on and off"],
  ["m", "next map: contributions, CAM, none"],
  ["l", "outlines of the label map on and off"],
  ["[ ]", "opacity of the overlay"],
  ["+ − 0", "zoom in, out, fit"],
  ["Shift + arrows", "pan"],
  ["n p", "next, previous slice that matches the filters"],
  ["s", "list of scans"],
  ["?", "these keys"],
  ["wheel", "slices; with Ctrl: zoom"],
  ["drag", "slices, pan or window, as chosen; right button: window; Shift or middle button: pan"],
  ["double click", "fit"],
];

function buildHelp() {
  for (const [keys, what] of KEYS) {
    const row = make("tr", "", $("keys"));
    const head = make("th", "", row);
    head.scope = "row";
    make("kbd", "", head, keys);
    make("td", "", row, what);
  }
}

function toggleHelp() {
  if ($("help").open) $("help").close();
  else $("help").showModal();
}

function toggleCases(open = $("cases").hidden) {
  $("cases").hidden = !open;
  $("cases-toggle").setAttribute("aria-expanded", String(open));
  document.body.classList.toggle("with-cases", open);
}

// --- keys and events

function nextMatch(direction) {
  const found = cases.next(state.number, pane.z, direction);
  if (found) openCase(...found);
}

const ACTIONS = {
  ArrowUp: () => move(1),
  ArrowDown: () => move(-1),
  PageUp: () => move(10),
  PageDown: () => move(-10),
  Home: () => go(state.scan.slices - 1),
  End: () => go(0),
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
  "+": () => pane.view.zoomBy(1.25),
  "=": () => pane.view.zoomBy(1.25),
  "-": () => pane.view.zoomBy(0.8),
  0: () => pane.view.reset(),
  n: () => nextMatch(1),
  p: () => nextMatch(-1),
  s: () => study.cases.length > 1 && toggleCases(),
  "?": toggleHelp,
};
const PANS = { ArrowUp: [0, 40], ArrowDown: [0, -40], ArrowLeft: [40, 0], ArrowRight: [-40, 0] };

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if ($("help").open && event.key !== "?") return;
  const field = event.target.closest("input, select, textarea");
  if (field && (field.type === "number" || field.type !== "checkbox") && !(field.id === "slider" && /^(Page|Home|End|[a-z?0-9])/.test(event.key))) {
    // Form fields keep the keys that they handle.
    if (field.tagName === "SELECT" || field.type === "number" || event.key.startsWith("Arrow")) return;
  }
  if (event.shiftKey && PANS[event.key]) pane.view.move(...PANS[event.key]);
  else if (/^[1-9]$/.test(event.key)) selectPattern(Number(event.key) - 1);
  else if (ACTIONS[event.key]) ACTIONS[event.key]();
  else return;
  event.preventDefault();
}

let version = 0;
async function ping() {
  try {
    const alive = await json("api/alive");
    if (alive.corrections !== version) {
      version = alive.corrections;
      await corrections.refresh(); // another tab may have saved one
    }
  } catch {
    // onLost has shown the reason
  }
}

function listen() {
  document.addEventListener("keydown", pressed);
  $("slider").addEventListener("input", () => go(Number($("slider").value)));
  $("up").addEventListener("click", () => move(1));
  $("down").addEventListener("click", () => move(-1));
  $("zoom-in").addEventListener("click", () => pane.view.zoomBy(1.25));
  $("zoom-out").addEventListener("click", () => pane.view.zoomBy(0.8));
  $("zoom-reset").addEventListener("click", () => pane.view.reset());
  for (const input of document.getElementsByName("tool")) {
    input.addEventListener("change", () => (pane.view.tool = second.view.tool = input.value));
  }
  for (const id of ["centre", "width"]) {
    $(id).addEventListener("input", () => customWindow(Number($("centre").value), Number($("width").value)));
  }
  $("map").addEventListener("change", () => setOverlay({ kind: $("map").value }));
  $("show").addEventListener("change", () => setOverlay({ overlay: $("show").checked }));
  $("outline").addEventListener("change", () => setOverlay({ outlines: $("outline").checked }));
  $("opacity").addEventListener("input", () => setOverlay({ opacity: Number($("opacity").value) / 100 }));
  $("system").addEventListener("change", () => selectSystem($("system").value));
  $("compare").addEventListener("change", () => compare($("compare").value));
  $("similar").addEventListener("click", findSimilar);
  $("synchronous").addEventListener("change", () => followSecond());
  $("help-open").addEventListener("click", toggleHelp);
  $("cases-toggle").addEventListener("click", () => toggleCases());
  matchMedia(NARROW).addEventListener("change", (event) => event.matches && toggleCases(false));
  window.addEventListener("hashchange", openFromAddress);
  drawRamp();
  $("opacity-value").textContent = `${Math.round(state.opacity * 100)} %`;
}

start().catch((error) => {
  if ($("lost").hidden) {
    $("lost").textContent = error.message;
    $("lost").hidden = false;
  }
});

export const viewer = { state, get pane() { return pane; }, get second() { return second; }, go };
globalThis.viewer = viewer; // for measurements and tests
