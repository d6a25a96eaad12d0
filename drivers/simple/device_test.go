package simple

import (
	"strings"
	"testing"
	"time"

	"net/netip"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/pidf"
	"pilotlight/drivers/internal/sip"
)

// seenAt observes a phone at an address, with its lines.
func seenAt(t testing.TB, s *server, device, address string, reach presence.ReachOutcome, lines ...string) {
	t.Helper()
	misses := 0
	if reach == presence.Silent {
		misses = 5
	}
	if err := s.ledger.Observe(t.Context(), presence.Observation{Source: "phone/web", Device: device, Seen: time.Now(), TTL: time.Hour, Facts: presence.Facts{
		Identity: &presence.Identity{Address: netip.MustParseAddr(address), Lines: lines},
		Reach:    &presence.Reach{Outcome: reach, Misses: misses, Via: "web"}, Calls: &presence.Calls{Exact: true},
	}}); err != nil {
		t.Fatal(err)
	}
}

// Without digest a device may PUBLISH only for its own lines, from its own observed
// address, over TCP.
func TestADevicePublishesForItsOwnLines(t *testing.T) {
	const hers, shared, twin1, twin2 = "SEP0011AABBCC01", "SEP0011AABBCC02", "SEP0011AABBCC03", "SEP0011AABBCC04"
	s := newServer(t, func(s *server) { s.c.Peers, s.c.Trusted = nil, []netip.Prefix{s.cidr("127.0.0.0/8")} })
	seenAt(t, s, hers, "127.0.0.21", presence.Answered, "1001")
	seenAt(t, s, shared, "127.0.0.22", presence.Answered, "1002", "1500")
	seenAt(t, s, twin1, "127.0.0.23", presence.Answered, "1600")
	seenAt(t, s, twin2, "127.0.0.23", presence.Answered, "1601")
	seenAt(t, s, "SEP0011AABBCC05", "127.0.0.25", presence.Silent, "1700")
	s.until("all are known", func() bool {
		known := true
		_ = s.driver.now.get().do(t.Context(), func() {
			for _, of := range []presence.Presentity{"sip:1500@example.com", "sip:1600@example.com", "sip:1700@example.com"} {
				w := s.driver.now.get().of[of]
				known = known && w != nil && w.known && w.doc.Devices[0].Address.IsValid()
			}
		})
		return known
	})
	pub := func(uri, etag string) request {
		r := request{method: "PUBLISH", uri: uri, event: "presence", kind: pidf.ContentType, body: pidfOf(uri, "open", "busy")}
		if etag != "" {
			r.header = "SIP-If-Match: " + etag + "\r\n"
		}
		return r
	}
	for _, c := range []struct {
		name, from, uri string
		status          int
	}{
		{"her line", "127.0.0.21", "sip:1001@example.com", 200},
		{"the line's owner", "127.0.0.21", alice, 200},
		{"somebody else", "127.0.0.21", "sip:bob@example.com", 403},
		{"somebody else's line", "127.0.0.21", "sip:1002@example.com", 403},
		{"a line nobody owns", "127.0.0.22", "sip:1500@example.com", 200},
		{"a line of bob's that it carries", "127.0.0.22", "sip:1002@example.com", 200},
		{"from another address", "127.0.0.29", "sip:1001@example.com", 403},
		{"from an address that two have", "127.0.0.23", "sip:1600@example.com", 403},
		{"from where it does not answer", "127.0.0.25", "sip:1700@example.com", 403},
		{"for nobody", "127.0.0.21", "sip:nobody@example.com", 403},
		{"for a list", "127.0.0.21", everybody, 403},
		{"for itself as a device", "127.0.0.21", "sip:" + hers + "@example.com", 403},
	} {
		p := newStream(s, "1001", c.from)
		p.send(pub(c.uri, ""))
		m := p.response()
		if m.status != c.status {
			t.Errorf("%s: %s, want %d", c.name, m.line, c.status)
		}
		if m.status == 200 {
			p.refused(200, pub(c.uri, m.h.Get("Sip-Etag")))
		}
	}
	udp := newPhone(s, "1001")
	udp.refused(403, pub("sip:1001@example.com", ""))
	watcher := newPhone(s, "bob")
	d := watcher.subscribe(request{uri: "sip:1001@example.com"})
	if !strings.Contains(d.first.body, "busy") {
		t.Errorf("%s", d.first.body)
	}
}

// Where there are accounts, what a device may not is a 401; and credentials that
// are brought are what counts.
func TestADeviceAmongAccounts(t *testing.T) {
	s := newServer(t, func(s *server) {
		s.c.Peers = nil
		s.guard = sip.NewGuard("example.com", []byte("secret"), func(string) (string, bool) { return "", false })
	})
	seenAt(t, s, "SEP0011AABBCC01", "127.0.0.21", presence.Answered, "1001")
	s.until("it is known", func() bool {
		known := false
		_ = s.driver.now.get().do(t.Context(), func() {
			w := s.driver.now.get().of["sip:1001@example.com"]
			known = len(w.doc.Devices) > 0 && w.doc.Devices[0].Address.IsValid()
		})
		return known
	})
	p := newStream(s, "1001", "127.0.0.21")
	r := request{method: "PUBLISH", uri: "sip:1001@example.com", event: "presence", kind: pidf.ContentType, body: pidfOf(alice, "open", "busy")}
	p.refused(200, r)
	r.uri = "sip:bob@example.com"
	if m := p.refused(401, r); m.h.Get("Www-Authenticate") == "" {
		t.Errorf("%v", m.h)
	}
	r.uri, r.header = "sip:1001@example.com", `Authorization: Digest username="x", realm="example.com", nonce="y", uri="sip:1001@example.com", response="z"`+"\r\n"
	p.refused(401, r)
}
