package panel

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"pilotlight/agent/config"
)

// Config is the section panel.
type Config struct {
	// Where the dashboard and the API are served. An address other than loopback
	// needs an account first, and is served by TLS only.
	Listen string `yaml:"listen"`
	// Certificate for it.
	TLS TLS `yaml:"tls"`
}

// TLS is the section panel.tls. Both empty: plain HTTP on loopback, and on any
// other address a self-signed certificate that is made once and kept in data_dir.
type TLS struct {
	// PEM file with the certificate and its chain, relative to the configuration.
	CertFile string `yaml:"cert_file"`
	// PEM file with its key.
	KeyFile string `yaml:"key_file"`
}

// Default is the section where nothing is written.
func Default() Config { return Config{Listen: "127.0.0.1:8080"} }

func (c Config) withDefaults() Config {
	c.Listen = cmp.Or(c.Listen, Default().Listen)
	return c
}

// Check reports what is wrong with the section.
func (c Config) Check(report config.Report) {
	if f := c.withDefaults().fault(); f != nil {
		report(f.path, "%v", f.error)
	}
}

// fault is an error about one key.
type fault struct {
	path string
	error
}

func (f *fault) Unwrap() error { return f.error }

func (c Config) fault() *fault {
	_, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return &fault{"listen", fmt.Errorf("%q is not an address; want HOST:PORT, such as 127.0.0.1:8080", c.Listen)}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return &fault{"listen", fmt.Errorf("port %q; want 0 to 65535", port)}
	} else if n == 0 && !c.loopback() {
		return &fault{"listen", errors.New("port 0 takes any free port, which nobody would find; want a number")}
	}
	switch t := c.TLS; {
	case t.CertFile != "" && t.KeyFile == "":
		return &fault{"tls.key_file", errors.New("missing; cert_file and key_file belong together")}
	case t.CertFile == "" && t.KeyFile != "":
		return &fault{"tls.cert_file", errors.New("missing; cert_file and key_file belong together")}
	}
	return nil
}

// loopback reports whether only this machine can reach the listener. A name
// other than localhost might mean anything, and counts as reachable.
func (c Config) loopback() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	return err == nil && localName(host)
}

// localName reports whether host is this machine by whatever name a resolver
// cannot bend.
func localName(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
