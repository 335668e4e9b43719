// Orthogonal planes: contours as lines, needles where they cross and where they run, letters and a scale bar.

import { decodeLoop } from "./decode.js";
import { element, foreign, newId, svg } from "./dom.js";
import { dot, minus, plus, unit } from "./vectors.js";

const OUTSIDE_MM = 80;
const SCALE_BAR_MM = 50;
/** Text and marks as a share of the window's width, so that they look alike in every window. */
const TEXT_SHARE = 0.042;

function pathOf(loops) {
  return loops.map((loop) => `M${loop.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join("L")}Z`).join("");
}

/** Path of an upright cross with arms of this length. */
function plusSign([x, y], arm) {
  return `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`;
}

/** One plane with its slider. Needles, bodies and the moment of growth are asked for at every drawing. */
class PlanePanel {
  constructor(view, planes) {
    this.view = view;
    this.planes = planes;
    const [left, right, top, bottom] = (this.window = planes.roomFor(view.window_mm));
    this.unit = (right - left) * TEXT_SHARE;
    this.contours = svg("g");
    this.marks = svg("g");
    this.picture = svg(
      "svg",
      {
        viewBox: `${left} ${top} ${right - left} ${bottom - top}`,
        role: "img",
        class: "np-plane",
      },
      this.contours,
      this.marks,
      this.frame(),
    );
    const id = newId("slice");
    this.input = element("input", { type: "range", id, min: 0, max: view.slices.length - 1, step: 1 });
    this.output = element("output", { for: id });
    this.input.addEventListener("input", () => planes.setSlice(view.id, Number(this.input.value)));
    this.node = element(
      "figure",
      { class: "np-plane-figure" },
      this.picture,
      element(
        "div",
        { class: "np-track" },
        element("label", { for: id }, element("b", {}, foreign(view.title))),
        this.input,
        this.output,
      ),
    );
    this.paths = view.slices.map(() => null);
    const offsets = view.slices.map((slice) => Math.abs(slice.offset_mm));
    this.index = offsets.indexOf(Math.min(...offsets));
  }

  /** Letters of the patient's sides and the scale bar. */
  frame() {
    const [left, right, top, bottom] = this.window;
    const [middle, centre] = [(left + right) / 2, (top + bottom) / 2];
    const size = this.unit;
    const letter = (name, x, y) =>
      svg(
        "text",
        {
          x,
          y,
          "font-size": 1.15 * size,
          "text-anchor": "middle",
          "dominant-baseline": "central",
          class: "np-letter",
        },
        this.view.letters[name] ?? "",
      );
    const y = bottom - 1.1 * size;
    const x = right - 0.8 * size - SCALE_BAR_MM;
    return svg(
      "g",
      {},
      letter("left", left + size, centre),
      letter("right", right - size, centre),
      letter("top", middle, top + size),
      letter("bottom", middle, bottom - size),
      svg("path", { class: "np-scale", d: `M${x} ${y - 0.3 * size}V${y}H${x + SCALE_BAR_MM}V${y - 0.3 * size}` }),
      svg(
        "text",
        {
          x: x + SCALE_BAR_MM / 2,
          y: y - 0.6 * size,
          "font-size": 0.85 * size,
          "text-anchor": "middle",
          class: "np-scale-text",
        },
        `${SCALE_BAR_MM / 10} cm`,
      ),
    );
  }

  get offset() {
    return this.view.slices[this.index].offset_mm;
  }

  async draw() {
    const { view, index } = this;
    this.input.value = String(index);
    const where = `${this.offset >= 0 ? "+" : "−"}${Math.abs(this.offset).toFixed(1)} mm`;
    this.output.textContent = where;
    this.input.setAttribute("aria-valuetext", where);
    this.picture.setAttribute("aria-label", `${view.title} plane at ${where} from the centre`);
    if (!this.paths[index]) {
      this.paths[index] = await Promise.all(
        view.slices[index].contours.map(async (contour) => ({
          contour,
          outline: pathOf(await Promise.all(contour.loops.map(decodeLoop))),
        })),
      );
    }
    if (index !== this.index) return;
    const drawn = this.paths[index].map((path) => ({ ...path, body: this.planes.bodyOf(path.contour.body) }));
    this.contours.replaceChildren(
      ...drawn
        .filter(({ body }) => body?.visibleAt(this.planes.growth()))
        .map(({ contour, outline, body }) =>
          svg(
            "path",
            {
              d: outline,
              class: `np-contour np-${body.group}`,
              stroke: body.source.colour,
              fill: contour.filled ? body.source.colour : "none",
              "fill-rule": "evenodd",
            },
            svg("title", {}, body.name),
          ),
        ),
    );
    this.drawMarks();
  }

  /** Lines of the other planes, and each needle as it runs (dashed) and where it crosses (ring with a cross). */
  drawMarks() {
    const [left, right, top, bottom] = this.window;
    const lines = this.planes.panels
      .filter((other) => other !== this)
      .flatMap((other) => {
        const across = dot(other.view.axis, this.view.right);
        const along = dot(other.view.axis, this.view.down);
        const at = other.offset;
        if (Math.abs(across) > 0.99) return [`M${at * across} ${top}V${bottom}`];
        return Math.abs(along) > 0.99 ? [`M${left} ${at * along}H${right}`] : [];
      });
    const needles = [...this.planes.needles.values()].filter((needle) => needle.shown);
    this.marks.replaceChildren(
      ...lines.map((d) => svg("path", { d, class: "np-other-plane" })),
      ...needles.flatMap((needle) => this.needleMarks(needle)),
    );
  }

  needleMarks(needle) {
    const { right, down, axis } = this.view;
    const hub = plus(needle.entry, unit(minus(needle.entry, needle.tip)), OUTSIDE_MM);
    const flat = (point) => [dot(point, right), dot(point, down)];
    const [hubAt, tipAt] = [flat(hub), flat(needle.tip)];
    const size = this.unit;
    const marks = [
      svg("line", {
        x1: hubAt[0],
        y1: hubAt[1],
        x2: tipAt[0],
        y2: tipAt[1],
        class: "np-run",
        stroke: needle.colour,
      }),
      svg("path", {
        class: "np-run-tip",
        stroke: needle.colour,
        d: plusSign(tipAt, 0.25 * size),
      }),
    ];
    const heights = [dot(hub, axis) - this.offset, dot(needle.tip, axis) - this.offset];
    if (heights[0] * heights[1] <= 0 && heights[0] !== heights[1]) {
      const share = heights[0] / (heights[0] - heights[1]);
      const [x, y] = flat(plus(hub, minus(needle.tip, hub), share));
      marks.push(
        svg("circle", { cx: x, cy: y, r: 0.45 * size, class: "np-crossing", stroke: needle.colour }),
        svg("path", {
          class: "np-crossing",
          stroke: needle.colour,
          d: plusSign([x, y], 0.7 * size),
        }),
        svg(
          "text",
          { x: x + 0.8 * size, y: y - 0.5 * size, "font-size": size, class: "np-number", fill: needle.colour },
          String(needle.key),
        ),
      );
    }
    return marks;
  }
}

/** The planes of a scene; needles are seen from the scene's centre, `growing` are ids of bodies of one moment. */
export class Planes {
  constructor(source, { needles, bodyOf, growth, growing }) {
    this.needles = needles;
    this.bodyOf = bodyOf;
    this.growth = growth;
    this.tallness = Math.max(
      ...source.views.map(({ window_mm: [left, right, top, bottom] }) => (bottom - top) / (right - left)),
    );
    this.panels = [];
    for (const view of source.views) this.panels.push(new PlanePanel(view, this));
    const ids = new Set(source.views.flatMap((view) => view.slices).flatMap((s) => s.contours.map((c) => c.body)));
    /** Whether the planes hold contours of growing zones, so that they change with the moment. */
    this.grow = growing.some((id) => ids.has(id));
    const zones = this.grow ? "zones at the moment of growth that is chosen" : "zones";
    const key =
      `Filled or thin: structures. Thick: target. Dashed: ${zones}. Dotted: margin. Ring with cross: a needle ` +
      "crosses here. Dashed line with its number's colour: the needle as it runs in front of or behind the plane.";
    this.node = element(
      "section",
      { class: "np-planes", "aria-label": "Planes" },
      element("div", { class: "np-plane-row" }, ...this.panels.map((panel) => panel.node)),
      element("p", { class: "np-note" }, key, ...(source.note ? [" ", foreign(source.note)] : [])),
    );
  }

  /** A window made taller where it must be, so that all pictures have the same shape. */
  roomFor([left, right, top, bottom]) {
    const more = (this.tallness * (right - left) - (bottom - top)) / 2;
    return [left, right, top - more, bottom + more];
  }

  /** Draws every panel anew. */
  draw() {
    return Promise.all(this.panels.map((panel) => panel.draw()));
  }

  /** Chooses a slice of a view by its number. */
  setSlice(id, index) {
    const panel = this.panels.find((item) => item.view.id === id);
    if (!panel || !(index in panel.view.slices)) throw new Error(`there is no slice ${index} of a plane ${id}`);
    panel.index = index;
    for (const other of this.panels) if (other !== panel) other.drawMarks();
    return panel.draw();
  }

  state() {
    return Object.fromEntries(this.panels.map((panel) => [panel.view.id, panel.index]));
  }
}
