// The margin around the target: how much of its surface has which margin, and where.

import { decodeArray } from "./decode.js";
import { element, foreign, newId, svg } from "./dom.js";

const WIDTH = 420;
const BAR = 24;
const CELL = 8;

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function figure(value) {
  return `${Number(value.toFixed(1))}`.replace("-", "−");
}

function describe(bin) {
  return `${figure(bin.low_mm)} to ${figure(bin.high_mm)} mm`;
}

/** The bin a value falls into; values beyond the ends take the first or the last. */
function binOf(value, histogram) {
  const k = histogram.findIndex((bin) => value < bin.high_mm);
  return k < 0 ? histogram.length - 1 : k;
}

/** Colour of a value: that of its bin, paler towards the low end of the bins that share the colour. */
function shadeOf(value, histogram) {
  const { colour } = histogram[binOf(value, histogram)];
  const alike = histogram.filter((bin) => bin.colour === colour);
  const [low, high] = [alike[0].low_mm, alike[alike.length - 1].high_mm];
  const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
  return `color-mix(in srgb, ${colour} ${Math.round(50 + 50 * share)}%, white)`;
}

/** Bars with their figures; those below the margin asked for are hatched, so that no colour is needed. */
function histogramOf({ histogram, asked_mm: asked }) {
  const hatchId = newId("hatch");
  const most = Math.max(...histogram.map((bin) => bin.area_share), 1e-9);
  const bars = histogram.map((bin, k) => {
    const width = Math.max(1, (WIDTH - 190) * (bin.area_share / most));
    const below = bin.high_mm <= asked;
    return svg(
      "g",
      { transform: `translate(0 ${k * BAR})` },
      svg("text", { x: 112, y: BAR / 2, class: "np-bin", "text-anchor": "end" }, describe(bin)),
      svg("rect", {
        x: 120,
        y: 3,
        width,
        height: BAR - 6,
        fill: shadeOf((bin.low_mm + bin.high_mm) / 2, histogram),
        class: "np-bar",
      }),
      ...(below ? [svg("rect", { x: 120, y: 3, width, height: BAR - 6, fill: `url(#${hatchId})` })] : []),
      svg("text", { x: 126 + width, y: BAR / 2, class: "np-bin" }, percent(bin.area_share)),
    );
  });
  const hatch = svg(
    "pattern",
    { id: hatchId, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 2, height: 6, fill: "#14171c" }),
  );
  const height = histogram.length * BAR;
  const told = histogram.map((bin) => `${describe(bin)} ${percent(bin.area_share)}`);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${height}`,
      class: "np-histogram",
      role: "img",
      "aria-label": `Share of the target's surface by margin: ${told.join(", ")}`,
    },
    svg("defs", {}, hatch),
    ...bars,
  );
}

/** A ring around the cell of the least margin. */
function markLeast(paint, cell, columns) {
  const x = ((cell % columns) + 0.5) * CELL;
  const y = (Math.floor(cell / columns) + 0.5) * CELL;
  const radius = Math.max(CELL, 0.015 * columns * CELL);
  for (const [colour, share] of [
    ["#ffffff", 0.45],
    ["#14171c", 0.2],
  ]) {
    paint.strokeStyle = colour;
    paint.lineWidth = share * radius;
    paint.beginPath();
    paint.arc(x, y, radius, 0, 2 * Math.PI);
    paint.stroke();
  }
}

function mapOf(values, { map, histogram, asked_mm: asked, least_mm: least }) {
  const canvas = element("canvas", {
    class: "np-map",
    width: map.columns * CELL,
    height: map.rows * CELL,
    role: "img",
    "aria-label": `Map of the margin; least ${figure(least)} mm (ring), asked for ${figure(asked)} mm (else hatched)`,
  });
  const paint = canvas.getContext("2d");
  values.forEach((value, k) => {
    const x = (k % map.columns) * CELL;
    const y = Math.floor(k / map.columns) * CELL;
    paint.fillStyle = shadeOf(value, histogram);
    paint.fillRect(x, y, CELL, CELL);
    if (value >= asked) return;
    paint.strokeStyle = "#14171c";
    paint.lineWidth = 1.4;
    paint.beginPath();
    paint.moveTo(x, y + CELL);
    paint.lineTo(x + CELL, y);
    paint.stroke();
  });
  markLeast(paint, values.indexOf(Math.min(...values)), map.columns);
  return element(
    "div",
    { class: "np-map-frame" },
    element("span", { class: "np-axis np-axis-y" }, foreign(map.y_label)),
    canvas,
    element("span", { class: "np-axis" }, foreign(map.x_label)),
  );
}

/** Fills `node` with the histogram, the map and their words. */
export async function drawMargin(node, margin) {
  const values = await decodeArray(margin.map.values_mm);
  node.append(
    element(
      "figure",
      {},
      element(
        "figcaption",
        {},
        element("b", {}, "Margin of the target's surface"),
        ` Least ${figure(margin.least_mm)} mm, asked for ${figure(margin.asked_mm)} mm. `,
        "Hatched: less than asked for. Ring in the map: the least.",
      ),
      histogramOf(margin),
    ),
    element(
      "figure",
      {},
      element(
        "figcaption",
        {},
        element("b", {}, "Map of the margin"),
        ...(margin.note ? [" ", foreign(margin.note)] : []),
      ),
      mapOf(values, margin),
    ),
  );
}
