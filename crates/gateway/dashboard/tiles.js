// The cluster in a few numbers.

import { byId, drawSpark, el, setText, spark } from "./dom.js";
import { compact, count, dollars, lasting, many, within } from "./format.js";
import { KEPT } from "./rates.js";

function tile(title, line) {
  const value = el("p", { class: "value num" });
  const below = line ? spark() : el("p", { class: "below" });
  return { value, below, node: el("div", { class: "tile" }, el("h3", {}, title), value, below) };
}

const tiles = {
  hosts: tile("Hosts"),
  leader: tile("Leader"),
  epoch: tile("Epoch"),
  commands: tile("Commands/s", true),
  queries: tile("Queries/s", true),
  commits: tile("Commit latency, median"),
  requests: tile("Store requests/s", true),
  cost: tile("Cost per hour, estimated"),
};
byId("tiles").append(...Object.values(tiles).map(({ node }) => node));

function setValue({ value }, text, small = "") {
  const wanted = small === "" ? text : `${text} ${small}`;
  if (value.textContent === wanted) return;
  value.replaceChildren(text, ...(small === "" ? [] : [" ", el("small", {}, small)]));
}

/** Shows the newest status. */
export function showTiles(status, rates) {
  const answering = status.hosts.filter((host) => host.measures);
  const total = status.hosts.length;
  const silent = total - answering.length;
  const measured = (name) => answering.reduce((all, host) => all + host.measures.status[name], 0);
  setValue(tiles.hosts, count(total), total === 0 ? "the cluster has none" : "");
  setText(tiles.hosts.below, silent === 0 ? many(Math.max(measured("vnodes_known"), measured("vnodes_active")), "vnode") : `${count(silent)} silent`);
  tiles.hosts.below.classList.toggle("bad", silent > 0);
  setValue(tiles.leader, status.leader);
  const waiting = measured("slots_waiting");
  setText(tiles.leader.below, waiting === 0 ? `${count(status.slots)} slots` : `${count(waiting)} slots recovering`);
  tiles.leader.below.classList.toggle("bad", waiting > 0);
  setValue(tiles.epoch, count(status.epoch));
  setText(tiles.epoch.below, `${lasting(Math.max(0, status.now_ms - status.wall_ms))} ago`);
  showRates(rates);
  showCost(status, rates, answering);
}

function showRates(rates) {
  const { now } = rates;
  for (const name of ["commands", "queries", "requests"]) {
    setValue(tiles[name], now.known ? compact(now[name]) : "–");
    drawSpark(tiles[name].below, rates.line(name), KEPT);
  }
  const idle = now.commitMedian === null;
  setValue(tiles.commits, idle ? "–" : within(now.commitMedian));
  const slow = `p99 ${within(now.commitSlow)}, last 10 s`;
  setText(tiles.commits.below, idle ? "none in the last 10 s" : slow);
}

function showCost(status, rates, answering) {
  const spent = answering.reduce((all, host) => all + (host.measures.dollars ?? 0), 0);
  const perHour = rates.dollarsPerHour;
  if (!status.is_priced) {
    setValue(tiles.cost, "–");
    setText(tiles.cost.below, "no price table is set");
  } else if (spent === 0) {
    setValue(tiles.cost, "none");
    setText(tiles.cost.below, "no price per request");
  } else {
    setValue(tiles.cost, perHour === null ? "–" : dollars(perHour));
    setText(tiles.cost.below, "requests, at list price");
  }
}
