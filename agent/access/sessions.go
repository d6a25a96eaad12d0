package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How long a session of the web lasts: unused, and at most.
const (
	SessionIdle = 24 * time.Hour
	SessionMax  = 30 * 24 * time.Hour
	// sessionSave is how often the sliding end of a session is written.
	sessionSave = 10 * time.Minute
)

// A session is a browser that signed in. It refers to the account or the token
// it was opened with, and asks it for the role each time.
//
// Left and Age are durations: the decision to end a session is never taken on a
// wall clock that may not be right yet. Time in which the agent is off counts
// for nothing.
type session struct {
	User  string        `json:"user,omitempty"`
	Token string        `json:"token,omitempty"`
	Left  time.Duration `json:"left"` // of the idle time, when it was saved
	Age   time.Duration `json:"age"`  // when it was saved

	writes sync.Mutex // orders what is written of it; held while that goes to disk
	hash   hash
	opened time.Time // Age ago, at load
	ends   time.Time // unless it is used before
	saved  time.Time
}

// OpenSession opens a session for an account that has just shown its password,
// and returns the cookie's value.
func (b *Book) OpenSession(ctx context.Context, p Principal) (string, error) {
	return b.openSession(ctx, &session{User: p.Name})
}

// OpenTokenSession opens a session for whoever holds a token.
func (b *Book) OpenTokenSession(ctx context.Context, source, secret string) (string, Principal, error) {
	if err := b.brake.take(source); err != nil {
		return "", Principal{}, err
	}
	p, err := b.Authenticate(ctx, secret)
	if err != nil {
		return "", Principal{}, err
	}
	b.brake.giveBack(source)
	b.mu.RLock()
	r := b.byHash[sha256.Sum256([]byte(secret))]
	b.mu.RUnlock()
	if r == nil { // revoked in between
		return "", Principal{}, ErrDenied
	}
	cookie, err := b.openSession(ctx, &session{Token: r.ID})
	return cookie, p, err
}

func (b *Book) openSession(ctx context.Context, s *session) (string, error) {
	cookie, h := newSecret("")
	now := b.now()
	s.hash, s.opened, s.ends, s.saved = h, now, now.Add(SessionIdle), now
	if err := b.makeRoom(ctx); err != nil {
		return "", err
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	b.mu.Lock()
	_, ok := b.holder(s)
	if ok {
		b.sessions[h] = s
	}
	b.mu.Unlock()
	if !ok { // the account was removed in between
		return "", ErrDenied
	}
	if err := putSoft(ctx, b.web, s.key(), s.record(now)); err != nil {
		b.dropSessions(func(x *session) bool { return x == s })
		return "", fmt.Errorf("access: keep a session: %w", err)
	}
	return cookie, nil
}

// Session tells whose a cookie is, and lengthens its life.
func (b *Book) Session(ctx context.Context, cookie string) (Principal, error) {
	if cookie == "" || len(cookie) > 128 {
		return Principal{}, ErrDenied
	}
	h := hash(sha256.Sum256([]byte(cookie)))
	now := b.now()
	b.mu.Lock()
	s := b.sessions[h]
	p, ok := b.holder(s)
	if !ok || s.over(now) {
		b.mu.Unlock()
		if s != nil {
			_ = b.endSessions(ctx, func(x *session) bool { return x == s }) // it is over with or without the disk
		}
		return Principal{}, ErrDenied
	}
	s.ends = now.Add(SessionIdle)
	due := now.Sub(s.saved) >= sessionSave
	if due {
		s.saved = now
	}
	record := s.record(now)
	b.mu.Unlock()
	if due {
		b.save(ctx, s, record)
	}
	return p, nil
}

// save writes a session, by the dial, unless something is being written of it or
// it has ended. One that is not saved ends a little earlier after a restart.
func (b *Book) save(ctx context.Context, s, record *session) {
	if !s.writes.TryLock() {
		return
	}
	defer s.writes.Unlock()
	b.mu.RLock()
	lives := b.sessions[s.hash] == s
	b.mu.RUnlock()
	if lives {
		_ = putSoft(ctx, b.web, s.key(), record)
	}
}

// CloseSession ends a session.
func (b *Book) CloseSession(ctx context.Context, cookie string) error {
	h := hash(sha256.Sum256([]byte(cookie)))
	return b.endSessions(ctx, func(s *session) bool { return s.hash == h })
}

// holder is whose session it is today. Called with mu held.
func (b *Book) holder(s *session) (Principal, bool) {
	if s == nil {
		return Principal{}, false
	}
	if s.Token != "" {
		t := b.tokens[s.Token]
		if t == nil {
			return Principal{}, false
		}
		return t.principal(), true
	}
	u := b.users[s.User]
	if u == nil {
		return Principal{}, false
	}
	return Principal{Name: u.Name, Role: u.Role}, true
}

// makeRoom forgets what is over and, when there are still too many, the one
// that was used longest ago.
func (b *Book) makeRoom(ctx context.Context) error {
	now := b.now()
	var oldest *session
	b.mu.RLock()
	full := len(b.sessions) >= maxSessions
	for _, s := range b.sessions {
		if oldest == nil || s.ends.Before(oldest.ends) {
			oldest = s
		}
	}
	b.mu.RUnlock()
	if !full {
		return nil
	}
	return b.endSessions(ctx, func(s *session) bool { return s == oldest || s.over(now) })
}

// endSessions ends sessions at once, and then on disk.
func (b *Book) endSessions(ctx context.Context, which func(*session) bool) error {
	var errs []error
	for _, s := range b.dropSessions(which) {
		if err := b.erased(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("access: end a session: %w", err))
		}
	}
	return errors.Join(errs...)
}

// erased deletes the record of a session that is out of the map.
func (b *Book) erased(ctx context.Context, s *session) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	return b.web.Delete(ctx, s.key())
}

func (b *Book) dropSessions(which func(*session) bool) (dropped []*session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h, s := range b.sessions {
		if which(s) {
			delete(b.sessions, h)
			dropped = append(dropped, s)
		}
	}
	return dropped
}

// loadSession takes a session from the drawer. One that does not read is left
// out: whoever held it signs in again.
func (b *Book) loadSession(key string, value []byte) error {
	s := new(session)
	h, err := parseHash(key)
	if err != nil || json.Unmarshal(value, s) != nil || len(b.sessions) >= maxSessions {
		return nil
	}
	now := b.now()
	s.hash, s.saved = h, now
	s.opened, s.ends = now.Add(-s.Age), now.Add(min(s.Left, SessionIdle))
	b.sessions[h] = s
	return nil
}

func (s *session) key() string { return hex.EncodeToString(s.hash[:]) }

func (s *session) over(now time.Time) bool {
	return !now.Before(s.ends) || now.Sub(s.opened) >= SessionMax
}

func (s *session) record(now time.Time) *session {
	return &session{User: s.User, Token: s.Token, Left: s.ends.Sub(now), Age: now.Sub(s.opened)}
}
