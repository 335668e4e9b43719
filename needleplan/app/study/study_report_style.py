"""Style and script of the study's page: the table of rows is sorted and filtered where scripts run."""

from needleplan.app.report_template import STYLE

STUDY_STYLE = (
    STYLE
    + """
main { max-width: 78rem; }
.failed { color: #3d4652; background: #eceff2; }
.status { font-weight: 600; padding: 0 .45rem; border-radius: 4px; border: 1px solid; white-space: nowrap; }
figure svg { display: block; width: 100%; max-width: 62rem; height: auto; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .84rem/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; border-radius: 6px; }
.rows { max-height: 75vh; overflow: auto; border: 1px solid var(--line); }
/* A fixed layout, because a browser takes seconds to balance the columns of thousands of rows. */
.rows table { font-size: .84rem; table-layout: fixed; width: 112rem; } .rows thead th { width: 6.4rem; }
.rows thead th:nth-child(1) { width: 10rem; } .rows thead th:nth-child(2) { width: 14rem; }
.rows thead th:nth-child(3) { width: 6.5rem; } .rows thead th:last-child { width: 18rem; }
.rows thead th { position: sticky; top: 0; z-index: 1; }
.rows th, .rows td { padding: .25rem .5rem; }
.rows td, .rows tbody th { overflow-wrap: anywhere; }
.sort { all: unset; cursor: pointer; font-weight: 600; } .sort::after { content: " ↕" / ""; color: var(--grey); }
th[aria-sort="ascending"] .sort::after { content: " ↑" / ""; color: inherit; }
th[aria-sort="descending"] .sort::after { content: " ↓" / ""; color: inherit; }
.controls { display: flex; flex-wrap: wrap; gap: .8rem; align-items: end; margin: .6rem 0; }
.controls[hidden] { display: none; }
.controls label { display: grid; font-size: .86rem; color: var(--grey); }
.controls input, .controls select { font: inherit; color: var(--ink); padding: .3rem .5rem; max-width: 22rem;
  border: 1px solid var(--grey); border-radius: 4px; background: #fff; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
@page rows { size: A4 landscape; margin: 12mm; }
@media print { .controls { display: none; } .rows { max-height: none; overflow: visible; border: 0; }
  .rows table { font-size: 6.5pt; } .rows th, .rows td { padding: .1rem .2rem; }
  /* Chromium leaves buttons out of headings that it repeats. */
  .rows thead th { position: static; } .sort { display: contents; } .sort::after { content: ""; }
  section:has(.rows) { page: rows; } .rows table { table-layout: auto; width: 100%; }
  .rows thead th:nth-child(n) { width: auto; }
  .rows td, .rows tbody th, .rows thead th { overflow-wrap: break-word; word-break: normal; }
  .rows td.reason { overflow-wrap: anywhere; min-width: 40mm; }
  details > *:not(summary) { display: block; }
  /* What is closed on the screen is told on paper. */
  details::details-content { display: block; content-visibility: visible; block-size: auto; overflow: visible; }
  figure svg { max-height: 235mm; } }
"""
)

ROWS_SCRIPT = """
(() => {
  "use strict";
  const table = document.getElementById("rows");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((element) => ({
    element,
    text: element.textContent.toLowerCase(),
    cells: [...element.cells].map((cell) => cell.textContent.trim()),
  }));
  const controls = document.getElementById("controls");
  const words = document.getElementById("filter-text");
  const status = document.getElementById("filter-status");
  const cell = document.getElementById("filter-cell");
  const shown = document.getElementById("shown");
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const fits = wanted.every((word) => row.text.includes(word))
        && (!status.value || row.cells[2] === status.value)
        && (!cell.value || row.cells[1] === cell.value);
      row.element.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} rows shown`;
  };
  const numbers = (column) => rows.every((row) => /^(–|[-+]?[0-9.]+)$/.test(row.cells[column]));
  const sort = (column, header) => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    const numeric = numbers(column);
    const order = new Intl.Collator(undefined, { numeric: true });
    const value = (text) => (numeric ? Number(text) : text);
    const key = (row) => (row.cells[column] === "–" ? null : value(row.cells[column]));
    rows.sort((a, b) => {
      const one = key(a), two = key(b);
      if (one === null || two === null) return (one === null) - (two === null);
      const difference = numeric ? one - two : order.compare(one, two);
      return up ? difference : -difference;
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows.map((row) => row.element));
  };
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(column, header));
    header.replaceChildren(button);
  });
  for (const control of [words, status, cell]) control.addEventListener("input", filter);
  controls.hidden = false;
  filter();
})();
"""
