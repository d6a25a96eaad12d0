package sip

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The examples of RFC 7616 §3.9.1 and §3.9.2, the latter as erratum 4897 has
// it: the RFC's own digits are those of a truncated SHA-512.
func TestTheDigestsOfRFC7616(t *testing.T) {
	mufasa := `Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=%s, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",` +
		` nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="%s", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
	jason := `Digest username="%s", realm="api@example.org", uri="/doe.json", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",` +
		` nc=00000001, cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", qop=auth, response="%s", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", userhash=true`
	hash := algorithms[0].digest("Jäsøn Doe", "api@example.org")
	if hash != "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b" {
		t.Error("user hash", hash)
	}
	for _, tt := range []struct{ field, user, password string }{
		{fmt.Sprintf(mufasa, "MD5", "8ca523f5e9506fed4657c9700eebdbec"), "Mufasa", "Circle of Life"},
		{fmt.Sprintf(mufasa, "SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"), "Mufasa", "Circle of Life"},
		{fmt.Sprintf(jason, hash, "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"), "Jäsøn Doe", "Secret, or not?"},
	} {
		c, err := parseCredential(tt.field)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := algorithmOf(c.algorithm)
		c.user = tt.user
		if got := a.response(c, "GET", tt.password); got != c.response {
			t.Errorf("%s: %s, want %s", c.algorithm, got, c.response)
		}
	}
}

func newTestGuard() *Guard {
	return NewGuard("branch", []byte("secret"), func(user string) (string, bool) {
		p, ok := map[string]string{"alice": "pw", `o"neil`: "x"}[user]
		return p, ok
	})
}

func asked(authorization ...string) *Incoming {
	in := &Incoming{Method: "PUBLISH", Source: netip.MustParseAddrPort("10.0.0.7:5060")}
	for _, a := range authorization {
		in.Header.Add("Authorization", a)
	}
	return in
}

func nonceIn(challenge Header) string {
	_, after, _ := strings.Cut(challenge[0].Value, `nonce="`)
	nonce, _, _ := strings.Cut(after, `"`)
	return nonce
}

// signed is a credential of alice's for a nonce.
func signed(nonce, algorithm string, nc int, password string) string {
	c := &credential{user: "alice", realm: "branch", nonce: nonce, uri: "sip:alice@example.com", cnonce: "c", qop: "auth", nc: fmt.Sprintf("%08x", nc)}
	a, _ := algorithmOf(algorithm)
	return fmt.Sprintf(`Digest username="alice", realm="branch", nonce="%s", uri="%s", algorithm=%s, cnonce="c", qop=auth, nc=%s, response="%s"`,
		nonce, c.uri, algorithm, c.nc, a.response(c, "PUBLISH", password))
}

func TestAGuardAsksOncePerAlgorithmTheBestFirst(t *testing.T) {
	_, challenge, ok := newTestGuard().Check(asked())
	if ok || len(challenge) != 3 {
		t.Fatalf("%v %v", ok, challenge)
	}
	for i, name := range []string{"SHA-512-256", "SHA-256", "MD5"} { // RFC 8760 §2.3
		v := challenge[i].Value
		if challenge[i].Name != "WWW-Authenticate" || !strings.HasPrefix(v, `Digest realm="branch", nonce="`) || !strings.Contains(v, "algorithm="+name+",") || !strings.Contains(v, `qop="auth"`) || strings.Contains(v, "stale") {
			t.Error(v)
		}
	}
}

func TestAGuardTakesWhoKnowsThePassword(t *testing.T) {
	g := newTestGuard()
	later := time.Duration(0)
	g.now = func() time.Time { return time.Now().Add(later) }
	_, challenge, _ := g.Check(asked())
	nonce := nonceIn(challenge)
	if _, again, _ := g.Check(asked()); nonceIn(again) == nonce {
		t.Error("a nonce is given twice")
	}
	elsewhere := asked(signed(nonce, "MD5", 1, "pw"))
	elsewhere.Source = netip.MustParseAddrPort("10.0.0.8:5060")
	otherMethod := asked(signed(nonce, "MD5", 1, "pw"))
	otherMethod.Method = "SUBSCRIBE"
	other := strings.NewReplacer(`realm="branch"`, `realm="other"`)
	steps := []struct {
		name      string
		in        *Incoming
		ok, stale bool
	}{
		{"MD5", asked(signed(nonce, "MD5", 1, "pw")), true, false},
		{"the same count again", asked(signed(nonce, "MD5", 1, "pw")), false, true},
		{"the same count by another algorithm", asked(signed(nonce, "SHA-256", 1, "pw")), false, true},
		{"SHA-256", asked(signed(nonce, "SHA-256", 3, "pw")), true, false},
		{"overtaken", asked(signed(nonce, "SHA-512-256", 2, "pw")), true, false},
		{"overtaken, again", asked(signed(nonce, "SHA-512-256", 2, "pw")), false, true},
		{"far ahead", asked(signed(nonce, "MD5", 500, "pw")), true, false},
		{"far behind", asked(signed(nonce, "MD5", 400, "pw")), false, true},
		{"wrong password", asked(signed(nonce, "MD5", 501, "no")), false, false},
		{"another algorithm's digest", asked(strings.Replace(signed(nonce, "MD5", 501, "pw"), "algorithm=MD5", "algorithm=SHA-256", 1)), false, false},
		{"unknown algorithm", asked(strings.Replace(signed(nonce, "MD5", 501, "pw"), "algorithm=MD5", "algorithm=SHA3", 1)), false, false},
		{"unknown user", asked(strings.Replace(signed(nonce, "MD5", 501, ""), "alice", "mallory", 1)), false, false},
		{"another method", otherMethod, false, false},
		{"another's nonce", asked(signed("bm90IG91cnM", "MD5", 501, "pw")), false, true},
		{"from another address", elsewhere, false, true},
		{"other scheme", asked("Basic YWxpY2U6cHc="), false, false},
		{"other realm", asked(other.Replace(signed(nonce, "MD5", 501, "pw"))), false, false},
		{"other realm too", asked("Basic YWxpY2U6cHc=", other.Replace(signed(nonce, "MD5", 501, "pw")), signed(nonce, "MD5", 501, "pw")), true, false},
		{"no qop", asked(strings.Replace(signed(nonce, "MD5", 502, "pw"), "qop=auth, ", "", 1)), false, false},
		{"no algorithm is MD5", asked(strings.Replace(signed(nonce, "MD5", 502, "pw"), "algorithm=MD5, ", "", 1)), true, false},
	}
	for _, s := range steps {
		user, challenge, ok := g.Check(s.in)
		if ok != s.ok || ok != (user == "alice") || ok == (challenge != nil) || !ok && strings.Contains(challenge[0].Value, "stale=true") != s.stale {
			t.Errorf("%s: %q %v %v", s.name, user, challenge, ok)
		}
	}
	later = nonceLife + time.Second
	if _, challenge, ok := g.Check(asked(signed(nonce, "MD5", 600, "pw"))); ok || !strings.Contains(challenge[0].Value, "stale=true") {
		t.Error("an old nonce is taken")
	}
	if _, _, ok := newTestGuard().Check(asked(signed(nonce, "MD5", 601, "pw"))); ok {
		t.Error("another guard's nonce is taken")
	}
	for _, m := range []string{"ACK", "CANCEL"} {
		if user, challenge, ok := g.Check(&Incoming{Method: m}); !ok || user != "" || challenge != nil {
			t.Errorf("%s is challenged", m)
		}
	}
}

// Too many nonces in use: all are stale, and none can be used twice.
func TestAGuardsMemoryIsBounded(t *testing.T) {
	g := newTestGuard()
	now := time.Duration(0)
	g.now = func() time.Time { return g.began.Add(now) }
	_, challenge, _ := g.Check(asked())
	first := nonceIn(challenge)
	g.Check(asked(signed(first, "MD5", 1, "pw")))
	for i := range maxNonces + 10 {
		now = time.Duration(i) * time.Microsecond
		g.mu.Lock()
		g.window(nonceID{0: 0, 15: byte(i), 14: byte(i >> 8), 13: byte(i >> 16)}, now).take(1)
		g.mu.Unlock()
	}
	if n := len(g.uses[0]) + len(g.uses[1]); n > maxNonces {
		t.Errorf("%d nonces", n)
	}
	for nc := range 3 {
		if _, _, ok := g.Check(asked(signed(first, "MD5", nc, "pw"))); ok {
			t.Errorf("count %d is taken after its use was forgotten", nc)
		}
	}
	now = 10 * nonceLife
	_, challenge, _ = g.Check(asked())
	if _, _, ok := g.Check(asked(signed(nonceIn(challenge), "MD5", 1, "pw"))); !ok || len(g.uses[0])+len(g.uses[1]) != 1 {
		t.Errorf("%v; %d nonces are remembered", ok, len(g.uses[0])+len(g.uses[1]))
	}
}

func TestOurClientPassesOurGuard(t *testing.T) {
	server, _ := atRest(t, Config{})
	g := newTestGuard()
	_ = server.Handle(Claim{Method: "PUBLISH", Event: "presence"}, func(_ context.Context, in *Incoming) {
		user, challenge, ok := g.Check(in)
		if !ok {
			_ = in.Respond(Reply{Status: 401, Header: challenge})
			return
		}
		_ = in.Respond(Reply{Status: 200, Header: Header{{"X-User", user}}})
	})
	run(t, server)
	e := clientEndpoint(t)
	for _, transport := range []string{"udp", "tcp"} {
		r := &Request{Method: "PUBLISH", URI: "sip:alice@example.com", Target: "sip:" + server.Addr(transport).String() + ";transport=" + transport, Event: "presence", Credentials: Credentials{"alice", "pw"}}
		for range 3 {
			if res := do(t, e, r); res.Status != 200 || res.Header.Get("X-User") != "alice" {
				t.Errorf("%s: %+v", transport, res)
			}
		}
		r.Credentials.Password = "wrong"
		if res := do(t, e, r); res.Status != 401 {
			t.Errorf("wrong password: %d", res.Status)
		}
	}
}

func BenchmarkGuard(b *testing.B) {
	for _, a := range algorithms {
		b.Run(a.name, func(b *testing.B) {
			g := newTestGuard()
			_, challenge, _ := g.Check(asked())
			in := make([]*Incoming, b.N)
			for i := range in {
				in[i] = asked(signed(nonceIn(challenge), a.name, i+1, "pw"))
			}
			reportCPU(b, func() {
				for i := range in {
					if _, _, ok := g.Check(in[i]); !ok {
						b.Fatal("refused")
					}
				}
			})
		})
	}
}
