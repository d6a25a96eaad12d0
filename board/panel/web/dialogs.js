// Signing in, and saying how one is.

import { h, now, verbatim, word } from "./words.js";
import { call, start, store } from "./store.js";

const dialog = document.getElementById("dialog");
const sayable = ["available", "away", "busy", "do-not-disturb", "out-of-office", "offline"];
const ends = [["", "until I change it"], ["30", "for 30 minutes"], ["60", "for an hour"], ["240", "for 4 hours"], ["day", "until the end of the day"]];

const userOf = (d) => d.presentity.replace(/^sip:/, "").split("@")[0];

export function mayActFor(user) {
  const me = store.me;
  return Boolean(me?.signed_in && (me.role === "operator" || me.role === "admin" || (me.name && me.name === user)));
}

// ask shows a form; submit gets its fields and may throw.
function ask(title, fields, verb, submit, ...extra) {
  const failed = h("p", { class: "failed", role: "alert" });
  const form = h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), ...fields, failed,
    h("div", { class: "buttons" }, ...extra, h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"),
      h("button", { type: "submit", class: "primary" }, verb)));
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    failed.textContent = "";
    try {
      await submit(Object.fromEntries(new FormData(form)));
      dialog.close();
    } catch (err) {
      failed.textContent = err.message;
    }
  });
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
}

const field = (label, control) => h("label", {}, h("span", {}, label), control);

export function signIn() {
  ask("Sign in", [
    field("User", h("input", { name: "user", autocomplete: "username", autocapitalize: "none", spellcheck: "false" })),
    field("Password", h("input", { name: "password", type: "password", autocomplete: "current-password" })),
    h("details", {}, h("summary", {}, "Use a token instead"),
      field("Token", h("input", { name: "token", type: "password", autocomplete: "off", placeholder: "plt_…" }))),
  ], "Sign in", async ({ user, password, token }) => {
    await call("POST", "/api/v1/login", token ? { token } : { user, password });
    start();
  });
}

export function account() {
  if (!store.me?.signed_in) return signIn();
  const mine = [...store.people.values()].find((d) => userOf(d) === store.me.name);
  const out = h("button", { type: "button", onclick: async () => {
    await call("POST", "/api/v1/logout");
    dialog.close();
    start();
  } }, "Sign out");
  if (mine) return statusDialog(mine, out);
  ask(store.me.name || "Token", [h("p", {}, `Signed in with the role ${store.me.role}.`)], "Done", async () => {}, out);
}

// statusDialog sets or clears what a person says.
export function statusDialog(d, ...extra) {
  const path = `/api/v1/presence/${encodeURIComponent(d.presentity)}/manual`;
  const clear = d.manual && h("button", { type: "button", onclick: async () => {
    await call("DELETE", path);
    dialog.close();
  } }, "Clear");
  const chosen = d.manual ? d.availability : "available";
  ask(["Status of ", verbatim(d.name || userOf(d))], [
    field("Status", h("select", { name: "availability" }, sayable.map((s) => h("option", { value: s, selected: s === chosen }, word(s))))),
    field("Note", h("input", { name: "note", maxlength: "256", value: d.manual ? d.note : "" })),
    field("Ends", h("select", { name: "ends" }, ends.map(([v, text]) => h("option", { value: v }, text)))),
  ], "Set", ({ availability, note, ends: end }) => {
    const body = { availability, note };
    const t = new Date(now());
    if (end === "day") t.setHours(23, 59, 59);
    else t.setMinutes(t.getMinutes() + Number(end));
    if (end) body.until = t.toISOString().replace(/\.\d+Z$/, "Z");
    return call("PUT", path, body);
  }, ...extra, ...[clear].filter(Boolean));
}
