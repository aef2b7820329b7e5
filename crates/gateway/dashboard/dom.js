// Making elements. Whatever comes from the cluster becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id. */
export const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** An HTML element. Children are elements or texts. */
export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Sets a text only if it differs, so that nothing is selected away or announced twice. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const WIDTH = 100;
const HEIGHT = 24;

/** Draws values, oldest first, into an SVG element; a missing value is a gap at 0. */
export function drawSpark(node, values, slots) {
  const top = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const step = WIDTH / Math.max(slots - 1, 1);
  const first = slots - values.length;
  const points = values.map((value, at) => {
    const x = (first + at) * step;
    return `${x.toFixed(2)},${(HEIGHT - ((value ?? 0) / top) * (HEIGHT - 2)).toFixed(2)}`;
  });
  const [area, line] = node.children;
  if (points.length < 2) {
    area.setAttribute("points", "");
    line.setAttribute("points", "");
    return;
  }
  line.setAttribute("points", points.join(" "));
  const left = (first * step).toFixed(2);
  area.setAttribute("points", `${left},${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`);
}

/** An empty sparkline. */
export function spark() {
  return svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("polygon", {}),
    svg("polyline", {}),
  );
}
