package branch

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/branch/internal/sipwire"
)

// ask sends a request to a phone as a stranger would, and gives the answer, or nil.
func ask(t *testing.T, p Phone, method string) *sipwire.Message {
	t.Helper()
	to := net.JoinHostPort(p.Address, fmt.Sprint(p.SIPPort))
	c, err := net.Dial("udp", to)
	must(t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "%s sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:%[2]s>\r\n"+
		"Call-ID: c1\r\nCSeq: 7 %[1]s\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", method, to, c.LocalAddr())
	must(t, err)
	must(t, c.SetReadDeadline(time.Now().Add(150*time.Millisecond)))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	m, err := sipwire.Parse(buf[:n])
	must(t, err)
	return m
}

// Who answers a stranger's OPTIONS, and by what name, is a matter of the family.
func TestOnlyMultiplatformPhonesAnswerStrangersAndByTheirOwnName(t *testing.T) {
	b := start(t, Options{Phones: len(models)})
	names := map[string]string{
		"CP-8851-3PCC": "Cisco-CP-8851-3PCC/11.3.7_MPP_0001", "SPA504G": "Cisco/SPA504G-7.6.2f", "ATA191": "Cisco/ATA191-11.2.2",
	}
	for _, p := range b.Phones() {
		m, want := ask(t, p, "OPTIONS"), names[p.Model]
		if m == nil || want == "" {
			if (m != nil) != (want != "") {
				t.Errorf("%s: answers: %v", p.Model, m != nil)
			}
			continue
		}
		if m.Status != 200 || m.Get("Server") != want || m.Get("User-Agent") != "" {
			t.Errorf("%s: %d, Server %q", p.Model, m.Status, m.Get("Server"))
		}
		if c := m.Get("Contact"); c != fmt.Sprintf("<sip:%s@%s:%d>", p.Number, p.Address, p.SIPPort) {
			t.Errorf("%s: Contact %s", p.Model, c)
		}
		allow := strings.Split(m.Get("Allow"), ",")
		for method, has := range map[string]bool{"INVITE": true, "OPTIONS": true, "PUBLISH": false, "MESSAGE": false} {
			if strings.Contains(" "+strings.Join(allow, " ")+" ", " "+method+" ") != has {
				t.Errorf("%s: Allow %q", p.Model, allow)
			}
		}
		if m := ask(t, p, "MESSAGE"); m == nil || m.Status != 405 || m.Get("Allow") == "" {
			t.Errorf("%s: MESSAGE: %+v", p.Model, m)
		}
	}
}

// The local target of a dialog is the phone's Contact: no number and no port that a
// stranger could use, where the phone is registered with Unified CM.
func TestTheTargetOfADialogIsTheContactOfTheFamily(t *testing.T) {
	b := start(t, Options{Phones: len(models), Unshared: true})
	for _, p := range b.Phones() {
		other := b.Phones()[0]
		if p.Name == other.Name {
			other = b.Phones()[1]
		}
		must(t, b.Call(other.Name, p.Name))
		w := newWire(t, b.CallServer())
		_, _, i := w.subscribe(p.Number, "t"+p.Name, 60)
		if len(i.Dialogs) != 1 {
			t.Fatalf("%s: %d dialogs", p.Model, len(i.Dialogs))
		}
		local := i.Dialogs[0].Local.Target
		mac := strings.ToLower(strings.TrimPrefix(p.Name, "SEP"))
		user, rest, _ := strings.Cut(strings.TrimPrefix(local.URI, "sip:"), "@")
		host, _, _ := strings.Cut(rest, ":")
		number := user == p.Number && strings.HasSuffix(local.URI, fmt.Sprintf(":%d", p.SIPPort)) && local.Params.get("+sip.instance") == ""
		uuid := len(user) == 36 && strings.HasSuffix(local.URI, ";transport=tcp") &&
			local.Params.get("+sip.instance") == "<urn:uuid:00000000-0000-0000-0000-"+mac+">" &&
			local.Params.get("+u.sip!devicename.ccm.cisco.com") == p.Name &&
			(local.Params.get("+u.sip!model.ccm.cisco.com") == "684") == (p.Model == "CP-8851")
		ours := p.Model == "CP-8851-3PCC" || p.Model == "SPA504G" || p.Model == "ATA191" || p.Model == "CP-7962G" // which speaks SCCP
		if host != p.Address || number != ours || uuid == ours || local.Params.get("+sip.rendering") != "yes" {
			t.Errorf("%s: %+v", p.Model, local)
		}
		must(t, b.Hangup(other.Name))
	}
}
