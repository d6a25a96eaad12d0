package panel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// chromium is Debian's. Without it these tests say so, and fail where CI is to
// have it.
const chromium = "/usr/bin/chromium"

// tab is one page of a real browser, whose console is watched.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string
}

func newTab(t *testing.T, url string) *tab {
	t.Helper()
	if _, err := os.Stat(chromium); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", chromium)
		}
		t.Logf("did not run in a browser: %s is missing", chromium)
		return nil
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(1440, 900))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	tb := &tab{t, ctx, url}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	watch, end := context.WithCancel(ctx)
	var said []string
	over := make(chan struct{})
	messages := chromedp.Console(watch)
	go func() {
		defer close(over)
		for m, err := range messages {
			if err != nil {
				return
			}
			said = append(said, fmt.Sprintf("%s (%s:%d)", m, m.URL, m.Line))
		}
	}()
	t.Cleanup(func() {
		end()
		<-over
		for _, s := range said {
			if !strings.Contains(s, "401") { // the browser itself remarks on the answer to a wrong password
				t.Errorf("the console is not silent: %s", s)
			}
		}
	})
	return tb
}

func (tb *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, 20*time.Second)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tb.t.Fatal(err)
	}
}

// open shows a page, and waits until it is live.
func (tb *tab) open(path string) {
	tb.t.Helper()
	tb.do(chromedp.Navigate(tb.url+path), chromedp.WaitVisible("body[data-link=live]"))
}

// shows waits until the text of a part of the page holds want.
func (tb *tab) shows(selector, want string) {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, 10*time.Second)
	defer stop()
	js := fmt.Sprintf(`Boolean(document.querySelector(%q)?.innerText.replace(/\s+/g, " ").includes(%q))`, selector, want)
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](js)); err != nil {
		text, _ := chromedp.Run(tb.ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.innerText || "nothing"`, selector)))
		tb.t.Fatalf("%s does not show %q, but %.600q (%v)", selector, want, text, err)
	}
}

func (tb *tab) count(selector string) int {
	tb.t.Helper()
	n, err := chromedp.Run(tb.ctx, chromedp.Evaluate[int](fmt.Sprintf(`document.querySelectorAll(%q).length`, selector)))
	if err != nil {
		tb.t.Fatal(err)
	}
	return n
}

// shoot keeps a picture where PILOTLIGHT_SHOTS says.
func (tb *tab) shoot(name string) {
	tb.t.Helper()
	dir := os.Getenv("PILOTLIGHT_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(tb.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		tb.t.Fatal(err)
	}
}

func (tb *tab) scheme(name string) {
	tb.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}}
	if _, err := chromedp.Call(tb.ctx, emulation.SetEmulatedMedia, media); err != nil {
		tb.t.Fatal(err)
	}
}

func TestTheBoardInABrowser(t *testing.T) {
	h := newHouse(t)
	populate(h.heart, 24)
	h.uplinks.Report(relay.Status{Name: "hq", Kind: "sip", Mode: relay.Connected, Since: time.Now().Add(-time.Hour)})
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	first := `[data-name=SEP0011AABBCC00]`
	tb.open("/")
	if n := tb.count(".card"); n != 24 {
		t.Errorf("%d cards", n)
	}
	tb.shows(first, "Alice Martin 1001 In use")
	tb.shows(`[data-name=SEP0011AABBCC66]`, "No power")
	tb.shows(`[data-name=SEP0011AABBCCDD]`, "Last known: idle 17 min ago")
	tb.shows("#uplinks", "Connected to hq")
	for _, scheme := range []string{"light", "dark"} {
		tb.scheme(scheme)
		tb.shoot("board-" + scheme)
	}
	tb.scheme("light")

	t.Run("a change shows itself in words", func(t *testing.T) {
		d := h.heart.phones["SEP0011AABBCC00"]
		d.State, d.Since, d.Diagnosis = presence.Unpowered, time.Now(), "sw1 <b>Gi1/0/1</b> delivers no power"
		h.heart.setPhone(d)
		tb.shows(first, "No power")
		tb.shows(first, "sw1 <b>Gi1/0/1</b> delivers no power") // as text, whatever is in it
		h.uplinks.Report(relay.Status{Name: "hq", Kind: "sip", Mode: relay.Island, Since: time.Now(), Pending: 3, Why: "3 requests without an answer"})
		tb.shows("#uplinks", "Running locally since")
		tb.shoot("board-island")
	})
	t.Run("filters are in the address", func(t *testing.T) {
		tb.open("/?state=in-use")
		if n := tb.count(".card"); n != 3 {
			t.Errorf("%d phones in use", n)
		}
		tb.open("/?q=bruno")
		tb.shows(".cards", "Bruno Keller")
		if n := tb.count(".card"); n != 1 {
			t.Errorf("%d phones of bruno", n)
		}
	})
	t.Run("a phone that is forgotten goes", func(t *testing.T) {
		tb.open("/")
		h.heart.mu.Lock()
		delete(h.heart.phones, "SEP0011AABBCC11")
		gone := presence.Device{Name: "SEP0011AABBCC11", Rev: h.heart.rev()}
		for _, f := range h.heart.phoneFed {
			f.offer(gone)
		}
		h.heart.mu.Unlock()
		tb.do(chromedp.WaitNotPresent(`[data-name=SEP0011AABBCC11]`))
	})
	t.Run("people, and why", func(t *testing.T) {
		tb.open("/people")
		tb.shows(`[data-name="sip:bruno@example.com"]`, "Do not disturb")
		tb.do(chromedp.Click(`[data-name="sip:bruno@example.com"] summary`))
		tb.shows(`[data-name="sip:bruno@example.com"] .more`, "panel said do-not-disturb")
		tb.shoot("people-light")
		for _, column := range []string{".who", ".number", ".state", ".able"} {
			js := fmt.Sprintf(`new Set([...document.querySelectorAll("summary > %s")].map((e) => Math.round(e.getBoundingClientRect().left))).size`, column)
			if n, err := chromedp.Run(tb.ctx, chromedp.Evaluate[int](js)); err != nil || n != 1 {
				t.Errorf("%s begins in %d places, %v", column, n, err)
			}
		}
		tb.scheme("dark")
		tb.shoot("people-dark")
		tb.scheme("light")
	})
	t.Run("one phone, by its address", func(t *testing.T) {
		tb.open("/phones/SEP0011AABBCC88")
		tb.shows("main", "Ingrid Solberg")
		tb.shows("main", "GigabitEthernet1/0/9")
		tb.shows("main .history", "dialog/pbx line 1009 confirmed")
		tb.shoot("phone-light")
		tb.open("/phones/SEP0011AABBCC66")
		tb.scheme("dark")
		tb.shows("main", "delivers no power")
		tb.shoot("phone-dark")
		tb.scheme("light")
	})
	t.Run("on a small screen nothing is wider than it", func(t *testing.T) {
		tb.do(chromedp.EmulateViewport(390, 844))
		for _, path := range []string{"/", "/people", "/phones/SEP0011AABBCC88"} {
			tb.open(path)
			wide, err := chromedp.Run(tb.ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
			if err != nil || wide > 390 {
				t.Errorf("%s is %d wide, %v", path, wide, err)
			}
			tb.shoot("small" + strings.ReplaceAll(path, "/", "-"))
		}
		tb.do(chromedp.EmulateViewport(1440, 900))
	})
	t.Run("nor on a large one", func(t *testing.T) {
		tb.do(chromedp.EmulateViewport(1920, 1080))
		for _, path := range []string{"/", "/people", "/phones/SEP0011AABBCC88"} {
			tb.open(path)
			if out := eval[int](tb, `[...document.querySelectorAll("main *")].filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth).length`); out > 0 {
				t.Errorf("%s: %d parts are not on the screen", path, out)
			}
		}
		tb.do(chromedp.EmulateViewport(1440, 900))
	})
}

func TestSigningInAndSayingHowOneIs(t *testing.T) {
	h := newHouse(t)
	if err := h.book.AddUser(t.Context(), "alice", access.Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	tb.open("/")
	tb.do(chromedp.Click("#account"), chromedp.WaitVisible("dialog[open]"),
		chromedp.SendKeys("input[name=user]", "alice"), chromedp.SendKeys("input[name=password]", "wrong horse"), chromedp.Click("dialog .primary"))
	tb.shows("dialog .failed", "do not belong together")
	tb.shoot("sign-in")
	tb.do(chromedp.SendKeys("input[name=password]", "\b\b\b\b\b\b\b\b\b\b\bcorrect horse"), chromedp.Click("dialog .primary"))
	tb.shows("#account", "alice")
	tb.do(chromedp.Click("#account"), chromedp.WaitVisible("dialog[open] select"))
	tb.do(chromedp.SendKeys("select[name=availability]", "Do"), chromedp.SendKeys("input[name=note]", "writing"))
	tb.shoot("status")
	tb.do(chromedp.Click("dialog .primary"), chromedp.WaitVisible(".said"))
	tb.shows(`[data-name=SEP0011AABBCC00]`, "Do not disturb: writing")
}

func TestThePageSaysWhenItIsCutOff(t *testing.T) {
	h := newHouse(t)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	tb.open("/")
	h.stop()
	tb.shows("#link", "Reconnecting… (as of")
	tb.shoot("cut-off")
	tb.do(chromedp.Navigate("about:blank"))
}

// Nobody tells a page of what a restart left out.
func TestAfterARestartAnOpenPageShowsWhatTheAgentKnows(t *testing.T) {
	h := newHouse(t)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	first, second := `[data-name=SEP0011AABBCC00]`, `[data-name=SEP0011AABBCC11]`
	tb.open("/")
	tb.do(chromedp.WaitVisible(first), chromedp.WaitVisible(second))
	h.stop()
	tb.shows("#link", "Reconnecting")
	newHouse(t, func(c *Config, d *Deps) {
		c.Listen = strings.TrimPrefix(h.url, "http://")
		heart := newFakeHeart()
		heart.epoch++
		populate(heart, 3)
		delete(heart.phones, "SEP0011AABBCC11") // it was taken out of the configuration
		d.Heart = heart
	})
	tb.do(chromedp.WaitNotPresent(second), chromedp.WaitVisible("body[data-link=live]"), chromedp.WaitVisible(first))
}

func TestThePageIsSmallAtTwoHundredPhones(t *testing.T) {
	h := newHouse(t)
	populate(h.heart, 200)
	h.panel.keeper.refresh(t.Context(), true)
	total := 0
	for _, path := range append([]string{"/", "/api/v1/me", "/api/v1/phones", "/api/v1/presence", "/api/v1/uplinks"}, staticPaths(h.panel)...) {
		res, body := h.ask("GET", path, "", "Accept-Encoding", "gzip")
		if res.StatusCode != 200 || res.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %d, encoding %q", path, res.StatusCode, res.Header.Get("Content-Encoding"))
		}
		total += len(body)
	}
	t.Logf("first picture of 200 phones: %d bytes", total)
	if total > 100_000 {
		t.Errorf("%d bytes", total)
	}
}

func staticPaths(p *Panel) (all []string) {
	for name := range p.web.assets {
		all = append(all, "/static/"+name)
	}
	return all
}
