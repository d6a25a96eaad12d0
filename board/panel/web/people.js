// The people: the one word of each, and why.

import { age, availabilities, condition, h, joined, lamp, verbatim } from "./words.js";
import { fill, keep } from "./patch.js";
import { call, store } from "./store.js";
import { chips } from "./board.js";
import { lineText } from "./phones.js";
import { mayActFor, statusDialog } from "./dialogs.js";

const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const able = [["audio", "Audio"], ["video", "Video"], ["im", "Chat"], ["web-collaboration", "Web sharing"]];
const refreshEvery = 10_000;

export const userOf = (d) => d.presentity.replace(/^sip:/, "").split("@")[0];
const numbersOf = (d) => [...new Set(d.devices.flatMap((v) => v.lines.map((l) => l.number)))].filter(Boolean);
const groupOf = (d) => (d.freshness === "last-known" ? "last-known" : d.availability);

const open = new Set(); // presentities whose reasons are shown

function capabilities(d) {
  const now = able.filter(([key]) => d.capabilities[key]).map(([, text]) => text);
  const mail = d.capabilities["voice-messages"];
  if (mail) now.push(`${mail} voice message${mail > 1 ? "s" : ""}`);
  return h("span", { class: "able" }, now.map((s) => h("span", {}, s)));
}

function because(d) {
  const list = h("ul", { class: "because" }, d.because.map((s) => h("li", {}, s)));
  if (!d.because.length) list.append(h("li", {}, "Nobody has told anything about them yet."));
  return list;
}

// lineOf is a line with all that is known of it: a document does not tell that it is used elsewhere.
const lineOf = (device, l) => store.phones.get(device.name)?.lines.find((o) => o.number === l.number && o.state === l.state) || l;

function devices(d) {
  return h("ul", { class: "devices", role: "list" }, d.devices.map((v) => h("li", { key: v.name },
    lamp(v.state, v.freshness), h("a", { href: `/phones/${encodeURIComponent(v.name)}` }, v.name),
    h("span", {}, joined([condition(v.state, v.freshness), ...v.lines.map((l) => h("span", {}, lineText(lineOf(v, l))))], " · ")))));
}

// reasons are what a row holds when it is open.
function reasons(d) {
  const say = () => statusDialog(store.people.get(d.presentity) || d);
  return [h("h2", {}, "Because"), because(d), h("h2", {}, "Devices"), devices(d),
    mayActFor(userOf(d)) && h("p", {}, h("button", { type: "button", onclick: say }, "Set status…"))].filter(Boolean);
}

function toggled(e, presentity) {
  if (e.target.open) open.add(presentity);
  else open.delete(presentity);
  const d = store.people.get(presentity);
  fill(e.target.querySelector(".more"), e.target.open && d ? reasons(d) : []);
}

function row(d) {
  const stale = d.freshness !== "live";
  return h("li", { class: "person", "data-name": d.presentity, "data-state": d.availability, "data-fresh": d.freshness },
    h("details", { open: open.has(d.presentity), ontoggle: (e) => toggled(e, d.presentity) },
      h("summary", {},
        lamp(d.availability, d.freshness),
        h("span", { class: "who" }, verbatim(d.name || userOf(d))),
        h("span", { class: "number" }, joined(numbersOf(d).map(verbatim), ", ")),
        h("span", { class: "state" },
          h("span", { class: "word" }, condition(d.availability, d.freshness)),
          stale ? age(d.as_of, "", " ago") : age(d.since)),
        h("span", { class: "note" }, d.note),
        capabilities(d)),
      h("div", { class: "more" }, open.has(d.presentity) ? reasons(d) : [])));
}

// view makes the page. The ages of reasons grow without an event: what is open is asked for again now and then.
export function view(main, url) {
  const bar = h("div", { class: "bar sparse" });
  const list = h("ul", { class: "people", role: "list" });
  const none = h("p", { class: "empty" });
  main.replaceChildren(h("h1", { class: "unseen", tabindex: "-1" }, "People"), bar, list, none);
  let shown = "";
  const timer = setInterval(() => refresh(list), refreshEvery);
  const show = () => {
    const q = url.get("q").trim().toLowerCase(), chosen = url.get("state");
    const counts = new Map();
    for (const d of store.people.values()) counts.set(groupOf(d), (counts.get(groupOf(d)) || 0) + 1);
    const key = JSON.stringify([chosen, [...counts]]);
    if (key !== shown) {
      shown = key;
      const names = [...availabilities.slice(0, -1), "last-known", "unknown"];
      fill(bar, chips(names, counts, store.people.size, chosen, (s) => url.set("state", s), "Filter by availability"));
    }
    const items = [...store.people.values()]
      .filter((d) => (!chosen || groupOf(d) === chosen) && (!q || [d.name, d.note, d.presentity, ...numbersOf(d)].some((s) => s.toLowerCase().includes(q))))
      .sort((a, b) => order.compare(a.name || a.presentity, b.name || b.presentity));
    keep(list, items, (d) => d.presentity, (d) => [d, store.me], row);
    none.hidden = items.length > 0;
    none.textContent = store.people.size ? "Nobody matches." : "Nobody is known yet. People are listed in the configuration, or come from a directory.";
  };
  show.end = () => clearInterval(timer);
  return show;
}

async function refresh(list) {
  if (document.hidden || store.link !== "live") return;
  for (const presentity of open) {
    const el = list.kept?.get(presentity)?.el;
    if (!el) continue;
    const doc = await call("GET", `/api/v1/presence/${encodeURIComponent(presentity)}`).catch(() => null);
    if (doc && el.isConnected && open.has(presentity)) fill(el.querySelector(".more"), reasons(doc.data));
  }
}
