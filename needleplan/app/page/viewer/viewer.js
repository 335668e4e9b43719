// A plan to turn in the hand: scene, list, breathing, growth, planes and margins in one element of a page.

import { Body } from "./bodies.js";
import { BreathCourse, GrowthCourse } from "./courses.js";
import { element } from "./dom.js";
import { BodyList } from "./list.js";
import { drawMargin } from "./margin.js";
import { ScenePane } from "./pane.js";
import { Planes } from "./planes.js";
import { minus, plus } from "./vectors.js";
import { View } from "./view.js";

// Bodies of all moments of growth share one row of the list.
const GROWING = "moments";

/** Builds the viewer of `scene` (schema needleplan.scene, version 1) inside `root`; see mountScene. */
class Viewer {
  constructor(root, scene, { editable = false, onMove = () => {}, onReady = () => {} } = {}) {
    if (scene.schema !== "needleplan.scene" || scene.version !== 1) {
      throw new Error(`this viewer reads needleplan.scene version 1, not ${scene.schema} version ${scene.version}`);
    }
    this.root = root;
    this.scene = scene;
    this.onMove = onMove;
    this.bodies = new Map();
    this.newest = new Map();
    this.needles = new Map();
    this.isReady = false;
    this.growth = scene.growth ? scene.growth.moments.length - 1 : 0;
    this.breath = 0;
    this.view = new View(scene);
    this.list = new BodyList((key, change) => this.take(key, change));
    this.pane = new ScenePane(scene, this.view, {
      editable,
      moved: (...move) => this.handleMoved(...move),
      look: (name) => this.look(name),
      lost: () => this.offerCourses(),
    });
    this.planes =
      scene.planes &&
      new Planes(scene.planes, {
        needles: this.needles,
        bodyOf: (id) => this.bodies.get(id),
        growth: () => this.growth,
        growing: scene.bodies.filter((body) => (body.moment ?? null) !== null).map((body) => body.id),
      });
    this.build();
    for (const needle of scene.needles) this.setNeedle(needle.order, needle.entry_mm, needle.tip_mm, needle);
    this.ready = this.fill().then(onReady);
  }

  get stage() {
    return this.pane.stage;
  }

  get canvas() {
    return this.pane.canvas;
  }

  build() {
    const { scene } = this;
    const courses = element("div", { class: "np-courses" });
    if (scene.breath) {
      this.breathCourse = new BreathCourse(scene.breath, (share) => this.takeBreath(share));
      courses.append(this.breathCourse.node);
    }
    if (scene.growth) {
      this.growthCourse = new GrowthCourse(scene.growth, (k) => this.takeGrowth(k));
      courses.append(this.growthCourse.node);
    }
    this.offerCourses();
    this.margin = element("section", { class: "np-margins", "aria-label": "Margin" });
    const stage = element("div", { class: "np-stage" }, ...this.pane.parts, courses);
    const main = element("div", { class: "np-main" }, this.list.node, stage);
    const planes = this.planes ? [this.planes.node] : [];
    this.shell = element("div", { class: "np-viewer" }, main, ...planes, this.margin);
    this.root.append(this.shell);
    this.pane.fit();
    this.pane.listViews([...this.needles.values()]);
  }

  /** Offers a slider where it changes what is seen: a breath moves the scene alone, growth may change the planes. */
  offerCourses() {
    this.breathCourse?.offer(this.stage !== null);
    this.growthCourse?.offer(this.stage !== null || Boolean(this.planes?.grow));
  }

  async fill() {
    await this.setBodies(this.scene.bodies);
    if (this.scene.margin) await drawMargin(this.margin, this.scene.margin);
    await this.planes?.draw();
    this.stage?.begin();
    this.isReady = true;
    this.shell.dataset.ready = "true";
  }

  /** Puts bodies into the scene; one of the same id is replaced and keeps the user's tick and opacity. */
  async setBodies(sources) {
    const centre = this.scene.centre_mm;
    const made = sources.map((source) => new Body(source, this.bodies.get(source.id)));
    for (const body of made) this.newest.set(body.id, body);
    await Promise.all(made.map((body) => body.unpack(centre)));
    for (const body of made) {
      // A later call for the same body may have been unpacked sooner, and a tick set meanwhile counts.
      if (this.newest.get(body.id) !== body) continue;
      const { shown, opacity } = this.bodies.get(body.id) ?? body;
      Object.assign(body, { shown, opacity });
      this.bodies.set(body.id, body);
      this.stage?.setBody(body, body.visibleAt(this.growth));
      this.listBody(body);
    }
    this.refresh();
  }

  listBody(body) {
    const key = body.moment === null ? body.id : GROWING;
    this.list.set({
      key,
      name: body.name,
      group: body.group,
      colour: body.source.colour,
      pattern: body.pattern,
      shown: body.shown,
      opacity: body.opacity,
    });
  }

  /** Takes a body out of the scene. */
  removeBody(id) {
    const body = this.bodies.get(id);
    this.bodies.delete(id);
    this.newest.delete(id);
    this.stage?.removeBody(id);
    const left = [...this.bodies.values()].some((other) => other.moment !== null);
    if (body && (body.moment === null || !left)) this.list.remove(body.moment === null ? id : GROWING);
    this.refresh();
  }

  /** Moves a needle, or adds one of a new order; points in mm as in the scene. */
  setNeedle(order, entryMm, tipMm, changes = {}) {
    const key = String(order);
    const centre = this.scene.centre_mm;
    const known = this.needles.get(key);
    const before = known ?? {
      shown: true,
      label: `needle ${key}`,
      colour: "#e9edf2",
      radius_mm: 1,
      feasible: true,
      locked: {},
    };
    const named = Object.entries(changes).filter(([, value]) => value !== undefined);
    const needle = {
      ...before,
      ...Object.fromEntries(named),
      key,
      entry: minus(entryMm, centre),
      tip: minus(tipMm, centre),
    };
    this.needles.set(key, needle);
    this.pane.setNeedle(needle);
    this.list.set({
      key: `needle ${key}`,
      name: needle.label,
      group: "needles",
      colour: needle.colour,
      pattern: needle.ghost ? "" : "rings",
      shown: needle.shown,
      opacity: null,
    });
    if (!known) this.pane.listViews([...this.needles.values()]);
    for (const panel of this.planes?.panels ?? []) panel.drawMarks();
  }

  /** Takes a needle out of the scene. */
  removeNeedle(order) {
    const key = String(order);
    this.needles.delete(key);
    this.pane.removeNeedle(key);
    this.list.remove(`needle ${key}`);
    this.pane.listViews([...this.needles.values()]);
    this.refresh();
  }

  handleMoved(key, end, point, done) {
    const needle = this.needles.get(key);
    const ends = { entry: needle.entry, tip: needle.tip, [end]: point };
    const centre = this.scene.centre_mm;
    this.setNeedle(key, plus(ends.entry, centre), plus(ends.tip, centre));
    this.onMove(needle.order ?? key, end, plus(point, centre), done);
  }

  /** Shows or hides a body (by its id, or "needle K"). */
  show(id, shown) {
    const body = this.bodies.get(id);
    if (!body && !(id.startsWith("needle ") && this.needles.has(id.slice(7)))) {
      throw new Error(`there is no body ${id} in the scene`);
    }
    this.take(body && body.moment !== null ? GROWING : id, { shown });
  }

  take(key, change) {
    const needle = key.startsWith("needle ") ? this.needles.get(key.slice(7)) : undefined;
    if (needle) {
      Object.assign(needle, change);
      this.setNeedle(needle.key, plus(needle.entry, this.scene.centre_mm), plus(needle.tip, this.scene.centre_mm));
      return;
    }
    for (const body of this.bodies.values()) {
      if (key === GROWING ? body.moment === null : body.id !== key) continue;
      Object.assign(body, change);
      this.listBody(body);
    }
    this.refresh();
  }

  refresh() {
    for (const body of this.bodies.values()) this.stage?.updateBody(body, body.visibleAt(this.growth));
    this.planes?.draw();
    const needles = [...this.needles.values()].filter((needle) => needle.shown).map((needle) => needle.label);
    this.pane.describe([...needles, ...this.visible().map((body) => body.name)]);
  }

  visible() {
    return [...this.bodies.values()].filter((body) => body.visibleAt(this.growth));
  }

  setBreath(share) {
    this.breathCourse?.set(Math.min(1, Math.max(0, share)));
  }

  takeBreath(share) {
    this.breath = share;
    if (!this.stage) return;
    this.stage.breathShare.value = share;
    this.stage.invalidate();
  }

  setGrowth(k) {
    if (!(k in (this.scene.growth?.moments ?? []))) throw new Error(`there is no growth moment ${k} in the scene`);
    this.growthCourse.set(k);
  }

  takeGrowth(k) {
    this.growth = k;
    this.refresh();
  }

  setSlice(view, index) {
    return this.planes.setSlice(view, index);
  }

  look(name) {
    if (!this.view.look(name, this.needles)) throw new Error(`there is no view ${name}`);
    this.stage?.invalidate();
  }

  state() {
    const visible = this.visible();
    return {
      ready: this.isReady,
      webgl: this.stage !== null,
      title: this.scene.title,
      shown: visible.map((body) => body.id),
      opacity: Object.fromEntries([...this.bodies.values()].map((body) => [body.id, body.opacity])),
      breath: this.breath,
      growth: this.growth,
      slices: this.planes?.state() ?? {},
      camera: this.view.state(),
      triangles: visible.reduce((sum, body) => sum + body.triangles, 0),
      frames: this.stage?.frames ?? 0,
      centres_mm: Object.fromEntries(
        visible.map((body) => [body.id, plus(body.centre(this.breath), this.scene.centre_mm)]),
      ),
      needles: Object.fromEntries([...this.needles.keys()].map((key) => [key, this.needleState(key)])),
      playing: { breath: Boolean(this.breathCourse?.playing), growth: Boolean(this.growthCourse?.playing) },
    };
  }

  needleState(key) {
    const { entry, tip, shown, feasible } = this.needles.get(key);
    const centre = this.scene.centre_mm;
    return { entry_mm: plus(entry, centre), tip_mm: plus(tip, centre), shown, feasible };
  }

  dispose() {
    this.breathCourse?.pause();
    this.growthCourse?.pause();
    this.pane.dispose();
    this.shell.remove();
  }
}

/**
 * Builds the viewer of a scene inside `root` and returns it at once; `viewer.ready` is fulfilled when it is drawn.
 * Options: editable, onMove(order, end, pointMm, done), onReady().
 */
export function mountScene(root, scene, options) {
  return new Viewer(root, scene, options);
}
