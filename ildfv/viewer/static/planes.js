// Planes of a scan (slices, maps, label maps) by slice number: read once, prefetched, and kept in a bounded cache.

import { bytes } from "./api.js";

const AT_ONCE = 4; // concurrent requests; browsers allow six per server, so two remain for the rest of the page
const FORWARD = 16; // slices in the direction of scrolling
const BACKWARD = 4;
// Planes per request: one request for 4 planes takes a third of the CPU time of 4 requests. The displayed plane is
// requested first, in a separate request.
const BLOCK = 8;
const PAUSE = 100; // ms after the first plane, so that it is drawn before its neighbours are read

export class Planes {
  // address: returns the URL of plane z; ?count=n requests n planes from z on. make: converts an ArrayBuffer to a plane.
  // size: bytes of a plane. limit: maximum bytes kept. changed: called when planes have arrived.
  constructor({ address, make, count, size, limit, changed }) {
    Object.assign(this, { address, make, count, changed });
    this.most = Math.max(FORWARD + BACKWARD + 8, Math.floor(limit / size));
    this.kept = new Map(); // in the order of use, the oldest first
    this.requests = new Set();
    this.running = new Set(); // planes of these requests
    this.single = new Set(); // planes of failed blocks, which are requested one by one
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
    for (let i = 1; i <= FORWARD; i++) {
      order.push(up ? z + i : z - i);
      if (i <= BACKWARD) order.push(up ? z - i : z + i);
    }
    this.wanted = order.filter((i) => i >= 0 && i < this.count && !this.kept.has(i) && !this.failed.has(i));
    const [low, high] = [z - (up ? BACKWARD : FORWARD), z + (up ? FORWARD : BACKWARD)];
    for (const { first, last, controller } of this.requests) if (last < low || first > high) controller.abort();
    this.next();
  }

  next() {
    if (!this.kept.size && !this.failed.size && this.running.has(this.last)) return; // nothing competes with the first
    while (this.requests.size < AT_ONCE && this.wanted.length) {
      const z = this.wanted.shift();
      if (!this.running.has(z)) this.read(...(z === this.last || this.single.has(z) ? [z, z] : this.block(z)));
    }
  }

  // The first and last plane of the part of a block around z that has not been read or requested.
  block(z) {
    const free = (i) => ![this.kept, this.running, this.failed, this.single].some((planes) => planes.has(i));
    const start = z - (z % BLOCK);
    const end = Math.min(start + BLOCK, this.count) - 1;
    let [first, last] = [z, z];
    while (first > start && free(first - 1)) first--;
    while (last < end && free(last + 1)) last++;
    return [first, last];
  }

  async read(first, last) {
    const controller = new AbortController();
    const request = { first, last, controller };
    const count = last - first + 1;
    const isFirst = !this.kept.size;
    this.requests.add(request);
    for (let i = first; i <= last; i++) this.running.add(i);
    try {
      const address = this.address(first) + (count > 1 ? `?count=${count}` : "");
      const buffer = await bytes(address, controller.signal);
      const size = buffer.byteLength / count;
      for (let i = 0; i < count; i++) this.kept.set(first + i, this.make(count > 1 ? buffer.slice(i * size, (i + 1) * size) : buffer));
      while (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value);
    } catch (error) {
      if (error.name !== "AbortError") this.fail(first, last, error.message);
    }
    this.requests.delete(request);
    for (let i = first; i <= last; i++) this.running.delete(i);
    this.changed();
    if (isFirst) setTimeout(() => this.next(), PAUSE);
    else this.next();
  }

  // The planes of a failed block are requested one by one, because only some of them may be unreadable.
  fail(first, last, message) {
    if (first === last) {
      this.failed.set(first, message);
      return;
    }
    for (let i = first; i <= last; i++) {
      this.single.add(i);
      this.wanted.push(i);
    }
  }

  close() {
    this.wanted = [];
    for (const { controller } of this.requests) controller.abort();
    this.changed = () => {};
    this.kept.clear();
  }
}
