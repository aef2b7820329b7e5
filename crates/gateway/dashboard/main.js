// The page: asks for the status again and again while it is visible, and hands it to the views.

import { forgetToken, get, hasToken, keepToken } from "./api.js";
import { byId, el, setText } from "./dom.js";
import { count, many, timeOf } from "./format.js";
import { showHosts } from "./hosts.js";
import { Rates } from "./rates.js";
import { closeVnode, focusSearch, suggestKinds } from "./search.js";
import { draw, showSlots } from "./slots.js";
import { showTakeovers } from "./takeovers.js";
import { showTiles } from "./tiles.js";
import { choose, follow, noteNext, whenChosen } from "./timeline.js";

const POLL_MS = 1_000;
const POLL_MS_MAX = 15_000;
/** Epochs whose slots are kept. */
const PICTURES_MAX = 32;

const rates = new Rates();
const pictures = new Map();
let newestStatus = null;
let shownEpoch = null;
let goneSince = null;
let failures = 0;
let timer = null;
let isAsking = false;
let isReading = null;

async function pictureOf(epoch) {
  if (!pictures.has(epoch)) {
    pictures.set(epoch, await get(`/v1/epochs/${epoch}`));
    if (pictures.size > PICTURES_MAX) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(epoch);
}

async function look() {
  if (isAsking || document.hidden || byId("token").open) return;
  isAsking = true;
  clearTimeout(timer);
  try {
    const status = await get("/v1/status");
    newestStatus = status;
    failures = 0;
    goneSince = null;
    byId("main").classList.remove("stale");
    rates.add(status);
    showTiles(status, rates);
    showHosts(status, rates);
    showTakeovers(status);
    showConnection(status);
    // A store may be slow: the next status doesn't wait for it.
    if (isReading === null) isReading = showStored(status);
    else if (pictures.has(status.epoch)) await showPicture();
  } catch (error) {
    failed(error);
  } finally {
    isAsking = false;
    const pause = Math.min(POLL_MS * 2 ** Math.min(failures, 5), POLL_MS_MAX);
    timer = setTimeout(look, pause);
  }
}

/** What is read from the store; a gateway without a host has none, and shows the rest. */
async function showStored(status) {
  try {
    await Promise.all([showPicture(), follow(status.epoch, status.now_ms)]);
    showTakeovers(newestStatus);
  } catch (error) {
    if (error.status === 404) setText(byId("epochs-note"), error.message);
    else failed(error);
  } finally {
    isReading = null;
  }
}

async function showPicture() {
  const epoch = shownEpoch ?? newestStatus?.epoch;
  if (epoch === undefined) return;
  const picture = await pictureOf(epoch);
  if (noteNext(picture)) showTakeovers(newestStatus);
  if ((shownEpoch ?? newestStatus.epoch) !== epoch) return;
  offerDomains(picture);
  showSlots(picture, byId("domain").value, shownEpoch === null ? newestStatus : null);
}

function offerDomains({ domains }) {
  const names = domains.map(({ name }) => name);
  const select = byId("domain");
  byId("domain-label").hidden = names.length < 2;
  if ([...select.options].map(({ value }) => value).join("\n") === names.join("\n")) return;
  select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
}

function showConnection(status) {
  const connection = byId("connection");
  const at = status.gateway_of === null ? "" : ` through ${status.gateway_of}`;
  connection.className = `connection ${shownEpoch === null ? "live" : "past"}`;
  setText(connection, shownEpoch === null ? `live${at}` : `slots as of epoch ${count(shownEpoch)}`);
  const release = `Holocron ${status.version}`;
  setText(byId("release"), release);
  const silent = status.hosts.filter((host) => !host.measures).map((host) => host.name);
  const troubles = [];
  if (status.hosts.length === 0) troubles.push("The cluster has no host: no slot is served.");
  if (silent.length > 0) troubles.push(`No answer from ${silent.join(", ")}.`);
  for (const { how, from, is_running: isRunning, recoveries } of status.takeovers) {
    if (how !== "takeover" || !isRunning) continue;
    const left = recoveries.reduce((all, recovery) => all + recovery.left, 0);
    const state = left === 0 ? "its session is being sealed" : `${many(left, "slot")} left to recover`;
    troubles.push(`Takeover of ${from.join(", ")}: ${state}; calls to them wait.`);
  }
  showBanner(troubles.join(" "));
  document.title = troubles.length > 0 ? `! ${troubles[0]} – Holocron` : "Holocron";
}

/** Says what an operator must know; nothing hides it. */
function showBanner(text) {
  const banner = byId("banner");
  banner.hidden = text === "";
  setText(banner, text);
}

function failed(error) {
  failures += 1;
  if (error.status === 401 || error.status === 403) return askForToken(error);
  goneSince ??= Date.now();
  byId("main").classList.add("stale");
  const connection = byId("connection");
  connection.className = "connection gone";
  setText(connection, `disconnected since ${timeOf(goneSince)}`);
  const host = newestStatus?.gateway_of;
  const where = host ? `The gateway of ${host}` : "The gateway";
  const others = (newestStatus?.hosts ?? []).map(({ name }) => name).filter((name) => name !== host);
  const open = others.length > 0 ? ` Open the dashboard of another host: ${others.join(", ")}.` : "";
  const what = error.status === 0 ? "hasn’t answered" : `has answered ${error.status}`;
  showBanner(`${where} ${what} since ${timeOf(goneSince)}: ${error.message}. What is shown is older; trying again.${open}`);
  document.title = "Holocron: disconnected";
}

function askForToken(error) {
  setText(byId("token-why"), hasToken() ? error.message : "");
  forgetToken();
  setText(byId("connection"), "a token is needed");
  if (!byId("token").open) byId("token").showModal();
}

byId("token-form").addEventListener("submit", () => {
  keepToken(byId("token-text").value.trim());
  byId("token-text").value = "";
  failures = 0;
});
// Closed without a token, it is asked for again.
byId("token").addEventListener("close", () => begin());

whenChosen((epoch) => {
  shownEpoch = epoch;
  if (newestStatus !== null && goneSince === null) showConnection(newestStatus);
  showPicture().catch(failed);
});
byId("domain").addEventListener("change", () => showPicture().catch(failed));
document.addEventListener("visibilitychange", look);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("token").open) return;
  const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    focusSearch();
  } else if (event.key === "Escape") {
    if (isTyping) event.target.blur();
    closeVnode();
    choose(null);
  }
});

const THEMES = ["auto", "light", "dark"];
const THEME_KEPT_AS = "holocron-theme";

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem(THEME_KEPT_AS, theme);
  setText(byId("theme"), `Theme: ${theme}`);
  draw(true);
}

const kept = () => THEMES.find((theme) => theme === localStorage.getItem(THEME_KEPT_AS)) ?? "auto";
byId("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(kept()) + 1) % THEMES.length]));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));
setTheme(kept());

function begin() {
  suggestKinds();
  look();
}
begin();
