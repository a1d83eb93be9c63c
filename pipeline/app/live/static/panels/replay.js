// Replay jobs: what each is for, its state, and how far it has come, with buttons to pause, resume and cancel it. They are started on the command line.

import { el } from "/live/static/dom.js";
import { count } from "/live/static/format.js";

const EVERY_MS = 2000;
const SHOWN = 5;
const COMMANDS = { running: ["pause", "cancel"], paused: ["resume", "cancel"] };
const SAID = { pause: "Pause", resume: "Resume", cancel: "Cancel" };

export function mountReplay(body, live, head) {
  const hint = el("span", { class: "hint" }, "");
  head.append(hint);

  async function refresh() {
    if (!document.hidden) await show();
    setTimeout(refresh, EVERY_MS);
  }

  async function show() {
    const answer = await fetch("/live/jobs.json").catch(() => null);
    const jobs = answer?.ok ? (await answer.json()).jobs : [];
    const running = jobs.filter((job) => job.state === "running").length;
    hint.textContent = running ? `${count(running)} running` : "";
    body.replaceChildren(jobs.length ? list(jobs, command) : el("p", { class: "hint" }, "None yet. Send past events with headrace replay --from -1h --destination ID."));
  }

  async function command(job, name) {
    if (name === "cancel" && !confirm(`Cancel job ${job.id}? It ends for ever; what it has written is still delivered.`)) return;
    const answer = await fetch("/live/jobs.json", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ job: job.id, command: name }),
    }).catch(() => null);
    await show();
    if (!answer?.ok) hint.textContent = `job ${job.id}: ${(await answer?.json().catch(() => null))?.error ?? "no answer"}`;
  }

  refresh();
}

function list(jobs, command) {
  const rest = jobs.length - SHOWN;
  return el("div", {},
    el("ul", { class: "volumes" }, jobs.slice(0, SHOWN).map((job) => row(job, command))),
    rest > 0 ? el("p", { class: "hint" }, `and ${count(rest)} more; headrace replay list has all`) : "");
}

function row(job, command) {
  const done = job.offsets ? Math.floor((100 * (job.offsets - job.left)) / job.offsets) : 100;
  return el("li", { "data-job": job.id },
    el("span", { class: "volume-name", title: `${job.input}, ${job.from} to ${job.to}, at most ${job.rate} events a second` },
      job.targets.join(", "), el("small", {}, job.id)),
    el("span", { class: "badge" }, job.state),
    el("span", {}, job.left ? `${count(job.left)} left` : ""),
    el("b", {}, `${done} %`),
    (COMMANDS[job.state] ?? []).map((name) =>
      el("button", { type: "button", class: "quiet", "aria-label": `${SAID[name]} job ${job.id}`, onclick: () => command(job, name) }, SAID[name])));
}
