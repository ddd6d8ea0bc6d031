// Read one value with its status and age from Redis.
//
//   REDIS_URL=redis://127.0.0.1:6379/0 node examples/javascript/reader.js HOME orders:market:all:1m
//
// One HMGET answers value, status and both times, all of one version (docs/contract.md, Redis).
// A value is as old as its source, orders or payments (docs/contract.md, Sources).
// Exits with 0 for a value, 1 when it is unknown now, 2 when Redis cannot be reached.

import { createClient } from "redis";

const REDIS_URL = process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0";
const SILENT_AFTER_MS = 5_000; // a publisher says each second that its values stand
const BEHIND_AFTER_MS = 30_000; // a live market's newest window ended some ten seconds ago at most

// There is no value that may be used now. That is not a zero.
class UnknownError extends Error {}

// `text` is plain decimal. An integer may exceed 2^53: BigInt(text) keeps it, Number(text) would not.
async function readValue(client, market, field, source) {
  const [text, status, asOf, publishedAt] = await client.hmGet(`ecindex:v1:{${market}}:values`, [
    field,
    `${field}@status`,
    `@as_of:${source}`,
    "@published_at",
  ]);
  if (asOf == null || publishedAt == null) throw new UnknownError("nobody publishes this market now");
  if (text == null && status == null) throw new UnknownError("it is not among the market's values");
  const silenceMs = Date.now() - Date.parse(publishedAt);
  const ageMs = Date.now() - Date.parse(asOf);
  // Written so that a time that cannot be read (NaN) is not taken for a fresh one.
  if (!(silenceMs <= SILENT_AFTER_MS)) {
    throw new UnknownError(`its publisher was last heard ${(silenceMs / 1000).toFixed(1)} s ago`);
  }
  if (!(ageMs <= BEHIND_AFTER_MS)) throw new UnknownError(`it is ${(ageMs / 1000).toFixed(1)} s old`);
  if (text == null) throw new UnknownError(`its status is ${status}`);
  return { text, status: status ?? "ok", ageMs };
}

const [market = "HOME", field = "orders:market:all:1m", source = "orders"] = process.argv.slice(2);
// A service reconnects for ever, which is the default. This one tells at once.
const client = createClient({
  url: REDIS_URL,
  socket: { connectTimeout: 2_000, socketTimeout: 2_000, reconnectStrategy: false },
});
client.on("error", () => {}); // each call below rejects with the same error
try {
  await client.connect();
  const value = await readValue(client, market, field, source);
  const ageS = (value.ageMs / 1000).toFixed(1);
  console.log(`${market} ${field} = ${value.text} (${value.status}, ${ageS} s old)`);
} catch (error) {
  if (error instanceof UnknownError) {
    console.error(`${market} ${field} is unknown: ${error.message}`);
    process.exitCode = 1;
  } else {
    console.error(`Redis does not answer: ${error.message || error.code}`);
    process.exitCode = 2;
  }
} finally {
  client.destroy();
}
