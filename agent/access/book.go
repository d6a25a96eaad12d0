package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A Drawer keeps bytes by key. Put and Delete are on disk when they return;
// PutSoft may wait for the next commit.
type Drawer interface {
	Put(ctx context.Context, key string, value []byte) error
	PutSoft(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Each(prefix string, f func(key string, value []byte) error) error
}

// Config is what a book needs. Now and Cost have defaults.
type Config struct {
	Drawer   Drawer // of tokens and users
	Sessions Drawer // one of their own, since a restored store must not have them
	Now      func() time.Time
	Cost     int // of bcrypt
}

// A Book holds tokens, users and sessions. It is safe for concurrent use.
type Book struct {
	drawer Drawer
	web    Drawer // the sessions'
	now    func() time.Time
	cost   int
	decoy  []byte        // the hash that an unknown user's password is compared with
	bcrypt chan struct{} // how many hashes may be worked on at once
	brake  *brake

	changes sync.Mutex          // one write to drawer at a time; held while it goes to disk
	owed    map[string]struct{} // keys that a failing disk did not delete; guarded by changes

	mu       sync.RWMutex // guards the maps; never held while waiting
	tokens   map[string]*tokenRecord
	byHash   map[hash]*tokenRecord
	users    map[string]*userRecord
	sessions map[hash]*session
}

type hash [sha256.Size]byte

// Keys in the drawer. A session's, in its own, is the hash.
const (
	tokenKey = "token/"
	userKey  = "user/"
)

// hashers bounds the processor time that strangers can make us spend on
// passwords: one bcrypt takes a branch box some hundred milliseconds.
const hashers = 2

// New reads the book from its drawers.
func New(c Config) (*Book, error) {
	if c.Drawer == nil || c.Sessions == nil {
		return nil, errors.New("access: a book needs two drawers")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Cost == 0 {
		c.Cost = bcrypt.DefaultCost
	}
	b := &Book{
		drawer: c.Drawer, web: c.Sessions, owed: map[string]struct{}{}, now: c.Now, cost: c.Cost, decoy: decoy(c.Cost),
		bcrypt: make(chan struct{}, hashers), brake: newBrake(c.Now),
		tokens: map[string]*tokenRecord{}, byHash: map[hash]*tokenRecord{},
		users: map[string]*userRecord{}, sessions: map[hash]*session{},
	}
	if err := b.load(); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	return b, nil
}

// bcryptText is how bcrypt writes octets.
var bcryptText = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)

// decoy is the hash of no known password, at the cost of one: a salt and a sum by
// chance. To hash something instead would hold up each start by as long as a login.
func decoy(cost int) []byte {
	b := make([]byte, 16+23)
	_, _ = rand.Read(b) // never fails
	return fmt.Appendf(nil, "$2a$%02d$%s%s", cost, bcryptText.EncodeToString(b[:16]), bcryptText.EncodeToString(b[16:]))
}

func (b *Book) load() error {
	err := b.drawer.Each(tokenKey, func(key string, value []byte) error {
		t := new(tokenRecord)
		if err := json.Unmarshal(value, t); err != nil {
			return fmt.Errorf("record %q: %w", key, err)
		}
		h, err := parseHash(t.Hash)
		if err != nil {
			return fmt.Errorf("record %q: %w", key, err)
		}
		b.tokens[t.ID], b.byHash[h] = t, t
		return nil
	})
	if err != nil {
		return err
	}
	err = b.drawer.Each(userKey, func(key string, value []byte) error {
		u := new(userRecord)
		if err := json.Unmarshal(value, u); err != nil {
			return fmt.Errorf("record %q: %w", key, err)
		}
		b.users[u.Name] = u
		return nil
	})
	if err != nil {
		return err
	}
	return b.web.Each("", b.loadSession)
}

// HasAccounts reports whether a user exists who could sign in.
func (b *Book) HasAccounts() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.users) > 0
}

// newSecret makes 32 random bytes as text, and the hash under which they are kept.
func newSecret(prefix string) (string, hash) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // it cannot fail; crypto/rand ends the program rather
	secret := prefix + encoding.EncodeToString(raw[:])
	return secret, sha256.Sum256([]byte(secret))
}

func newID() string {
	var raw [6]byte
	_, _ = rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

func parseHash(s string) (h hash, err error) {
	n, err := hex.Decode(h[:], []byte(s))
	if err != nil || n != len(h) || len(s) != 2*len(h) {
		return h, fmt.Errorf("a hash of %d characters", len(s))
	}
	return h, nil
}

// put has v on disk when it returns. The caller holds changes.
func (b *Book) put(ctx context.Context, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	delete(b.owed, key)
	return b.drawer.Put(ctx, key, value)
}

// erase deletes keys, and those that it could not delete before. What they held
// is out of the maps already. The caller holds changes.
func (b *Book) erase(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		b.owed[key] = struct{}{}
	}
	var errs []error
	for key := range b.owed {
		if err := b.drawer.Delete(ctx, key); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(b.owed, key)
	}
	return errors.Join(errs...)
}

// owes reports whether key is one that erase could not delete. The caller holds
// changes.
func (b *Book) owes(key string) bool {
	_, yes := b.owed[key]
	return yes
}

// putSoft has v on disk some time. The caller holds what orders the writes of
// that record.
func putSoft(ctx context.Context, d Drawer, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return d.PutSoft(ctx, key, value)
}

// bearer reports whether secret can be a token at all.
func bearer(secret string) bool { return strings.HasPrefix(secret, TokenPrefix) && len(secret) < 128 }
