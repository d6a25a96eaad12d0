// One phone: everything that is known of it, and where that comes from.

import { age, condition, dateTime, h, icon, joined, lamp, verbatim, word } from "./words.js";
import { fill } from "./patch.js";
import { call, store } from "./store.js";
import { lineWord, ownerOf, titleOf, users } from "./phones.js";
import { timeline } from "./timeline.js";

const refreshEvery = 10_000;

const facts = (...pairs) => h("dl", {}, pairs.filter(([, v]) => v !== "" && v !== null && v !== undefined && v !== false)
  .flatMap(([name, value]) => [h("dt", { key: name }, name), h("dd", { key: `${name}:` }, value)]));

const section = (title, ...children) => h("section", { key: title }, h("h2", {}, title), ...children);
const wide = (key, title, ...children) => h("section", { key, class: "wide" }, h("h2", {}, title), ...children);
const untold = (text) => h("p", { class: "untold" }, text);

function speed(bits) {
  if (!bits) return "";
  return bits >= 1e9 ? `${bits / 1e9} Gbit/s` : `${bits / 1e6} Mbit/s`;
}

const at = (links) => (links.length ? [": ", ...joined(links, ", ")] : null);

function lines(p) {
  if (!p.lines.length) return section("Lines", untold("No line is known."));
  return section("Lines", h("ul", { class: "lines", role: "list" }, p.lines.map((l) => h("li", { key: l.number },
    h("b", {}, l.number || "?"), h("span", {}, lineWord(l), l.elsewhere && at(users(p, l)))))));
}

function registration(p) {
  const r = p.registration;
  if (!r) return section("Registration", untold("Nobody has told where it is registered."));
  return section("Registration", facts(["Registered", r.registered ? "yes" : "no"], ["Call server", r.server],
    ["SRST", r.registered && (r.survivable ? "yes, at the branch's router" : "no")]));
}

function port(p) {
  const own = p.neighbour && ["As it sees it", joined([p.neighbour.switch, p.neighbour.port].filter(Boolean).map(verbatim), " ")];
  const counted = (p.ethernet || []).map((e) => [{ network: "Network port", pc: "PC port", phone: "Phone" }[e.name] || e.name,
    joined([e.speed && verbatim(e.speed), `${e.sent} sent, ${e.received} received`, e.errors > 0 && `${e.errors} errors`], " · ")]);
  if (!p.port && !p.power && !own) return section("Port and power", untold("Nobody has told where it is plugged in."));
  return section("Port and power", facts(["Switch", p.port?.switch], ["Port", p.port?.name], ["VLAN", p.port?.vlan && String(p.port.vlan)],
    ["Link", p.port && [p.port.link, p.port.link === "up" && speed(p.port.speed)].filter(Boolean).join(", ")],
    ["Power", p.power && [p.power.state, p.power.watts !== null && `${p.power.watts.toFixed(1)} W`].filter(Boolean).join(", ")],
    ...(own ? [own] : []), ...counted));
}

// quality is a MOS with a meter: 3.6 is what most call good enough (ITU-T G.107 Annex B), 3.1 what many complain of.
const quality = (v) => (v ? [h("meter", { min: 1, max: 5, low: 3.1, high: 3.6, optimum: 5, value: v, "aria-hidden": "true" }), v.toFixed(1)] : "–");

function streams(p) {
  const all = p.streams.filter((s) => s.active || s.received > 0);
  if (!all.length) return null;
  const head = ["Codec", "Far end", "Received", "Lost", "Concealed", "Jitter", "MOS now", "on average", "at worst"];
  return wide("Audio", all.some((s) => s.active) ? "Audio" : "Audio, when it last flowed", h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Audio streams" },
    h("table", {}, h("thead", {}, h("tr", {}, head.map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, all.map((s) => h("tr", { key: `${s.codec} ${s.remote}` }, [s.codec && s.codec !== "None" ? s.codec : "–", s.remote || "–", String(s.received), share(s.lost, s.received),
        s.concealed ? `${(100 * s.concealed).toFixed(1)} %` : "–", s.jitter_ms ? `${s.jitter_ms} ms` + (s.max_jitter_ms ? `, at most ${s.max_jitter_ms}` : "") : "–",
        quality(s.mos), quality(s.avg_mos), quality(s.min_mos)].map((v) => h("td", {}, v))))))));
}

const share = (lost, received) => (received + lost ? `${lost} (${(100 * lost / (received + lost)).toFixed(1)} %)` : "0");

function evidence(p) {
  if (!p.evidence?.length) return p.because.length ? h("ul", { class: "because" }, p.because.map((s) => h("li", {}, s))) : untold("Nobody has told anything about it yet.");
  const nth = new Map();
  const key = (source) => `${source} ${nth.set(source, (nth.get(source) || 0) + 1).get(source)}`;
  return h("ul", { class: "evidence", role: "list" }, p.evidence.map((e) => h("li", { key: key(e.source), class: e.live ? "" : "old" },
    h("span", { class: "source" }, e.source), h("span", { class: "says" }, verbatim(e.says.replace(p.name + " ", "")), e.live ? "" : " (last known)"), e.seen && age(e.seen, "", " ago"))));
}

const log = (p) => p.log?.length > 0 && wide("Log", "Its log, from its last change", h("ol", { class: "log", role: "list" }, p.log.map((l) => h("li", { key: l }, l))));

const screen = (p) => p.screen && (p.screen.prompt || p.screen.notify || p.screen.title)
  && section("Its screen, while nobody uses it", facts(["Title", p.screen.title], ["Prompt", p.screen.prompt], ["Notice", p.screen.notify]));

function history(entries) {
  if (!entries) return untold("Loading…");
  if (!entries.length) return untold("No change has been seen yet.");
  return h("ol", { class: "history", role: "list" }, [...entries].reverse().map((e) => h("li", { key: `${e.at} ${e.to}` },
    h("time", { datetime: e.at }, e.at ? dateTime(e.at) : ""), lamp(e.to, "live"), h("b", {}, word(e.to)), h("span", {}, e.why))));
}

function page(p, entries) {
  const owner = ownerOf(p);
  const stale = p.freshness !== "live";
  const able = [["audio", "audio"], ["video", "video"], ["im", "chat"], ["web-collaboration", "web sharing"]].filter(([k]) => p.capabilities[k]).map(([, t]) => t);
  return [
    h("div", { key: "hero", class: "hero", "data-state": p.state, "data-fresh": p.freshness },
      lamp(p.state, p.freshness),
      h("div", {},
        h("h1", { tabindex: "-1" }, verbatim(titleOf(p))),
        h("p", { class: "state" }, h("span", { class: "word" }, condition(p.state, p.freshness)), " ",
          stale ? age(p.as_of, "", " ago") : age(p.since, "for ")),
        p.diagnosis && h("p", { class: "diagnosis" }, p.diagnosis))),
    h("div", { key: "facts", class: "facts" },
      section("Phone", facts(["Name", p.name], ["Owner", owner?.name], ["Model", p.model], ["Description", p.description !== owner?.name && p.description],
        ["Address", p.address], ["MAC", p.mac], ["Serial", p.serial], ["Firmware", p.firmware], ["Capabilities", able.join(", ")],
        ["Voice messages", p.message_waiting === null ? "" : p.message_waiting ? (p.voice_messages ? `${p.voice_messages} new` : "waiting") : "none"])),
      h("div", { key: "stack", class: "stack" }, lines(p), registration(p), screen(p)), port(p), streams(p),
      wide("Because", "Because", evidence(p)), log(p),
      wide("History", "History", entries && timeline(entries, p.state), history(entries))),
  ];
}

// view makes the page of one phone.
export function view(main, name) {
  const body = h("div", { class: "phone" });
  main.replaceChildren(h("p", { class: "back" }, h("a", { href: "/" }, icon("back"), "All phones")), body);
  let shown = null, latest = null, entries = null, state = null; // shown is the store's, latest may be newer
  const draw = (p) => fill(body, page((latest = p), entries));
  const fetchHistory = async () => {
    const got = await call("GET", `/api/v1/phones/${encodeURIComponent(name)}/history`).catch(() => null);
    if (got) entries = got.data;
    if (got && latest && body.isConnected) draw(latest);
  };
  const timer = setInterval(async () => { // counters and evidence grow without an event
    if (document.hidden || store.link !== "live") return;
    const got = await call("GET", `/api/v1/phones/${encodeURIComponent(name)}`).catch(() => null);
    if (got && body.isConnected && store.phones.get(name) === shown) draw(got.data);
  }, refreshEvery);
  const show = () => {
    const p = store.phones.get(name);
    if (!p) {
      if (store.link !== "loading") fill(body, h("h1", { key: "none", tabindex: "-1" }, name), untold("No phone is called that."));
      return;
    }
    if (p === shown) return;
    draw((shown = p));
    if (p.state !== state) {
      state = p.state;
      fetchHistory();
    }
  };
  show.end = () => clearInterval(timer);
  return show;
}
