// What happened to one event, and why: the same that `headrace explain` prints. Asked for by message id, or from the drawer.

import { el } from "/live/static/dom.js";
import { clock, duration, stateWord, tone } from "/live/static/format.js";
import { pretty } from "/live/static/json.js";

const TONES = { routed: "good", retrying: "warn", missing: "bad", unknown: "warn", "not connected": "calm" };
const toneOf = (state) => TONES[state] ?? tone(state);

export function mountExplain(body, live) {
  let asked = 0;
  const input = el("input", { type: "search", id: "explain-id", maxlength: "400", placeholder: "Message id, or topic/partition/offset", autocomplete: "off", spellcheck: "false" });
  const result = el("div", { class: "explained", "aria-live": "polite" });
  const form = el("form", { class: "explain-form", onsubmit: (event) => { event.preventDefault(); ask(input.value.trim(), ""); } },
    el("label", { for: "explain-id", class: "sr-only" }, "Message id"), input, el("button", { type: "submit", class: "quiet" }, "Explain"));
  body.append(form, result);

  async function ask(id, source) {
    if (!id) return;
    const mine = ++asked;
    result.replaceChildren(el("p", { class: "why" }, "Looking…"));
    const query = new URLSearchParams({ message_id: id, source });
    const answer = await fetch(`/live/explain?${query}`).catch(() => null);
    if (mine !== asked) return;
    if (!answer?.ok) {
      const busy = answer?.status === 503 ? "Another explanation is under way, or this one took too long: try again, or use headrace explain." : "It could not be asked for.";
      result.replaceChildren(el("p", { class: "why" }, busy));
      return;
    }
    const explained = await answer.json();
    if (mine === asked) result.replaceChildren(...(explained.found ? found(explained) : unknown(explained)));
  }

  live.on("explain", ({ id, source }) => {
    input.value = id;
    body.closest("section").scrollIntoView({ block: "start" });
    input.focus();
    ask(id, source);
  });
}

function unknown(explained) {
  return [el("p", {}, "Nothing is known of ", el("code", {}, explained.message_id), ". Looked through:"),
    el("ul", {}, explained.searched.map((line) => el("li", { class: "why" }, line)))];
}

function found(explained) {
  return [
    el("p", {}, el("code", {}, explained.message_id), ` ${[explained.type, explained.event].filter(Boolean).join(" ")} · ${explained.source || "unknown source"} · `,
      el("span", { class: `chip ${explained.same ? "good" : "bad"}` }, explained.same ? "same when run again" : "differs when run again")),
    el("p", {}, explained.sentence),
    el("ol", { class: "way" }, explained.stages.map(stage)),
    el("ul", { class: "targets" }, explained.targets.map(target)),
    el("p", { class: "why" }, `Lies in ${explained.copies.join(", ")}`),
  ];
}

function stage(one) {
  const facts = [one.config ? `version ${one.config}` : "", one.place, one.compared].filter(Boolean).join(" · ");
  return el("li", { class: `stop ${toneOf(one.verdict)}` },
    el("div", { class: "stop-line" }, el("b", {}, one.step), el("span", {}, stateWord(one.verdict)), el("span", { class: "after" }, one.at ? clock(one.at) : "")),
    one.reason ? el("p", { class: "why" }, el("code", {}, one.reason), ` ${one.sentence}`) : null,
    one.detail ? el("p", { class: "why" }, one.detail) : null,
    one.rule ? el("p", { class: "why" }, "Rule: ", el("code", {}, one.rule)) : null,
    facts ? el("p", { class: "why" }, facts) : null,
    changes(one.changes, "What it changed"), changes(one.differences, "Stored, and run again"));
}

function changes(list, title) {
  if (!list.length) return null;
  return el("details", {}, el("summary", {}, `${title}: ${list.length}`), el("ul", {}, list.map((one) =>
    el("li", { class: "why" }, el("code", {}, `${one.kind} ${one.path} ${[one.before, one.after].filter((each) => each !== undefined).map((each) => JSON.stringify(each)).join(" → ")}`)))));
}

function target(one) {
  return el("li", { class: `target ${toneOf(one.state)}` },
    el("div", { class: "target-head" }, el("b", {}, one.id), el("span", { class: `chip ${toneOf(one.state)}` }, stateWord(one.state))),
    one.reason ? el("p", { class: "why" }, el("code", {}, one.reason), ` ${one.sentence}`) : null,
    one.rule ? el("p", { class: "why" }, "Rule: ", el("code", {}, one.rule)) : null,
    one.stages.length ? el("ol", { class: "way" }, one.stages.map(stage)) : null,
    one.mappings.map((mapping) => el("details", {},
      el("summary", {}, `mapping ${mapping.name} ${mapping.matched ? "matched" : "did not match"}${mapping.compared ? ` · ${mapping.compared}` : ""}`),
      el("p", { class: "why" }, el("code", {}, mapping.trigger)),
      changes(mapping.differences, "Stored, and run again"),
      mapping.request ? pretty(JSON.stringify(mapping.request)) : null)),
    one.attempts.map((attempt) => el("p", { class: "why" },
      `Try ${attempt.attempt}: ${attempt.status || attempt.error || "no answer"} in ${duration(attempt.latency_ms)} → ${attempt.outcome} ${attempt.reason}`,
      attempt.until ? ` · next not before ${clock(attempt.until)}, waits in ${attempt.waits_in}` : "",
      attempt.answer ? el("code", {}, ` ${attempt.answer}`) : null)));
}
