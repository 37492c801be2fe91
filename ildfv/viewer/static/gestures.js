// Wheel, pointer and touch on a viewport.

const CLICK = 3; // pixels of movement below which a press is a click

export function listen(view) {
  const held = new Map();
  let gesture = null;
  const local = (event) => {
    const box = view.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  let rolled = 0;
  view.element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (event.ctrlKey) {
        view.zoomBy(Math.exp(-event.deltaY / 300), local(event));
        return;
      }
      const unit = event.deltaMode === 0 ? 1 : 40; // pixels per line
      if (Math.abs(event.deltaY * unit) >= 50) {
        rolled = 0;
        view.steps(event.deltaY < 0 ? 1 : -1); // a notch of a wheel
        return;
      }
      rolled -= event.deltaY * unit;
      const whole = Math.trunc(rolled / 30); // a trackpad
      rolled -= whole * 30;
      if (whole) view.steps(whole);
    },
    { passive: false },
  );
  view.element.addEventListener("pointerdown", (event) => {
    view.element.setPointerCapture(event.pointerId);
    view.element.focus({ preventScroll: true });
    held.set(event.pointerId, local(event));
    const kind = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : view.tool;
    gesture = { kind, rest: 0, distance: 0 };
    view.pointer = local(event);
    if (kind === "scroll" && view.follows) point(view);
    view.read();
    event.preventDefault();
  });
  view.element.addEventListener("pointermove", (event) => {
    const now = local(event);
    view.pointer = now;
    const before = held.get(event.pointerId);
    if (before && held.size === 2) {
      const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const spread = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
      view.zoomBy(spread(now) / Math.max(1, spread(before)), other);
      view.move(now[0] - before[0], now[1] - before[1], 0.5);
    } else if (before && gesture) {
      drag(view, gesture, now[0] - before[0], now[1] - before[1]);
    }
    if (before) held.set(event.pointerId, now);
    view.read();
  });
  const release = (event) => {
    held.delete(event.pointerId);
    if (!held.size) gesture = null;
  };
  view.element.addEventListener("pointerup", (event) => {
    view.pointer = local(event);
    const click = gesture?.kind === "scroll" && gesture.distance < CLICK && held.size === 1;
    if (click && !view.follows && view.pointed) point(view);
    release(event);
  });
  view.element.addEventListener("pointercancel", release);
  view.element.addEventListener("pointerleave", () => {
    view.pointer = null;
    view.read();
  });
  view.element.addEventListener("dblclick", () => view.reset());
  view.element.addEventListener("contextmenu", (event) => event.preventDefault());
}

// Reports the pixel under the pointer.
function point(view) {
  const place = view.at(...view.pointer);
  if (place) view.pointed(place.row, place.column);
}

function drag(view, gesture, dx, dy) {
  gesture.distance += Math.abs(dx) + Math.abs(dy);
  if (gesture.kind === "pan") view.move(dx, dy);
  if (gesture.kind === "window") view.windowed(dx * 4, -dy * 4);
  if (gesture.kind !== "scroll") return;
  if (view.follows) {
    point(view);
    return;
  }
  gesture.rest -= dy;
  const step = Math.min(12, Math.max(2, view.height / view.scan.slices));
  const whole = Math.trunc(gesture.rest / step);
  gesture.rest -= whole * step;
  if (whole) view.steps(whole);
}
