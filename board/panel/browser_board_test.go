package panel

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// eval gives the value of an expression in the page.
func eval[T any](tb *tab, js string) T {
	tb.t.Helper()
	v, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		tb.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// until waits for an expression to be true.
func (tb *tab) until(js string) {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, 20*time.Second)
	defer stop()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](js)); err != nil {
		tb.t.Fatalf("%s: %v", js, err)
	}
}

// hostile is a name that would run, if anything were parsed.
const hostile = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`

// troubled has phones of every cause.
func troubled(h *house, n int) {
	populate(h.heart, n)
	set := func(i int, cause presence.Cause, state presence.DeviceState, why string) {
		for _, d := range h.heart.phones {
			if d.Name == fmt.Sprintf("SEP0011AABBCC%02X", i*0x11) {
				d.Cause, d.State, d.Diagnosis, d.Freshness = cause, state, why, presence.Live
				h.heart.setPhone(d)
				return
			}
		}
	}
	set(1, presence.NoLink, presence.Unreachable, "its port sw1 Gi1/0/2 has no link")
	set(2, presence.NoAddress, presence.Unreachable, "linked at sw1 Gi1/0/3, and has no address")
	set(3, presence.OnSRST, presence.Idle, "runs on the branch's survivable router 10.1.1.1")
	set(4, presence.NoRegistrar, presence.Unregistered, hostile)
	h.uplinks.Report(relay.Status{Name: "hq", Kind: "sip", Mode: relay.Connected, Since: time.Now().Add(-time.Hour)})
}

func TestTheBoardSaysWhatIsTheMatter(t *testing.T) {
	h := newHouse(t)
	troubled(h, 24)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	tb.open("/")
	tb.shows(".matters", "1 phone without link")
	tb.shows("#uplinks", "On the survivable router: 1 of 24 phones")
	t.Run("problems come first", func(t *testing.T) {
		first := eval[[]string](tb, `[...document.querySelectorAll(".card")].slice(0, 4).map((c) => c.dataset.name)`)
		for _, name := range first {
			if d := h.heart.phones[name]; d.Cause == presence.Fine || d.Cause == "" {
				t.Errorf("%s is %s, and stands before the others", name, d.Cause)
			}
		}
	})
	t.Run("a cause leads to its phones, and back", func(t *testing.T) {
		tb.do(chromedp.Click(`.matters [data-cause=no-link]`))
		tb.until(`document.querySelectorAll(".card").length === 1`)
		if at := eval[string](tb, `location.search`); !strings.Contains(at, "cause=no-link") {
			t.Errorf("the address says %q", at)
		}
		eval[any](tb, `history.back(), 0`)
		tb.until(`document.querySelectorAll(".card").length === 24`)
	})
	t.Run("what a phone says stays text", func(t *testing.T) {
		tb.open("/?cause=unregistered")
		tb.shows(".card", hostile)
		if eval[bool](tb, `"pwned" in window`) {
			t.Error("a script in a name ran")
		}
	})
	t.Run("by keyboard alone", func(t *testing.T) {
		tb.open("/")
		tb.do(chromedp.KeyEvent("/"))
		if !eval[bool](tb, `document.activeElement === document.querySelector(".search")`) {
			t.Error("/ does not lead to the search")
		}
		tb.do(chromedp.KeyEvent("zzz"))
		tb.shows(".empty", "No phone matches")
		tb.do(chromedp.KeyEvent(kb.Escape))
		tb.until(`document.querySelectorAll(".card").length === 24`)
		eval[any](tb, `document.querySelector(".card a").focus(), 0`)
		tb.do(chromedp.KeyEvent(kb.ArrowRight))
		if eval[bool](tb, `document.activeElement === document.querySelector(".card a")`) {
			t.Error("the arrow does not lead to the next card")
		}
	})
	t.Run("light and dark, remembered", func(t *testing.T) {
		tb.scheme("light")
		tb.open("/")
		light := eval[string](tb, `getComputedStyle(document.documentElement).backgroundColor`)
		tb.do(chromedp.Click("#theme"))
		tb.open("/")
		if dark := eval[string](tb, `getComputedStyle(document.documentElement).backgroundColor`); dark == light {
			t.Errorf("both are %s", dark)
		}
		tb.do(chromedp.Click("#theme"))
	})
	t.Run("each thing that can be used has a name", func(t *testing.T) {
		for _, path := range []string{"/", "/people", "/wall", "/phones/SEP0011AABBCC11"} {
			tb.open(path)
			nameless := eval[[]string](tb, `[...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")].filter((e) => e.checkVisibility() &&
				!(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML.slice(0, 120))`)
			if len(nameless) > 0 {
				t.Errorf("%s: %q", path, nameless)
			}
		}
	})
}

// A phone that somebody talks on is not dark, whatever is the matter with it.
func TestDarkIsAStateAndNotACause(t *testing.T) {
	h := newHouse(t)
	set := func(i int, cause presence.Cause, state presence.DeviceState, why string) {
		d := h.heart.phones[fmt.Sprintf("SEP0011AABBCC%02X", i*0x11)]
		d.Cause, d.State, d.Diagnosis = cause, state, why
		h.heart.setPhone(d)
	}
	populate(h.heart, 5)
	set(0, presence.NoAnswer, presence.InUse, "on a call, and its web page does not answer")
	set(1, presence.NoRegistrar, presence.OnHold, "on a call, and registered with no call server")
	set(2, presence.WebDisabled, presence.InUse, "refuses web connections")
	set(3, presence.OnSRST, presence.Idle, "runs on the branch's survivable router")
	set(4, presence.CauseNotKnown, presence.Unreachable, "")
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	for path, each := range map[string]string{"/": ".card", "/wall": ".tile"} {
		tb.open(path)
		names := eval[[]string](tb, fmt.Sprintf(`[...document.querySelectorAll("%s .who")].map((e) => e.innerText).slice(0, 2)`, each))
		if want := []string{"Elena Rossi", "Alice Martin"}; !slices.Equal(names, want) {
			t.Errorf("%s begins with %q, want %q", path, names, want)
		}
		for _, matter := range []string{"1 phone does not answer", "1 phone registered nowhere", "1 phone with its web access off"} {
			tb.shows(".matters", matter)
		}
		tb.shows("#uplinks", "On the survivable router: 1 of 5 phones")
	}
	tb.until(`document.getElementById("announce").dataset.dark === "1"`)
	set(0, presence.WebDisabled, presence.InUse, "refuses web connections")
	set(3, presence.Fine, presence.Unpowered, "its port delivers no power")
	tb.shows("#announce", "David Okafor: its port delivers no power")
	if said := eval[string](tb, `document.getElementById("announce").textContent`); strings.Contains(said, "Alice") {
		t.Errorf("of a phone in a call it is said: %q", said)
	}
}

// A wallboard is not scrolled by anybody.
func TestTheWallboardFitsTheScreen(t *testing.T) {
	for _, n := range []int{24, 200, 1000} {
		t.Run(fmt.Sprint(n, " phones"), func(t *testing.T) {
			h := newHouse(t)
			troubled(h, n)
			tb := newTab(t, h.url)
			if tb == nil {
				return
			}
			tb.do(chromedp.EmulateViewport(1920, 1080))
			tb.open("/wall")
			tb.until(fmt.Sprintf(`document.querySelectorAll(".tile").length === %d`, n))
			if eval[bool](tb, `document.documentElement.scrollHeight > innerHeight || document.documentElement.scrollWidth > innerWidth`) {
				t.Error("it is larger than the screen")
			}
			if n != 1000 { // there they are dots
				if cut := eval[[]string](tb, `[...document.querySelectorAll(".tile")].filter((e) => { const who = e.querySelector(".who").getBoundingClientRect(), r = e.getBoundingClientRect();
					return who.top < r.top || e.querySelector(".state").getBoundingClientRect().bottom > r.bottom; }).map((e) => e.dataset.name)`); len(cut) > 0 {
					t.Errorf("cut off above or below: %d tiles, %.3q", len(cut), cut)
				}
			}
			outside := eval[int](tb, `[...document.querySelectorAll(".tile")].filter((e) => { const r = e.getBoundingClientRect();
				return r.bottom > innerHeight + 1 || r.right > innerWidth + 1 || r.width < 8 || r.height < 8; }).length`)
			if outside > 0 {
				t.Errorf("%d tiles are not on the screen", outside)
			}
			tb.shoot(fmt.Sprintf("wall-%d", n))
			tb.do(chromedp.EmulateViewport(1440, 900))
			tb.open("/")
			tb.shoot(fmt.Sprintf("board-%d", n))
		})
	}
}

// What a phone tells of itself, drawn and in words.
func TestThePageOfAPhone(t *testing.T) {
	h := newHouse(t)
	troubled(h, 24)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	d := h.heart.phones["SEP0011AABBCC88"]
	d.Neighbour = &presence.Neighbour{Switch: "access-1", Port: "GigabitEthernet1/0/9"}
	d.Log = &presence.Log{Lines: []string{"09:14:10 TCP timeout 10.0.0.5", hostile}}
	d.Screen = &presence.Screen{Notify: "CM Fallback Service Operating"}
	d.Ethernet = &presence.Ethernet{Ports: []presence.EthernetPort{{Name: "network", Speed: "1000Full", Sent: 5, Received: 7, Errors: 2}}}
	d.Streams = []presence.Stream{{Active: true, Codec: "G.722", Received: 1000, Lost: 10, MOSLQK: 3.2, AvgMOSLQK: 4.1, MinMOSLQK: 2.9, Concealed: 0.01}}
	h.heart.setPhone(d)
	tb.open("/phones/SEP0011AABBCC88")
	for _, want := range []string{"access-1 GigabitEthernet1/0/9", "TCP timeout 10.0.0.5", hostile, "CM Fallback Service Operating", "2 errors", "G.722", "10 (1.0 %)", "3.2", "2.9"} {
		tb.shows("main", want)
	}
	tb.do(chromedp.WaitVisible("svg.band"))
	if n := tb.count(".band rect"); n < 1 || n != tb.count(".history li") {
		t.Errorf("%d states drawn, %d told", n, tb.count(".history li"))
	}
	if tb.count(".evidence li") == 0 || eval[bool](tb, `"pwned" in window`) {
		t.Error("no evidence, or a script in a log ran")
	}
	tb.shoot("phone-full")
}

// What an administrator looks for across a room.
func TestATileSaysWhichPhoneItIs(t *testing.T) {
	h := newHouse(t)
	populate(h.heart, 4)
	set := func(i int, change func(*presence.Device)) {
		d := h.heart.phones[fmt.Sprintf("SEP0011AABBCC%02X", i*0x11)]
		change(&d)
		h.heart.setPhone(d)
	}
	set(1, func(d *presence.Device) { d.Owner, d.Identity.Description = "sip:alice@example.com", "" }) // Alice's second
	set(2, func(d *presence.Device) { d.Owner, d.Identity.Description = "", "" })                      // nobody's
	set(3, func(d *presence.Device) { d.Owner, d.Identity.Description, d.Lines = "", "", nil })        // and without a number
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	tb.open("/wall")
	tb.shows("[data-name=SEP0011AABBCC00]", "Alice Martin In use")
	tb.shows("[data-name=SEP0011AABBCC00] .model", "CP-8845")
	tb.shows("[data-name=SEP0011AABBCC11] .model", "CP-7841")
	tb.shows("[data-name=SEP0011AABBCC22]", "1003 Idle")
	tb.shows("[data-name=SEP0011AABBCC33]", "SEP0011AABBCC33 Ringing")
	if n := tb.count(".model"); n != 2 {
		t.Errorf("%d tiles tell a model", n)
	}
}
