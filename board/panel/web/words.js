// Words, ages and the making of elements. Text only ever enters the page as
// text: nothing here parses HTML.

import { write } from "./patch.js";

export const states = ["idle", "ringing", "in-use", "on-hold", "unregistered", "unreachable", "unpowered", "unknown"];
export const availabilities = ["available", "away", "busy", "on-the-phone", "in-a-meeting", "do-not-disturb", "out-of-office", "offline", "unknown"];

const words = {
  "idle": "Idle", "ringing": "Ringing", "in-use": "In use", "on-hold": "On hold", "unregistered": "Unregistered",
  "unreachable": "Unreachable", "unpowered": "No power", "unknown": "Unknown",
  "available": "Available", "away": "Away", "busy": "Busy", "on-the-phone": "On the phone", "in-a-meeting": "In a meeting",
  "do-not-disturb": "Do not disturb", "out-of-office": "Out of office", "offline": "Offline",
  "trying": "Dialling", "proceeding": "Ringing", "early": "Ringing", "confirmed": "In a call",
};

export const word = (s) => words[s] || s;

let skew = 0; // how far the agent's clock is ahead of this browser's, in ms

export function setSkew(dateHeader) {
  const t = Date.parse(dateHeader);
  if (!Number.isNaN(t)) skew = t + 500 - Date.now();
}

export const now = () => Date.now() + skew;

// span says a number of milliseconds as a person does.
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

const hm = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

export const clockTime = (iso) => new Date(iso).toLocaleTimeString([], hm);

const isToday = (d) => new Date(now()).toDateString() === d.toDateString();

// daysTime is the time, and the day where that is another than today.
export function daysTime(iso) {
  const d = new Date(iso), year = d.getFullYear() !== new Date(now()).getFullYear();
  return isToday(d) ? clockTime(iso) : d.toLocaleString([], { weekday: "short", day: "numeric", month: "short", ...(year && { year: "numeric" }), ...hm });
}

export function dateTime(iso) {
  const d = new Date(iso);
  return isToday(d) ? d.toLocaleTimeString([], { ...hm, second: "2-digit" })
    : d.toLocaleString([], { day: "numeric", month: "short", ...hm });
}

// h makes an element. Attributes that are false or null are left out; key is for patch.
export function h(tag, attrs, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "key") el.key = value;
    else if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

// balanced adds to a text what its own isolates lack, so that it neither ends the
// one that it is put in nor leaves one open (Unicode TR 9, 3.3.2).
function balanced(text) {
  let open = 0, lacking = 0;
  for (const c of text.match(/[\u2066-\u2069]/g) || []) {
    if (c !== "\u2069") open++;
    else if (open) open--;
    else lacking++;
  }
  return "\u2068".repeat(lacking) + text + "\u2069".repeat(open);
}

// verbatim is what others wrote: shown as it is, and in a direction of its own,
// so that no name can turn the words around it.
export const verbatim = (text) => h("bdi", {}, balanced(text));

// What has a direction of its own, or sets one.
const turns = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

// isolated is the same where only text may stand: in a title.
export const isolated = (text) => (turns.test(text) ? `\u2068${balanced(text)}\u2069` : text);

// joined are the parts that are there, with something between them.
export const joined = (parts, between) => parts.filter(Boolean).flatMap((p, i) => (i ? [between, p] : [p]));

export function icon(name) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  const use = document.createElementNS(ns, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

// lamp is a state as a shape; the words stand beside it.
export function lamp(name, freshness) {
  const known = states.includes(name) || availabilities.includes(name) ? name : "unknown";
  return h("span", { class: "lamp", "data-lamp": known, "data-fresh": freshness, "aria-hidden": true }, icon(known));
}

// age is an element whose text tick keeps true.
export function age(iso, before = "", after = "") {
  const el = h("time", { class: "age", datetime: iso || false });
  if (!iso) return el;
  Object.assign(el, { since: Date.parse(iso), before, after });
  el.title = new Date(iso).toLocaleString();
  showAge(el);
  return el;
}

function showAge(el) {
  write(el, el.before + span(now() - el.since) + el.after);
}

// moment is a time of this day or an earlier one; at midnight today's gets its day.
export function moment(iso) {
  return h("time", { class: "moment", datetime: iso || false, title: iso && new Date(iso).toLocaleString() }, iso ? daysTime(iso) : "?");
}

export function tick() {
  for (const el of document.querySelectorAll("time.age")) if (el.since) showAge(el);
  for (const el of document.querySelectorAll("time.moment[datetime]")) write(el, daysTime(el.dateTime));
}

// condition is a state in words that do not promise more than is known.
export function condition(state, freshness) {
  if (freshness === "unknown") return "Not seen yet";
  if (freshness === "last-known") return `Last known: ${word(state).toLowerCase()}`;
  return word(state);
}
