// The board: each phone a lamp, its state in words.

import { age, condition, h, icon, isolated, joined, lamp, states, verbatim, word } from "./words.js";
import { fill, keep } from "./patch.js";
import { store } from "./store.js";
import { elsewhere, lineText, lineWord, numbersOf, ownerOf, titleOf } from "./phones.js";
import { causeWord, isDark, matters, mattersKey } from "./matters.js";

const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

// group puts what cannot be vouched for under a heading of its own.
const groupOf = (phone) => (phone.freshness === "last-known" ? "last-known" : phone.freshness === "unknown" ? "unknown" : phone.state);

// cut is a title for what a card may have too little room for.
const cut = (text) => text.length > 20 && isolated(text);

function card(phone) {
  const owner = ownerOf(phone);
  const stale = phone.freshness !== "live";
  const said = owner?.manual && owner.freshness === "live" ? [word(owner.availability), owner.note].filter(Boolean) : [];
  return h("li", { class: "card", "data-name": phone.name, "data-state": phone.state, "data-fresh": phone.freshness },
    h("a", { href: `/phones/${encodeURIComponent(phone.name)}` },
      lamp(phone.state, phone.freshness),
      h("span", { class: "who", title: cut(titleOf(phone)) }, verbatim(titleOf(phone))),
      h("span", { class: "number", title: cut(numbersOf(phone).join(", ")) }, joined(numbersOf(phone).map(verbatim), ", ")),
      h("span", { class: "state" },
        h("span", { class: "word" }, condition(phone.state, phone.freshness)),
        stale ? age(phone.as_of, "", " ago") : age(phone.since)),
      third(phone, said)));
}

// third is the card's last line: what is the matter, else what its owner says, else
// which phone it is; before it, which of its numbers is used elsewhere. One line,
// so that all cards are of one height, but what is the matter may have three.
function third(phone, said) {
  const used = elsewhere(phone), which = [phone.model, phone.name].filter((s) => s && s !== titleOf(phone));
  const [kind, parts, between] = phone.diagnosis ? ["meta matter diagnosis", [phone.diagnosis], ""] : said.length ? ["meta said", said, ": "] : ["meta", which, " · "];
  const title = [...used.map((l) => `${isolated(l.number)} ${lineWord(l).toLowerCase()}`), parts.map(isolated).join(between)].filter(Boolean).join(" · ");
  const last = parts.length > 0 && h("span", {}, joined(parts.map(verbatim), between));
  return h("span", { class: kind, title }, joined([...used.map((l) => h("span", { class: "elsewhere" }, lineText(l))), last], " · "));
}

// Filters beside the state, each a parameter of the address.
const choices = [
  ["cause", "Cause", (p) => p.cause, (v) => causeWord(v)],
  ["model", "Model", (p) => p.model, (v) => v],
  ["switch", "Switch", (p) => p.port?.switch || "", (v) => v],
];

// selects are the filters of which there is anything to choose.
function selects(url) {
  const made = choices.map(([name, label, of, text]) => {
    const values = [...new Set([...store.phones.values()].map(of).filter(Boolean))].sort(order.compare);
    const chosen = url.get(name);
    if (values.length < 2 && !chosen) return null;
    if (chosen && !values.includes(chosen)) values.push(chosen);
    const s = h("select", { key: name, "data-name": name, "aria-label": label, onchange: () => url.set(name, s.value) }, h("option", { value: "" }, `${label}: all`),
      values.map((v) => h("option", { value: v, selected: v === chosen }, text(v))));
    return s;
  }).filter(Boolean);
  return h("div", { class: "selects" }, made);
}

function matches(phone, q) {
  if (!q) return true;
  const owner = ownerOf(phone);
  return [phone.name, phone.model, phone.address, phone.mac, phone.description, phone.diagnosis, owner?.name, phone.owner, phone.port?.switch, phone.port?.name, ...numbersOf(phone)]
    .some((s) => s && s.toLowerCase().includes(q));
}

// chips are filters with counts.
export function chips(names, counts, total, chosen, choose, label) {
  const chip = (name, text, n) => h("button", {
    type: "button", key: name || "all", class: "chip", "data-lamp": name || "all", "aria-pressed": String(chosen === name), disabled: n === 0 && chosen !== name,
    onclick: (e) => choose(e.currentTarget.getAttribute("aria-pressed") === "true" ? "" : name),
  }, icon(name || "all"), h("span", {}, text), h("b", {}, String(n)));
  return h("div", { class: "chips", role: "group", "aria-label": label },
    chip("", "All", total), names.map((s) => chip(s, s === "last-known" ? "Last known" : word(s), counts.get(s) || 0)));
}

export function summary() {
  const counts = new Map();
  for (const p of store.phones.values()) counts.set(groupOf(p), (counts.get(groupOf(p)) || 0) + 1);
  return counts;
}

// view makes the page; show is called at each change.
export function view(main, url) {
  const chosenBy = h("div", {}), more = h("div", {}), bar = h("div", { class: "bar" }, chosenBy, more), matter = h("div", { class: "bar" });
  const list = h("ul", { class: "cards", role: "list" });
  const none = h("p", { class: "empty" });
  main.replaceChildren(h("h1", { class: "unseen", tabindex: "-1" }, "Phones"), bar, matter, list, none);
  let shown = "", offered = "", mattered = "";
  return function show() {
    const q = url.get("q").trim().toLowerCase(), chosen = url.get("state");
    const counts = summary();
    const key = JSON.stringify([chosen, [...counts]]);
    if (key !== shown) {
      shown = key;
      const names = ["idle", "ringing", "in-use", "on-hold", "last-known", ...states.slice(4)];
      fill(chosenBy, chips(names, counts, store.phones.size, chosen, (s) => url.set("state", s), "Filter by state"));
    }
    const kinds = JSON.stringify(choices.map(([name, , of]) => [url.get(name), [...new Set([...store.phones.values()].map(of))].sort()]));
    if (kinds !== offered) {
      offered = kinds;
      fill(more, selects(url));
      for (const s of more.querySelectorAll("select")) s.value = url.get(s.dataset.name);
    }
    const m = mattersKey();
    if (m !== mattered) {
      mattered = m;
      matter.hidden = m === "[]";
      fill(matter, matters());
    }
    const items = [...store.phones.values()]
      .filter((p) => (!chosen || groupOf(p) === chosen) && matches(p, q) && choices.every(([name, , of]) => !url.get(name) || of(p) === url.get(name)))
      .sort((a, b) => isDark(b) - isDark(a) || order.compare(titleOf(a), titleOf(b)) || order.compare(a.name, b.name));
    keep(list, items, (p) => p.name, (p) => [p, ownerOf(p)], card);
    none.hidden = items.length > 0;
    none.textContent = store.phones.size ? "No phone matches." : "No phone is known yet. They are listed in the configuration, or found by discovery.";
  };
}
