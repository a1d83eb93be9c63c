// Replay jobs: what each is for, its state, and how far it has come. They are started, paused and cancelled on the command line.

import { el } from "/live/static/dom.js";
import { count } from "/live/static/format.js";

const EVERY_MS = 2000;
const SHOWN = 5;

export function mountReplay(body, live, head) {
  const hint = el("span", { class: "hint" }, "");
  head.append(hint);

  async function refresh() {
    if (!document.hidden) {
      const answer = await fetch("/live/jobs.json").catch(() => null);
      const jobs = answer?.ok ? (await answer.json()).jobs : [];
      const running = jobs.filter((job) => job.state === "running").length;
      hint.textContent = running ? `${count(running)} running` : "";
      body.replaceChildren(jobs.length ? list(jobs) : el("p", { class: "hint" }, "None yet. Send past events with headrace replay --from -1h --destination ID."));
    }
    setTimeout(refresh, EVERY_MS);
  }

  refresh();
}

function list(jobs) {
  const rest = jobs.length - SHOWN;
  return el("div", {},
    el("ul", { class: "volumes" }, jobs.slice(0, SHOWN).map(row)),
    rest > 0 ? el("p", { class: "hint" }, `and ${count(rest)} more; headrace replay list has all`) : "");
}

function row(job) {
  const done = job.offsets ? Math.floor((100 * (job.offsets - job.left)) / job.offsets) : 100;
  return el("li", { "data-job": job.id },
    el("span", { class: "volume-name", title: `${job.input}, ${job.from} to ${job.to}, at most ${job.rate} events a second` },
      job.targets.join(", "), el("small", {}, job.id)),
    el("span", { class: "badge" }, job.state),
    el("span", {}, job.left ? `${count(job.left)} left` : ""),
    el("b", {}, `${done} %`));
}
