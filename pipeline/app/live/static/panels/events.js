// The newest events of each source as they come: pause, filter, and a click that shows where one got to.

import { el, say } from "/live/static/dom.js";
import { clock, count, stateWord, title, tone } from "/live/static/format.js";

const SHOWN = 200;
// What a chip says where there is no status, so that its colour is not the only word.
const SIGNS = { waiting: "…", passed: "…", stored: "✓", delivered: "✓", dropped: "–", dead: "✕", parked: "paused" };

export function mountEvents(body, live, head) {
  const filters = { source: "", event: "", user: "", problems: false };
  let rows = [];
  let paused = false;
  let limit = SHOWN;
  let opened = null;
  const drawn = new Map();

  const status = el("p", { class: "hint", role: "status" });
  const pause = el("button", { type: "button", class: "pause", "aria-pressed": "false", onclick: () => setPaused(!paused) }, "Pause");
  head.append(status, pause);

  const source = el("select", { "aria-label": "Source", onchange: () => setFilter("source", source.value) }, el("option", { value: "" }, "All sources"));
  const field = (name, label) => {
    const input = el("input", { type: "search", placeholder: label, "aria-label": label, spellcheck: "false", autocomplete: "off", oninput: () => setFilter(name, input.value.trim().toLowerCase()) });
    return input;
  };
  const problems = el("input", { type: "checkbox", onchange: () => setFilter("problems", problems.checked) });
  const list = el("tbody");
  const more = el("button", { type: "button", class: "quiet more", hidden: true, onclick: () => { limit += SHOWN; render(); } });
  const empty = el("p", { class: "empty" });
  body.append(
    el("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      source, field("event", "Filter by event"), field("user", "Filter by user"), el("label", { class: "check" }, problems, "Only problems")),
    el("div", { class: "events-scroll", tabindex: "0", role: "group", "aria-label": "Events, newest first" },
      el("table", { class: "events" },
        el("thead", {}, el("tr", {}, ["Time", "Event", "User", "Source", "Where it got to"].map((name) => el("th", { scope: "col" }, name)))),
        list),
      empty, more));

  function setPaused(now) {
    paused = now;
    pause.setAttribute("aria-pressed", String(paused));
    say(pause, paused ? "Resume" : "Pause");
    if (!paused) refresh();
    else say(status, "Paused");
  }

  function setFilter(name, value) {
    filters[name] = value;
    limit = SHOWN;
    refresh();
  }

  function matches(row) {
    return (!filters.source || row.source === filters.source)
      && (!filters.event || `${row.event} ${row.type}`.toLowerCase().includes(filters.event))
      && (!filters.user || row.user.toLowerCase().includes(filters.user))
      && (!filters.problems || isProblem(row));
  }

  let frozen = null;
  function refresh() {
    // While paused the rows stay those of that moment, so that a filter can be tried on them; where they got to goes on.
    frozen = paused && frozen !== null ? frozen.map((row) => live.rows.get(row.id) ?? row) : [...live.rows.values()];
    rows = frozen.filter(matches).sort((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1));
    render();
  }

  function render() {
    const wanted = rows.slice(0, limit);
    const keep = new Set(wanted.map((row) => row.id));
    for (const [id, each] of drawn) {
      if (!keep.has(id)) {
        each.element.remove();
        drawn.delete(id);
      }
    }
    let place = list.firstElementChild;
    for (const row of wanted) {
      let each = drawn.get(row.id);
      if (!each) {
        each = makeRow(row.id);
        drawn.set(row.id, each);
      }
      if (each.row !== row) fillRow(each, row);
      if (each.element === place) place = place.nextElementSibling;
      else list.insertBefore(each.element, place);
    }
    more.hidden = rows.length <= limit;
    say(more, `Show more (${count(rows.length - limit)} older)`);
    empty.hidden = rows.length > 0;
    say(empty, live.rows.size ? "No event matches these filters." : "No events yet. Send one with the form, a snippet, or headrace demo.");
    if (!paused) say(status, rows.length === live.rows.size ? `${count(rows.length)} newest` : `${count(rows.length)} of ${count(live.rows.size)}`);
  }

  function makeRow(id) {
    const cells = {
      time: el("td", { class: "cell-time" }),
      name: el("button", { type: "button", class: "open", onkeydown: move }),
      user: el("td", { class: "cell-user" }),
      source: el("td", { class: "cell-source" }),
      way: el("td", { class: "cell-way" }),
    };
    const kind = el("span", { class: "kind" });
    const element = el("tr", { "data-id": id, class: "arrived", onclick: () => live.open(id) }, cells.time, el("td", { class: "cell-event" }, kind, cells.name), cells.user, cells.source, cells.way);
    if (id === opened) element.setAttribute("aria-selected", "true");
    return { element, cells, kind, row: null };
  }

  function fillRow(each, row) {
    each.row = row;
    say(each.cells.time, clock(row.at));
    say(each.kind, row.type || "?");
    say(each.cells.name, title(row) + (row.copies > 1 ? ` ×${row.copies}` : ""));
    say(each.cells.user, row.user);
    each.cells.user.title = row.user;
    say(each.cells.source, row.source || "unknown");
    each.cells.way.replaceChildren(...chips(row));
  }

  function move(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const next = step && event.target.closest("tr")[step];
    if (!next) return;
    event.preventDefault();
    next.querySelector(".open").focus();
  }

  live.on("rows", () => {
    if (paused) {
      refresh();
      const news = live.rows.size - frozen.filter((row) => live.rows.has(row.id)).length;
      say(status, news ? `Paused · ${count(news)} new` : "Paused");
    } else refresh();
  });
  live.on("graph", (graph) => {
    const names = graph.nodes.filter((node) => node.kind === "source").map((node) => node.label);
    source.replaceChildren(el("option", { value: "" }, "All sources"), ...names.map((name) => el("option", { value: name }, name)));
    source.value = filters.source;
  });
  live.on("opened", (id) => {
    if (opened) drawn.get(opened)?.element.removeAttribute("aria-selected");
    opened = id;
    if (id) drawn.get(id)?.element.setAttribute("aria-selected", "true");
  });
  refresh();
}

function isProblem(row) {
  return ["dead", "blocked"].includes(row.state) || row.to.some((one) => ["dead", "retrying", "parked"].includes(one.state));
}

/** Where an event got to, in a few words: its targets, or the stage that it has reached. */
export function chips(row) {
  if (row.state !== "passed") {
    const why = row.reasons.length ? `: ${row.reasons.join(" or ")}` : "";
    const words = row.state === "waiting" ? `waits for ${row.stage}` : `${stateWord(row.state)} in ${row.stage}${why}`;
    return [el("span", { class: `chip ${tone(row.state)}` }, words)];
  }
  if (!row.to.length) return [el("span", { class: "chip wait" }, `passed ${row.stage}`)];
  return row.to.map((one) => el("span", { class: `chip ${tone(one.state)}`, title: stateWord(one.state) }, one.id, el("b", {}, one.status ? String(one.status) : SIGNS[one.state] ?? "")));
}
