// Coronal and sagittal sections, linked to the slice by a crosshair.

import { json } from "./api.js";
import { $, pane } from "./page.js";
import { Planes } from "./planes.js";
import { Viewport } from "./viewport.js";

const KEPT = 16 << 20; // bytes of sections that the browser keeps, per direction
const POLL = 250; // ms between requests while the server reads the slices
const QUIET = 400; // ms without a change before the section is announced to screen readers

// Sections in one direction. up: change of the index for the key ↑. placed: called with the index of a section or,
// after a click, with the row and column of the pixel.
class Section {
  constructor(id, title, marks, up, { windowed, placed }) {
    Object.assign(this, { id, title, up, placed, element: $(id) });
    const pointed = (row, column) => placed({ row, column });
    this.view = new Viewport(this.element, { steps: (n) => this.move(n), windowed, pointed, marks });
    this.view.follows = true;
  }

  open(address, scan) {
    this.view.open(scan);
    this.planes = new Planes({
      address: (i) => `${address}/${this.id}/${i}`,
      make: (buffer) => new Int16Array(buffer),
      count: scan.slices,
      size: 2 * scan.rows * scan.columns,
      limit: KEPT,
      changed: () => this.update(),
    });
  }

  close() {
    this.planes?.close();
    this.planes = null;
  }

  move(steps) {
    if (this.planes) this.placed({ index: Math.min(this.planes.count - 1, Math.max(0, this.index + this.up * steps)) });
  }

  // cross: column and row of the crosshair.
  show(index, cross) {
    if (!this.planes) return;
    if (index !== this.index || !this.planes.get(index)) this.planes.want(index);
    this.index = index;
    this.view.cross = cross;
    this.view.refresh();
    this.update();
  }

  update() {
    const plane = this.planes.get(this.index);
    const error = this.planes.error(this.index);
    if (plane) this.view.show(plane, `${this.title}  ${this.index + 1} / ${this.planes.count}`);
    this.view.say(error || "");
    this.element.setAttribute("aria-label", this.text());
  }

  text() {
    return `${this.title} section ${this.index + 1} of ${this.planes.count}`;
  }
}

export class Sections {
  // go: called with the slice at which a click has put the crosshair.
  constructor({ windowed, go }) {
    this.on = false;
    this.go = go;
    const middle = (index) => (index + 0.5) * this.grid.step;
    const slice = (row) => this.scan.slices - 1 - row; // the uppermost slice is the first row
    this.coronal = new Section("coronal", "Coronal", "RLHF", -1, {
      windowed,
      placed: ({ index, row, column }) =>
        this.point(index === undefined ? { x: middle(column), z: slice(row) } : { y: middle(index) }, this.coronal),
    });
    this.sagittal = new Section("sagittal", "Sagittal", "APHF", 1, {
      windowed,
      placed: ({ index, row, column }) =>
        this.point(index === undefined ? { y: middle(column), z: slice(row) } : { x: middle(index) }, this.sagittal),
    });
    this.both = [this.coronal, this.sagittal];
  }

  // Called when a scan is opened; its sections are read when they are shown.
  open(number, scan) {
    this.close();
    Object.assign(this, { number, scan, place: { x: scan.columns / 2, y: scan.rows / 2 } });
    this.possible = scan.images && scan.distance > 0;
    $("sections").hidden = !this.possible;
    this.toggle(this.on && this.possible);
  }

  close() {
    this.grid = null;
    for (const one of this.both) one.close();
  }

  toggle(on) {
    this.on = on;
    $("sections").setAttribute("aria-pressed", String(on));
    $("stage").classList.toggle("three", on);
    for (const { element } of this.both) element.hidden = !on;
    if (on && !this.grid) this.read();
    this.follow();
  }

  async read() {
    const { number, scan } = this;
    try {
      for (;;) {
        const grid = await json(`api/scan/${number}/sections`);
        if (scan !== this.scan || !this.on || this.grid) return;
        if (grid.read === scan.slices) {
          this.show(grid);
          return;
        }
        for (const { view } of this.both) view.say(`Reading ${grid.read} of ${scan.slices} slices …`);
        await new Promise((resolve) => setTimeout(resolve, POLL));
      }
    } catch (error) {
      for (const { view } of this.both) view.say(error.message);
    }
  }

  show(grid) {
    const { number, scan } = this;
    this.grid = grid;
    const pixel = scan.pixel * grid.step;
    const note = grid.step > 1 ? `mean of ${grid.step}×${grid.step} pixels` : scan.hu_note;
    const common = { rows: scan.slices, pixel, tall: scan.distance / pixel, hu_note: note };
    this.coronal.open(`api/scan/${number}`, { ...common, columns: grid.columns, slices: grid.rows });
    this.sagittal.open(`api/scan/${number}`, { ...common, columns: grid.rows, slices: grid.columns });
    this.follow();
  }

  // Moves the crosshair to x, y (pixels of the slice) and z; coordinates that are not given do not change.
  point({ x = this.place.x, y = this.place.y, z }, section = null) {
    if (!this.on) return;
    this.place = { x, y };
    if (z !== undefined && z !== pane.z) this.go(z);
    this.follow();
    clearTimeout(this.speaking);
    if (section) this.speaking = setTimeout(() => ($("announcement").textContent = `${section.text()}.`), QUIET);
  }

  // Shows the sections and the crosshair for the current slice.
  follow() {
    const { x, y } = this.place;
    pane.view.cross = this.on ? [Math.floor(x), Math.floor(y)] : null;
    pane.view.refresh();
    if (!this.on || !this.grid) return;
    const [column, row] = [Math.floor(x / this.grid.step), Math.floor(y / this.grid.step)];
    const height = this.scan.slices - 1 - pane.z;
    this.coronal.show(row, [column, height]);
    this.sagittal.show(column, [row, height]);
  }

  // The section that has the keyboard focus, or undefined.
  get focused() {
    return this.on ? this.both.find(({ element }) => element === document.activeElement) : undefined;
  }
}
