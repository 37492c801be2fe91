// The scores of the displayed slice, and the slices with the highest scores.

import { make, number } from "./dom.js";
import { go } from "./moving.js";
import { chooseMap } from "./overlays.js";
import { $, corrections, pane, state, strips, study } from "./page.js";

const TOP = 5; // slices with the highest scores

const RATE = 60; // ms between updates of numbers and cursors; an update takes as long as drawing the slice

// Updates everything that depends on the displayed slice: immediately, or RATE ms after the last update.
let speaking = 0;
let writing = 0;
let pending = 0;
let described = -Infinity;
export function describe(z) {
  clearTimeout(pending);
  const rest = described + RATE - performance.now();
  if (rest <= 0) update(z);
  else pending = setTimeout(() => update(pane.at ?? z), rest);
}

function update(z) {
  described = performance.now();
  const { scan, system } = state;
  $("slider").value = String(z);
  strips.move(z);
  scan.patterns.forEach((_, c) => {
    const cells = $("patterns").tBodies[0].rows[c].cells;
    const [score, chance, present, truth] = [system?.scores[z][c], system?.probability[z][c], system?.presence[z][c], scan.truth?.[z][c]];
    write(cells[1], score == null ? "–" : number(score, 3));
    write(cells[2], chance == null ? "–" : `${Math.round(chance * 100)} %`);
    write(cells[3], verdict(present), present === 1 ? "yes" : "");
    write(cells[4], verdict(truth), truth === 1 ? "yes" : "");
  });
  corrections.show(z);
  clearTimeout(speaking);
  speaking = setTimeout(() => ($("announcement").textContent = sentence(z)), 400); // only when scrolling stops
  clearTimeout(writing);
  writing = setTimeout(() => {
    const place = new URLSearchParams({ scan: scan.name, slice: String(z + 1), pattern: String(state.pattern + 1) });
    history.replaceState(null, "", `#${place}`);
  }, 300);
}

// Unchanged cells are not written, because each write repeats the layout of the table.
function write(cell, text, name = "") {
  if (cell.textContent !== text) cell.textContent = text;
  if (cell.className !== name) cell.className = name;
}

const verdict = (value) => (value === 1 ? "yes" : value === 0 ? "no" : "–");

export function sentence(z) {
  const { scan, system, pattern } = state;
  const mm = scan.positions[z];
  const parts = [`Slice ${z + 1} of ${scan.slices}${mm == null ? "" : `, ${Math.round(mm)} millimetres`}`];
  const score = system?.scores[z][pattern];
  const present = { 1: ", predicted", 0: ", not predicted" }[system?.presence[z][pattern]] ?? ""; // −1 without a threshold
  if (score != null) parts.push(`${scan.patterns[pattern]}: score ${number(score, 3)}${present}`);
  return `${parts.join(". ")}.`;
}

export function buildPatterns() {
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

export function selectPattern(c) {
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

export function selectSystem(name) {
  state.system = state.scan.systems.find((one) => one.name === name);
  strips.system(state.system);
  buildTop();
  if (pane.at != null) describe(pane.at);
}

export function buildTop() {
  const { system, scan, pattern } = state;
  $("top").hidden = !system;
  if (!system) return;
  $("top-pattern").textContent = `of ${scan.patterns[pattern]}`;
  const order = system.scores.map((row, z) => [row[pattern], z]).filter(([value]) => value != null);
  order.sort((a, b) => b[0] - a[0]);
  const gap = Math.max(1, Math.round(scan.slices / 50)); // neighbouring slices look almost the same
  const chosen = [];
  for (const [value, z] of order) {
    if (chosen.length < TOP && chosen.every(([, other]) => Math.abs(other - z) > gap)) chosen.push([value, z]);
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
