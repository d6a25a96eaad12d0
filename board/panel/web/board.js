// The board: each phone a lamp, its state in words.

import { age, condition, h, icon, keep, lamp, states, word } from "./words.js";
import { store } from "./store.js";

const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

export const ownerOf = (phone) => store.people.get(phone.owner);
export const titleOf = (phone) => ownerOf(phone)?.name || phone.description || phone.name;
const numbersOf = (phone) => phone.lines.map((l) => l.number).filter(Boolean);

// group puts what cannot be vouched for under a heading of its own.
const groupOf = (phone) => (phone.freshness === "last-known" ? "last-known" : phone.freshness === "unknown" ? "unknown" : phone.state);

function card(phone) {
  const owner = ownerOf(phone);
  const stale = phone.freshness !== "live";
  const said = owner?.manual && owner.freshness === "live" ? word(owner.availability) + (owner.note ? `: ${owner.note}` : "") : "";
  return h("li", { class: "card", "data-name": phone.name, "data-state": phone.state, "data-fresh": phone.freshness },
    h("a", { href: `/phones/${encodeURIComponent(phone.name)}` },
      lamp(phone.state, phone.freshness),
      h("span", { class: "who" }, titleOf(phone)),
      h("span", { class: "number" }, numbersOf(phone).join(", ")),
      h("span", { class: "state" },
        h("span", { class: "word" }, condition(phone.state, phone.freshness)),
        stale ? age(phone.as_of, "", " ago") : age(phone.since)),
      h("span", { class: "meta" }, [phone.model, phone.name].filter((s) => s && s !== titleOf(phone)).join(" · ")),
      phone.diagnosis && h("span", { class: "diagnosis" }, phone.diagnosis),
      said && h("span", { class: "said" }, said)));
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
    type: "button", class: "chip", "data-lamp": name || "all", "aria-pressed": String(chosen === name), disabled: n === 0 && chosen !== name,
    onclick: () => choose(chosen === name ? "" : name),
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
  const bar = h("div", { class: "bar" });
  const list = h("ul", { class: "cards", role: "list" });
  const none = h("p", { class: "empty" });
  main.replaceChildren(h("h1", { class: "unseen", tabindex: "-1" }, "Phones"), bar, list, none);
  let shown = "";
  return function show() {
    const q = url.get("q").trim().toLowerCase(), chosen = url.get("state");
    const counts = summary();
    const key = JSON.stringify([chosen, [...counts]]);
    if (key !== shown) {
      shown = key;
      const names = ["idle", "ringing", "in-use", "on-hold", "last-known", ...states.slice(4)];
      const next = chips(names, counts, store.phones.size, chosen, (s) => url.set("state", s), "Filter by state");
      refocus(bar, next);
    }
    const items = [...store.phones.values()]
      .filter((p) => (!chosen || groupOf(p) === chosen) && matches(p, q))
      .sort((a, b) => order.compare(titleOf(a), titleOf(b)) || order.compare(a.name, b.name));
    keep(list, items, (p) => p.name, (p) => [p, ownerOf(p)], card);
    none.hidden = items.length > 0;
    none.textContent = store.phones.size ? "No phone matches." : "No phone is known yet. They are listed in the configuration, or found by discovery.";
  };
}

// refocus puts a new bar of chips in place of the old one, with the focus where it was.
export function refocus(bar, next) {
  const old = [...bar.querySelectorAll("button")].indexOf(document.activeElement);
  bar.replaceChildren(next);
  if (old >= 0) bar.querySelectorAll("button")[old]?.focus();
}
