// Numbers, times and texts as people read them.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });

/** `12,345`. */
export const count = (value) => plain.format(value);

/** One thing or many: `1 slot`, `12 slots`. */
export const many = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** `950`, `12.3k`, `4.5M`; small rates with a digit after the point. */
export function compact(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}k`;
  if (value > 0 && value < 10 && !Number.isInteger(value)) return value.toFixed(1);
  return plain.format(value);
}

/** `12:03:04`. */
export const timeOf = (ms) => clock.format(new Date(ms));

/** `2026-11-29 12:03:04`. */
export const dateTime = (ms) => `${day.format(new Date(ms))} ${timeOf(ms)}`;

/** A duration in milliseconds: `0.4 ms`, `12 ms`, `1.25 s`, `3 min 20 s`, `2 h 5 min`. */
export function lasting(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0 ms";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${ms < 10 ? +ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

/** The bound of a bucket in nanoseconds: `≤ 2.5 ms`. */
export function within(nanos) {
  if (nanos === null || nanos === undefined) return "–";
  return nanos === Infinity ? "> 60 s" : `≤ ${lasting(nanos / 1e6)}`;
}

/** `12.3 MB`. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let scaled = value;
  while (scaled >= 1000 && at < units.length - 1) {
    scaled /= 1000;
    at += 1;
  }
  return `${scaled >= 100 || at === 0 ? scaled.toFixed(0) : scaled.toFixed(1)} ${units[at]}`;
}

/** Dollars: `$0.0042`, `$1.27`. */
export function dollars(value) {
  if (value === 0) return "$0";
  const digits = value < 0.01 ? 4 : value < 1 ? 3 : 2;
  return value < 0.0001 ? "< $0.0001" : `$${value.toFixed(digits)}`;
}

/** Ranges of slots as the cluster writes them, `0-12 40`, as pairs. */
export function rangesOf(text) {
  const words = (text ?? "").split(" ").filter((word) => word !== "");
  return words.map((word) => {
    const [first, last] = word.split("-").map(Number);
    return [first, last ?? first];
  });
}

/** JSON text with line breaks. Works on the text: numbers that JavaScript can't hold stay as they are. */
export function indented(json) {
  let out = "";
  let depth = 0;
  const line = () => "\n" + "  ".repeat(depth);
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs)) {
    if (token === "{" || token === "[") {
      depth += 1;
      out += token + line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      // An empty list or object stays on one line.
      out = /[{[]\s*$/.test(out) ? out.trimEnd() + token : out + line() + token;
    } else if (token === ",") {
      out += token + line();
    } else {
      out += token === ":" ? ": " : token;
    }
  }
  return out;
}
