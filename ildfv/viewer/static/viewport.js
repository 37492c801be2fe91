// One slice on a canvas with its overlay, outlines, orientation and read-out; zoom, pan and gestures.

import { OUTLINES, diverging, greys } from "./colours.js";

const MOST = 16; // maximum zoom, relative to the size that fits
const SHARP = 4; // screen pixels per pixel of the slice from which pixels are shown as squares
const COLOURS = diverging();

export class Viewport {
  // steps: called with the number of slices to move; windowed: with changes of width and centre in HU.
  constructor(element, { steps, windowed }) {
    this.element = element;
    this.steps = steps;
    this.windowed = windowed;
    this.tool = "scroll";
    this.zoom = 1;
    this.pan = [0, 0];
    this.dirty = false;
    this.canvas = make("canvas", "", element);
    this.canvas.setAttribute("aria-hidden", "true");
    this.context = this.canvas.getContext("2d", { alpha: false });
    for (const mark of ["R", "L", "A", "P"]) make("span", `mark mark-${mark}`, element).textContent = mark;
    const names = { where: "tl", windowText: "tr", readout: "bl", scaleText: "br" };
    for (const [name, corner] of Object.entries(names)) this[name] = make("span", `hud ${corner}`, element);
    this.message = make("p", "message", element);
    this.message.hidden = true;
    this.picture = document.createElement("canvas");
    this.cover = document.createElement("canvas");
    new ResizeObserver(() => this.resize()).observe(element);
    this.listen();
  }

  // scan: rows, columns, pixel (mm). Called when a case is opened.
  open(scan) {
    this.scan = scan;
    [this.picture.width, this.picture.height] = [scan.columns, scan.rows];
    const context = this.picture.getContext("2d");
    this.pixels = context.createImageData(scan.columns, scan.rows);
    this.packed = new Uint32Array(this.pixels.data.buffer);
    this.plane = this.overlay = this.paths = null;
    this.pointer = null;
    this.readout.textContent = "";
    this.reset();
  }

  // The plane of a slice: Int16Array of HU, or null for a slice without an image. text: its position in the scan.
  show(slice, text) {
    this.where.textContent = text;
    if (slice === this.plane) return;
    this.plane = slice;
    this.paint();
    this.read();
  }

  window(low, high, text) {
    this.table = greys(low, high);
    this.windowText.textContent = text;
    this.paint();
  }

  // overlay: {values: Int8Array, rows, columns, step, opacity} or null. paths: per pattern, or null.
  layers(overlay, paths) {
    this.overlay = overlay;
    this.paths = paths;
    if (overlay) {
      [this.cover.width, this.cover.height] = [overlay.columns, overlay.rows];
      const context = this.cover.getContext("2d");
      const pixels = context.createImageData(overlay.columns, overlay.rows);
      const packed = new Uint32Array(pixels.data.buffer);
      const bits = new Uint8Array(overlay.values.buffer, overlay.values.byteOffset, overlay.values.length);
      for (let i = 0; i < bits.length; i++) packed[i] = COLOURS[bits[i]];
      context.putImageData(pixels, 0, 0);
    }
    this.refresh();
    this.read();
  }

  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  reset() {
    this.zoom = 1;
    this.pan = [0, 0];
    this.refresh();
  }

  // about: position in the element in CSS pixels that stays where it is; by default the centre.
  zoomBy(factor, about = [this.width / 2, this.height / 2]) {
    const zoom = Math.min(MOST, Math.max(1, this.zoom * factor));
    const ratio = zoom / this.zoom;
    const middle = [this.width / 2, this.height / 2];
    this.pan = this.pan.map((p, i) => (p + middle[i] - about[i]) * ratio + about[i] - middle[i]);
    this.zoom = zoom;
    this.limit();
    this.refresh();
  }

  limit() {
    const [w, h] = [this.scan.columns * this.scale, this.scan.rows * this.scale];
    const most = [Math.max(0, (w - this.width) / 2), Math.max(0, (h - this.height) / 2)];
    this.pan = this.pan.map((p, i) => Math.min(most[i], Math.max(-most[i], p)));
  }

  get scale() {
    return Math.min(this.width / this.scan.columns, this.height / this.scan.rows) * this.zoom;
  }

  resize() {
    [this.width, this.height] = [this.element.clientWidth, this.element.clientHeight];
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (!w || !h || (w === this.canvas.width && h === this.canvas.height)) return;
    [this.canvas.width, this.canvas.height] = [w, h];
    if (this.scan) {
      this.limit();
      this.draw(); // immediately: a resized canvas is black until the next frame
    }
  }

  // Marks the picture for the next frame: several slices may arrive within one.
  paint() {
    this.stale = true;
    this.refresh();
  }

  grey() {
    this.stale = false;
    if (!this.plane || !this.table) return;
    const bits = new Uint16Array(this.plane.buffer, this.plane.byteOffset, this.plane.length);
    const { packed, table } = this;
    for (let i = 0; i < packed.length; i++) packed[i] = table[bits[i]];
    this.picture.getContext("2d").putImageData(this.pixels, 0, 0);
    this.frames = (this.frames || 0) + 1; // slices drawn, for measurements
  }

  refresh() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => {
      this.dirty = false;
      this.draw();
    });
  }

  draw() {
    const { context, canvas, scan } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!scan || !this.width) return;
    if (this.stale) this.grey();
    const ratio = canvas.width / this.width;
    const scale = this.scale * ratio;
    const left = canvas.width / 2 + this.pan[0] * ratio - (scan.columns * scale) / 2;
    const top = canvas.height / 2 + this.pan[1] * ratio - (scan.rows * scale) / 2;
    context.setTransform(scale, 0, 0, scale, left, top);
    context.imageSmoothingEnabled = scale < SHARP;
    if (this.plane) context.drawImage(this.picture, 0, 0);
    if (this.overlay) {
      context.imageSmoothingEnabled = true;
      context.globalAlpha = this.overlay.opacity;
      const { columns, rows, step } = this.overlay;
      context.drawImage(this.cover, 0, 0, columns * step, rows * step);
      context.globalAlpha = 1;
    }
    for (const [i, path] of (this.paths || []).entries()) {
      if (!path) continue;
      context.lineWidth = (3 * ratio) / scale; // a dark rim keeps the line visible on bright tissue
      context.strokeStyle = "rgba(0, 0, 0, .65)";
      context.stroke(path);
      context.lineWidth = (1.5 * ratio) / scale;
      context.strokeStyle = OUTLINES[i % OUTLINES.length];
      context.stroke(path);
    }
    this.bar();
  }

  // A scale bar of 1, 2, 5, 10 … mm.
  bar() {
    const perMm = this.scale / this.scan.pixel;
    const size = [1, 2, 5, 10, 20, 50, 100].filter((mm) => mm * perMm <= 120).at(-1) || 1;
    this.scaleText.style.setProperty("--bar", `${(size * perMm).toFixed(1)}px`);
    const text = `${size < 10 ? `${size} mm` : `${size / 10} cm`}`;
    if (this.scaleText.textContent !== text) this.scaleText.textContent = text;
  }

  // Row and column of the slice at a position in the element; null outside.
  at(x, y) {
    if (!this.scan) return null;
    const column = Math.floor((x - this.width / 2 - this.pan[0]) / this.scale + this.scan.columns / 2);
    const row = Math.floor((y - this.height / 2 - this.pan[1]) / this.scale + this.scan.rows / 2);
    const inside = row >= 0 && column >= 0 && row < this.scan.rows && column < this.scan.columns;
    return inside ? { row, column } : null;
  }

  read() {
    const place = this.pointer && this.at(...this.pointer);
    if (!place || !this.plane) {
      this.readout.textContent = "";
      return;
    }
    const hu = this.plane[place.row * this.scan.columns + place.column];
    let text = `${this.scan.hu_note ? "≈ " : ""}${number(hu)} HU`;
    if (this.overlay) {
      const { values, columns, step, scale, unit } = this.overlay;
      const value = values[Math.floor(place.row / step) * columns + Math.floor(place.column / step)];
      const size = (value * scale) / 127;
      text += `  ·  ${Math.abs(value) === 127 ? (value > 0 ? "≥ " : "≤ ") : ""}${size > 0 ? "+" : ""}${number(size, 3)} ${unit}`;
    }
    this.readout.textContent = text;
  }

  listen() {
    const held = new Map();
    let gesture = null;
    const local = (event) => {
      const box = this.element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let rolled = 0;
    this.element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (event.ctrlKey) {
          this.zoomBy(Math.exp(-event.deltaY / 300), local(event));
          return;
        }
        const unit = event.deltaMode === 0 ? 1 : 40; // pixels per line
        if (Math.abs(event.deltaY * unit) >= 50) {
          rolled = 0;
          this.steps(event.deltaY < 0 ? 1 : -1); // a notch of a wheel
          return;
        }
        rolled -= event.deltaY * unit;
        const whole = Math.trunc(rolled / 30); // a trackpad
        rolled -= whole * 30;
        if (whole) this.steps(whole);
      },
      { passive: false },
    );
    this.element.addEventListener("pointerdown", (event) => {
      this.element.setPointerCapture(event.pointerId);
      this.element.focus({ preventScroll: true });
      held.set(event.pointerId, local(event));
      const kind = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : this.tool;
      gesture = { kind, rest: 0 };
      this.pointer = local(event);
      this.read();
      event.preventDefault();
    });
    this.element.addEventListener("pointermove", (event) => {
      const now = local(event);
      this.pointer = now;
      const before = held.get(event.pointerId);
      if (before && held.size === 2) {
        const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        const spread = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
        this.zoomBy(spread(now) / Math.max(1, spread(before)), other);
        this.move(now[0] - before[0], now[1] - before[1], 0.5);
      } else if (before && gesture) {
        this.drag(gesture, now[0] - before[0], now[1] - before[1]);
      }
      if (before) held.set(event.pointerId, now);
      this.read();
    });
    const release = (event) => {
      held.delete(event.pointerId);
      if (!held.size) gesture = null;
    };
    this.element.addEventListener("pointerup", release);
    this.element.addEventListener("pointercancel", release);
    this.element.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.read();
    });
    this.element.addEventListener("dblclick", () => this.reset());
    this.element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  drag(gesture, dx, dy) {
    if (gesture.kind === "pan") this.move(dx, dy);
    if (gesture.kind === "window") this.windowed(dx * 4, -dy * 4);
    if (gesture.kind !== "scroll") return;
    gesture.rest -= dy;
    const step = Math.min(12, Math.max(2, this.height / this.scan.slices));
    const whole = Math.trunc(gesture.rest / step);
    gesture.rest -= whole * step;
    if (whole) this.steps(whole);
  }

  move(dx, dy, share = 1) {
    this.pan = [this.pan[0] + dx * share, this.pan[1] + dy * share];
    this.limit();
    this.refresh();
  }
}

// A number with a true minus sign; digits: significant ones, all of them shown, or 0 for an integer.
export function number(value, digits = 0) {
  const text = digits ? value.toPrecision(digits) : String(Math.round(value));
  return text.replace("e+", "e").replaceAll("-", "−");
}

export function make(tag, name, parent, text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  parent?.append(element);
  return element;
}

// Text with `code` in backticks as elements.
export function rich(element, text) {
  element.replaceChildren(...text.split("`").map((part, i) => (i % 2 ? make("code", "", null, part) : part)));
}
