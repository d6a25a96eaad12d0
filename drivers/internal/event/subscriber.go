package event

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"pilotlight/drivers/internal/sip"
)

// Endpoint is what a subscriber needs of a sip.Endpoint.
type Endpoint interface {
	Do(ctx context.Context, r *sip.Request) (*sip.Response, error)
	Handle(c sip.Claim, h sip.Handler) error
}

// Package is an event package, as a subscriber sees it.
type Package struct {
	Name   string
	Accept []string // body types
}

// DialogPackage is that of RFC 4235.
var DialogPackage = Package{Name: "dialog", Accept: []string{DialogInfoType}}

// Config is one subscription to be made.
type Config struct {
	URI         string // the resource, "sip:1001@example.com"
	Target      string // next hop, "sip:10.0.0.5:5060;transport=tcp"; empty: URI
	From        string // who asks; empty: pilotlight@ our address
	ContactUser string // "pilotlight"
	Accept      []string
	ID          string // id parameter of Event, seldom wanted
	Expires     time.Duration
	Credentials sip.Credentials
	Queue       int // notices that wait to be taken: 32
	// FirstNotice is Timer N: how long a SUBSCRIBE waits for its NOTIFY (RFC 6665
	// §4.1.2.4), 64*T1 = 32 s. Timeout bounds each exchange, and is that too.
	FirstNotice, Timeout time.Duration
}

const timerN = 32 * time.Second

func (c Config) withDefaults(p Package) Config {
	if c.ContactUser == "" {
		c.ContactUser = "pilotlight"
	}
	if c.Expires <= 0 {
		c.Expires = time.Hour
	}
	if len(c.Accept) == 0 {
		c.Accept = p.Accept
	}
	if c.Queue <= 0 {
		c.Queue = 32
	}
	if c.FirstNotice <= 0 {
		c.FirstNotice = timerN
	}
	if c.Timeout <= 0 {
		c.Timeout = timerN
	}
	return c
}

// Subscriber holds the subscriptions to one event package.
type Subscriber struct {
	pkg      Package
	endpoint Endpoint
	log      *slog.Logger

	mu      sync.Mutex
	dialogs map[dialogKey]*Subscription
}

// dialogKey is what a NOTIFY that comes before the 2xx can be told by (RFC 6665
// §4.1.2.4): Call-ID and our own tag.
type dialogKey struct{ callID, localTag string }

// New claims the NOTIFYs of one event package.
func New(p Package, e Endpoint, log *slog.Logger) (*Subscriber, error) {
	s := &Subscriber{pkg: p, endpoint: e, log: log, dialogs: map[dialogKey]*Subscription{}}
	if err := e.Handle(sip.Claim{Method: "NOTIFY", Event: p.Name, Accept: p.Accept}, s.notify); err != nil {
		return nil, fmt.Errorf("event %s: %w", p.Name, err)
	}
	return s, nil
}

// Subscribe makes a subscription: it returns when the notifier has accepted it
// (2xx), or with an error, a *Refusal when it has answered otherwise. The
// first notice comes from Next. The caller closes the subscription.
func (s *Subscriber) Subscribe(ctx context.Context, cfg Config) (*Subscription, error) {
	sub := newSubscription(s, cfg.withDefaults(s.pkg))
	s.mu.Lock()
	s.dialogs[sub.key] = sub
	s.mu.Unlock()
	if err := sub.subscribe(ctx); err != nil {
		sub.forget()
		return nil, err
	}
	return sub, nil
}

// notify takes each NOTIFY of the package (RFC 6665 §4.1.3).
func (s *Subscriber) notify(_ context.Context, in *sip.Incoming) {
	s.mu.Lock()
	sub := s.dialogs[dialogKey{in.CallID, in.ToTag()}]
	s.mu.Unlock()
	if sub == nil || in.EventID != sub.cfg.ID {
		_ = in.Respond(sip.Reply{Status: 481})
		return
	}
	state, ok := ParseState(in.Header.Get("Subscription-State"))
	if !ok {
		_ = in.Respond(sip.Reply{Status: 400, Reason: "No Subscription-State"})
		return
	}
	if err := in.Respond(sip.Reply{Status: sub.take(in, state)}); err != nil {
		s.log.Debug("event: NOTIFY not answered", "peer", in.Source, "err", err)
	}
}

// Status is the state of a subscription (RFC 6665 §4.1.3).
type Status string

// The states; one that is unknown counts as pending.
const (
	Active  Status = "active"
	Pending Status = "pending"
	Ended   Status = "terminated"
)

// Notice is one NOTIFY.
type Notice struct {
	Body        []byte
	ContentType string // lower case, without parameters
	State       Status
	Reason      string        // of Ended: "deactivated", "timeout", …
	RetryAfter  time.Duration // of Ended; 0: not told
	Expires     time.Duration // what is left of the subscription
	CSeq        uint32
}

func contentType(value string) string {
	t, _, _ := strings.Cut(value, ";")
	return strings.ToLower(strings.TrimSpace(t))
}
