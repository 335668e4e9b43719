// One needle in numbers: fields for both ends, locks, what is demanded of its path and what it costs.

import { constraintsTable, element, objectivesTable, shown } from "./tables.js";

const ENDS = { entry: "Entry", tip: "Tip" };
const TYPING = "typing";
const AXES = ["x, to the left", "y, to the back", "z, to the head"];

/** A coordinate as its field shows it. */
function coordinate(mm) {
  return mm.toFixed(1);
}

/**
 * The panel of the chosen needle; `edit(address, content, settled)` is told of every change. `tab` is a name that no other page
 * has, nor this one after it was loaded anew: gestures are told apart by it.
 */
export class NeedlePanel {
  constructor({ root, choices, columns, tab }, edit) {
    Object.assign(this, { root, choices, columns, tab, edit });
    this.order = null;
    this.needles = [];
    this.gestures = 0;
    // By field, while it holds what somebody typed and not what the server said: TYPING, or the gesture that waits.
    this.held = new Map();
    this.build();
  }

  build() {
    this.verdict = element("p", { class: "verdict", id: "verdict" });
    this.fields = {};
    this.locks = {};
    const groups = Object.entries(ENDS).map(([end, title]) => {
      this.fields[end] = AXES.map((axis, k) => {
        const field = element("input", { type: "number", step: "any", id: `${end}-${"xyz"[k]}`, "aria-label": `${title} ${axis}, mm` });
        field.addEventListener("input", () => this.held.set(field, TYPING));
        field.addEventListener("change", () => this.typed(end));
        field.addEventListener("blur", () => this.release(TYPING));
        return field;
      });
      const lock = element("input", { type: "checkbox", id: `lock-${end}` });
      lock.addEventListener("change", () => {
        const locked = { entry: null, tip: null, [end]: lock.checked };
        this.edit("lock", { order: this.order, ...locked });
      });
      this.locks[end] = lock;
      return element("fieldset", {}, element("legend", {}, `${title}, mm`), element("div", { class: "coordinates" },
        ...this.fields[end].map((field, k) => element("label", {}, AXES[k], field)),
        element("label", { class: "lock" }, lock, "locked")));
    });
    this.snap = this.button("snap", "Snap to the nearest feasible path", () => this.edit("snap", { order: this.order }));
    this.reset = this.button("reset-one", "Reset this needle", () => this.edit("reset", { order: this.order }));
    this.candidates = element("p", { class: "note", id: "candidates" });
    this.body = [this.verdict, ...groups, element("div", { class: "buttons" }, this.snap, this.reset), this.candidates];
  }

  button(id, text, pressed) {
    const made = element("button", { type: "button", id }, text);
    made.addEventListener("click", pressed);
    return made;
  }

  /** Asks for the point that the fields of an end tell, also where the answer to the field before is still awaited. */
  typed(end) {
    const now = this.state.needles.find((one) => one.order === this.order)[`${end}_mm`];
    const fields = this.fields[end];
    const held = fields.filter((field) => this.held.has(field));
    // A field shows a rounded number: one that nobody edited means the coordinate as it is.
    const point = fields.map((field, k) =>
      (held.includes(field) && field.value !== coordinate(now[k]) ? field.valueAsNumber : now[k]));
    if (!point.every(Number.isFinite)) {
      this.release(TYPING);
      return;
    }
    this.gestures += 1;
    const gesture = this.gestures;
    held.forEach((field) => this.held.set(field, gesture));
    this.edit("move", { order: this.order, end, point_mm: point, gesture: `typed ${this.tab} ${gesture}`, done: true },
      () => this.release(gesture));
  }

  /** Lets fields show again what the server said: those that somebody left, or whose gesture was answered. */
  release(what) {
    const released = [...this.held].filter(([, holder]) => holder === what).map(([field]) => field);
    if (!released.length) return;
    released.forEach((field) => this.held.delete(field));
    this.show(this.state);
  }

  /** Chooses the needle that is shown. */
  choose(order) {
    if (this.order === order) return;
    this.order = order;
    this.held.clear();
    if (this.state) this.show(this.state);
  }

  /** Shows a state of the server. */
  show(state) {
    this.state = state;
    if (!state.needles.length) {
      this.root.replaceChildren(element("p", {}, "The plan holds no needle, so there is nothing to edit."));
      return;
    }
    if (!state.needles.some((one) => one.order === this.order)) {
      this.order = state.needles[0].order;
      this.held.clear();
    }
    this.showChoices(state.needles);
    const needle = state.needles.find((one) => one.order === this.order);
    if (!this.root.contains(this.verdict)) this.root.replaceChildren(...this.body);
    const broken = needle.constraints.filter((one) => one.hard && !one.passed).length;
    this.verdict.textContent = needle.feasible
      ? `Needle ${needle.order}: every hard demand is kept, ${shown(needle.depth_mm)} mm deep.`
      : `Needle ${needle.order}: NOT FEASIBLE, ${broken} hard ${broken === 1 ? "demand is" : "demands are"} broken.`;
    this.verdict.className = `verdict ${needle.feasible ? "good" : "bad"}`;
    for (const end of Object.keys(ENDS)) {
      const locked = needle.locked[end];
      this.fields[end].forEach((field, k) => {
        if (field.readOnly !== locked) this.held.delete(field);
        // What somebody types, or typed and is not answered yet, is left alone whatever news come meanwhile.
        if (!this.held.has(field)) field.value = coordinate(needle[`${end}_mm`][k]);
        field.readOnly = locked;
      });
      this.locks[end].checked = locked;
    }
    this.snap.disabled = !state.snap.ready || (needle.locked.entry && needle.locked.tip);
    this.reset.disabled = !needle.moved && !needle.locked.entry && !needle.locked.tip;
    this.candidates.textContent = state.snap.said;
    this.columns.replaceChildren(constraintsTable(needle),
      element("p", { class: "note" }, "“≥ 10.0 mm” says that nothing nearer than that was found: no demand asks farther."),
      objectivesTable(needle), ...state.notes.map((note) => element("p", { class: "note" }, note)));
  }

  showChoices(needles) {
    if (this.choices.childElementCount !== needles.length) {
      this.choices.className = "buttons";
      this.choices.replaceChildren(...needles.map((one) => {
        const made = element("button", { type: "button", "data-order": one.order });
        made.addEventListener("click", () => this.choose(one.order));
        return made;
      }));
    }
    needles.forEach((one, k) => {
      const made = this.choices.children[k];
      made.textContent = `Needle ${one.order}${one.moved ? ", moved" : ""}${one.feasible ? "" : ", not feasible"}`;
      made.setAttribute("aria-pressed", String(one.order === this.order));
    });
  }
}
