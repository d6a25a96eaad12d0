package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// manualSlot is the place of a presentity's own word, behind the publications'.
const manualSlot = maxStandings

// Publish takes what a person, or an agent of hers, said (RFC 3903). Followers
// are told at once; it returns when it is on disk, or could not be written:
// then the state stands in memory, and the disk is tried again. It returns the
// new entity-tag and how long it holds.
func (l *Ledger) Publish(ctx context.Context, p presence.Publication) (presence.ETag, time.Duration, error) {
	if err := checkPublication(p); err != nil {
		return "", 0, err
	}
	var tag presence.ETag
	var length time.Duration
	err := l.durably(ctx, func(now time.Time) (err error) {
		tag, length, err = l.publish(now, p)
		return err
	})
	if err != nil {
		return "", 0, err
	}
	return tag, length, nil
}

func checkPublication(p presence.Publication) error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", presence.ErrInvalid, what) }
	switch {
	case p.Of == "" || len(p.Of) > maxName || !strings.HasPrefix(string(p.Of), "sip:") || strings.ContainsRune(string(p.Of), 0):
		return bad(fmt.Sprintf("presentity %.40q", p.Of))
	case len(p.By) > maxName:
		return bad("the name of the agent is too long")
	case p.Expires < 0:
		return bad("expires in the past")
	case p.Manual && p.IfMatch != "":
		return bad("a manual word has no entity-tag to match")
	case p.Said == nil && p.Expires > 0 && p.IfMatch == "":
		return bad("says nothing") // RFC 3903 §4.1: an initial one has a body
	case p.Said != nil && p.Expires == 0:
		return bad("says something for no time")
	}
	if s := p.Said; s != nil {
		if _, ok := presence.ParseAvailability(string(s.Availability)); !ok {
			return bad(fmt.Sprintf("availability %.40q", s.Availability))
		}
		if len(s.Note) > maxText {
			return bad("the note is too long")
		}
	}
	return nil
}

func (l *Ledger) publish(now time.Time, p presence.Publication) (presence.ETag, time.Duration, error) {
	e := l.entities[p.Of]
	if e != nil {
		l.expire(now, e)
	}
	at := -1
	if e != nil {
		at = slices.IndexFunc(e.said, func(s standing) bool {
			return s.Manual == p.Manual && (p.Manual || p.IfMatch != "" && s.ETag == p.IfMatch)
		})
	}
	switch {
	case p.Expires == 0 && p.Manual && at < 0:
		return "", 0, nil // nothing was said, and nothing is
	case p.IfMatch != "" && at < 0:
		return "", 0, presence.ErrNoMatch // RFC 3903 §6 step 3: 412
	case p.Expires == 0 && at < 0:
		return "", 0, fmt.Errorf("%w: removes nothing", presence.ErrInvalid)
	case p.Expires == 0:
		l.withdraw(now, e, at)
		l.spoke(e)
		return newETag(), 0, nil
	}
	if e == nil {
		var ok bool
		if e, ok = l.entity(p.Of); !ok {
			return "", 0, presence.ErrFull
		}
	}
	if at < 0 {
		slot, ok := freeSlot(e.said, p.Manual)
		if !ok {
			l.refuse("publications")
			return "", 0, presence.ErrFull
		}
		at = len(e.said)
		e.said = append(e.said, standing{slot: slot})
		l.standings++
	}
	s := &e.said[at]
	s.state(now, p)
	s.unsure = !l.believed
	l.put(now, store.Publications, publicationKey(e.of, s.slot), s.standingRecord)
	l.spoke(e)
	return s.ETag, p.Expires, nil
}

// state takes over what p says. Each success makes a new entity-tag (RFC 3903 §6 step 5).
func (s *standing) state(now time.Time, p presence.Publication) {
	s.ETag, s.Of, s.By, s.Manual, s.At, s.length = newETag(), p.Of, p.By, p.Manual, now, p.Expires
	s.until = time.Time{}
	if s.Expires = (time.Time{}); p.Expires != presence.Forever {
		s.Expires = now.Add(p.Expires)
	}
	if p.Said != nil { // else it is a refresh: what was said stays
		s.Said = *p.Said
	}
}

func freeSlot(said []standing, manual bool) (byte, bool) {
	if manual {
		return manualSlot, true
	}
	for slot := range byte(maxStandings) {
		if !slices.ContainsFunc(said, func(s standing) bool { return s.slot == slot }) {
			return slot, true
		}
	}
	return 0, false
}

func (l *Ledger) withdraw(now time.Time, e *entity, at int) {
	l.put(now, store.Publications, publicationKey(e.of, e.said[at].slot), nil)
	e.said = slices.Delete(e.said, at, at+1)
	l.standings--
}

// spoke marks what a presentity's publications are part of.
func (l *Ledger) spoke(e *entity) {
	e.mark(l.state)
	l.markAll(l.roster.OfPerson(e.of))
}

// expire drops the publications whose time is over.
func (l *Ledger) expire(now time.Time, e *entity) {
	for i := len(e.said) - 1; i >= 0; i-- {
		if at := e.said[i].Expires; !at.IsZero() && !now.Before(at) {
			l.withdraw(now, e, i)
		}
	}
}

// expiry is when the first publication is over, or zero.
func expiry(said []standing) time.Time {
	var at time.Time
	for _, s := range said {
		at = presence.Earlier(at, s.Expires)
	}
	return at
}

// newETag is random: a tag is never given twice, not even after a power cut.
func newETag() presence.ETag {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return presence.ETag(hex.EncodeToString(b[:]))
}
