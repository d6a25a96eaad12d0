package phone

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pilotlight/agent"
	"pilotlight/agent/agenttest"
	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

func TestContract(t *testing.T) {
	deaf := raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	babbling := raw(t, says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	babbling.Name = "SEP0C1167AA0002"
	agenttest.Suite(t, func(t *testing.T, r *agenttest.Recorder) agent.Driver {
		d, err := New(Config{Phones: []Phone{deaf, babbling}, Web: 50 * time.Millisecond, Domain: "example.com"},
			Needs{Heart: r, Web: schedule.New("phone-web", schedule.Options{})}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func TestAPhoneIsToldOf(t *testing.T) {
	f := &fakePhone{folder: "7841"}
	b := run(t, Config{Phones: []Phone{serve(t, f)}, Web: 100 * time.Millisecond, Domain: "example.com"}, nil)

	o := b.Wait(t, 5*time.Second, from(sourceWeb))
	if o.Device != "SEP0C1167AA0001" || o.TTL != 250*time.Millisecond+500*time.Millisecond {
		t.Errorf("observation %+v", o)
	}
	if o.Calls == nil || o.Calls.Exact || len(o.Calls.Lines) != 0 {
		t.Errorf("calls %+v, want an inexact none", o.Calls)
	}
	if o.Reach.Outcome != presence.Answered || o.Reach.Via != "web" {
		t.Errorf("reach %+v", o.Reach)
	}
	device := b.Wait(t, 5*time.Second, from(sourceDevice))
	if id := device.Identity; id.Model != "CP-7841" || id.Address.String() != "127.0.0.1" || len(id.Lines) != 1 || id.Lines[0] != "4001" {
		t.Errorf("identity %+v", id)
	}
	if device.Messages.Waiting || !device.Abilities.Audio || device.Abilities.Video {
		t.Errorf("facts %+v", device.Facts)
	}
	network := b.Wait(t, 5*time.Second, from(sourceNetwork))
	if !network.Registration.Registered || network.Registration.Server != "10.0.0.5" {
		t.Errorf("registration %+v", network.Registration)
	}

	f.talking.Store(true)
	o = b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Calls != nil && len(o.Calls.Lines) == 1 })
	if l := o.Calls.Lines[0]; l.Number != "4001" || l.State != presence.LineConfirmed {
		t.Errorf("line %+v", l)
	}
	if len(o.Streams.List) != 2 || !o.Streams.List[0].Active || o.Streams.List[0].Codec != "G.711u" {
		t.Errorf("streams %+v: stream 2 is asked for while 1 is active", o.Streams)
	}
	if n := f.most.Load(); n != 1 {
		t.Errorf("%d connections to one phone at a time", n)
	}
}

func TestAPhoneThatClosesAfterEachAnswerIsRead(t *testing.T) {
	body := golden(t, "7841", "device.xml")
	p := raw(t, func(c net.Conn) { // as HTTP/1.1, without a word on closing
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); err == nil {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	s := newSession(p, time.Second, &pins{}, Credentials{})
	defer s.close()
	for range 3 {
		if _, err := s.page(t.Context(), pathDevice); err != nil {
			t.Fatal(err)
		}
	}
}

// What a phone may do to us, what is told of it, and that it is said once.
func TestHostilePhones(t *testing.T) {
	closed := raw(t, func(net.Conn) {})
	elsewhere := httptest.NewServer(http.RedirectHandler("http://127.0.0.2:80/DeviceInformationX", http.StatusFound))
	t.Cleanup(elsewhere.Close)
	round := httptest.NewServer(http.RedirectHandler("/again", http.StatusFound))
	t.Cleanup(round.Close)
	device := golden(t, "7841", "device.xml")
	ok := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	gone, err := net.Listen("tcp", "127.93.41.7:0") // nobody else takes a port of this address meanwhile
	if err != nil {
		t.Fatal(err)
	}
	refusing := phoneAt(t, "http://"+gone.Addr().String())
	gone.Close()

	for _, c := range []struct {
		name   string
		phone  Phone
		reach  presence.ReachOutcome
		detail string
	}{
		{"refuses", refusing, presence.Refused, "Read Only"},
		{"asks for a password", raw(t, says("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")), presence.Refused, "password"},
		{"answers nothing", raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), presence.Silent, "answers nothing"},
		{"closes at once", closed, presence.Garbled, "closes the connection"},
		{"half a page, by its length", raw(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(device), device[:len(device)/2])
		}), presence.Garbled, "half a page"},
		{"half a page, by its elements", raw(t, says(ok(string(device[:len(device)/2])))), presence.Garbled, "half a page"},
		{"drips", raw(t, func(c net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX: ") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, c)
		}), presence.Garbled, "did not end in time"},
		{"10 MB", raw(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 10<<20)
			block := bytes.Repeat([]byte("<a/>"), 4096)
			for range 10 << 20 / len(block) {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		}), presence.Garbled, "more than 128 kB"},
		{"a header without end", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 4000)+"\r\n"); err != nil {
					return
				}
			}
		}), presence.Garbled, "more than 128 kB"},
		{"a wrong charset", raw(t, says(ok("<?xml version=\"1.0\" encoding=\"UTF-16\"?>\xff\xfeD\x00e\x00v\x00"))), presence.Garbled, "not XML"},
		{"an XML bomb", raw(t, says(ok(`<!DOCTYPE l [<!ENTITY a "lol">]><DeviceInformation>&a;</DeviceInformation>`))), presence.Garbled, "document type declaration"},
		{"redirects elsewhere", phoneAt(t, elsewhere.URL), presence.Garbled, "another host (127.0.0.2:80)"},
		{"redirects in a circle", phoneAt(t, round.URL), presence.Garbled, "redirects twice"},
		{"speaks no HTTP", raw(t, says("SSH-2.0-dropbear\r\n")), presence.Garbled, "not sense"},
		{"is another phone", raw(t, says(ok(strings.ReplaceAll(string(device), "0C1167AA0001", "0C1167AAFFFF")))), presence.Other, "SEP0C1167AAFFFF"},
		{"is no phone", raw(t, says(ok("<html><body/></html>"))), presence.Garbled, "root is html"},
		{"fails", raw(t, says("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")), presence.Garbled, "HTTP 503"},
		{"has no such page", raw(t, says("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")), presence.Garbled, "3PCC firmware"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := run(t, Config{Phones: []Phone{c.phone}, Web: 100 * time.Millisecond, Timeout: 200 * time.Millisecond, Domain: "example.com"}, nil)
			o := b.Wait(t, 5*time.Second, from(sourceReachWeb))
			for range 2 { // and again: it is still said only once
				seen := o.Seen
				o = b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Seen.After(seen) })
			}
			if o.Reach.Outcome != c.reach || !strings.Contains(o.Reach.Detail, c.detail) || o.Reach.Via != "web" {
				t.Errorf("reach %+v, want %s, %q", o.Reach, c.reach, c.detail)
			}
			if (o.Reach.Misses > 0) != (c.reach == presence.Silent) || (b.doubt.n.Load() > 0) != (c.reach == presence.Silent) {
				t.Errorf("%d misses, %d doubts: only silence is a miss", o.Reach.Misses, b.doubt.n.Load())
			}
			if n := b.web.Stats().Outcomes["ok"]; n > 0 {
				t.Errorf("%d polls count as ok", n)
			}
			for _, o := range b.All() {
				if o.Source != sourceReachWeb || o.Calls != nil || o.Registration != nil {
					t.Errorf("a failed poll tells %+v", o)
				}
			}
			if l := b.log.lines(); len(l) != 1 || !strings.Contains(l[0], c.phone.Name) {
				t.Errorf("logged %d lines: %q", len(l), l)
			}
		})
	}
}

func TestThreeMissesComeWithinSecondsAtAnyPollInterval(t *testing.T) {
	f := &fakePhone{folder: "7841"}
	var frozen atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if frozen.Load() {
			<-r.Context().Done()
			return
		}
		f.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	b := run(t, Config{Phones: []Phone{phoneAt(t, s.URL)}, Web: time.Minute, Timeout: 200 * time.Millisecond, Domain: "example.com"}, nil)
	b.web.Hasten("SEP0C1167AA0001", 0)
	b.Wait(t, 5*time.Second, from(sourceWeb))
	frozen.Store(true)
	b.web.Hasten("SEP0C1167AA0001", 0)
	first := b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Reach != nil && o.Reach.Misses == 1 })
	third := b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Reach != nil && o.Reach.Misses == 3 })
	if took := third.Seen.Sub(first.Seen); took < 2*time.Second || took > 8*time.Second {
		t.Errorf("third miss %v after the first", took)
	}
	if b.doubt.n.Load() != 3 {
		t.Errorf("the switch was asked %d times", b.doubt.n.Load())
	}
	frozen.Store(false)
	b.web.Hasten("SEP0C1167AA0001", 0)
	back := b.Wait(t, 5*time.Second, func(o presence.Observation) bool {
		return o.Source == sourceReachWeb && o.Reach.Outcome == presence.Answered
	})
	if back.Reach.Misses != 0 {
		t.Errorf("reach %+v", back.Reach)
	}
	if l := b.log.lines(); len(l) != 2 { // does not, and does again
		t.Errorf("logged %q", l)
	}
}

func TestARedirectInsideThePhoneIsFollowedAndItsCertificatePinned(t *testing.T) {
	f := &fakePhone{folder: "7841"}
	secure := httptest.NewTLSServer(f)
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL+r.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(plain.Close)
	p := phoneAt(t, plain.URL)
	kept := &pins{}
	s := newSession(p, 2*time.Second, kept, Credentials{})
	if err := sweepOnce(t, s); err != nil {
		t.Fatal(err)
	}
	s.close()
	kept.keys[p.Name] = pin{key: [32]byte{1}}
	s = newSession(p, 2*time.Second, kept, Credentials{})
	defer s.close()
	err := sweepOnce(t, s)
	if fault, ok := errors.AsType[*Fault](err); !ok || fault.Reach != presence.Garbled || !strings.Contains(fault.Detail, "another certificate") {
		t.Errorf("another certificate: %v", err)
	}
}

func TestTroubleOfOursProvesNothing(t *testing.T) {
	// The kernel has no route for TCP to the broadcast address: no packet leaves.
	p := Phone{Name: "SEP0C1167AA0001", Address: "255.255.255.255", WebPort: 80, WebScheme: "http"}
	b := run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, Domain: "example.com"}, nil)
	for late := time.Now().Add(5 * time.Second); b.web.Stats().Count < 3 && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
	}
	if all := b.All(); len(all) != 0 {
		t.Errorf("told %+v", all)
	}
	if l := b.log.lines(); len(l) != 1 {
		t.Errorf("logged %q", l)
	}
}

func TestFaultyConfigurations(t *testing.T) {
	ok := Phone{Name: "SEP0C1167AA0001", Address: "10.1.1.20", WebPort: 80, WebScheme: "http"}
	for _, c := range []struct {
		name string
		c    Config
		want string
	}{
		{"no name", Config{Phones: []Phone{{Address: "10.1.1.20", WebScheme: "http"}}}, "want a device name"},
		{"a URI for a name", Config{Phones: []Phone{{Name: "sip:a@b", Address: "10.1.1.20", WebScheme: "http"}}}, "want a device name"},
		{"twice", Config{Phones: []Phone{ok, ok}}, "listed twice"},
		{"a URL for an address", Config{Phones: []Phone{{Name: "SEP1", Address: "http://10.1.1.20", WebScheme: "http"}}}, "without scheme"},
		{"an address with port", Config{Phones: []Phone{{Name: "SEP1", Address: "10.1.1.20:80", WebScheme: "http"}}}, "without a port"},
		{"a scheme", Config{Phones: []Phone{{Name: "SEP1", Address: "10.1.1.20", WebScheme: "ftp"}}}, "want http or https"},
		{"a port", Config{Phones: []Phone{{Name: "SEP1", Address: "10.1.1.20", WebScheme: "http", WebPort: 70000}}}, "ports"},
		{"a server without subscriber", Config{Domain: "example.com", Servers: []Server{{Name: "pbx"}}}, "nothing to subscribe with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.c, Needs{Heart: &agenttest.Recorder{}}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDefaultsAreResolved(t *testing.T) {
	d := StandardDefaults()
	for _, c := range []struct {
		entry Entry
		want  Phone
	}{
		{Entry{Name: "a", Address: "h"}, Phone{"a", "h", 80, "http", 5060, ""}},
		{Entry{Name: "a", Address: "h", WebPort: 8443, WebScheme: "https", SIPPort: 5061}, Phone{"a", "h", 8443, "https", 5061, ""}},
		{Entry{Name: "a", Address: "h", WebPort: -1, SIPPort: -1}, Phone{"a", "h", 0, "http", 0, ""}},
	} {
		if got := d.Phone(c.entry); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

// sweepOnce visits a phone that nothing is remembered of.
func sweepOnce(t *testing.T, s *session) error {
	t.Helper()
	return (&sweep{session: s, a: &account{}, pace: Pace{}.withDefaults()}).run(t.Context())
}
