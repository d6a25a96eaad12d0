package branch

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"pilotlight/testbench/branch/internal/sipwire"
)

const (
	pidfType        = "application/pidf+xml"
	maxPublications = 100_000
)

// Publication is what the central presence server holds of a presentity.
type Publication struct {
	Body        string
	ContentType string
	ETag        string
	Expires     time.Time
	Changes     int // bodies received: initial publications and modifications
	Live        int // publications that are valid now, under different entity-tags
}

// Published counts requests at the central server by what came of them.
type Published struct {
	Initial, Refresh, Modify, Remove              uint64
	NoMatch, TooBrief, Unavailable, Bad, Expiring uint64
}

// central is an event state compositor for presence (RFC 3903), far away at the
// headquarters. It composes nothing: the last body of a presentity counts.
type central struct {
	b      *Branch
	server *sipwire.Server

	mu         sync.Mutex
	byTag      map[string]*published
	held       map[string]*holding // by presentity
	counts     Published
	retryAfter time.Duration // not zero: 503
	minExpires time.Duration
}

type published struct {
	tag, of string
	until   time.Time
}

type holding struct {
	Publication
	tags map[string]struct{}
}

func newCentral(b *Branch) *central {
	return &central{b: b, byTag: map[string]*published{}, held: map[string]*holding{}}
}

func (c *central) listen(at netip.Addr, port int) (err error) {
	if c.server, err = sipwire.Listen(at.String(), port); err == nil {
		c.server.Serve(c.handle)
	}
	return err
}

func (c *central) handle(m *sipwire.Message, p sipwire.Peer) {
	switch {
	case m.Status != 0 || m.Method == "ACK":
	case m.Method == "PUBLISH":
		p.Reply(m, c.publish(m))
	case m.Method == "OPTIONS":
		ok := sipwire.Answer(m, 200, "OK", sipwire.Token())
		ok.Add("Allow", "OPTIONS, PUBLISH")
		ok.Add("Allow-Events", "presence")
		ok.Add("Accept", pidfType)
		p.Reply(m, ok)
	default:
		no := sipwire.Answer(m, 405, "Method Not Allowed", sipwire.Token())
		no.Add("Allow", "OPTIONS, PUBLISH")
		p.Reply(m, no)
	}
}

// publish follows the steps of RFC 3903 §6.
func (c *central) publish(m *sipwire.Message) *sipwire.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	tag := sipwire.Token()
	refuse := func(count *uint64, status int, reason string, headers ...string) *sipwire.Message {
		*count++
		no := sipwire.Answer(m, status, reason, tag)
		for i := 0; i+1 < len(headers); i += 2 {
			no.Add(headers[i], headers[i+1])
		}
		return no
	}
	if c.retryAfter > 0 {
		return refuse(&c.counts.Unavailable, 503, "Service Unavailable", "Retry-After", seconds(c.retryAfter))
	}
	u, err := sipwire.ParseURI(m.URI)
	if err != nil || u.User == "" {
		return refuse(&c.counts.Bad, 404, "Not Found")
	}
	if event, _, _ := strings.Cut(m.Get("Event"), ";"); !strings.EqualFold(event, "presence") {
		return refuse(&c.counts.Bad, 489, "Bad Event", "Allow-Events", "presence")
	}
	match, hasMatch := m.Get("SIP-If-Match"), m.Has("SIP-If-Match")
	old := c.byTag[match]
	of := "sip:" + u.User + "@" + strings.ToLower(u.Host)
	if hasMatch && (old == nil || old.of != of) {
		return refuse(&c.counts.NoMatch, 412, "Conditional Request Failed")
	}
	expires := defaultExpires
	if n, ok := m.Seconds("Expires"); ok {
		expires = min(time.Duration(n)*time.Second, maxExpires)
	}
	if expires > 0 && expires < c.minExpires {
		return refuse(&c.counts.TooBrief, 423, "Interval Too Brief", "Min-Expires", seconds(c.minExpires))
	}
	if contentType, _, _ := strings.Cut(m.Get("Content-Type"), ";"); len(m.Body) > 0 && !strings.EqualFold(contentType, pidfType) {
		return refuse(&c.counts.Bad, 415, "Unsupported Media Type", "Accept", pidfType)
	}
	if !hasMatch && (len(m.Body) == 0 || expires == 0) {
		return refuse(&c.counts.Bad, 400, "Invalid Initial Publication")
	}
	if len(c.byTag) >= maxPublications {
		return refuse(&c.counts.Unavailable, 503, "Full", "Retry-After", "60")
	}
	ok := sipwire.Answer(m, 200, "OK", tag)
	ok.Add("SIP-ETag", c.store(m, of, old, expires))
	ok.Add("Expires", seconds(expires))
	return ok
}

// store takes an accepted publication and gives it its new entity-tag.
func (c *central) store(m *sipwire.Message, of string, old *published, expires time.Duration) string {
	h := c.held[of]
	if h == nil {
		h = &holding{tags: map[string]struct{}{}}
		c.held[of] = h
	}
	if old != nil {
		c.drop(old)
	}
	tag := sipwire.Token()
	switch {
	case expires == 0:
		c.counts.Remove++
		return tag
	case old == nil:
		c.counts.Initial++
	case len(m.Body) == 0:
		c.counts.Refresh++
	default:
		c.counts.Modify++
	}
	if len(m.Body) > 0 {
		h.Body, h.ContentType = string(m.Body), m.Get("Content-Type")
		h.Changes++
	}
	pub := &published{tag: tag, of: of, until: time.Now().Add(expires)}
	h.ETag, h.Expires = tag, pub.until
	h.tags[tag] = struct{}{}
	c.byTag[tag] = pub
	c.b.agenda.At(pub.until, func(time.Time) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.byTag[tag] == pub {
			c.counts.Expiring++
			c.drop(pub)
		}
	})
	return tag
}

// drop forgets an entity-tag; with its last one a presentity has no state.
func (c *central) drop(p *published) {
	delete(c.byTag, p.tag)
	h := c.held[p.of]
	if h == nil {
		return
	}
	delete(h.tags, p.tag)
	if len(h.tags) == 0 {
		h.ETag, h.Expires = "", time.Time{}
	}
}

func seconds(d time.Duration) string { return fmt.Sprint(int(d / time.Second)) }

// CentralState is what the central server holds of a presentity, such as
// "sip:alice@example.com"; false when nothing is valid. The last body and the
// number of changes are told in either case.
func (b *Branch) CentralState(presentity string) (Publication, bool) {
	c := b.central
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held[presentity]
	if h == nil {
		return Publication{}, false
	}
	p := h.Publication
	p.Live = len(h.tags)
	return p, p.Live > 0
}

// CentralCounts is what the central server has been asked so far.
func (b *Branch) CentralCounts() Published {
	b.central.mu.Lock()
	defer b.central.mu.Unlock()
	return b.central.counts
}

// CentralBusy makes the central server refuse with 503 and Retry-After; 0 ends it.
func (b *Branch) CentralBusy(retryAfter time.Duration) {
	b.central.mu.Lock()
	defer b.central.mu.Unlock()
	b.central.retryAfter = retryAfter
}

// CentralMinExpires makes it refuse shorter publications with 423.
func (b *Branch) CentralMinExpires(d time.Duration) {
	b.central.mu.Lock()
	defer b.central.mu.Unlock()
	b.central.minExpires = d
}

// CentralForget makes it lose all it holds, as a restart would: every
// entity-tag is answered with 412 from then on.
func (b *Branch) CentralForget() {
	b.central.mu.Lock()
	defer b.central.mu.Unlock()
	clear(b.central.byTag)
	clear(b.central.held)
}
