// The planning page: the scene with handles, the needles in numbers, figures, comparison, saving.

import { ask, Connection, Refusal } from "./connection.js";
import { Comparison } from "./comparison.js";
import { NeedlePanel } from "./needle_panel.js";
import { covered, element, sentences, shown, table, number } from "./tables.js";

const place = (id) => document.getElementById(id);
// `held`: by needle and end, where a handle was last moved to in the scene, until that was answered.
const page = { viewer: null, held: new Map(), zonesOf: -1, askedPaintOf: -1, paintedOf: -1, gestures: 0 };
/** Told to tests and to whoever looks on from the console. */
window.needleplanPage = page;

const connection = new Connection({
  heard: (state) => show(state),
  refused: (sentence) => { place("error").textContent = sentence; },
  lost: (sentence) => {
    place("lost").hidden = !sentence;
    place("lost").textContent = sentence;
  },
});
page.connection = connection;
// Parts of a gesture are one step; no two pages name theirs alike.
const tab = crypto.getRandomValues(new Uint32Array(2)).join("-");
const panel = new NeedlePanel({ root: place("needle"), choices: place("choices"), columns: place("columns"), tab },
  (address, content, settled) => connection.edit(address, content, settled));
const comparison = new Comparison(page);

/** A handle was moved in the scene: it stays there until the server answers where the hand let go, as the next step
 * of a key starts from it. */
function moved(order, end, point, done) {
  const key = `${order} ${end}`;
  let gesture = page.held.get(key);
  if (!gesture || gesture.done) {
    page.gestures += 1;
    gesture = { name: `${tab} ${page.gestures}` };
    page.held.set(key, gesture);
  }
  Object.assign(gesture, { point, done });
  panel.choose(order);
  connection.edit("move", { order, end, point_mm: point, gesture: gesture.name, done }, () => {
    // Else the hand holds the handle still, or a later gesture has it.
    if (!done || page.held.get(key) !== gesture) return;
    page.held.delete(key);
    showNeedles(connection.state);
  });
}

function show(state) {
  panel.show(state);
  showNeedles(state);
  place("undo").disabled = !state.can_undo;
  place("redo").disabled = !state.can_redo;
  place("reset").disabled = !state.needles.some((one) => one.moved || one.locked.entry || one.locked.tip);
  place("saves").textContent = `Saved plans go into ${state.saves}; the plan that was opened is never changed.`;
  const broken = state.needles.filter((one) => !one.feasible).map((one) => one.order);
  place("said").textContent = broken.length
    ? `Not feasible: a hard demand is broken by needle ${broken.join(", ")}.` : !state.needles.length ? ""
      : state.judged.fresh && state.judged.status === "infeasible"
        ? "Not feasible: each path alone keeps its hard demands, but not the plan; why is told under “What the plan achieves”."
        : "Every hard demand on the paths is kept.";
  showFigures(state.judged);
  paint(state.judged);
  showPaintAge(state);
  comparison.show(state);
}

/** Puts needles and zones where they are now; an end that was moved in the scene stays there until it is answered. */
function showNeedles(state) {
  if (!page.viewer || !state) return;
  for (const one of state.needles) {
    const ends = { entry: one.entry_mm, tip: one.tip_mm };
    for (const end of Object.keys(ends)) ends[end] = page.held.get(`${one.order} ${end}`)?.point ?? ends[end];
    page.viewer.setNeedle(one.order, ends.entry, ends.tip, { feasible: one.feasible, locked: one.locked });
  }
  if (page.zonesOf !== state.version) {
    page.zonesOf = state.version;
    page.viewer.setBodies(state.zones);
  }
}

function showFigures(judged) {
  const { metrics } = judged;
  const rows = metrics ? [
    ["target covered", number(covered(metrics.target_coverage_fraction))],
    [`with ${shown(metrics.margin_mm, "mm", 0)} margin`, number(covered(metrics.margin_coverage_fraction))],
    ["least margin", number(`${shown(metrics.minimal_margin_mm)} ± ${shown(metrics.margin_error_bound_mm, "mm")}`)],
    ["healthy tissue", number(shown(metrics.over_ablation_ml, "ml"))],
    ["zones", number(shown(metrics.zone_ml, "ml"))],
  ] : [];
  const words = { complete: "complete: target and margin are proven covered", partial: "partial: hard demands are kept, but not all that was demanded is shown",
    infeasible: judged.broken.length ? "infeasible: hard demands are broken" : "infeasible" };
  place("figures").replaceChildren(
    // Of earlier needles no status is told: it would look like that of these.
    ...(judged.status && judged.fresh ? [element("p", { class: `verdict ${judged.status === "complete" && !judged.broken.length ? "good" : "bad"}`, id: "status" }, `Status ${words[judged.status]}`)] : []),
    ...(judged.fresh ? [] : [element("p", { class: "waiting", id: "computing" }, "Being computed for where the needles are now; below, pale, are the figures of before.")]),
    ...(judged.failure ? [element("p", { class: "broken" }, judged.failure)] : []),
    element("div", { class: judged.fresh ? false : "stale" },
      ...(rows.length ? [table("By the zone model", ["figure", number("value")], rows)] : []),
      ...(judged.fresh ? [...sentences(judged.broken, "broken"), ...sentences(judged.warnings)] : [])));
}

/** Paints the target by the margin that was computed last, and draws its map. */
async function paint(judged) {
  if (page.askedPaintOf === judged.version || judged.version < 0) return;
  page.askedPaintOf = judged.version;
  try {
    const painted = await (await ask("margin")).json();
    // Of a newer one the answer was here before.
    if (painted.version < page.paintedOf) return;
    page.paintedOf = painted.version;
    if (painted.target && page.viewer) await page.viewer.setBodies([painted.target]);
    if (painted.version < page.paintedOf) return;
    place("painted").replaceChildren();
    if (painted.margin) {
      const { drawMargin } = await import("./viewer/margin.js");
      const section = element("div", { class: "np-margins" });
      await drawMargin(section, painted.margin);
      if (painted.version < page.paintedOf) return;
      place("painted").replaceChildren(element("div", { class: "np-viewer" }, section));
    }
  } catch (error) {
    place("painted").replaceChildren(element("p", { class: "note" }, `The margin cannot be drawn: ${error.message}`));
  }
  showPaintAge(connection.state);
}

/** Says of a margin that is of earlier needles that it is. */
function showPaintAge(state) {
  const old = page.paintedOf !== state.version && Boolean(place("painted").querySelector("figure"));
  place("repainting").hidden = !old;
  place("painted").classList.toggle("stale", old);
}

/** What was kept or refused is said beside the buttons. */
async function keep(work) {
  place("kept").textContent = "Working …";
  place("kept").className = "";
  try {
    place("kept").textContent = await work();
  } catch (error) {
    place("kept").textContent = error instanceof Refusal ? error.message : "The server did not answer.";
    place("kept").className = "broken";
  }
}

function listen() {
  place("undo").addEventListener("click", () => connection.edit("undo", {}));
  place("redo").addEventListener("click", () => connection.edit("redo", {}));
  place("reset").addEventListener("click", () => connection.edit("reset", { order: null }));
  place("save").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = place("name").value;
    keep(async () => (await (await ask("save", { version: await connection.settledVersion(), name })).json()).said);
  });
  // The browser refuses such a name by itself, and nothing is submitted: the answer of before is not of this name.
  place("name").addEventListener("invalid", () => {
    place("kept").textContent = "Not saved: a name has 1 to 60 letters (A to Z, no accents), digits, - and _, a letter or digit first.";
    place("kept").className = "broken";
  });
  place("export").addEventListener("click", () => keep(async () => {
    const answer = await ask("export", { version: await connection.settledVersion() });
    const address = URL.createObjectURL(await answer.blob());
    element("a", { href: address, download: "for-slicer.zip" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    return "Exported: for-slicer.zip is in the browser's downloads.";
  }));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.('input:not([type="checkbox"], [type="range"]), textarea, select');
    if (!(event.ctrlKey || event.metaKey) || typing) return;
    const forth = event.key.toLowerCase() === "y" || (event.shiftKey && event.key.toLowerCase() === "z");
    const back = !event.shiftKey && event.key.toLowerCase() === "z";
    if (!forth && !back) return;
    event.preventDefault();
    if (forth ? connection.state?.can_redo : connection.state?.can_undo) connection.edit(forth ? "redo" : "undo", {});
  });
}

async function mount() {
  const scene = await (await ask("scene")).json();
  document.title = `needleplan: ${scene.title}`;
  place("title").textContent = scene.title;
  const { mountScene } = await import("./viewer/viewer.js");
  place("waiting").remove();
  page.viewer = mountScene(place("viewer"), scene, { editable: true, onMove: moved });
  await page.viewer.ready;
  page.zonesOf = -1;
  showNeedles(connection.state);
}

listen();
try {
  await connection.start();
} catch (error) {
  place("error").textContent = `The page cannot be filled: ${error.message}`;
}
try {
  await mount();
} catch (error) {
  place("viewer").replaceChildren(element("p", { role: "alert" },
    `The scene cannot be shown in this browser; the numbers of the page are complete. (${error.message})`));
}
page.ready = true;
