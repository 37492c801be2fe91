// Scores along the scan, one strip per pattern, from the feet (left) to the head (right). A click jumps to a slice.

import { make, number } from "./dom.js";

const HEIGHT = 34;
const EDGE = 4; // pixels above and below the line
const QUIET = 100; // ms without a change of the slice before values for screen readers are updated

export class Strips {
  constructor(element, { jump, choose }) {
    this.element = element;
    this.jump = jump;
    this.choose = choose;
    this.rows = [];
    new ResizeObserver(() => this.draw()).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  open(scan) {
    this.scan = scan;
    this.element.replaceChildren();
    this.rows = scan.patterns.map((pattern, c) => {
      const row = make("div", "strip", this.element);
      const name = make("button", "strip-name", row, pattern);
      name.type = "button";
      name.addEventListener("click", () => this.choose(c));
      const track = make("div", "track", row);
      Object.entries({ role: "slider", tabindex: "0", "aria-valuemin": "1", "aria-valuemax": String(scan.slices) }).forEach(
        ([key, value]) => track.setAttribute(key, value),
      );
      track.setAttribute("aria-label", `Slice, scores of ${pattern}`);
      const canvas = make("canvas", "", track);
      const cursor = make("div", "cursor", track);
      const pick = (event) => {
        const box = track.getBoundingClientRect();
        const share = (event.clientX - box.left) / box.width;
        this.jump(Math.min(scan.slices - 1, Math.max(0, Math.floor(share * scan.slices))));
      };
      track.addEventListener("pointerdown", (event) => {
        track.setPointerCapture(event.pointerId);
        this.choose(c);
        pick(event);
      });
      track.addEventListener("pointermove", (event) => {
        if (track.hasPointerCapture(event.pointerId)) pick(event);
      });
      track.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        this.jump(Math.min(scan.slices - 1, Math.max(0, this.z + step)));
      });
      return { row, track, canvas, cursor, name };
    });
    const axis = make("div", "axis", this.element);
    make("span", "", axis, "feet");
    make("span", "key", axis).append(
      make("i", "key-score"), "score ", make("i", "key-limit"), "threshold ", make("i", "key-predicted"), "predicted ",
      ...(scan.truth ? [make("i", "key-label"), "label"] : []),
    );
    make("span", "", axis, "head");
  }

  system(system) {
    this.scores = system;
    this.draw();
  }

  move(z) {
    this.z = z;
    for (const { cursor } of this.rows) cursor.style.translate = `${((z + 0.5) / this.scan.slices) * 100}%`; // moves without a new layout
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tell(z), QUIET);
  }

  // Updates the values for screen readers. Called when scrolling stops.
  tell(z) {
    this.rows.forEach(({ track }, c) => {
      track.setAttribute("aria-valuenow", String(z + 1));
      const score = this.scores?.scores[z][c];
      const text = `slice ${z + 1} of ${this.scan.slices}`;
      track.setAttribute("aria-valuetext", score == null ? text : `${text}, score ${number(score, 3)}`);
    });
  }

  select(pattern) {
    this.rows.forEach(({ row, name }, c) => {
      row.classList.toggle("chosen", c === pattern);
      name.setAttribute("aria-pressed", String(c === pattern));
    });
  }

  draw() {
    if (!this.scan) return;
    const style = getComputedStyle(this.element);
    const colour = (name) => style.getPropertyValue(name).trim();
    this.rows.forEach(({ canvas, track }, c) => this.strip(canvas, track, c, colour));
  }

  strip(canvas, track, c, colour) {
    const [w, ratio, m] = [track.clientWidth, window.devicePixelRatio || 1, this.scan.slices];
    if (!w) return;
    [canvas.width, canvas.height] = [Math.round(w * ratio), Math.round(HEIGHT * ratio)];
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const x = (z) => (z / m) * w;
    const runs = (holds, y, height, fill) => {
      context.fillStyle = fill;
      for (let start = 0, i = 0; i <= m; i++) {
        if (i < m && holds(i)) continue;
        if (i > start) context.fillRect(x(start), y, Math.max(1, x(i) - x(start)), height);
        start = i + 1;
      }
    };
    if (this.scan.truth) runs((i) => this.scan.truth[i][c] === 1, 0, 3, colour("--label"));
    const scores = this.scores?.scores.map((row) => row[c]) ?? [];
    const known = scores.filter((value) => value != null);
    if (!known.length) return;
    runs((i) => this.scores.presence[i][c] === 1, HEIGHT - 3, 3, colour("--predicted"));
    const limit = this.scores.thresholds[c];
    const values = limit == null ? known : [...known, limit];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (value) => HEIGHT - EDGE - 3 - ((HEIGHT - 2 * EDGE - 4) * (value - low)) / (high - low || 1);
    if (limit != null) {
      context.strokeStyle = colour("--limit");
      context.setLineDash([5, 4]);
      context.beginPath();
      context.moveTo(0, y(limit));
      context.lineTo(w, y(limit));
      context.stroke();
      context.setLineDash([]);
    }
    context.strokeStyle = colour("--score");
    context.lineWidth = 1.5;
    context.beginPath();
    let drawing = false;
    scores.forEach((value, z) => {
      if (value == null) drawing = false;
      else if (drawing) context.lineTo(x(z + 0.5), y(value));
      else {
        context.moveTo(x(z + 0.5), y(value));
        drawing = true;
      }
    });
    context.stroke();
  }
}
