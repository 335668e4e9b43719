// Two plans side by side: figures, needles, clearances, and both in the scene.

import { ask } from "./connection.js";
import { comparedTable, element, number, shown, table } from "./tables.js";

const place = (id) => document.getElementById(id);

/** The comparison of the edited plan with another; drawn into the scene of `page.viewer`. */
export class Comparison {
  constructor(page) {
    this.page = page;
    // Versions: of the comparison that is shown, and that was asked for last.
    this.comparedOf = -1;
    this.askedOf = -1;
    this.asked = false;
    this.drawn = [];
    this.choice = "edited";
    this.wanted = 0;
    this.compares = 0;
    place("compare").addEventListener("click", () => { this.asked = true; this.compare(); });
    place("against").addEventListener("change", () => { if (this.asked) this.compare(); this.draw(); });
    place("drawn").addEventListener("change", () => this.draw());
  }

  get with() {
    return place("against").value;
  }

  /** Hears of a new state: a comparison that was asked for follows it once its figures are there. */
  show(state) {
    if (state.other && place("against").options.length === 1) {
      place("against").append(element("option", { value: "other" }, state.other));
    }
    if (this.asked && state.judged.fresh && state.judged.version !== this.askedOf) this.compare();
    if (this.choice === "other") this.hideEdited(true);
    this.showAge();
  }

  /** Says of a comparison that is of earlier needles that it is. */
  showAge() {
    const old = this.comparedOf !== this.page.connection.state.version && Boolean(place("compared").querySelector("table"));
    place("comparing").hidden = !old;
    place("compared").classList.toggle("stale", old);
  }

  async compare() {
    const out = place("compared");
    this.askedOf = this.page.connection.state.version;
    this.compares += 1;
    const { compares } = this;
    if (!out.childElementCount) out.replaceChildren(element("p", { class: "waiting" }, "Being computed …"));
    try {
      const found = await (await ask(`comparison?with=${this.with}`)).json();
      // A later one answers by itself.
      if (compares !== this.compares) return;
      const { first, second, statuses } = found;
      this.comparedOf = found.version;
      out.replaceChildren(
        element("p", { class: "statuses" }, `First: ${first}, ${statuses[0]}. Second: ${second}, ${statuses[1]}.`),
        comparedTable("What they achieve", "first", "second", found.metrics),
        table("Needles", ["needle", "first", "second", number("entries apart"), number("tips apart")],
          found.needles.map((one) => [String(one.order), one.first || "–", one.second || "–",
            number(shown(one.entry_apart_mm, "mm")), number(shown(one.tip_apart_mm, "mm"))])),
        comparedTable("Least clearance to each structure", "first", "second", found.clearances));
    } catch (error) {
      if (compares !== this.compares) return;
      out.replaceChildren(element("p", { class: "broken", role: "alert" }, error.message));
    }
    this.showAge();
  }

  /** Draws the other plan, the edited one, or both; the edited one where the other cannot be had. */
  async draw() {
    const { viewer } = this.page;
    if (!viewer) return;
    const choice = place("drawn").value;
    this.wanted += 1;
    const { wanted } = this;
    place("undrawn").textContent = "";
    try {
      // Nothing is hidden before that which takes its place is here.
      const other = choice === "edited" ? null : await (await ask(`other?with=${this.with}`)).json();
      // A later choice draws by itself.
      if (wanted !== this.wanted) return;
      this.clear();
      this.choice = choice;
      this.hideEdited(choice === "other");
      if (other) await this.drawOther(other, choice);
    } catch (error) {
      if (wanted !== this.wanted) return;
      this.clear();
      this.choice = "edited";
      place("drawn").value = "edited";
      this.hideEdited(false);
      place("undrawn").textContent = `The other plan cannot be drawn. ${error.message}`;
    }
  }

  clear() {
    const { viewer } = this.page;
    for (const { needle, body } of this.drawn.splice(0)) {
      if (needle) viewer.removeNeedle(needle);
      else viewer.removeBody(body);
    }
  }

  async drawOther(other, choice) {
    const { viewer } = this.page;
    for (const one of other.needles) {
      const needle = `other ${one.order}`;
      viewer.setNeedle(needle, one.entry_mm, one.tip_mm, { ghost: choice === "both", label: `needle ${one.order}, other plan`, locked: { entry: true, tip: true } });
      this.drawn.push({ needle });
    }
    this.drawn.push(...other.bodies.map((body) => ({ body: body.id })));
    await viewer.setBodies(other.bodies);
  }

  hideEdited(hidden) {
    const { viewer, connection } = this.page;
    if (!viewer || (this.hidden ?? false) === hidden) return;
    this.hidden = hidden;
    for (const { order } of connection.state.needles) {
      viewer.show(`needle ${order}`, !hidden);
      if (connection.state.zones.some((body) => body.id === `z:${order}`)) viewer.show(`z:${order}`, !hidden);
    }
  }
}
