package phone

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// What a phone's pages tell goes to the heart under a source for each pace, so
// that every fact keeps the age of the page that it was read from.
const (
	sourceWeb     = "phone/web"         // calls, streams, that it answers
	sourceDevice  = "phone/web-device"  // who it is, messages
	sourceNetwork = "phone/web-network" // where it is registered
	sourcePlace   = "phone/web-place"   // its ports, its neighbour
	sourceScreen  = "phone/web-screen"
	sourceLog     = "phone/web-log"
)

// An account is what is remembered of one phone's pages between sweeps.
type account struct {
	family  Family
	dialect dialect
	status  string // path of the status page
	adapter bool   // its facts come by the Serviceability adapters

	device    DeviceInfo
	troubles  map[string]*trouble // pages that could not be read
	senseless int                 // visits in a row in which the page of its dialect made no sense
	users     refusals            // of a status page that asks for a user
	keys      admission           // of the pages of the keys
	streams   int                 // the highest stream that was active
	talked    time.Time           // when one was
	reg       presence.Registration
	regSeen   bool
	video     bool

	deviceAt, networkAt, placeAt, screenAt, logAt time.Time
	secondAt                                      time.Time // when the second stream was last read
	news                                          bool      // something happened that its log may explain
}

// admission is how a phone lets our user see the pages of its keys.
type admission struct {
	known   bool      // it did, the last time
	refused time.Time // when it did not; zero: it did since, or was not asked
	back    bool      // it is at its call server again, and was not asked since
	why     *Fault    // what is to be told where the user is not shown
}

// refusals is how long a phone is left alone that refuses the user of its status page,
// which it holds itself.
type refusals struct {
	until time.Time
	wait  time.Duration
}

func (r *refusals) refused(now time.Time) {
	r.wait = min(max(2*r.wait, 10*time.Minute), time.Hour)
	r.until = now.Add(r.wait)
}

// doubted has all pages read that answer, since the phone has just missed a poll. One
// that hangs is left alone as before: it may be what the phone was silent for.
func (a *account) doubted() {
	a.deviceAt, a.networkAt, a.placeAt, a.screenAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	a.news = true
	maps.DeleteFunc(a.troubles, func(_ string, t *trouble) bool { return !t.fault.hung() })
}

// again has everything asked anew: the phone was away, and may have been
// restarted, moved, or given other firmware.
func (a *account) again() {
	*a = account{logAt: a.logAt, users: a.users, keys: a.keys, reg: a.reg, regSeen: a.regSeen, news: true}
}

// A told is what one tier of a sweep has to tell.
type told struct {
	source string
	at     time.Time // when the page was asked for: what it shows is no older
	lasts  time.Duration
	facts  presence.Facts
}

// sweep is one visit to one phone. Each request is asked for in turn.
type sweep struct {
	*session
	a     *account
	guard *guard // of our user; nil: it is shown to this phone alone
	pace  Pace
	every time.Duration // until the next visit
	least time.Duration // by which a page is judged
	told  []told

	identified bool // the page that the phone is known by was asked for
	hurried    bool // its patience is halved
}

// run reads what is due. An error is the phone's, and spoils the visit: a page
// that fails by itself is remembered as that (trouble), and spoils no other.
func (w *sweep) run(ctx context.Context) error {
	if w.a.troubles == nil {
		w.a.troubles = map[string]*trouble{}
	}
	err := w.read(ctx, time.Now())
	w.a.reconsider(err)
	return err
}

func (w *sweep) read(ctx context.Context, now time.Time) error {
	if w.a.dialect == flatDialect {
		return w.flat(ctx)
	}
	if due(w.a.deviceAt, w.pace.Device, now) && w.has(pathDevice) {
		if err := w.identity(ctx); err != nil || w.a.dialect == flatDialect {
			return err
		}
	}
	if due(w.a.networkAt, w.pace.Network, now) {
		if err := w.where(ctx); err != nil {
			return err
		}
	}
	at := time.Now()
	f, known, err := w.calls(ctx)
	if err != nil {
		return err
	}
	// That it answers has still to be seen where no page was to be asked for; and where
	// some are refused and none was read, whether all are.
	if !w.heard || !known && len(w.told) == 0 && w.denied() {
		if err := w.identity(ctx); err != nil {
			return err
		}
	}
	if known {
		w.tell(sourceWeb, at, 0, f)
	}
	return w.seldom(ctx, now)
}

// identity reads the page that the phone is known by. A phone that hangs on it and
// has answered nothing yet is asked for another before that is its silence: one that
// is known is then read by its other pages.
func (w *sweep) identity(ctx context.Context) error {
	err := w.who(ctx)
	f := faultIn(err)
	if f == nil || !f.hung() {
		return err
	}
	if err := w.hesitate(ctx); err != nil {
		return err
	}
	if !w.heard {
		if err := w.where(ctx); err != nil {
			return err
		}
	}
	switch {
	case !w.heard:
		return f
	case w.a.dialect == anyDialect:
		return garbled(f.Page, "%s", f.Detail)
	}
	w.failed(pathDevice, f)
	return nil
}

// due reports whether a page is to be read again.
func due(last time.Time, every time.Duration, now time.Time) bool {
	return last.IsZero() || now.Sub(last) >= every
}

// page fetches and reads one page, by the adapter where that is the phone's way.
func (w *sweep) page(ctx context.Context, path string) (Page, error) {
	if w.a.adapter {
		for _, ad := range adapters {
			if ad.page == path {
				return w.byAdapter(ctx, ad.adapter)
			}
		}
		return Page{}, &Fault{Reach: presence.Garbled, Page: path, Status: http.StatusNotFound, Detail: "has no such adapter"}
	}
	return w.session.page(ctx, path)
}

func (w *sweep) byAdapter(ctx context.Context, adapter string) (Page, error) {
	path := pathAdapter + adapter
	a, err := w.get(ctx, path)
	if err != nil {
		return Page{}, err
	}
	page, err := ParseServiceability(a.Body, a.ContentType, adapter)
	if err != nil {
		return Page{}, garbled(path, "sends %s", err)
	}
	return page, nil
}

// who reads the identity. What a phone of no known kind speaks is found by
// asking: the X page, the multiplatform page, the adapter of old 7900 loads.
func (w *sweep) who(ctx context.Context) error {
	at := time.Now()
	w.identified = true
	page, err := w.page(ctx, pathDevice)
	if f, ok := errors.AsType[*Fault](err); ok && f.gone() && w.a.dialect == anyDialect {
		if page, err = w.otherwise(ctx, f); w.a.dialect == flatDialect {
			return err
		}
	}
	if err != nil {
		return err
	}
	d, err := page.Device()
	if err != nil {
		return garbled(pathDevice, "sends %s", err)
	}
	if err := w.isWho(d.HostName); err != nil {
		return err
	}
	if was := w.a.device.Firmware; was != "" && was != d.Firmware {
		clear(w.a.troubles)
	}
	delete(w.a.troubles, pathDevice)
	w.a.device, w.a.deviceAt, w.a.family, w.a.dialect = d, at, FamilyOf(d.Model).tried(), pageDialect
	f := presence.Facts{
		Identity:  &presence.Identity{Model: d.Model, Serial: d.Serial, Firmware: d.Firmware, MAC: d.MAC, Address: w.remote},
		Messages:  d.Messages,
		Abilities: &presence.Abilities{Audio: true},
	}
	if d.Number != "" {
		f.Identity.Lines = []string{d.Number}
	}
	w.tell(sourceDevice, at, w.pace.Device, f)
	return nil
}

// where reads the registration.
func (w *sweep) where(ctx context.Context) error {
	at := time.Now()
	var n NetworkInfo
	ok, err := w.try(ctx, pathNetwork, func(p Page) (err error) {
		if n, err = p.Network(); err != nil {
			return err
		}
		return w.isWho(n.HostName)
	})
	if !ok {
		return err
	}
	w.a.networkAt, w.a.video = at, n.Video != nil && *n.Video
	f := presence.Facts{Registration: n.registration(), Abilities: &presence.Abilities{Audio: true, Video: w.a.video}}
	w.registered(f.Registration)
	w.tell(sourceNetwork, at, w.pace.Network, f)
	return nil
}

// registered notes a change that the phone's log may explain.
func (w *sweep) registered(r *presence.Registration) {
	if r == nil {
		return
	}
	if w.a.regSeen && w.a.reg != *r {
		w.a.news = true
		w.a.screenAt = time.Time{}
		switch was, is := away(w.a.reg), away(*r); {
		case is && !was:
			w.guard.lost(w.phone.Name)
		case was && !is:
			w.a.keys.back = true
		}
	}
	w.a.reg, w.a.regSeen = *r, true
}

// away reports that a phone is at no call server but the branch's own: what stands
// beside that server, as the Authentication URL does, it can hardly reach.
func away(r presence.Registration) bool { return !r.Registered || r.Survivable }

func (w *sweep) tell(source string, at time.Time, pace time.Duration, f presence.Facts) {
	w.told = append(w.told, told{source, at, max(pace, w.every), f})
}

// isWho holds a page against the configured name: an address that now belongs
// to another phone must not lend this one its state.
func (s *session) isWho(host string) error {
	if sepName(s.phone.Name) && sepName(host) && !strings.EqualFold(s.phone.Name, host) {
		return another(pathDevice, strings.ToUpper(host))
	}
	return nil
}

// page fetches and reads one page.
func (s *session) page(ctx context.Context, path string) (Page, error) {
	a, err := s.get(ctx, path)
	if err != nil {
		return Page{}, err
	}
	page, err := ParsePage(a.Body, a.ContentType)
	if err != nil {
		return Page{}, garbled(path, "sends %s", err)
	}
	return page, nil
}

// personal fetches a page that asks for a user, and gives its body to read. ok is
// false where it is not to be had, or not by us for a while.
func (w *sweep) personal(ctx context.Context, path string, read func(body []byte, contentType string) error) (ok bool, _ error) {
	if w.creds.User == "" || w.moved || !w.has(path) {
		return false, nil
	}
	k := &w.a.keys
	c := claim{device: w.phone.Name, known: k.known, away: w.a.regSeen && away(w.a.reg), back: k.back, refused: k.refused}
	if ok, elsewhere := w.guard.enter(ctx, c, w.timeout); !ok {
		if elsewhere && k.why == nil {
			k.why = &Fault{Reach: presence.Garbled, Page: path, Detail: adviceHeld}
		}
		return false, ctx.Err()
	}
	k.back = false
	what, err := w.show(ctx, c, path, read)
	switch f := faultIn(err); {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case what == letIn:
		*k = admission{known: true}
	case what == turnedAway:
		k.known, k.refused, k.why = false, time.Now(), &Fault{Reach: presence.Garbled, Page: path, Detail: adviceUser}
		return false, nil
	case what == hungOn:
		// The phone asks its Authentication URL, which a cut WAN leaves unanswered:
		// whether it is there itself, its open pages tell.
		w.failed(path, f)
		return false, w.hesitate(ctx)
	}
	return w.settle(ctx, path, err)
}

// show has a page read that our user is shown for.
func (w *sweep) show(ctx context.Context, c claim, path string, read func(body []byte, contentType string) error) (what outcome, err error) {
	defer func() { w.guard.leave(c, what) }()
	a, err := w.getAs(ctx, path, true)
	if err == nil {
		err = read(a.Body, a.ContentType)
	}
	refused := refusesUser(err)
	err = sends(path, err)
	f := faultIn(err)
	switch {
	case w.moved: // to where the user is not shown
		return saidElse, err
	case err == nil:
		return letIn, nil
	case refused:
		return turnedAway, err
	case f == nil:
		return saidElse, err
	}
	f.Shown = true
	if f.hung() {
		return hungOn, err
	}
	return saidElse, err
}

// hesitate is what follows a request that was broken off: a breath for the phone,
// and half the patience for the rest of the visit.
func (w *sweep) hesitate(ctx context.Context) error {
	if !w.hurried {
		w.hurried = true
		w.timeout = max(w.timeout/2, w.least)
	}
	return pause(ctx, breath)
}

// breath is what a phone is given after a request that was broken off, before the
// next: it takes a moment to see that, and would have two open.
const breath = 250 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// streamPath is the n-th page of streams.
func streamPath(n int) string { return pathStream + "?" + strconv.Itoa(n) }

// callPath is the page of the n-th line's calls; the digits follow directly.
func callPath(n int) string { return fmt.Sprint(pathCalls, n) }
