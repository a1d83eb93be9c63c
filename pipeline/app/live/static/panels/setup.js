// Addresses, the write key, and snippets to paste, for each source and SDK.

import { copyButton, el } from "/live/static/dom.js";

const FAMILIES = { website: "Website", app: "App", server: "Server", http: "Anything else" };

export function mountSetup(body, live) {
  let chosen = "curl";

  function draw(setup) {
    const snippet = setup.snippets.find((each) => each.id === chosen) ?? setup.snippets[0];
    const line = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, el("code", {}, value), copyButton(value)));
    body.replaceChildren(
      el("dl", { class: "addresses" },
        setup.sources.length > 1 ? el("div", {}, el("dt", {}, "Source"), el("dd", {}, sources(setup))) : null,
        setup.webhook ? line("Paste this URL", setup.webhook) : line("Write key", setup.write_key), line("Collector", setup.address), setup.bootstrap ? line("Kafka", setup.bootstrap) : null),
      languages(setup, snippet),
      el("div", { class: "snippet" }, el("pre", { tabindex: "0" }, el("code", {}, snippet.text)), copyButton(snippet.text)),
      setup.links.length ? el("ul", { class: "links" }, setup.links.map((link) => el("li", {}, el("b", {}, link.label), " ", address(link.url)))) : "");
  }

  function sources(setup) {
    const choice = el("select", { "aria-label": "Source to connect", onchange: () => choose(choice.value) },
      setup.sources.map((source) => el("option", { value: source, selected: source === setup.source }, source)));
    return choice;
  }

  async function choose(source) {
    const answer = await fetch(`/live/setup.json?source=${encodeURIComponent(source)}`);
    if (!answer.ok) return;
    draw(await answer.json());
    body.querySelector('[aria-label="Source to connect"]')?.focus();
  }

  function languages(setup, snippet) {
    const choice = el("select", { "aria-label": "Language", onchange: () => { chosen = choice.value; draw(setup); body.querySelector('[aria-label="Language"]').focus(); } },
      Object.entries(FAMILIES).map(([family, label]) => el("optgroup", { label },
        setup.snippets.filter((each) => each.family === family).map((each) => el("option", { value: each.id, selected: each === snippet }, each.title)))));
    return choice;
  }

  live.on("setup", draw);
}

function address(url) {
  return /^https?:\/\//.test(url) ? el("a", { href: url, rel: "noreferrer" }, url) : el("code", {}, url);
}
