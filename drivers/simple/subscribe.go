package simple

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/sip"
)

func itoa(n int) string { return strconv.Itoa(n) }

// subscribe serves a SUBSCRIBE (RFC 6665 §4.2.1): the answer first, then a NOTIFY.
func (r *run) subscribe(ctx context.Context, in *sip.Incoming) {
	who, no := r.identify(in, "subscribe")
	if no != nil {
		r.refuse(in, no)
		return
	}
	r.vouch(in, who)
	expires, no := r.expires(in)
	if no != nil {
		r.refuse(in, no)
		return
	}
	if in.ToTag() != "" {
		r.refresh(ctx, in, who, expires)
		return
	}
	r.begin(ctx, in, who, expires)
}

// expires is how long a SUBSCRIBE asks for, and gets (EV-03, EV-04).
func (d *Driver) expires(in *sip.Incoming) (time.Duration, *refusal) {
	asked, ok := in.Expires()
	switch {
	case !ok && in.Header.Has("Expires"):
		return 0, &refusal{status: 400}
	case !ok:
		return packageOf(in.Event).expires, nil
	case asked > 0 && asked < minExpires:
		return 0, &refusal{status: 423, header: sip.Header{{Name: "Min-Expires", Value: seconds(minExpires)}}}
	}
	return min(asked, maxExpires), nil
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// begin takes a SUBSCRIBE outside a dialog. With Expires 0 it is a fetch
// (§4.4.3): a dialog for one NOTIFY.
func (r *run) begin(ctx context.Context, in *sip.Incoming, who caller, expires time.Duration) {
	s, no := r.newSubscription(in, who, expires)
	if no != nil {
		r.refuse(in, no)
		return
	}
	fetch := expires == 0
	var written <-chan error
	err := r.do(ctx, func() {
		if no = r.mayBegin(s, fetch); no == nil && !fetch {
			written = r.save(s)
		}
	})
	if err != nil {
		r.inbox.post(func() { r.remove(s) }) // should it have been admitted after all
		return
	}
	if no != nil {
		r.refuse(in, no)
		return
	}
	if !fetch {
		if err := r.saved(ctx, written); err != nil {
			r.inbox.post(func() { r.remove(s) })
			r.refuse(in, &refusal{status: 500})
			return
		}
	}
	r.answer(in, s, 200, expires)
	r.inbox.post(func() {
		s.busy = false
		if fetch {
			s.closing = "timeout"
			r.want(s, last)
			return
		}
		r.want(s, asked)
	})
}

// newSubscription is the subscription that a SUBSCRIBE asks for.
func (d *Driver) newSubscription(in *sip.Incoming, who caller, expires time.Duration) (*subscription, *refusal) {
	contact, no := target(in)
	if no != nil {
		return nil, no
	}
	if _, empty := in.To.Params["tag"]; empty || contact == "" {
		return nil, &refusal{status: 400} // a dialog needs a Contact (RFC 3261 §8.1.1.8), and one tag at each end
	}
	of := d.named(in.URI)
	now := time.Now()
	s := &subscription{pkg: packageOf(in.Event), began: now, event: event.EventSubscribe, busy: true, proven: who.proven(), suppress: condition(in)}
	s.record = record{
		Of: of, Watcher: who.as, Entity: string(of), Package: in.Event, EventID: in.EventID,
		Accept: in.Header.List("Accept"), CallID: in.CallID, LocalTag: sip.Random(8), RemoteTag: in.FromTag(),
		Remote: in.Header.Get("From"), Target: contact, Route: in.Header.List("Record-Route"),
		Transport: in.Transport, Peer: in.Source, ContactAt: in.Local, RemoteSeq: in.CSeq,
		Reserve: reserveBy, Expires: now.Add(expires), UserAgent: cut(in.Header.Get("User-Agent"), 64), List: hasList(in), Paused: condition(in) == always,
		ByAddress: !who.account,
	}
	s.Local = in.Header.Get("To") + ";tag=" + s.LocalTag
	s.record.own()
	s.granted = s.Reserve
	if len(s.encode()) > maxRecord {
		return nil, &refusal{status: 513, reason: "Message Too Large"}
	}
	if s.body = s.choose(); s.body == "" {
		return nil, &refusal{status: 406, header: sip.Header{{Name: "Accept", Value: strings.Join(s.pkg.types, ", ")}}}
	}
	s.open()
	return s, nil
}

// maxRecord bounds what a watcher has us keep: its names, tags and routes.
const maxRecord = 4096

func cut(s string, n int) string { return s[:min(len(s), n)] }

// choose is the body type that Accept leaves, "" without one (EV-23).
func (s *subscription) choose() string {
	if len(s.Accept) == 0 {
		return s.pkg.types[0]
	}
	t, _ := event.Choose(s.Accept, s.pkg.types)
	return t
}

// open makes the dialog that NOTIFYs are sent in.
func (s *subscription) open() {
	s.by = s.transport()
	s.stream = s.by != "udp"
	s.dialog = &sip.Dialog{Target: s.Target, Route: s.Route, From: s.Local, To: s.Remote, CallID: s.CallID,
		ContactUser: s.Of.User(), Transport: s.Transport, Remote: s.Peer, Local: s.ContactAt}
	if s.stream && !s.way.flown() {
		s.dialog.Remote = netip.AddrPort{} // whoever has that port by now is somebody else
	}
}

// mayBegin decides, in the loop, whether a subscription begins. A fetch takes no
// room: it is over before anybody could count it (WI-04).
func (r *run) mayBegin(s *subscription, fetch bool) *refusal {
	if s.remote(r.Driver) {
		s.how, s.List = access.Allow, false
		return r.mayReach(s, fetch)
	}
	w := r.of[s.Of]
	if w == nil || !w.known {
		return &refusal{status: 404}
	}
	if w.list != nil {
		if no := r.mayList(s); no != nil {
			return no
		}
		return r.enter(s, w, fetch)
	}
	s.List = false
	if s.Package == "presence.winfo" && s.Watcher != s.Of && !r.owns(s.Watcher, s.Of) {
		return &refusal{status: 403} // WI-02
	}
	if s.how = r.n.Access.Watch(s.Watcher, s.Of); s.how == access.Block {
		return &refusal{status: 403} // EV-14
	}
	s.Handling = s.how
	return r.enter(s, w, fetch)
}

func (r *run) enter(s *subscription, w *watched, fetch bool) *refusal {
	if fetch {
		s.in = w
	} else if !r.admit(s) {
		return &refusal{status: 503, header: sip.Header{{Name: "Retry-After", Value: "60"}}}
	}
	return nil
}

// owns reports whether of is watcher's own line.
func (r *run) owns(watcher, of presence.Presentity) bool {
	a, b := r.of[watcher], r.of[of]
	return a != nil && b != nil && r.holder(a, b)
}

// holder reports whether a line is a person's: its document is hers under another
// name. Of namesakes none is believed.
func (r *run) holder(person, line *watched) bool {
	if person.doc.Kind != presence.KindPerson || line.doc.Kind != presence.KindLine || line.doc.Name == "" || person.doc.Name != line.doc.Name {
		return false
	}
	for _, w := range r.of {
		if w != person && w.far == nil && w.doc.Kind == presence.KindPerson && w.doc.Name == person.doc.Name {
			return false
		}
	}
	return true
}

// save hands a record to the disk. It is the loop's, so that what comes later of the
// same subscription, its end too, is written later.
func (r *run) save(s *subscription) <-chan error {
	written := make(chan error, 1)
	r.keep.put(s.LocalTag, s.encode(), func(err error) { written <- err })
	return written
}

// saved waits until that is on disk.
func (r *run) saved(ctx context.Context, written <-chan error) error {
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return errStopped
	}
}

// answer is the 2xx.
func (d *Driver) answer(in *sip.Incoming, s *subscription, status int, expires time.Duration) {
	header := sip.Header{{Name: "Expires", Value: seconds(expires)}}
	if s.List {
		header.Add("Require", eventlist) // RLS-02
	}
	_ = in.Respond(sip.Reply{Status: status, ToTag: s.LocalTag, Contact: sip.Contact(s.Of.User(), in.Local, in.Transport), Header: header})
}

// refresh takes a SUBSCRIBE inside a dialog: a refresh, or with Expires 0 the end.
func (r *run) refresh(ctx context.Context, in *sip.Incoming, who caller, expires time.Duration) {
	contact, no := target(in)
	if no != nil {
		r.refuse(in, no)
		return
	}
	cond, status := condition(in), 0
	var written <-chan error
	var s *subscription
	err := r.do(ctx, func() {
		s = r.subs[dialogKey(in.CallID, in.ToTag(), in.FromTag(), in.Event, in.EventID)]
		if no = r.mayRefresh(s, in, who); no != nil {
			return
		}
		r.follows(s, in, contact)
		if expires > 0 {
			r.renew(s, in, expires)
			s.proven, s.Paused = who.proven(), cond == always
			s.ByAddress = s.ByAddress && !who.account
			written = r.save(s)
		}
		now := time.Now()
		if status = 200; r.holds(s, cond, now) {
			status = 204 // CN-02
			r.satisfy(s, cond, now)
			if expires == 0 {
				r.forget(s, event.EventTimeout) // CN-03
			}
		}
	})
	switch {
	case err != nil:
		return
	case no != nil:
		r.refuse(in, no)
		return
	}
	if expires > 0 {
		if err := r.saved(ctx, written); err != nil {
			r.refuse(in, &refusal{status: 500})
			return
		}
	}
	r.answer(in, s, status, expires)
	r.inbox.post(func() {
		switch {
		case status == 204:
		case expires == 0:
			r.end(s, "timeout", event.EventTimeout)
			return
		default:
			r.want(s, asked)
		}
		r.arrived(s)
	})
}

func (r *run) mayRefresh(s *subscription, in *sip.Incoming, who caller) *refusal {
	switch {
	case s == nil || s.ended || s.due == last:
		return &refusal{status: 481} // EV-12; a second subscription in a dialog is not made either
	case s.Watcher != who.as:
		return &refusal{status: 403}
	case in.CSeq <= s.RemoteSeq:
		return &refusal{status: 500} // RFC 3261 §12.2.2
	}
	s.RemoteSeq = in.CSeq
	return nil
}

// follows: the watcher is where its last SUBSCRIBE came from, its end included.
func (r *run) follows(s *subscription, in *sip.Incoming, contact string) {
	r.takes(s, wayOpen, func() {
		if contact != "" {
			s.Target = contact
		}
		s.Peer, s.Transport, s.ContactAt = in.Source, in.Transport, in.Local
	})
	r.reached(s, true)
}

// renew takes over what else a refresh may change: how long, and what the watcher
// accepts (EV-13). The last word of it rules.
func (r *run) renew(s *subscription, in *sip.Incoming, expires time.Duration) {
	s.Expires = time.Now().Add(expires)
	if accept := in.Header.List("Accept"); len(accept) > 0 {
		if t, ok := event.Choose(accept, s.pkg.types); ok {
			s.Accept, s.body = owned(accept), t
		}
	}
	s.failures, s.heldUntil = 0, time.Time{} // it is there, and waits (EV-05)
	r.wake(s)
}

// arrived tells the postman that a device of somebody's is there.
func (r *run) arrived(s *subscription) {
	if s.proven {
		r.came.add(s.Watcher)
	}
}
