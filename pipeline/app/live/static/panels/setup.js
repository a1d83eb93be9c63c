// Addresses, the write key, and snippets to paste.

import { copyButton, el } from "/live/static/dom.js";

export function mountSetup(body, live) {
  let chosen = "curl";

  function draw(setup) {
    const snippet = setup.snippets.find((each) => each.id === chosen) ?? setup.snippets[0];
    const tab = (each) => el("button", {
      type: "button", role: "tab", "aria-selected": String(each === snippet), "data-snippet": each.id,
      onclick: () => { chosen = each.id; draw(setup); body.querySelector(`[data-snippet="${each.id}"]`).focus(); },
    }, each.title);
    const line = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, el("code", {}, value), copyButton(value)));
    body.replaceChildren(
      el("dl", { class: "addresses" }, line("Write key", setup.write_key), line("Collector", setup.address), setup.bootstrap ? line("Kafka", setup.bootstrap) : null),
      el("div", { class: "tabs", role: "tablist", "aria-label": "Language" }, setup.snippets.map(tab)),
      el("div", { class: "snippet" }, el("pre", { tabindex: "0" }, el("code", {}, snippet.text)), copyButton(snippet.text)),
      setup.links.length ? el("ul", { class: "links" }, setup.links.map((link) => el("li", {}, el("b", {}, link.label), " ", address(link.url)))) : "");
  }

  live.on("setup", draw);
}

function address(url) {
  return /^https?:\/\//.test(url) ? el("a", { href: url, rel: "noreferrer" }, url) : el("code", {}, url);
}
