package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

const goodPIDF = `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com">` +
	`<tuple id="t1"><status><basic>open</basic></status></tuple></presence>`

// bomb grows to a thousand million laughs where entities are expanded.
var bomb = func() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><!DOCTYPE presence [<!ENTITY a0 "ha">`)
	for i := range 9 {
		fmt.Fprintf(&b, `<!ENTITY a%d "%s">`, i+1, strings.Repeat(fmt.Sprintf("&a%d;", i), 10))
	}
	b.WriteString(`]>` + strings.Replace(strings.TrimPrefix(goodPIDF, `<?xml version="1.0" encoding="UTF-8"?>`), "</tuple>", "<note>&a9;</note></tuple>", 1))
	return b.String()
}()

// swap is an edit of octets.
func swap(old, by string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, by, 1) }
}

// length sets another Content-Length.
func length(to string) func(string) string {
	return func(s string) string { return contentLength.ReplaceAllString(s, "Content-Length: "+to) }
}

var contentLength = regexp.MustCompile(`Content-Length: [0-9]+`)

// alien is one request that nobody may send so, and what the RFCs answer.
type alien struct {
	name   string
	method string               // PUBLISH if empty
	to     func(*peers.Request) // what is asked
	octets func(string) string  // and how it is spoilt
	want   int                  // 0: silence
	field  string               // the answer must have it
	only   string               // a transport
}

var aliens = []alien{
	{name: "Content-Length beyond the datagram (RFC 3261 §18.3)", octets: length("9999"), want: 400, only: "udp"},
	{name: "Content-Length short of the body: what is left is no XML", octets: length("40"), want: 400, only: "udp"},
	{name: "Content-Length negative", octets: length("-1"), want: 400},
	{name: "Content-Length in words", octets: length("many"), want: 400},
	{name: "Content-Length of 2^64", octets: length("18446744073709551616"), want: 400},
	{name: "Content-Length twice, of two minds", octets: swap("Content-Length: ", "Content-Length: 3\r\nContent-Length: "), want: 400},
	{name: "two tags in To (RFC 3261 §7.3.1: a parameter comes once)", octets: swap("To: <sip:alice@example.com>", "To: <sip:alice@example.com>;tag=one;tag=two"), want: 400},
	{name: "two To", octets: swap("To: ", "To: <sip:bob@example.com>;tag=one\r\nTo: "), want: 400},
	{name: "no From", octets: swap("From: ", "X-From: "), want: 400},
	{name: "CSeq of another method", octets: swap("1 PUBLISH", "1 SUBSCRIBE"), want: 400},
	{name: "CSeq of 2^32", octets: swap("CSeq: 1 ", "CSeq: 4294967296 "), want: 400},
	{name: "a method that nobody knows", octets: func(s string) string { return strings.ReplaceAll(s, "PUBLISH", "PUBLISHED") }, want: 501},
	{name: "SIP/3.0", octets: swap(" SIP/2.0\r\nVia", " SIP/3.0\r\nVia"), want: 505},
	{name: "a scheme that nobody knows", to: func(r *peers.Request) { r.URI = "soap:alice@example.com" }, want: 416},
	{name: "an extension that is required", to: func(r *peers.Request) { r.More = []string{"Require: nothingSupportsThis"} }, want: 420, field: "Unsupported"},

	{name: "XML that is not well-formed", to: body("<presence><tuple></presence>"), want: 400},
	{name: "XML cut short", to: body(goodPIDF[:len(goodPIDF)-12]), want: 400},
	{name: "another namespace", to: body(strings.Replace(goodPIDF, "ns:pidf", "ns:fdip", 1)), want: 400},
	{name: "an entity bomb", to: body(bomb), want: 400},
	{name: "an entity from a file", to: body(strings.Replace(strings.Replace(goodPIDF, "?>", `?><!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]>`, 1),
		"</tuple>", "<note>&x;</note></tuple>", 1)), want: 400},
	{name: "ten thousand levels of XML", to: body(strings.Replace(goodPIDF, "</presence>", strings.Repeat("<x>", 10_000), 1)), want: 400},
	{name: "a body that is not UTF-8", to: body(strings.Replace(goodPIDF, "</tuple>", "<note>\xff\xfe</note></tuple>", 1)), want: 400},
	{name: "a body of 70,000 octets", to: body(goodPIDF + strings.Repeat(" ", 70_000)), want: 413, only: "tcp"},
	{name: "a head of 70,000 octets", octets: swap("Event: ", "Subject: "+strings.Repeat("long ", 14_000)+"\r\nEvent: "), only: "tcp"},
	{name: "a body of another type", to: func(r *peers.Request) { r.Type = "text/plain" }, want: 415, field: "Accept"},
	{name: "a coded body", to: func(r *peers.Request) { r.More = []string{"Content-Encoding: gzip"} }, want: 415, field: "Accept-Encoding"},
	{name: "neither body nor tag", to: func(r *peers.Request) { r.Body, r.Type = "", "" }, want: 400},
	{name: "a tag that was never given", to: func(r *peers.Request) { r.More = []string{"SIP-If-Match: never-given"} }, want: 412},
	{name: "two tags to match", to: func(r *peers.Request) { r.More = []string{"SIP-If-Match: one, two"} }, want: 400},
	{name: "for no one", to: func(r *peers.Request) { r.URI = "sip:nobody@example.com" }, want: 404},
	{name: "at another domain", to: func(r *peers.Request) { r.URI = "sip:alice@example.net" }, want: 404},
	{name: "of another package", to: func(r *peers.Request) { r.Event = "weather" }, want: 489, field: "Allow-Events"},
	{name: "without Event", to: func(r *peers.Request) { r.Event = "" }, want: 489, field: "Allow-Events"},
	{name: "Expires of a second", to: func(r *peers.Request) { r.Expires = "1" }, want: 423, field: "Min-Expires"},
	{name: "Expires of -1", to: func(r *peers.Request) { r.Expires = "-1" }, want: 400},

	{name: "no one is watched", method: "SUBSCRIBE", to: func(r *peers.Request) { r.URI = "sip:nobody@example.com" }, want: 404},
	{name: "in a dialog that is not", method: "SUBSCRIBE", octets: swap("To: <sip:alice@example.com>", "To: <sip:alice@example.com>;tag=gone"), want: 481},
	{name: "two tags in To", method: "SUBSCRIBE", octets: swap("To: <sip:alice@example.com>", "To: <sip:alice@example.com>;tag=one;tag=two"), want: 400},
	{name: "without Contact", method: "SUBSCRIBE", octets: swap("Contact: ", "X-Contact: "), want: 400},
	{name: "a Contact that is no address", method: "SUBSCRIBE", octets: swap("Contact: <sip:watcher", "Contact: <<sip:watcher"), want: 400},
	{name: "nothing of what is accepted", method: "SUBSCRIBE", to: func(r *peers.Request) { r.More = []string{"Accept: text/html"} }, want: 406},
	{name: "of another package", method: "SUBSCRIBE", to: func(r *peers.Request) { r.Event = "weather" }, want: 489, field: "Allow-Events"},
	{name: "a subscription to who watches somebody else", method: "SUBSCRIBE", to: func(r *peers.Request) { r.Event, r.From = "presence.winfo", "sip:bob@example.com" }, want: 403},

	{name: "rubbish", octets: func(string) string { return strings.Repeat("\x00\x01rubbish\r\n", 40) }, only: "udp"},
	{name: "an answer that nobody waits for", octets: func(s string) string { return swap("PUBLISH sip:alice@example.com SIP/2.0", "SIP/2.0 200 OK")(s) }},
}

func body(b string) func(*peers.Request) { return func(r *peers.Request) { r.Body = b } }

// hostileServer takes PUBLISH and SUBSCRIBE from 127.0.0.1 as a peer, and from
// elsewhere by digest.
func hostileServer(t *testing.T) (*product.Agent, string) {
	t.Helper()
	addr := fmt.Sprint("127.0.0.1:", product.FreePort(t))
	pw := filepath.Join(writeFiles(t, map[string]string{"pw": "correct horse\n"}), "pw")
	return product.Start(t, product.Options{YAML: fmt.Sprintf(`
branch: {id: lyon-12, name: Lyon, domain: example.com}
data_dir: @DATA@
panel: {listen: "@PANEL@"}
sip:
  listen: ["udp:%s", "tcp:%s"]
  peers: [{name: bench, address: 127.0.0.1/32, domains: [example.com], may: [subscribe, publish]}]
  accounts: [{user: alice, password_file: %q}]
people: [{user: alice}, {user: bob}]
`, addr, addr, pw)}), addr
}

// TestHostileRequestsChangeNothing: each gets the RFC's answer, nothing stands
// afterwards that did not before, and the next good request is served.
func TestHostileRequestsChangeNothing(t *testing.T) {
	a, addr := hostileServer(t)
	for _, transport := range []string{"udp", "tcp"} {
		for _, h := range aliens {
			if h.only != "" && h.only != transport {
				continue
			}
			t.Run(strings.TrimSpace(transport+" "+h.method+" "+h.name), func(t *testing.T) {
				before, counted := stands(a), refusals(t, a)
				h.try(t, addr, transport)
				if after := stands(a); after != before {
					t.Errorf("there is now %s, and was %s", after, before)
				}
				if after := refusals(t, a); after.sum <= counted.sum {
					t.Errorf("no counter of refusals moved: %v, and %v before", after, counted)
				}
			})
		}
	}
	if refusals(t, a).families == 0 {
		t.Error("/metrics has no counter of requests that were refused")
	}
	goodIsServed(t, a, addr)
	if log := a.Log(); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		t.Error("something panicked")
	}
}

// stands is what a request could change.
func stands(a *product.Agent) string {
	return fmt.Sprint(a.Metric("pilotlight_publications"), " publications, ", a.Metric(`pilotlight_subscriptions{package="presence"}`), " and ",
		a.Metric(`pilotlight_subscriptions{package="presence.winfo"}`), " subscriptions, alice ", a.Presence("alice").Availability)
}

// counted is what /metrics says of refusals.
type counted struct {
	families int
	sum      float64
}

// refusals adds up the counters that are of what was refused or dropped.
func refusals(t *testing.T, a *product.Agent) (c counted) {
	t.Helper()
	resp, err := http.Get(a.URL + "/metrics")
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	for _, m := range refusal.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		must(t, err)
		c.families++
		c.sum += n
	}
	return c
}

var refusal = regexp.MustCompile(`(?m)^pilotlight_[a-z_]*(?:refus|reject|drop|garbled|invalid)[a-z_]*_total(?:\{.*\})? ([0-9.e+]+)$`)

// try sends it once.
func (h alien) try(t *testing.T, addr, transport string) {
	t.Helper()
	l := peers.Dial(t, transport, addr, "")
	r := peers.Request{Method: "PUBLISH", URI: "sip:alice@example.com", From: "sip:alice@example.com", Event: "presence", Expires: "600", Type: "application/pidf+xml", Body: goodPIDF}
	if h.method == "SUBSCRIBE" {
		r.Method, r.Type, r.Body = h.method, "", ""
	}
	if h.to != nil {
		h.to(&r)
	}
	octets, branch := r.Octets(l)
	if h.octets != nil {
		octets = h.octets(octets)
	}
	patience := soon
	if h.want == 0 {
		patience = 200 * time.Millisecond
	}
	is, answered := l.Ask(t, octets, branch, patience)
	switch {
	case h.want == 0 && answered:
		t.Errorf("answered %d %s, want silence", is.Status, is.Reason)
	case h.want != 0 && !answered:
		t.Errorf("no answer, want %d", h.want)
	case is.Status != h.want:
		t.Errorf("answered %d %s, want %d", is.Status, is.Reason, h.want)
	case h.field != "" && is.Header.Get(h.field) == "":
		t.Errorf("%d without %s", is.Status, h.field)
	}
}

// TestExpiresBeyondAllBounds: at most 2^32-1 seconds may be asked for (RFC 3261
// §20.19); more counts as much, and all of that is cut to what is given (EV-04).
func TestExpiresBeyondAllBounds(t *testing.T) {
	_, addr := hostileServer(t)
	for _, method := range []string{"SUBSCRIBE", "PUBLISH"} {
		for _, asked := range []string{"4294967295", "4294967296", "99999999999999999999999999999999"} {
			l := peers.Dial(t, "udp", addr, "")
			r := peers.Request{Method: method, URI: "sip:alice@example.com", From: "sip:alice@example.com", Event: "presence", Expires: asked}
			if method == "PUBLISH" {
				r.Type, r.Body = "application/pidf+xml", goodPIDF
			}
			octets, branch := r.Octets(l)
			is, _ := l.Ask(t, octets, branch, soon)
			if given, err := strconv.Atoi(is.Header.Get("Expires")); is.Status != 200 || err != nil || given < 3600 || given > 86400 {
				t.Errorf("%s, Expires: %s: %d, Expires: %q", method, asked, is.Status, is.Header.Get("Expires"))
			}
		}
	}
}

// goodIsServed: after all of that.
func goodIsServed(t *testing.T, a *product.Agent, addr string) {
	t.Helper()
	p := peers.Publish(t, addr, "sip:alice@example.com", "presence")
	if status, err := p.Send(600, "application/pidf+xml", goodPIDF); status != 200 {
		t.Fatal("a good PUBLISH afterwards:", status, err)
	}
	c := peers.NewCrowd(t, addr, "udp", "presence", 1, func(int) string { return "sip:alice@example.com" })
	must(t, c.Subscribe(1))
	a.Until(soon, "the watcher is told what was published", func() bool {
		is, err := readPIDF(c.Seats[0].Heard().Body())
		return err == nil && is.Basic == "open"
	})
	if d := a.Presence("alice"); d.Availability != "available" {
		t.Errorf("alice is %s", d.Availability)
	}
}

// TestDigestIsNotReplayed: a password is asked for; credentials count once; those
// of a nonce that is not good any more are stale, and no refusal of the password.
func TestDigestIsNotReplayed(t *testing.T) {
	a, addr := hostileServer(t)
	l := peers.Dial(t, "udp", addr, "127.0.0.2")
	publish := func(of string, credentials ...string) peers.Answer {
		t.Helper()
		uri := "sip:" + of + "@example.com"
		octets, branch := peers.Request{Method: "PUBLISH", URI: uri, From: uri, Event: "presence", Expires: "600", Type: "application/pidf+xml",
			Body: strings.ReplaceAll(goodPIDF, "alice", of), More: credentials}.Octets(l)
		is, ok := l.Ask(t, octets, branch, soon)
		if !ok {
			t.Fatal("no answer")
		}
		return is
	}
	asked := publish("alice")
	nonce := offered(t, asked)
	good := authorization("alice", "correct horse", nonce, "sip:alice@example.com", 1)
	for _, c := range []struct {
		name, of, credentials string
		want                  int
		stale                 bool
	}{
		{"a wrong password", "alice", authorization("alice", "battery staple", nonce, "sip:alice@example.com", 1), 401, false},
		{"the right one", "alice", good, 200, false},
		{"the same again", "alice", good, 401, true},
		{"the next count", "alice", authorization("alice", "correct horse", nonce, "sip:alice@example.com", 2), 200, false},
		{"an older count", "alice", good, 401, true},
		{"for somebody else", "bob", authorization("alice", "correct horse", nonce, "sip:bob@example.com", 3), 403, false},
		{"a user who is not there", "alice", authorization("mallory", "correct horse", nonce, "sip:alice@example.com", 4), 401, false},
		{"a nonce that was never given", "alice", authorization("alice", "correct horse", "AAAA"+nonce[4:], "sip:alice@example.com", 1), 401, true},
		{"no digest at all", "alice", "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==", 401, false},
	} {
		is := publish(c.of, c.credentials)
		if stale := strings.Contains(strings.Join(is.Header["Www-Authenticate"], " "), "stale=true"); is.Status != c.want || stale != c.stale {
			t.Errorf("%s: %d, stale %v; want %d, %v", c.name, is.Status, stale, c.want, c.stale)
		}
	}
	if n := a.Metric("pilotlight_publications"); n != "2" {
		t.Errorf("%s publications, and two requests were good", n)
	}
	a.Kill()
	a.Again()
	a.Ready()
	is := publish("alice", authorization("alice", "correct horse", nonce, "sip:alice@example.com", 9))
	if is.Status != 401 || !slices.ContainsFunc(is.Header["Www-Authenticate"], func(c string) bool { return strings.Contains(c, "stale=true") }) {
		t.Errorf("a nonce of the life before: %d %v", is.Status, is.Header["Www-Authenticate"])
	}
	if is := publish("alice", authorization("alice", "correct horse", offered(t, is), "sip:alice@example.com", 1)); is.Status != 200 {
		t.Errorf("and with a new one: %d", is.Status)
	}
}

// offered is the nonce of a challenge for SHA-256.
func offered(t *testing.T, is peers.Answer) string {
	t.Helper()
	for _, c := range is.Header["Www-Authenticate"] {
		if m := nonceOf.FindStringSubmatch(c); m != nil && strings.Contains(c, "algorithm=SHA-256") {
			return m[1]
		}
	}
	t.Fatalf("%d %v: no challenge for SHA-256", is.Status, is.Header)
	return ""
}

var nonceOf = regexp.MustCompile(`nonce="([^"]+)"`)

// authorization is RFC 7616 §3.4 for a PUBLISH, written for this test.
func authorization(user, password, nonce, uri string, count int) string {
	hash := func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	nc := fmt.Sprintf("%08x", count)
	response := hash(hash(user+":example.com:"+password) + ":" + nonce + ":" + nc + ":0a4f113b:auth:" + hash("PUBLISH:"+uri))
	return fmt.Sprintf(`Authorization: Digest username=%q, realm="example.com", nonce=%q, uri=%q, response=%q, algorithm=SHA-256, cnonce="0a4f113b", qop=auth, nc=%s`,
		user, nonce, uri, response, nc)
}
