package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// memory is a drawer in memory; it can refuse to write.
type memory struct {
	mu   sync.Mutex
	kept map[string][]byte
	fail error
	// before is called before something is written, as "put KEY" or "delete KEY".
	before func(what string)
	web    *memory // the sessions' drawer
}

func newMemory() *memory {
	return &memory{kept: map[string][]byte{}, web: &memory{kept: map[string][]byte{}}}
}

func (m *memory) about(what string) {
	if m.before != nil {
		m.before(what)
	}
}

func (m *memory) keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.kept))
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.about("put " + key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.kept[key] = bytes.Clone(value)
	return nil
}

func (m *memory) PutSoft(ctx context.Context, key string, value []byte) error {
	return m.Put(ctx, key, value)
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.about("delete " + key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	delete(m.kept, key)
	return nil
}

func (m *memory) Each(prefix string, f func(string, []byte) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(m.kept)) {
		if strings.HasPrefix(key, prefix) {
			if err := f(key, m.kept[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// wallClock is a clock that the test moves.
type wallClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *wallClock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *wallClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newBook(t *testing.T) (*Book, *memory, *wallClock) {
	t.Helper()
	m := newMemory()
	c := &wallClock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	return reopen(t, m, c), m, c
}

func reopen(t *testing.T, m *memory, c *wallClock) *Book {
	t.Helper()
	b, err := New(Config{Drawer: m, Sessions: m.web, Now: c.now, Cost: bcrypt.MinCost})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTheGreaterRoleMayAllThatTheLesserMay(t *testing.T) {
	roles := []Role{Nobody, Viewer, Operator, Admin}
	for i, have := range roles {
		for j, need := range roles {
			if got := (Principal{Role: have}).May(need); got != (i >= j) {
				t.Errorf("%v may what needs %v: %v", have, need, got)
			}
		}
	}
	for _, r := range roles[1:] {
		if got, err := ParseRole(r.String()); err != nil || got != r {
			t.Errorf("ParseRole(%q) = %v, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "nobody", "root", "Viewer"} {
		if _, err := ParseRole(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseRole(%q): %v", s, err)
		}
	}
}

func TestAUserActsForHerselfWithAnyRole(t *testing.T) {
	for _, c := range []struct {
		who  Principal
		user string
		want bool
	}{
		{Principal{"alice", Viewer}, "alice", true},
		{Principal{"alice", Viewer}, "bob", false},
		{Principal{"alice", Nobody}, "alice", false},
		{Principal{"", Viewer}, "", false},
		{Principal{"", Operator}, "alice", true},
		{Principal{"bob", Admin}, "alice", true},
	} {
		if got := c.who.MayActFor(c.user); got != c.want {
			t.Errorf("%+v for %q: %v", c.who, c.user, got)
		}
	}
}

func TestATokenOpensUntilItIsRevoked(t *testing.T) {
	ctx := context.Background()
	b, m, c := newBook(t)
	if b.HasAccounts() {
		t.Error("a new book has accounts")
	}
	secret, tok, err := b.CreateToken(ctx, Viewer, "alice")
	if err != nil || !strings.HasPrefix(secret, "plt_") || len(secret) != 4+43 {
		t.Fatalf("CreateToken: %q, %v", secret, err)
	}
	if b.HasAccounts() {
		t.Error("a token is an account")
	}
	for range 2 { // the second round is another process on the same store
		if p, err := b.Authenticate(ctx, secret); err != nil || p != (Principal{"alice", Viewer}) {
			t.Fatalf("Authenticate: %+v, %v", p, err)
		}
		for _, wrong := range []string{"", "plt_", secret[:len(secret)-1], secret + "A", strings.ToUpper(secret), strings.Repeat("x", 1<<16)} {
			if _, err := b.Authenticate(ctx, wrong); !errors.Is(err, ErrDenied) {
				t.Errorf("Authenticate(%.60q): %v", wrong, err)
			}
		}
		b = reopen(t, m, c)
	}
	if got := b.Tokens(); len(got) != 1 || got[0].ID != tok.ID || got[0].Used.IsZero() {
		t.Errorf("Tokens: %+v", got)
	}
	if err := b.Revoke(ctx, tok.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(ctx, tok.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("second Revoke: %v", err)
	}
	for range 2 {
		if _, err := b.Authenticate(ctx, secret); !errors.Is(err, ErrDenied) {
			t.Errorf("a revoked token: %v", err)
		}
		b = reopen(t, m, c)
	}
}

func TestNoSecretIsOnDisk(t *testing.T) {
	ctx := context.Background()
	b, m, _ := newBook(t)
	secret, _, _ := b.CreateToken(ctx, Admin, "")
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	cookie := must(b.OpenSession(ctx, Principal{"alice", Viewer}))
	all := maps.Clone(m.kept)
	maps.Copy(all, m.web.kept)
	for key, value := range all {
		for _, s := range []string{secret, secret[4:], "correct horse", cookie} {
			if strings.Contains(key+string(value), s) {
				t.Errorf("record %s holds a secret", key)
			}
		}
	}
}

func TestWhatIsNotOnDiskIsNotPromised(t *testing.T) {
	ctx := context.Background()
	b, m, _ := newBook(t)
	secret, tok, _ := b.CreateToken(ctx, Viewer, "")
	m.fail = errors.New("disk full")
	if _, _, err := b.CreateToken(ctx, Viewer, ""); !errors.Is(err, m.fail) {
		t.Errorf("CreateToken: %v", err)
	}
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); !errors.Is(err, m.fail) || len(b.Users()) != 0 {
		t.Errorf("AddUser: %v, %v", err, b.Users())
	}
	m.fail = nil
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	m.fail = errors.New("disk full")
	// To be over, nothing need be on disk; but it is said, and asked again it is.
	if err := b.Revoke(ctx, tok.ID); !errors.Is(err, m.fail) {
		t.Errorf("Revoke: %v", err)
	}
	if _, err := b.Authenticate(ctx, secret); !errors.Is(err, ErrDenied) {
		t.Errorf("a token whose revocation is not on disk opens: %v", err)
	}
	if err := b.RemoveUser(ctx, "alice"); !errors.Is(err, m.fail) || len(b.Users()) != 0 {
		t.Errorf("RemoveUser: %v, %v", err, b.Users())
	}
	m.fail = nil
	if err := b.Revoke(ctx, tok.ID); err != nil || len(m.kept) != 0 {
		t.Errorf("Revoke again: %v, kept %q", err, m.keys())
	}
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(ctx, tok.ID); !errors.Is(err, ErrNotFound) || len(m.kept) != 1 {
		t.Errorf("and once more: %v, kept %q", err, m.keys())
	}
}

func TestPasswords(t *testing.T) {
	ctx := context.Background()
	b, m, c := newBook(t)
	for _, pw := range []string{"", "1234567", strings.Repeat("x", 73)} {
		if err := b.AddUser(ctx, "alice", Viewer, pw); !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "1234567") {
			t.Errorf("password of %d bytes: %v", len(pw), err)
		}
	}
	for _, name := range []string{"", ".", "..", "Alice", "a/b", "a b", "é", strings.Repeat("a", 65)} {
		if err := b.AddUser(ctx, name, Viewer, "correct horse"); !errors.Is(err, ErrInvalid) {
			t.Errorf("name %.10q: %v", name, err)
		}
	}
	if err := b.AddUser(ctx, "alice", Operator, "correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := b.AddUser(ctx, "alice", Admin, "correct horse"); !errors.Is(err, ErrExists) {
		t.Errorf("second alice: %v", err)
	}
	b = reopen(t, m, c)
	if p, err := b.Login(ctx, "10.0.0.1", "alice", "correct horse"); err != nil || p != (Principal{"alice", Operator}) {
		t.Errorf("Login: %+v, %v", p, err)
	}
	for _, c := range [][2]string{{"alice", "wrong horse"}, {"alice", ""}, {"bob", "correct horse"}} {
		if _, err := b.Login(ctx, "10.0.0.2", c[0], c[1]); !errors.Is(err, ErrDenied) {
			t.Errorf("Login(%s): %v", c[0], err)
		}
	}
	if err := b.SetPassword(ctx, "alice", "battery staple"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Login(ctx, "10.0.0.3", "alice", "correct horse"); !errors.Is(err, ErrDenied) {
		t.Errorf("the old password: %v", err)
	}
	if err := b.SetPassword(ctx, "bob", "battery staple"); !errors.Is(err, ErrNotFound) {
		t.Errorf("SetPassword(bob): %v", err)
	}
}

func TestWhoGuessesIsSlowedDownAndNobodyElse(t *testing.T) {
	ctx := context.Background()
	b, _, c := newBook(t)
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	var slow *SlowDown
	for i := range brakeBurst {
		if _, err := b.Login(ctx, "2001:db8::1", "alice", "guess"); !errors.Is(err, ErrDenied) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	for _, source := range []string{"2001:db8::1", "2001:db8::2"} { // the same /64
		if _, err := b.Login(ctx, source, "alice", "correct horse"); !errors.As(err, &slow) || slow.Wait <= 0 {
			t.Errorf("from %s: %v", source, err)
		}
	}
	if _, err := b.Login(ctx, "10.0.0.1", "alice", "correct horse"); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	c.pass(brakeRefill)
	if _, err := b.Login(ctx, "2001:db8::1", "alice", "correct horse"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

func TestTheBrakeIsBounded(t *testing.T) {
	c := &wallClock{t: time.Unix(0, 0)}
	b := newBrake(c.now)
	for i := range 3 * brakeSources {
		_ = b.take(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if len(b.sources) > brakeSources {
		t.Errorf("%d sources kept", len(b.sources))
	}
}

func TestASessionSlidesAndEnds(t *testing.T) {
	ctx := context.Background()
	b, m, c := newBook(t)
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	open := func() string { return must(b.OpenSession(ctx, Principal{"alice", Viewer})) }
	check := func(cookie string, want bool, when string) {
		t.Helper()
		if p, err := b.Session(ctx, cookie); (err == nil) != want || want && p.Name != "alice" {
			t.Errorf("%s: %+v, %v", when, p, err)
		}
	}
	s := open()
	for range 3 {
		c.pass(SessionIdle - time.Second)
		check(s, true, "used within the idle time")
	}
	b = reopen(t, m, c)
	check(s, true, "after a restart")
	c.pass(SessionIdle)
	check(s, false, "unused for too long")

	s = open()
	for range int(SessionMax/(SessionIdle/2)) - 1 {
		c.pass(SessionIdle / 2)
		check(s, true, "in use")
	}
	c.pass(SessionIdle / 2)
	check(s, false, "at its greatest age, though in use")

	s = open()
	if err := b.CloseSession(ctx, s); err != nil {
		t.Fatal(err)
	}
	check(s, false, "closed")
	s = open()
	if err := b.SetPassword(ctx, "alice", "battery staple"); err != nil {
		t.Fatal(err)
	}
	check(s, false, "opened with an old password")
	s = open()
	if err := b.RemoveUser(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	check(s, false, "of a removed user")
	if left := m.web.keys(); len(left) != 0 {
		t.Errorf("left in the drawer: %q", left)
	}
}

func TestASessionOfATokenEndsWithIt(t *testing.T) {
	ctx := context.Background()
	b, _, _ := newBook(t)
	secret, tok, _ := b.CreateToken(ctx, Operator, "")
	cookie, p, err := b.OpenTokenSession(ctx, "10.0.0.1", secret)
	if err != nil || p.Role != Operator {
		t.Fatalf("OpenTokenSession: %+v, %v", p, err)
	}
	if p, err := b.Session(ctx, cookie); err != nil || p.Role != Operator {
		t.Errorf("Session: %+v, %v", p, err)
	}
	if err := b.Revoke(ctx, tok.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Session(ctx, cookie); !errors.Is(err, ErrDenied) {
		t.Errorf("after Revoke: %v", err)
	}
	if _, _, err := b.OpenTokenSession(ctx, "10.0.0.1", secret); !errors.Is(err, ErrDenied) {
		t.Errorf("OpenTokenSession after Revoke: %v", err)
	}
}

func TestRemovingAUserTakesHerTokens(t *testing.T) {
	ctx := context.Background()
	b, _, _ := newBook(t)
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	hers, _, _ := b.CreateToken(ctx, Viewer, "alice")
	other, _, _ := b.CreateToken(ctx, Viewer, "bob")
	if err := b.RemoveUser(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(ctx, hers); !errors.Is(err, ErrDenied) {
		t.Errorf("her token: %v", err)
	}
	if _, err := b.Authenticate(ctx, other); err != nil {
		t.Errorf("bob's token: %v", err)
	}
	if err := b.RemoveUser(ctx, "alice"); !errors.Is(err, ErrNotFound) {
		t.Errorf("second RemoveUser: %v", err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	ctx := context.Background()
	b, m, c := newBook(t)
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	first := must(b.OpenSession(ctx, Principal{"alice", Viewer}))
	for range maxSessions {
		c.pass(time.Millisecond)
		must(b.OpenSession(ctx, Principal{"alice", Viewer}))
	}
	if len(b.sessions) != maxSessions || len(m.web.kept) != maxSessions {
		t.Errorf("%d sessions in memory, %d records", len(b.sessions), len(m.web.kept))
	}
	if _, err := b.Session(ctx, first); !errors.Is(err, ErrDenied) {
		t.Errorf("the oldest: %v", err)
	}
}

func TestABadRecordIsNamed(t *testing.T) {
	m := newMemory()
	m.kept["token/x"] = []byte(`{"id":"x","hash":"00","role":"viewer"}`)
	if _, err := New(Config{Drawer: m, Sessions: m.web, Cost: bcrypt.MinCost}); err == nil || !strings.Contains(err.Error(), "token/x") {
		t.Errorf("New: %v", err)
	}
}

func TestTheBookIsSafeForManyAtOnce(t *testing.T) {
	ctx := context.Background()
	b, _, _ := newBook(t)
	secret, _, _ := b.CreateToken(ctx, Viewer, "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				_, tok, _ := b.CreateToken(ctx, Viewer, "alice")
				_, _ = b.Authenticate(ctx, secret)
				cookie, _, _ := b.OpenTokenSession(ctx, "10.0.0.1", secret)
				_, _ = b.Session(ctx, cookie)
				_ = b.Tokens()
				_ = b.Revoke(ctx, tok.ID)
			}
		})
	}
	wg.Wait()
	if n := len(b.Tokens()); n != 1 {
		t.Errorf("%d tokens left", n)
	}
}

// The decoy is worked on like a real hash, and fits nothing.
func TestTheDecoyCostsWhatALoginDoes(t *testing.T) {
	for range 10 {
		d := decoy(bcrypt.MinCost)
		cost, err := bcrypt.Cost(d)
		if err != nil || cost != bcrypt.MinCost {
			t.Fatalf("%s: cost %d, %v", d, cost, err)
		}
		if err := bcrypt.CompareHashAndPassword(d, []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			t.Errorf("%s: %v", d, err)
		}
	}
}
