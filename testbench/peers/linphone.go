package peers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// LinphonePhone is a running linphonec that watches some people.
type LinphonePhone struct {
	p    *process
	addr string // of the server
}

// Linphone starts one. Of the options it knows WithAccount, WithBuddies and OverTCP. It sends
// by way of a server only where that has registered it; else to the host in the URI:
// so the domain of those whom it watches is to be the address of their server.
//
// It is ready when it takes commands.
func Linphone(t testing.TB, options ...PhoneOption) *LinphonePhone {
	t.Helper()
	o := &phone{user: "alice"}
	for _, f := range options {
		f(o)
	}
	ph := &LinphonePhone{addr: strings.TrimPrefix(o.outbound, "sip:")}
	dir, port := shortDir(t), freePort(t)
	// Without this folder its database does not open, and nothing is sent.
	if err := os.MkdirAll(filepath.Join(dir, ".local/share/linphone"), 0o700); err != nil {
		t.Fatal(err)
	}
	var rc strings.Builder
	fmt.Fprintf(&rc, `[sip]
sip_port=%d
sip_tcp_port=%d
sip_tls_port=0
bind_address=127.0.0.1
guess_hostname=0
contact=<sip:%s@127.0.0.1:%d>
use_ipv6=0
default_proxy=-1
[net]
firewall_policy=0
[misc]
log_collection=0
`, port, port, o.user, port)
	by := ""
	if o.tcp {
		by = ";transport=tcp"
	}
	for i, uri := range o.buddies {
		fmt.Fprintf(&rc, "[friend_%d]\nurl=<%s%s>\npol=accept\nsubscribe=1\n", i, ph.at(uri), by)
	}
	config := write(t, dir, "rc", rc.String())
	orders, keep, err := os.Pipe() // it ends with its input
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(orders.Close(), keep.Close()) })
	ph.p = startFed(t, orders, syscall.SIGTERM, dir, []string{"HOME=" + dir}, "linphonec", "-c", config, "-S")
	ph.p.ready(t, func() error {
		if !strings.Contains(ph.p.log.String(), "linphonec>") {
			return errors.New("no prompt")
		}
		return nil
	})
	return ph
}

// at is a URI with the port of the server.
func (p *LinphonePhone) at(uri string) string {
	user, _, _ := strings.Cut(uri, "@")
	return user + "@" + p.addr
}

// Buddy is what it said last of the presence of a URI: Online, Offline, Busy, "On the
// phone"; "" while it said nothing.
func (p *LinphonePhone) Buddy(uri string) (state string) {
	for line := range strings.Lines(p.p.log.String()) {
		if _, is, ok := strings.Cut(line, p.at(uri)+"> is "); ok && strings.Contains(line, "Friend ") {
			state = strings.TrimSpace(is)
		}
	}
	return state
}

// Kill is kill -9, and returns when it has gone.
func (p *LinphonePhone) Kill() { p.p.end(syscall.SIGKILL) }
