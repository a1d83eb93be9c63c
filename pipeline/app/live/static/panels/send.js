// Sends an event as an app would, to the collector's own address, and says how long it took until it was seen here.

import { el } from "/live/static/dom.js";
import { duration } from "/live/static/format.js";

const SAMPLES = {
  "Order Completed": { type: "track", event: "Order Completed", properties: { order_id: "o-1001", revenue: 59.9, currency: "EUR", products: [{ product_id: "p-7", name: "Mill wheel", quantity: 1 }] } },
  Identify: { type: "identify", userId: "u-1001", traits: { name: "Ada Lovelace", email: "ada@example.com", plan: "team" } },
  Page: { type: "page", name: "Pricing", properties: { path: "/pricing", title: "Pricing" } },
  "A wrong one": { type: "track", event: "", properties: { note: "no name: it becomes a dead letter" } },
};

export function mountSend(body, live) {
  const visitor = `headrace-live-${crypto.randomUUID().slice(0, 8)}`;
  const text = el("textarea", { "aria-label": "Event as JSON", rows: "11", spellcheck: "false" });
  const answer = el("div", { class: "answer", role: "status" });
  const button = el("button", { type: "submit", class: "primary" }, "Send");
  const choose = (name) => { text.value = JSON.stringify({ ...SAMPLES[name], anonymousId: visitor }, null, 2); };
  const samples = el("select", { "aria-label": "Example", onchange: () => choose(samples.value) }, Object.keys(SAMPLES).map((name) => el("option", { value: name }, name)));
  choose("Order Completed");
  body.append(el("form", { class: "send", onsubmit: (event) => { event.preventDefault(); send(); } }, samples, text, button, answer));

  let waiting = null;

  async function send() {
    let event;
    try {
      event = JSON.parse(text.value);
    } catch (error) {
      say("bad", `Not JSON: ${error.message}`);
      return;
    }
    if (event === null || typeof event !== "object" || Array.isArray(event)) {
      say("bad", "An event is a JSON object.");
      return;
    }
    const id = event.messageId ?? `live-${crypto.randomUUID()}`;
    const path = ["track", "identify", "page", "screen", "group", "alias"].includes(event.type) ? event.type : "track";
    button.disabled = true;
    try {
      const began = performance.now();
      const reply = await fetch(`/v1/${path}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Basic ${btoa(`${live.setup.write_key}:`)}` },
        body: JSON.stringify({ ...event, messageId: id }),
      });
      const took = performance.now() - began;
      const words = (await reply.text()).slice(0, 300);
      say(reply.ok ? "good" : "bad", `${reply.status} in ${duration(took)}`, words);
      if (reply.ok) {
        waiting = { id, since: performance.now() };
        seen();
      }
    } catch {
      say("bad", "The collector did not answer.");
    } finally {
      button.disabled = false;
    }
  }

  function say(kind, head, words = "") {
    waiting = null;
    answer.replaceChildren(el("p", { class: `chip ${kind}` }, head), words ? el("code", {}, words) : "");
  }

  function seen() {
    if (!waiting || !live.rows.has(waiting.id)) return;
    const { id, since } = waiting;
    waiting = null;
    answer.append(el("p", {}, `Seen here ${duration(Math.max(0, performance.now() - since))} later. `, el("button", { type: "button", class: "link", onclick: () => live.open(id) }, "Show where it got to")));
  }

  live.on("rows", seen);
}
