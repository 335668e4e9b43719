// What lies over the canvas: numbers of the needles, handles to move their ends, and which way the patient lies.

import { element, svg } from "./dom.js";
import { hubOf } from "./shafts.js";
import { dot, plus, scaled } from "./vectors.js";

const SMALL_STEP_MM = 1;
const LARGE_STEP_MM = 5;
const KEYS = {
  ArrowLeft: ["right", -1],
  ArrowRight: ["right", 1],
  ArrowUp: ["up", 1],
  ArrowDown: ["up", -1],
  PageUp: ["toward", -1],
  PageDown: ["toward", 1],
};
const ENDS = { entry: "Entry", tip: "Tip" };

/** Letters of the patient's directions on a small cross of axes, turned with the eye. */
class Compass {
  constructor(axes) {
    const { left, posterior, superior } = axes;
    this.directions = [
      ["L", left],
      ["R", scaled(left, -1)],
      ["P", posterior],
      ["A", scaled(posterior, -1)],
      ["S", superior],
      ["I", scaled(superior, -1)],
    ];
    this.node = svg("svg", { class: "np-compass", viewBox: "-50 -50 100 100", "aria-hidden": "true" });
  }

  update({ right, up, toward }) {
    const placed = this.directions
      .map(([letter, d]) => ({ letter, x: 32 * dot(d, right), y: -32 * dot(d, up), depth: dot(d, toward) }))
      .sort((a, b) => a.depth - b.depth);
    this.node.replaceChildren(
      ...placed.flatMap(({ letter, x, y, depth }) => {
        const strength = (0.35 + (0.65 * (depth + 1)) / 2).toFixed(2);
        return [
          svg("line", { x1: 0, y1: 0, x2: x, y2: y, opacity: strength }),
          svg("text", { x: 1.3 * x, y: 1.3 * y, opacity: Math.hypot(x, y) < 6 ? 0 : strength }, letter),
        ];
      }),
    );
  }
}

/** Marks over the canvas; `moved(key, end, point, done)` hears of handles, points seen from the centre. */
export class Overlay {
  constructor(axes, { editable, moved }) {
    this.compass = new Compass(axes);
    this.marks = element("div", { class: "np-marks" });
    this.node = element("div", { class: "np-overlay" }, this.compass.node, this.marks);
    this.editable = editable;
    this.moved = moved;
    this.needles = new Map();
    this.stage = null;
  }

  setNeedle(needle) {
    let held = this.needles.get(needle.key);
    if (!held) {
      held = { tag: element("span", { class: "np-tag", "aria-hidden": "true" }), handles: {} };
      this.marks.append(held.tag);
      if (this.editable && !needle.ghost) {
        for (const end of ["entry", "tip"]) held.handles[end] = this.makeHandle(needle.key, end);
      }
      this.needles.set(needle.key, held);
    }
    held.needle = needle;
    held.tag.textContent = needle.feasible === false ? `${needle.key} not allowed` : String(needle.key);
    held.tag.classList.toggle("np-refused", needle.feasible === false);
    held.tag.style.setProperty("--colour", needle.colour);
    for (const [end, handle] of Object.entries(held.handles)) {
      const locked = Boolean(needle.locked?.[end]);
      handle.classList.toggle("np-locked", locked);
      handle.setAttribute("aria-disabled", String(locked));
      handle.setAttribute("aria-label", `${ENDS[end]} of needle ${needle.key}${locked ? ", locked" : ""}`);
    }
  }

  removeNeedle(key) {
    const held = this.needles.get(key);
    held?.tag.remove();
    for (const handle of Object.values(held?.handles ?? {})) handle.remove();
    this.needles.delete(key);
  }

  makeHandle(key, end) {
    const handle = element("button", {
      type: "button",
      class: `np-handle np-${end}`,
      title: "Drag, or arrow keys 1 mm, Shift 5 mm, PageUp and PageDown in depth",
    });
    const locked = () => handle.getAttribute("aria-disabled") === "true";
    const place = () => this.needles.get(key).needle[end];
    const shift = (right, up, toward, done) => {
      const frame = this.stage.view.frame();
      const point = plus(plus(plus(place(), frame.right, right), frame.up, up), frame.toward, toward);
      this.moved(key, end, point, done);
    };
    let last = null;
    const release = () => {
      if (!last) return;
      const dragged = last.dragged;
      last = null;
      this.stage.moving(false);
      if (dragged) this.moved(key, end, place(), true);
    };
    handle.addEventListener("pointerdown", (event) => {
      if (locked() || event.button !== 0 || !this.stage) return;
      handle.setPointerCapture(event.pointerId);
      last = { x: event.clientX, y: event.clientY, dragged: false };
    });
    handle.addEventListener("pointermove", (event) => {
      if (!last) return;
      const scale = this.stage.mmPerPixel(place());
      this.stage.moving(true);
      shift((event.clientX - last.x) * scale, (last.y - event.clientY) * scale, 0, false);
      last = { x: event.clientX, y: event.clientY, dragged: true };
    });
    handle.addEventListener("pointerup", release);
    handle.addEventListener("pointercancel", release);
    handle.addEventListener("keydown", (event) => {
      const key_ = KEYS[event.key];
      if (!key_ || !this.stage) return;
      event.preventDefault();
      if (locked()) return;
      const step = { right: 0, up: 0, toward: 0 };
      step[key_[0]] = key_[1] * (event.shiftKey ? LARGE_STEP_MM : SMALL_STEP_MM);
      shift(step.right, step.up, step.toward, true);
    });
    this.marks.append(handle);
    return handle;
  }

  /** Puts every mark to its place after a picture was drawn. */
  update(stage) {
    this.stage = stage;
    this.compass.update(stage.view.frame());
    const put = (node, point, shown) => {
      const { x, y, ahead } = stage.project(point);
      const inside = x >= 0 && y >= 0 && x <= stage.size[0] && y <= stage.size[1];
      node.hidden = !(shown && ahead && inside);
      // Shares, so that the marks stay in place where the picture is printed in another size.
      node.style.left = `${((100 * x) / stage.size[0]).toFixed(3)}%`;
      node.style.top = `${((100 * y) / stage.size[1]).toFixed(3)}%`;
    };
    for (const { needle, tag, handles } of this.needles.values()) {
      put(tag, hubOf(needle), needle.shown);
      // Where the outer end is not in the picture, the number stands at the skin.
      if (tag.hidden) put(tag, needle.entry, needle.shown);
      for (const [end, handle] of Object.entries(handles)) put(handle, needle[end], needle.shown);
    }
  }
}
