// Explaining one vnode: who owns it, since when and why, where its bytes are, and its state.

import { explainPath, get } from "./api.js";
import { byId, el } from "./dom.js";
import { bytes, count, dateTime, indented, lasting, many } from "./format.js";
import { pointAt } from "./slots.js";

const form = byId("search");
const input = byId("search-text");
const panel = byId("vnode");
const body = byId("vnode-body");
let asked = 0;

/** Suggests the kinds of the cluster. */
export async function suggestKinds() {
  try {
    const { kinds } = await get("/v1/kinds");
    byId("kinds").replaceChildren(...kinds.map(({ kind }) => el("option", { value: `${kind}/` })));
  } catch {
    // A token that may not read them searches all the same.
  }
}

/** Hides the vnode. */
export function closeVnode() {
  asked += 1;
  panel.hidden = true;
  pointAt(null);
}

/** Moves the cursor into the search. */
export function focusSearch() {
  input.focus();
  input.select();
}

async function explain(text) {
  const slash = text.indexOf("/");
  panel.hidden = false;
  if (slash < 1 || slash === text.length - 1) {
    body.replaceChildren(el("p", { class: "bad" }, "Write the kind, a slash and the key: counter/alice"));
    return;
  }
  const number = (asked += 1);
  const [kind, key] = [text.slice(0, slash), text.slice(slash + 1)];
  body.replaceChildren(el("p", { class: "note" }, `Reading where ${text} is …`));
  try {
    const told = await get(explainPath(kind, key));
    if (number === asked) show(told);
  } catch (error) {
    if (number === asked) body.replaceChildren(el("p", { class: "bad" }, `${text}: ${error.message}`));
  }
}

function show(told) {
  const facts = [];
  const add = (name, ...values) => facts.push(el("dt", {}, name), el("dd", {}, ...values));
  add("Slot", `${count(told.slot)} of ${count(told.slots)}${told.domain === "home" ? "" : ` in domain ${told.domain}`}`);
  addOwner(add, told);
  for (const source of told.sources) {
    add("Source", `${source.host}, which had the slot from epoch ${count(source.epoch)} on; its session is ${source.state}`);
  }
  addNewest(add, told.newest);
  for (const journal of told.journals) {
    add("Journal read", `of ${journal.host}: committed up to batch ${count(journal.committed)}${journal.sealed === null ? "" : ", sealed"}`);
  }
  add("In memory", memoryText(told.memory));
  body.replaceChildren(
    el("p", {}, el("strong", {}, `${told.kind}/${told.key}`)),
    el("dl", { class: "facts" }, facts),
    ...stateParts(told),
  );
  if (told.domain === "home") pointAt(told.slot);
}

function addOwner(add, { owner }) {
  if (owner === null) return add("Owner", "none");
  add("Owner", `${owner.host} at ${owner.address}`);
  const when = owner.wall_ms ? `, ${dateTime(owner.wall_ms)}, ${lasting(Math.max(0, Date.now() - owner.wall_ms))} ago` : "";
  add("Since", `epoch ${count(owner.since_epoch)}${when}`);
  add("Why", owner.reason ?? owner.unknown ?? "not known");
  if (owner.from) add("From", `${owner.from.host}, ${(owner.how ?? "").replaceAll("_", " ")}`);
}

function addNewest(add, newest) {
  if (newest === null) return add("Newest", "never written: its state is the default of its kind");
  const deleted = newest.deleted ? ", which deleted it" : "";
  add("Newest", `commit ${count(newest.commit)}${deleted}, in ${newest.object} ${count(newest.number)} of ${newest.host}`);
  add("Bytes", `${bytes(newest.length)} from offset ${count(newest.offset)} of `, el("code", {}, newest.key));
  if (newest.damaged) add("Damaged", newest.damaged);
}

function memoryText(memory) {
  if (memory.state === "active") return memory.waiting > 0 ? `yes; ${many(memory.waiting, "call")} wait for it` : "yes";
  if (memory.state === "dormant") return "no: the next call loads it";
  return memory.why ?? memory.state.replaceAll("_", " ");
}

function stateParts({ state }) {
  const parts = [el("h3", {}, state.json === "null" ? "State" : `State${state.version ? `, version ${state.version}` : ""}`)];
  if (state.json === "null") parts.push(el("p", { class: "note" }, "The vnode doesn’t exist: no command has run since it was last deleted."));
  else if (state.json !== undefined) parts.push(el("pre", { tabindex: "0" }, indented(state.json)));
  else parts.push(el("p", { class: "note" }, state.why));
  return parts;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  explain(input.value.trim());
});
byId("vnode-close").addEventListener("click", closeVnode);
