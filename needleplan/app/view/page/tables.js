// Elements of the page. Every text is set as text: names of structures and cases are never read as HTML.

/** An element with attributes and children; a text child stays text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** A number as text: one more digit where it would look like zero, a dash where there is none. */
export function shown(value, unit = "", digits = 1) {
  if (value === null || value === undefined) return "–";
  const small = value !== 0 && Math.abs(value) < 0.5 * 10 ** -digits;
  const text = value.toFixed(small ? digits + 1 : digits).replace(/^-(0(\.0+)?)$/, "$1").replace("-", "−");
  return unit ? `${text} ${unit}` : text;
}

// Nearer to a whole tenth of a percent, a share is taken for it.
const ROUNDING = 1e-12;

/** A covered share in percent, rounded down as in the report: it says 100 only where nothing is missing. */
export function covered(share) {
  if (share <= ROUNDING) return "0 %";
  if (share >= 1 - ROUNDING) return "100 %";
  const tenths = Math.floor(1000 * (share + ROUNDING));
  return tenths < 1 ? "under 0.1 %" : `${(tenths / 10).toFixed(1)} %`;
}

/** A table with a caption; cells are texts or {text, kind}. */
export function table(caption, heads, rows) {
  const cell = (name, content) => {
    const { text, kind } = typeof content === "string" ? { text: content, kind: "" } : content;
    return element(name, { class: kind || false, ...(name === "th" ? { scope: "col" } : {}) }, text);
  };
  return element("div", { class: "scroll" }, element("table", {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((head) => cell("th", head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((content) => cell("td", content)))))));
}

/** A number in a table. */
export function number(text) {
  return { text, kind: "number" };
}

/** Sentences as a list; nothing where there is none. */
export function sentences(texts, kind = "") {
  if (!texts.length) return [];
  return [element("ul", { class: `sentences ${kind}` }, ...texts.map((text) => element("li", {}, text)))];
}

/** The constraints of a needle. */
export function constraintsTable(needle) {
  return table("Demands", ["demand", number("is"), number("limit"), "kept"], needle.constraints.map((one) => {
    const unit = one.unit === "deg" ? "°" : one.unit;
    const state = one.passed ? { text: "kept", kind: "passed" }
      : { text: one.hard ? "BROKEN" : "costs only", kind: one.hard ? "broken" : "" };
    const sign = one.at_least ? "≥" : "≤";
    return [{ text: one.name.replaceAll("_", " "), kind: "name" },
      number(`${one.capped ? "≥ " : ""}${shown(one.value, unit)}`), number(`${sign} ${shown(one.limit, unit)}`), state];
  }));
}

/** The objectives of a needle. */
export function objectivesTable(needle) {
  return table(`Cost ${needle.cost === null ? "– (a hard demand is broken)" : shown(needle.cost, "", 3)}`,
    ["objective", number("is"), number("cost"), number("weight")], needle.objectives.map((one) => [
      { text: one.name, kind: "name" }, number(shown(one.value, one.unit === "deg" ? "°" : one.unit)),
      number(shown(one.cost, "", 3)), number(shown(one.weight, "", 1))]));
}

/** Rows of two plans and their difference; a capped value is at least that, so a difference to it is a bound. */
export function comparedTable(caption, first, second, rows) {
  return table(caption, ["", number(first), number(second), number("difference")], rows.map((row) => {
    const digits = row.unit ? 1 : 0;
    const [firstCapped, secondCapped] = row.capped;
    const told = (value, capped) => {
      if (row.unit === "%" && value !== null) return number(covered(value / 100));
      return number(`${capped ? "≥ " : ""}${shown(value, row.unit, digits)}`);
    };
    const bound = secondCapped ? "≥ " : firstCapped ? "≤ " : "";
    const more = row.difference > 0 ? "+" : "";
    return [{ text: row.name.replaceAll("_", " "), kind: "name" }, told(row.first, firstCapped), told(row.second, secondCapped),
      number(row.difference === null ? "–" : bound + more + shown(row.difference, row.unit, digits))];
  }));
}
