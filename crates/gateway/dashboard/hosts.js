// The table of hosts. Rows and cells are kept, so that a selection and the place on the page stay.

import { byId, drawSpark, el, setText, spark } from "./dom.js";
import { bytes, compact, count, lasting, many, within } from "./format.js";
import { swatch } from "./palette.js";
import { KEPT, quantile } from "./rates.js";

const COLUMNS = [
  ["state", "State", "text"],
  ["slots", "Slots", "num"],
  ["commands", "Commands/s", "num"],
  ["queries", "Queries/s", "num"],
  ["calls", "Command p99", "num"],
  ["commits", "Commit p50", "num"],
  ["slow", "Commit p99", "num"],
  ["flight", "In flight", "num"],
  ["vnodes", "Vnodes in memory", "num"],
  ["memory", "Memory", "num"],
  ["up", "Up", "num"],
  ["address", "Address", "text"],
  ["version", "Version", "text"],
];

const table = byId("hosts");
const body = el("tbody");
const heads = COLUMNS.map(([, title, kind]) => el("th", { scope: "col", class: kind }, title));
table.append(
  el("caption", { class: "hidden" }, "Hosts of the cluster"),
  el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "text" }, "Host"), heads)),
  body,
);

const rows = new Map();

function newRow(name) {
  const badge = el("span", { class: "badge", hidden: true }, "leader");
  const head = el("th", { scope: "row", class: "text" }, el("span", { class: "name" }, swatch(name), name, badge));
  const cells = {};
  const parts = COLUMNS.map(([key, title, kind]) => {
    cells[key] = el("span", { class: key });
    const line = key === "commands" ? (cells.spark = spark()) : null;
    return el("td", { class: kind, "data-label": title }, el("span", {}, line, cells[key]));
  });
  const why = el("td", { class: "why bad", colspan: COLUMNS.length - 1, hidden: true });
  const node = el("tr", {}, head, parts, why);
  return { node, badge, cells, why, parts };
}

/** Shows the hosts of the newest status. */
export function showHosts(status, rates) {
  const names = status.hosts.map((host) => host.name);
  for (const [name, row] of rows) {
    if (!names.includes(name)) {
      row.node.remove();
      rows.delete(name);
    }
  }
  status.hosts.forEach((host, at) => {
    if (!rows.has(host.name)) rows.set(host.name, newRow(host.name));
    const row = rows.get(host.name);
    if (body.children[at] !== row.node) body.insertBefore(row.node, body.children[at] ?? null);
    showHost(row, host, rates.of(host.name));
  });
  const silent = status.hosts.filter((host) => !host.measures).length;
  setText(byId("hosts-note"), silent === 0 ? many(names.length, "host") : `${many(names.length, "host")}, ${silent} without an answer`);
}

function stateOf(host) {
  if (!host.measures) return ["no answer", "bad"];
  const { slots_waiting: waiting, slots_going: going } = host.measures.status;
  if (waiting > 0) return [`recovering ${many(waiting, "slot")}`, "warn"];
  if (going > 0) return [`handing over ${many(going, "slot")}`, "warn"];
  if (host.status === "draining") return ["draining", "warn"];
  return ["serving", "good"];
}

function showHost({ badge, cells, why, parts }, host, rates) {
  badge.hidden = !host.leads;
  const [state, tone] = stateOf(host);
  setText(cells.state, state);
  cells.state.className = tone;
  const { measures } = host;
  why.hidden = Boolean(measures);
  parts.slice(1).forEach((part) => (part.hidden = !measures));
  if (!measures) return setText(why, `owns ${many(host.slots, "slot")}; ${host.error ?? ""}`);
  const { status } = measures;
  const commits = rates.recent("commits");
  const zone = host.zone ? ` in ${host.zone}` : "";
  const texts = {
    slots: count(host.slots),
    commands: compact(rates.now?.commands),
    queries: compact(rates.now?.queries),
    calls: within(quantile(rates.recent("calls"), 0.99)),
    commits: within(quantile(commits, 0.5)),
    slow: within(quantile(commits, 0.99)),
    flight: count(status.in_flight),
    vnodes: `${compact(status.vnodes_active)} of ${compact(Math.max(status.vnodes_active, status.vnodes_known))}`,
    memory: bytes(measures.resident_bytes),
    up: lasting(measures.wall_ms - measures.started_ms),
    address: host.address + zone,
    version: measures.version,
  };
  for (const [key, text] of Object.entries(texts)) setText(cells[key], text);
  drawSpark(cells.spark, rates.line("commands"), KEPT);
}
