// Hosts of a cluster, in processes of their own, and callers that put load on them.

import { spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const READY_WITHIN_MS = 60_000;

/** Waits until something is so; throws after a minute. */
export async function until(what, isSo, withinMs = 60_000) {
  const end = Date.now() + withinMs;
  for (;;) {
    const found = await isSo();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${withinMs / 1000} s: ${what}`);
    await sleep(50);
  }
}

export class Cluster {
  processes = new Map();

  constructor(folder) {
    this.folder = folder;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    this.url = `file://${folder}`;
  }

  /** Starts a program that prints a line of JSON with its HTTP address, and waits until it is ready. */
  async start(name, program, args) {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.processes.set(name, child);
    let out = "";
    let log = "";
    child.stdout.on("data", (bytes) => (out += bytes));
    child.stderr.on("data", (bytes) => (log = (log + bytes).slice(-20_000)));
    const address = await until(`${name} prints its address`, () => {
      if (child.exitCode !== null) throw new Error(`${name} ended:\n${log}`);
      return /"http":"([^"]*)"/.exec(out)?.[1];
    });
    const gateway = `http://${address}`;
    await until(`${name} is ready`, () => answers(`${gateway}/readyz`), READY_WITHIN_MS);
    return gateway;
  }

  /** Kills a process of this cluster as a crash would. */
  kill(name) {
    this.processes.get(name)?.kill("SIGKILL");
    this.processes.delete(name);
  }

  end() {
    for (const name of [...this.processes.keys()]) this.kill(name);
  }
}

const answers = (url) =>
  new Promise((resolve) => {
    const request = http.get(url, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("error", () => resolve(false));
  });

/** Runs a command or query over HTTP; resolves to the status, or 0 without an answer. */
export function call(agent, url, body) {
  return new Promise((resolve) => {
    const request = http.request(
      url,
      { agent, method: body === undefined ? "GET" : "POST", headers: { "content-type": "application/json" } },
      (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode));
      },
    );
    request.on("error", () => resolve(0));
    request.end(body);
  });
}

/** Callers that add to counters and ask for them, through one gateway, until they are stopped. */
export function load(gateway, callers, pauseMs) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: callers });
  let isOn = true;
  const run = async (caller) => {
    for (let number = caller; isOn; number += callers) {
      const vnode = `${gateway}/v1/vnodes/counter/user-${number % 400}`;
      const query = number % 3 === 0;
      const status = await call(agent, query ? `${vnode}/value` : `${vnode}/add`, query ? undefined : '{"amount":1}');
      await sleep(status === 200 ? pauseMs : 100);
    }
  };
  const running = Array.from({ length: callers }, (_, caller) => run(caller));
  return async () => {
    isOn = false;
    await Promise.all(running);
    agent.destroy();
  };
}
