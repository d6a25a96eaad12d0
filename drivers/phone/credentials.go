package phone

import (
	"net/http"
	"strings"

	"github.com/icholy/digest"
)

// Credentials are the user that Unified CM associates with the phones, or the
// one of a multiplatform phone's own pages.
type Credentials struct {
	User     string
	password string
}

// NewCredentials makes credentials; without a user there are none.
func NewCredentials(user, password string) Credentials { return Credentials{user, password} }

// String hides the password.
func (c Credentials) String() string { return c.User }

// GoString hides the password.
func (c Credentials) GoString() string { return c.User }

// basic is the Authorization of RFC 7617. Unified CM firmware knows no other:
// over http, the password can be read on the wire.
func (c Credentials) basic() string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(c.User, c.password)
	return r.Header.Get("Authorization")
}

// answer is the Authorization that a challenge calls for, or "".
func (c Credentials) answer(challenge, path string) string {
	switch {
	case c.User == "":
		return ""
	case len(challenge) >= 6 && strings.EqualFold(challenge[:6], "digest"):
		ch, err := digest.ParseChallenge(challenge)
		if err != nil {
			return ""
		}
		cred, err := digest.Digest(ch, digest.Options{Method: http.MethodGet, URI: path, Count: 1, Username: c.User, Password: c.password})
		if err != nil {
			return ""
		}
		return cred.String()
	case len(challenge) >= 5 && strings.EqualFold(challenge[:5], "basic"):
		return c.basic()
	}
	return ""
}
