package peers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// SNMPUser is a user of SNMPv3 (RFC 3414). Auth is such as SHA-256, Privacy such
// as AES; empty: none.
type SNMPUser struct {
	Name              string
	Auth, AuthPass    string
	Privacy, PrivPass string
}

// level is what snmpd.conf calls the user's security level.
func (u SNMPUser) level() string {
	switch {
	case u.Auth == "":
		return "noauth"
	case u.Privacy == "":
		return "auth"
	}
	return "priv"
}

// Snmpd starts net-snmp's agent with SNMPv3 users, besides the community
// "public" for v2c, and gives its address. sysLocation is "bench".
func Snmpd(t testing.TB, users ...SNMPUser) (addr string) {
	t.Helper()
	dir := shortDir(t)
	addr = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	text := "agentAddress udp:" + addr + "\nrocommunity public 127.0.0.0/8\nsysLocation bench\nsysName bench-snmpd\n"
	for _, u := range users {
		text += "createUser " + u.Name
		if u.Auth != "" {
			text += fmt.Sprintf(" %s %q", u.Auth, u.AuthPass)
		}
		if u.Privacy != "" {
			text += fmt.Sprintf(" %s %q", u.Privacy, u.PrivPass)
		}
		text += fmt.Sprintf("\nrouser %s %s\n", u.Name, u.level())
	}
	conf := write(t, dir, "snmpd.conf", text)
	// A persistent folder of its own: the engine id and its boots start fresh.
	p := start(t, syscall.SIGTERM, dir, []string{"MIBS=", "SNMP_PERSISTENT_DIR=" + filepath.Join(dir, "var")},
		"snmpd", "-f", "-Lo", "-C", "-c", conf, "-m", "", "-p", filepath.Join(dir, "pid"), "-I", "-smux,mteTrigger,mteTriggerConf")
	p.ready(t, func() error { return pingSNMP(addr, "public") })
	return addr
}

// Snmpsim serves the .snmprec files of a folder, each under the community that
// is its name without the ending, and gives its address.
func Snmpsim(t testing.TB, recordings string) (addr string) {
	t.Helper()
	dir := shortDir(t)
	data := filepath.Join(dir, "data")
	files, err := filepath.Glob(filepath.Join(recordings, "*.snmprec"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no .snmprec in %s (%v)", recordings, err)
	}
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(data, filepath.Base(f)), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	addr = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	args := []string{"--data-dir=" + data, "--cache-dir=" + filepath.Join(dir, "cache"), "--logging-method=stderr", "--agent-udpv4-endpoint=" + addr}
	if os.Getuid() == 0 { // it refuses to stay root
		args = append(args, "--process-user=nobody", "--process-group=nogroup")
		open(t, dir)
	}
	p := start(t, syscall.SIGTERM, dir, nil, SnmpsimProgram, args...)
	community := filepath.Base(files[0])
	community = community[:len(community)-len(".snmprec")]
	p.ready(t, func() error { return pingSNMP(addr, community) })
	return addr
}

// SnmpsimProgram is what Debian 12 calls it; snmpsim 1.0 says snmpsim-command-responder.
const SnmpsimProgram = "snmpsimd"

// open lets the user nobody into a folder.
func open(t testing.TB, dir string) {
	t.Helper()
	err := os.Mkdir(filepath.Join(dir, "cache"), 0o777)
	if err == nil {
		err = os.Chmod(filepath.Join(dir, "cache"), 0o777)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pingSNMP asks for the next object after 1.3 (RFC 3416 §4.2.2), SNMPv2c.
func pingSNMP(addr, community string) error {
	tlv := func(tag byte, parts ...[]byte) []byte {
		var v []byte
		for _, p := range parts {
			v = append(v, p...)
		}
		return append([]byte{tag, byte(len(v))}, v...) // short form: all is below 128 bytes
	}
	number := func(n byte) []byte { return []byte{2, 1, n} }
	bind := tlv(0x30, tlv(0x06, []byte{0x2b}), []byte{5, 0})
	pdu := tlv(0xa1, number(1), number(0), number(0), tlv(0x30, bind))
	msg := tlv(0x30, number(1), tlv(0x04, []byte(community)), pdu)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1500))
	return err
}
