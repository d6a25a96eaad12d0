// What this page knows: fetched once, then kept true by the event stream.
//
// The stream is read by fetch and not by EventSource, which would hide the
// heartbeats: a connection that died without a word must not look alive.

import { setSkew } from "./words.js";

const silence = 40_000; // heartbeats come each 15 s
const pauses = [1000, 2000, 4000, 8000];

export const store = {
  phones: new Map(), // by name
  people: new Map(), // by presentity
  uplinks: new Map(), // by name
  me: null, // null: nobody may read here yet
  link: "loading", // loading, live, lost, closed
  lostAt: 0,
};

const listeners = new Set();
let pending = false;

export function follow(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

// changed shows all changes of one frame together.
function changed() {
  if (pending) return;
  pending = true;
  const show = () => {
    pending = false;
    for (const f of listeners) f();
  };
  if (document.hidden) setTimeout(show, 500);
  else requestAnimationFrame(show);
}

export async function call(method, path, body) {
  const res = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  setSkew(res.headers.get("Date"));
  if (res.ok) return res.status === 204 ? null : { data: await res.json(), id: res.headers.get("Last-Event-ID") };
  const problem = await res.json().catch(() => ({}));
  const err = new Error(problem.errors?.map((e) => e.message).join("; ") || problem.detail || res.statusText);
  err.status = res.status;
  throw err;
}

function setLink(link) {
  if (store.link === link) return;
  if (link === "lost") store.lostAt = Date.now();
  store.link = link;
  changed();
}

async function load() {
  const me = await call("GET", "/api/v1/me");
  const [phones, people, uplinks] = await Promise.all(["phones", "presence", "uplinks"].map((p) => call("GET", `/api/v1/${p}`)));
  store.me = me.data;
  store.phones = new Map(phones.data.map((p) => [p.name, p]));
  store.people = new Map(people.data.map((d) => [d.presentity, d]));
  store.uplinks = new Map(uplinks.data.map((u) => [u.name, u]));
  changed();
  return older(phones.id, people.id);
}

// older is the lower of two places of the same store and epoch.
function older(a, b) {
  const seq = (id) => Number(id.split(".").pop());
  return seq(a) <= seq(b) ? a : b;
}

// epoch is what of a place changes when the agent starts again.
const epoch = (id) => id.slice(0, id.lastIndexOf("."));

let session = null; // ends what the last start began

// start loads everything and follows; called again after signing in or out.
export async function start() {
  session?.abort();
  const mine = (session = new AbortController());
  for (let n = 0; !mine.signal.aborted; n++) {
    try {
      const at = { id: await load() };
      n = 0;
      if (await stream(at, mine.signal)) continue;
    } catch (err) {
      if (mine.signal.aborted) return;
      if (err.status === 401 || err.status === 403) {
        store.me = null;
        store.phones.clear();
        store.people.clear();
        store.uplinks.clear();
        session = null;
        setLink("closed");
        return changed();
      }
    }
    setLink("lost");
    await new Promise((done) => setTimeout(done, pauses[Math.min(n, pauses.length - 1)]));
  }
}

// A page that nobody sees holds no connection: a browser has only six to one
// host, and keeps pages that were left. What was missed is fetched on return.
const hiddenFor = 30_000;
let hiding = 0;

function pause() {
  session?.abort();
  session = null;
  setLink("loading");
}

addEventListener("pagehide", pause);
addEventListener("pageshow", (e) => { if (e.persisted) start(); });
addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(pause, hiddenFor);
  else if (!session && store.link !== "closed") start();
});

// stream reads events until the connection ends. After a break it goes on from
// where it was, unless the agent has started again meanwhile: who is gone since
// then is not told, so that all must be loaded anew, and stream returns true.
async function stream(at, signal) {
  for (let n = 0; n < 3; n++) {
    const own = new AbortController();
    const end = () => own.abort();
    signal.addEventListener("abort", end);
    let timer = setTimeout(end, silence);
    try {
      const res = await fetch("/api/v1/events", { headers: { "Last-Event-ID": at.id, Accept: "text/event-stream" }, signal: own.signal, cache: "no-store" });
      if (!res.ok) throw Object.assign(new Error(res.statusText), { status: res.status });
      const place = res.headers.get("Last-Event-ID");
      if (place && epoch(place) !== epoch(at.id)) {
        end();
        return true;
      }
      setLink("live");
      const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        n = 0;
        clearTimeout(timer);
        timer = setTimeout(end, silence);
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) take(part, at);
      }
    } catch (err) {
      if (err.status || signal.aborted) throw err;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
    setLink("lost");
    await new Promise((done) => setTimeout(done, pauses[Math.min(n, pauses.length - 1)]));
  }
}

// take reads one event.
function take(text, at) {
  let kind = "", data = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data = line.slice(6);
    else if (line.startsWith("id: ")) at.id = line.slice(4);
  }
  if (!kind) return;
  const v = JSON.parse(data);
  const [map, key] = { phone: [store.phones, v.name], presence: [store.people, v.presentity], uplink: [store.uplinks, v.name] }[kind] || [];
  if (!map) return;
  if (v.gone) map.delete(key);
  else map.set(key, v);
  changed();
}
