// The last takeovers and planned moves, each with its phases on a time line of its own.

import { byId, el, setText } from "./dom.js";
import { count, lasting, many, timeOf } from "./format.js";
import { choose, infoOf } from "./timeline.js";

/** Hosts that a title names, and that have a line of their own. */
const NAMED = 4;
const LINES = 8;

const list = byId("takeovers");
let shownAs = "";

const end = (step, now) => step.began_ms + (step.took_ms ?? Math.max(0, now - step.began_ms));

/** The phases of a takeover in the order in which they began. */
function phasesOf(takeover, now) {
  const phases = takeover.seals.map((seal) => ({
    kind: "sealing",
    name: `${seal.by} suspects and seals ${seal.host ?? "a session"}`,
    from: seal.began_ms,
    to: end(seal, now),
    isRunning: seal.took_ms === null,
  }));
  for (const epoch of takeover.epochs) {
    const info = infoOf(epoch);
    if (!info?.readable) continue;
    // It is heard of when the first host acts on it.
    const heard = takeover.recoveries.filter((recovery) => recovery.epoch === epoch).map((recovery) => recovery.began_ms);
    const to = Math.max(info.wall_ms, Math.min(...heard));
    phases.push({ kind: "written", epoch, name: `epoch ${count(epoch)} written`, from: info.wall_ms, to });
  }
  for (const recovery of takeover.recoveries) {
    const verb = takeover.how === "takeover" ? "recovered" : "got";
    const left = recovery.took_ms === null ? `: ${many(recovery.left, "slot")} left` : ` ${many(recovery.slots, "slot")}`;
    phases.push({
      kind: "recovering",
      name: `${recovery.by} ${recovery.took_ms === null ? "recovers" : verb}${left}`,
      from: recovery.began_ms,
      to: end(recovery, now),
      isRunning: recovery.took_ms === null,
    });
  }
  return phases.sort((one, other) => one.from - other.from);
}

/** `h1, h2, h3, h4 and 6 others`. */
function namesOf(hosts) {
  const names = [...new Set(hosts)];
  const more = names.length - NAMED;
  return more > 1 ? `${names.slice(0, NAMED).join(", ")} and ${count(more)} others` : names.join(", ");
}

function titleOf({ how, from, recoveries }) {
  const to = namesOf(recoveries.map(({ by }) => by));
  const whose = namesOf(from);
  if (how === "first") return `${to} got its first slots`;
  if (how === "handoff") return `${whose} → ${to}, planned`;
  return to === "" ? `${whose || "a session"} ended, no slots were left` : `${whose || "a session"} → ${to}`;
}

function summaryOf(takeover, phases) {
  const begin = Math.min(...phases.map(({ from }) => from));
  const last = Math.max(...phases.map(({ to }) => to));
  const took = lasting(last - begin);
  if (takeover.is_running) return `running, ${took} so far`;
  if (takeover.recoveries.length === 0) return `sealed in ${took}`;
  return takeover.how === "takeover" ? `served again after ${took}` : `took ${took}`;
}

function card(takeover, now) {
  const phases = phasesOf(takeover, now);
  const begin = Math.min(...phases.map(({ from }) => from));
  const whole = Math.max(1, ...phases.map(({ to }) => to - begin));
  const state = takeover.how !== "takeover" ? "planned" : takeover.is_running ? "takeover-now" : "takeover-done";
  const tone = takeover.is_running ? "bad" : "note";
  return el(
    "li",
    { class: `move ${state}` },
    el("header", {}, el("h3", {}, titleOf(takeover)), el("p", { class: `num ${tone}` }, `${timeOf(begin)} · ${summaryOf(takeover, phases)}`)),
    el("ol", { class: "phases" }, phases.slice(0, LINES).map((phase) => row(phase, begin, whole))),
    phases.length > LINES ? el("p", { class: "note" }, `and ${count(phases.length - LINES)} more`) : null,
  );
}

function row({ kind, name, epoch, from, to, isRunning }, begin, whole) {
  const bar = el("i", { class: `${kind}${isRunning ? " running" : ""}` });
  const start = Math.min(98.5, (100 * (from - begin)) / whole);
  bar.style.left = `${start}%`;
  bar.style.width = `${Math.max(1, (100 * (to - from)) / whole)}%`;
  const label = kind === "written" ? link(name, epoch) : name;
  return el("li", {}, el("span", { class: "name" }, label), el("span", { class: "track" }, bar), el("span", { class: "took num" }, lasting(to - from)));
}

function link(name, epoch) {
  const button = el("button", { type: "button", class: "link" }, name);
  button.dataset.epoch = epoch;
  button.addEventListener("click", () => choose(epoch));
  return button;
}

/** Shows the takeovers of the newest status. */
export function showTakeovers(status) {
  const { takeovers } = status;
  const running = takeovers.filter((takeover) => takeover.is_running && takeover.how === "takeover").length;
  const note = running > 0 ? `${many(running, "takeover")} running` : takeovers.length === 0 ? "" : "the last, by the clocks of their hosts";
  setText(byId("takeovers-note"), note);
  byId("takeovers-note").classList.toggle("bad", running > 0);
  const known = takeovers.flatMap(({ epochs }) => epochs).map((epoch) => infoOf(epoch)?.wall_ms);
  const key = JSON.stringify([takeovers, known, running > 0 ? status.now_ms : 0]);
  if (key === shownAs) return;
  shownAs = key;
  const focused = document.activeElement?.dataset?.epoch;
  if (takeovers.length === 0) {
    list.replaceChildren(el("li", { class: "note" }, "No slot has moved since the hosts started."));
  } else {
    list.replaceChildren(...takeovers.toReversed().map((takeover) => card(takeover, status.now_ms)));
  }
  if (focused !== undefined) list.querySelector(`button[data-epoch="${Number(focused)}"]`)?.focus();
}
