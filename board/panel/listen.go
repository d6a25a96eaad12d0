package panel

import (
	"context"
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

	"golang.org/x/net/netutil"
)

// maxConnections bounds what the panel's clients can hold open at once.
const maxConnections = 512

// open opens all doors, or none.
func (p *Panel) open(ctx context.Context) ([]*door, error) {
	tcp, err := p.openTCP(ctx)
	if err != nil {
		return nil, err
	}
	admin, err := p.openAdmin(ctx)
	if err != nil {
		_ = tcp.listener.Close()
		return nil, err
	}
	return []*door{tcp, admin}, nil
}

func (p *Panel) openTCP(ctx context.Context) (*door, error) {
	config, err := p.tlsConfig()
	if err != nil {
		return nil, fmt.Errorf("panel: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.config.Listen)
	if err != nil {
		return nil, fmt.Errorf("panel: %w", err)
	}
	scheme := "http"
	if config != nil {
		scheme = "https"
	}
	url := scheme + "://" + l.Addr().String()
	p.address.Store(&url)
	p.log.Info("panel listens", "url", url)
	l = netutil.LimitListener(l, maxConnections)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return &door{name: "tcp", listener: l, open: p.config.loopback(), secure: config != nil}, nil
}

// openAdmin opens the admin socket. Only its file mode says who may come in.
func (p *Panel) openAdmin(ctx context.Context) (*door, error) {
	path := filepath.Join(p.deps.DataDir, "admin.sock")
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("panel: %s is longer than the %d bytes of a socket's name; use a shorter data_dir", path, maxSocketPath)
	}
	if err := clearStale(ctx, path); err != nil {
		return nil, fmt.Errorf("panel: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("panel: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("panel: %w", err)
	}
	return &door{name: "admin", listener: netutil.LimitListener(l, 32), admin: true}, nil
}

const maxSocketPath = 107 // sun_path, unix(7), without the zero

// clearStale removes a socket that nobody answers at.
func clearStale(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is in the way, and is no socket", path)
	}
	ctx, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("another agent answers at %s", path)
	}
	return os.Remove(path)
}

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
	p.log.Info("panel certificate", "file", cert, "sha256", fmt.Sprintf("%X", sha256.Sum256(pair.Certificate[0])))
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// ensureCertificate makes a certificate unless one is kept already: whoever has
// accepted it once is not asked again.
func (p *Panel) ensureCertificate(certFile, keyFile string) error {
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		p.log.Warn("panel certificate is made anew", "file", certFile, "err", err)
	}
	cert, key, err := selfSigned(p.deps.Branch.ID, p.config.Listen)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	if err := replaceFile(keyFile, key); err != nil {
		return err
	}
	return replaceFile(certFile, cert)
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
func selfSigned(id, listen string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
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
	der, err := x509.CreateCertificate(rand.Reader, t, t, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
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
