package simple

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pilotlight/drivers/internal/sip"
)

// The end of a stream is noticed after its phone has opened another.
func TestAPhoneThatCameBackBeforeItWasMissed(t *testing.T) {
	for name, ask := range map[string]bool{"it has named its contact": true, "it says nothing": false} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			b := newBLF(s, "127.0.0.7", keys)
			p := b.comesBack("127.0.0.7")
			if ask {
				neighbour(s, "127.0.0.7")
				p.send(request{method: "OPTIONS", uri: "sip:example.com"})
				p.response()
			}
			p.silent(soon)
			b.tcp.Close()
			b.hears(p, "")
		})
	}
}

// A stream that nobody reads any more holds up nobody who is back by another.
func TestWhoRenewsByAnotherStreamDoesNotWaitForTheOld(t *testing.T) {
	s := newServer(t)
	b := newBLF(s, "127.0.0.7", 1)
	b.mute = true
	b.changes()
	first := b.notify() // and its answer never comes
	p := b.comesBack("127.0.0.7")
	for _, d := range b.dialogs {
		p.send(d.again(2, "", ""))
		if m := p.response(); m.status != 200 {
			t.Fatal(m.line)
		}
	}
	b.hears(p, "busy")
	b.answer(first, "481 Gone", "") // of the stream that was given up
	b.changes()
	b.hears(p, "away")
}

// All streams are gone after a restart of the agent, too.
func TestAfterARestartAPhoneIsToldInAllItsDialogs(t *testing.T) {
	for name, ask := range map[string]bool{"at its first request": true, "as soon as it is back": false} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			b := newBLF(s, "127.0.0.7", keys)
			b.changes()
			for range keys {
				b.notify()
			}
			s.stop()
			s.start()
			s.unreachable(keys)
			s.until("its contact was tried", func() bool { return s.driver.Stats().Failed == keys })
			if ask {
				neighbour(s, "127.0.0.7")
			}
			p := b.comesBack("127.0.0.7")
			if ask {
				p.silent(soon)
				p.send(request{method: "OPTIONS", uri: "sip:example.com"})
				p.response()
			}
			b.hears(p, "busy")
		})
	}
}

// While the agent loads, too.
func TestWhoIsBackBeforeTheSubscriptionsAre(t *testing.T) {
	s := newServer(t)
	b := newBLF(s, "127.0.0.7", keys)
	s.stop()
	back := make(chan *phone, 1)
	s.ready = func() {
		p := b.comesBack("127.0.0.7")
		s.until("it is there", func() bool { return len(s.endpoint.Visitors(netip.MustParseAddr("127.0.0.7"))) == 1 })
		back <- p
	}
	s.start()
	b.hears(<-back, "")
}

// Who takes a stream at its contact is told so, and is not missed any more.
func TestWhoListensIsToldByAStreamOfOurs(t *testing.T) {
	s := newServer(t)
	l, err := net.Listen("tcp", "127.0.0.7:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newStream(s, "bob", "127.0.0.7")
	p.where = "sip:me@" + l.Addr().String()
	d := p.subscribe(request{uri: alice})
	b := &blf{phone: p, s: s, agent: newPhone(s, "alice"), dialogs: map[string]*dialog{d.callID: d}}
	b.hangsUp()
	for _, word := range []string{"busy", "away"} {
		b.changes()
		if p.tcp == nil || word == "busy" {
			if p.tcp, err = l.Accept(); err != nil {
				t.Fatal(err)
			}
			defer p.tcp.Close()
			p.in = bufio.NewReader(p.tcp)
		}
		if n := p.notify(); !strings.Contains(n.body, word) {
			t.Errorf("%s", n.body)
		}
		s.unreachable(0)
	}
}

// A proxy closes what is idle and listens: its watchers are not missed for that. When
// it listens no more, any watcher's request by way of it brings them all back.
func TestWatchersBehindAProxy(t *testing.T) {
	s := newServer(t)
	l, err := net.Listen("tcp", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	route := func(n int) string {
		return fmt.Sprintf("Record-Route: <sip:%s;transport=tcp;lr;ftag=%d>\r\n", l.Addr(), n)
	}
	by := func(n int) *phone {
		p := newStream(s, "bob", "127.0.0.9")
		p.where = fmt.Sprintf("sip:me@192.0.2.%d", n)
		return p
	}
	b := &blf{s: s, agent: newPhone(s, "alice"), dialogs: map[string]*dialog{}}
	for i := range 3 {
		p := by(i)
		d := p.subscribe(request{uri: alice, header: route(i)})
		b.dialogs[d.callID] = d
		p.tcp.Close()
	}
	s.until("the streams are over", func() bool { return len(s.visitors("127.0.0.9")) == 0 })
	s.unreachable(0)
	l.Close()
	b.changes()
	s.unreachable(3)
	p := by(9)
	p.silent(soon)
	p.send(request{method: "OPTIONS", uri: "sip:example.com", header: route(9)})
	p.response()
	b.hears(p, "busy")
}

// The same by TLS.
func TestAPhoneByTLSIsToldWhenItIsBack(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, func(s *server) {
		s.listen = append(s.listen, "tls:127.0.0.1:0")
		s.tls = sip.TLS{CertFile: filepath.Join(dir, "c.pem"), KeyFile: filepath.Join(dir, "k.pem"), Make: "example.com"}
	})
	byTLS := func() *phone {
		p := newStream(s, "bob", "127.0.0.7")
		p.tcp.Close()
		d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.7")}, Timeout: patience}, Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := d.Dial("tcp", s.endpoint.Addr("tls").String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		p.tcp, p.in, p.transport, p.where, p.tag = conn, bufio.NewReader(conn), "TLS", herDesk, "t"
		return p
	}
	b := &blf{phone: byTLS(), s: s, agent: newPhone(s, "alice"), dialogs: map[string]*dialog{}}
	for range 3 {
		d := b.subscribe(request{uri: alice})
		b.dialogs[d.callID] = d
	}
	b.hangsUp()
	b.changes()
	plain := b.comesBack("127.0.0.7") // by which nobody is told what was asked for by TLS
	plain.send(request{method: "OPTIONS", uri: "sip:example.com"})
	plain.response()
	plain.silent(soon)
	plain.tcp.Close()
	s.until("it is gone", func() bool { return len(s.visitors("127.0.0.7")) == 0 })
	b.hears(byTLS(), "busy")
}

// A record of a version that did not know says nothing of a password: it counts as if
// there had been one.
func TestWhoWasLetInIsKept(t *testing.T) {
	r := record{Of: alice, Package: "presence", Expires: time.Unix(1e9, 0), ByAddress: true}
	b := r.encode()
	for last, want := range map[byte]bool{b[len(b)-1]: true, b[len(b)-1] &^ 4: false} {
		if got, err := decodeRecord(append(b[:len(b)-1:len(b)-1], last)); err != nil || got.ByAddress != want {
			t.Errorf("%b: %v %v", last, got.ByAddress, err)
		}
	}
}

// The first words after a restart are spread to a time that counts from the agent's start.
func TestTheFirstWordsAreSpread(t *testing.T) {
	now := time.Now()
	for _, c := range []struct{ since, over time.Duration }{
		{0, 1500 * time.Millisecond}, {300 * time.Millisecond, 1200 * time.Millisecond}, {1200 * time.Millisecond, 500 * time.Millisecond}, {time.Hour, 500 * time.Millisecond},
	} {
		d := &Driver{spread: restoreWithin, since: now.Add(-c.since)}
		if over := d.spreadOver(now); over != c.over {
			t.Errorf("%v after the start: over %v", c.since, over)
		}
	}
	if over := (&Driver{spread: restoreWithin}).spreadOver(now); over != restoreWithin {
		t.Errorf("a run that is not the first: over %v", over)
	}
}
