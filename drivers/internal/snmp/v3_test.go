package snmp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pilotlight/agent"
)

// snmpd is net-snmp's agent, whose version 3 is what others are compared with.
type snmpd struct {
	t    *testing.T
	dir  string
	addr netip.AddrPort
	cmd  *exec.Cmd
}

var (
	auths     = map[string]string{"md5": "MD5", "sha": "SHA", "sha224": "SHA-224", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
	privacies = map[string]string{
		"des": "DES", "aes": "AES", "aes192": "AES-192-C", "aes256": "AES-256-C", // as Cisco extends the key
		"aes192-blumenthal": "AES-192", "aes256-blumenthal": "AES-256",
	}
)

func startSnmpd(t *testing.T) *snmpd {
	t.Helper()
	if _, err := exec.LookPath("/usr/sbin/snmpd"); err != nil {
		t.Log("no /usr/sbin/snmpd: version 3 was not checked against net-snmp")
		return nil
	}
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &snmpd{t: t, dir: t.TempDir(), addr: free.LocalAddr().(*net.UDPAddr).AddrPort()}
	free.Close()
	d.start("pilotlight-1")
	t.Cleanup(d.stop)
	return d
}

// start runs it with an engine of that name, and waits until it answers. It
// keeps its state in a folder of its own.
func (d *snmpd) start(engine string) {
	d.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "agentaddress udp:%v\nrocommunity public 127.0.0.1\nsysName bench\nengineID %s\n", d.addr, engine)
	user := func(name, args, level string) {
		fmt.Fprintf(&b, "createUser %s %s\nrouser %s %s\n", name, args, name, level)
	}
	for a, auth := range auths {
		for p, priv := range privacies {
			user(a+p, fmt.Sprintf("%s auth-password %s priv-password", auth, priv), "priv")
		}
	}
	user("plain", "", "noauth")
	user("signed", "SHA-256 auth-password", "auth")
	conf, log := filepath.Join(d.dir, "snmpd.conf"), filepath.Join(d.dir, "log")
	if err := os.WriteFile(conf, []byte(b.String()), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.cmd = exec.Command("/usr/sbin/snmpd", "-f", "-Lf", log, "-I", "-systemstats,-diskio,-disk,-swrun,-hr_swrun")
	d.cmd.Env = append(os.Environ(), "SNMPCONFPATH="+d.dir, "SNMP_PERSISTENT_DIR="+filepath.Join(d.dir, "state"), "MIBS=")
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	c := client(d.t, Options{})
	for end := time.Now().Add(10 * time.Second); ; {
		s, err := c.Open(d.t.Context(), Target{Addr: d.addr, Credential: "ro"})
		if err == nil {
			_, err = s.Get(d.t.Context(), SysName)
			s.Close()
		}
		if err == nil {
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log)
			d.t.Fatalf("snmpd does not answer: %v\n%s", err, text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (d *snmpd) stop() {
	d.cmd.Process.Signal(syscall.SIGTERM)
	d.cmd.Wait()
}

// v3client has a credential for each way in, right and wrong.
func v3client(t *testing.T) *Client {
	t.Helper()
	right := func(name, user string, f func(*Credential)) Credential {
		c := Credential{
			Name: name, Version: "3", User: user, Auth: "sha256", AuthPasswordFile: "a.pw",
			Privacy: "aes", PrivacyPasswordFile: "p.pw",
		}
		if f != nil {
			f(&c)
		}
		return c
	}
	list := []Credential{
		right("no such user", "nobody", nil),
		right("wrong password", "sha256aes", func(c *Credential) { c.AuthPasswordFile = "other.pw" }),
		right("wrong privacy", "sha256aes", func(c *Credential) { c.PrivacyPasswordFile = "other.pw" }),
		right("no privacy there", "signed", nil),
		right("plain", "plain", func(c *Credential) { c.Auth, c.AuthPasswordFile, c.Privacy, c.PrivacyPasswordFile = "", "", "", "" }),
		right("signed", "signed", func(c *Credential) { c.Privacy, c.PrivacyPasswordFile = "", "" }),
	}
	for a := range auths {
		for p := range privacies {
			list = append(list, right(a+p, a+p, func(c *Credential) { c.Auth, c.Privacy = a, p }))
		}
	}
	c, err := New(Config{Credentials: list}, Options{Timeout: 300 * time.Millisecond, Secrets: func(path string) (string, error) {
		if path == "other.pw" {
			return "other-password", nil
		}
		return secrets(path)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask makes one visit.
func ask(t *testing.T, c *Client, to netip.AddrPort, credential string) (name string, tries int, err error) {
	t.Helper()
	s, err := c.Open(t.Context(), Target{Addr: to, Credential: credential})
	if err != nil {
		return "", 0, err
	}
	defer s.Close()
	v, err := s.Get(t.Context(), SysName)
	if err != nil {
		return "", s.Tries, err
	}
	return v[0].Text(), s.Tries, nil
}

func TestVersion3AgainstNetSNMP(t *testing.T) {
	d := startSnmpd(t)
	if d == nil {
		return
	}
	c := v3client(t)
	for a := range auths {
		for p := range privacies {
			if name, _, err := ask(t, c, d.addr, a+p); err != nil || name != "bench" {
				t.Errorf("%s with %s: %q, %v", a, p, name, err)
			}
		}
	}
	for _, level := range []string{"plain", "signed"} {
		if name, _, err := ask(t, c, d.addr, level); err != nil || name != "bench" {
			t.Errorf("%s: %q, %v", level, name, err)
		}
	}
	s, err := c.Open(t.Context(), Target{Addr: d.addr, Credential: "sha512aes256"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if table, err := s.Walk(t.Context(), IfTable); err != nil || len(table.Rows) == 0 || table.Partial {
		t.Errorf("walk: %d rows, %v", len(table.Rows), err)
	}
}

// What a device refuses is told, needs a person, and holds no secret.
func TestRefusalsOfVersion3AreToldApart(t *testing.T) {
	d := startSnmpd(t)
	if d == nil {
		return
	}
	c := v3client(t)
	for credential, want := range map[string]error{
		"no such user": ErrUser, "wrong password": ErrPassword, "wrong privacy": ErrPrivacy, "no privacy there": ErrLevel,
	} {
		// The second time the engine is known, and gosnmp itself sees no report.
		for range 2 {
			_, tries, err := ask(t, c, d.addr, credential)
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", credential, err, want)
				continue
			}
			var e *Error
			if want != ErrPrivacy && (!agent.IsPermanent(err) || tries > 1 || !errors.As(err, &e) || e.Outcome() != "denied") {
				t.Errorf("%s: permanent %v after %d tries", credential, agent.IsPermanent(err), tries)
			}
			if strings.Contains(err.Error(), "-password") {
				t.Errorf("a secret is told: %v", err)
			}
		}
	}
	if _, _, err := ask(t, c, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), d.addr.Port()), "sha256aes"); err == nil || errors.Is(err, ErrPrivacy) {
		t.Errorf("nobody there: %v", err)
	}
}

// Engine id, boots and time are kept; a restart and another engine are noticed.
func TestEnginesAreRememberedAndRediscovered(t *testing.T) {
	d := startSnmpd(t)
	if d == nil {
		return
	}
	c := v3client(t)
	visit := func(what string) {
		t.Helper()
		if name, tries, err := ask(t, c, d.addr, "sha256aes"); err != nil || name != "bench" {
			t.Fatalf("%s: %q after %d tries, %v", what, name, tries, err)
		}
	}
	visit("first")
	known := c.recall(Target{Addr: d.addr, Credential: "sha256aes"})
	if known.id == "" || known.boots == 0 {
		t.Fatalf("engine %+v", known)
	}
	s, err := c.Open(t.Context(), Target{Addr: d.addr, Credential: "sha256aes"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Get(t.Context(), SysName); err != nil || s.conn.packets != 1 {
		t.Errorf("the second visit took %d answers, want 1; %v", s.conn.packets, err)
	}
	d.stop()
	d.start("pilotlight-1")
	visit("after a restart")
	d.stop()
	d.start("another-box")
	visit("another engine")
	if now := c.recall(Target{Addr: d.addr, Credential: "sha256aes"}); now.id == known.id {
		t.Error("the old engine is kept")
	}
	// Our idea of its clock is far off.
	e := c.recall(Target{Addr: d.addr, Credential: "sha256aes"})
	e.time += 100_000
	c.remember(Target{Addr: d.addr, Credential: "sha256aes"}, e)
	visit("a clock far off")
	e.boots += 7
	c.remember(Target{Addr: d.addr, Credential: "sha256aes"}, e)
	visit("boots lost")
	e.boots = 0
	c.remember(Target{Addr: d.addr, Credential: "sha256aes"}, e)
	visit("boots gained")
}
