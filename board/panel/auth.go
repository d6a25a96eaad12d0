package panel

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"pilotlight/agent/access"
)

// A door is one way in, and what is taken for granted there.
type door struct {
	name     string
	listener net.Listener
	open     bool            // only this machine can come in: reading is open
	admin    bool            // only the agent's own user can: everyone is admin
	secure   bool            // it speaks TLS
	hosts    map[string]bool // names under which an open door is asked for, besides local ones
}

// A visitor is who asks, and how that is known.
type visitor struct {
	access.Principal
	known  bool   // by a token, a session or the admin socket
	cookie string // of the session, if that is how
}

const cookieName = "pilotlight_session"

// visitorKey is where the visitor is in a request's context.
type visitorKey struct{}

// sourceKey is where the request comes from, for the brake on guessing.
type sourceKey struct{}

func visitorOf(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorKey{}).(visitor)
	return v
}

// identify tells who asks. The error is that of a credential that was shown and
// is wrong; a cookie that has ended is as none.
func (p *Panel) identify(d *door, r *http.Request) (visitor, error) {
	if d.admin {
		return visitor{Principal: access.Principal{Role: access.Admin}, known: true}, nil
	}
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return visitor{}, errors.New("the Authorization header holds no Bearer token")
		}
		who, err := p.deps.Book.Authenticate(r.Context(), strings.TrimSpace(secret))
		if err != nil {
			return visitor{}, errors.New("the token is not known, or revoked")
		}
		return visitor{Principal: who, known: true}, nil
	}
	if c, err := r.Cookie(cookieName); err == nil {
		if who, err := p.deps.Book.Session(r.Context(), c.Value); err == nil {
			return visitor{who, true, c.Value}, nil
		}
	}
	if d.open && d.asked(r.Host) {
		return visitor{Principal: access.Principal{Role: access.Viewer}}, nil
	}
	return visitor{}, nil
}

// asked reports whether a request that shows no credential asked for this door
// by a name that only this machine has. A page from elsewhere that makes its own
// name point here (DNS rebinding) asks by that name.
func (d *door) asked(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return localName(host) || d.hosts[host]
}

// may decides, and gives the problem to answer with where the answer is no.
func (v visitor) may(need access.Role) *problem {
	switch {
	case v.May(need):
		return nil
	case v.known:
		return newProblem(http.StatusForbidden, "this needs the role "+need.String()+"; yours is "+v.Role.String())
	}
	return v.unknown("this needs the role " + need.String() + ": sign in, or send a token")
}

// mayFor decides whether something may be said in user's name.
func (v visitor) mayFor(user string) *problem {
	switch {
	case v.known && v.MayActFor(user):
		return nil
	case v.known:
		return newProblem(http.StatusForbidden, "this needs the role operator, or to be "+user)
	}
	return v.unknown("acting needs a token or a sign-in, on this machine too")
}

func (visitor) unknown(detail string) *problem { return newProblem(http.StatusUnauthorized, detail) }

// guard wraps a handler that needs a role.
func (p *Panel) guard(need access.Role, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if no := visitorOf(r.Context()).may(need); no != nil {
			no.write(w)
			return
		}
		next(w, r)
	}
}

// source is the address a request comes from.
func source(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return host
}

// sessionCookie is the cookie of a browser that signed in; no value ends it.
func sessionCookie(value string, secure bool) string {
	c := &http.Cookie{
		Name: cookieName, Value: value, Path: "/", HttpOnly: true, Secure: secure,
		SameSite: http.SameSiteStrictMode, MaxAge: int(access.SessionMax.Seconds()),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c.String()
}
