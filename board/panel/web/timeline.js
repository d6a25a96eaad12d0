// The history of a phone, drawn: one band of its states over time. What it shows
// is told again by the list below it, for those who cannot see it.

import { clockTime, dateTime, h, lamp, now, word } from "./words.js";

const ns = "http://www.w3.org/2000/svg";
const width = 1000, height = 40;

// segments are the states one after the other, from the first change that is known.
function segments(entries, state) {
  const times = entries.map((e) => Date.parse(e.at)).filter((t) => !Number.isNaN(t));
  if (!times.length) return [];
  const end = Math.max(now(), times.at(-1));
  return entries.map((e, i) => ({ state: e.to || state, from: times[i], to: times[i + 1] ?? end, why: e.why }));
}

export function timeline(entries, state) {
  const parts = segments(entries, state);
  if (!parts.length || parts.at(-1).to <= parts[0].from) return null;
  const begin = parts[0].from, length = parts.at(-1).to - begin;
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("class", "band");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${parts.length} states since ${dateTime(new Date(begin).toISOString())}`);
  for (const p of parts) {
    const rect = document.createElementNS(ns, "rect");
    const title = document.createElementNS(ns, "title");
    title.textContent = `${word(p.state)} from ${dateTime(new Date(p.from).toISOString())}${p.why ? `: ${p.why}` : ""}`;
    rect.setAttribute("data-lamp", p.state);
    rect.setAttribute("x", ((p.from - begin) / length) * width);
    rect.setAttribute("width", Math.max(1, ((p.to - p.from) / length) * width));
    rect.setAttribute("height", height);
    rect.append(title);
    svg.append(rect);
  }
  const seen = [...new Set(parts.map((p) => p.state))];
  return [svg, h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, dateTime(new Date(begin).toISOString())), h("span", {}, `now, ${clockTime(new Date(now()).toISOString())}`)),
    h("div", { class: "legend", "aria-hidden": "true" }, seen.map((s) => h("span", {}, lamp(s, "live"), word(s))))];
}
