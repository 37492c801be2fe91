// The page: one study, one open scan, and the controls that act on it.

import { json, onLost, started } from "./api.js";
import { ScanList } from "./scans.js";
import { WINDOWS } from "./colours.js";
import { scanName, compare, findSimilar, toggleSections } from "./compare.js";
import { Corrections } from "./corrections.js";
import { make } from "./dom.js";
import { buildHelp, toggleHelp } from "./help.js";
import { pressed } from "./keys.js";
import { followSecond, go, move, moveSecond } from "./moving.js";
import { NARROW, openScan, openFromAddress, toggleScans } from "./open.js";
import { drawRamp, setOverlay } from "./overlays.js";
import { $, build, corrections, pane, second, sections, state } from "./page.js";
import { Pane } from "./pane.js";
import { describe, selectPattern, selectSystem } from "./scores.js";
import { Sections } from "./sections.js";
import { Strips } from "./strips.js";
import { buildWindows, customWindow, setWindow, shiftWindow } from "./windows.js";

const PING = 3000; // ms between checks that the server is running

const LOST = {
  ended: "The server of the viewer has stopped. Start “ildfv view” again and open the address that it prints.",
  token: "This address is no longer valid. Open the address that “ildfv view” printed last.",
};

function showLost(reason) {
  $("lost").textContent = LOST[reason];
  $("lost").hidden = false;
}

function shown(z) {
  describe(z);
  sections.follow();
}

async function start() {
  onLost(showLost);
  const { study } = started();
  document.title = `${study.title} – ildfv view`;
  $("title").textContent = study.title;
  $("phantom").hidden = !study.phantom;
  $("report-link").hidden = !study.report;
  build({
    study,
    pane: new Pane($("image"), { steps: move, windowed: shiftWindow, pointed: (row, column) => sections.point({ x: column, y: row }), shown }),
    second: new Pane($("second"), { steps: moveSecond, windowed: shiftWindow, shown: () => {} }),
    sections: new Sections({ windowed: shiftWindow, go }),
    strips: new Strips($("strips"), { jump: go, choose: selectPattern }),
    corrections: new Corrections($("correction")),
    scans: new ScanList(study, { open: openScan }),
  });
  buildWindows();
  buildHelp();
  listen();
  setWindow(WINDOWS[0]);
  const many = study.scans.length > 1;
  $("scans-toggle").hidden = !many;
  $("compare-section").hidden = !many;
  $("similar").hidden = !study.similar;
  study.scans.forEach((one, i) => (make("option", "", $("compare"), scanName(one)).value = String(i)));
  toggleScans(many && !matchMedia(NARROW).matches);
  await openFromAddress();
  setInterval(ping, PING);
}

let version = 0;
async function ping() {
  try {
    const alive = await json("api/alive");
    if (alive.corrections !== version) {
      version = alive.corrections;
      await corrections.refresh(); // another tab may have saved a correction
    }
  } catch {
    // onLost has shown the reason
  }
}

function listen() {
  document.addEventListener("keydown", pressed);
  $("slider").addEventListener("input", () => go(Number($("slider").value)));
  $("up").addEventListener("click", () => move(1));
  $("down").addEventListener("click", () => move(-1));
  const views = () => [pane, second, ...sections.both].map(({ view }) => view).filter((view) => view.scan);
  $("zoom-in").addEventListener("click", () => views().forEach((view) => view.zoomBy(1.25)));
  $("zoom-out").addEventListener("click", () => views().forEach((view) => view.zoomBy(0.8)));
  $("zoom-reset").addEventListener("click", () => views().forEach((view) => view.reset()));
  $("sections").addEventListener("click", () => toggleSections());
  for (const input of document.getElementsByName("tool")) {
    input.addEventListener("change", () => {
      for (const { view } of [pane, second, ...sections.both]) view.tool = input.value;
    });
  }
  for (const id of ["centre", "width"]) {
    $(id).addEventListener("input", () => customWindow(Number($("centre").value), Number($("width").value)));
  }
  $("map").addEventListener("change", () => setOverlay({ kind: $("map").value }));
  $("show").addEventListener("change", () => setOverlay({ overlay: $("show").checked }));
  $("outline").addEventListener("change", () => setOverlay({ outlines: $("outline").checked }));
  $("opacity").addEventListener("input", () => setOverlay({ opacity: Number($("opacity").value) / 100 }));
  $("system").addEventListener("change", () => selectSystem($("system").value));
  $("compare").addEventListener("change", () => compare($("compare").value));
  $("similar").addEventListener("click", findSimilar);
  $("synchronous").addEventListener("change", () => followSecond());
  $("help-open").addEventListener("click", toggleHelp);
  $("scans-toggle").addEventListener("click", () => toggleScans());
  matchMedia(NARROW).addEventListener("change", (event) => event.matches && toggleScans(false));
  window.addEventListener("hashchange", openFromAddress);
  drawRamp();
  $("opacity-value").textContent = `${Math.round(state.opacity * 100)} %`;
}

start().catch((error) => {
  if ($("lost").hidden) {
    $("lost").textContent = error.message;
    $("lost").hidden = false;
  }
});

export const viewer = { state, get pane() { return pane; }, get second() { return second; }, get sections() { return sections; }, go };
globalThis.viewer = viewer; // for measurements and tests
