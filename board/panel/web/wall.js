// The wallboard: all phones on one screen that nobody scrolls, readable from
// across the room. Few phones have words, many have a name, a thousand are dots.

import { age, condition, h, isolated, lamp, states, verbatim, word } from "./words.js";
import { fill, keep } from "./patch.js";
import { store } from "./store.js";
import { summary } from "./board.js";
import { numbersOf, titleOf } from "./phones.js";
import { isDark, matters, mattersKey } from "./matters.js";

const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const shapes = { roomy: 3.2, compact: 3.6, dots: 1 }; // width to height of a tile
const letters = { roomy: 0.3, compact: 0.33, dots: 0 }; // height of a name to that of its tile

function density(n) {
  if (n <= 60) return "roomy";
  return n <= 320 ? "compact" : "dots";
}

// columns fills the room with tiles of about that shape.
function columns(n, width, height, shape) {
  let best = 1, fit = 0;
  for (let c = 1; c <= n; c++) {
    const w = width / c, hgt = height / Math.ceil(n / c);
    const size = Math.min(w / shape, hgt);
    if (size > fit) [best, fit] = [c, size];
  }
  return [best, fit];
}

// who is a phone in one word: a number says more across a room than a device's name,
// of which a narrow tile tells the end, where they differ.
function who(p) {
  const title = titleOf(p);
  if (title !== p.name) return title;
  const short = density(store.phones.size) === "roomy" || p.name.length < 10 ? p.name : `…${p.name.slice(-6)}`;
  return numbersOf(p).join(", ") || short;
}

// tile is one phone; a twin goes by the same name as another, and tells its model.
function tile(p, twin) {
  return h("li", { class: "tile", "data-name": p.name, "data-lamp": p.state, "data-fresh": p.freshness, "data-state": p.state, title: `${isolated(titleOf(p))}: ${condition(p.state, p.freshness)}` },
    h("span", { class: "who" }, verbatim(who(p))),
    h("span", { class: "state" }, h("span", { class: "word" }, condition(p.state, p.freshness)), " ",
      age(p.freshness === "live" ? p.since : p.as_of), twin && p.model && h("span", { class: "model" }, verbatim(p.model))));
}

export function view(main) {
  const clock = h("time", { class: "clock" }), counts = h("ul", { class: "counts", role: "list" }), matter = h("div", {}), tiles = h("ul", { class: "tiles", role: "list" });
  const head = h("div", { class: "wallhead" }, counts);
  main.replaceChildren(h("h1", { class: "unseen", tabindex: "-1" }, "Wallboard"), head, matter, tiles);
  document.querySelector(".corner").prepend(clock);
  let counted = "", mattered = "", laid = "";
  const tell = () => { clock.textContent = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }); };
  const beat = setInterval(tell, 1000);
  let still;
  const awake = () => {
    document.body.classList.remove("still");
    clearTimeout(still);
    still = setTimeout(() => document.body.classList.add("still"), 3000);
  };
  const layout = () => {
    const n = Math.max(1, store.phones.size), d = density(n), box = tiles.getBoundingClientRect();
    const key = [n, d, box.width, box.height].join();
    if (key === laid || !box.width) return;
    laid = key;
    const gap = d === "roomy" ? 10 : d === "compact" ? 5 : 3;
    const [c, fit] = columns(n, box.width, box.height, shapes[d]);
    tiles.dataset.density = d;
    tiles.style.setProperty("--columns", c);
    tiles.style.setProperty("--gap", `${gap}px`);
    tiles.style.setProperty("--size", `${Math.min(30, fit * letters[d]).toFixed(1)}px`);
  };
  const resized = new ResizeObserver(layout);
  resized.observe(tiles);
  addEventListener("mousemove", awake);
  awake();
  tell();
  function show() {
    const sums = summary(), key = JSON.stringify([...sums]);
    if (key !== counted) {
      counted = key;
      fill(counts, ["idle", "ringing", "in-use", "on-hold", ...states.slice(4), "last-known"].filter((s) => sums.get(s) || (s !== "last-known" && states.indexOf(s) < 4))
        .map((s) => h("li", { key: s, class: sums.get(s) ? "" : "none" }, lamp(s === "last-known" ? "unknown" : s, s === "last-known" ? "last-known" : "live"), h("b", {}, String(sums.get(s) || 0)), s === "last-known" ? "Last known" : word(s))));
    }
    const m = mattersKey();
    if (m !== mattered) {
      mattered = m;
      fill(matter, matters());
    }
    const items = [...store.phones.values()].sort((a, b) => isDark(b) - isDark(a) || order.compare(who(a), who(b)) || order.compare(a.name, b.name));
    const seen = new Map(); // how many phones go by a name
    for (const p of items) seen.set(who(p), (seen.get(who(p)) || 0) + 1);
    const twin = (p) => seen.get(who(p)) > 1;
    keep(tiles, items, (p) => p.name, (p) => [p.state, p.freshness, p.since, titleOf(p), who(p), twin(p)], (p) => tile(p, twin(p)));
    layout();
  }
  show.end = () => {
    clearInterval(beat);
    clearTimeout(still);
    resized.disconnect();
    removeEventListener("mousemove", awake);
    document.body.classList.remove("still");
    clock.remove();
  };
  return show;
}
