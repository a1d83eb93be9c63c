// Makes calls with the unmodified @rudderstack/rudder-sdk-node.
// node send.mjs HOST WRITE_KEY CALLS PAUSE_MS [plain]
// Prints a line `gave up ID` for each call that the SDK says it could not send.
import { readFileSync } from "node:fs";
import Analytics from "@rudderstack/rudder-sdk-node";

const [dataPlaneUrl, writeKey, file, pause, mode] = process.argv.slice(2);
// Without a handler of errors the SDK throws what it could not send where nobody can catch it.
const analytics = new Analytics(writeKey, { dataPlaneUrl, gzip: mode !== "plain", errorHandler: (error) => console.error(error.message) });

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
// A flush sends one batch; it is called until nothing is left.
while (analytics.queue.length) await analytics.flush().catch(() => {});
