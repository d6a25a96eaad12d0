package panel

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// Names that would run if anything were parsed, that end what they stand in, that
// turn what stands beside them, and one that no place is long enough for.
var hostiles = []string{
	hostile,
	`</script></title></option><svg onload="window.pwned=1">' " ${window.pwned=1}`,
	"\u202egnorw era uoy\u2069\u202e",
	strings.Repeat("W", 300),
}

// haunt gives the phones and the people of a house such names, everywhere.
func haunt(h *house) {
	populate(h.heart, 12)
	for i, bad := range hostiles {
		for j := range 3 { // one that is dark, one that is well, one whose owner has said something
			name := fmt.Sprintf("SEP%012X", 0x0011AABBCC00+(3*i+j)*17)
			d := h.heart.phones[name]
			doc := h.heart.docs[d.Owner]
			d.Identity.Model, d.Identity.Description, d.Identity.Firmware, d.Identity.Serial = bad, bad, bad, bad
			d.State, d.Cause, d.Diagnosis, d.Freshness = presence.Idle, presence.Fine, "", presence.Live
			d.Lines = []presence.Line{{Number: bad, State: presence.LineConfirmed, Elsewhere: j == 1}, {Number: "1" + bad, State: presence.LineIdle}}
			d.Port = &presence.Port{Switch: bad, Name: bad, LinkKnown: true}
			d.Neighbour = &presence.Neighbour{Switch: bad, Port: bad}
			d.Registration = &presence.Registration{Registered: true, Server: bad}
			d.Ethernet = &presence.Ethernet{Ports: []presence.EthernetPort{{Name: bad, Speed: bad}}}
			d.Log, d.Screen = &presence.Log{Lines: []string{bad}}, &presence.Screen{Title: bad, Prompt: bad, Notify: bad}
			d.Because = []presence.Evidence{{Source: bad, Says: bad, Seen: time.Now(), Live: true}}
			doc.Name, doc.Because, doc.Availability = bad, d.Because, presence.Available
			switch j {
			case 0:
				d.State, d.Cause, d.Diagnosis = presence.Unreachable, presence.NoLink, bad
			case 1: // nobody's
				d.Owner = ""
			case 2:
				doc.Manual, doc.Note, doc.Availability = true, bad, presence.Away
			}
			doc.Devices = []presence.DeviceView{{Name: name, State: d.State, Lines: d.Lines, Freshness: presence.Live}}
			h.heart.history[name] = []Change{{time.Now(), presence.Idle, d.State, bad}}
			h.heart.setPhone(d)
			h.heart.setDoc(doc)
		}
		mode := relay.Connected
		if i > 1 {
			mode = relay.Island
		}
		h.uplinks.Report(relay.Status{Name: bad, Kind: "sip", Mode: mode, Since: time.Now(), Why: bad, Pending: i})
	}
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

func TestANameIsOnlyEverText(t *testing.T) {
	h := newHouse(t)
	haunt(h)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	paths := []string{"/", "/wall", "/people", "/phones/SEP0011AABBCC00", "/phones/SEP0011AABBCC44", "/phones/SEP0011AABBCC77", "/phones/SEP0011AABBCC99", "/phones/%E0"}
	for _, bad := range hostiles {
		q := url.QueryEscape(bad)
		paths = append(paths, "/phones/"+url.PathEscape(bad), fmt.Sprintf("/?q=%s&state=%s&cause=%s&model=%s&switch=%s", q, q, q, q, q), "/people?q="+q)
	}
	for _, width := range []int64{390, 1440} {
		tb.do(chromedp.EmulateViewport(width, 844))
		for _, path := range paths {
			tb.open(path)
			if path == "/people" {
				eval[any](tb, `document.querySelectorAll("details").forEach((d) => { d.open = true; }), 0`)
				tb.until(`document.querySelectorAll(".because").length === document.querySelectorAll("details").length`)
			}
			if eval[bool](tb, `"pwned" in window || document.querySelectorAll("body img, body script, main [onload], main [onerror]").length > 0`) {
				t.Errorf("%s at %d: a name was parsed", path, width)
			}
			if wide := eval[int64](tb, `document.documentElement.scrollWidth`); wide > width {
				over := eval[string](tb, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map((e) => e.outerHTML.slice(0, 90)).join("\n")`)
				t.Errorf("%.60s at %d: it is %d wide: %s", path, width, wide, over)
			}
			tb.shoot(fmt.Sprintf("hostile-%d-%.12s", width, strings.NewReplacer("/", "_", "?", "_", "%", "").Replace(path)))
		}
	}
}

func TestANameIsShownAsItIs(t *testing.T) {
	h := newHouse(t)
	haunt(h)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	// has wants the text of all that a selector finds, or an attribute of it, to hold a name.
	has := func(path, selector, of, name string) {
		t.Helper()
		js := fmt.Sprintf(`[...document.querySelectorAll(%s)].some((e) => (e%s || "").includes(%s))`, quoted(selector), of, quoted(name))
		if !eval[bool](tb, js) {
			t.Errorf("%s: no %s%s holds %.40q", path, selector, of, name)
		}
	}
	for path, selectors := range map[string][]string{
		"/":       {".who", ".number", ".elsewhere", ".diagnosis", ".said", ".meta bdi", ".uplink", "select[data-name=model] option", "select[data-name=switch] option"},
		"/wall":   {".who", ".uplink"},
		"/people": {".who", ".number", ".note", ".because li", ".devices li"},
	} {
		tb.open(path)
		eval[any](tb, `document.querySelectorAll("details").forEach((d) => { d.open = true; }), 0`)
		tb.until(`document.querySelectorAll(".because").length === document.querySelectorAll("details").length`)
		for _, bad := range hostiles {
			for _, selector := range selectors {
				has(path, selector, ".textContent", bad)
			}
		}
	}
	for i, bad := range hostiles {
		path := fmt.Sprintf("/phones/SEP%012X", 0x0011AABBCC00+3*i*17)
		tb.open(path)
		tb.until(`document.querySelectorAll(".history li").length === 1`)
		for _, selector := range []string{"h1", ".diagnosis", "dd", ".lines b", ".evidence .source", ".evidence .says", ".log li", ".history li"} {
			has(path, selector, ".textContent", bad)
		}
	}
}

// What turns the direction of text turns its own, and not what stands beside it.
func TestANameTurnsNoWordsBesideIt(t *testing.T) {
	h := newHouse(t)
	haunt(h)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	// Of what follows a name on its line, nothing may stand before it.
	const turned = `[...document.querySelectorAll("bdi")].filter((name) => {
		if (!name.nextSibling) return false;
		const range = document.createRange();
		range.selectNode(name.nextSibling);
		const next = range.getClientRects()[0], last = [...name.getClientRects()].at(-1);
		return next && last && Math.abs(next.top - last.top) < 3 && next.left < last.right - 1;
	}).map((name) => name.parentNode.outerHTML)`
	// A title has no elements, and must hold the name in characters that isolate it.
	const loose = `[...document.querySelectorAll("[title]")].map((e) => e.title).filter((title) => {
		let depth = 0;
		return [...title].some((c) => {
			if (c >= "\u2066" && c <= "\u2068") depth++;
			if (c === "\u2069") depth--;
			return depth < 0 || (c === "\u202e" && !depth);
		}) || depth > 0;
	})`
	tb.do(chromedp.EmulateViewport(1440, 900))
	for _, path := range []string{"/", "/wall", "/people", "/phones/SEP0011AABBCC66", "/phones/SEP0011AABBCC77"} {
		tb.open(path)
		eval[any](tb, `document.querySelectorAll("details").forEach((d) => { d.open = true; }), 0`)
		tb.until(`document.querySelectorAll("main bdi").length > 3`)
		if lines := eval[[]string](tb, turned); len(lines) > 0 {
			t.Errorf("%s: turned is %q", path, lines)
		}
		if titles := eval[[]string](tb, loose); len(titles) > 0 {
			t.Errorf("%s: a name is loose in %q", path, titles)
		}
	}
	tb.open("/phones/" + url.PathEscape(hostiles[2]))
	if title := eval[string](tb, `document.title`); !strings.HasPrefix(title, "\u2068\u2068\u202egnorw era uoy\u2069\u202e\u2069 · ") {
		t.Errorf("the page's title is %q", title)
	}
}
