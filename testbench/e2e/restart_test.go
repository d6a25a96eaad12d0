package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"pilotlight/testbench/product"
)

// benchBranch is a simulated branch in a process of its own.
type benchBranch struct {
	YAML string // the configuration of an agent beside it
	in   io.Writer
	out  *bufio.Scanner
	t    *testing.T
}

func startBranch(t *testing.T, phones int, args ...string) *benchBranch {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "branch")
	build := exec.Command("go", "build", "-o", bin, "./testbench/branch/cmd/branch")
	build.Dir = product.Root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the branch: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "agent.yaml")
	cmd := exec.Command(bin, append([]string{"-phones", fmt.Sprint(phones), "-config", file, "-data", "/DATA", "-panel", "PANEL", "-script=false"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	b := &benchBranch{in: in, out: bufio.NewScanner(out), t: t}
	if !b.out.Scan() || !strings.HasPrefix(b.out.Text(), "ready") {
		t.Fatalf("the branch said %q", b.out.Text())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b.YAML = strings.NewReplacer(`"/DATA"`, `"@DATA@"`, `"PANEL"`, `"@PANEL@"`).Replace(string(text))
	return b
}

// do gives an order and returns the answer.
func (b *benchBranch) do(line string) string {
	b.t.Helper()
	fmt.Fprintln(b.in, line)
	if !b.out.Scan() || !strings.HasPrefix(b.out.Text(), "ok") {
		b.t.Fatalf("%s: %q", line, b.out.Text())
	}
	return strings.TrimPrefix(b.out.Text(), "ok ")
}

// kill -9 and restart: the last known state with its age is there before the
// first poll is back, and never as live.
func TestLastKnownAfterKill(t *testing.T) {
	b := startBranch(t, 6)
	a := product.Start(t, product.Options{YAML: strings.Replace(b.YAML, "commit: 10s", "commit: 200ms", 1)})
	names := []string{}
	a.Until(20*time.Second, "all phones are live", func() bool {
		names = names[:0]
		for name, p := range a.Phones() {
			if p.Freshness == "live" && p.State == "idle" {
				names = append(names, name)
			}
		}
		return len(names) == 6
	})
	b.do("call " + names[0] + " " + names[1])
	b.do("answer " + names[1])
	a.Until(10*time.Second, "two phones are on a call", func() bool {
		p := a.Phones()
		return p[names[0]].State == "in-use" && p[names[1]].State == "in-use"
	})
	if err := a.Act("PUT", "/api/v1/presence/alice/manual", map[string]string{"availability": "out-of-office", "note": "until Monday"}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // polled state may wait for the dial
	a.Kill()
	b.do("callserver off") // so that nobody tells it anew
	for _, n := range names {
		b.do("freeze " + n)
	}
	time.Sleep(2 * time.Second) // an age to be seen
	a.Again()
	a.Ready()
	phones := a.Phones()
	for i, name := range names {
		want := "idle"
		if i < 2 {
			want = "in-use"
		}
		p := phones[name]
		if p.State != want || p.Freshness != "last-known" || time.Since(p.AsOf) < 2*time.Second || time.Since(p.AsOf) > 90*time.Second {
			t.Errorf("%s after kill -9: %s, %s, as of %v", name, p.State, p.Freshness, p.AsOf)
		}
	}
	if d := a.Presence("alice"); d.Availability != "out-of-office" || d.Note != "until Monday" {
		t.Errorf("what was acknowledged: %+v", d)
	}
	for _, d := range product.Get[[]product.Document](a, "/api/v1/presence") {
		if d.Availability == "available" {
			t.Errorf("%s is available by what was last known: %v", d.Presentity, d.Because)
		}
	}
	for _, n := range names {
		b.do("thaw " + n)
	}
	b.do("callserver on")
	a.Until(40*time.Second, "all phones are live again", func() bool {
		live := 0
		for _, p := range a.Phones() {
			if p.Freshness == "live" && p.State != "unreachable" {
				live++
			}
		}
		return live == 6
	})
}

// One store, one agent: the second is told who is in its way.
func TestASecondAgentOnOneStoreIsRefused(t *testing.T) {
	a := product.Start(t, product.Options{YAML: alone})
	second := strings.NewReplacer("@DATA@", filepath.Join(filepath.Dir(a.Config), "data"), "@PANEL@", fmt.Sprint("127.0.0.1:", product.FreePort(t)),
		"@SIP@", fmt.Sprint("127.0.0.1:", product.FreePort(t))).Replace(alone)
	dir := writeFiles(t, map[string]string{"c.yaml": second})
	_, errs := product.RunCLI(t, product.Binary(t), 1, "", "run", "--config", filepath.Join(dir, "c.yaml"))
	if !strings.Contains(errs, "pilotlight.db") || !strings.Contains(errs, "another") {
		t.Error(errs)
	}
}

// A store that a newer version wrote is refused in words, and left alone.
func TestAStoreOfANewerVersionIsRefused(t *testing.T) {
	a := product.Start(t, product.Options{YAML: alone})
	a.Stop()
	store := filepath.Join(filepath.Dir(a.Config), "data", "pilotlight.db")
	db, err := bbolt.Open(store, 0, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 999))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(store)
	if err != nil {
		t.Fatal(err)
	}
	if errs := a.CLI(1, "run", "--config", a.Config); !strings.Contains(errs, "newer") || !strings.Contains(errs, "pilotlight.db") {
		t.Error(errs)
	}
	if after, err := os.ReadFile(store); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the newer store was changed: %v", err)
	}
}

// A port that is taken is told at once.
func TestATakenPortIsToldAtOnce(t *testing.T) {
	a := product.Start(t, product.Options{YAML: alone})
	listen := strings.TrimPrefix(a.URL, "http://")
	second := strings.NewReplacer("@DATA@", filepath.Join(t.TempDir(), "data"), "@PANEL@", listen, "@SIP@", fmt.Sprint("127.0.0.1:", product.FreePort(t))).Replace(alone)
	dir := writeFiles(t, map[string]string{"c.yaml": second})
	_, errs := product.RunCLI(t, product.Binary(t), 1, "", "run", "--config", filepath.Join(dir, "c.yaml"))
	if !strings.Contains(errs, "address already in use") {
		t.Error(errs)
	}
}

func TestAPanelForStrangersNeedsAnAccount(t *testing.T) {
	dir := writeFiles(t, map[string]string{"c.yaml": "branch: {id: a}\ndata_dir: data\npanel: {listen: \"0.0.0.0:8443\"}\nsip: {listen: [\"udp:127.0.0.1:0\"]}\n"})
	_, errs := product.RunCLI(t, product.Binary(t), 2, "", "run", "--config", filepath.Join(dir, "c.yaml"))
	if !strings.Contains(errs, "no account exists") || !strings.Contains(errs, "pilotlight user add") {
		t.Error(errs)
	}
}

// A store that rots is set aside, whole, and said so; the agent goes on.
func TestARottenStoreIsSetAside(t *testing.T) {
	a := product.Start(t, product.Options{YAML: alone})
	if err := a.Act("PUT", "/api/v1/presence/alice/manual", map[string]string{"availability": "busy"}); err != nil {
		t.Fatal(err)
	}
	a.Stop()
	store := filepath.Join(filepath.Dir(a.Config), "data", "pilotlight.db")
	f, err := os.OpenFile(store, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("rot", 3000)), 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	a.Token = "" // it is gone with the store
	a.Again()
	a.Ready()
	status := product.Get[struct {
		Store struct {
			SetAside string `json:"set_aside"`
		}
	}](a, "/api/v1/status")
	if !strings.Contains(status.Store.SetAside, "pilotlight.db.") {
		t.Errorf("set aside: %q", status.Store.SetAside)
	}
	if text, err := os.ReadFile(status.Store.SetAside); err != nil || !strings.HasPrefix(string(text), "rotrot") {
		t.Errorf("the bad file: %v", err)
	}
	if d := a.Presence("alice"); d.Availability != "unknown" {
		t.Errorf("%+v", d)
	}
}
