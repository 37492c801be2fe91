// Planes of a scan (slices, maps, label maps) by slice number: read once, prefetched, and kept in a bounded cache.

import { bytes } from "./api.js";

const AT_ONCE = 4; // concurrent requests: browsers allow six per server, two remain for the rest of the page
const AHEAD = 16; // slices in the direction of scrolling
const BEHIND = 4;

export class Planes {
  // address: of slice z. make: from an ArrayBuffer to a plane. limit: bytes kept. changed: called when a plane arrived.
  constructor({ address, make, count, size, limit, changed }) {
    Object.assign(this, { address, make, count, changed });
    this.most = Math.max(AHEAD + BEHIND + 8, Math.floor(limit / size));
    this.kept = new Map(); // in the order of use, the oldest first
    this.running = new Map();
    this.failed = new Map();
    this.wanted = [];
    this.last = 0;
  }

  get(z) {
    const plane = this.kept.get(z);
    if (plane !== undefined) {
      this.kept.delete(z);
      this.kept.set(z, plane);
    }
    return plane;
  }

  error(z) {
    return this.failed.get(z);
  }

  // Reads z next, then its neighbours, more of them in the direction of the last move.
  want(z) {
    const up = z >= this.last;
    if (z !== this.last) this.failed.delete(z); // retry when the slice is visited again
    this.last = z;
    const order = [z];
    for (let i = 1; i <= AHEAD; i++) {
      order.push(up ? z + i : z - i);
      if (i <= BEHIND) order.push(up ? z - i : z + i);
    }
    this.wanted = order.filter((i) => i >= 0 && i < this.count && !this.kept.has(i) && !this.failed.has(i));
    const near = new Set(order);
    for (const [i, controller] of this.running) if (!near.has(i)) controller.abort();
    this.next();
  }

  next() {
    while (this.running.size < AT_ONCE && this.wanted.length) {
      const z = this.wanted.shift();
      if (!this.running.has(z)) this.read(z);
    }
  }

  async read(z) {
    const controller = new AbortController();
    this.running.set(z, controller);
    try {
      const plane = this.make(await bytes(this.address(z), controller.signal));
      this.kept.set(z, plane);
      while (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value);
    } catch (error) {
      if (error.name !== "AbortError") this.failed.set(z, error.message);
    }
    this.running.delete(z);
    this.changed(z);
    this.next();
  }

  close() {
    this.wanted = [];
    for (const controller of this.running.values()) controller.abort();
    this.changed = () => {};
    this.kept.clear();
  }
}
