// Makes the pictures of docs/dashboard: real hosts on a directory whose requests take as long, and count as expensive, as those to
// a bucket.
//
//   node pictures.mjs SLOW_HOSTS FOLDER      ONLY=three in the environment: only that function

import { fileURLToPath } from "node:url";
import { open, visit } from "./browser.mjs";
import { Cluster, load, until } from "./cluster.mjs";

const [slowHosts, folder] = process.argv.slice(2);
const pictures = fileURLToPath(new URL("../../docs/dashboard", import.meta.url));
/** As to a bucket of S3 in the same region. */
const LATENCY_MS = 25;
/** As to one far away, so that the phases of a takeover can be seen. */
const SLOW_MS = 400;
/** How long a line needs until it can be looked at. */
const WATCHED_MS = 45_000;

async function shoot(page, name, fullPage = true) {
  await page.mouse.move(1, 1);
  await page.screenshot({ path: `${pictures}/${name}.png`, fullPage });
  if (page.faults.length > 0) throw new Error(page.faults.join("\n"));
  console.log(`  ${name}.png`);
}

/** Fifty hosts on two cores take a while. */
const SHOWN_WITHIN_MS = 240_000;

const shown = (page, hosts) => {
  const isShown = async () => {
    const note = await page.locator("#slots-note").innerText();
    return (await page.locator("#legend li").count()) === hosts && !note.includes(", ");
  };
  return until(`${hosts} hosts are shown`, isShown, SHOWN_WITHIN_MS);
};

async function withCluster(name, groups, latencyMs, show) {
  const cluster = new Cluster(`${folder}/${name}`);
  try {
    let gateway;
    for (const names of groups) {
      const address = await cluster.start(names[0], slowHosts, [cluster.url, String(latencyMs), ...names]);
      gateway ??= address;
    }
    await show(cluster, gateway);
  } finally {
    cluster.end();
  }
}

async function alone(browser) {
  await withCluster("one", [["h1"]], LATENCY_MS, async (cluster, gateway) => {
    const page = await visit(browser, gateway);
    await shown(page, 1);
    await page.waitForTimeout(3_000);
    await shoot(page, "1-host");
    cluster.kill("h1");
    await until("it says so", async () => (await page.locator("#connection").innerText()).includes("disconnected"));
    await shoot(page, "0-hosts");
  });
}

async function three(browser) {
  await withCluster("three", [["h1"], ["h2"], ["h3"]], LATENCY_MS, async (_, gateway) => {
    const stop = load(gateway, 24, 30);
    const page = await visit(browser, gateway);
    await page.waitForTimeout(WATCHED_MS);
    await shown(page, 3);
    await shoot(page, "3-hosts-light");
    await page.emulateMedia({ colorScheme: "dark" });
    await page.waitForTimeout(1_500);
    await shoot(page, "3-hosts-dark");
    await page.emulateMedia({ colorScheme: "light" });
    await page.locator("#search-text").fill("counter/user-7");
    await page.keyboard.press("Enter");
    await until("it is explained", async () => (await page.locator("#vnode-body").innerText()).includes("State"));
    await shoot(page, "vnode");
    await page.keyboard.press("Escape");
    const narrow = await visit(browser, gateway, { viewport: { width: 360, height: 860 }, deviceScaleFactor: 1.5 });
    await shown(narrow, 3);
    await narrow.waitForTimeout(12_000);
    await shoot(narrow, "narrow", false);
    await stop();
  });
}

async function takeover(browser) {
  await withCluster("takeover", [["h1"], ["h2"], ["h3"]], SLOW_MS, async (cluster, gateway) => {
    const stop = load(gateway, 24, 30);
    const page = await visit(browser, gateway);
    await shown(page, 3);
    await page.waitForTimeout(15_000);
    cluster.kill("h3");
    await until("slots are recovered", async () => (await page.locator("#slots-note").innerText()).includes("recovering"));
    await shoot(page, "during-a-takeover");
    await until("it is over", async () => (await page.locator(".move.takeover-done").count()) === 1);
    await shown(page, 2).catch(() => {});
    await page.waitForTimeout(8_000);
    await page.locator(".move.takeover-done .link").first().click();
    await until("its slots are shown", async () => (await page.locator("#slots-note").innerText()).includes("moved"));
    await shoot(page, "after-a-takeover");
    await stop();
  });
}

async function fifty(browser) {
  const names = Array.from({ length: 50 }, (_, at) => `h${String(at + 1).padStart(2, "0")}`);
  await withCluster("fifty", [names], LATENCY_MS, async (_, gateway) => {
    const stop = load(gateway, 16, 60);
    // Not the whole page: the table of hosts is long, and the picture would be large.
    const page = await visit(browser, gateway, { viewport: { width: 1440, height: 2000 } });
    await shown(page, 50);
    await page.waitForTimeout(WATCHED_MS);
    await shoot(page, "50-hosts", false);
    await stop();
  });
}

const only = process.env.ONLY;
const browser = await open(folder);
try {
  for (const picture of [alone, three, takeover, fifty]) if (only === undefined || only === picture.name) await picture(browser);
} finally {
  await browser.close();
}
process.exit(0);
