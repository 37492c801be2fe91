// Corrections of the labels of a slice, saved by the server at each change.

import { json, post } from "./api.js";
import { counted, make, rich } from "./dom.js";

const CHOICES = [[1, "present"], [0, "absent"], [null, "unknown"]];

export class Corrections {
  constructor(section) {
    this.section = section;
    this.rows = section.querySelector("#correct-rows");
    this.note = section.querySelector("#correct-note");
    this.corrected = {};
  }

  async open(number, scan) {
    [this.number, this.scan] = [number, scan];
    this.rows.replaceChildren();
    rich(this.note, scan.correctable ? "" : `The labels of this scan cannot be corrected: ${scan.not_correctable}.`);
    this.corrected = {};
    if (!scan.correctable) return;
    this.inputs = scan.patterns.map((pattern, c) => {
      const field = make("fieldset", "correct", this.rows);
      make("legend", "", field, pattern);
      const choices = make("span", "segments", field);
      return CHOICES.map(([value, name]) => {
        const label = make("label", "", choices);
        const input = make("input", "", label);
        Object.assign(input, { type: "radio", name: `correct-${c}` });
        make("span", "", label, name);
        input.addEventListener("change", () => this.change(c, value));
        return input;
      });
    });
    const undo = make("button", "", this.rows, "Undo");
    undo.type = "button";
    undo.addEventListener("click", () => this.save(null));
    this.undo = undo;
    await this.refresh();
  }

  async refresh() {
    if (!this.scan?.correctable) return;
    const number = this.number;
    const corrected = await json(`api/scan/${number}/corrections`);
    if (number !== this.number) return;
    this.corrected = corrected;
    this.show(this.z ?? 0);
  }

  // The labels of slice z: the corrected labels if there are any, otherwise the labels in the workspace.
  values(z) {
    const truth = this.scan.truth?.[z] ?? this.scan.patterns.map(() => -1);
    return this.corrected[z] ?? truth.map((value) => (value < 0 ? null : value));
  }

  show(z) {
    this.z = z;
    if (!this.scan?.correctable || !this.inputs) return;
    const values = this.values(z);
    this.inputs.forEach((inputs, c) => inputs.forEach((input, i) => (input.checked = CHOICES[i][0] === values[c])));
    this.undo.disabled = !(z in this.corrected);
    const n = Object.keys(this.corrected).length;
    if (!this.saving) this.note.textContent = n ? `${counted(n, "corrected slice")} of this scan.` : "";
  }

  change(c, value) {
    const values = [...this.values(this.z)];
    values[c] = value;
    return this.save(values);
  }

  async save(values) {
    this.saving = true;
    try {
      const { file } = await post(`api/scan/${this.number}/corrections/${this.z}`, values);
      await this.refresh();
      rich(this.note, `Saved in ${file}, which \`ildfv prepare --labels\` reads.`);
    } catch (error) {
      await this.refresh().catch(() => {});
      this.note.textContent = `Not saved: ${error.message}`;
    }
    this.saving = false;
  }
}
