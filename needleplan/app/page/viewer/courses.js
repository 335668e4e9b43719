// Sliders that can play: a breath, and the growth of the zone.

import { button, element, foreign, newId, prefersLessMotion } from "./dom.js";

const GROWTH_STEP_MS = 700;
/** A reader who asked for less motion gets a few still pictures one after the other, this far apart. */
const CALM_STEP_MS = 1200;
const CALM_SHARES = [0, 0.5, 1, 0.5];

class Course {
  constructor({ title, label, note, max, step, describe, changed }) {
    const id = newId("course");
    this.describe = describe;
    this.changed = changed;
    this.timer = 0;
    this.input = element("input", { type: "range", id, min: 0, max, step, value: 0 });
    this.output = element("output", { for: id });
    this.playButton = button(
      "▶",
      `Play ${title.toLowerCase()}`,
      () => (this.playing ? this.pause() : this.play()),
      {
        class: "np-play",
        "aria-pressed": "false",
      },
    );
    const heading = element("label", { for: id }, element("b", {}, title));
    if (label) heading.append(" ", foreign(label));
    this.node = element(
      "div",
      { class: "np-course" },
      heading,
      element("div", { class: "np-track" }, this.playButton, this.input, this.output),
    );
    if (note) this.node.append(element("p", { class: "np-note" }, foreign(note)));
    this.input.addEventListener("input", () => {
      this.pause();
      this.set(Number(this.input.value));
    });
    this.playing = false;
  }

  set(value) {
    this.value = value;
    this.input.value = String(value);
    this.output.textContent = this.describe(value);
    this.input.setAttribute("aria-valuetext", this.describe(value));
    this.changed(value);
  }

  play() {
    this.playing = true;
    this.playButton.textContent = "❚❚";
    this.playButton.setAttribute("aria-pressed", "true");
    this.run();
  }

  /** Shows the slider, or takes it away and stops it. */
  offer(offered) {
    if (!offered) this.pause();
    this.node.hidden = !offered;
  }

  pause() {
    this.playing = false;
    clearTimeout(this.timer);
    cancelAnimationFrame(this.timer);
    this.playButton.textContent = "▶";
    this.playButton.setAttribute("aria-pressed", "false");
  }
}

/** Share of the breath from 0 (end of exhale) to 1; plays as Lujan's cos⁴ (Med Phys 1999;26:715). */
export class BreathCourse extends Course {
  constructor(breath, changed) {
    super({
      title: "Breathing",
      label: breath.label,
      note: breath.note,
      max: 1,
      step: 0.02,
      changed,
      describe: (share) => `${Math.round(100 * share)} % of the breath`,
    });
    this.period = Math.max(1, breath.period_s || 4);
    this.set(0);
  }

  run() {
    if (prefersLessMotion()) {
      let next = 0;
      const step = () => {
        next = (next + 1) % CALM_SHARES.length;
        this.set(CALM_SHARES[next]);
        this.timer = setTimeout(step, CALM_STEP_MS);
      };
      step();
      return;
    }
    let began = null;
    const phase = Math.acos(Math.sqrt(Math.sqrt(this.value)));
    const step = (now) => {
      if (!this.playing) return;
      began ??= now;
      this.set(Math.cos((Math.PI * (now - began)) / (1000 * this.period) - phase) ** 4);
      this.timer = requestAnimationFrame(step);
    };
    this.timer = requestAnimationFrame(step);
  }
}

/** Moments of the growing zone; plays once from its start. */
export class GrowthCourse extends Course {
  constructor(growth, changed) {
    const last = growth.moments.length - 1;
    super({
      title: "Zone growth",
      label: growth.label,
      note: growth.note,
      max: last,
      step: 1,
      changed,
      describe: (k) => `${growth.moments[k].label}, ${growth.moments[k].volume_ml.toFixed(1)} ml`,
    });
    this.last = last;
    this.set(last);
  }

  run() {
    const step = () => {
      if (this.value >= this.last) {
        this.pause();
        return;
      }
      this.set(this.value + 1);
      this.timer = setTimeout(step, prefersLessMotion() ? CALM_STEP_MS : GROWTH_STEP_MS);
    };
    if (this.value >= this.last) this.set(0);
    this.timer = setTimeout(step, GROWTH_STEP_MS);
  }
}
