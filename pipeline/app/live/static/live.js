// What the page knows, and one stream that keeps it fresh. Panels listen; none of them asks the server for what the stream brings.

import { el, say } from "/live/static/dom.js";
import { rate, total, count } from "/live/static/format.js";
import { mountDrawer } from "/live/static/panels/drawer.js";
import { PANELS } from "/live/static/panels.js";

const EVENTS_OF_A_SOURCE = 1000;

class Live extends EventTarget {
  /** Rows by message id, as the server gives them. */
  rows = new Map();
  /** The newest state of the stages. */
  stages = null;
  /** Nodes, edges and reasons. */
  graph = null;
  /** Addresses, write key, snippets. */
  setup = null;

  on(name, listener) {
    this.addEventListener(name, (event) => listener(event.detail));
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Show where an event got to. */
  open(id) {
    this.tell("open", id);
  }

  /** The sentence of a registered reason. */
  sentence(reason) {
    return this.graph?.reasons[reason]?.sentence ?? "";
  }

  take(rows) {
    for (const row of rows) this.rows.set(row.id, row);
    this.#trim();
    this.tell("rows", rows);
  }

  #trim() {
    const bySource = Map.groupBy ? Map.groupBy(this.rows.values(), (row) => row.source) : group(this.rows.values());
    for (const rows of bySource.values()) {
      if (rows.length <= EVENTS_OF_A_SOURCE) continue;
      rows.sort((a, b) => b.at - a.at);
      for (const row of rows.slice(EVENTS_OF_A_SOURCE)) this.rows.delete(row.id);
    }
  }

  async load() {
    const [graph, setup] = await Promise.all([getJson("/live/topology.json"), getJson("/live/setup.json")]);
    this.graph = graph;
    this.setup = setup;
    this.tell("graph", graph);
    this.tell("setup", setup);
  }

  follow() {
    const source = new EventSource("/live/events");
    source.addEventListener("open", () => this.tell("connection", "live"));
    source.addEventListener("error", () => this.tell("connection", source.readyState === EventSource.CLOSED ? "closed" : "lost"));
    source.addEventListener("events", (event) => this.take(JSON.parse(event.data).rows));
    source.addEventListener("stages", (event) => {
      this.stages = JSON.parse(event.data);
      this.tell("stages", this.stages);
      if (this.graph && this.stages.config !== this.graph.version) this.load().catch(() => {});
    });
    source.addEventListener("error", () => {
      // The browser tries again by itself, unless the answer was not a stream.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.follow(), 3000);
    });
  }
}

function group(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.source, [...(groups.get(row.source) ?? []), row]);
  return groups;
}

async function getJson(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function mountPanel(panel, live) {
  const head = el("div", { class: "panel-head" }, el("h2", { id: `title-${panel.id}` }, panel.title));
  const body = el("div", { class: "panel-body" });
  const section = el("section", { class: `panel panel-${panel.id}`, id: `panel-${panel.id}`, "aria-labelledby": `title-${panel.id}`, tabindex: "-1" }, head, body);
  document.getElementById(panel.place).append(section);
  panel.mount(body, live, head);
}

function mountHeader(live) {
  const words = { live: "Live", lost: "Reconnecting…", closed: "Disconnected", connecting: "Connecting…" };
  const connection = document.getElementById("connection");
  live.on("connection", (state) => {
    connection.dataset.state = state;
    say(connection, words[state]);
  });
  live.on("graph", (graph) => say(document.getElementById("workspace"), `${graph.workspace} · ${graph.topology} topology`));
  const values = ["events/s", "delivered", "retried", "dead"].map((name) => {
    const value = el("dd", {}, "–");
    document.getElementById("figures").append(el("div", { class: `figure figure-${name.replace("/", "-")}` }, el("dt", {}, name), value));
    return value;
  });
  live.on("stages", (stages) => {
    const deliveries = Object.entries(stages.processors).filter(([, each]) => each.statuses).map(([, each]) => each);
    const sum = (pick) => deliveries.reduce((all, each) => all + pick(each.statuses), 0);
    const good = sum((statuses) => total(pickKeys(statuses, (key) => key.startsWith("2"))));
    const tried = sum((statuses) => total(statuses));
    const dead = Object.values(stages.processors).reduce((all, each) => all + total(each.dead), 0);
    [rate(stages.arrivals), count(good), count(tried - good), count(dead)].forEach((text, index) => say(values[index], text));
    values[3].parentElement.classList.toggle("bad", dead > 0);
  });
}

function pickKeys(object, test) {
  return Object.fromEntries(Object.entries(object).filter(([key]) => test(key)));
}

const live = new Live();
mountHeader(live);
mountDrawer(document.getElementById("drawer"), live);
for (const panel of PANELS) mountPanel(panel, live);
const begin = () => live.load().then(() => live.follow(), () => {
  live.tell("connection", "lost");
  setTimeout(begin, 2000);
});
begin();
