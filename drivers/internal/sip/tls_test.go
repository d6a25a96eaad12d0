package sip

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, file: filepath.Join(t.TempDir(), "ca.pem")}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// write makes a certificate and puts it where cfg says.
func (a *authority) write(cfg TLS, change func(*x509.Certificate)) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	c := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cfg.KeyFile: {Type: "PRIVATE KEY", Bytes: keyDER}, cfg.CertFile: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

// files is where a certificate and its key are to be.
func (a *authority) files() TLS {
	dir := a.t.TempDir()
	return TLS{CertFile: filepath.Join(dir, "c.pem"), KeyFile: filepath.Join(dir, "k.pem"), CAFile: a.file}
}

func ofLocalhost(c *x509.Certificate) { c.DNSNames = []string{"localhost"} }

// dialTLS speaks raw octets over TLS.
func (a *authority) dialTLS(e *Endpoint) (*peer, error) {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: wait}, Config: &tls.Config{RootCAs: pool, ServerName: "localhost"}}
	c, err := d.Dial("tcp", e.Addr("tls").String())
	if err != nil {
		return nil, err
	}
	a.t.Cleanup(func() { c.Close() })
	return &peer{a.t, c, true}, nil
}

func (a *authority) mustDial(e *Endpoint) *peer {
	a.t.Helper()
	p, err := a.dialTLS(e)
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

var loopbackTLS = append([]string{"tls:127.0.0.1:0"}, loopback...)

// TestTLSIsServed: a request that came over TLS, its answer, and the requests of
// its dialog go over that very stream, and say so.
func TestTLSIsServed(t *testing.T) {
	a := newAuthority(t)
	cfg := a.files()
	a.write(cfg, ofLocalhost)
	e, _ := atRest(t, Config{Listen: loopbackTLS, TLS: cfg})
	told := make(chan Answer, 1)
	if err := e.Handle(Claim{Method: "SUBSCRIBE", Event: "presence"}, func(_ context.Context, in *Incoming) {
		d, err := NewDialog(in, "ours", "b")
		if err != nil || in.Transport != "tls" {
			t.Errorf("%v by %s", err, in.Transport)
		}
		in.Respond(Reply{Status: 200, ToTag: "ours", Contact: Contact("b", in.Local, in.Transport)})
		e.Send(d, notify(1), func(a Answer) { told <- a })
	}); err != nil {
		t.Fatal(err)
	}
	run(t, e)
	at := e.Addr("tls").String()
	for uri, contact := range map[string]string{"sip:b@example.com": "<sip:b@" + at + ";transport=tls>", "sips:b@example.com": "<sips:b@" + at + ">"} {
		p := a.mustDial(e)
		theirs := "<" + strings.Replace(uri, "b@example.com", "w@"+p.conn.LocalAddr().String(), 1) + ">"
		status, res := p.ask(text("SUBSCRIBE", uri, "Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK"+Random(4)+";rport", "Event: presence", "Contact: "+theirs))
		if status != 200 || headerOf(res, "Contact") != contact {
			t.Errorf("%s: %s", uri, res)
		}
		req := p.receive()
		if !strings.HasPrefix(req, "NOTIFY ") || !strings.HasPrefix(headerOf(req, "Via"), "SIP/2.0/TLS "+at) ||
			strings.Replace(headerOf(req, "Contact"), "alice", "b", 1) != contact {
			t.Errorf("%s: %s", uri, req)
		}
		p.send(respond(req, 200))
		select {
		case got := <-told:
			if got.Status != 200 {
				t.Errorf("%+v", got)
			}
		case <-time.After(wait):
			t.Fatal("never told")
		}
	}
	old := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	if c, err := old.Dial("tcp", at); err == nil {
		c.Close()
		t.Error("TLS 1.1 is taken")
	}
}

// TestWhoTheFarEndMustProveToBe: RFC 5922 §7.
func TestWhoTheFarEndMustProveToBe(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	uri := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		host   string
		why    string // "" is taken
	}{
		"a DNS name":  {ofLocalhost, "localhost", ""},
		"in capitals": {func(c *x509.Certificate) { c.DNSNames = []string{"LocalHost"} }, "localhost", ""},
		"a SIP URI":   {func(c *x509.Certificate) { c.URIs = []*url.URL{uri("sip:localhost")} }, "localhost", ""},
		"a use that is SIP": {func(c *x509.Certificate) {
			ofLocalhost(c)
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, append(c.UnknownExtKeyUsage, sipUse)
		}, "localhost", ""},
		"no use is said":        {func(c *x509.Certificate) { ofLocalhost(c); c.ExtKeyUsage = nil }, "localhost", ""},
		"a common name alone":   {func(c *x509.Certificate) { c.Subject.CommonName = "localhost" }, "localhost", ""},
		"an address":            {func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, "127.0.0.1", ""},
		"another name":          {func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }, "localhost", "is not of localhost, but of example.com"},
		"the URI goes first":    {func(c *x509.Certificate) { ofLocalhost(c); c.URIs = []*url.URL{uri("sip:example.com")} }, "localhost", "but of example.com"},
		"a URI of a user":       {func(c *x509.Certificate) { c.URIs = []*url.URL{uri("sip:bob@localhost")} }, "localhost", "is not of localhost"},
		"a URI of the Web":      {func(c *x509.Certificate) { c.URIs = []*url.URL{uri("https://localhost")} }, "localhost", "is not of localhost"},
		"a name beside others":  {func(c *x509.Certificate) { c.Subject.CommonName = "localhost"; c.DNSNames = []string{"x"} }, "localhost", "but of x"},
		"a wildcard":            {func(c *x509.Certificate) { c.DNSNames = []string{"*"} }, "localhost", "is not of localhost"},
		"a name for an address": {ofLocalhost, "127.0.0.1", "is not of 127.0.0.1"},
		"expired":               {func(c *x509.Certificate) { ofLocalhost(c); c.NotAfter = time.Now().Add(-time.Minute) }, "localhost", "expired"},
		"not yet":               {func(c *x509.Certificate) { ofLocalhost(c); c.NotBefore = time.Now().Add(time.Minute) }, "localhost", "not yet valid"},
		"for clients": {func(c *x509.Certificate) {
			ofLocalhost(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, "localhost", "another use"},
		"another authority's": {nil, "localhost", "unknown authority"},
		"a stream in clear":   {func(*x509.Certificate) {}, "", "no answer in time"},
	} {
		cfg, by := a.files(), a
		if c.change == nil {
			c.change, by = ofLocalhost, other
		}
		by.write(cfg, c.change)
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			t.Fatal(name, err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		limit := wait
		if c.host != "" {
			ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}})
		} else {
			c.host, limit = "localhost", 300*time.Millisecond
		}
		f := farStream(t, ln, always(200))
		e, _ := atRest(t, Config{TLS: TLS{CAFile: a.file}})
		run(t, e)
		_, port, _ := net.SplitHostPort(f.addr)
		for _, target := range []string{"sip:" + c.host + ":" + port + ";transport=tls", "sips:" + c.host + ":" + port} {
			res, err := e.Do(t.Context(), &Request{Method: "OPTIONS", URI: target, Timeout: limit})
			switch {
			case c.why == "" && (err != nil || res.Status != 200 || res.Transport != "tls"):
				t.Errorf("%s: %+v %v", name, res, err)
			case c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)):
				t.Errorf("%s: %+v %v, want %s", name, res, err, c.why)
			}
		}
		if got := f.requests(); c.why == "" && !strings.HasPrefix(headerOf(got[0], "Via"), "SIP/2.0/TLS ") || c.why != "" && len(got) != 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestAStreamIsOnlyForWhoWasProved: the address alone does not make it the other's.
func TestAStreamIsOnlyForWhoWasProved(t *testing.T) {
	a := newAuthority(t)
	cfg := a.files()
	a.write(cfg, ofLocalhost)
	pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	f := farStream(t, ln, always(200))
	e, _ := atRest(t, Config{TLS: TLS{CAFile: a.file}})
	run(t, e)
	_, port, _ := net.SplitHostPort(f.addr)
	for range 2 {
		if _, err := e.Do(t.Context(), &Request{Method: "OPTIONS", URI: "sips:localhost:" + port}); err != nil {
			t.Fatal(err)
		}
		if got := sendWait(t, e, dialogTo("sips:w@localhost:"+port), notify(1)); got.Status != 200 {
			t.Errorf("%+v", got)
		}
	}
	if n := e.Stats().Connections; n != 1 {
		t.Errorf("%d streams to one far end", n)
	}
	if contact := headerOf(f.requests()[1], "Contact"); !strings.HasPrefix(contact, "<sips:alice@127.0.0.1:") || strings.Contains(contact, "transport") {
		t.Errorf("Contact: %s", contact)
	}
	if _, err := e.Do(t.Context(), &Request{Method: "OPTIONS", URI: "sips:" + f.addr}); err == nil {
		t.Error("the stream is taken for somebody else")
	}
	if got := sendWait(t, e, dialogTo("sips:w@"+f.addr), notify(2)); got.Err == nil {
		t.Error("the stream is taken for somebody else in a dialog")
	}
	for _, uri := range []string{"sips:w@" + f.addr + ";transport=udp", "sip:w@" + f.addr + ";transport=sctp"} {
		if _, err := e.Do(t.Context(), &Request{Method: "OPTIONS", URI: uri}); err == nil {
			t.Error(uri, "is sent")
		}
	}
}

// TestWhoDoesNotSpeakTLSCostsLittle: plain SIP and half a handshake at the port
// for TLS; from one source, and too many altogether.
func TestWhoDoesNotSpeakTLSCostsLittle(t *testing.T) {
	a := newAuthority(t)
	cfg := a.files()
	a.write(cfg, ofLocalhost)
	e, _ := atRest(t, Config{Listen: loopbackTLS, TLS: cfg, HalfOpen: 8, PerSource: 6, Greeting: time.Second})
	run(t, e)
	plain := dialPlain(t, e, "127.0.0.1")
	plain.send(text("OPTIONS", "sip:b@example.com"))
	if got := plain.tryReceive(wait); strings.HasPrefix(got, "SIP/2.0 200") {
		t.Errorf("answered in clear: %q", got)
	}
	began := time.Now()
	for i := range 40 {
		p := dialPlain(t, e, []string{"127.0.0.2", "127.0.0.3"}[i%2])
		_, _ = p.conn.Write([]byte{22, 3, 1, 2}) // a handshake begins
	}
	deadline := time.Now().Add(wait)
	for e.Stats().Dropped["connections"] < 32 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := e.Stats().Connections; n > 8 {
		t.Errorf("%d half open", n)
	}
	for _, transport := range []string{"udp", "tcp"} {
		if status, _ := dial(t, e, transport).ask(text("OPTIONS", "sip:b@example.com")); status != 200 {
			t.Errorf("%s: %d meanwhile", transport, status)
		}
	}
	for e.Stats().Connections > 1 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("they are there for %v", took)
	}
	if status, _ := a.mustDial(e).ask(text("OPTIONS", "sip:b@example.com")); status != 200 || e.Stats().Dropped["handshake"] < 9 {
		t.Errorf("%d afterwards, %v", status, e.Stats().Dropped)
	}
	held := a.mustDial(e) // the handshake alone is no greeting
	if !held.ended(wait) {
		t.Error("an idle stream stays")
	}
}

func dialPlain(t *testing.T, e *Endpoint, from string) *peer {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
	c, err := d.Dial("tcp", e.Addr("tls").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t, c, true}
}

// TestANewCertificateIsTakenWithoutARestart, and half a one is not.
func TestANewCertificateIsTakenWithoutARestart(t *testing.T) {
	a := newAuthority(t)
	cfg := a.files()
	e, l := atRest(t, Config{Listen: loopbackTLS, TLS: cfg})
	run(t, e)
	if status, _ := dial(t, e, "udp").ask(text("OPTIONS", "sip:b@example.com")); status != 200 {
		t.Error("no certificate, and no UDP")
	}
	if _, err := a.dialTLS(e); err == nil || !strings.Contains(l.String(), "no such file") {
		t.Errorf("without a certificate: %v\n%s", err, l)
	}
	serial := func() string {
		p, err := a.dialTLS(e)
		if err != nil {
			return err.Error()
		}
		return p.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	until := func(what string, good func(string) bool) string {
		for end := time.Now().Add(wait); ; time.Sleep(50 * time.Millisecond) {
			if s := serial(); good(s) {
				return s
			} else if time.Now().After(end) {
				t.Fatal(what, s)
			}
		}
	}
	number := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	a.write(cfg, ofLocalhost)
	first := until("the first", number)
	a.write(cfg, ofLocalhost)
	second := until("the second", func(s string) bool { return number(s) && s != first })
	if err := os.WriteFile(cfg.KeyFile, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(recheck + 100*time.Millisecond)
	if s := serial(); s != second {
		t.Error("half a key:", s)
	}
}

// TestACertificateIsMadeAndKept where none is configured.
func TestACertificateIsMadeAndKept(t *testing.T) {
	dir := t.TempDir()
	cfg := TLS{CertFile: filepath.Join(dir, "sip.crt"), KeyFile: filepath.Join(dir, "sip.key"), Make: "example.com"}
	leaf := func(domain string) *x509.Certificate {
		cfg.Make = domain
		e, _ := atRest(t, Config{Listen: []string{"tls:127.0.0.1:0"}, TLS: cfg})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		if err := e.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", e.Addr("tls").String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { c.Close(); cancel(); <-done }()
		return c.ConnectionState().PeerCertificates[0]
	}
	first, again, other := leaf("example.com"), leaf("example.com"), leaf("example.org")
	key := func(c *x509.Certificate) *ecdsa.PublicKey { return c.PublicKey.(*ecdsa.PublicKey) }
	if !first.Equal(again) || other.Equal(first) || !key(first).Equal(key(other)) {
		t.Error("made anew, or not")
	}
	for domain, c := range map[string]*x509.Certificate{"example.com": first, "example.org": other, "127.0.0.1": first} {
		if err := proves(c, domain); err != nil {
			t.Error(err)
		}
	}
	for _, file := range []string{cfg.CertFile, cfg.KeyFile} {
		if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", file, st.Mode(), err)
		}
	}
	if cfg.Check() != nil || (TLS{CAFile: cfg.KeyFile}).Check() == nil || !errors.Is(TLS{CertFile: "nowhere"}.Check(), os.ErrNotExist) {
		t.Error("Check")
	}
}
