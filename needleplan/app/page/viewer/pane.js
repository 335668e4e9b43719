// The scene's place in the page: canvas, marks over it and view buttons, or one sentence where nothing is drawn.

import { button, element, foreign, newId } from "./dom.js";
import { listenToGestures } from "./gestures.js";
import { Overlay } from "./overlay.js";
import { Stage } from "./stage.js";

const NO_WEBGL =
  "This browser draws no WebGL, so the scene is not shown; planes, margins and tables below are complete.";
const LOST = "The browser took the scene's memory away; reload the page to see the scene again.";
const HELP =
  "Drag or arrow keys turn; pinch, + and −, or after a click the wheel zoom; " +
  "right button, two fingers or Shift with arrow keys move; 0 resets.";
const SIDES = ["front", "back", "left", "right", "above", "below"];

/** Holds the stage (null without WebGL); `look(name)` hears of view buttons, `moved(…)` of handles, `lost()` of its end. */
export class ScenePane {
  constructor(scene, view, { editable, moved, look, lost }) {
    this.scene = scene;
    this.look = look;
    const id = newId("scene");
    this.canvas = element("canvas", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "scene in three dimensions",
      "aria-label": `Scene of ${scene.title}`,
      "aria-describedby": id,
    });
    this.overlay = new Overlay(scene.axes, { editable, moved });
    this.frame = element("div", { class: "np-pane" }, this.canvas, this.overlay.node);
    this.text = element("p", { class: "np-hidden", id });
    this.help = element("p", { class: "np-note np-help" }, HELP);
    this.views = element("div", { class: "np-views", role: "group", "aria-label": "Views" });
    this.parts = [this.frame, this.text, this.help, this.views];
    if (scene.note) this.parts.push(element("p", { class: "np-note np-scene-note" }, foreign(scene.note)));
    const context = Stage.contextOf(this.canvas);
    if (!context) {
      this.stage = null;
      this.sayNoScene(NO_WEBGL);
      return;
    }
    this.stage = new Stage(this.canvas, context, view, () => this.overlay.update(this.stage));
    listenToGestures(this.canvas, view, this.stage);
    this.canvas.addEventListener("webglcontextlost", () => {
      this.sayNoScene(LOST);
      lost();
    });
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.frame);
  }

  /** Takes over the size of the frame, except on paper, where the last picture stays. */
  fit() {
    const { clientWidth: wide, clientHeight: high } = this.frame;
    if (!this.stage || !wide || !high || window.matchMedia("print").matches) return;
    this.frame.style.setProperty("--wide", wide);
    this.frame.style.setProperty("--high", high);
    this.stage.resize(wide, high);
  }

  sayNoScene(sentence) {
    const { still, title } = this.scene;
    const picture = still ? [element("img", { src: still, alt: `Still picture of ${title}` })] : [];
    this.dispose();
    this.overlay.node.remove();
    this.help.hidden = true;
    this.views.hidden = true;
    this.canvas.replaceWith(...picture, element("p", { class: "np-no-scene", role: "status" }, sentence));
  }

  /** Draws a needle and its marks. */
  setNeedle(needle) {
    this.stage?.setNeedle(needle);
    if (this.stage) this.overlay.setNeedle(needle);
  }

  removeNeedle(key) {
    this.stage?.removeNeedle(key);
    this.overlay.removeNeedle(key);
  }

  /** A button for each side of the patient and along each needle. */
  listViews(needles) {
    const along = needles.filter((needle) => !needle.ghost).map((needle) => `needle ${needle.key}`);
    const buttons = [...SIDES, ...along, "reset"].map((name) => {
      const text = along.includes(name) ? `Along ${name}` : name[0].toUpperCase() + name.slice(1);
      return button(text, text, () => this.look(name));
    });
    this.views.replaceChildren(...buttons);
  }

  /** Says in words what is shown. */
  describe(names) {
    this.text.textContent = `Shown: ${names.join(", ")}. ${HELP}`;
  }

  dispose() {
    this.observer?.disconnect();
    this.stage?.dispose();
    this.stage = null;
  }
}
