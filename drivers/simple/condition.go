package simple

import (
	"strings"
	"time"

	"pilotlight/agent/access"
	"pilotlight/drivers/internal/sip"
)

// Conditional notification (RFC 5839): a watcher that names the entity-tag of what
// it has is told nothing while that is still the state.

// always is the condition that is true whatever the state is: it pauses a
// subscription until its next SUBSCRIBE.
const always = "*"

// condition is the Suppress-If-Match of a SUBSCRIBE, "" without one.
func condition(in *sip.Incoming) string { return strings.TrimSpace(in.Header.Get("Suppress-If-Match")) }

// compose is what the NOTIFY that is due says: nothing but the tag where the
// watcher has the state, or wants none (CN-02).
func (r *run) compose(s *subscription, now time.Time) (notice, bool) {
	cond := s.suppress
	if s.Paused {
		cond = always
	}
	if s.due < asked || cond == "" {
		return r.tell(s, now, s.due >= asked)
	}
	s.suppress = ""
	tag := r.present(s, now)
	if cond != always && cond != tag {
		return r.tell(s, now, true)
	}
	r.satisfy(s, cond, now)
	return notice{etag: tag}, true
}

// present is the tag of what s would be told now.
func (r *run) present(s *subscription, now time.Time) string {
	switch {
	case s.how == access.Confirm || s.how == access.Block:
		return nothingTag(s)
	case s.in.list != nil:
		_, tag := r.listNow(s, now)
		return tag
	case s.pkg.view != nil:
		return s.in.view(s.pkg, r.question(s, now)).etag
	}
	return tagOf(s.Package, s.LocalTag, itoa(int(s.told.Next))) // it is never the same twice
}

// nothingTag is that of no state at all.
func nothingTag(s *subscription) string { return tagOf("nothing", s.Package, s.Entity) }

// holds reports whether the condition of a SUBSCRIBE in the dialog is true. A
// NOTIFY under way may be about to change what the watcher has: then it is told.
func (r *run) holds(s *subscription, cond string, now time.Time) bool {
	return cond == always || cond != "" && cond == r.present(s, now) && !(s.busy && s.sent != cond)
}

// satisfy: nothing is due. The watcher has the present state, if it named its tag.
func (r *run) satisfy(s *subscription, cond string, now time.Time) {
	if s.due < last {
		s.due = nothing
	}
	if cond == always {
		return
	}
	s.sent = cond
	// A version that may not have come is not built upon: what is next is told in full.
	s.again = s.again && (s.in.list != nil || s.pkg.tell != nil)
	switch {
	case s.how == access.Confirm || s.how == access.Block:
	case s.in.list != nil:
		s.roll, _ = r.listNow(s, now)
	case s.pkg.tell != nil:
		s.told.Dialogs = shownDialogs(r.question(s, now))
	}
}
