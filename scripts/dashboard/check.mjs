// What the dashboard does in a browser, in front of a real cluster.
//
//   node check.mjs HOLOCRON FOLDER

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import http from "node:http";
import { open, visit } from "./browser.mjs";
import { Cluster, call, load, until } from "./cluster.mjs";

const [holocron, folder] = process.argv.slice(2);
const MARKUP = '<img src=x onerror="window.harmed=1">';

const text = (page, id) => page.locator(`#${id}`).innerText();
const say = (what) => console.log(`  ${what}`);

function hostArguments(cluster, name, more = []) {
  return ["host", "--store", cluster.url, "--name", name, "--http", "127.0.0.1:0", "--heartbeat-ms", "250", "--json", ...more];
}

/** What one sees, and that nothing is loaded from elsewhere. */
async function showsTheCluster(page) {
  await until("all hosts are shown", async () => (await page.locator("#hosts tbody tr").count()) === 3);
  await until("all own slots", async () => (await page.locator("#legend li").count()) === 3);
  assert.match(await text(page, "connection"), /live through h1/i);
  await until("rates are shown", async () => /^[1-9]/.test(await page.locator(".tile .value").nth(3).innerText()));
  assert.match(await page.locator("#slots").getAttribute("aria-label"), /h1 \d.*h2 \d.*h3 \d/);
  say("three hosts, their slots and rates are shown");
}

async function keepsMarkupAsText(page, gateway) {
  const key = encodeURIComponent(MARKUP);
  assert.equal(await call(undefined, `${gateway}/v1/vnodes/kv/${key}/put`, JSON.stringify({ field: MARKUP, value: MARKUP })), 200);
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "search-text");
  await page.keyboard.type(`kv/${MARKUP}`);
  await page.keyboard.press("Enter");
  await until("the vnode is explained", async () => (await text(page, "vnode-body")).includes("Newest"));
  const shown = await text(page, "vnode-body");
  assert.ok(shown.includes(`kv/${MARKUP}`), shown);
  assert.ok(shown.includes("Owner") && shown.includes("Why") && shown.includes('"value":'), shown);
  assert.equal(await page.locator("img").count(), 0);
  assert.equal(await page.evaluate(() => window.harmed), undefined);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#vnode").isVisible(), false);
  say("a vnode whose key, field and value are markup stays text");
}

async function worksByKeyboard(page) {
  await page.evaluate(() => document.activeElement?.blur());
  const reached = new Set();
  for (let step = 0; step < 60; step += 1) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const at = document.activeElement;
      const outline = getComputedStyle(at).outlineStyle;
      return { id: at.id || at.dataset?.owner || at.tagName, isSeen: outline !== "none" || at === document.body };
    });
    assert.ok(focus.isSeen, `the focus on ${focus.id} can't be seen`);
    reached.add(focus.id);
  }
  for (const id of ["search-text", "theme", "slots", "h1", "h2", "h3", "timeline"]) assert.ok(reached.has(id), `${id} is not reached by Tab: ${[...reached]}`);
  const timeline = page.locator("#timeline");
  const value = () => timeline.getAttribute("aria-valuenow").then(Number);
  await timeline.focus();
  const newest = await value();
  await page.keyboard.press("ArrowLeft");
  await until("the epoch before is shown", async () => (await value()) === newest - 1);
  await until("the slots are those of that epoch", async () => (await text(page, "slots-note")).includes(`in epoch ${newest - 1}`));
  await page.keyboard.press("Home");
  await until("the oldest epoch is shown", async () => (await value()) === 1);
  assert.match(await timeline.getAttribute("aria-valuetext"), /^epoch 1, /);
  await page.keyboard.press("ArrowRight");
  await until("the second epoch is shown", async () => (await value()) === 2);
  await page.keyboard.press("Escape");
  await until("it is live again", async () => (await text(page, "connection")).includes("live"));
  await page.locator("#slots").focus();
  await page.keyboard.press("ArrowRight");
  assert.match(await text(page, "slots-tip"), /^slot \d+: h\d/);
  say("everything is reached by keyboard, and the epochs can be walked through");
}

async function hasThemesAndFits(page, browser, gateway) {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await background();
  assert.notEqual(light, dark);
  await page.locator("#theme").click();
  assert.equal(await background(), light, "the button overrules the system");
  await page.locator("#theme").click();
  await page.locator("#theme").click();
  await page.emulateMedia({ colorScheme: "light" });
  const narrow = await visit(browser, gateway, { viewport: { width: 360, height: 740 }, reducedMotion: "reduce" });
  await until("all hosts are shown", async () => (await narrow.locator("#hosts tbody tr").count()) === 3);
  await until("the epochs are shown", async () => (await narrow.locator("#epoch .reason").count()) === 1);
  const width = await narrow.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `at 360 pixels it is ${width} wide`);
  assert.deepEqual(narrow.faults, []);
  await narrow.context().close();
  say("it has two themes, and fits into 360 pixels");
}

async function restsWhileHidden(page) {
  const hide = (isHidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
  await hide(true);
  await page.waitForTimeout(1_500);
  const before = page.asked.length;
  await page.waitForTimeout(2_500);
  assert.equal(page.asked.length, before, "it asks while nobody looks");
  await hide(false);
  await until("it asks again", () => page.asked.length > before);
  say("it asks nothing while its tab is hidden");
}

async function tellsTakeovers(page, cluster) {
  const cards = page.locator(".move.takeover-done, .move.takeover-now");
  const before = await cards.count();
  cluster.kill("h3");
  await until("the takeover is shown", async () => (await cards.count()) > before);
  await until("it has all phases", async () => {
    const shown = await cards.first().innerText();
    return ["h3 →", "seals h3", "epoch", "recovered", "served again after"].every((part) => shown.includes(part));
  });
  await until("the other two are left", async () => (await page.locator("#legend li").count()) === 2);
  say("a takeover is told with its phases");
}

async function saysThatItsHostIsGone(page, cluster) {
  cluster.kill("h1");
  await until("it says so", async () => (await text(page, "connection")).includes("disconnected since"));
  assert.match(await text(page, "banner"), /hasn’t answered since .* another host: h2/);
  say("a page whose host is gone says since when, and where to go");
}

async function asksForAToken(browser) {
  const cluster = new Cluster(`${folder}/with-tokens`);
  const drawn = (name, scopes) => {
    const args = ["token", "new", name, ...scopes.flatMap((scope) => ["--scope", scope]), "--json"];
    const { token, entry } = JSON.parse(execFileSync(holocron, args, { encoding: "utf8" }));
    return { token, entry };
  };
  const [admin, reader] = [drawn("admin", ["admin"]), drawn("reader", ["read"])];
  const tokens = `${folder}/tokens.toml`;
  writeFileSync(tokens, `${admin.entry}\n${reader.entry}\n`);
  try {
    const gateway = await cluster.start("h1", holocron, hostArguments(cluster, "h1", ["--tokens", tokens]));
    const page = await visit(browser, gateway);
    const give = async (token) => {
      await until("a token is asked for", () => page.locator("#token").isVisible());
      await page.locator("#token-text").fill(token);
      await page.keyboard.press("Enter");
    };
    await give("hc_wrong");
    await until("the wrong one is refused", async () => (await text(page, "token-why").catch(() => "")) !== "");
    await give(reader.token);
    await until("the reader is told what is missing", async () => (await text(page, "token-why").catch(() => "")).includes("admin"));
    await give(admin.token);
    await until("the cluster is shown", async () => (await text(page, "connection")).includes("live"));
    await page.locator("#search-text").fill("counter/alice");
    await page.keyboard.press("Enter");
    await until("the state is withheld", async () => (await text(page, "vnode-body")).includes("not shown"));
    for (const url of page.asked) assert.ok(!url.includes(admin.token), url);
    const kept = await page.evaluate(() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage) + document.cookie]);
    assert.ok(kept[0].includes(admin.token) && !kept[1].includes(admin.token), "kept for this tab only");
    assert.deepEqual(page.faults, []);
    say("it asks for a token, and keeps it to itself");
  } finally {
    cluster.end();
  }
}

const cluster = new Cluster(`${folder}/store`);
const browser = await open(folder);
try {
  const gateway = await cluster.start("h1", holocron, hostArguments(cluster, "h1"));
  for (const name of ["h2", "h3"]) await cluster.start(name, holocron, hostArguments(cluster, name, ["--zone", "b"]));
  const stop = load(gateway, 8, 10);
  const page = await visit(browser, gateway);
  await showsTheCluster(page);
  await keepsMarkupAsText(page, gateway);
  await worksByKeyboard(page);
  await hasThemesAndFits(page, browser, gateway);
  await restsWhileHidden(page);
  await tellsTakeovers(page, cluster);
  await stop();
  assert.deepEqual(page.faults, []);
  await saysThatItsHostIsGone(page, cluster);
  assert.deepEqual(page.faults, []);
  await asksForAToken(browser);
} finally {
  await browser.close();
  cluster.end();
  http.globalAgent.destroy();
}
console.log("the dashboard does what it should");
