package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/chromedp/chromedp"
)

const chromium = "/usr/bin/chromium" // Debian's

// watchPaint notes, in the page, when a change of a phone's state was painted.
// The observer is called when the page's script has changed the document. A
// message that is posted while a frame is made is handled once that frame was
// painted; a change between frames waits for the next one first.
const watchPaint = `(() => {
	window.painted = [];
	const after = new MessageChannel(), waiting = [], frames = window.requestAnimationFrame;
	let inFrame = false, asked = false;
	window.requestAnimationFrame = f => frames(at => {
		inFrame = true;
		f(at);
		queueMicrotask(() => { inFrame = false; }); // behind the observer's
	});
	after.port1.onmessage = () => {
		const at = performance.timeOrigin + performance.now();
		for (const [name, state] of waiting.splice(0)) window.painted.push({Name: name, State: state, At: at});
	};
	new MutationObserver(changes => {
		for (const c of changes) {
			const nodes = c.type === "attributes" ? [c.target] : [...c.addedNodes].flatMap(n => n.querySelectorAll ? [n, ...n.querySelectorAll("[data-state]")] : []);
			for (const n of nodes) if (n.dataset?.name && n.dataset.state) waiting.push([n.dataset.name, n.dataset.state]);
		}
		if (!waiting.length || asked) return;
		if (inFrame) return after.port2.postMessage(0);
		asked = true;
		frames(() => { asked = false; after.port2.postMessage(0); });
	}).observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"]});
	return document.querySelectorAll(".card").length;
})()`

type paint struct {
	Name, State string
	At          float64 // ms since 1970, by the clock that this process reads, too
}

// pixel is how soon a change can be seen on a screen, with a crowd beside.
func (p plan) pixel(ctx context.Context, r *report) error {
	if _, err := os.Stat(chromium); err != nil {
		log.Printf("no %s: nothing is measured on a screen", chromium)
		return nil
	}
	scenario := fmt.Sprintf("%d phones in a browser, %d viewers", p.Painted, p.Viewers)
	log.Print(scenario)
	b, err := newPair(p, p.Painted, 10*time.Second)
	if err != nil {
		return err
	}
	defer b.close()
	if _, err := b.start(ctx); err != nil {
		return err
	}
	if _, err := b.populated(ctx, p.Painted); err != nil {
		return err
	}
	crowd, err := b.watch(ctx, p.Viewers-1)
	if err != nil {
		return err
	}
	defer crowd.close()
	page, closePage, err := b.browser(ctx)
	if err != nil {
		return err
	}
	defer closePage()

	if err := sleep(ctx, p.Settle); err != nil {
		return err
	}
	// The page is asked until the last change is in, and not only while calls
	// begin: those that are up by then have changes to come.
	asking, stop := context.WithCancel(page)
	seen := newViewers(stop)
	defer seen.close()
	seen.tasks.Go(func() { seen.ended(asking, collect(asking, seen)) })
	end := calls{branch: b, changes: p.Changes / 2, rings: quickRing, lasts: quickTalk, expect: seen.expect, finish: true}.begin(ctx)
	late := lateness(ctx, p.Latency)
	if err := sleep(ctx, p.Latency); err != nil {
		return err
	}
	done, err := end()
	if err != nil {
		return err
	}
	took, missed, err := seen.result(ctx)
	if err != nil {
		return err
	}
	if len(missed) > 0 {
		log.Printf("%d changes not painted, such as %s", len(missed), missed[0])
	}
	if n := int(done.changes.Load()); n != len(took)+len(missed) {
		return fmt.Errorf("%d changes, but %d painted and %d missed", n, len(took), len(missed))
	}
	ms := func(q float64) float64 { return quantile(took, q).Seconds() * 1e3 }
	r.add(scenario, "change to painted frame, p50", ms(.5), "ms", 0)
	r.add(scenario, "change to painted frame, p99", ms(.99), "ms", 100)
	r.add(scenario, "change to painted frame, most", ms(1), "ms", 0)
	r.add(scenario, "a timer's delay beside the browser, p99", quantile(<-late, .99).Seconds()*1e3, "ms", 0)
	r.add(scenario, "changes painted", float64(len(took)), "", 0)
	r.zero(scenario, "changes not painted", float64(len(missed)))
	return nil
}

// browser opens the board in a page that notes what it paints.
func (b *pair) browser(ctx context.Context) (page context.Context, end func(), err error) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(1920, 1080))
	ctx, stop := chromedp.NewExecAllocator(ctx, opts...)
	page, cancel := chromedp.NewContext(ctx)
	end = func() { cancel(); stop() }
	if err := chromedp.Do(page, chromedp.Navigate(b.url+"/"), chromedp.WaitVisible("body[data-link=live]"), chromedp.WaitVisible(".card[data-state]")); err != nil {
		end()
		return nil, nil, fmt.Errorf("browser: %w", err)
	}
	cards, err := chromedp.Run(page, chromedp.Evaluate[int](watchPaint))
	if err == nil && cards != len(b.phones) {
		err = fmt.Errorf("%d phones on the board, want %d", cards, len(b.phones))
	}
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("browser: %w", err)
	}
	return page, end, nil
}

// collect takes what was painted, again and again until page ends.
func collect(page context.Context, seen *viewers) error {
	for {
		all, err := chromedp.Run(page, chromedp.Evaluate[[]paint](`window.painted.splice(0)`))
		if err != nil {
			return fmt.Errorf("browser: %w", err)
		}
		for _, p := range all {
			seen.seen(p.Name, p.State, time.UnixMicro(int64(p.At*1e3)))
		}
		if err := sleep(page, 200*time.Millisecond); err != nil {
			return err
		}
	}
}
