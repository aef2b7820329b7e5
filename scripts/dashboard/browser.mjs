// A browser without a screen, and pages that note everything that a page must not do.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The page's files from this folder instead of the program's own: to work on them without building. */
const FILES = process.env.DASHBOARD_FILES;

async function serveFrom(page, gateway, folder) {
  const serve = async (route) => {
    const name = new URL(route.request().url()).pathname.split("/").pop() || "index.html";
    const response = await route.fetch();
    await route.fulfill({ response, body: readFileSync(`${folder}/${name}`) });
  };
  await page.route(`${gateway}/`, serve);
  await page.route(`${gateway}/dashboard/*`, serve);
}

/** Opens a browser with the playwright-core that is installed in a folder. */
export async function open(folder) {
  const { chromium } = createRequire(`${folder}/package.json`)("playwright-core");
  return chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
}

/** Opens a page of a gateway. `page.faults` lists errors, requests to elsewhere and what the page's policy has stopped. */
export async function visit(browser, gateway, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.faults = [];
  page.asked = [];
  page.on("console", (message) => {
    // The browser itself reports refused and unanswered requests; the page handles them.
    const isOwn = !message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && isOwn) page.faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.faults.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    page.faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    page.asked.push(request.url());
    const isOwn = request.url().startsWith(`${gateway}/`) || request.url().startsWith("data:image/svg+xml");
    if (!isOwn) page.faults.push(`asked elsewhere: ${request.url()}`);
  });
  await page.exposeFunction("noteViolation", (what) => page.faults.push(`policy: ${what}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.noteViolation(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  if (FILES !== undefined) await serveFrom(page, gateway, FILES);
  await page.goto(`${gateway}/`);
  return page;
}
