package presence

import (
	"errors"
	"fmt"
	"strings"
)

// Presentity is whose presence it is, as a normalised URI (RFC 2778; RFC 4479
// §2): a person, "sip:alice@example.com"; a line, "sip:1001@example.com"; or a
// device that nobody owns, "sip:SEP0011AABBCCDD@example.com".
type Presentity string

// maxURI bounds what is taken for a presentity from a wire.
const maxURI = 256

// ParsePresentity normalises a SIP or pres URI: the scheme becomes "sip", the
// domain lower-case, port and parameters go. The user part is kept as it is
// (RFC 3261 §19.1.4: it is case-sensitive).
func ParsePresentity(uri string) (Presentity, error) {
	s := strings.TrimSpace(uri)
	if len(s) > maxURI {
		return "", fmt.Errorf("presentity: longer than %d bytes", maxURI)
	}
	scheme, rest, found := strings.Cut(s, ":")
	if !found {
		return "", fmt.Errorf("presentity %q: no scheme, want sip:user@domain", s)
	}
	switch strings.ToLower(scheme) {
	case "sip", "sips", "pres":
	default:
		return "", fmt.Errorf("presentity %q: scheme %q, want sip, sips or pres", s, scheme)
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, ";")
	user, host, found := strings.Cut(rest, "@")
	if !found || user == "" || host == "" {
		return "", fmt.Errorf("presentity %q: want sip:user@domain", s)
	}
	user, _, _ = strings.Cut(user, ":") // a password has no place in an address of record
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if err := checkPart(user); err != nil {
		return "", fmt.Errorf("presentity %q: user: %w", s, err)
	}
	if err := checkPart(host); err != nil {
		return "", fmt.Errorf("presentity %q: domain: %w", s, err)
	}
	return Presentity("sip:" + user + "@" + strings.ToLower(host)), nil
}

// At makes the presentity of a user, a number or a device at a domain, all of
// which come from the configuration or from a checked document.
func At(user, domain string) Presentity {
	return Presentity("sip:" + user + "@" + strings.ToLower(domain))
}

// User is the part before the @.
func (p Presentity) User() string {
	user, _, _ := strings.Cut(strings.TrimPrefix(string(p), "sip:"), "@")
	return user
}

// Domain is the part behind the @.
func (p Presentity) Domain() string {
	_, domain, _ := strings.Cut(string(p), "@")
	return domain
}

var errForbidden = errors.New("white space, control or delimiter character")

func checkPart(s string) error {
	if s == "" {
		return errors.New("empty")
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("<>\"@", r) {
			return errForbidden
		}
	}
	return nil
}
