// Colours and marks of hosts: 8 hues that people with any colour vision tell apart, times 7 marks: 56 hosts. A host keeps its
// colour while the page is open.

const HUES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7bd1", "#b8a800"];
const ON_LIGHT = "rgba(0, 0, 0, .72)";
const ON_DARK = "rgba(255, 255, 255, .88)";
const MARK_ON = [ON_DARK, ON_LIGHT, ON_DARK, ON_LIGHT, ON_LIGHT, ON_DARK, ON_DARK, ON_LIGHT];
const MARKS = 7;

const places = new Map();

/** The number of a host, from 0. */
export function placeOf(name) {
  if (!places.has(name)) places.set(name, places.size);
  return places.get(name);
}

export const hueOf = (name) => HUES[placeOf(name) % HUES.length];

/** Draws the mark of a host into a square of a canvas. The first 8 hosts have none. */
function drawMark(context, place, x, y, size) {
  const mark = Math.floor(place / HUES.length) % MARKS;
  if (mark === 0) return;
  const middle = size / 2;
  const inset = size * 0.2;
  context.strokeStyle = context.fillStyle = MARK_ON[place % HUES.length];
  context.lineWidth = Math.max(1, size / 6);
  const line = (fromX, fromY, toX, toY) => {
    context.moveTo(x + fromX, y + fromY);
    context.lineTo(x + toX, y + toY);
  };
  context.beginPath();
  if (mark === 1) line(inset, size - inset, size - inset, inset);
  if (mark === 2) context.arc(x + middle, y + middle, size * 0.2, 0, 7);
  if (mark === 3) line(inset, middle, size - inset, middle);
  if (mark === 4) line(middle, inset, middle, size - inset);
  if (mark === 5) line(inset, inset, size - inset, size - inset);
  if (mark === 6) {
    line(inset, middle, size - inset, middle);
    line(middle, inset, middle, size - inset);
  }
  if (mark === 2) context.fill();
  else context.stroke();
}

/** Draws a square in the colour of a host, with its mark. */
export function drawHost(context, name, x, y, size) {
  context.fillStyle = hueOf(name);
  context.fillRect(x, y, size, size);
  drawMark(context, placeOf(name), x, y, size);
}

const SWATCH = 15;

/** A small picture of a host's colour and mark. */
export function swatch(name) {
  const canvas = document.createElement("canvas");
  canvas.className = "swatch";
  canvas.setAttribute("aria-hidden", "true");
  canvas.width = canvas.height = SWATCH * 2;
  drawHost(canvas.getContext("2d"), name, 0, 0, SWATCH * 2);
  return canvas;
}
