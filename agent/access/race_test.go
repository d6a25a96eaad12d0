package access

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// stop holds the first write of that kind until it is let go.
type stop struct {
	reached chan struct{}
	letGo   chan struct{}
	used    atomic.Bool
}

func stopAt(m *memory, kind string) *stop {
	s := &stop{reached: make(chan struct{}), letGo: make(chan struct{})}
	m.before = func(what string) {
		if strings.HasPrefix(what, kind) {
			if s.used.CompareAndSwap(false, true) {
				close(s.reached)
				<-s.letGo
			}
		}
	}
	return s
}

// turn gives f the time to be done in, if nothing holds it; it may as well wait
// for its turn.
func turn(wg *sync.WaitGroup, f func()) {
	done := make(chan struct{})
	wg.Go(func() { f(); close(done) })
	select {
	case <-done:
	case <-time.After(50 * time.Millisecond):
	}
}

// TestARevokedTokenIsOverWhileTheDiskWrites, and a use of it in that moment does
// not bring it back.
func TestARevokedTokenIsOverWhileTheDiskWrites(t *testing.T) {
	for name, end := range map[string]func(b *Book, id string) error{
		"revoked":       func(b *Book, id string) error { return b.Revoke(context.Background(), id) },
		"with her user": func(b *Book, _ string) error { return b.RemoveUser(context.Background(), "alice") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			b, m, c := newBook(t)
			if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
				t.Fatal(err)
			}
			secret, tok, _ := b.CreateToken(ctx, Viewer, "alice")
			at := stopAt(m, "delete token/")
			done := make(chan error, 1)
			go func() { done <- end(b, tok.ID) }()
			<-at.reached
			c.pass(time.Hour) // its use would be noted
			if _, err := b.Authenticate(ctx, secret); !errors.Is(err, ErrDenied) {
				t.Errorf("while the disk writes: %v", err)
			}
			close(at.letGo)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if _, err := reopen(t, m, c).Authenticate(ctx, secret); !errors.Is(err, ErrDenied) {
				t.Errorf("after a restart: %v; kept %q", err, m.keys())
			}
		})
	}
}

// TestATokenThatIsRevokedWhileItsUseIsWritten stays revoked; and other tokens are
// asked meanwhile without a wait.
func TestATokenThatIsRevokedWhileItsUseIsWritten(t *testing.T) {
	ctx := context.Background()
	b, m, c := newBook(t)
	secret, tok, _ := b.CreateToken(ctx, Viewer, "")
	other, _, _ := b.CreateToken(ctx, Viewer, "")
	at := stopAt(m, "put token/")
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.Authenticate(ctx, secret) })
	<-at.reached
	turn(&wg, func() {
		if err := b.Revoke(ctx, tok.ID); err != nil {
			t.Error(err)
		}
	})
	if _, err := b.Authenticate(ctx, other); err != nil {
		t.Error(err)
	}
	close(at.letGo)
	wg.Wait()
	if _, err := reopen(t, m, c).Authenticate(ctx, secret); !errors.Is(err, ErrDenied) {
		t.Errorf("after a restart: %v; kept %q", err, m.keys())
	}
}

// TestAnEndedSessionStaysEnded, though it is used, and its use would be written,
// while the disk writes its end: after a restart, too.
func TestAnEndedSessionStaysEnded(t *testing.T) {
	ctx := context.Background()
	for name, end := range map[string]func(b *Book, cookie string) error{
		"sign-out":     func(b *Book, cookie string) error { return b.CloseSession(ctx, cookie) },
		"new password": func(b *Book, _ string) error { return b.SetPassword(ctx, "alice", "battery staple") },
	} {
		for _, kind := range []string{"put ", "delete "} { // which of the two is under way when the other comes
			t.Run(name+" "+kind, func(t *testing.T) {
				b, m, c := newBook(t)
				if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
					t.Fatal(err)
				}
				cookie := must(b.OpenSession(ctx, Principal{"alice", Viewer}))
				c.pass(time.Hour)
				at := stopAt(m.web, kind)
				use := func() { _, _ = b.Session(ctx, cookie) }
				finish := func() {
					if err := end(b, cookie); err != nil {
						t.Error(err)
					}
				}
				first, second := use, finish
				if kind == "delete " {
					first, second = finish, use
				}
				var wg sync.WaitGroup
				wg.Go(first)
				<-at.reached
				turn(&wg, second)
				close(at.letGo)
				wg.Wait()
				for range 2 {
					if _, err := b.Session(ctx, cookie); !errors.Is(err, ErrDenied) {
						t.Errorf("it opens: %v; kept %q", err, m.web.keys())
					}
					b = reopen(t, m, c)
				}
			})
		}
	}
}

// TestASessionOpenedWhileItsUserIsRemovedIsNone, nor is a record of it left.
func TestASessionOpenedWhileItsUserIsRemovedIsNone(t *testing.T) {
	ctx := context.Background()
	b, m, _ := newBook(t)
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	at := stopAt(m.web, "put ")
	var cookie string
	var wg sync.WaitGroup
	wg.Go(func() { cookie, _ = b.OpenSession(ctx, Principal{"alice", Viewer}) })
	<-at.reached
	turn(&wg, func() {
		if err := b.RemoveUser(ctx, "alice"); err != nil {
			t.Error(err)
		}
	})
	close(at.letGo)
	wg.Wait()
	if err := b.AddUser(ctx, "alice", Viewer, "another horse"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Session(ctx, cookie); !errors.Is(err, ErrDenied) || len(m.web.keys()) != 0 {
		t.Errorf("%v; kept %q", err, m.web.keys())
	}
	if _, err := b.OpenSession(ctx, Principal{"bob", Viewer}); !errors.Is(err, ErrDenied) {
		t.Errorf("a session for nobody: %v", err)
	}
}

// TestManyGuessesAtOnceAreAsManyAsOneAfterTheOther: the attempt is taken before
// the password is looked at.
func TestManyGuessesAtOnceAreAsManyAsOneAfterTheOther(t *testing.T) {
	ctx := context.Background()
	b, _, _ := newBook(t)
	if err := b.AddUser(ctx, "alice", Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	var looked, slowed atomic.Int32
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			var slow *SlowDown
			switch _, err := b.Login(ctx, "10.0.0.1", "alice", "a guess at it"); {
			case errors.As(err, &slow):
				slowed.Add(1)
			case errors.Is(err, ErrDenied):
				looked.Add(1)
			}
		})
	}
	wg.Wait()
	if looked.Load() != brakeBurst || slowed.Load() != 500-brakeBurst {
		t.Errorf("%d passwords looked at, %d told to wait", looked.Load(), slowed.Load())
	}
}

// TestWhoHasAnAccountHasNoMoreGuesses: each success gives back its own attempt only.
func TestWhoHasAnAccountHasNoMoreGuesses(t *testing.T) {
	ctx := context.Background()
	b, _, _ := newBook(t)
	for _, name := range []string{"alice", "mallory"} {
		if err := b.AddUser(ctx, name, Viewer, "password of "+name); err != nil {
			t.Fatal(err)
		}
	}
	secret, _, _ := b.CreateToken(ctx, Viewer, "mallory")
	guesses := 0
	for range 20 {
		if _, err := b.Login(ctx, "10.0.0.1", "alice", "a guess at it"); errors.Is(err, ErrDenied) {
			guesses++
		}
		_, _ = b.Login(ctx, "10.0.0.1", "mallory", "password of mallory")
		_, _, _ = b.OpenTokenSession(ctx, "10.0.0.1", secret)
	}
	if guesses != brakeBurst {
		t.Errorf("%d guesses", guesses)
	}
	for range 20 { // and who knows her password is never slowed down
		if _, err := b.Login(ctx, "10.0.0.2", "alice", "password of alice"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnAttemptThatWasNotLookedAtIsNoAttempt: the browser went away in the queue.
func TestAnAttemptThatWasNotLookedAtIsNoAttempt(t *testing.T) {
	b, _, _ := newBook(t)
	for range hashers {
		b.bcrypt <- struct{}{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 2 * brakeBurst {
		if _, err := b.Login(ctx, "10.0.0.1", "alice", "a guess at it"); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

func TestABookNeedsBothDrawers(t *testing.T) {
	if _, err := New(Config{Drawer: newMemory(), Cost: bcrypt.MinCost}); err == nil {
		t.Error("without a drawer for sessions")
	}
}
