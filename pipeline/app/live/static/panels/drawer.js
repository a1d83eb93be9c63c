// One event: where it got to, stage by stage and try by try, and what it says, pretty and raw.

import { copyButton, el } from "/live/static/dom.js";
import { clock, duration, stateWord, title, tone } from "/live/static/format.js";
import { pretty, raw } from "/live/static/json.js";

export function mountDrawer(drawer, live) {
  let opened = null;
  let asked = 0;
  let view = "pretty";
  let before = null;
  let fresh = null;
  drawer.setAttribute("role", "dialog");
  drawer.setAttribute("aria-labelledby", "drawer-title");
  drawer.tabIndex = -1;
  // On the document: whoever opened the drawer can close it wherever the focus is by now.
  document.addEventListener("keydown", (event) => event.key === "Escape" && opened && close());

  function close() {
    drawer.hidden = true;
    opened = null;
    live.tell("opened", null);
    before?.focus();
  }

  async function load(id) {
    const mine = ++asked;
    const answer = await fetch(`/live/trail?message_id=${encodeURIComponent(id)}`).catch(() => null);
    if (mine !== asked || opened !== id) return;
    if (!answer?.ok) {
      drawer.replaceChildren(closeButton(), el("h2", { id: "drawer-title" }, "No longer here"), el("p", {}, "The page remembers the newest events only; this one has made room for others."));
      return;
    }
    draw(await answer.json());
  }

  const closeButton = () => el("button", { type: "button", class: "quiet close", "aria-label": "Close", "data-focus": "close", onclick: close }, "Close");

  function draw(event) {
    const held = drawer.scrollTop;
    const focused = drawer.contains(document.activeElement) ? document.activeElement : null;
    const records = new Map([...drawer.querySelectorAll("details[open][data-place]")].map((each) => [each.dataset.place, each]));
    drawer.replaceChildren(
      el("div", { class: "drawer-head" },
        el("div", {}, el("p", { class: "kind" }, event.type || "?"), el("h2", { id: "drawer-title" }, title(event))),
        closeButton()),
      about(event),
      el("button", { type: "button", class: "quiet", "data-focus": "explain", onclick: () => { close(); live.tell("explain", { id: event.id, source: event.source }); } }, "Explain why"),
      el("h3", {}, "Where it got to"),
      way(event, live, records),
      el("div", { class: "json-head" }, el("h3", {}, "Event"), tabs(event), copyButton(event.body)),
      view === "pretty" ? pretty(event.body) : raw(event.body));
    drawer.scrollTop = held;
    if (focused) (drawer.querySelector(`[data-focus="${focused.dataset.focus}"]`) ?? drawer).focus();
  }

  function tabs(event) {
    const tab = (name, label) => el("button", {
      type: "button", role: "tab", "aria-selected": String(view === name), "data-focus": `tab-${name}`, onclick: () => { view = name; draw(event); },
    }, label);
    return el("div", { class: "tabs", role: "tablist", "aria-label": "How the event is shown" }, tab("pretty", "Pretty"), tab("raw", "Raw"));
  }

  live.on("open", (id) => {
    before = document.activeElement;
    opened = id;
    drawer.hidden = false;
    drawer.scrollTop = 0;
    live.tell("opened", id);
    load(id).then(() => drawer.focus());
  });
  live.on("rows", (rows) => {
    if (opened && rows.some((row) => row.id === opened)) {
      clearTimeout(fresh);
      fresh = setTimeout(() => opened && load(opened), 150);
    }
  });
}

function about(event) {
  const rows = [["Received", clock(event.at)], ["Source", event.source || "unknown"], ["User", event.user], ["Message id", event.id]];
  return el("dl", { class: "about" }, rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function way(event, live, records) {
  const list = el("ol", { class: "way" }, event.stops.map((stop) => step(stop, event, live, records)));
  if (event.copies > 1) {
    list.append(el("li", { class: "stop calm" }, el("div", { class: "stop-line" }, el("b", {}, `Sent ${event.copies} times`), el("span", {}, "the copies are dropped as duplicates"))));
  }
  if (!event.targets.length) return list;
  const targets = el("ul", { class: "targets" }, event.targets.map((target) => el("li", { class: `target ${tone(target.state)}` },
    el("div", { class: "target-head" },
      el("b", {}, target.id),
      el("span", { class: `chip ${tone(target.state)}` }, stateWord(target.state), target.status ? el("b", {}, String(target.status)) : null)),
    why(target.reasons, live),
    target.stops.length ? el("ol", { class: "way" }, target.stops.map((stop) => step(stop, event, live, records))) : null,
    target.attempts.length ? tries(target.attempts, event) : null)));
  return el("div", {}, list, targets);
}

function step(stop, event, live, records) {
  const after = stop.at && event.at && stop.at >= event.at ? `+${duration(stop.at - event.at)}` : "";
  return el("li", { class: `stop ${tone(stop.state)}` },
    el("div", { class: "stop-line" }, el("b", {}, stop.stage), el("span", {}, stateWord(stop.state)), el("span", { class: "after" }, after)),
    why(stop.reasons, live),
    stop.detail ? el("p", { class: "why" }, stop.detail) : null,
    stop.place ? record(stop.place, records) : null);
}

function why(reasons, live) {
  return reasons.length ? el("p", { class: "why" }, el("code", {}, reasons.join(" or ")), " ", reasons.map((reason) => live.sentence(reason)).join(" ")) : null;
}

function tries(attempts, event) {
  return el("table", { class: "tries" },
    el("thead", {}, el("tr", {}, ["Try", "Answer", "Took", "At", "Mapping"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, attempts.flatMap((one) => [
      el("tr", {},
        el("td", {}, String(one.attempt)),
        el("td", {}, el("span", { class: `chip ${tone({ retried: "retrying" }[one.outcome] ?? one.outcome)}` }, one.status ? String(one.status) : one.error || "no answer")),
        el("td", {}, duration(one.latency_ms)),
        el("td", {}, `+${duration(Math.max(0, one.at - event.at))}`),
        el("td", {}, one.mapping)),
      one.answer ? el("tr", { class: "answer" }, el("td", { colspan: "5" }, el("code", {}, one.answer))) : null,
    ])));
}

/** A record that opens: its place first, its bytes once someone looks. */
function record(place, records) {
  const name = `${place.topic}/${place.partition}/${place.offset}`;
  const old = records.get(name);
  if (old) return old;
  const details = el("details", {
    "data-place": name,
    ontoggle: async () => {
      if (!details.open || details.dataset.loaded) return;
      details.dataset.loaded = "yes";
      const query = new URLSearchParams(place);
      const answer = await fetch(`/live/record?${query}`).catch(() => null);
      const found = answer?.ok ? await answer.json() : null;
      details.append(...(found ? contents(found) : [el("p", { class: "why" }, "The record is no longer there.")]));
    },
  }, el("summary", { "data-focus": name }, el("code", {}, name)));
  return details;
}

function contents(found) {
  const headers = [["key", found.key ?? "none"], ...found.headers];
  return [el("dl", { class: "about" }, headers.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value)))), pretty(found.value ?? "")];
}
