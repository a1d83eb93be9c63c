// Makes calls with the unmodified @rudderstack/analytics-js, in a page that browser.py serves. Mode `xhr`: a request for each call; `batch`; `beacon`.
// The SDK takes no message id from its caller: the call's id stands in `context.callId`. It has no screen call. Logs `made all calls`.
const { host, writeKey, pause, mode } = await (await fetch("/settings.json")).json();
const calls = (await (await fetch("/calls")).text()).split("\n").slice(0, -1).map((line) => JSON.parse(line));

const analytics = new rudderanalytics.RudderAnalytics();
analytics.load(writeKey, host, {
  configUrl: host,
  logLevel: "ERROR",
  useBeacon: mode === "beacon",
  queueOptions: mode === "batch" ? { batch: { enabled: true, maxItems: 10, flushInterval: 500 } } : {},
});

function timed(values) {
  return values?.at ? { ...values, at: new Date(values.at) } : values;
}

function make(call) {
  const { type, messageId, userId = null, anonymousId, integrations } = call;
  const options = { context: { ...call.context, callId: messageId } };
  if (integrations) options.integrations = integrations;
  if (anonymousId) options.anonymousId = anonymousId;
  if (call.timestamp) options.originalTimestamp = call.timestamp;
  const traits = timed(call.traits);
  const properties = timed(call.properties);
  // What was said of a person or group before is sent again with the next call, unless a new person begins.
  if (type === "identify" || type === "group") analytics.reset();
  if (type === "identify") userId ? analytics.identify(userId, traits, options) : analytics.identify(traits, options);
  if (type === "track") analytics.track(call.event, properties, options);
  if (type === "page") analytics.page(call.category ?? "", call.name, properties, options);
  if (type === "group") analytics.group(call.groupId, traits, options);
  if (type === "alias") analytics.alias(userId, call.previousId, options);
}

for (const call of calls) {
  make(call);
  if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
}
console.log("made all calls");
