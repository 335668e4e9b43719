// Elements built without any HTML text, so that a name from a stranger's file stays a name.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "colour") made.style.setProperty("--colour", value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** An HTML element; `on…` attributes are listeners, children are elements or texts. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, in the same way. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A stranger's text, its direction of writing kept to itself. */
export function foreign(text) {
  return element("bdi", {}, String(text));
}

/** A button that shows `text` and is read out as `label`. */
export function button(text, label, onclick, attributes = {}) {
  const named = label === text ? {} : { "aria-label": label };
  return element("button", { type: "button", ...named, ...attributes, onclick }, text);
}

let count = 0;

/** An id that no other element of the page has. */
export function newId(stem) {
  count += 1;
  return `needleplan-${stem}-${count}`;
}

/** True where the reader asked the system for less motion. */
export function prefersLessMotion() {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}
