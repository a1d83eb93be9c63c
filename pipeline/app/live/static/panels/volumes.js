// Events per minute by source, event and reason, as the monitor counted them from the ledger.

import { el } from "/live/static/dom.js";
import { count, stateWord, tone } from "/live/static/format.js";

const EVERY_MS = 5000;
const SHOWN = 10;

export function mountVolumes(body, live, head) {
  const hint = el("span", { class: "hint" }, "last 15 minutes");
  head.append(hint);

  async function refresh() {
    if (!document.hidden) {
      const answer = await fetch("/live/volumes.json?minutes=15").catch(() => null);
      body.replaceChildren(answer?.ok ? table(await answer.json()) : el("p", { class: "hint" }, "The monitor is not running, so volumes by minute are missing."));
    }
    setTimeout(refresh, EVERY_MS);
  }

  refresh();
}

function table(volumes) {
  if (!volumes.lines.length) return el("p", { class: "hint" }, "No events yet.");
  const most = Math.max(...volumes.lines.flatMap((line) => line.counts));
  const rest = volumes.lines.length - SHOWN;
  return el("div", {},
    el("ul", { class: "volumes" }, volumes.lines.slice(0, SHOWN).map((line) => row(line, most))),
    rest > 0 ? el("p", { class: "hint" }, `and ${count(rest)} more; headrace status --json lists all`) : "");
}

function row(line, most) {
  const sum = line.counts.reduce((left, right) => left + right, 0);
  return el("li", {},
    el("span", { class: "volume-name", title: `${line.source}: ${line.event}` }, line.event, el("small", {}, line.source)),
    line.verdict === "passed" ? "" : el("span", { class: `badge ${tone(line.verdict)}` }, line.reason || stateWord(line.verdict)),
    bars(line.counts, most),
    el("b", {}, count(sum)));
}

function bars(counts, most) {
  return el("span", { class: "bars", "aria-hidden": "true" }, counts.map((each) => {
    const bar = el("i");
    bar.style.height = `${most ? Math.ceil((each / most) * 16) : 0}px`;
    return bar;
  }));
}
