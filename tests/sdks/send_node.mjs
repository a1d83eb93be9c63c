// Sends mixed calls with the unmodified @segment/analytics-node and notes before each what it is about to send.
// node send_node.mjs HOST WRITE_KEY CALLS PREFIX LEDGER
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { Analytics } from "@segment/analytics-node";

const tricky = JSON.parse(readFileSync(new URL("tricky_values.json", import.meta.url), "utf8"));
const large = "x".repeat(31_000);

// One call; send_python.py makes the same.
function callOf(number, prefix) {
  const call = { messageId: `${prefix}-${number}`, userId: `${prefix}-user-${number % 97}` };
  if (number % 3 === 0) call.anonymousId = `${prefix}-anonymous-${number % 89}`;
  const values = { number, ...(number % 4 === 0 ? tricky : { text: `value ${number}` }) };
  switch (number % 20) {
    case 0:
      return { ...call, type: "identify", traits: values, context: { tricky: tricky.nested, ip: "192.0.2.7" } };
    case 1:
      return { ...call, type: "page", category: "Docs", name: tricky.text, properties: values };
    case 2:
      return { ...call, type: "screen", category: "Docs", name: tricky.emoji, properties: values };
    case 3:
      return { ...call, type: "group", groupId: `group-${number % 7}`, traits: values };
    case 4:
      return { messageId: call.messageId, userId: call.userId, type: "alias", previousId: `${prefix}-old-${number}` };
    case 5: {
      const order = { order_id: `${prefix}-${number}`, total: number / 4, currency: "CHF", products: [{ product_id: "1", price: 9.5 }] };
      return { ...call, type: "track", event: "Order Completed", properties: { ...values, ...order } };
    }
    default:
      if (number % 50 === 7) return { ...call, type: "track", event: "Large", properties: { x: large } };
      return { ...call, type: "track", event: ["Article Read", "Приве́т 👋", "A.b/c d"][number % 3], properties: values };
  }
}

const [host, writeKey, calls, prefix, ledger] = process.argv.slice(2);
const errors = [];
const analytics = new Analytics({ writeKey, host });
analytics.on("error", (error) => errors.push(error));
const file = openSync(ledger, "w");
for (let number = 0; number < Number(calls); number += 1) {
  const call = callOf(number, prefix);
  // The SDK itself adds the category of a page to its properties.
  const noted = call.type === "page" ? { ...call, properties: { ...call.properties, category: call.category } } : call;
  writeSync(file, `${JSON.stringify(noted)}\n`);
  const { type, ...fields } = call;
  analytics[type](fields);
  if (number % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 5)); // lets the SDK send while it is fed
}
await analytics.closeAndFlush({ timeout: 120_000 });
closeSync(file);
for (const error of errors.slice(0, 10)) console.error(error);
process.exitCode = errors.length === 0 ? 0 : 1;
