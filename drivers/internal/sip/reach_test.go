package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestReachesSaysWhatToAddToListen(t *testing.T) {
	home := []string{"udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"}
	lan := append([]string{"udp:10.0.0.2:5060"}, home...)
	const (
		phone    = "sip:10.0.0.7:5060;transport=udp"
		loopback = "sip.listen has only loopback addresses, and "
		other    = "sip.listen has no address by which "
	)
	for _, c := range []struct {
		listen  []string
		target  string
		contact bool
		want    string // how it begins; "" for nothing
		add     string
	}{
		{home, "sip:127.0.0.1:5070", false, "", ""},
		{home, "sip:127.9.9.9:5070;transport=tcp", true, "", ""},
		{home, phone, false, loopback, "udp:ADDRESS:5060"},
		{home, "sip:10.0.0.7", false, loopback, "udp:ADDRESS:5060"},
		{home, "sip:x@10.0.0.7;transport=UDP", false, loopback, "udp:ADDRESS:5060"},
		{home, "sip:10.0.0.7;transport=tcp", false, "", ""}, // it leaves by a stream, and nobody need come back
		{home, "sip:10.0.0.7;transport=tcp", true, loopback, "tcp:ADDRESS:5060"},
		{home, "sip:pbx.example.com", false, "", ""}, // who knows
		{home, "sip:[2001:db8::7]", false, loopback, "udp:ADDRESS:5060"},
		{home, "sip:[::ffff:127.0.0.1]", false, "", ""},
		{lan, phone, false, "", ""},
		{lan, "sip:[2001:db8::7]", false, other, "udp:ADDRESS:5060"},
		{lan, "sip:10.0.0.7;transport=tcp", true, other, "tcp:ADDRESS:5060"},
		{[]string{"udp:0.0.0.0:5060"}, phone, false, "", ""},
		{[]string{"udp:[::]:5060"}, phone, false, "", ""},
		{[]string{"udp:[::1]:5060"}, "sip:[fd00::7]", false, loopback, "udp:ADDRESS:5060"},
		{[]string{"udp:[fd00::2]:5060"}, phone, false, other, "udp:ADDRESS:5060"},
		{[]string{"tcp:10.0.0.2:5060"}, phone, false, other, "udp:ADDRESS:5060"},
		{[]string{"tls:10.0.0.2:5061", "rubbish"}, "rubbish", false, "", ""}, // others say what is wrong with these
	} {
		err := Reaches(c.listen, c.target, c.contact)
		var none *NoWay
		switch {
		case c.want == "" && err == nil:
		case c.want == "" || !errors.As(err, &none) || !strings.HasPrefix(err.Error(), c.want) ||
			!strings.Contains(err.Error(), c.target) || !strings.Contains(err.Error(), "add "+c.add+" of this machine to sip.listen"):
			t.Errorf("%v to %s, contact %v: %v", c.listen, c.target, c.contact, err)
		}
	}
}

// TestDoSaysThatItHasNoWay instead of leaving it to the kernel, without a packet
// and without a connection: that nothing was heard is no word about the far end.
func TestDoSaysThatItHasNoWay(t *testing.T) {
	e := clientEndpoint(t)
	const far = "198.51.100.7:5060" // TEST-NET-2, RFC 5737
	for _, r := range []*Request{
		{Method: "OPTIONS", URI: "sip:x@example.com", Target: "sip:" + far + ";transport=udp"},
		{Method: "SUBSCRIBE", URI: "sip:x@example.com", Target: "sip:" + far + ";transport=tcp", Event: "dialog", ContactUser: "us"},
	} {
		began := time.Now()
		_, err := e.Do(context.Background(), r)
		var none *NoWay
		var ne net.Error
		if !errors.As(err, &none) || !none.Loopback || !strings.Contains(err.Error(), far+" is not on loopback") || !errors.As(err, &ne) || ne.Timeout() {
			t.Errorf("%s: %v", r.Method, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: after %v", r.Method, took)
		}
	}
	if s := e.Stats(); s.Sent[Tally{"OPTIONS", "error"}] != 1 || s.Connections != 0 {
		t.Errorf("%+v", s)
	}
}

// TestTheSocketThatReachesIsTaken, though another comes first.
func TestTheSocketThatReachesIsTaken(t *testing.T) {
	at := func(transport, addr string) *listener {
		return &listener{transport: transport, addr: netip.MustParseAddrPort(addr)}
	}
	home, lan, lanTCP := at("udp", "127.0.0.1:5060"), at("udp", "10.0.0.2:5060"), at("tcp", "10.0.0.2:5062")
	s := &serving{listeners: []*listener{home, lan, lanTCP}}
	for to, want := range map[string]*listener{"198.51.100.7:5060": lan, "127.0.0.1:9": home} {
		if got := s.listenerTo("udp", netip.MustParseAddrPort(to)); got != want {
			t.Errorf("to %s from %+v", to, got)
		}
	}
	// A stream's own port takes no connections, from whatever address it was dialled.
	way := flow{transport: "tcp", local: netip.MustParseAddrPort("10.9.9.9:41234"), remote: netip.MustParseAddrPort("198.51.100.7:5060")}
	if got := s.localFor(way); got != lanTCP.addr {
		t.Errorf("Contact %v", got)
	}
}

// TestAnAddressOfThisMachineIsReachedFromLoopback.
func TestAnAddressOfThisMachineIsReachedFromLoopback(t *testing.T) {
	for to, want := range map[string]bool{"127.0.0.1:5060": true, "198.51.100.7:5060": false} {
		if got := new(serving).own(netip.MustParseAddrPort(to)); got != want {
			t.Errorf("%s: %v", to, got)
		}
	}
}
