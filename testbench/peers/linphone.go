package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Linphone is a running linphonec that watches friends.
type Linphone struct{ p *process }

// LinphoneWatches starts one of user@domain that watches the presence of some URIs by
// way of the presence server at addr. It does not register there.
func LinphoneWatches(t testing.TB, user, domain, addr string, friends ...string) *Linphone {
	t.Helper()
	dir, port := shortDir(t), freePort(t)
	lines := []string{
		"[sip]", fmt.Sprintf("sip_port=%d", port), fmt.Sprintf("sip_tcp_port=%d", port), "sip_tls_port=-1", "bind_address=127.0.0.1", "guess_hostname=0", "use_ipv6=0",
		fmt.Sprintf("contact=<sip:%s@127.0.0.1:%d>", user, port), "default_proxy=0", "subscribe_presence_only_when_registered=0",
		"[proxy_0]", fmt.Sprintf("reg_proxy=<sip:%s;transport=udp>", addr), fmt.Sprintf("reg_route=<sip:%s;transport=udp;lr>", addr),
		fmt.Sprintf("reg_identity=<sip:%s@%s>", user, domain), "reg_sendregister=0", "publish=0",
		"[net]", "firewall_policy=0", "[misc]", "log_collection=0",
	}
	for i, uri := range friends {
		lines = append(lines, fmt.Sprintf("[friend_%d]", i), fmt.Sprintf("url=<%s>", uri), "pol=accept", "subscribe=1")
	}
	write(t, dir, "rc", strings.Join(lines, "\n")+"\n")
	// Its database lies there, and without that it sends nothing.
	if err := os.MkdirAll(filepath.Join(dir, ".local", "share", "linphone"), 0o700); err != nil {
		t.Fatal(err)
	}
	// It ends with its input.
	return &Linphone{start(t, syscall.SIGTERM, dir, []string{"HOME=" + dir}, "sh", "-c", "tail -f /dev/null | linphonec -c rc -S")}
}

var friendIs = regexp.MustCompile(`(?m)^.*Friend .*<(sip:[^>]+)> is (.+)$`)

// Friend is what it last showed of the presence of a URI: Online, Offline, Busy, On the
// phone; "" before the first.
func (l *Linphone) Friend(uri string) (is string) {
	for _, m := range friendIs.FindAllStringSubmatch(l.p.log.String(), -1) {
		if m[1] == uri {
			is = strings.TrimSpace(m[2])
		}
	}
	return is
}
