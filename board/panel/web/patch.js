// Bringing what is shown up to date in place. Only what differs is touched, so
// that a focus, a selection, a place scrolled to and what was opened outlive
// each event. A key (h's attribute) says which child is which; children without
// one are compared by their place. Listeners stay those of the first time: they
// may use what never changes, and have to look up the rest.

// setText changes of a text only what differs: a selection beside that stays.
function setText(node, text) {
  const old = node.data;
  if (old === text) return;
  const most = Math.min(old.length, text.length);
  let head = 0, tail = 0;
  while (head < most && old[head] === text[head]) head++;
  while (tail < most - head && old.at(-1 - tail) === text.at(-1 - tail)) tail++;
  node.replaceData(head, old.length - head - tail, text.slice(head, text.length - tail));
}

// write makes text all that an element holds.
export function write(el, text) {
  const only = el.childNodes.length === 1 && el.firstChild.nodeType === Node.TEXT_NODE;
  if (only) setText(el.firstChild, text);
  else el.textContent = text;
}

// place moves or inserts a node, which keeps its focus and what is selected in it.
function place(parent, node, before) {
  if (!node.isConnected) return parent.insertBefore(node, before);
  const all = getSelection(), { anchorNode, anchorOffset, focusNode, focusOffset } = all;
  const marked = node.contains(anchorNode) || node.contains(focusNode);
  const focused = node.contains(document.activeElement) && document.activeElement;
  if (parent.moveBefore) parent.moveBefore(node, before);
  else parent.insertBefore(node, before);
  if (marked) all.setBaseAndExtent(anchorNode, anchorOffset, focusNode, focusOffset);
  if (focused && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

const told = ["since", "before", "after"]; // what an age is made of

// patch makes an element, or a text, as another one of the same kind is.
export function patch(old, next) {
  if (old.nodeType === Node.TEXT_NODE) return setText(old, next.data);
  const own = old.nodeName === "DETAILS" ? "open" : ""; // whether it is open is the reader's
  for (const { name, value } of next.attributes) if (name !== own && old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (name !== own && !next.hasAttribute(name)) old.removeAttribute(name);
  for (const p of told) if (p in next) old[p] = next[p];
  children(old, next);
}

const alike = (a, b) => a && a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.key === b.key;

function children(old, next) {
  const wanted = new Set([...next.childNodes].map((n) => n.key));
  for (const n of [...old.childNodes]) if (n.key && !wanted.has(n.key)) n.remove();
  const keyed = new Map([...old.childNodes].filter((n) => n.key).map((n) => [n.key, n]));
  let at = old.firstChild;
  for (const want of [...next.childNodes]) {
    const have = want.key ? keyed.get(want.key) : at;
    keyed.delete(want.key);
    if (!alike(have, want)) {
      old.insertBefore(want, at);
      continue;
    }
    if (have === at) at = at.nextSibling;
    else place(old, have, at);
    patch(have, want);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// fill makes what an element holds these children, as far as it is not so already.
export function fill(el, ...some) {
  const next = document.createElement("div");
  next.append(...some.flat().filter((c) => c !== null && c !== undefined && c !== false));
  children(el, next);
}

// keep makes the children of a list those of items, and looks only at those of
// which something that uses names has changed.
export function keep(list, items, key, uses, make) {
  const old = list.kept || new Map(), kept = new Map();
  let at = list.firstElementChild;
  for (const item of items) {
    const k = key(item), now = uses(item), was = old.get(k);
    const el = was?.el || make(item);
    if (was && !now.every((v, i) => v === was.now[i])) patch(el, make(item));
    kept.set(k, { el, now });
    if (was && at && el === at.nextElementSibling) at = el; // the one between moves, or goes
    if (el === at) at = at.nextElementSibling;
    else place(list, el, at);
  }
  for (const [k, { el }] of old) if (!kept.has(k)) el.remove();
  list.kept = kept;
}
