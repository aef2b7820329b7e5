// The time line of epochs: one can go back through them, and see the reason and the changes of each.

import { get } from "./api.js";
import { byId, el, setText, svg } from "./dom.js";
import { count, dateTime, lasting, many, timeOf } from "./format.js";

const PAGE = 100;
/** Epochs that are kept in memory. */
const KNOWN_MAX = 2_000;
const CHANGES_SHOWN = 8;
const PITCH_MIN = 24;
const PITCH_MAX = 92;
const LABEL_WIDTH = 74;
const MARGIN = 34;
const LINE_Y = 30;
const JUMP = 10;

const line = byId("timeline");
const known = new Map();
let oldest = 1;
let newest = 0;
let chosen = null;
/** The time by the gateway's clock. */
let time = 0;
let lastShown = 0;
let onChoose = () => {};

/** What kind of epoch it is, for its colour and shape. */
function classOf(info) {
  const has = (...names) => names.some((name) => info.kinds?.includes(name));
  if (has("taken_over")) return "takeover";
  if (has("handed_over")) return "handoff";
  if (has("host_joined", "host_gone", "host_session", "host_state", "host_weight", "host_zone", "leads")) return "member";
  return "other";
}

/** What is known of an epoch. */
export const infoOf = (epoch) => known.get(epoch);

/** Calls back with the number of an epoch when another one is chosen, or with null for the newest. */
export function whenChosen(callback) {
  onChoose = callback;
}

async function load(query) {
  const page = await get(`/v1/epochs?limit=${PAGE}${query}`);
  for (const epoch of page.epochs) known.set(epoch.epoch, epoch);
  oldest = page.oldest;
  newest = Math.max(newest, page.newest);
  // In the order in which they were read.
  for (const epoch of known.keys()) {
    if (known.size <= KNOWN_MAX) break;
    known.delete(epoch);
  }
}

/** Reads what is new. Throws if there is no answer. */
export async function follow(epoch, now) {
  time = now;
  if (epoch > newest || known.size === 0) {
    await load(newest === 0 || epoch > newest + PAGE ? "" : `&after=${newest}`);
    if (chosen === null) lastShown = newest;
    drawLine();
    showEpoch();
  }
  setText(byId("epochs-note"), `${count(oldest)} to ${count(newest)} kept`);
  const info = known.get(chosen ?? newest);
  const ago = byId("epoch-ago");
  if (info?.readable && ago) setText(ago, agoText(info));
}

const agoText = (info) => `${lasting(Math.max(0, time - info.wall_ms))} ago`;

/** Notes the next epoch, which was read alone: its reason is wanted before the page of the log is there.
 * Returns whether it is news. */
export function noteNext(info) {
  if (known.size === 0 || info.epoch !== newest + 1) return false;
  known.set(info.epoch, info);
  newest = info.epoch;
  drawLine();
  if (chosen === null) showEpoch();
  return true;
}

/** Reads the epochs around one, if it is not known. */
async function reach(epoch) {
  if (!known.has(epoch)) await load(`&before=${Math.min(epoch + PAGE / 2, newest + 1)}`);
}

/** Chooses an epoch; null for the newest, live. */
export async function choose(epoch) {
  const wanted = epoch === null || epoch >= newest ? null : Math.max(oldest, epoch);
  if (wanted === chosen) return;
  chosen = wanted;
  try {
    await reach(wanted ?? newest);
  } catch {
    // The main loop says that there is no connection.
  }
  if (chosen !== wanted) return;
  drawLine();
  showEpoch();
  onChoose(chosen);
}

function place() {
  const width = Math.max(line.clientWidth, 200);
  const fitting = Math.max(3, Math.floor((width - 2 * MARGIN) / PITCH_MIN));
  const at = chosen ?? newest;
  if (chosen === null || at > lastShown) lastShown = at;
  if (at <= lastShown - fitting) lastShown = at + fitting - 1;
  lastShown = Math.min(lastShown, newest);
  const first = Math.max(oldest, lastShown - fitting + 1);
  const steps = Math.max(1, lastShown - first);
  const pitch = Math.min(PITCH_MAX, (width - 2 * MARGIN) / steps);
  return { width, first, pitch, x: (epoch) => MARGIN + (epoch - first) * pitch };
}

function drawLine() {
  if (newest === 0) return;
  const { width, first, pitch, x } = place();
  const every = Math.max(1, Math.ceil(LABEL_WIDTH / pitch));
  const at = chosen ?? newest;
  const picture = svg("svg", { viewBox: `0 0 ${width} 64`, "aria-hidden": "true" });
  const from = first > oldest ? 0 : x(first);
  const to = lastShown < newest ? width : x(lastShown);
  picture.append(svg("line", { class: "axis", x1: from, x2: to, y1: LINE_Y, y2: LINE_Y }));
  for (let epoch = first; epoch <= lastShown; epoch += 1) {
    const info = known.get(epoch);
    const kind = info?.readable ? classOf(info) : "other";
    picture.append(marker(kind, x(epoch), epoch === at));
    const nearChosen = epoch !== at && Math.abs(epoch - at) * pitch < LABEL_WIDTH;
    if (info?.readable && !nearChosen && (epoch === at || (lastShown - epoch) % every === 0)) {
      const label = svg("text", { x: x(epoch), y: 60, "text-anchor": "middle", class: epoch === at ? "chosen-text" : null }, timeOf(info.wall_ms));
      picture.append(label);
    }
    if (epoch === at) {
      picture.append(svg("text", { x: x(epoch), y: 11, "text-anchor": "middle", class: "chosen-text" }, count(epoch)));
    }
  }
  line.replaceChildren(picture);
  line.setAttribute("aria-valuemin", String(oldest));
  line.setAttribute("aria-valuemax", String(newest));
  line.setAttribute("aria-valuenow", String(at));
  const info = known.get(at);
  line.setAttribute("aria-valuetext", info?.readable ? `epoch ${at}, ${dateTime(info.wall_ms)}: ${info.reason}` : `epoch ${at}`);
  byId("live").hidden = chosen === null;
}

function marker(kind, x, isChosen) {
  const group = svg("g", { class: kind });
  const size = isChosen ? 8.5 : 5.5;
  if (isChosen) group.append(svg("line", { class: "chosen-line", x1: x, x2: x, y1: 15, y2: 47 }));
  if (kind === "takeover") {
    group.append(svg("path", { d: `M${x} ${LINE_Y - size - 1}l${size + 1} ${size + 1}l${-size - 1} ${size + 1}l${-size - 1} ${-size - 1}z` }));
  } else if (kind === "handoff") {
    group.append(svg("rect", { x: x - size, y: LINE_Y - size, width: 2 * size, height: 2 * size, rx: 1 }));
  } else {
    group.append(svg("circle", { cx: x, cy: LINE_Y, r: kind === "other" ? size * 0.7 : size }));
  }
  return group;
}

function showEpoch() {
  const at = chosen ?? newest;
  const info = known.get(at);
  if (info === undefined) return;
  const title = el("h3", {}, `Epoch ${count(at)}`, chosen === null ? ", the newest" : "");
  if (!info.readable) {
    byId("epoch").replaceChildren(title, el("p", { class: "bad" }, "Its record can’t be read: holocron scrub says why."));
    return;
  }
  const about = el("p", { class: "note" }, `${dateTime(info.wall_ms)}, `, el("span", { id: "epoch-ago" }, agoText(info)), ` · written by ${info.leader}`);
  byId("epoch").replaceChildren(title, about, el("p", { class: "reason" }, info.reason), ...changesOf(info));
}

/** The changes of an epoch: the first, and a button that shows the others. */
function changesOf({ changes, changes_left_out: leftOut = 0 }) {
  const items = changes.map((change, at) => el("li", { hidden: at >= CHANGES_SHOWN }, change));
  if (items.length <= CHANGES_SHOWN) return [el("ul", {}, items)];
  const more = el("button", { type: "button", class: "link" }, `${many(items.length - CHANGES_SHOWN, "more change")}`);
  more.addEventListener("click", () => {
    for (const item of items) item.hidden = false;
    more.replaceWith(leftOut > 0 ? `and ${many(leftOut, "other")}: holocron history tells all` : "");
  });
  return [el("ul", {}, items), more];
}

line.addEventListener("keydown", (event) => {
  const at = chosen ?? newest;
  const steps = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageDown: at - JUMP, PageUp: at + JUMP, Home: oldest, End: null };
  if (!(event.key in steps)) return;
  event.preventDefault();
  choose(steps[event.key]);
});

const epochAt = (event) => {
  const { first, pitch } = place();
  const x = event.clientX - line.getBoundingClientRect().left;
  return Math.max(first, Math.min(lastShown, first + Math.round((x - MARGIN) / pitch)));
};
line.addEventListener("pointerdown", (event) => {
  line.setPointerCapture(event.pointerId);
  choose(epochAt(event));
});
line.addEventListener("pointermove", (event) => {
  if (line.hasPointerCapture(event.pointerId)) choose(epochAt(event));
});
byId("live").addEventListener("click", () => choose(null));
new ResizeObserver(drawLine).observe(line);
