// The topology: stages as nodes with rate, lag and dead letters, destinations with their answers; what it counted, on hover and focus.

import { el, say, svg } from "/live/static/dom.js";
import { clockShort, count, duration, rate, total } from "/live/static/format.js";

const NARROW = 760;
const HEIGHT = 78;
const GAP_Y = 18;

export function mountGraph(body, live, head) {
  const since = el("p", { class: "hint" });
  head.append(since);
  const edges = svg("svg", { class: "edges", "aria-hidden": "true" });
  const nodes = el("ul", { class: "nodes" });
  const stage = el("div", { class: "graph" }, edges, nodes);
  const tip = el("div", { class: "tip", role: "tooltip", id: "graph-tip", hidden: true });
  body.append(el("div", { class: "graph-scroll", tabindex: "0", role: "group", "aria-label": "Topology" }, stage), tip);

  let drawn = new Map();
  let wires = [];
  let shown = null;

  function draw() {
    if (!live.graph) return;
    const width = body.clientWidth;
    const narrow = width < NARROW;
    const places = narrow ? placeDown(live.graph.nodes, width) : placeAcross(live.graph.nodes, width);
    stage.style.width = `${places.width}px`;
    stage.style.height = `${places.height}px`;
    edges.setAttribute("viewBox", `0 0 ${places.width} ${places.height}`);
    edges.setAttribute("width", places.width);
    edges.setAttribute("height", places.height);
    drawn = new Map(live.graph.nodes.map((node) => [node.id, makeNode(node, places.of.get(node.id))]));
    nodes.replaceChildren(...[...drawn.values()].map((each) => each.item));
    wires = live.graph.edges.map((edge) => ({
      edge,
      path: svg("path", { d: curve(places.of.get(edge.from), places.of.get(edge.to), narrow), class: "wire" }),
    }));
    edges.replaceChildren(...wires.map((wire) => wire.path));
    refresh();
  }

  function makeNode(node, place) {
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
    Object.assign(button.style, { left: `${place.x}px`, top: `${place.y}px`, width: `${place.w}px`, height: `${HEIGHT}px` });
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
  new ResizeObserver(() => draw()).observe(body);
}

/** Columns from left to right. */
function placeAcross(nodes, width) {
  const columns = 1 + Math.max(...nodes.map((node) => node.column));
  const pitch = Math.max(138, width / columns);
  const w = Math.min(150, pitch - 28);
  const rows = 1 + Math.max(...nodes.map((node) => node.row));
  const of = new Map();
  for (const node of nodes) {
    const alone = nodes.filter((each) => each.column === node.column).length;
    const y = alone === 1 ? ((rows - 1) * (HEIGHT + GAP_Y)) / 2 : (node.row + (rows - alone > 0 && node.column < 2 ? (rows - alone) / 2 : 0)) * (HEIGHT + GAP_Y);
    const spread = (pitch * columns - (pitch - w)) / columns;
    of.set(node.id, { x: node.column * (spread + (pitch - w) / columns), y, w });
  }
  return { of, width: pitch * columns - (pitch - w) + 2, height: rows * (HEIGHT + GAP_Y) - GAP_Y + 2 };
}

/** Columns as rows from top to bottom, for narrow screens. */
function placeDown(nodes, width) {
  const columns = 1 + Math.max(...nodes.map((node) => node.column));
  const most = Math.max(...Array.from({ length: columns }, (_, column) => nodes.filter((node) => node.column === column).length));
  const lanes = Math.max(1 + Math.max(...nodes.map((node) => node.row)), most);
  const pitch = Math.max(112, width / lanes);
  const all = pitch * lanes;
  const of = new Map();
  for (const node of nodes) {
    const alone = nodes.filter((each) => each.column === node.column).length;
    const w = alone === 1 ? Math.min(180, width) : pitch - 10;
    const x = alone === 1 ? (Math.min(all, width) - w) / 2 : node.row * pitch;
    of.set(node.id, { x, y: node.column * (HEIGHT + 26), w });
  }
  return { of, width: all, height: columns * (HEIGHT + 26) - 26 + 2 };
}

function curve(from, to, narrow) {
  if (narrow) {
    const [x1, y1, x2, y2] = [from.x + from.w / 2, from.y + HEIGHT, to.x + to.w / 2, to.y];
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

function factsOf(node, stages) {
  if (node.kind === "source") return { rate: stages.sources[node.label] ?? 0, badges: [], history: null };
  if (node.kind === "collector") return { rate: stages.arrivals, badges: [], history: stages.history };
  const facts = stages.processors[node.group] ?? {};
  if (node.kind === "destination") return { rate: null, badges: statusBadges(facts.statuses), history: null };
  const badges = [];
  if (node.kind === "storage") return { rate: null, badges: facts.passed ? [[`${count(facts.passed)} stored`, "good"]] : [], history: null };
  if (facts.lag > 0) badges.push([`lag ${count(facts.lag)}`, facts.lag > 1000 ? "warn" : "calm"]);
  const dead = total(facts.dead);
  if (dead) badges.push([`${count(dead)} dead`, "bad"]);
  return { rate: facts.rate ?? 0, badges, history: facts.history };
}

function statusBadges(statuses) {
  const tones = { 2: "good", 4: "warn", 5: "bad", 0: "bad" };
  return Object.entries(statuses ?? {})
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([status, number]) => [`${status === "0" ? "no answer" : status} × ${count(number)}`, tones[status[0]] ?? "calm"]);
}

function describe(node, live) {
  const { stages } = live;
  if (!stages) return [];
  if (node.kind === "source") return [el("p", {}, `${rate(stages.sources[node.label] ?? 0)} events a second.`)];
  if (node.kind === "collector") return [el("p", {}, "Takes events over HTTP and answers 200 once Kafka has stored them.")];
  const facts = stages.processors[node.group] ?? {};
  const rows = [["taken", facts.in ?? 0], ["passed", facts.passed ?? 0]];
  if (facts.lag !== undefined && facts.lag !== null) rows.push(["lag", facts.lag]);
  if (facts.p50) rows.push(["median answer", `≤ ${duration(facts.p50)}`]);
  if (facts.p95) rows.push(["95th percentile", `≤ ${duration(facts.p95)}`]);
  const figures = el("dl", {}, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, typeof value === "number" ? count(value) : value))));
  const groups = [["dropped", "Dropped, as meant"], ["dead", "Dead letters"], ["blocked", "Blocked"], ["withheld", "Not sent to a destination"]];
  const reasons = groups.flatMap(([verdict, heading]) => {
    const entries = Object.entries(facts[verdict] ?? {}).sort(([, a], [, b]) => b - a);
    if (!entries.length) return [];
    return [
      el("h4", { class: `tip-${verdict}` }, heading),
      el("ul", {}, entries.map(([reason, number]) => el("li", {}, el("b", {}, `${count(number)} ${reason}`), " ", live.sentence(reason)))),
    ];
  });
  const statuses = statusBadges(facts.statuses);
  return [
    figures,
    statuses.length ? el("p", { class: "tip-statuses" }, statuses.map(([text, kind]) => el("span", { class: `badge ${kind}` }, text))) : null,
    ...reasons,
  ].filter(Boolean);
}
