// The list of bodies: a tick and an opacity for each and for each group, and so the legend of the picture.

import { element, foreign, newId } from "./dom.js";

const TITLES = {
  target: "Target",
  needles: "Needles",
  zones: "Ablation zones",
  margin: "Margin",
  structures: "Structures",
  robot: "Robot",
};

/** Rows are {key, name, group, colour, pattern, shown, opacity or null}; `change(key, {shown, opacity})` hears. */
export class BodyList {
  constructor(change) {
    this.change = change;
    this.rows = new Map();
    this.groups = new Map();
    this.body = element("div", { class: "np-groups" });
    this.node = element("section", { class: "np-list", "aria-label": "What is shown" }, this.body);
  }

  /** Adds a row, or takes over shown and opacity of one that stands. */
  set(row) {
    const held = this.rows.get(row.key);
    if (held) {
      held.tick.checked = row.shown;
      held.swatch.style.setProperty("--colour", row.colour);
      held.name.title = row.name;
      held.name.replaceChildren(foreign(row.name));
      if (held.opacity) held.opacity.value = String(Math.round(100 * row.opacity));
      this.refreshGroup(held.group);
      return;
    }
    const id = newId("body");
    const tick = element("input", { type: "checkbox", id, checked: row.shown });
    const swatch = element("span", {
      class: "np-swatch",
      "data-pattern": row.pattern || "plain",
      "aria-hidden": "true",
    });
    swatch.style.setProperty("--colour", row.colour);
    const name = element("label", { for: id, title: row.name }, foreign(row.name));
    const opacity = row.opacity === null ? null : this.makeOpacity(row.name, row.opacity);
    const node = element("li", { class: "np-row" }, tick, swatch, name, ...(opacity ? [opacity] : []));
    const group = this.groupOf(row.group);
    group.list.append(node);
    const made = { tick, swatch, name, opacity, node, group: row.group };
    this.rows.set(row.key, made);
    tick.addEventListener("change", () => {
      this.change(row.key, { shown: tick.checked });
      this.refreshGroup(row.group);
    });
    opacity?.addEventListener("input", () => {
      this.change(row.key, { opacity: Number(opacity.value) / 100 });
      this.refreshGroup(row.group);
    });
    this.refreshGroup(row.group);
  }

  makeOpacity(name, value) {
    return element("input", {
      type: "range",
      class: "np-opacity",
      min: 0,
      max: 100,
      step: 5,
      value: Math.round(100 * value),
      "aria-label": `Opacity of ${name}`,
      title: "Opacity",
    });
  }

  groupOf(name) {
    const held = this.groups.get(name);
    if (held) return held;
    const title = TITLES[name] ?? name;
    const tick = element("input", { type: "checkbox", "aria-label": `Show all: ${title}` });
    const opacity = this.makeOpacity(`all: ${title}`, 1);
    const list = element("ul");
    const head = element("div", { class: "np-row np-head" }, tick, element("span", { class: "np-title" }, title));
    if (name !== "needles") head.append(opacity);
    const node = element("div", { class: "np-group", role: "group", "aria-label": title }, head, list);
    const group = { name, tick, opacity, list, node };
    tick.addEventListener("change", () => {
      // Read once: each row that changes sets the tick of the group anew.
      const { checked } = tick;
      this.eachOf(name, (key, row) => {
        row.tick.checked = checked;
        this.change(key, { shown: checked });
      });
    });
    opacity.addEventListener("input", () => {
      const { value } = opacity;
      this.eachOf(name, (key, row) => {
        if (!row.opacity) return;
        row.opacity.value = value;
        this.change(key, { opacity: Number(value) / 100 });
      });
    });
    this.groups.set(name, group);
    const order = Object.keys(TITLES);
    const ranked = [...this.groups.values()].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
    this.body.replaceChildren(...ranked.map((item) => item.node));
    return group;
  }

  eachOf(group, call) {
    for (const [key, row] of this.rows) if (row.group === group) call(key, row);
    this.refreshGroup(group);
  }

  refreshGroup(name) {
    const rows = [...this.rows.values()].filter((row) => row.group === name);
    const ticks = rows.map((row) => row.tick.checked);
    const group = this.groupOf(name);
    const values = rows.filter((row) => row.opacity).map((row) => Number(row.opacity.value));
    group.opacity.value = String(values.reduce((sum, value) => sum + value, 0) / (values.length || 1));
    group.node.hidden = ticks.length === 0;
    group.tick.checked = ticks.every(Boolean);
    group.tick.indeterminate = ticks.some(Boolean) && !ticks.every(Boolean);
    for (const row of this.rows.values()) row.node.classList.toggle("np-off", !row.tick.checked);
  }

  remove(key) {
    const row = this.rows.get(key);
    if (!row) return;
    row.node.remove();
    this.rows.delete(key);
    this.refreshGroup(row.group);
  }
}
