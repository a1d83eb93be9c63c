// Makes calls with the unmodified @segment/analytics-node.
// node send.mjs HOST WRITE_KEY CALLS PAUSE_MS
// Prints a line `gave up ID` for each call that the SDK says it could not send.
import { readFileSync } from "node:fs";
import { Analytics } from "@segment/analytics-node";

const [host, writeKey, file, pause] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host });
analytics.on("error", (error) => console.error(error.code, error.reason ?? error.message));

function timed(values) {
  return values?.at ? { ...values, at: new Date(values.at) } : values;
}

for (const line of readFileSync(file, "utf8").split("\n").slice(0, -1)) {
  const { type, ...call } = JSON.parse(line);
  if (call.traits) call.traits = timed(call.traits);
  if (call.properties) call.properties = timed(call.properties);
  if (call.timestamp) call.timestamp = new Date(call.timestamp);
  analytics[type](call, (error) => error && console.log(`gave up ${call.messageId}`));
  if (Number(pause)) await new Promise((resolve) => setTimeout(resolve, Number(pause)));
}
await analytics.closeAndFlush({ timeout: 120_000 });
