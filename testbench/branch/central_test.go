package branch

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const somePIDF = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"/>`

// publisher is an event publication agent of text.
type publisher struct {
	*wire
	cseq int
}

func (p *publisher) publish(etag, body string, expires int) string {
	p.t.Helper()
	p.cseq++
	headers := []string{"Event: presence", fmt.Sprintf("Expires: %d", expires)}
	if etag != "" {
		headers = append(headers, "SIP-If-Match: "+etag)
	}
	if body != "" {
		headers = append(headers, "Content-Type: application/pidf+xml")
	}
	const alice = "sip:alice@example.com"
	p.send(p.request("PUBLISH", alice, "p", "<"+alice+">", p.cseq, body, headers...))
	return p.next(500 * time.Millisecond)
}

func TestThePublicationLivesByItsEntityTags(t *testing.T) {
	b := start(t, Options{Phones: 1})
	p := &publisher{wire: newWire(t, b.Central())}
	first := p.publish("", somePIDF, 60)
	if status(first) != "200" || header(first, "SIP-ETag") == "" || header(first, "Expires") != "60" {
		t.Fatalf("initial: %q", first)
	}
	if s, live := b.CentralState("sip:alice@example.com"); !live || s.Body != somePIDF || s.Live != 1 || s.Changes != 1 {
		t.Errorf("held: %+v %v", s, live)
	}
	second := p.publish(header(first, "SIP-ETag"), "", 60)
	if status(second) != "200" || header(second, "SIP-ETag") == header(first, "SIP-ETag") {
		t.Errorf("refresh: %q", second)
	}
	if r := p.publish(header(first, "SIP-ETag"), "", 60); status(r) != "412" {
		t.Errorf("an old entity-tag: %q", r)
	}
	third := p.publish(header(second, "SIP-ETag"), strings.Replace(somePIDF, "/>", "></presence>", 1), 60)
	if s, _ := b.CentralState("sip:alice@example.com"); status(third) != "200" || s.Changes != 2 || s.Body == somePIDF {
		t.Errorf("modify: %q, held %+v", third, s)
	}
	if r := p.publish(header(third, "SIP-ETag"), "", 0); status(r) != "200" {
		t.Errorf("remove: %q", r)
	}
	if s, live := b.CentralState("sip:alice@example.com"); live {
		t.Errorf("after the removal: %+v", s)
	}
	want := Published{Initial: 1, Refresh: 1, Modify: 1, Remove: 1, NoMatch: 1}
	if got := b.CentralCounts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestAPublicationExpires(t *testing.T) {
	b := start(t, Options{Phones: 1})
	p := &publisher{wire: newWire(t, b.Central())}
	r := p.publish("", somePIDF, 1)
	eventually(t, "it expires", func() bool { _, live := b.CentralState("sip:alice@example.com"); return !live })
	if r := p.publish(header(r, "SIP-ETag"), "", 60); status(r) != "412" {
		t.Errorf("refreshed too late: %q", r)
	}
}

func TestTheCentralServerRefusesOnDemand(t *testing.T) {
	b := start(t, Options{Phones: 1})
	p := &publisher{wire: newWire(t, b.Central())}
	b.CentralMinExpires(2 * time.Minute)
	if r := p.publish("", somePIDF, 60); status(r) != "423" || header(r, "Min-Expires") != "120" {
		t.Errorf("too brief: %q", r)
	}
	b.CentralBusy(7 * time.Second)
	if r := p.publish("", somePIDF, 600); status(r) != "503" || header(r, "Retry-After") != "7" {
		t.Errorf("busy: %q", r)
	}
	b.CentralBusy(0)
	r := p.publish("", somePIDF, 600)
	b.CentralForget()
	if r := p.publish(header(r, "SIP-ETag"), "", 600); status(r) != "412" {
		t.Errorf("after it forgot: %q", r)
	}
	if r := p.publish("", "", 600); status(r) != "400" {
		t.Errorf("an initial one without a body: %q", r)
	}
}

func TestTheCentralServerIsSilentBehindACutWAN(t *testing.T) {
	b := start(t, Options{Phones: 1})
	p := &publisher{wire: newWire(t, b.Central())}
	must(t, b.CutCentral(true))
	if r := p.publish("", somePIDF, 60); r != "" {
		t.Errorf("cut, and yet: %q", r)
	}
	if n := b.CentralCounts(); n != (Published{}) {
		t.Errorf("cut, and yet counted: %+v", n)
	}
	must(t, b.CutCentral(false))
	if r := p.publish("", somePIDF, 60); status(r) != "200" {
		t.Errorf("mended: %q", r)
	}
}
