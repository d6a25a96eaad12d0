package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

// withStore runs a ledger on the store at path while do works with it.
func withStore(t *testing.T, path string, do func(l *ledger.Ledger, b *access.Book)) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Path: path, Domain: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- l.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-over; !errors.Is(err, context.Canceled) {
			t.Errorf("ledger: %v", err)
		}
	}()
	b, err := openBook(l)
	if err != nil {
		t.Fatal(err)
	}
	do(l, b)
}

// TestARestoredStoreKnowsNoSessionOfBefore: the accounts come back with a backup
// and what a person said does, but nobody is signed in by it, and no uplink,
// dialog or entity-tag of another time is claimed.
func TestARestoredStoreKnowsNoSessionOfBefore(t *testing.T) {
	ctx := t.Context()
	path, copied := filepath.Join(t.TempDir(), "store.db"), new(bytes.Buffer)
	var cookies []string
	var secret string
	withStore(t, path, func(l *ledger.Ledger, b *access.Book) {
		if err := b.AddUser(ctx, "alice", access.Viewer, "correct horse"); err != nil {
			t.Fatal(err)
		}
		var err error
		if secret, _, err = b.CreateToken(ctx, access.Operator, "alice"); err != nil {
			t.Fatal(err)
		}
		one, err1 := b.OpenSession(ctx, access.Principal{Name: "alice", Role: access.Viewer})
		two, _, err2 := b.OpenTokenSession(ctx, "127.0.0.1", secret)
		cookies = []string{one, two}
		for _, drawer := range []string{"dialogs", "etags", "cursors"} {
			err = errors.Join(err, l.Drawer(drawer).Put(ctx, "hq/sip:alice@example.com", []byte("1.1")))
		}
		_, _, err3 := l.Publish(ctx, presence.Publication{Of: "sip:alice@example.com", Manual: true, Expires: time.Hour,
			Said: &presence.Said{Availability: presence.DoNotDisturb}})
		if err := errors.Join(err, err1, err2, err3, l.Backup(ctx, copied)); err != nil {
			t.Fatal(err)
		}
	})
	restored := filepath.Join(t.TempDir(), "store.db")
	if err := ledger.Restore(restored, copied, transient...); err != nil {
		t.Fatal(err)
	}
	withStore(t, restored, func(l *ledger.Ledger, b *access.Book) {
		for _, cookie := range cookies {
			if p, err := b.Session(ctx, cookie); !errors.Is(err, access.ErrDenied) {
				t.Errorf("a cookie from before the backup is %+v, %v", p, err)
			}
		}
		if p, err := b.Authenticate(ctx, secret); err != nil || p.Role != access.Operator {
			t.Errorf("the token: %+v, %v", p, err)
		}
		if _, err := b.Login(ctx, "127.0.0.1", "alice", "correct horse"); err != nil {
			t.Errorf("the account: %v", err)
		}
		for _, drawer := range transient {
			_ = l.Drawer(drawer).Each("", func(key string, _ []byte) error {
				t.Errorf("drawer %s still holds %s", drawer, key)
				return nil
			})
		}
		if docs, err := l.Documents(ctx, nil); err != nil || len(docs) != 1 || docs[0].Availability != presence.DoNotDisturb {
			t.Errorf("documents: %+v, %v", docs, err)
		}
	})
	withStore(t, path, func(_ *ledger.Ledger, b *access.Book) {
		for _, cookie := range cookies {
			if _, err := b.Session(ctx, cookie); err != nil {
				t.Errorf("without a restore, a session outlives a restart: %v", err)
			}
		}
	})
}
