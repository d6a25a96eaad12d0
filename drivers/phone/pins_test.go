package phone

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pilotlight/agent/agenttest"
	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// keeps is a drawer in memory.
type keeps struct {
	mu  sync.Mutex
	has map[string][]byte
}

func (k *keeps) Each(prefix string, visit func(string, []byte) error) error {
	k.mu.Lock()
	all := maps.Clone(k.has)
	k.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(key, prefix) {
			if err := visit(key, all[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *keeps) PutSoft(ctx context.Context, key string, value []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.has[key] = value
	return ctx.Err()
}

func (k *keeps) DeleteSoft(ctx context.Context, key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.has, key)
	return ctx.Err()
}

// certificate is one with that key.
func certificate(key string) []*x509.Certificate {
	return []*x509.Certificate{{RawSubjectPublicKeyInfo: []byte(key)}}
}

// What a start keeps and forgets: each step is a start of the agent, by which scheme the
// phone is listed, and which key it then shows.
func TestWhichPinsAStartKeeps(t *testing.T) {
	for _, c := range []struct{ name, steps, want string }{
		{"asked by https", "https:a https:a https:b", "ok ok another"},
		{"one start without lets another key in", "https:a http:- https:b", "ok - ok"},
		{"and it is that one alone", "https:a http:- https:b https:a", "ok - ok another"},
		{"it redirects to https", "http:a http:a http:b", "ok ok another"},
		{"it redirects in the start that lets another key in", "https:a http:b http:b http:a", "ok ok ok another"},
		{"it redirects, and is asked by https since", "http:a https:a https:b", "ok ok another"},
		{"it redirects, and two starts let another key in", "http:a http:b https:b http:b http:a", "ok another another ok another"},
		{"it redirects, and two starts let another key in, the first without a word", "http:a https:- http:b", "ok - ok"},
		{"it is not listed for a while", "https:a -:- https:b", "ok - another"},
		{"it is found", "-:a -:a -:b", "ok ok another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			drawer := &keeps{has: map[string][]byte{}}
			var got []string
			for step := range strings.FieldsSeq(c.steps) {
				scheme, key, _ := strings.Cut(step, ":")
				p := Phone{Name: "SEP0C1167AA0001", WebScheme: scheme}
				var listed []Phone
				if scheme != "-" {
					listed = []Phone{p}
				}
				pins := newPins(drawer, listed, slog.New(slog.DiscardHandler))
				if err := pins.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				said := "-"
				if key != "-" {
					said = "ok"
					if err := pins.check(t.Context(), p, certificate(key)); err != nil {
						said = "another"
					}
				}
				got = append(got, said)
			}
			if said := strings.Join(got, " "); said != c.want {
				t.Errorf("%s, want %s", said, c.want)
			}
		})
	}
}

// A key that was kept by an earlier release holds.
func TestAPinOfAnEarlierReleaseHolds(t *testing.T) {
	p := Phone{Name: "SEP0C1167AA0001", WebScheme: "http"}
	drawer := &keeps{has: map[string][]byte{}}
	if err := newPins(drawer, nil, nil).check(t.Context(), p, certificate("a")); err != nil {
		t.Fatal(err)
	}
	drawer.has[pinKey+p.Name] = drawer.has[pinKey+p.Name][:32]
	drawer.has[pinKey+"none"] = []byte{}
	pins := newPins(drawer, []Phone{p}, nil)
	if err := pins.check(t.Context(), p, certificate("b")); err == nil {
		t.Error("another key is taken")
	}
	if err := pins.check(t.Context(), p, certificate("a")); err != nil || len(drawer.has) != 1 {
		t.Errorf("%v, %d kept", err, len(drawer.has))
	}
}

// Of the phones that nobody listed, those make room that were not seen for longest.
func TestPinsAreBounded(t *testing.T) {
	drawer, listed := &keeps{has: map[string][]byte{}}, Phone{Name: "listed", WebScheme: "https"}
	pins := newPins(drawer, []Phone{listed}, nil)
	if err := pins.check(t.Context(), listed, certificate("x")); err != nil {
		t.Fatal(err)
	}
	was := pins.keys["listed"]
	was.seen = time.Unix(0, 0)
	pins.keys["listed"] = was
	name := func(n int) Phone { return Phone{Name: fmt.Sprint("found", n), WebScheme: "https"} }
	for n := range maxPins {
		if err := pins.check(t.Context(), name(n), certificate("x")); err != nil {
			t.Fatal(err)
		}
		is := pins.keys[name(n).Name]
		is.seen = is.seen.Add(time.Duration(n-2*maxPins) * time.Hour)
		pins.keys[name(n).Name] = is
	}
	if err := pins.check(t.Context(), name(0), certificate("x")); err != nil { // it is there yet
		t.Fatal(err)
	}
	for n := range 10 {
		if err := pins.check(t.Context(), name(maxPins+n), certificate("x")); err != nil {
			t.Fatal(err)
		}
	}
	if len(pins.keys) != maxPins+1 || len(drawer.has) != maxPins+1 {
		t.Errorf("%d pins, %d kept", len(pins.keys), len(drawer.has))
	}
	for n, kept := range map[int]bool{0: true, 1: false, 10: false, 11: true, maxPins + 9: true} {
		if _, is := pins.keys[name(n).Name]; is != kept {
			t.Errorf("%s is kept: %v", name(n).Name, is)
		}
	}
	if err := pins.check(t.Context(), listed, certificate("y")); err == nil {
		t.Error("a listed phone's pin is lost")
	}
}

// A phone that redirects to https keeps its pin over a restart of the driver.
func TestARedirectedPhoneKeepsItsPin(t *testing.T) {
	secure := httptest.NewTLSServer(&fakePhone{folder: "7841"})
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL+r.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(plain.Close)
	p := phoneAt(t, plain.URL)
	drawer := &keeps{has: map[string][]byte{}}
	for n, want := range []presence.ReachOutcome{presence.Answered, presence.Answered, presence.Garbled} {
		heart := &agenttest.Recorder{}
		d, err := New(Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, Domain: "example.com"},
			Needs{Heart: heart, Web: schedule.New("phone-web", schedule.Options{}), Pins: drawer}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		stop := running(t, d)
		o := heart.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Reach != nil })
		stop()
		if o.Reach.Outcome != want {
			t.Errorf("%+v, want %s", o.Reach, want)
		}
		is, ok := readPin(drawer.has[pinKey+p.Name])
		if !ok || is.direct {
			t.Errorf("kept: %+v, %v", is, ok)
		}
		if n == 1 { // as if another had been seen before
			is.key[0]++
			drawer.has[pinKey+p.Name] = is.bytes()
		}
	}
}
