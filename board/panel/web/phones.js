// What is said of a phone in several places: whose it is, and its lines.

import { h, joined, verbatim, word } from "./words.js";
import { store } from "./store.js";

export const ownerOf = (phone) => store.people.get(phone.owner);
export const titleOf = (phone) => ownerOf(phone)?.name || phone.description || phone.name;
export const numbersOf = (phone) => phone.lines.map((l) => l.number).filter(Boolean);

export function lineWord(l) {
  const here = l.held ? "On hold" : l.outgoing && l.state === "early" ? "Calling" : word(l.state);
  if (!l.elsewhere) return here;
  return `${l.state === "confirmed" && !l.held ? "In use" : here} elsewhere`;
}

// elsewhere are the lines of a phone that are used on another one, as long as that is vouched for.
export const elsewhere = (phone) => (phone.freshness === "live" ? phone.lines : []).filter((l) => l.elsewhere);
export const lineText = (l) => [verbatim(l.number), ` ${lineWord(l).toLowerCase()}`];

const link = (phone, other) => h("a", { href: `/phones/${encodeURIComponent(other.name)}` },
  joined([verbatim(titleOf(other)), titleOf(other) === titleOf(phone) && other.model && verbatim(other.model)], ", "));

// users are links to the phones where a number of this one is in use.
export function users(phone, line) {
  const here = (p) => p.freshness === "live" && p.lines.some((l) => l.number === line.number && !l.elsewhere && l.state !== "idle" && l.state !== "unknown");
  return [...store.phones.values()].filter((p) => p !== phone && p.name !== phone.name && here(p)).map((p) => link(phone, p));
}
