// A second scan or sections next to the open one, and similar slices of other patients.

import { json } from "./api.js";
import { make, number } from "./dom.js";
import { followSecond, go } from "./moving.js";
import { chooseMap } from "./overlays.js";
import { $, pane, second, sections, state, study } from "./page.js";
import { setWindow } from "./windows.js";

export function scanName(one) {
  return one.patient ? `${one.patient.slice(0, 6)}${one.fold == null ? "" : `, fold ${one.fold}`}` : one.name;
}

// z: the slice of the compared scan that corresponds to the current slice; by default at the same relative position.
export async function compare(i, z) {
  second.drift = 0; // offset in slices, after the compared scan was scrolled separately
  const on = i !== "";
  if (on && sections.on) sections.toggle(false);
  $("second").hidden = !on;
  $("stage").classList.toggle("two", on);
  if (!on) {
    second.close();
    second.scan = null;
    return;
  }
  const scan = await json(`api/scan/${i}`);
  second.settings = { outlines: state.outlines && state.overlay, opacity: state.opacity };
  second.label = scanName(study.scans[i]);
  $("second").setAttribute("aria-label", `Slice of ${second.label}`);
  await second.open(Number(i), scan, 0);
  setWindow(state.window);
  followSecond(true);
  if (z !== undefined) {
    second.drift = z - second.z;
    followSecond(true);
  }
  chooseMap();
}

// Shows or hides the coronal and sagittal sections, which replace a compared scan.
export function toggleSections() {
  if (!sections.possible) return;
  if (!sections.on && second.scan) {
    $("compare").value = "";
    compare("");
  }
  sections.toggle(!sections.on);
}

// Lists the nearest slices of other patients. A chosen slice is shown next to the current slice and scrolls with it.
export async function findSimilar() {
  const [i, z] = [state.number, pane.at];
  const list = $("similar-list");
  list.replaceChildren();
  $("similar-note").textContent = "Searching …";
  try {
    const { layer, region, fold, results } = await json(`api/scan/${i}/similar/${z}`);
    if (i !== state.number) return;
    for (const { scan: other, slice, distance } of results) {
      const one = study.scans[other];
      const button = make("button", "", make("li", "", list));
      button.type = "button";
      make("span", "", button, `${scanName(one)}, slice ${slice + 1}`);
      make("span", "", button, number(distance, 3));
      make("small", "", button, labelled(one, slice));
      button.addEventListener("click", () => {
        $("compare").value = String(other);
        $("synchronous").checked = true;
        go(z);
        compare(String(other), slice);
      });
    }
    $("similar-note").textContent = results.length
      ? `Distances between the projected Fisher vectors (layer ${layer}, region ${region}, fold ${fold}) of each slice and ` +
        `slice ${z + 1}. One slice per patient is listed.`
      : "There are no slices of other patients.";
  } catch (error) {
    $("similar-note").textContent = error.message;
  }
}

export function labelled(one, z) {
  if (!one.truth) return "not labelled";
  const values = study.patterns.map((_, c) => one.truth[z * study.patterns.length + c]);
  if (values.every((value) => value === "-")) return "not labelled";
  return study.patterns.filter((_, c) => values[c] === "1").join(", ") || "no pattern";
}
