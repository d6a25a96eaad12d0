package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pilotlight/testbench/product"
)

// demo is a running `pilotlight demo`, driven by its own console.
type demo struct {
	*product.Agent
	in io.Writer
}

func startDemo(t *testing.T, phones int) (*demo, time.Duration) {
	t.Helper()
	listen := fmt.Sprint("127.0.0.1:", product.FreePort(t))
	cmd := exec.Command(product.Binary(t), "demo", "--phones", fmt.Sprint(phones), "--listen", listen)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 256)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case said <- s.Text():
			default:
			}
		}
		close(said)
	}()
	d := &demo{product.Asking(t, "http://"+listen), in}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGINT)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("demo after Ctrl-C: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("demo does not end after Ctrl-C")
			cmd.Process.Kill()
			<-ended
		}
	})
	d.Until(10*time.Second, "the demo prints a token", func() bool {
		select {
		case line := <-said:
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "token" {
				d.Token = fields[1]
			}
		default:
		}
		return d.Token != ""
	})
	populated := func() bool {
		seen := 0
		for _, p := range d.Phones() {
			if p.State != "unknown" && p.Freshness == "live" && p.Model != "" {
				seen++
			}
		}
		return seen == phones
	}
	d.Until(15*time.Second+time.Duration(phones)*50*time.Millisecond, "every phone has a live state and a model", populated)
	return d, time.Since(start)
}

func (d *demo) do(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(d.in, line); err != nil {
		t.Fatal(err)
	}
}

// The first five minutes of a newcomer: a panel with life on it, a phone that
// is pulled out and explained, a state set and cleared.
func TestDemo(t *testing.T) {
	d, took := startDemo(t, 24)
	t.Logf("populated %v after the start", took.Round(10*time.Millisecond))

	resp, err := http.Get(d.URL + "/")
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Fatalf("the panel: %v %v", resp, err)
	}
	resp.Body.Close()

	states := map[string]bool{}
	d.Until(30*time.Second, "calls come and go", func() bool {
		for _, p := range d.Phones() {
			states[p.State] = true
		}
		return states["idle"] && states["in-use"] && states["ringing"]
	})
	d.Until(10*time.Second, "everybody's presence is at the centre", func() bool {
		up := product.Get[[]product.Uplink](d.Agent, "/api/v1/uplinks")
		return len(up) == 1 && up[0].Mode == "connected" && up[0].Pending <= 3
	})

	var victim product.Phone
	for _, p := range d.Phones() {
		if p.State == "idle" && p.Owner != "" {
			victim = p
		}
	}
	d.do(t, "unplug "+victim.Name)
	dark := d.Until(10*time.Second, victim.Name+" is dark, with a diagnosis, within 10 s", func() bool {
		p := d.Phones()[victim.Name]
		return (p.State == "unpowered" || p.State == "unreachable") && p.Diagnosis != ""
	})
	t.Logf("%s dark %v after it was unplugged: %q", victim.Name, dark.Round(time.Millisecond), d.Phones()[victim.Name].Diagnosis)
	if doc := d.Presence(victim.Owner); doc.Availability != "offline" || len(doc.Because) == 0 {
		t.Errorf("its owner: %+v", doc)
	}
	d.do(t, "plug "+victim.Name)
	d.Until(40*time.Second, "it is back", func() bool {
		p := d.Phones()[victim.Name]
		return p.State == "idle" || p.State == "in-use" || p.State == "ringing"
	})

	if err := d.Act("PUT", "/api/v1/presence/alice/manual", map[string]string{"availability": "do-not-disturb", "note": "writing"}); err != nil {
		t.Fatal(err)
	}
	d.Until(2*time.Second, "alice is not to be disturbed", func() bool {
		doc := d.Presence("alice")
		return doc.Availability == "do-not-disturb" && doc.Manual && doc.Note == "writing"
	})
	if err := d.Act("DELETE", "/api/v1/presence/alice/manual", nil); err != nil {
		t.Fatal(err)
	}
	d.Until(2*time.Second, "that is over", func() bool { return !d.Presence("alice").Manual })
}

// A phone that hangs is told from one that is unplugged.
func TestFrozenPhone(t *testing.T) {
	d, _ := startDemo(t, 6)
	d.do(t, "script off")
	var victim string
	d.Until(60*time.Second, "a phone is idle", func() bool {
		for _, p := range d.Phones() {
			if p.State == "idle" && strings.Contains(p.Model, "88") && !strings.Contains(p.Diagnosis, "3PCC") {
				victim = p.Name
			}
		}
		return victim != ""
	})
	d.do(t, "freeze "+victim)
	d.Until(20*time.Second, "it is unreachable, and said to have link", func() bool {
		p := d.Phones()[victim]
		return p.State == "unreachable" && strings.Contains(p.Diagnosis, "has link")
	})
	d.do(t, "thaw "+victim)
	d.Until(20*time.Second, "it is back", func() bool { return d.Phones()[victim].State == "idle" })
}

// The centre cut off and back.
func TestDemoWithoutItsCentre(t *testing.T) {
	d, _ := startDemo(t, 6)
	mode := func() string { return product.Get[[]product.Uplink](d.Agent, "/api/v1/uplinks")[0].Mode }
	d.Until(10*time.Second, "connected", func() bool { return mode() == "connected" })
	d.do(t, "central off")
	d.Until(25*time.Second, "island", func() bool { return mode() == "island" })
	if err := d.Act("PUT", "/api/v1/presence/alice/manual", map[string]string{"availability": "away"}); err != nil {
		t.Fatal(err)
	}
	d.do(t, "central on")
	d.Until(25*time.Second, "connected again, with nothing pending", func() bool {
		up := product.Get[[]product.Uplink](d.Agent, "/api/v1/uplinks")[0]
		return up.Mode == "connected" && up.Pending == 0
	})
}
