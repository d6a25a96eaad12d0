package sip

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// ensureCertificate makes a certificate for the domain, unless one is kept that
// still serves. A new one is on the same key, so that who pins that need not anew.
// As the panel's it is as long valid as can be: a branch box may make it before
// it knows what time it is.
func ensureCertificate(t TLS, listen []listenAt) error {
	if pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err == nil && proves(pair.Leaf, t.Make) == nil {
		return nil
	}
	key, err := ensureKey(t.KeyFile)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: t.Make},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:  time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), // the end of UTCTime, RFC 5280 §4.1.2.5
		KeyUsage:  x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{{Scheme: "sip", Opaque: t.Make}}, DNSNames: []string{t.Make},
	}
	for _, at := range listen {
		if a := at.ip(); a.IsValid() && !a.IsUnspecified() {
			c.IPAddresses = append(c.IPAddresses, a.AsSlice())
		}
	}
	if own, err := net.InterfaceAddrs(); err == nil { // else it is the poorer
		for _, a := range own {
			if n, ok := a.(*net.IPNet); ok {
				c.IPAddresses = append(c.IPAddresses, n.IP)
			}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	return replaceFile(t.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// ensureKey is the private key that is kept, or a new one where none can be read.
func ensureKey(file string) (crypto.Signer, error) {
	if text, err := os.ReadFile(file); err == nil {
		if block, _ := pem.Decode(text); block != nil {
			if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				if signer, ok := key.(crypto.Signer); ok {
					return signer, nil
				}
			}
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, replaceFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// replaceFile writes a private file so that a power cut leaves the old or the new one.
func replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
