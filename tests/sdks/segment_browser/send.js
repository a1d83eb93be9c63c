// Makes calls with the unmodified @segment/analytics-next, in a page that browser.py serves: from npm, told the address alone. Mode `batch`: its
// batching strategy; `snippet`: the collector's own snippet, which loads the library from the collector too.
// Logs a line `gave up ID` for each call that the SDK says it could not send, and `made all calls`.
const { host, writeKey, pause, mode } = await (await fetch("/settings.json")).json();
const calls = (await (await fetch("/calls")).text()).split("\n").slice(0, -1).map((line) => JSON.parse(line));

const delivery = mode === "batch" ? { deliveryStrategy: { strategy: "batching", config: { size: 10, timeout: 500 } } } : {};

let analytics;
if (mode === "snippet") {
  await new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = `${host}/analytics.js/v1/${writeKey}/snippet.js`;
    script.onload = () => window.analytics.ready(() => resolve());
    document.head.append(script);
  });
  analytics = window.analytics;
} else {
  analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL: host }, { integrations: { "Segment.io": delivery } });
}
await analytics.ready(() => {}); // calls of different kinds that are made before are sent in another order

function timed(values) {
  return values?.at ? { ...values, at: new Date(values.at) } : values;
}

function make(call) {
  const { type, messageId, userId = null, anonymousId, context, integrations } = call;
  const options = { messageId, userId, context, integrations };
  if (anonymousId) options.anonymousId = anonymousId;
  if (call.timestamp) options.timestamp = new Date(call.timestamp);
  const traits = timed(call.traits);
  const properties = timed(call.properties);
  // What was said of a person or group before is sent again with the next call, unless a new person begins.
  if (type === "identify" || type === "group") analytics.reset();
  if (type === "identify") return userId ? analytics.identify(userId, traits, options) : analytics.identify(traits, options);
  if (type === "track") return analytics.track(call.event, properties, options);
  if (type === "page" || type === "screen") return analytics[type](call.category ?? null, call.name, properties, options);
  if (type === "group") return analytics.group(call.groupId, traits, options);
  return analytics.alias(userId, call.previousId, options);
}

for (const call of calls) {
  make(call).then(
    (context) => context.failedDelivery?.() && console.log(`gave up ${call.messageId}`),
    (context) => console.log(`gave up ${call.messageId}`, context),
  );
  if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
}
console.log("made all calls");
