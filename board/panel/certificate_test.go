package panel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
)

// outside is a panel that listens where others reach it, and is not run.
func outside(t *testing.T, dir, listen string) *Panel {
	t.Helper()
	book, err := access.New(access.Config{Drawer: &drawer{kept: map[string][]byte{}}, Sessions: &drawer{kept: map[string][]byte{}}, Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := book.AddUser(context.Background(), "alice", access.Viewer, "correct horse"); err != nil {
		t.Fatal(err)
	}
	p, err := newPanel(t, dir, Config{Listen: listen}, book)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// leafOf is the certificate that p would show.
func leafOf(t *testing.T, p *Panel) *x509.Certificate {
	t.Helper()
	config, err := p.tlsConfig()
	if err != nil || config == nil {
		t.Fatal(config, err)
	}
	return config.Certificates[0].Leaf
}

func TestACertificateIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	first := leafOf(t, outside(t, dir, "10.1.2.3:8443"))
	if first.VerifyHostname("10.1.2.3") != nil || first.VerifyHostname("localhost") != nil || !first.NotBefore.Before(time.Unix(1600000000, 0)) {
		t.Errorf("certificate of %v %v from %v", first.DNSNames, first.IPAddresses, first.NotBefore)
	}
	if again := leafOf(t, outside(t, dir, "10.1.2.3:8443")); !again.Equal(first) {
		t.Error("another certificate after a restart")
	}
	if anywhere := leafOf(t, outside(t, dir, ":8443")); !anywhere.Equal(first) {
		t.Error("another certificate though every address is listened at")
	}
	for _, name := range []string{"panel.crt", "panel.key"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
}

func TestACertificateIsMadeAnewWhereTheOldOneNoLongerServes(t *testing.T) {
	spoil := func(name, text string) func(*testing.T, string, *ecdsa.PrivateKey) {
		return func(t *testing.T, dir string, _ *ecdsa.PrivateKey) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	ends := func(in time.Duration) func(*testing.T, string, *ecdsa.PrivateKey) {
		return func(t *testing.T, dir string, key *ecdsa.PrivateKey) {
			c := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Now().Add(in), DNSNames: []string{"box.example.com"}}
			der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			spoil("panel.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))(t, dir, key)
		}
	}
	nothing := func(*testing.T, string, *ecdsa.PrivateKey) {}
	for _, c := range []struct {
		name, listen      string
		happens           func(*testing.T, string, *ecdsa.PrivateKey)
		trusted           bool
		sameCert, sameKey bool
	}{
		{"nothing happened", "box.example.com:8443", nothing, true, true, true},
		{"the panel moved to another address", "10.9.9.9:8443", nothing, true, false, true},
		{"it ends in a week", "box.example.com:8443", ends(7 * 24 * time.Hour), true, false, true},
		{"it has ended", "box.example.com:8443", ends(-time.Hour), true, false, true},
		{"it ends in a year", "box.example.com:8443", ends(365 * 24 * time.Hour), true, true, true},
		{"it has ended, if the clock were right", "box.example.com:8443", ends(-time.Hour), false, true, true},
		{"half a certificate", "box.example.com:8443", spoil("panel.crt", "-----BEGIN CERT"), true, false, true},
		{"half a key", "box.example.com:8443", spoil("panel.key", "half a k"), true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			before := leafOf(t, outside(t, dir, "box.example.com:8443"))
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "panel.crt"), filepath.Join(dir, "panel.key"))
			if err != nil {
				t.Fatal(err)
			}
			c.happens(t, dir, pair.PrivateKey.(*ecdsa.PrivateKey))
			if kept, err := tls.LoadX509KeyPair(filepath.Join(dir, "panel.crt"), filepath.Join(dir, "panel.key")); err == nil {
				before = kept.Leaf
			}
			p := outside(t, dir, c.listen)
			p.deps.Clock = trueClock{wrong: !c.trusted}
			after := leafOf(t, p)
			if after.Equal(before) != c.sameCert {
				t.Errorf("the same certificate: %v, want %v", after.Equal(before), c.sameCert)
			}
			if same := after.PublicKey.(*ecdsa.PublicKey).Equal(before.PublicKey); same != c.sameKey {
				t.Errorf("the same key: %v, want %v", same, c.sameKey)
			}
			if st, err := os.Stat(filepath.Join(dir, "panel.key")); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("panel.key: %v %v", st, err)
			}
		})
	}
}

func TestTLSMakesTheCookieSecure(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err1 := selfSigned("b", "127.0.0.1:0", private)
	key, err2 := keyPEM(private)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := TLS{filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")}
	if err := errors.Join(os.WriteFile(files.CertFile, cert, 0o600), os.WriteFile(files.KeyFile, key, 0o600)); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(c *Config, _ *Deps) { c.TLS = files })
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	c := &http.Client{Transport: transport}
	res, body := askWith(t, c, "POST", h.url+"/api/v1/login", `{"token":"`+h.token(access.Viewer, "")+`"}`)
	if res.StatusCode != 200 || !strings.HasPrefix(h.url, "https://") || res.ProtoMajor != 2 || !res.Cookies()[0].Secure {
		t.Errorf("%s %d %s %v", h.url, res.StatusCode, body, res.Cookies())
	}
	shown := fmt.Sprintf(`"certificate":{"sha256":"%X","until":"2049-12-31T23:59:59Z"}`, sha256.Sum256(res.TLS.PeerCertificates[0].Raw))
	if _, body := askWith(t, c, "GET", h.url+"/api/v1/status", ""); !strings.Contains(body, shown) {
		t.Errorf("no %s in %s", shown, body)
	}
}
