// The picture of the slots: a square for each, in the colour and mark of its owner.

import { byId, el, setText } from "./dom.js";
import { count, many, rangesOf } from "./format.js";
import { drawHost, hueOf, swatch } from "./palette.js";

const HEIGHT_WANTED = 345;
const CELL_MIN = 3;
const CELL_MAX = 26;
/** From so many owners on, the legend is small. */
const LEGEND_MANY = 12;
/** Ranges that the table names for an owner. */
const RANGES_SHOWN = 8;
const DIM = 0.22;

const canvas = byId("slots");
const tip = byId("slots-tip");

/** What is shown: owners by slot, and marks by slot. */
const shown = { owners: [], recovering: new Set(), going: new Set(), changed: new Set(), note: "" };
let pinned = null;
let pointed = null;
let cursor = null;
let layout = { cell: CELL_MAX, columns: 1 };
let drawnAs = "";

const slotsIn = (text) => {
  const slots = new Set();
  for (const [first, last] of rangesOf(text)) for (let slot = first; slot <= last; slot += 1) slots.add(slot);
  return slots;
};

/** The owner of each slot, by an epoch and the name of a domain. */
function ownersOf(epoch, domain) {
  const owners = [];
  for (const [place, length] of domain.owners) {
    const name = place === null ? null : epoch.hosts[place].name;
    for (let slot = 0; slot < length; slot += 1) owners.push(name);
  }
  return owners;
}

/** Shows an epoch. With a status, it is the newest, and what is recovered and handed over is marked. */
export function showSlots(epoch, domainName, status) {
  const domain = epoch.domains.find(({ name }) => name === domainName) ?? epoch.domains[0];
  const isHome = domain === epoch.domains[0];
  const told = isHome && status ? status.hosts.filter((host) => host.measures) : [];
  const union = (name) => slotsIn(told.map((host) => host.measures[name]).join(" "));
  const moved = (epoch.moved ?? []).filter((move) => move.domain === domain.name);
  shown.owners = ownersOf(epoch, domain);
  shown.recovering = union("recovering");
  shown.going = union("going");
  shown.changed = status ? new Set() : slotsIn(moved.map((move) => move.slots).join(" "));
  const marks = [
    [shown.recovering.size, "recovering"],
    [shown.going.size, "handing over"],
    [shown.changed.size, "moved"],
  ].filter(([number]) => number > 0);
  const sources = [...slotsIn(domain.with_sources)].length;
  if (sources > 0) marks.push([sources, "still need an earlier owner’s records"]);
  const of = status ? "" : `in epoch ${count(epoch.epoch)}: `;
  shown.note = `${of}${many(shown.owners.length, "slot")}${marks.map(([number, text]) => `, ${count(number)} ${text}`).join("")}`;
  draw();
}

function highlighted() {
  return pointed ?? pinned;
}

/** Draws if anything differs from what is drawn. */
export function draw(force) {
  const { owners, recovering, going, changed, note } = shown;
  const width = canvas.clientWidth;
  const look = getComputedStyle(document.documentElement);
  const colour = (name) => look.getPropertyValue(name).trim();
  const key = [width, note, highlighted(), cursor, colour("--panel"), owners.join(), [...recovering], [...changed], [...going]].join("|");
  if (width === 0 || owners.length === 0 || (key === drawnAs && force !== true)) return;
  drawnAs = key;
  const wanted = Math.floor(Math.sqrt((width * HEIGHT_WANTED) / owners.length));
  const cell = Math.max(CELL_MIN, Math.min(CELL_MAX, wanted));
  const columns = Math.max(1, Math.floor(width / cell));
  layout = { cell, columns };
  const height = Math.ceil(owners.length / columns) * cell;
  const sharp = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  const size = cell - (cell > CELL_MIN ? 1 : 0);
  owners.forEach((name, slot) => {
    const [x, y] = [(slot % columns) * cell, Math.floor(slot / columns) * cell];
    const dim = (highlighted() !== null && name !== highlighted()) || (changed.size > 0 && !changed.has(slot));
    context.globalAlpha = dim ? DIM : 1;
    drawSlot(context, { name, slot, x, y, size }, colour);
  });
  context.globalAlpha = 1;
  describe();
}

function drawSlot(context, { name, slot, x, y, size }, colour) {
  if (name === null) {
    context.fillStyle = colour("--empty");
    context.fillRect(x, y, size, size);
  } else if (shown.recovering.has(slot)) {
    const edge = Math.max(1, size * 0.25);
    context.fillStyle = hueOf(name);
    context.fillRect(x, y, size, size);
    context.fillStyle = colour("--panel");
    context.fillRect(x + edge, y + edge, size - 2 * edge, size - 2 * edge);
  } else if (shown.going.has(slot)) {
    context.fillStyle = colour("--empty");
    context.fillRect(x, y, size, size);
    context.fillStyle = hueOf(name);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + size, y);
    context.lineTo(x, y + size);
    context.fill();
  } else {
    drawHost(context, name, x, y, size);
  }
  if (slot === cursor) {
    context.strokeStyle = colour("--ring");
    context.lineWidth = 2;
    context.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
  }
}

/** The same in words, and the legend. */
function describe() {
  const slots = new Map();
  shown.owners.forEach((name, slot) => slots.set(name, [...(slots.get(name) ?? []), slot]));
  const names = [...slots.keys()].sort((one, other) => (one ?? "~").localeCompare(other ?? "~", "en", { numeric: true }));
  const titles = names.map((name) => [name, name ?? "no owner", slots.get(name)]);
  canvas.setAttribute("aria-label", `Slots by owner: ${titles.map(([, title, own]) => `${title} ${count(own.length)}`).join(", ")}`);
  setText(byId("slots-note"), shown.note);
  byId("slots-table").replaceChildren(
    ...titles.map(([, title, own]) => el("tr", {}, el("th", { scope: "row" }, title), el("td", {}, count(own.length)), el("td", {}, rangesText(own)))),
  );
  showLegend(titles);
}

function rangesText(slots) {
  const ranges = [];
  for (const slot of slots) {
    const last = ranges.at(-1);
    if (last && last[1] + 1 === slot) last[1] = slot;
    else ranges.push([slot, slot]);
  }
  const words = ranges.slice(0, RANGES_SHOWN).map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
  const more = ranges.length - words.length;
  return words.join(", ") + (more > 0 ? ` and ${many(more, "other range")}` : "");
}

function showLegend(titles) {
  const legend = byId("legend");
  const owned = titles.filter(([name]) => name !== null);
  const key = owned.map(([name, , own]) => `${name}=${own.length}`).join();
  if (legend.dataset.key === key) return;
  legend.dataset.key = key;
  legend.classList.toggle("many", owned.length > LEGEND_MANY);
  const focused = document.activeElement?.dataset?.owner;
  legend.replaceChildren(...owned.map(([name, , own]) => el("li", {}, legendButton(name, own.length))));
  [...legend.querySelectorAll("button")].find((button) => button.dataset.owner === focused)?.focus();
}

function legendButton(name, slots) {
  const button = el("button", { type: "button", "aria-pressed": String(pinned === name), title: `show the slots of ${name} alone` });
  button.dataset.owner = name;
  button.append(swatch(name), `${name} `, el("span", { class: "muted num" }, count(slots)));
  const point = (to) => () => {
    pointed = to;
    draw();
  };
  button.addEventListener("mouseenter", point(name));
  button.addEventListener("focus", point(name));
  button.addEventListener("mouseleave", point(null));
  button.addEventListener("blur", point(null));
  button.addEventListener("click", () => {
    pinned = pinned === name ? null : name;
    for (const other of byId("legend").querySelectorAll("button")) other.setAttribute("aria-pressed", String(other.dataset.owner === pinned));
    draw();
  });
  return button;
}

/** Points at a slot, for example that of a vnode; null points at none. */
export function pointAt(slot) {
  cursor = slot;
  const text = textOf(slot);
  tip.hidden = text === null;
  if (text !== null) {
    setText(tip, text);
    const x = (slot % layout.columns) * layout.cell;
    const y = Math.floor(slot / layout.columns) * layout.cell + layout.cell + 4;
    tip.style.left = `${Math.max(0, Math.min(x, canvas.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${y}px`;
  }
  draw();
}

function textOf(slot) {
  if (slot === null || !(slot in shown.owners)) return null;
  const marks = [
    [shown.recovering, ", recovering"],
    [shown.going, ", handing over"],
    [shown.changed, ", moved"],
  ];
  const marked = marks.filter(([slots]) => slots.has(slot)).map(([, text]) => text);
  return `slot ${slot}: ${shown.owners[slot] ?? "no owner"}${marked.join("")}`;
}

canvas.addEventListener("mousemove", (event) => {
  const column = Math.floor(event.offsetX / layout.cell);
  const slot = Math.floor(event.offsetY / layout.cell) * layout.columns + column;
  pointAt(column < layout.columns && slot < shown.owners.length ? slot : null);
});
canvas.addEventListener("mouseleave", () => pointAt(null));
canvas.addEventListener("blur", () => pointAt(null));
canvas.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -layout.columns, ArrowDown: layout.columns };
  const step = steps[event.key];
  if (step === undefined) return;
  event.preventDefault();
  pointAt(Math.max(0, Math.min(shown.owners.length - 1, (cursor ?? -step) + step)));
});
new ResizeObserver(() => draw()).observe(canvas);
