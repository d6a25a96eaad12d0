// The page's frame: which page is shown, the state of the connection, and who
// is signed in.

import { h, isolated, span, tick, word } from "./words.js";
import { follow, start, store } from "./store.js";
import * as board from "./board.js";
import * as people from "./people.js";
import * as phone from "./phone.js";
import * as wall from "./wall.js";
import { titleOf } from "./phones.js";
import { isDark } from "./matters.js";
import { renderUplinks } from "./uplinks.js";
import { account, signIn } from "./dialogs.js";

const main = document.getElementById("main");
const title = document.title;
const search = h("input", { type: "search", class: "search", placeholder: "Search", "aria-label": "Search", "aria-keyshortcuts": "/" });
document.querySelector("header nav").after(search);

// url is what the address says; a filter is part of it, so that it can be sent on.
const url = {
  get: (name) => new URLSearchParams(location.search).get(name) || "",
  set(name, value) {
    const q = new URLSearchParams(location.search);
    if (value) q.set(name, value);
    else q.delete(name);
    history.replaceState(null, "", location.pathname + (q.size ? `?${q}` : ""));
    show();
  },
};

let show = () => {};

// decoded is a part of the address; what no name can be encoded as stays as it is.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function route(focus) {
  show.end?.();
  const name = location.pathname.match(/^\/phones\/([^/]+)$/)?.[1];
  let page = "board", heading = "Phones";
  if (name) {
    page = "phone";
    heading = decoded(name);
    show = phone.view(main, heading);
  } else if (location.pathname === "/people") {
    page = "people";
    heading = "People";
    show = people.view(main, url);
  } else if (location.pathname === "/wall") {
    page = "wall";
    heading = "Wallboard";
    show = wall.view(main);
  } else {
    show = board.view(main, url);
  }
  document.body.dataset.page = page;
  document.title = `${isolated(heading)} · ${title}`;
  search.hidden = page === "phone" || page === "wall";
  search.value = url.get("q");
  for (const a of document.querySelectorAll("nav a")) {
    if (a.dataset.page === page) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  render();
  if (focus) {
    scrollTo(0, 0);
    (main.querySelector("h1") || main).focus({ preventScroll: true });
  }
}

function renderLink() {
  const el = document.getElementById("link");
  const texts = { loading: "Loading…", live: "Live", lost: "Reconnecting…", closed: "Signed out" };
  const lost = store.link === "lost" && store.phones.size > 0;
  document.body.dataset.link = store.link;
  const text = texts[store.link] + (lost ? ` (as of ${span(Date.now() - store.lostAt)} ago)` : "");
  const span_ = el.querySelector(".text");
  if (span_.textContent !== text) span_.textContent = text;
}

function renderAccount() {
  const b = document.getElementById("account");
  b.textContent = store.me?.signed_in ? store.me.name || store.me.role : "Sign in";
}

function renderClosed() {
  main.replaceChildren(h("div", { class: "closed" }, h("h1", { tabindex: "-1" }, "Sign in to see this branch"),
    h("p", {}, "Reading needs an account here."), h("button", { type: "button", class: "primary", onclick: signIn }, "Sign in")));
  main.dataset.closed = "yes";
}

function render() {
  renderLink();
  renderAccount();
  renderUplinks(document.getElementById("uplinks"));
  if (store.link === "closed") return renderClosed();
  if (main.dataset.closed) {
    delete main.dataset.closed;
    return route(false);
  }
  show();
}

// announce tells a screen reader which phones went dark or came back since the
// last time, and nothing else: what rings and hangs up all day is no news.
let wasDark = null;
function announce() {
  if (store.link !== "live") return;
  const dark = new Map([...store.phones.values()].filter(isDark).map((p) => [p.name, `${isolated(titleOf(p))}: ${p.diagnosis || word(p.state)}`]));
  const news = [], el = document.getElementById("announce");
  if (wasDark) {
    for (const [name, text] of dark) if (!wasDark.has(name)) news.push(text);
    for (const name of wasDark.keys()) if (!dark.has(name) && store.phones.has(name)) news.push(`${isolated(titleOf(store.phones.get(name)))} is back`);
  }
  wasDark = dark;
  el.dataset.dark = dark.size;
  if (news.length) el.textContent = news.length > 3 ? `${news.length} phones changed: ${dark.size} are dark` : news.join(". ");
}

// theme goes from the system's to the other one, and back.
function theme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const is = root.dataset.theme || (dark ? "dark" : "light"), next = is === "dark" ? "light" : "dark";
  if (next === (dark ? "dark" : "light")) {
    delete root.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    root.dataset.theme = next;
    localStorage.setItem("theme", next);
  }
}

addEventListener("popstate", () => route(true));
addEventListener("click", (e) => {
  const a = e.target.closest?.("a[href^='/']");
  if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || a.pathname.startsWith("/api/")) return;
  e.preventDefault();
  history.pushState(null, "", a.href);
  route(true);
});
addEventListener("keydown", (e) => {
  if (e.key === "/" && !e.target.closest("input, select, textarea") && !search.hidden) {
    e.preventDefault();
    search.focus();
  }
  if (e.key === "Escape" && e.target === search && search.value) {
    search.value = "";
    url.set("q", "");
  }
  if (e.key.startsWith("Arrow") && e.target.closest?.(".cards")) walk(e);
});

// walk goes from card to card: left and right by one, up and down to the nearest.
function walk(e) {
  const all = [...document.querySelectorAll(".cards a")], at = e.target.closest("a").getBoundingClientRect();
  const here = all.indexOf(e.target.closest("a"));
  const rows = { ArrowUp: (r) => r.bottom <= at.top + 1, ArrowDown: (r) => r.top >= at.bottom - 1 }[e.key];
  let to = all[here + (e.key === "ArrowRight" ? 1 : -1)];
  if (rows) {
    const near = all.map((a) => [a, a.getBoundingClientRect()]).filter(([, r]) => rows(r));
    to = near.sort(([, a], [, b]) => Math.hypot(a.left - at.left, a.top - at.top) - Math.hypot(b.left - at.left, b.top - at.top))[0]?.[0];
  }
  if (!to) return;
  e.preventDefault();
  to.focus();
}
search.addEventListener("input", () => url.set("q", search.value));
document.getElementById("account").addEventListener("click", account);
document.getElementById("theme").addEventListener("click", theme);

follow(render);
route(false);
setInterval(() => { tick(); renderLink(); }, 1000);
setInterval(announce, 5000);
start();
