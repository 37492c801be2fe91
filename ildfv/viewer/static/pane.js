// A viewport with the planes of its scan. A slice is always shown with the matching number, overlay and outlines.

import { json } from "./api.js";
import { outlines } from "./outline.js";
import { Planes } from "./planes.js";
import { number } from "./dom.js";
import { Viewport } from "./viewport.js";

const SLICES = 32 << 20; // bytes of slices that the browser keeps, 64 of 512×512
const MAPS = 16 << 20; // bytes of the maps of one pattern
const PATHS = 64; // label maps as outlines

export class Pane {
  // shown: called when another slice is displayed.
  constructor(element, { steps, windowed, pointed, shown }) {
    this.view = new Viewport(element, { steps, windowed, pointed });
    this.shown = shown;
    this.settings = { map: null, outlines: true, opacity: 0.7 };
  }

  async open(number, scan, z) {
    this.close();
    Object.assign(this, { number, scan, z, at: null, maps: new Map() });
    this.view.open(scan);
    const base = `api/scan/${number}`;
    const size = scan.rows * scan.columns;
    const changed = () => this.update();
    this.slices = scan.images
      ? new Planes({
          address: (i) => `${base}/slice/${i}`,
          make: (buffer) => new Int16Array(buffer),
          count: scan.slices,
          size: 2 * size,
          limit: SLICES,
          changed,
        })
      : null;
    this.labels = scan.labels
      ? new Planes({
          address: (i) => `${base}/labels/${i}`,
          make: (buffer) => outlines(new Uint8Array(buffer), scan.rows, scan.columns, scan.patterns.length),
          count: scan.slices,
          size: 1,
          limit: PATHS,
          changed,
        })
      : null;
    this.go(z);
  }

  close() {
    const maps = [...(this.maps?.values() ?? [])].map((map) => map.planes);
    for (const planes of [this.slices, this.labels, ...maps]) planes?.close();
    this.map = null;
  }

  go(z) {
    this.z = z;
    this.slices?.want(z);
    if (this.settings.outlines) this.labels?.want(z);
    this.map?.planes.want(z);
    this.update();
  }

  set(changes) {
    Object.assign(this.settings, changes);
    if (this.scan) this.go(this.z);
  }

  // Shows the map with this number of the scan, or no map for null. Resolves when the grid of the map is known.
  async choose(number) {
    const scan = this.scan;
    this.wish = number;
    if (number === null) {
      this.map = null;
      this.update();
      return;
    }
    if (!this.maps.has(number)) {
      const grid = await json(`api/scan/${this.number}/map/${number}`);
      if (scan !== this.scan) return;
      const planes = new Planes({
        address: (i) => `api/scan/${this.number}/map/${number}/${i}`,
        make: (buffer) => new Int8Array(buffer),
        count: scan.slices,
        size: grid.rows * grid.columns,
        limit: MAPS,
        changed: () => this.update(),
      });
      this.maps.set(number, { ...grid, unit: scan.maps[number].unit, planes });
    }
    if (this.wish !== number) return; // another map was chosen in the meantime
    this.map = this.maps.get(number);
    this.go(this.z);
  }

  update() {
    const { z, scan, view } = this;
    const failure = this.slices?.error(z);
    const slice = this.slices ? this.slices.get(z) : null;
    if (slice === undefined && !failure) return this.wait();
    // With overlays, a slice is shown when its overlay has loaded; otherwise overlays would flicker while scrolling.
    const plane = this.map?.planes.get(z);
    if (this.map && plane === undefined && !this.map.planes.error(z)) return this.wait();
    const wanted = this.labels && this.settings.outlines;
    const paths = wanted ? this.labels.get(z) : null;
    if (wanted && paths === undefined && !this.labels.error(z)) {
      if (this.outlined === scan) return this.wait();
    } else if (paths) this.outlined = scan;
    view.element.classList.remove("waiting");
    const mm = scan.positions[z];
    const name = this.label ? `\n${this.label}` : "";
    view.show(slice || null, `${z + 1} / ${scan.slices}${mm == null ? "" : `   ${number(mm)} mm`}${name}`);
    view.layers(plane ? { ...this.map, values: plane, opacity: this.settings.opacity } : null, paths || null);
    const faults = [failure, this.map?.planes.error(z), wanted && this.labels.error(z)].filter(Boolean);
    view.say(!this.slices ? "No images: the scan of this prediction was not given." : faults[0] || "");
    if (this.at !== z) {
      this.at = z;
      this.shown(z);
    }
  }

  wait() {
    this.view.element.classList.add("waiting");
  }
}
