package phone

import (
	"context"
	"errors"
	"fmt"
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

// maxStreams is how many StreamingStatisticsX pages a phone may have.
const maxStreams = 3

// An account is what is remembered of one phone's pages between sweeps.
type account struct {
	family  Family
	dialect dialect
	status  string // path of the status page
	adapter bool   // its facts come by the Serviceability adapters

	device  DeviceInfo
	missing map[string]time.Time // pages that it has not got, and when to ask again
	users   refusals             // pages that ask for a user
	streams int                  // the highest stream that was active
	reg     presence.Registration
	regSeen bool
	video   bool

	deviceAt, networkAt, placeAt, screenAt, logAt time.Time
	news                                          bool // something happened that its log may explain
}

// refusals is how long a phone is left alone that refuses our user: a password
// that is wrong, tried again each few seconds, locks an account.
type refusals struct {
	until time.Time
	wait  time.Duration
}

func (r *refusals) refused(now time.Time) {
	r.wait = min(max(2*r.wait, 10*time.Minute), time.Hour)
	r.until = now.Add(r.wait)
}

// again has everything asked anew: the phone was away, and may have been
// restarted, moved, or given other firmware.
func (a *account) again() {
	*a = account{logAt: a.logAt, users: a.users, reg: a.reg, regSeen: a.regSeen, news: true}
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
	pace  Pace
	every time.Duration // until the next visit
	told  []told
}

// run reads what is due. An error is the phone's, and spoils the visit: only the
// pages that change seldom may fail by themselves.
func (w *sweep) run(ctx context.Context) error {
	now := time.Now()
	if w.a.missing == nil {
		w.a.missing = map[string]time.Time{}
	}
	if w.a.dialect == flatDialect {
		return w.flat(ctx)
	}
	if due(w.a.deviceAt, w.pace.Device, now) {
		if err := w.who(ctx); err != nil || w.a.dialect == flatDialect {
			return err
		}
	}
	if due(w.a.networkAt, w.pace.Network, now) {
		if err := w.where(ctx); err != nil {
			return err
		}
	}
	if err := w.calls(ctx); err != nil {
		return err
	}
	return w.seldom(ctx, now)
}

// due reports whether a page is to be read again.
func due(last time.Time, every time.Duration, now time.Time) bool {
	return last.IsZero() || now.Sub(last) >= every
}

// has reports whether a page is worth asking for.
func (w *sweep) has(path string) bool {
	until, missing := w.a.missing[path]
	return !missing || time.Now().After(until)
}

func (w *sweep) lacks(path string) { w.a.missing[path] = time.Now().Add(w.pace.Forget) }

// page fetches and reads one page, by the adapter where that is the phone's way.
func (w *sweep) page(ctx context.Context, path string) (Page, error) {
	if w.a.adapter {
		for _, ad := range adapters {
			if ad.page == path {
				return w.byAdapter(ctx, ad.adapter)
			}
		}
		return Page{}, &Fault{Reach: presence.Garbled, Page: path, Missing: true}
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
// asking: the X page, the adapter of old 7900 loads, the multiplatform page.
func (w *sweep) who(ctx context.Context) error {
	at := time.Now()
	page, err := w.page(ctx, pathDevice)
	if f, ok := errors.AsType[*Fault](err); ok && f.Missing && f.Reach == presence.Garbled && w.a.dialect == anyDialect {
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
	if d.Firmware != w.a.device.Firmware {
		w.a.missing = map[string]time.Time{}
	}
	w.a.device, w.a.deviceAt, w.a.family, w.a.dialect = d, at, FamilyOf(d.Model), pageDialect
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

// otherwise asks a phone without X pages in the other two ways, once a day.
func (w *sweep) otherwise(ctx context.Context, why *Fault) (Page, error) {
	none := *why
	none.Detail = adviceOther
	for _, path := range []string{pathStatus, pathStatusAdmin} {
		if !w.has(path) {
			continue
		}
		w.a.status = path
		err := w.flat(ctx)
		if f, ok := errors.AsType[*Fault](err); !ok || !f.Missing {
			w.a.dialect = flatDialect
			return Page{}, err
		} else if f.Reach == presence.Refused { // it is there, and wants another user
			w.a.dialect = flatDialect
			return Page{}, err
		}
		w.lacks(path)
	}
	if !w.has(pathAdapter) {
		return Page{}, &none
	}
	page, err := w.byAdapter(ctx, "device")
	if err == nil {
		w.a.adapter = true
		return page, nil
	}
	if f, ok := errors.AsType[*Fault](err); !ok || !f.Missing {
		return Page{}, err
	}
	w.lacks(pathAdapter)
	return Page{}, &none
}

// where reads the registration.
func (w *sweep) where(ctx context.Context) error {
	at := time.Now()
	if !w.has(pathNetwork) {
		return nil
	}
	page, err := w.page(ctx, pathNetwork)
	if isMissing(err) {
		w.lacks(pathNetwork)
		return nil
	}
	if err != nil {
		return err
	}
	n, err := page.Network()
	if err != nil {
		return garbled(pathNetwork, "sends %s", err)
	}
	if err := w.isWho(n.HostName); err != nil {
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
	}
	w.a.reg, w.a.regSeen = *r, true
}

func (w *sweep) tell(source string, at time.Time, pace time.Duration, f presence.Facts) {
	w.told = append(w.told, told{source, at, max(pace, w.every), f})
}

// isWho holds a page against the configured name: an address that now belongs
// to another phone must not lend this one its state.
func (s *session) isWho(host string) error {
	if sepName(s.phone.Name) && sepName(host) && !strings.EqualFold(s.phone.Name, host) {
		return garbled(pathDevice, "%s: %s", adviceMoved, strings.ToUpper(host))
	}
	return nil
}

// flat reads the one page of multiplatform firmware.
func (w *sweep) flat(ctx context.Context) error {
	at := time.Now()
	w.most = maxStatus
	defer func() { w.most = 0 }()
	a, err := w.getAs(ctx, w.a.status, false)
	if err != nil {
		return err
	}
	s, err := ParseStatus(a.Body, a.ContentType)
	if err != nil {
		return garbled(w.a.status, "sends %s", err)
	}
	if mac := strings.TrimPrefix(strings.ToUpper(w.phone.Name), "SEP"); sepName(w.phone.Name) && s.MAC != "" && s.MAC != mac {
		return garbled(w.a.status, "%s: %s", adviceMoved, s.MAC)
	}
	w.a.family, w.a.deviceAt = FamilyOf(s.Product), at
	w.a.device = DeviceInfo{HostName: s.HostName, MAC: s.MAC, Model: s.Product, Serial: s.Serial, Firmware: s.Firmware}
	f := presence.Facts{
		Identity:     &presence.Identity{Model: s.Product, Serial: s.Serial, Firmware: s.Firmware, MAC: s.MAC, Address: w.remote},
		Reach:        &presence.Reach{Outcome: presence.Answered, Via: "web"},
		Abilities:    &presence.Abilities{Audio: true},
		Registration: s.Registration(), Messages: s.Messages(), Calls: s.Calls(w.phone.User), Streams: &presence.Streams{List: s.Streams},
	}
	w.a.streams = len(s.Streams)
	if f.Calls != nil && busy(f.Calls) {
		w.a.streams = max(w.a.streams, 1)
	}
	w.registered(f.Registration)
	w.a.news = false // such a phone has no log to read
	w.tell(sourceWeb, at, 0, f)
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

func isMissing(err error) bool {
	f, ok := errors.AsType[*Fault](err)
	return ok && f.Missing
}

// personal fetches a page that asks for a user, and gives its body to read.
// Missing reports that the page is not there, or not for us for a while.
func (w *sweep) personal(ctx context.Context, path string, read func(body []byte, contentType string) error) (missing bool, err error) {
	now := time.Now()
	if w.creds.User == "" || now.Before(w.a.users.until) || !w.has(path) {
		return true, nil
	}
	a, err := w.getAs(ctx, path, true)
	if err == nil {
		err = read(a.Body, a.ContentType)
	}
	var refusal *PhoneError
	switch {
	case err == nil:
		w.a.users = refusals{}
		return false, nil
	case errors.As(err, &refusal), a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		w.a.users.refused(now)
		return true, nil
	case isMissing(err):
		w.lacks(path)
		return true, nil
	}
	if _, ok := errors.AsType[*Fault](err); !ok && ctx.Err() == nil {
		err = garbled(path, "sends %s", err)
	}
	return false, err
}

// streamPath is the n-th page of streams.
func streamPath(n int) string { return pathStream + "?" + strconv.Itoa(n) }

// callPath is the page of the n-th line's calls; the digits follow directly.
func callPath(n int) string { return fmt.Sprint(pathCalls, n) }
