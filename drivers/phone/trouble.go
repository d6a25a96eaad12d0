package phone

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// How long a page is left alone that could not be read. A body that is no page,
// and any status that is not named here, is asked for again at the next visit, unless
// our user was shown for it: that may have been a refusal in other words.
const (
	goneTries = 3                // visits in a row that find no such page, before it counts as not there
	goneAgain = time.Minute      // before the last of them: a phone that starts has no pages for a while
	goneAtAll = 10 * time.Minute // while it is not known how the phone tells of itself
	deniedFor = 5 * time.Minute
	busyFor   = 15 * time.Second // doubling with each time, up to
	maxWait   = 2 * time.Minute  // which bounds what a phone asks for itself, too
)

// A trouble is what is remembered of a page that could not be read: it is that
// page's, and the phone is read by its others.
type trouble struct {
	fault *Fault
	tries int       // in a row that came to the same
	until time.Time // it is not asked for before
}

// wait is how long the page is left alone.
func (t *trouble) wait(forget time.Duration) time.Duration {
	f := t.fault
	switch {
	case f.gone() && t.tries >= goneTries:
		return forget
	case f.gone() && t.tries == goneTries-1:
		return goneAgain
	case f.denied():
		return deniedFor
	case f.Wait > 0:
		return f.Wait
	case f.busy(), f.Reach == presence.Silent, f.Shown:
		return min(busyFor<<min(t.tries-1, 10), maxWait)
	}
	return 0
}

// has reports whether a page is worth asking for now.
func (w *sweep) has(path string) bool {
	t := w.a.troubles[path]
	return t == nil || !time.Now().Before(t.until)
}

// absent reports that the phone has often enough said that it has no such page.
func (w *sweep) absent(path string) bool {
	t := w.a.troubles[path]
	return t != nil && t.fault.gone() && t.tries >= goneTries
}

// passing reports that a page is likely to be there at the next visit.
func (w *sweep) passing(path string) bool {
	t := w.a.troubles[path]
	return t != nil && t.tries < goneTries && w.has(path)
}

// failed remembers that a page could not be read.
func (w *sweep) failed(path string, f *Fault) {
	t := w.a.troubles[path]
	if t == nil || t.fault.gone() != f.gone() {
		t = &trouble{}
		w.a.troubles[path] = t
	}
	forget := w.pace.Forget
	if w.a.dialect == anyDialect {
		forget = min(forget, goneAtAll)
	}
	t.fault = f
	t.tries++
	t.until = time.Now().Add(t.wait(forget))
}

// settle is the end of each reading of a page that the phone can be read without.
// An error is the phone's, and not the page's.
func (w *sweep) settle(ctx context.Context, path string, err error) (ok bool, _ error) {
	if err == nil {
		delete(w.a.troubles, path)
		return true, nil
	}
	switch f := faultIn(err); {
	case f == nil:
		return false, err
	case f.hung():
		return false, w.lives(ctx, path, f)
	case f.own():
		w.failed(path, f)
	default:
		return false, err
	}
	return false, nil
}

// lives is nil where a phone that hung on a page answers on others: on one that was
// read in this visit, or else on the one that it is known by. The page is left alone
// for a while, unless it was asked for only since the phone hangs on another.
func (w *sweep) lives(ctx context.Context, path string, hung *Fault) error {
	if err := w.hesitate(ctx); err != nil {
		return err
	}
	if !w.heard && w.identified {
		return hung
	}
	w.failed(path, hung)
	if w.heard {
		return nil
	}
	err := w.identity(ctx)
	if f := faultIn(err); f != nil && f.Reach == presence.Silent {
		return hung
	}
	return err
}

// try reads a page that the phone can be read without, if it is to be had now.
func (w *sweep) try(ctx context.Context, path string, read func(Page) error) (ok bool, _ error) {
	if !w.has(path) {
		return false, nil
	}
	page, err := w.page(ctx, path)
	if err == nil {
		err = sends(path, read(page))
	}
	return w.settle(ctx, path, err)
}

// sends words what is wrong with a body as the page's fault.
func sends(path string, err error) error {
	if _, ok := errors.AsType[*Fault](err); ok || err == nil {
		return err
	}
	if own, ok := errors.AsType[*PhoneError](err); ok {
		return &Fault{Reach: presence.Garbled, Page: path, Detail: own.Error(), Err: own}
	}
	return garbled(path, "sends %s", err)
}

// trouble is the fault of a page that identity, calls or registration are read from, where
// there is one: what an administrator is to be told though the phone was read. That
// a phone has no such page is none.
func (w *sweep) trouble() *Fault {
	if f := w.a.keys.why; f != nil {
		return garbled("", "%s: %s", f.Page, f.Detail)
	}
	for _, path := range slices.Sorted(maps.Keys(w.a.troubles)) {
		f := w.a.troubles[path].fault
		told := path == pathDevice || path == pathNetwork || strings.HasPrefix(path, pathStream) || strings.HasPrefix(path, pathCalls) || slices.Contains(javaLines, path)
		if !told || f.gone() {
			continue
		}
		// This page is silent, or refused: the phone, which was read, is not.
		return garbled("", "%s: %s", f.Page, f.Detail)
	}
	return nil
}

// denied reports that a page is refused for now.
func (w *sweep) denied() bool {
	for path, t := range w.a.troubles {
		if t.fault.denied() && !w.has(path) {
			return true
		}
	}
	return false
}
