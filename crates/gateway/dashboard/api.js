// Asking the gateway. The token is kept in this tab's session storage and travels as a header, never in an address.

const KEPT_AS = "holocron-token";
const ANSWER_WITHIN_MS = 8_000;

/** Why there is no answer: a status, or 0 if the gateway can't be reached. */
export class NoAnswer extends Error {
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(KEPT_AS, token);
}

export function forgetToken() {
  sessionStorage.removeItem(KEPT_AS);
}

/** Whether a token was given. */
export const hasToken = () => sessionStorage.getItem(KEPT_AS) !== null;

/** Gets JSON from this gateway. */
export async function get(path) {
  const token = sessionStorage.getItem(KEPT_AS);
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  let response;
  let body;
  try {
    response = await fetch(path, {
      headers,
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    body = await response.json();
  } catch (error) {
    if (response !== undefined) throw new NoAnswer(response.status, "the answer is not JSON");
    throw new NoAnswer(0, error.name === "TimeoutError" ? "no answer in time" : "no connection");
  }
  if (!response.ok) throw new NoAnswer(response.status, body.detail ?? `status ${response.status}`);
  return body;
}

/** The path of a vnode's explanation. */
export const explainPath = (kind, key) =>
  `/v1/explain/${encodeURIComponent(kind)}/${encodeURIComponent(key)}`;
