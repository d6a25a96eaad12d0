package panel

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// renewal is how long before its end a certificate of our own is made anew.
const renewal = 30 * 24 * time.Hour

// tlsConfig is nil for plain HTTP.
func (p *Panel) tlsConfig() (*tls.Config, error) {
	cert, key := p.config.TLS.CertFile, p.config.TLS.KeyFile
	if cert == "" {
		if p.config.loopback() {
			return nil, nil
		}
		cert, key = filepath.Join(p.deps.DataDir, "panel.crt"), filepath.Join(p.deps.DataDir, "panel.key")
		if err := p.ensureCertificate(cert, key); err != nil {
			return nil, err
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", cert, err)
	}
	shown := StatusCertificate{SHA256: fmt.Sprintf("%X", sha256.Sum256(pair.Certificate[0])), Until: Stamp{pair.Leaf.NotAfter}}
	p.certificate.Store(&shown)
	p.log.Info("panel certificate", "file", cert, "sha256", shown.SHA256, "until", pair.Leaf.NotAfter)
	if trusted, _ := p.deps.Clock.Trusted(); trusted && time.Now().After(pair.Leaf.NotAfter) {
		p.log.Warn("panel certificate has run out: browsers will refuse it", "file", cert, "until", pair.Leaf.NotAfter)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// ensureCertificate makes a certificate unless one is kept that still serves:
// whoever has accepted it once is not asked again. A new one is on the same
// key, so that who pins the key need not pin anew.
func (p *Panel) ensureCertificate(certFile, keyFile string) error {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	var why string
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		why = err.Error()
	default:
		if why = p.outdated(pair.Leaf); why == "" {
			return os.Chmod(keyFile, 0o600)
		}
	}
	if why != "" {
		p.log.Warn("panel certificate is made anew", "file", certFile, "why", why)
	}
	key, err := p.ensureKey(keyFile)
	if err != nil {
		return err
	}
	cert, err := selfSigned(p.deps.Branch.ID, p.config.Listen, key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	return replaceFile(certFile, cert)
}

// outdated says why a certificate of our own no longer serves, or "". No
// decision is taken on a wall clock that is not trusted.
func (p *Panel) outdated(leaf *x509.Certificate) string {
	if trusted, _ := p.deps.Clock.Trusted(); trusted && time.Now().Add(renewal).After(leaf.NotAfter) {
		return "it ends on " + leaf.NotAfter.Format(time.DateOnly)
	}
	host, _, err := net.SplitHostPort(p.config.Listen)
	if err != nil || host == "" {
		return ""
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		return ""
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return err.Error()
	}
	return ""
}

// ensureKey is the private key that is kept, or a new one where none can be read.
func (p *Panel) ensureKey(file string) (crypto.Signer, error) {
	if text, err := os.ReadFile(file); err == nil {
		if block, _ := pem.Decode(text); block != nil {
			if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				if signer, ok := key.(crypto.Signer); ok {
					return signer, os.Chmod(file, 0o600)
				}
			}
		}
		p.log.Warn("panel key cannot be read and is made anew", "file", file)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	return key, replaceFile(file, text)
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// replaceFile writes a private file so that a power cut leaves the old or the new one.
func replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// selfSigned makes a certificate for this machine. Its dates are as wide as they
// go: a branch box may make it before it knows what time it is.
func selfSigned(id, listen string, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: strings.TrimSpace("pilotlight " + id)},
		NotBefore:             time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), // the end of UTCTime, RFC 5280 §4.1.2.5
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	t.DNSNames, t.IPAddresses = ownNames(listen)
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// ownNames is by what this machine may be asked for.
func ownNames(listen string) (names []string, addresses []net.IP) {
	names = []string{"localhost"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	if host, _, err := net.SplitHostPort(listen); err == nil && host != "" {
		if a, err := netip.ParseAddr(host); err != nil {
			names = append(names, host)
		} else if !a.IsUnspecified() {
			addresses = append(addresses, a.AsSlice())
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return names, addresses // the certificate is the poorer, and as good as before for who pins it
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok {
			addresses = append(addresses, n.IP)
		}
	}
	return names, addresses
}
