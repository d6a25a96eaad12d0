package e2e

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

var update = flag.Bool("update", false, "write golden files and pictures anew")

// openBrowser gives a page of a browser of its own.
func openBrowser(t *testing.T, width, height int) context.Context {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.WindowSize(width, height))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// A newcomer's look at the demo in a real browser: lamps with words, live, and
// a phone that goes dark under her eyes.
func TestDemoInABrowser(t *testing.T) {
	if !peers.Need(t, "chromium") {
		return
	}
	d, _ := startDemo(t, 24)
	ctx := openBrowser(t, 1440, 960)
	if err := chromedp.Do(ctx, chromedp.Navigate(d.URL+"/"), chromedp.WaitVisible(".card[data-state=in-use]")); err != nil {
		t.Fatal(err)
	}
	cards := func(selector string) int { return count(t, ctx, selector) }
	if n := cards(".card"); n != 24 {
		t.Errorf("%d phones on the board", n)
	}
	words, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`[...new Set([...document.querySelectorAll(".card .word")].map(e => e.textContent))]`))
	if err != nil || len(words) < 2 {
		t.Errorf("the states in words: %q %v", words, err)
	}
	var victim string
	for _, p := range d.Phones() {
		if p.State == "idle" {
			victim = p.Name
		}
	}
	d.do(t, "unplug "+victim)
	product.Until(t, 15*time.Second, victim+" goes dark on the board, with its diagnosis", func() bool {
		return cards(fmt.Sprintf(".card[data-name=%s][data-state=unpowered] .diagnosis, .card[data-name=%s][data-state=unreachable] .diagnosis", victim, victim)) > 0
	})
}

// count is how many elements the page has there.
func count(t *testing.T, ctx context.Context, selector string) int {
	t.Helper()
	n, err := chromedp.Run(ctx, chromedp.Evaluate[int](fmt.Sprintf("document.querySelectorAll(%q).length", selector)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
