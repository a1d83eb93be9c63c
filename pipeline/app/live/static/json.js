// Lays JSON text out without parsing it into numbers: a long integer stays what was sent.

import { el } from "/live/static/dom.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/gy;
const SPACE = /\s*/y;

/** The tokens of a JSON text, or null where it is not JSON. */
function tokens(text) {
  const found = [];
  let place = 0;
  for (;;) {
    SPACE.lastIndex = place;
    SPACE.exec(text);
    place = SPACE.lastIndex;
    if (place === text.length) return found;
    TOKEN.lastIndex = place;
    const match = TOKEN.exec(text);
    if (match === null) return null;
    found.push(match[0]);
    place = TOKEN.lastIndex;
  }
}

function kind(token, next) {
  if (token[0] === '"') return next === ":" ? "key" : "string";
  if (token === "true" || token === "false" || token === "null") return "literal";
  return "{}[],:".includes(token) ? "mark" : "number";
}

/** A JSON text, indented and coloured; as it is where it is not JSON. */
export function pretty(text) {
  const list = tokens(text);
  const code = el("code");
  if (list === null) {
    code.textContent = text;
    return el("pre", { class: "json", tabindex: "0" }, code);
  }
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  list.forEach((token, index) => {
    const next = list[index + 1];
    const empty = (token === "{" && next === "}") || (token === "[" && next === "]");
    const closing = token === "}" || token === "]";
    const emptied = closing && (list[index - 1] === "{" || list[index - 1] === "[");
    if (closing) {
      depth -= 1;
      if (!emptied) code.append(line());
    }
    code.append(el("span", { class: kind(token, next) }, token));
    if (token === "{" || token === "[") {
      depth += 1;
      if (!empty) code.append(line());
    } else if (token === ",") code.append(line());
    else if (token === ":") code.append(" ");
  });
  return el("pre", { class: "json", tabindex: "0" }, code);
}

/** A text as it is. */
export function raw(text) {
  return el("pre", { class: "json raw", tabindex: "0" }, el("code", {}, text));
}
