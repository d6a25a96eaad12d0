package panel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
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
