// Package central is the way to the central presence server: one driver for
// each uplink of the configuration. This version speaks SIP (kind sip): an event
// publication agent (RFC 3903) that publishes each presentity as PIDF.
//
// A [Driver] takes documents from its lane, newest change first, a window of
// them in flight and never two of one presentity (RFC 3903 §4: no new PUBLISH
// before the last is answered). What the far side answered 2xx is acknowledged
// to the lane; its entity-tag goes into the drawer, so that a restart modifies
// what stands there instead of putting another beside it.
//
// The uplink's mode comes from real answers and, while there are none, from
// OPTIONS. An island sends nothing but that probe. When the far side is back the
// driver waits at random inside the return window, so that a fleet whose WAN
// came back at once doesn't arrive at once. Who asks for patience (503,
// Retry-After) is left alone that long by the whole lane.
package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/drivers/internal/sip"
)

// Entry is one item of the section uplinks.
type Entry struct {
	// Short name, shown on the panel.
	Name string `yaml:"name"`
	// sip; nats and xmpp are for later versions.
	Kind string `yaml:"kind"`
	// sip: where the presence server takes SIP, such as sip:10.0.0.5:5060;transport=tcp. ${ENV} is expanded.
	Target string `yaml:"target"`
	// sip: user for digest authentication; empty: none.
	Username string `yaml:"username"`
	// sip: file with that user's password, relative to the configuration.
	PasswordFile string `yaml:"password_file"`
	// sip: how long a publication is asked to stand without a refresh; empty: 1h.
	Expires time.Duration `yaml:"expires"`
	// Longest random wait after an outage before the uplink is caught up; empty: 90s; 0s: none.
	ReturnWindow *time.Duration `yaml:"return_window"`
	// What is published: person, line, device (those that nobody owns); empty: person and line.
	Publish []presence.Kind `yaml:"publish"`
	// sip: remove the publications at a regular stop instead of leaving them until they expire.
	Withdraw bool `yaml:"withdraw"`
	// nats: address of the server.
	URL string `yaml:"url"`
	// nats: file with the credentials, relative to the configuration.
	CredentialsFile string `yaml:"credentials_file"`
	// nats: file with the authority that signed the server's certificate.
	TLSCAFile string `yaml:"tls_ca_file"`
	// xmpp: host and port of the server's component listener.
	Address string `yaml:"address"`
	// xmpp: domain of the component.
	Domain string `yaml:"domain"`
	// xmpp: file with the component's secret.
	SecretFile string `yaml:"secret_file"`
}

// Built reports whether this version has a driver for the uplink's kind.
func (e Entry) Built() bool { return e.Kind != "nats" && e.Kind != "xmpp" }

// The defaults of an Entry.
const (
	defaultExpires      = time.Hour
	defaultReturnWindow = 90 * time.Second
	minExpires          = time.Minute
)

// Check reports what is wrong with e, and what would be right. The path names
// the key.
func (e Entry) Check(report func(path, format string, args ...any)) {
	if e.Name == "" || strings.ContainsAny(e.Name, "/ \t\n") {
		report("name", "uplink name %q: want a short name without blanks or slashes", e.Name)
	}
	switch e.Kind {
	case "sip":
	case "nats", "xmpp":
		return // a later version's: it is for Build to leave it out, and to say so
	default:
		report("kind", "uplink %s: kind %q, want sip", e.Name, e.Kind)
		return
	}
	if err := sip.CheckTarget(e.Target); err != nil {
		report("target", "uplink %s: %v", e.Name, err)
	}
	if e.Expires != 0 && e.Expires < minExpires {
		report("expires", "uplink %s: expires %v, want %v or more", e.Name, e.Expires, minExpires)
	}
	if e.ReturnWindow != nil && *e.ReturnWindow < 0 {
		report("return_window", "uplink %s: return_window %v, want 0s or more", e.Name, *e.ReturnWindow)
	}
	if (e.Username == "") != (e.PasswordFile == "") {
		report("username", "uplink %s: username and password_file come together", e.Name)
	}
	for i, k := range e.Publish {
		if k != presence.KindPerson && k != presence.KindLine && k != presence.KindDevice {
			report(fmt.Sprintf("publish[%d]", i), "uplink %s: publish %q, want person, line or device", e.Name, k)
		}
	}
}

// Config is what a driver works by, files read and defaults resolved.
type Config struct {
	Name         string
	Kind         string
	Target       string
	Credentials  sip.Credentials
	Expires      time.Duration
	ReturnWindow time.Duration
	Publish      []presence.Kind
	Withdraw     bool
}

// Resolve checks e and reads its password. secrets reads the file that a path
// names, relative to the configuration.
func (e Entry) Resolve(secrets func(path string) (string, error)) (Config, error) {
	if !e.Built() {
		return Config{}, fmt.Errorf("uplink %s: this version has no uplink of kind %s yet; sip is there", e.Name, e.Kind)
	}
	var faults []error
	e.Check(func(_, format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) })
	if len(faults) > 0 {
		return Config{}, errors.Join(faults...)
	}
	c := Config{
		Name: e.Name, Kind: e.Kind, Target: e.Target, Expires: e.Expires, ReturnWindow: defaultReturnWindow,
		Publish: e.Publish, Withdraw: e.Withdraw, Credentials: sip.Credentials{Username: e.Username},
	}
	if c.Expires == 0 {
		c.Expires = defaultExpires
	}
	if e.ReturnWindow != nil {
		c.ReturnWindow = *e.ReturnWindow
	}
	if len(c.Publish) == 0 {
		// A device that nobody owns is the branch's own matter: no one at the centre has it as a contact.
		c.Publish = []presence.Kind{presence.KindPerson, presence.KindLine}
	}
	if e.PasswordFile != "" {
		pw, err := secrets(e.PasswordFile)
		if err != nil {
			return Config{}, fmt.Errorf("uplink %s: password_file: %w", e.Name, err)
		}
		c.Credentials.Password = pw
	}
	return c, nil
}

// Lane is what the far side has not acknowledged: relay.Lane.
type Lane interface {
	Open(ctx context.Context) error
	Latest(of presence.Presentity) presence.Document
	Next(ctx context.Context, max int) ([]presence.Document, error)
	Ack(ctx context.Context, docs ...presence.Document) error
	Return(docs ...presence.Document)
	Again(of presence.Presentity)
	Pending() int
	Close()
}

// Drawer keeps the entity-tags: the ledger's drawer "etags".
type Drawer interface {
	Each(prefix string, f func(key string, value []byte) error) error
	PutSoft(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
}

// Sender sends a request and waits for its final response: sip.Endpoint.
type Sender interface {
	Do(ctx context.Context, r *sip.Request) (*sip.Response, error)
}

// Reporter is told how the uplink is: relay.Uplinks.
type Reporter interface{ Report(relay.Status) }

// Driver is one uplink.
type Driver struct {
	c     Config
	lane  Lane
	tags  Drawer
	sip   Sender
	board Reporter
	log   *slog.Logger
	pace  pace
	rand  func() float64 // from 0 to 1
}

// New returns a driver at rest. Its Run may be called again after it has returned.
func New(c Config, lane Lane, tags Drawer, s Sender, board Reporter, log *slog.Logger) (*Driver, error) {
	if c.Kind != "sip" {
		return nil, fmt.Errorf("uplink %s: this version has no uplink of kind %q", c.Name, c.Kind)
	}
	if c.Target == "" || c.Expires <= 0 || c.ReturnWindow < 0 {
		return nil, fmt.Errorf("uplink %s: target, expires and return_window are needed", c.Name)
	}
	d := &Driver{c: c, lane: lane, tags: tags, sip: s, board: board, pace: standard, rand: rand.Float64,
		log: log.With("driver", "central", "uplink", c.Name, "peer", c.Target)}
	return d, nil
}

// published reports whether documents of this kind go up.
func (d *Driver) published(k presence.Kind) bool { return slices.Contains(d.c.Publish, k) }

// pace is how fast the driver goes.
type pace struct {
	window  int           // requests in flight
	publish time.Duration // a PUBLISH without an answer for so long counts as missed
	answer  time.Duration // its answer is waited for so long
	idle    time.Duration // without an answer for so long, probe
	again   time.Duration // pause between probes while answers are missing
	island  time.Duration // pause between probes on an island
	probe   time.Duration // deadline of a probe
	backoff time.Duration // the first pause after a 5xx without Retry-After; doubles
	status  time.Duration // how often the status is reported while the mode stays
}

// standard finds an island in at most 7 s + 3 x 2 s + 2 x 250 ms = 13.5 s.
var standard = pace{
	window: 16, publish: 8 * time.Second, answer: 32 * time.Second,
	idle: 7 * time.Second, again: 250 * time.Millisecond, island: 2 * time.Second, probe: 2 * time.Second,
	backoff: time.Second, status: time.Second,
}

// maxPause bounds what a Retry-After can do to us.
const maxPause = time.Hour
