// The page's frame: which page is shown, the state of the connection, the
// uplinks, and who is signed in.

import { clockTime, h, icon, span, tick, word } from "./words.js";
import { follow, start, store } from "./store.js";
import * as board from "./board.js";
import * as people from "./people.js";
import * as phone from "./phone.js";
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

function route(focus) {
  show.end?.();
  const name = location.pathname.match(/^\/phones\/([^/]+)$/)?.[1];
  let page = "board", heading = "Phones";
  if (name) {
    page = "phone";
    heading = decodeURIComponent(name);
    show = phone.view(main, heading);
  } else if (location.pathname === "/people") {
    page = "people";
    heading = "People";
    show = people.view(main, url);
  } else {
    show = board.view(main, url);
  }
  document.title = `${heading} · ${title}`;
  search.hidden = page === "phone";
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

const told = { // how an uplink is, for a person
  connected: (u) => [`Connected to ${u.name}`],
  degraded: (u) => [`${u.name} answers badly`, u.why],
  island: (u) => [`Running locally since ${clockTime(u.since)}`, `${u.name} does not answer`, u.why],
  resync: (u) => [`${u.name} is back, catching up`],
};

function renderUplinks() {
  const bar = document.getElementById("uplinks");
  const all = [...store.uplinks.values()];
  const key = JSON.stringify(all.map((u) => [u.name, u.mode, u.pending, u.why, u.since]));
  if (bar.dataset.key === key) return;
  bar.dataset.key = key;
  bar.hidden = !all.length;
  bar.replaceChildren(...all.map((u) => {
    const [head, ...rest] = (told[u.mode] || ((x) => [`${x.name}: ${x.mode}`]))(u);
    if (u.pending) rest.push(`${u.pending} ${u.pending > 1 ? "changes" : "change"} to hand over`);
    return h("p", { class: "uplink", "data-mode": u.mode }, icon(u.mode === "connected" ? "available" : "busy"), h("b", {}, head),
      h("span", {}, rest.filter(Boolean).join(" · ")));
  }));
}

function renderClosed() {
  main.replaceChildren(h("div", { class: "closed" }, h("h1", { tabindex: "-1" }, "Sign in to see this branch"),
    h("p", {}, "Reading needs an account here."), h("button", { type: "button", class: "primary", onclick: signIn }, "Sign in")));
  main.dataset.closed = "yes";
}

function render() {
  renderLink();
  renderAccount();
  renderUplinks();
  if (store.link === "closed") return renderClosed();
  if (main.dataset.closed) {
    delete main.dataset.closed;
    return route(false);
  }
  show();
}

// announce tells a screen reader how many are in each state, and no more often
// than one can listen.
let announced = "";
function announce() {
  if (store.link !== "live") return;
  const counts = [...board.summary()].map(([s, n]) => `${n} ${(s === "last-known" ? "last known" : word(s)).toLowerCase()}`);
  const text = `${store.phones.size} phones: ${counts.join(", ")}`;
  if (text !== announced) document.getElementById("announce").textContent = announced = text;
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
});
search.addEventListener("input", () => url.set("q", search.value));
document.getElementById("account").addEventListener("click", account);

follow(render);
route(false);
setInterval(() => { tick(); renderLink(); }, 1000);
setInterval(announce, 5000);
start();
