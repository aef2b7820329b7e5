// Tries the generated TypeScript types: a command, a retry under a key, a query, a list, a problem, a deletion.

import createClient from "openapi-fetch";
import type { paths } from "./api.js";

function assert(condition: boolean, what: unknown): asserts condition {
  if (!condition) throw new Error(JSON.stringify(what));
}

const client = createClient<paths>({ baseUrl: process.argv[2] });
const params = { path: { key: `typescript/${crypto.randomUUID()}` } };

const added = await client.POST("/v1/vnodes/counter/{key}/add", { params, body: { amount: 5 } });
assert(added.response.status === 200, added);
const header = { "Idempotency-Key": crypto.randomUUID() };
for (let tries = 0; tries < 3; tries++) {
  await client.POST("/v1/vnodes/counter/{key}/add", { params: { ...params, header }, body: { amount: 5 } });
}
const value = await client.GET("/v1/vnodes/counter/{key}/value", { params });
assert(value.data === 10, value);
const page = await client.GET("/v1/vnodes/counter", { params: { query: { prefix: "typescript/" } } });
assert(page.data?.keys.length === 1 && page.data.next === null, page);
const refused = await client.POST("/v1/vnodes/counter/{key}/add", { params: { ...params, header }, body: { amount: 6 } });
assert(refused.error?.type === "urn:holocron:problem:key-reused" && refused.error.ran === "no", refused);
const gone = await client.DELETE("/v1/vnodes/counter/{key}", { params });
assert(gone.response.status === 204, gone);
const missing = await client.GET("/v1/vnodes/counter/{key}", { params });
assert(missing.response.status === 404, missing);
console.log("typescript: ok");
