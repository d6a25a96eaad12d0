package sip

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Guard asks for credentials as a server: digest (RFC 7616, RFC 8760), by the
// algorithms SHA-512-256, SHA-256 and MD5, qop=auth. It is safe for concurrent use.
type Guard struct {
	realm  string
	key    []byte
	lookup func(user string) (password string, ok bool)
	began  time.Time // nonces are dated from here: a branch box may have no wall clock
	now    func() time.Time

	mu    sync.Mutex
	floor time.Duration // nonces made up to then are no longer taken
	turn  int64         // which nonceLife since began the newer uses belong to
	uses  [2]map[nonceID]*ncWindow
}

const (
	nonceLife     = 300 * time.Second
	maxNonces     = 1 << 16 // in use, in one nonceLife
	maxCredential = 4 << 10 // octets of an Authorization field
	macSize       = 16
)

// NewGuard makes a Guard of a realm. The secret signs its nonces, for as long
// as this Guard lives. lookup gives the password of a user.
func NewGuard(realm string, secret []byte, lookup func(user string) (password string, ok bool)) *Guard {
	g := &Guard{realm: realm, lookup: lookup, began: time.Now(), now: time.Now}
	g.uses[0], g.uses[1] = map[nonceID]*ncWindow{}, map[nonceID]*ncWindow{}
	// A nonce of an earlier Guard is not taken: what was used of it is forgotten.
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	mac := hmac.New(sha256.New, secret)
	mac.Write(salt)
	g.key = mac.Sum(nil)
	return g
}

// algorithm is a hash by its name in a challenge.
type algorithm struct {
	name string
	make func() hash.Hash
}

// algorithms in the order of preference (RFC 8760 §2.3 and §2.4).
var algorithms = []algorithm{{"SHA-512-256", sha512.New512_256}, {"SHA-256", sha256.New}, {"MD5", md5.New}}

func algorithmOf(name string) (algorithm, bool) {
	if name == "" {
		name = "MD5" // RFC 7616 §3.4
	}
	for _, a := range algorithms {
		if strings.EqualFold(a.name, name) {
			return a, true
		}
	}
	return algorithm{}, false
}

// digest is the hex of the hash of the parts with colons between them.
func (a algorithm) digest(parts ...string) string {
	h := a.make()
	h.Write([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(h.Sum(nil))
}

// response is RFC 7616 §3.4.1 with qop=auth.
func (a algorithm) response(c *credential, method, password string) string {
	return a.digest(a.digest(c.user, c.realm, password), c.nonce, c.nc, c.cnonce, c.qop, a.digest(method, c.uri))
}

// credential is an Authorization field taken apart.
type credential struct {
	user, realm, nonce, uri, response, algorithm, cnonce, qop, nc string
	count                                                         uint32 // nc
}

var errCredential = errors.New("no digest credentials")

// parseCredential reads what answers a challenge with qop=auth, as ours all
// have; whoever leaves qop out (RFC 2069) has no nc, and is open to replay.
func parseCredential(value string) (*credential, error) {
	scheme, rest, _ := strings.Cut(trim(value), " ")
	if len(value) > maxCredential || !strings.EqualFold(scheme, "Digest") {
		return nil, errCredential
	}
	c := &credential{}
	for part := range elements(rest, ',') {
		name, v, _ := strings.Cut(part, "=")
		if to := c.parameter(trim(name)); to != nil && *to == "" {
			*to = unquote(trim(v))
		}
	}
	n, err := strconv.ParseUint(c.nc, 16, 32)
	if err != nil || len(c.nc) != 8 || n == 0 || !strings.EqualFold(c.qop, "auth") || c.cnonce == "" || c.nonce == "" || c.user == "" {
		return nil, errCredential
	}
	c.count = uint32(n)
	return c, nil
}

func (c *credential) parameter(name string) *string {
	switch strings.ToLower(name) {
	case "username":
		return &c.user
	case "realm":
		return &c.realm
	case "nonce":
		return &c.nonce
	case "uri":
		return &c.uri
	case "response":
		return &c.response
	case "algorithm":
		return &c.algorithm
	case "cnonce":
		return &c.cnonce
	case "qop":
		return &c.qop
	case "nc":
		return &c.nc
	}
	return nil
}

// Check reports whose request it is, or gives the fields of the 401 that asks
// for (better) credentials: a challenge for each algorithm (RFC 8760 §2.3).
// ACK and CANCEL, which are never challenged (RFC 3261 §22.1), pass without a user.
func (g *Guard) Check(in *Incoming) (user string, challenge Header, ok bool) {
	if in.Method == "ACK" || in.Method == "CANCEL" {
		return "", nil, true
	}
	stale := false
	for _, f := range in.Header {
		if !f.is("Authorization") {
			continue
		}
		c, err := parseCredential(f.Value)
		if err != nil || c.realm != g.realm {
			continue // another scheme or realm: our challenge, as without one
		}
		if !g.matches(c, in.Method) {
			continue
		}
		// Whoever has a nonce that is no longer good, but the password, is told so
		// and need not ask its user again (RFC 7616 §3.3).
		if !g.fresh(c, in) {
			stale = true
			continue
		}
		return c.user, nil, true
	}
	return "", g.challenge(in, stale), false
}

// matches checks the digest. The uri is one of SIP, but need not be the
// Request-URI, which proxies rewrite (RFC 3261 §22.4).
func (g *Guard) matches(c *credential, method string) bool {
	a, ok := algorithmOf(c.algorithm)
	if !ok {
		return false
	}
	if u, err := ParseURI(c.uri); err != nil || u.Scheme != "sip" && u.Scheme != "sips" {
		return false
	}
	password, known := g.lookup(c.user)
	want := a.response(c, method, password) // as much work for an unknown user
	same := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(c.response))) == 1
	return same && known
}

func (g *Guard) challenge(in *Incoming, stale bool) Header {
	nonce := g.nonce(in)
	h := make(Header, 0, len(algorithms))
	for _, a := range algorithms {
		v := "Digest realm=" + quote(g.realm) + `, nonce="` + nonce + `", algorithm=` + a.name + `, qop="auth"`
		if stale {
			v += ", stale=true"
		}
		h.Add("WWW-Authenticate", v)
	}
	return h
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s) + `"`
}

// nonceID is what is signed of a nonce: when it was made, and a random part.
type nonceID [16]byte

func (id nonceID) made() time.Duration { return time.Duration(binary.BigEndian.Uint64(id[:8])) }

// sign is for one source address: what one overhears is no use elsewhere.
func (g *Guard) sign(id nonceID, in *Incoming) []byte {
	mac := hmac.New(sha256.New, g.key)
	mac.Write(id[:])
	addr := in.Source.Addr().As16()
	mac.Write(addr[:])
	return mac.Sum(nil)[:macSize]
}

func (g *Guard) nonce(in *Incoming) string {
	var id nonceID
	binary.BigEndian.PutUint64(id[:8], uint64(g.now().Sub(g.began)))
	_, _ = rand.Read(id[8:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(append(id[:], g.sign(id, in)...))
}

// fresh reports whether the nonce is ours, young, and its count not used yet,
// which it marks as used.
func (g *Guard) fresh(c *credential, in *Incoming) bool {
	b, err := base64.RawURLEncoding.DecodeString(c.nonce)
	if err != nil || len(b) != len(nonceID{})+macSize {
		return false
	}
	id := nonceID(b[:len(nonceID{})])
	if !hmac.Equal(b[len(id):], g.sign(id, in)) {
		return false
	}
	now := g.now().Sub(g.began)
	g.mu.Lock()
	defer g.mu.Unlock()
	if id.made() < g.floor || now-id.made() >= nonceLife {
		return false
	}
	return g.window(id, now).take(c.count)
}

// window finds what was used of a nonce. Two lives' worth are kept, by when the
// nonce was made; with too many in one of them all nonces so far are refused as
// stale, which costs each user a round trip, sooner than that one be used twice.
func (g *Guard) window(id nonceID, now time.Duration) *ncWindow {
	for turn := int64(now / nonceLife); g.turn < turn; g.turn++ {
		g.uses[0], g.uses[1] = g.uses[1], map[nonceID]*ncWindow{}
		if g.turn+2 < turn {
			g.turn = turn - 2 // both are old
		}
	}
	uses := g.uses[1]
	if int64(id.made()/nonceLife) < g.turn {
		uses = g.uses[0]
	}
	w := uses[id]
	if w == nil {
		if len(uses) >= maxNonces {
			clear(g.uses[0])
			clear(g.uses[1])
			g.floor = now
		}
		w = &ncWindow{}
		uses[id] = w
	}
	return w
}

// ncWindow is which counts of a nonce were used: the highest, and of the 64
// below it each (datagrams may overtake one another).
type ncWindow struct {
	highest uint32
	below   uint64 // bit n: highest-1-n
}

// take reports whether n is new.
func (w *ncWindow) take(n uint32) bool {
	switch {
	case n > w.highest:
		by := n - w.highest
		w.below = w.below<<by | 1<<(by-1)
		w.highest = n
		return true
	case n == w.highest || w.highest-n > 64:
		return false
	}
	bit := uint64(1) << (w.highest - 1 - n)
	if w.below&bit != 0 {
		return false
	}
	w.below |= bit
	return true
}
