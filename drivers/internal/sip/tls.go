package sip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// TLS says by which certificate the endpoint is known, and whom it believes. The
// files are looked at again when they change.
type TLS struct {
	CertFile, KeyFile string // PEM
	CAFile            string // PEM, of who signs for far ends; empty: whom this system believes
	// Make is the domain for which a certificate is made and kept in CertFile and
	// KeyFile, where none is there that serves; empty: none is made.
	Make string
}

const (
	handshakeTime = 5 * time.Second // of an accepted stream
	recheck       = time.Second     // between two looks at the files
)

// Check says what is wrong with the files.
func (t TLS) Check() error {
	if t.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			return fmt.Errorf("certificate %s: %w", t.CertFile, err)
		}
	}
	_, err := t.roots()
	return err
}

// roots is nil for those of the system.
func (t TLS) roots() (*x509.CertPool, error) {
	if t.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", t.CAFile)
	}
	return pool, nil
}

// papers are the certificate and the roots as the files have them now.
type papers struct {
	cfg TLS
	log *slog.Logger

	mu     sync.Mutex
	looked time.Time
	stamps [3]stamp
	pair   *tls.Certificate
	pool   *x509.CertPool
	err    error // of the last reading
}

// stamp tells whether a file is another than before.
type stamp struct {
	size     int64
	modified time.Time
	missing  bool
}

func stampOf(file string) stamp {
	if file == "" {
		return stamp{}
	}
	st, err := os.Stat(file)
	if err != nil {
		return stamp{missing: true}
	}
	return stamp{size: st.Size(), modified: st.ModTime()}
}

// read gives what the files have. Files that can't be read take nothing away: a
// new certificate may be half in its place.
func (p *papers) read() (*tls.Certificate, *x509.CertPool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.looked) < recheck {
		return p.pair, p.pool, p.err
	}
	first := p.looked.IsZero()
	p.looked = now
	stamps := [3]stamp{stampOf(p.cfg.CertFile), stampOf(p.cfg.KeyFile), stampOf(p.cfg.CAFile)}
	if !first && stamps == p.stamps {
		return p.pair, p.pool, p.err
	}
	p.stamps = stamps
	pair, pool, err := p.load()
	if err != nil {
		p.log.Error("sip: tls: what was read before stays in use", "err", err)
		if first {
			p.err = err
		}
		return p.pair, p.pool, p.err
	}
	if pair != nil {
		p.log.Info("sip: tls certificate", "file", p.cfg.CertFile, "until", pair.Leaf.NotAfter)
	}
	p.pair, p.pool, p.err = pair, pool, nil
	return pair, pool, nil
}

func (p *papers) load() (*tls.Certificate, *x509.CertPool, error) {
	pool, err := p.cfg.roots()
	if err != nil || p.cfg.CertFile == "" {
		return nil, pool, err
	}
	pair, err := tls.LoadX509KeyPair(p.cfg.CertFile, p.cfg.KeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s: %w", p.cfg.CertFile, err)
	}
	return &pair, pool, nil
}

var errNoCertificate = errors.New("no certificate: sip.tls.cert_file")

// prepare makes the certificate that is wanted and missing, and reads what there
// is. What fails is said and keeps nobody from UDP and TCP.
func (p *papers) prepare(listen []listenAt) {
	if p.cfg.Make != "" {
		if err := ensureCertificate(p.cfg, listen); err != nil {
			p.log.Error("sip: tls: make a certificate", "err", err)
		}
	}
	_, _, _ = p.read() // which says what is wrong
}

// server is for accepted streams.
func (p *papers) server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, _, err := p.read()
		if err == nil && pair == nil {
			err = errNoCertificate
		}
		return pair, err
	}}
}

// client is for a stream to the domain, which the far end must prove to be by
// the rules of SIP; those of crypto/tls, which are the Web's, are left out.
func (p *papers) client(domain string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error {
		_, pool, err := p.read()
		if err != nil {
			return err
		}
		return trust(cs.PeerCertificates, pool, domain)
	}}
	if _, err := netip.ParseAddr(domain); err != nil {
		cfg.ServerName = domain
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair, _, err := p.read(); err == nil && pair != nil {
			return pair, nil
		}
		return &tls.Certificate{}, nil
	}
	return cfg
}

// trust holds RFC 5922 §7: a chain to somebody whom we believe, and the domain
// that the request is meant for.
func trust(chain []*x509.Certificate, roots *x509.CertPool, domain string) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return err
	}
	if !servesSIP(chain[0]) {
		return errors.New("the certificate is for another use")
	}
	return proves(chain[0], domain)
}

// sipUse is id-kp-sipDomain (RFC 5924 §4).
var sipUse = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 20}

func servesSIP(leaf *x509.Certificate) bool {
	return len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 ||
		slices.ContainsFunc(leaf.ExtKeyUsage, func(u x509.ExtKeyUsage) bool { return u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny }) ||
		slices.ContainsFunc(leaf.UnknownExtKeyUsage, sipUse.Equal)
}

// proves reports whether a certificate is one of the domain (RFC 5922 §7.1, §7.2):
// by a URI sip:domain; if there is none, by a DNS name; if it has no alternative
// names at all, by its common name. Wildcards prove nothing. A target that is
// given by address, of which RFC 5922 says nothing, is proved by that address.
func proves(leaf *x509.Certificate, domain string) error {
	if a, err := netip.ParseAddr(domain); err == nil {
		for _, ip := range leaf.IPAddresses {
			if own, ok := netip.AddrFromSlice(ip); ok && own.Unmap() == a.Unmap() {
				return nil
			}
		}
		return notOf(leaf, domain, nil)
	}
	var names []string
	for _, u := range leaf.URIs {
		if host, ok := sipDomain(u.String()); ok {
			names = append(names, host)
		}
	}
	switch {
	case len(names) > 0:
	case len(leaf.DNSNames) > 0:
		names = leaf.DNSNames
	case len(leaf.URIs)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) == 0:
		names = []string{leaf.Subject.CommonName}
	}
	for _, n := range names {
		if strings.EqualFold(strings.TrimSuffix(n, "."), strings.TrimSuffix(domain, ".")) && !strings.Contains(n, "*") {
			return nil
		}
	}
	return notOf(leaf, domain, names)
}

// sipDomain is the host of a URI of the scheme sip that names no user.
func sipDomain(uri string) (string, bool) {
	u, err := ParseURI(uri)
	return u.Host, err == nil && u.Scheme == "sip" && u.User == ""
}

func notOf(leaf *x509.Certificate, domain string, names []string) error {
	for _, ip := range leaf.IPAddresses {
		names = append(names[:len(names):len(names)], ip.String())
	}
	return fmt.Errorf("the certificate is not of %s, but of %.200s", domain, strings.Join(names, ", "))
}

// shake takes the handshake of an accepted stream. Until it is through the stream
// counts as half open.
func (st *stream) shake() bool {
	conn, ok := st.conn.(*tls.Conn)
	if !ok || !st.accepted {
		return true
	}
	until := time.Now().Add(handshakeTime)
	if st.greeting.Before(until) {
		until = st.greeting
	}
	conn.SetDeadline(until)
	s := st.s
	if err := conn.HandshakeContext(s.ctx); err != nil {
		s.e.count.drop("handshake")
		if !errors.Is(err, net.ErrClosed) && !errors.Is(err, fs.ErrClosed) {
			s.warn("sip: tls handshake", "peer", st.remote, "err", err)
		}
		return false
	}
	conn.SetDeadline(time.Time{})
	s.mu.Lock()
	s.census.shaken(st)
	s.streams[st.far()] = st
	s.mu.Unlock()
	return true
}

// shakeOut begins TLS on a stream that was dialled.
func (s *serving) shakeOut(ctx context.Context, conn net.Conn, domain string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	t := tls.Client(conn, s.e.papers.client(domain))
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return t, nil
}

// proven reports whether a stream may carry a request that is meant for the
// domain: whoever came to us by TLS has shown nothing.
func (st *stream) proven(domain string) bool {
	conn, ok := st.conn.(*tls.Conn)
	if !ok || st.accepted {
		return false
	}
	certs := conn.ConnectionState().PeerCertificates
	return len(certs) > 0 && proves(certs[0], domain) == nil
}
