package sip

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/icholy/digest"
)

// challenges remembers the last challenge of each far end, so that the next
// request carries its credentials at once (RFC 7616 §3.4, nc rising).
type challenges struct {
	mu    sync.Mutex
	known map[string]*challenge
}

type challenge struct {
	*digest.Challenge
	field string // the field that answers it
	count int    // nc
}

const maxChallenges = 512

func challengeKey(o *outgoing, h hop) string {
	return h.addr.String() + " " + o.r.Credentials.Username
}

// prepare puts credentials for a challenge met before into the request.
func (c *challenges) prepare(o *outgoing, h hop) {
	if o.r.Credentials.Username == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.known[challengeKey(o, h)]; ch != nil {
		c.sign(o, ch)
	}
}

// answer looks at a response and reports whether the request should go again,
// signed anew. A nonce is answered once (§22.2): a server that repeats it says
// that the password is wrong. A new nonce is worth another try when ours was
// stale or was remembered from an earlier request.
func (c *challenges) answer(o *outgoing, h hop, res *Response) bool {
	if res.Status != 401 && res.Status != 407 || o.r.Credentials.Username == "" {
		return false
	}
	ch := pick(res)
	if ch == nil || slices.Contains(o.nonces, ch.Nonce) || len(o.nonces) > 0 && !ch.Stale {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxChallenges {
		clear(c.known) // each costs one more round trip when met again
	}
	c.known[challengeKey(o, h)] = ch
	if !c.sign(o, ch) {
		return false
	}
	o.nonces = append(o.nonces, ch.Nonce)
	return true
}

// pick takes the topmost challenge that can be answered (RFC 8760 §2.4).
func pick(res *Response) *challenge {
	name, field := "WWW-Authenticate", "Authorization"
	if res.Status == 407 {
		name, field = "Proxy-Authenticate", "Proxy-Authorization"
	}
	for _, row := range res.Header.Values(name) {
		ch, err := digest.ParseChallenge(row)
		if err != nil {
			continue
		}
		ch.Algorithm = strings.ToUpper(ch.Algorithm)
		for i := range ch.QOP {
			ch.QOP[i] = strings.TrimSpace(ch.QOP[i])
		}
		if digest.CanDigest(ch) {
			return &challenge{Challenge: ch, field: field}
		}
	}
	return nil
}

// sign writes the credentials; the digest-uri is the Request-URI (RFC 3261 §22.4).
func (c *challenges) sign(o *outgoing, ch *challenge) bool {
	ch.count++
	cred, err := digest.Digest(ch.Challenge, digest.Options{Method: o.r.Method, URI: o.r.URI, Count: ch.count,
		Username: o.r.Credentials.Username, Password: o.r.Credentials.Password,
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(o.r.Body)), nil }})
	if err != nil {
		return false
	}
	value := cred.String()
	if !oneLine(value) {
		return false
	}
	o.authorization = Field{ch.field, value}
	return true
}
