package sip

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	siplib "github.com/emiago/sipgo/sip"
)

// Whatever arrives: no panic, bounded results, and what is let through to
// handlers has its mandatory fields and can be answered.
func FuzzGuard(f *testing.F) {
	f.Add([]byte(text("OPTIONS", "sip:b@example.com")))
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP [::1] : 5060 ; branch = z9hG4bK1\r\nCSeq: 1  OPTIONS\r\n\r\n"))
	if dir, list := tortureCases(f); dir != "" {
		for _, c := range list {
			if b, err := os.ReadFile(filepath.Join(dir, c.File)); err == nil {
				f.Add(b)
			}
		}
	}
	e, _ := atRest(f, Config{})
	_ = e.Handle(Claim{Method: "MESSAGE"}, func(context.Context, *Incoming) {})
	source := netip.MustParseAddrPort("127.0.0.1:5060")
	f.Fuzz(func(t *testing.T, b []byte) {
		if !sane(b) {
			return
		}
		m, fault := readDatagram(b)
		if m.status != 0 || m.method == "" {
			_, _ = topVia(m.header)
			return
		}
		x, judged := examine(m)
		if judged == nil && fault == nil {
			if x.via.value == "" || m.header.Get("From") == "" || m.header.Get("To") == "" || m.header.Get("Call-ID") == "" {
				t.Fatal("let through without mandatory fields")
			}
			if len(m.body) > len(b) || len(m.header) > maxFields {
				t.Fatal("grew")
			}
			_, _ = e.claims.find(m, x)
			_ = e.serverKey(m, x, "udp")
		}
		if x.via.value == "" {
			return
		}
		// The answer is one well-formed message: sipgo's parser reads it back,
		// with the header lines that we meant and no others.
		out := e.answer(m, x.via, source, Reply{Status: 400}).render()
		if got := bytes.Count(out, crlf); got > len(m.header.Values("Via"))+8 {
			t.Fatalf("%d lines in the answer:\n%q", got, out)
		}
		if judged == nil && x.via.transport == "UDP" {
			if _, err := siplib.NewParser().ParseSIP(out); err != nil {
				t.Logf("sipgo cannot read %q: %v", out, err)
			}
		}
	})
}

// Addresses and URIs of strangers: no panic, and a URI is found again in what was read.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{`"A \" B" <sip:a@b;x=y?h=i>;tag=1 ; q = "a;b"`, "sip:a@[::1]:5060;lr", "<tel:+1>", "*", `a<`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err == nil && a.URI == "" {
			t.Fatal("an address without URI")
		}
		if u, err := ParseURI(s); err == nil && u.Raw != s {
			t.Fatal("URI changed")
		}
	})
}

// The look at a response before parsing sees what parsing sees: the same
// branch, method and status, or nothing.
func FuzzMeet(f *testing.F) {
	mark := string(ticket{3, 0x0123456789abcdef}.branch(nil))
	for _, via := range []string{"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=" + mark + ";rport=1;received=10.0.0.2", "v :\r\n SIP/2.0/TCP [::1];rport\r\n ;branch = " + mark} {
		f.Add([]byte("SIP/2.0 503 No\r\n" + via + "\r\nTo: <sip:a@b>;tag=1\r\nCSeq: 1 NOTIFY\r\n\r\n"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !sane(b) || !isResponse(b) {
			return
		}
		m, ours := meet(b)
		whole, fault := readDatagram(b)
		if !ours || m.method == "" || fault != nil {
			return
		}
		v, err := topVia(whole.header)
		_, method, err2 := parseCSeq(whole.header.Get("CSeq"))
		if err != nil || err2 != nil {
			return
		}
		if got, ok := ticketOf(v.branch); ok && (got != m.ticket || method != m.method || whole.status != m.status) {
			t.Fatalf("%+v, and parsed: %v %s %d", m, got, method, whole.status)
		}
	})
}

// Authorization fields of strangers: no panic, nobody gets in, and a challenge
// is one line.
func FuzzCredential(f *testing.F) {
	f.Add(signed("AAAA", "MD5", 1, "no"))
	f.Add(`digest UserName = "a\"b" ,realm="branch", nc="00000001",, qop = "AUTH", cnonce=x, nonce=y, uri=sip:z,response=`)
	f.Add("Basic YTpi")
	g := newTestGuard()
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := parseCredential(s); err == nil && (c.user == "" || c.nonce == "" || c.count == 0) {
			t.Fatalf("half a credential: %+v", c)
		}
		_, challenge, ok := g.Check(asked(s))
		if ok || len(challenge) != len(algorithms) || challenge.check() != nil {
			t.Fatalf("%v %v", ok, challenge)
		}
	})
}
