// One plane of a scan on a canvas with its overlay, outlines, crosshair, orientation and read-out; zoom and pan.

import { OUTLINES, diverging, greys } from "./colours.js";
import { make, number } from "./dom.js";
import { listen } from "./gestures.js";

const MAX_ZOOM = 16; // maximum zoom, relative to the size that fits
const SHARP = 4; // screen pixels per pixel of the slice from which pixels are shown as squares
const GAP = 10; // CSS pixels between the lines of the crosshair and the marked pixel
const COLOURS = diverging();

export class Viewport {
  // steps: called with the number of planes to move. windowed: called with (increase of the width in HU, increase of the
  // brightness), see `shiftWindow`. pointed: called with the row and column of a click, or while dragging if `follows`
  // is set. marks: the patient's sides at the left, right, top and bottom.
  constructor(element, { steps, windowed, pointed, marks = "RLAP" }) {
    Object.assign(this, { element, steps, windowed, pointed });
    this.tool = "scroll";
    this.zoom = 1;
    this.pan = [0, 0];
    this.dirty = false;
    this.canvas = make("canvas", "", element);
    this.canvas.setAttribute("aria-hidden", "true");
    this.context = this.canvas.getContext("2d", { alpha: false });
    ["left", "right", "top", "bottom"].forEach((side, i) => make("span", `mark mark-${side}`, element, marks[i]));
    const names = { where: "tl", windowText: "tr", readout: "bl", scaleText: "br" };
    for (const [name, corner] of Object.entries(names)) this[name] = make("span", `hud ${corner}`, element);
    this.message = make("p", "message", element);
    this.message.hidden = true;
    this.picture = document.createElement("canvas");
    this.cover = document.createElement("canvas");
    new ResizeObserver(() => this.resize()).observe(element);
    listen(this);
  }

  // scan: rows, columns, pixel (mm, width of a pixel) and tall (its height / width, 1 if absent).
  open(scan) {
    this.scan = scan;
    this.tall = scan.tall ?? 1;
    this.cross = null;
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

  // about: position in the element, in CSS pixels, that does not move; by default the centre.
  zoomBy(factor, about = [this.width / 2, this.height / 2]) {
    const zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
    const ratio = zoom / this.zoom;
    const middle = [this.width / 2, this.height / 2];
    this.pan = this.pan.map((p, i) => (p + middle[i] - about[i]) * ratio + about[i] - middle[i]);
    this.zoom = zoom;
    this.limit();
    this.refresh();
  }

  limit() {
    const [w, h] = [this.scan.columns * this.scale, this.scan.rows * this.scale * this.tall];
    const most = [Math.max(0, (w - this.width) / 2), Math.max(0, (h - this.height) / 2)];
    this.pan = this.pan.map((p, i) => Math.min(most[i], Math.max(-most[i], p)));
  }

  get scale() {
    return Math.min(this.width / this.scan.columns, this.height / (this.scan.rows * this.tall)) * this.zoom;
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

  // Marks the picture as outdated. It is drawn in the next frame, because several slices may arrive within one frame.
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
    const top = canvas.height / 2 + this.pan[1] * ratio - (scan.rows * scale * this.tall) / 2;
    context.setTransform(scale, 0, 0, scale * this.tall, left, top);
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
    if (this.cross) this.drawCross(left, top, scale, ratio);
    this.bar();
  }

  // Lines through the middle of the pixel `cross` = [column, row], with a gap that leaves the pixel visible.
  drawCross(left, top, scale, ratio) {
    const { context, canvas } = this;
    const [x, y] = [left + (this.cross[0] + 0.5) * scale, top + (this.cross[1] + 0.5) * scale * this.tall];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.lineWidth = ratio;
    context.strokeStyle = "rgba(255, 216, 102, .75)";
    context.beginPath();
    for (const [x0, y0, x1, y1] of [[0, y, x - GAP * ratio, y], [x + GAP * ratio, y, canvas.width, y], [x, 0, x, y - GAP * ratio], [x, y + GAP * ratio, x, canvas.height]]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
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
    const row = Math.floor((y - this.height / 2 - this.pan[1]) / (this.scale * this.tall) + this.scan.rows / 2);
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

  move(dx, dy, share = 1) {
    this.pan = [this.pan[0] + dx * share, this.pan[1] + dy * share];
    this.limit();
    this.refresh();
  }
}
