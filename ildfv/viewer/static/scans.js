// The list of scans with its filters, and the slices that match them.

import { counted, make } from "./dom.js";

export class ScanList {
  constructor(study, { open }) {
    this.study = study;
    this.open = open;
    this.list = document.getElementById("list");
    this.found = document.getElementById("found");
    this.fields = Object.fromEntries(
      ["system", "pattern", "fold", "outcome"].map((name) => [name, document.getElementById(`f-${name}`)]),
    );
    for (const system of study.systems) make("option", "", this.fields.system, system).value = system;
    study.patterns.forEach((pattern, c) => (make("option", "", this.fields.pattern, pattern).value = String(c)));
    const folds = [...new Set(study.scans.map((one) => one.fold).filter((fold) => fold != null))].sort((a, b) => a - b);
    for (const fold of folds) make("option", "", this.fields.fold, String(fold)).value = String(fold);
    this.fields.system.closest("label").hidden = study.systems.length < 2;
    this.fields.fold.closest("label").hidden = !folds.length;
    const known = study.scans.some((one) => one.truth);
    for (const option of this.fields.outcome.options) {
      const needs = ["right", "wrong", "fp", "fn", "present"].includes(option.value);
      option.hidden = option.disabled = (needs && !known) || (option.value && option.value !== "present" && !study.systems.length);
    }
    for (const field of Object.values(this.fields)) field.addEventListener("change", () => this.filter());
    document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
    this.buttons = study.scans.map((one, i) => {
      const button = make("button", "scan");
      button.type = "button";
      make("b", "", button, one.patient ? one.patient.slice(0, 6) : one.name);
      this.detail(button, one);
      button.addEventListener("click", () => this.open(i, this.matches[i]?.[0]));
      return button;
    });
    this.filter();
  }

  detail(button, one) {
    const parts = [counted(one.slices, "slice")];
    if (one.fold != null) parts.push(`fold ${one.fold}`);
    make("span", "", button, parts.join(" · "));
    const present = this.study.patterns.filter((_, c) => one.truth && this.column(one.truth, c).includes("1"));
    if (one.truth) make("span", "", button, present.join(", ") || "no pattern labelled");
    make("span", "count", button);
  }

  column(text, c) {
    const n = this.study.patterns.length;
    return Array.from({ length: text.length / n }, (_, z) => text[z * n + c]);
  }

  // The slices of a scan that match the filters; null if the filters do not concern slices.
  slices(one) {
    const { system, pattern, outcome } = this.fields;
    if (!outcome.value && pattern.value === "") return null;
    const patterns = pattern.value === "" ? this.study.patterns.map((_, c) => c) : [Number(pattern.value)];
    const truths = patterns.map((c) => (one.truth ? this.column(one.truth, c) : null));
    const text = one.predicted[system.value];
    const called = patterns.map((c) => (text ? this.column(text, c) : null));
    const matches = [];
    for (let z = 0; z < one.slices; z++) {
      const pairs = patterns.map((_, i) => [truths[i]?.[z] ?? "-", called[i]?.[z] ?? "-"]);
      if (holds(outcome.value, pairs)) matches.push(z);
    }
    return matches;
  }

  filter() {
    const fold = this.fields.fold.value;
    this.matches = this.study.scans.map((one) => this.slices(one));
    const shown = this.study.scans.map(
      (one, i) => (fold === "" || String(one.fold) === fold) && (this.matches[i] === null || this.matches[i].length > 0),
    );
    this.list.replaceChildren();
    this.buttons.forEach((button, i) => {
      const n = this.matches[i]?.length;
      button.querySelector(".count").textContent = n == null ? "" : counted(n, "matching slice");
      if (shown[i]) make("li", "", this.list).append(button);
    });
    const count = shown.filter(Boolean).length;
    const slices = this.matches.reduce((sum, found, i) => sum + (shown[i] && found ? found.length : 0), 0);
    const some = this.matches.some((found) => found !== null);
    this.found.textContent = `${count} of ${counted(shown.length, "scan")}${some ? `, ${counted(slices, "slice")}` : ""}`;
  }

  select(i) {
    this.buttons.forEach((button, j) => button.setAttribute("aria-current", String(i === j)));
  }

  // The next matching slice after (or before) z in scan i, then in the next listed scan; null if there is none.
  next(i, z, direction) {
    const order = [...this.list.querySelectorAll(".scan")].map((button) => this.buttons.indexOf(button));
    const here = this.matches[i]?.filter((other) => (direction > 0 ? other > z : other < z)) ?? [];
    if (here.length) return [i, direction > 0 ? here[0] : here.at(-1)];
    const at = order.indexOf(i);
    const other = order[at + direction];
    if (other === undefined || this.matches[other] === null) return null;
    return [other, direction > 0 ? this.matches[other][0] : this.matches[other].at(-1)];
  }
}

// pairs: [label, prediction] of the selected patterns, each "1", "0" or "-".
function holds(outcome, pairs) {
  const any = (wanted) => pairs.some(wanted);
  const both = pairs.filter(([truth, called]) => truth !== "-" && called !== "-");
  if (outcome === "present") return any(([truth]) => truth === "1");
  if (outcome === "predicted") return any(([, called]) => called === "1");
  if (outcome === "fp") return both.some(([truth, called]) => truth === "0" && called === "1");
  if (outcome === "fn") return both.some(([truth, called]) => truth === "1" && called === "0");
  if (outcome === "wrong") return both.some(([truth, called]) => truth !== called);
  if (outcome === "right") return both.length > 0 && both.every(([truth, called]) => truth === called);
  return any(([truth, called]) => truth === "1" || called === "1");
}
