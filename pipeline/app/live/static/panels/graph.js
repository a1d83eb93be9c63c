// The topology: stages as nodes with rate, lag and dead letters, destinations with their answers; what it counted, on hover and focus.

import { el, say, svg } from "/live/static/dom.js";
import { clockShort, count, duration, rate, total } from "/live/static/format.js";

const NARROW = 760;
const HEIGHT = 92;
const HEIGHT_NARROW = 106;
const GAP_X = 26;
const GAP_Y = 14;

export function mountGraph(body, live, head) {
  const since = el("p", { class: "hint" });
  head.append(since);
  const edges = svg("svg", { class: "edges", "aria-hidden": "true" });
  const nodes = el("ul", { class: "nodes" });
  const stage = el("div", { class: "graph" }, edges, nodes);
  const tip = el("div", { class: "tip", role: "tooltip", id: "graph-tip", hidden: true });
  const scroll = el("div", { class: "graph-scroll", tabindex: "0", role: "group", "aria-label": "Topology" }, stage);
  body.append(scroll, tip);

  let drawn = new Map();
  let wires = [];
  let shown = null;

  function draw() {
    if (!live.graph) return;
    const width = stage.parentElement.clientWidth - 6; // beside the padding that keeps focus rings whole
    const narrow = width < NARROW;
    const places = narrow ? placeDown(live.graph.nodes, width) : placeAcross(live.graph.nodes, width);
    stage.style.width = `${places.width}px`;
    stage.style.height = `${places.height}px`;
    edges.setAttribute("viewBox", `0 0 ${places.width} ${places.height}`);
    edges.setAttribute("width", places.width);
    edges.setAttribute("height", places.height);
    drawn = new Map(live.graph.nodes.map((node) => [node.id, makeNode(node, places.of.get(node.id), places)]));
    nodes.replaceChildren(...[...drawn.values()].map((each) => each.item));
    wires = live.graph.edges.map((edge) => ({
      edge,
      path: svg("path", { d: curve(places.of.get(edge.from), places.of.get(edge.to), narrow), class: "wire" }),
    }));
    edges.replaceChildren(...wires.map((wire) => wire.path));
    refresh();
  }

  function makeNode(node, place, places) {
    const figure = el("span", { class: "node-rate" });
    const badges = el("span", { class: "node-badges" });
    const line = svg("polyline", { class: "spark" });
    const button = el(
      "button",
      {
        type: "button",
        class: `node node-${node.kind}`,
        "data-node": node.id,
        "aria-describedby": "graph-tip",
        onmouseenter: () => show(node.id),
        onmouseleave: () => hide(),
        onfocus: () => show(node.id),
        onblur: () => hide(),
        onkeydown: (event) => event.key === "Escape" && hide(),
      },
      el("span", { class: "node-label" }, node.label),
      el("span", { class: "node-detail" }, node.detail ?? ""),
      el("span", { class: "node-figures" }, figure, badges),
      svg("svg", { class: "node-spark", viewBox: "0 0 60 12", preserveAspectRatio: "none", "aria-hidden": "true" }, line),
    );
    Object.assign(button.style, { left: `${place.x}px`, top: `${place.y}px`, width: `${place.w}px`, height: `${places.h}px` });
    return { node, button, figure, badges, line, item: el("li", {}, button) };
  }

  function refresh() {
    const stages = live.stages;
    if (!stages) return;
    since.textContent = stages.since ? `Counted since ${clockShort(stages.since)}` : "";
    if (stages.one_in > 1) since.textContent += ` · busy: showing the events of 1 person in ${stages.one_in}`;
    for (const each of drawn.values()) {
      const facts = factsOf(each.node, stages);
      say(each.figure, facts.rate === null ? "" : `${rate(facts.rate)}/s`);
      const badges = facts.badges.map(([text, kind]) => `${kind}:${text}`).join("|");
      if (each.badges.dataset.now !== badges) {
        each.badges.dataset.now = badges;
        each.badges.replaceChildren(...facts.badges.map(([text, kind]) => el("span", { class: `badge ${kind}` }, text)));
      }
      each.button.dataset.halt = haltOf(each.node, stages)?.state ?? "";
      each.button.dataset.flow = facts.rate > 0 ? "on" : "off";
      each.button.setAttribute("aria-label", [each.node.label, each.node.detail, each.figure.textContent, ...facts.badges.map(([text]) => text)].filter(Boolean).join(", "));
      each.line.setAttribute("points", spark(facts.history));
    }
    for (const wire of wires) {
      const from = drawn.get(wire.edge.from);
      const to = drawn.get(wire.edge.to);
      const source = from.node.kind === "source" ? from : to;
      wire.path.classList.toggle("flowing", factsOf(source.node, stages).rate > 0);
    }
    if (shown) fillTip(shown);
  }

  function show(id) {
    shown = id;
    fillTip(id);
    tip.hidden = false;
    const box = drawn.get(id).button.getBoundingClientRect();
    const outer = body.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left - outer.left, outer.width - tip.offsetWidth - 8));
    tip.style.left = `${left}px`;
    tip.style.top = `${box.bottom - outer.top + 8}px`;
  }

  function hide() {
    shown = null;
    tip.hidden = true;
  }

  function fillTip(id) {
    const { node } = drawn.get(id);
    tip.replaceChildren(el("h3", {}, node.detail ? `${node.label} · ${node.detail}` : node.label), ...describe(node, live));
  }

  live.on("graph", draw);
  live.on("stages", refresh);
  let width = 0;
  new ResizeObserver(() => {
    if (scroll.clientWidth === width) return;
    width = scroll.clientWidth;
    draw();
  }).observe(scroll);
}

/** Columns from left to right. */
function placeAcross(nodes, width) {
  const columns = 1 + Math.max(...nodes.map((node) => node.column));
  const rows = 1 + Math.max(...nodes.map((node) => node.row));
  const pitch = Math.max(136, (width + GAP_X) / columns);
  const w = pitch - GAP_X;
  const of = new Map(nodes.map((node) => [node.id, { x: node.column * pitch, y: node.row * (HEIGHT + GAP_Y), w }]));
  return { of, h: HEIGHT, width: columns * pitch - GAP_X, height: rows * (HEIGHT + GAP_Y) - GAP_Y };
}

/** Columns from top to bottom, for narrow screens. */
function placeDown(nodes, width) {
  const columns = 1 + Math.max(...nodes.map((node) => node.column));
  const rows = 1 + Math.max(...nodes.map((node) => node.row));
  const pitch = Math.min(180, Math.max(110, (width + 8) / rows));
  const w = pitch - 8;
  const left = Math.max(0, (width - (rows * pitch - 8)) / 2);
  const of = new Map(nodes.map((node) => [node.id, { x: left + node.row * pitch, y: node.column * (HEIGHT_NARROW + 24), w }]));
  return { of, h: HEIGHT_NARROW, width: Math.max(width, rows * pitch - 8), height: columns * (HEIGHT_NARROW + 24) - 24 };
}

function curve(from, to, narrow) {
  if (narrow) {
    const [x1, y1, x2, y2] = [from.x + from.w / 2, from.y + HEIGHT_NARROW, to.x + to.w / 2, to.y];
    const bend = Math.max(12, (y2 - y1) / 2);
    return `M${x1} ${y1} C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
  }
  const [x1, y1, x2, y2] = [from.x + from.w, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const bend = Math.max(14, (x2 - x1) / 2);
  return `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

function spark(history) {
  if (!history || !history.length) return "";
  const most = Math.max(1, ...history);
  return history.map((value, index) => `${(index * 60) / (history.length - 1)},${(11.5 - (10.5 * value) / most).toFixed(1)}`).join(" ");
}

/** What does not flow here, why, and what makes it flow again; undefined where all is well. */
function haltOf(node, stages) {
  return node.kind === "destination" ? stages.destinations[node.label] : node.kind === "stage" ? stages.processors[node.group]?.halt : undefined;
}

function factsOf(node, stages) {
  if (node.kind === "source") return { rate: stages.sources[node.label] ?? 0, badges: [], history: null };
  const facts = stages.processors[node.group] ?? {};
  const halt = haltOf(node, stages);
  const badges = halt ? [[halt.state, "bad"]] : [];
  if (node.kind === "destination") return { rate: null, badges: [...badges, ...statusBadges(facts.statuses)].slice(0, 2), history: null };
  if (node.kind === "storage") return { rate: null, badges: facts.passed ? [[`${count(facts.passed)} stored`, "good"]] : [], history: null };
  if (node.kind === "retry" && facts.lag > 0) badges.push([`${count(facts.lag)} waiting`, "warn"]);
  else if (facts.lag > 0) badges.push([`lag ${count(facts.lag)}`, facts.lag > 1000 ? "warn" : "calm"]);
  const dead = total(facts.dead);
  if (dead) badges.push([`${count(dead)} dead`, "bad"]);
  if (node.kind === "collector") return { rate: stages.arrivals, badges, history: stages.history };
  return { rate: halt ? null : (facts.rate ?? 0), badges, history: facts.history };
}

function statusBadges(statuses) {
  const tones = { 2: "good", 4: "warn", 5: "bad", 0: "bad" };
  return Object.entries(statuses ?? {})
    .sort(([, a], [, b]) => b - a)
    .slice(0, 8)
    .map(([status, number]) => [`${status === "0" ? "no answer" : status} × ${count(number)}`, tones[status[0]] ?? "calm"]);
}

function describe(node, live) {
  const { stages } = live;
  if (!stages) return [];
  if (node.kind === "source") return [el("p", {}, `${rate(stages.sources[node.label] ?? 0)} events a second.`)];
  const facts = stages.processors[node.group] ?? {};
  const collects = node.kind === "collector";
  const rows = collects ? [] : [["taken", facts.in ?? 0], ["passed", facts.passed ?? 0]];
  if (facts.lag !== undefined && facts.lag !== null) rows.push([node.kind === "retry" ? "waiting" : "lag", facts.lag]);
  if (facts.p50) rows.push(["median answer", `≤ ${duration(facts.p50)}`]);
  if (facts.p95) rows.push(["95th percentile", `≤ ${duration(facts.p95)}`]);
  const figures = el("dl", {}, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, typeof value === "number" ? count(value) : value))));
  const groups = [["dropped", "Dropped, as meant"], ["dead", "Dead letters"], ["blocked", "Blocked"], ["withheld", "Not sent to a destination"]];
  const reasons = groups.flatMap(([verdict, heading]) => {
    const entries = Object.entries(facts[verdict] ?? {}).sort(([, a], [, b]) => b - a);
    if (!entries.length) return [];
    return [
      el("h4", { class: `tip-${verdict}` }, heading),
      el("ul", {}, entries.map(([reason, number]) => el("li", {}, el("b", {}, `${count(number)} ${reason}`), " ", live.sentence(reason),
        verdict === "dead" ? [" ", el("code", {}, `headrace dead list --reason ${reason}`)] : null))),
    ];
  });
  const statuses = statusBadges(facts.statuses);
  const halt = haltOf(node, stages);
  return [
    halt ? el("p", { class: "tip-halt" }, el("b", {}, halt.reason ? `${halt.state}: ${halt.reason}` : halt.state), " ", halt.detail || live.sentence(halt.reason),
      " ", halt.state === "stopped" ? "It begins again, once its cause is mended, with " : "It goes on with ", el("code", {}, halt.command)) : null,
    collects ? el("p", {}, "Takes events over HTTP and answers 200 once Kafka has stored them.") : figures,
    statuses.length ? el("p", { class: "tip-statuses" }, statuses.map(([text, kind]) => el("span", { class: `badge ${kind}` }, text))) : null,
    ...reasons,
  ].filter(Boolean);
}
