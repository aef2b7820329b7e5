// What happened between two looks at the cluster, from counts that only grow.

/** Looks that are kept: what a sparkline shows. */
export const KEPT = 90;
/** Latencies are those of the calls in so many of the last looks: a single second has few. */
const LATENCY_LOOKS = 10;

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** The counters of one host at a look. */
function countsOf(host) {
  const { measures } = host;
  const { calls } = measures;
  const ended = (mode) => (calls[mode]?.ok ?? 0) + (calls[mode]?.others ?? 0);
  return {
    started: measures.started_ms,
    at: measures.wall_ms,
    commands: measures.status.commands,
    queries: ended("query") + ended("local"),
    requests: sum(Object.values(measures.requests)),
    dollars: measures.dollars,
    commits: measures.commits,
    calls: calls.command?.durations ?? [],
  };
}

/** What a distribution has more than it had before. */
function grown(before, after) {
  const known = new Map(before.map(([bound, number]) => [bound, number]));
  return after.map(([bound, number]) => [bound, number - (known.get(bound) ?? 0)]);
}

/** Adds distributions. */
export function merged(distributions) {
  const total = new Map();
  for (const [bound, number] of distributions.flat()) total.set(bound, (total.get(bound) ?? 0) + number);
  return [...total].sort(([one], [other]) => (one ?? Infinity) - (other ?? Infinity));
}

/** The bound of the bucket below which a share of the values is; null without values. */
export function quantile(distribution, share) {
  const total = sum(distribution.map(([, number]) => number));
  if (total <= 0) return null;
  let seen = 0;
  for (const [bound, number] of distribution) {
    seen += number;
    if (seen >= total * share) return bound ?? Infinity;
  }
  return null;
}

/** The rates of one host, look by look. */
class HostRates {
  looks = [];
  rates = [];

  add(host) {
    if (!host.measures) {
      this.rates.push(null);
    } else {
      const now = countsOf(host);
      const before = this.looks.at(-1);
      // Another process has counts of its own.
      const fits = before && before.started === now.started && now.at > before.at;
      if (!fits) this.looks = [];
      this.rates.push(fits ? between(before, now) : null);
      this.looks.push(now);
    }
    this.rates = this.rates.slice(-KEPT);
    this.looks = this.looks.slice(-KEPT);
  }

  /** The newest rates; null if there are none. */
  get now() {
    return this.rates.at(-1) ?? null;
  }

  /** The values of a rate, oldest first. */
  line(name) {
    return this.rates.map((rates) => rates?.[name] ?? 0);
  }

  /** What a distribution had more at a look than some looks before. */
  recent(name) {
    const last = this.looks.at(-1);
    const first = this.looks.at(-1 - LATENCY_LOOKS) ?? this.looks[0];
    return last && first !== last ? grown(first[name], last[name]) : [];
  }
}

function between(before, now) {
  const seconds = (now.at - before.at) / 1000;
  const rate = (name) => Math.max(0, now[name] - before[name]) / seconds;
  return {
    commands: rate("commands"),
    queries: rate("queries"),
    requests: rate("requests"),
    dollars: now.dollars === null ? null : rate("dollars") * 3600,
  };
}

/** The rates of a cluster. */
export class Rates {
  hosts = new Map();
  total = [];

  add(status) {
    const names = new Set(status.hosts.map((host) => host.name));
    for (const name of this.hosts.keys()) if (!names.has(name)) this.hosts.delete(name);
    for (const host of status.hosts) this.of(host.name).add(host);
    const now = [...this.hosts.values()].map((host) => host.now).filter((rates) => rates !== null);
    const total = (name) => sum(now.map((rates) => rates[name] ?? 0));
    const commits = this.recent("commits");
    this.total.push({
      commands: total("commands"),
      queries: total("queries"),
      requests: total("requests"),
      dollars: total("dollars"),
      commitMedian: quantile(commits, 0.5),
      commitSlow: quantile(commits, 0.99),
      known: now.length > 0,
    });
    this.total = this.total.slice(-KEPT);
  }

  of(name) {
    if (!this.hosts.has(name)) this.hosts.set(name, new HostRates());
    return this.hosts.get(name);
  }

  /** A recent distribution over all hosts. */
  recent(name) {
    return merged([...this.hosts.values()].map((host) => host.recent(name)));
  }

  get now() {
    return this.total.at(-1);
  }

  line(name) {
    return this.total.map((total) => (Number.isFinite(total[name]) ? total[name] : 0));
  }

  /** Dollars per hour, over all looks that are kept: a single second says little. */
  get dollarsPerHour() {
    const known = this.total.filter((total) => total.known);
    return known.length === 0 ? null : sum(known.map((total) => total.dollars)) / known.length;
  }
}
