package branch

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/html/charset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start gives a branch that ends with the test.
func start(t *testing.T, o Options) *Branch {
	t.Helper()
	b, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// must fails the test at once.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a fact, for at most five seconds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not within 5 s: %s", what)
}

// pages reads phones' pages as any client would: net/http and encoding/xml.
type pages struct {
	client *http.Client
}

func newPages(t *testing.T) pages {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return pages{&http.Client{Transport: tr, Timeout: 500 * time.Millisecond}}
}

// get reads a page as a map of its children.
func (g pages) get(p Phone, path string) (map[string]string, error) {
	resp, err := g.client.Get(fmt.Sprintf("http://%s:%d%s", p.Address, p.WebPort, path))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var doc struct {
		Children []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:",any"`
	}
	dec := xml.NewDecoder(resp.Body)
	dec.CharsetReader = charset.NewReaderLabel
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	m := map[string]string{}
	for _, c := range doc.Children {
		m[c.XMLName.Local] = c.Text
	}
	return m, nil
}

func (g pages) must(t *testing.T, p Phone, path string) map[string]string {
	t.Helper()
	m, err := g.get(p, path)
	if err != nil {
		t.Fatalf("%s (%s) %s: %v", p.Name, p.Model, path, err)
	}
	return m
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// byModel is the first phone of a model.
func byModel(t *testing.T, b *Branch, model string) Phone {
	t.Helper()
	for _, p := range b.Phones() {
		if p.Model == model {
			return p
		}
	}
	t.Fatalf("no %s among the phones", model)
	return Phone{}
}

func TestTwoBranchesWithOneSeedStandBesideEachOther(t *testing.T) {
	a, b := start(t, Options{Phones: 3}), start(t, Options{Phones: 3})
	for i, p := range a.Phones() {
		q := b.Phones()[i]
		if p.Name != q.Name || p.Number != q.Number {
			t.Errorf("phone %d: %s %s and %s %s: a seed decides the names", i, p.Name, p.Number, q.Name, q.Number)
		}
		if p.Address == q.Address {
			t.Errorf("phone %d: both at %s", i, p.Address)
		}
	}
}

func TestEveryPhoneHasItsOwnNameNumberAddressAndOwner(t *testing.T) {
	b, err := build(Options{Phones: 1000, Seed: 7, Domain: "example.com", Speed: 1, Unshared: true})
	must(t, err)
	seen := map[string]string{}
	for _, p := range b.Phones() {
		for _, key := range []string{p.Name, p.Number, p.Address, p.Switch + p.SwitchPort, "user " + p.User} {
			if key != "user " && seen[key] != "" {
				t.Fatalf("%s: both %s and %s have it", key, p.Name, seen[key])
			}
			seen[key] = p.Name
		}
	}
	if n := len(b.Switches()); n != 3 {
		t.Errorf("%d switches for 1,000 phones, want 3 stacks", n)
	}
}

func TestStartRefusesWhatMakesNoSense(t *testing.T) {
	for name, o := range map[string]Options{
		"too many phones": {Phones: maxPhones + 1}, "fewer than none": {Phones: -1}, "time going back": {Speed: -1},
		"no such recording": {SNMPRec: "/nonexistent.snmprec"},
	} {
		if b, err := Start(t.Context(), o); err == nil {
			b.Close()
			t.Errorf("%s: started", name)
		}
	}
}

func TestABranchOutlivesTheContextOfItsStartAndEndsWithClose(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b, err := Start(ctx, Options{Phones: 2})
	must(t, err)
	cancel()
	p := b.Phones()[0]
	newPages(t).must(t, p, "/DeviceInformationX")
	b.Close()
	b.Close() // once more does no harm
	if _, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", p.Address, p.WebPort), time.Second); err == nil {
		t.Error("a phone still listens")
	}
	if b, err := Start(ctx, Options{Phones: 2}); err == nil {
		b.Close()
		t.Error("started with a context that was done")
	}
}

func TestUnknownPhonesAreToldSo(t *testing.T) {
	b := start(t, Options{Phones: 2})
	name := b.Phones()[0].Name
	for what, err := range map[string]error{
		"unplug": b.Unplug("SEP0"), "call from": b.Call("SEP0", name), "call to": b.Call(name, "SEP0"),
		"freeze": b.Freeze("SEP0"), "register": b.ToSRST("SEP0"),
	} {
		if err == nil || !strings.Contains(err.Error(), "SEP0") {
			t.Errorf("%s: %v, want an error that names the phone", what, err)
		}
	}
}

func TestConfigNamesEverythingAnAgentNeeds(t *testing.T) {
	b := start(t, Options{Phones: 12})
	text := string(b.Config("/tmp/some data", "127.0.0.1:8080"))
	for _, p := range b.Phones() {
		if !strings.Contains(text, p.Name) || !strings.Contains(text, p.Address) {
			t.Errorf("%s at %s is not in it", p.Name, p.Address)
		}
	}
	for _, want := range []string{b.Central(), b.CallServer(), b.Switch().Address, `"/tmp/some data"`, "return_window: 0s", "web: 2s"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in it", want)
		}
	}
}

func TestAnUnknownPageIs404AndOnlyGetIsAllowed(t *testing.T) {
	b := start(t, Options{Phones: 8})
	g := newPages(t)
	p := byModel(t, b, "CP-7962G") // which has no page that asks for a user
	for _, path := range []string{"/", "/CGI/Nothing", "/StreamingStatisticsX?9", "/PortInformationX?3", "/StreamingStatisticsX", "/status.xml"} {
		if _, err := g.get(p, path); err == nil || !strings.HasPrefix(err.Error(), "404") {
			t.Errorf("%s: %v, want 404", path, err)
		}
	}
	if _, err := g.get(byModel(t, b, "CP-8851-3PCC"), "/DeviceInformationX"); err == nil {
		t.Error("multiplatform firmware has no DeviceInformationX")
	}
	resp, err := g.client.Post(fmt.Sprintf("http://%s:%d/CGI/Execute", p.Address, p.WebPort), "text/xml", strings.NewReader("<x/>"))
	must(t, err)
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", resp.Status)
	}
}
