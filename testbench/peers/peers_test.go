package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func says(part ...string) func(Notification) bool {
	return func(n Notification) bool {
		for _, p := range part {
			if !strings.Contains(n.Body, p) {
				return false
			}
		}
		return true
	}
}

// TestACallThroughKamailioIsSeenByAWatcher: two baresips register, one calls the
// other, and a watcher of each line is told early, confirmed, terminated.
func TestACallThroughKamailioIsSeenByAWatcher(t *testing.T) {
	if !Need(t, "kamailio", "sqlite3", "baresip") {
		return
	}
	k := Kamailio(t, WithDialogInfo())
	alice := Baresip(t, WithAccount("alice"), WithServer(k))
	bob := Baresip(t, WithAccount("bob"), WithServer(k), WithManualAnswer())
	lineA := Watcher(t, k.Addr, k.URI("alice"), "dialog", "application/dialog-info+xml")
	lineB := Watcher(t, k.Addr, k.URI("bob"), "dialog", "application/dialog-info+xml")

	if err := alice.Dial(k.URI("bob")); err != nil {
		t.Fatal(err)
	}
	bob.WaitEvent(t, "CALL_INCOMING")
	lineB.Await(t, "early, as recipient", says(`entity="sip:bob@`, `direction="recipient"`, "<state>early</state>"))
	lineA.Await(t, "early, as initiator", says(`entity="sip:alice@`, `direction="initiator"`, "<state>early</state>"))
	if err := bob.Accept(); err != nil {
		t.Fatal(err)
	}
	alice.WaitEvent(t, "CALL_ESTABLISHED")
	lineA.Await(t, "confirmed", says("<state>confirmed</state>"))
	lineB.Await(t, "confirmed", says("<state>confirmed</state>"))
	if err := alice.Hold(); err != nil {
		t.Error(err)
	}
	if err := alice.Resume(); err != nil {
		t.Error(err)
	}
	if err := alice.Hangup(); err != nil {
		t.Fatal(err)
	}
	bob.WaitEvent(t, "CALL_CLOSED")
	lineA.Await(t, "terminated", says("<state>terminated</state>"))
	lineB.Await(t, "terminated", says("<state>terminated</state>"))
}

const pidf = `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com">` +
	`<tuple id="t1"><status><basic>open</basic></status><note>MARK</note></tuple></presence>`

func TestWhatIsPublishedIsWhatAWatcherIsTold(t *testing.T) {
	if !Need(t, "kamailio", "sqlite3") {
		return
	}
	k := Kamailio(t, WithPresence())
	w := Watcher(t, k.Addr, k.URI("alice"), "presence")
	p := Publish(t, k.Addr, k.URI("alice"), "presence")
	for _, mark := range []string{"one", "two"} {
		status, err := p.Send(600, "application/pidf+xml", strings.Replace(pidf, "MARK", mark, 1))
		if err != nil || status != 200 || p.ETag == "" {
			t.Fatal(status, err)
		}
		w.Await(t, mark, says("<note>"+mark+"</note>"))
	}
	if err := w.Refresh(); err != nil {
		t.Error(err)
	}
	if status, err := p.Send(600, "", ""); status != 200 {
		t.Errorf("refresh: %d %v", status, err)
	}
	p.ETag = strings.Replace(p.ETag, ".", ".9", 1) // one of its own form, and not its own
	if status, err := p.Send(600, "", ""); status != 412 {
		t.Errorf("%d %v, want 412", status, err)
	}
}

func TestDigestIsAskedOfPublishers(t *testing.T) {
	if !Need(t, "kamailio", "sqlite3") {
		return
	}
	k := Kamailio(t, WithPresence(), WithDigest("branch", "secret"))
	p := Publish(t, k.Addr, k.URI("alice"), "presence")
	if status, err := p.Send(600, "application/pidf+xml", pidf); status != 401 {
		t.Errorf("%d %v, want 401", status, err)
	}
}

// TestTwoPhonesWithoutAServer call each other directly.
func TestTwoPhonesWithoutAServer(t *testing.T) {
	if !Need(t, "baresip") {
		return
	}
	alice, bob := Baresip(t, WithAccount("alice")), Baresip(t, WithAccount("bob"))
	if err := alice.Dial(bob.URI); err != nil {
		t.Fatal(err)
	}
	alice.WaitEvent(t, "CALL_ESTABLISHED")
	if err := bob.Hangup(); err != nil {
		t.Fatal(err)
	}
	alice.WaitEvent(t, "CALL_CLOSED")
}

func TestSnmpdKnowsItsUsers(t *testing.T) {
	if !Need(t, "snmpd", "snmpget") {
		return
	}
	addr := Snmpd(t, SNMPUser{Name: "pilot", Auth: "SHA-256", AuthPass: "authpass123", Privacy: "AES", PrivPass: "privpass123"})
	get := func(args ...string) (string, error) {
		cmd := exec.Command("snmpget", append(append([]string{"-v3", "-u", "pilot", "-r1", "-t2"}, args...), addr, ".1.3.6.1.2.1.1.6.0")...)
		cmd.Env = append(os.Environ(), "MIBS=")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := get("-l", "authPriv", "-a", "SHA-256", "-A", "authpass123", "-x", "AES", "-X", "privpass123"); err != nil || !strings.Contains(out, "bench") {
		t.Error(out, err)
	}
	if out, err := get("-l", "authNoPriv", "-a", "SHA-256", "-A", "authpass123"); err == nil {
		t.Error("answered without privacy", out)
	}
}

func TestSnmpsimServesARecording(t *testing.T) {
	if !Need(t, SnmpsimProgram, "snmpget") {
		return
	}
	dir := t.TempDir()
	write(t, dir, "branch.snmprec", "1.3.6.1.2.1.1.1.0|4|a switch\n1.3.6.1.2.1.1.5.0|4|sw1\n")
	addr := Snmpsim(t, dir)
	cmd := exec.Command("snmpget", "-v2c", "-c", "branch", addr, ".1.3.6.1.2.1.1.5.0")
	cmd.Env = append(os.Environ(), "MIBS=")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "sw1") {
		t.Errorf("%s %v", out, err)
	}
}

// TestNothingIsLeftBehind: the folders go, and so do the processes.
func TestNothingIsLeftBehind(t *testing.T) {
	if !Need(t, "kamailio", "sqlite3") {
		return
	}
	var addr, dir string
	t.Run("inner", func(t *testing.T) {
		k := Kamailio(t, WithPresence())
		addr, dir = k.Addr, k.p.cmd.Dir
	})
	if err := pingSIP(addr); err == nil {
		t.Error("it still answers")
	}
	if left, _ := filepath.Glob(dir + "*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
