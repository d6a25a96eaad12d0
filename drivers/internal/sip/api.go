package sip

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Claim says which requests a handler takes: a method, for SUBSCRIBE, NOTIFY
// and PUBLISH an event package, and a part of the Request-URIs (nil: all of
// them). Match sees the user part unescaped and the host in lower case.
type Claim struct {
	Method  string
	Event   string
	Match   func(user, host string) bool
	Accept  []string // body types, for Accept in the answer to OPTIONS
	Options []string // option tags of Require that the handler honours
}

// Handler answers one request: it calls in.Respond before it returns. A
// handler that returns without, or panics, has the endpoint answer 500. The
// context ends with the endpoint, with a CANCEL, or after half a minute.
type Handler func(ctx context.Context, in *Incoming)

// Incoming is a request as it arrived. Nobody changes it. From, To, Call-ID,
// CSeq and Via were there, once each where the RFC says so, or it would not
// have come this far.
type Incoming struct {
	Method    string
	URI       URI // the Request-URI, whose scheme is sip or sips
	From, To  Address
	CallID    string
	CSeq      uint32
	Event     string // event type of the Event header, "" without
	EventID   string // its id parameter
	Header    Header // every field as it came, unfolded, long names
	Body      []byte
	Source    netip.AddrPort
	Local     netip.AddrPort // where the sender can reach this endpoint
	Transport string         // "udp", "tcp", "tls"
	Arrived   time.Time
	// Respond sends a response. After the first final one it returns ErrAnswered.
	Respond func(Reply) error
}

// FromTag and ToTag are the tags of the dialog, as the sender sees it.
func (in *Incoming) FromTag() string { return in.From.Params["tag"] }

// ToTag is empty for a request outside a dialog.
func (in *Incoming) ToTag() string { return in.To.Params["tag"] }

// Expires is the Expires header; false when there is none or it is no number.
// Numbers beyond 2^32-1 count as that (RFC 3261 §20.19).
func (in *Incoming) Expires() (time.Duration, bool) {
	return Seconds(in.Header.Get("Expires"))
}

// Reply is a response to send.
type Reply struct {
	Status      int
	Reason      string // the usual phrase when empty
	ToTag       string // of the dialog; a stable one is made when empty
	Contact     string // header value, such as "<sip:pilotlight@10.0.0.2:5060>"
	Header      Header // more fields
	ContentType string
	Body        []byte
}

// Request is a request to send. Only Method and URI have no default.
type Request struct {
	Method string
	URI    string // Request-URI
	// Target is where to send it, "sip:10.0.0.5:5060;transport=tcp". Empty: the
	// first Route, else URI. Without a transport parameter a small request goes
	// by UDP and one of more than 1,300 octets by TCP (RFC 3261 §18.1.1), falling
	// back to UDP when nobody listens there; transport=udp keeps it on UDP. A host
	// name is looked up by RFC 3263, and whoever is not there, or says 503, is passed
	// over for the next.
	Target         string
	From, To       string // URI or name-addr, without tag
	FromTag, ToTag string
	CallID         string
	CSeq           uint32   // 1 when 0; digest adds to it, see Response.CSeq
	Route          []string // name-addrs, first hop first
	MaxForwards    int      // 70 when 0
	// ContactUser puts Contact: <sip:ContactUser@our address> into it.
	ContactUser string
	Event       string
	Accept      []string
	Expires     *time.Duration // nil: no header
	Header      Header         // more fields
	ContentType string
	Body        []byte
	Credentials Credentials
	// Timeout bounds the exchange, all retries with credentials included.
	// 0: 32 s (64*T1). The context's own deadline counts too.
	Timeout time.Duration
}

// Credentials answer a digest challenge. They never print.
type Credentials struct{ Username, Password string }

// String hides the password.
func (c Credentials) String() string { return "credentials of " + c.Username }

// GoString hides the password.
func (c Credentials) GoString() string { return c.String() }

// LogValue hides the password.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText hides the password.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Response is the final response to a Request, with what the dialog needs to
// know of the request as it went out.
type Response struct {
	Status    int
	Reason    string
	Header    Header
	Body      []byte
	RTT       time.Duration // from the last transmission begun anew to the final response
	Source    netip.AddrPort
	Local     netip.AddrPort
	Transport string
	CallID    string
	FromTag   string
	ToTag     string
	CSeq      uint32
}

// OK reports a 2xx.
func (r *Response) OK() bool { return r.Status/100 == 2 }

// RetryAfter is the Retry-After header (RFC 3261 §20.33).
func (r *Response) RetryAfter() (time.Duration, bool) {
	return Seconds(r.Header.Get("Retry-After"))
}

// Expires is the Expires header.
func (r *Response) Expires() (time.Duration, bool) {
	return Seconds(r.Header.Get("Expires"))
}

// MinExpires is the Min-Expires header of a 423.
func (r *Response) MinExpires() (time.Duration, bool) {
	return Seconds(r.Header.Get("Min-Expires"))
}

// Sequence holds the CSeq order of one direction of a dialog. The zero value
// takes any first number. It is not for concurrent use: requests of one
// Call-ID come one after the other anyway.
type Sequence struct {
	last uint32
	any  bool
}

// Accept reports whether a request with this number is in order, and moves on.
// A lower number than one seen before gets a 500 (RFC 3261 §12.2.2); gaps are
// fine; an equal one on a new transaction is no progress either.
func (s *Sequence) Accept(n uint32) bool {
	if s.any && n <= s.last {
		return false
	}
	s.last, s.any = n, true
	return true
}

// Error is why a request got no final response. It is a net.Error.
type Error struct {
	Method, Target string
	Err            error
	timeout        bool
}

func (e *Error) Error() string {
	return fmt.Sprintf("sip %s %s: %v", e.Method, e.Target, e.Err)
}

// Unwrap gives the cause, such as syscall.ECONNREFUSED.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports that nobody answered in time.
func (e *Error) Timeout() bool { return e.timeout }

// Temporary belongs to net.Error.
func (e *Error) Temporary() bool { return e.timeout }
