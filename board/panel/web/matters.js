// What is the matter with the branch's phones: the causes, worst first, in words
// that lead to the phones concerned.

import { h, icon, verbatim } from "./words.js";
import { store } from "./store.js";

// For one phone, for several, and as a choice.
const sentence = {
  "unpowered": ["phone without power", "phones without power", "No power"],
  "no-link": ["phone without link", "phones without link", "No link"],
  "no-address": ["phone without an address", "phones without an address", "No address"],
  "no-answer": ["phone does not answer", "phones do not answer", "No answer"],
  "unregistered": ["phone registered nowhere", "phones registered nowhere", "Registered nowhere"],
  "srst": ["phone on the survivable router", "phones on the survivable router", "On the survivable router"],
  "web-disabled": ["phone with its web access off", "phones with their web access off", "Web access off"],
};
export const causes = Object.keys(sentence);
export const causeWord = (c) => (sentence[c] ? sentence[c][2] : c === "fine" ? "Fine" : "Unknown");

// dark are the states in which a phone cannot take a call. The cause does not say
// so: one whose pages are silent may be in a call all the same.
const dark = new Set(["unpowered", "unreachable", "unregistered"]);
export const isDark = (p) => dark.has(p.state);
const isProblem = (p) => causes.includes(p.cause);

// cabled are the causes that a switch can have: there it helps to know that all hang on one.
const cabled = new Set(["unpowered", "no-link", "no-answer"]);

// groups are the causes with their phones, and the switch where all hang on one
// and there are others.
function groups() {
  const by = new Map(), switches = new Set();
  for (const p of store.phones.values()) {
    if (p.port?.switch) switches.add(p.port.switch);
    if (!isProblem(p)) continue;
    const g = by.get(p.cause) || { n: 0, switches: new Set() };
    g.n++;
    g.switches.add(p.port?.switch || "");
    by.set(p.cause, g);
  }
  return causes.filter((c) => by.has(c)).map((c) => {
    const { n, switches: [first, ...rest] } = by.get(c);
    return { cause: c, n, at: cabled.has(c) && !rest.length && switches.size > 1 ? first : "" };
  });
}

export function matters() {
  const all = groups();
  if (!all.length) return null;
  return h("div", { class: "matters", role: "group", "aria-label": "What is the matter" }, all.map(({ cause, n, at }) => {
    const q = new URLSearchParams({ cause, ...(at && { switch: at }) });
    return h("a", { href: `/?${q}`, key: cause, "data-cause": cause }, icon(cause === "srst" || cause === "web-disabled" ? "warning" : cause === "unpowered" ? "unpowered" : "unreachable"),
      h("span", {}, `${n} ${sentence[cause][n === 1 ? 0 : 1]}`, at && [" on ", verbatim(at)]));
  }));
}

export const mattersKey = () => JSON.stringify(groups());
