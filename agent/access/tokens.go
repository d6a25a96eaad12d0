package access

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TokenPrefix begins every API token, so that one that leaked is recognised.
const TokenPrefix = "plt_"

var encoding = base64.RawURLEncoding

// Token is what may be told of an API token: all but the secret.
type Token struct {
	ID      string
	Role    Role
	User    string // whose it is; empty: nobody's
	Created time.Time
	Used    time.Time // zero: never
}

// tokenRecord is a token as it is kept.
type tokenRecord struct {
	ID      string    `json:"id"`
	Hash    string    `json:"hash"`
	Role    Role      `json:"role"`
	User    string    `json:"user,omitempty"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
}

// usedEvery is how exactly the last use of a token is kept.
const usedEvery = time.Minute

// CreateToken makes a token and returns its secret, which nobody can read again.
func (b *Book) CreateToken(ctx context.Context, role Role, user string) (secret string, t Token, err error) {
	if !(Principal{Role: role}).May(Viewer) || role > Admin {
		return "", Token{}, fmt.Errorf("%w: a token needs a role", ErrInvalid)
	}
	if user != "" {
		if err := CheckName(user); err != nil {
			return "", Token{}, err
		}
	}
	b.changes.Lock()
	defer b.changes.Unlock()
	if b.count(func() int { return len(b.tokens) }) >= maxTokens {
		return "", Token{}, fmt.Errorf("%w tokens: revoke some of the %d", ErrFull, maxTokens)
	}
	secret, h := newSecret(TokenPrefix)
	r := &tokenRecord{ID: newID(), Hash: hex.EncodeToString(h[:]), Role: role, User: user, Created: b.now().UTC()}
	if err := b.put(ctx, tokenKey+r.ID, r); err != nil {
		return "", Token{}, fmt.Errorf("access: keep a token: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens[r.ID], b.byHash[h] = r, r
	return secret, r.public(), nil
}

// Tokens lists all tokens, the oldest first.
func (b *Book) Tokens() []Token {
	b.mu.RLock()
	defer b.mu.RUnlock()
	list := make([]Token, 0, len(b.tokens))
	for _, r := range b.tokens {
		list = append(list, r.public())
	}
	slices.SortFunc(list, func(x, y Token) int {
		return cmp.Or(x.Created.Compare(y.Created), strings.Compare(x.ID, y.ID))
	})
	return list
}

// Revoke ends a token, and the sessions that were opened with it, at once. An
// error says that the disk does not know of it yet: to be asked again.
func (b *Book) Revoke(ctx context.Context, id string) error {
	b.changes.Lock()
	defer b.changes.Unlock()
	keys := b.dropTokens(func(r *tokenRecord) bool { return r.ID == id })
	if len(keys) == 0 && !b.owes(tokenKey+id) {
		return fmt.Errorf("%w token: %.32q", ErrNotFound, id)
	}
	err := b.erase(ctx, keys...)
	err = errors.Join(err, b.endSessions(ctx, func(s *session) bool { return s.Token == id }))
	if err != nil {
		return fmt.Errorf("access: revoke token %.32s: %w", id, err)
	}
	return nil
}

// dropTokens takes tokens out of the maps, and gives their keys in the drawer.
func (b *Book) dropTokens(which func(*tokenRecord) bool) (keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.tokens {
		if !which(r) {
			continue
		}
		h, _ := parseHash(r.Hash)
		delete(b.tokens, id)
		delete(b.byHash, h)
		keys = append(keys, tokenKey+id)
	}
	return keys
}

// Authenticate tells whose a token is.
//
// The search goes by the hash of the token. That its time might tell something
// about the hashes in the book helps nobody, for nobody can choose a text with
// a given beginning of its hash; the comparison takes constant time all the same.
func (b *Book) Authenticate(ctx context.Context, secret string) (Principal, error) {
	if !bearer(secret) {
		return Principal{}, ErrDenied
	}
	h := hash(sha256.Sum256([]byte(secret)))
	b.mu.RLock()
	r := b.byHash[h]
	b.mu.RUnlock()
	if r == nil {
		return Principal{}, ErrDenied
	}
	kept, err := parseHash(r.Hash)
	if err != nil || subtle.ConstantTimeCompare(kept[:], h[:]) != 1 {
		return Principal{}, ErrDenied
	}
	b.used(ctx, h)
	return r.principal(), nil
}

// used notes the last use, by the dial; while an account is being changed it
// does not, so that it never waits for a disk nor writes what was just revoked.
// A record is never changed in place: it is replaced by a copy, for others may
// be reading it.
func (b *Book) used(ctx context.Context, h hash) {
	if !b.changes.TryLock() {
		return
	}
	defer b.changes.Unlock()
	b.mu.Lock()
	r := b.byHash[h]
	if r == nil || b.now().Sub(r.Used) < usedEvery {
		b.mu.Unlock()
		return
	}
	next := *r
	next.Used = b.now().UTC()
	b.byHash[h], b.tokens[next.ID] = &next, &next
	b.mu.Unlock()
	_ = putSoft(ctx, b.drawer, tokenKey+next.ID, &next) // only a convenience: lost, nothing is the worse
}

func (b *Book) count(n func() int) int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return n()
}

func (r *tokenRecord) public() Token {
	return Token{ID: r.ID, Role: r.Role, User: r.User, Created: r.Created, Used: r.Used}
}

func (r *tokenRecord) principal() Principal { return Principal{Name: r.User, Role: r.Role} }
