// Buttons that call the library, and a line for each request of it: what was sent and what came back.

const log = document.getElementById("log");
const state = document.getElementById("state");

const CALLS = {
  track: () => analytics.track("Order Completed", { order_id: `o-${Date.now()}`, total: 42, currency: "EUR" }),
  identify: () => analytics.identify("ada", { email: "ada@example.com", plan: "pro" }),
  page: () => analytics.page("Pricing"),
  group: () => analytics.group("analytical-engines", { name: "Analytical Engines", employees: 2 }),
  reset: () => analytics.reset(),
};

for (const button of document.querySelectorAll("[data-call]")) button.addEventListener("click", CALLS[button.dataset.call]);

function line(...texts) {
  const row = document.createElement("tr");
  row.append(...texts.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  row.dataset.good = String(/^(2|sent)/.test(texts[2]));
  log.prepend(row);
  document.getElementById("none").hidden = true;
}

// The library sends with fetch; what it gets goes through here.
const send = window.fetch;
window.fetch = async (request, options = {}) => {
  const address = new URL(request instanceof Request ? request.url : request, location.href);
  const path = address.origin === location.origin ? address.pathname : `${address.host}${address.pathname}`;
  if (options.method?.toUpperCase() !== "POST") return send(request, options);
  let event = "";
  try {
    const body = JSON.parse(options.body);
    event = `${body.type ?? "batch"} ${body.event ?? body.name ?? body.userId ?? body.groupId ?? ""}`.trim();
  } catch {
    event = "?";
  }
  try {
    const answer = await send(request, options);
    // A tool in device mode is told without asking whether the page may read its answer.
    if (answer.type === "opaque") line(path, event, "sent", "a tool in device mode, whose answer no page may read");
    else line(path, event, answer.status, await answer.clone().text());
    return answer;
  } catch (error) {
    line(path, event, "–", String(error));
    throw error;
  }
};

analytics.ready(() => { state.textContent = "analytics.js is loaded."; state.dataset.state = "ready"; });

const script = document.querySelector('script[src$="/analytics.min.js"]');
script?.addEventListener("error", async () => {
  state.dataset.state = "failed";
  const answer = await send(script.src);
  state.textContent = answer.ok ? "analytics.js did not run: see the console." : (await answer.text()).replace(/^\/\/ /, "");
});
