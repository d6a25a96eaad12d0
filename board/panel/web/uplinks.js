// The uplinks, in a line or two below the page's head. The branch runs locally
// when none of them is reached; one of several that is down is only that.

import { age, h, icon, isolated, joined, moment, verbatim } from "./words.js";
import { fill } from "./patch.js";
import { store } from "./store.js";

const list = new Intl.ListFormat("en", { type: "conjunction" });

function name(u) {
  const el = verbatim(u.name);
  el.title = isolated(u.name);
  return el;
}

// names lists uplinks as a sentence does.
const names = (all) => list.formatToParts(all.map((_, i) => String(i))).map((p) => (p.type === "element" ? name(all[p.value]) : p.value));

const why = (u) => h("span", { class: "why", title: u.why && isolated(u.why) }, joined([u.why && verbatim(u.why), pending(u)], " · "));

const pending = (u) => u.pending > 0 && `${u.pending} ${u.pending > 1 ? "changes" : "change"} to hand over`;

const line = (mode, head, ...rest) => h("p", { class: "uplink", "data-mode": mode }, icon(mode === "connected" ? "available" : "warning"), h("b", {}, head), ...rest);

const silent = (u) => [name(u), " has not answered since ", moment(u.since)];

// local is the branch without any uplink: since the last of them went.
function local(all) {
  const since = all.map((u) => u.since || "").sort().at(-1);
  const each = all.map((u) => joined([all.length > 1 ? h("span", {}, silent(u)) : h("span", {}, name(u), " does not answer"), u.why && verbatim(u.why), pending(u)], " · "));
  return line("island", ["Running locally since ", moment(since)], age(since, "for "), ...each.map((e) => h("span", {}, e)));
}

const told = { // how an uplink is that has not all it should have
  degraded: (u) => line("degraded", [name(u), " answers badly"], why(u)),
  island: (u) => line("down", silent(u), age(u.since, "for "), why(u)),
  resync: (u) => line("resync", [name(u), " is back, catching up"], h("span", {}, joined([pending(u)], " · "))),
};

function lines(all) {
  if (all.length && all.every((u) => u.mode === "island")) return [local(all)];
  const well = all.filter((u) => u.mode === "connected");
  const rest = all.filter((u) => u.mode !== "connected").map((u) => (told[u.mode] || ((x) => line(x.mode, [name(x), `: ${x.mode}`])))(u));
  if (!well.length) return rest;
  const late = well.filter(pending).map((u) => joined([well.length > 1 && name(u), pending(u)], ": "));
  return [...rest, line("connected", ["Connected to ", ...names(well)], h("span", {}, joined(late.flat(), " ")))];
}

function survivable(n) {
  return line("srst", `On the survivable router: ${n} of ${store.phones.size} phones`);
}

export function renderUplinks(bar) {
  const all = [...store.uplinks.values()];
  const srst = [...store.phones.values()].filter((p) => p.cause === "srst").length;
  const key = JSON.stringify([srst, store.phones.size, all.map((u) => [u.name, u.mode, u.pending, u.why, u.since])]);
  if (bar.dataset.key === key) return;
  bar.dataset.key = key;
  bar.hidden = !all.length && !srst;
  fill(bar, srst > 0 && survivable(srst), lines(all));
}
