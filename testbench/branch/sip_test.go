package branch

import (
	"encoding/xml"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// wire is a SIP client made of nothing but a UDP socket and text.
type wire struct {
	t    *testing.T
	conn *net.UDPConn
	to   string
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	to, _, _ = strings.Cut(strings.TrimPrefix(to, "sip:"), ";")
	return &wire{t, c, to}
}

func (w *wire) port() int { return w.conn.LocalAddr().(*net.UDPAddr).Port }

func (w *wire) send(text string) {
	w.t.Helper()
	a, err := net.ResolveUDPAddr("udp", w.to)
	must(w.t, err)
	_, err = w.conn.WriteToUDP([]byte(text), a)
	must(w.t, err)
}

// next is the next datagram, "" when none comes.
func (w *wire) next(wait time.Duration) string {
	buf := make([]byte, 65536)
	w.conn.SetReadDeadline(time.Now().Add(wait))
	n, _, err := w.conn.ReadFromUDP(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// request writes a request with the headers that every one has.
func (w *wire) request(method, uri, callID, to string, cseq int, body string, headers ...string) string {
	lines := []string{
		fmt.Sprintf("%s %s SIP/2.0", method, uri),
		fmt.Sprintf("Via: SIP/2.0/UDP 127.0.0.1:%d;rport;branch=z9hG4bK%s%d%s", w.port(), callID, cseq, method),
		"Max-Forwards: 70", "From: <sip:agent@example.com>;tag=me", "To: " + to, "Call-ID: " + callID,
		fmt.Sprintf("CSeq: %d %s", cseq, method), fmt.Sprintf("Contact: <sip:agent@127.0.0.1:%d>", w.port()),
	}
	lines = append(lines, headers...)
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body)
	return strings.Join(lines, "\r\n")
}

// header is a header's value in a message.
func header(msg, name string) string {
	head, _, _ := strings.Cut(msg, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func status(msg string) string {
	line, _, _ := strings.Cut(strings.TrimPrefix(msg, "SIP/2.0 "), " ")
	return line
}

// answer says 200 to a request.
func (w *wire) answer(msg, code string) {
	var lines []string
	lines = append(lines, "SIP/2.0 "+code+" X")
	for _, h := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		lines = append(lines, h+": "+header(msg, h))
	}
	w.send(strings.Join(append(lines, "Content-Length: 0", "", ""), "\r\n"))
}

// info is dialog-info, as encoding/xml reads it.
type info struct {
	Version int    `xml:"version,attr"`
	State   string `xml:"state,attr"`
	Entity  string `xml:"entity,attr"`
	Dialogs []struct {
		ID        string `xml:"id,attr"`
		CallID    string `xml:"call-id,attr"`
		Direction string `xml:"direction,attr"`
		State     struct {
			Event string `xml:"event,attr"`
			Word  string `xml:",chardata"`
		} `xml:"state"`
		Referred      string `xml:"referred-by"`
		Local, Remote struct {
			Identity string `xml:"identity"`
			Target   struct {
				URI    string  `xml:"uri,attr"`
				Params feature `xml:"param"`
			} `xml:"target"`
		}
	} `xml:"dialog"`
}

// feature is the parameters of a target.
type feature []struct {
	Name  string `xml:"pname,attr"`
	Value string `xml:"pval,attr"`
}

func (all feature) get(name string) string {
	for _, f := range all {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// notify takes the next NOTIFY, and answers it.
func (w *wire) notify() (string, info) {
	w.t.Helper()
	msg := w.next(2 * time.Second)
	if !strings.HasPrefix(msg, "NOTIFY ") {
		w.t.Fatalf("want a NOTIFY, got %.200q", msg)
	}
	w.answer(msg, "200")
	var i info
	_, body, _ := strings.Cut(msg, "\r\n\r\n")
	body = strings.NewReplacer("<local>", "<Local>", "</local>", "</Local>", "<remote>", "<Remote>", "</remote>", "</Remote>").Replace(body)
	must(w.t, xml.Unmarshal([]byte(body), &i))
	return msg, i
}

// subscribe subscribes to a line, and takes the first NOTIFY.
func (w *wire) subscribe(line, callID string, expires int) (ok, first string, state info) {
	w.t.Helper()
	uri := "sip:" + line + "@example.com"
	w.send(w.request("SUBSCRIBE", uri, callID, "<"+uri+">", 1, "", "Event: dialog",
		"Accept: application/dialog-info+xml", fmt.Sprintf("Expires: %d", expires)))
	ok = w.next(2 * time.Second)
	if status(ok) != "200" {
		w.t.Fatalf("SUBSCRIBE: %.300q", ok)
	}
	first, state = w.notify()
	return ok, first, state
}

func TestALineTellsItsCallFromRingingToTheEnd(t *testing.T) {
	b := start(t, Options{Phones: 4})
	p, q := b.Phones()[0], b.Phones()[1]
	w := newWire(t, b.CallServer())
	ok, first, now := w.subscribe(q.Number, "c1", 600)
	if header(ok, "Expires") != "600" || now.State != "full" || now.Version != 0 || len(now.Dialogs) != 0 {
		t.Errorf("at first: expires %s, %+v", header(ok, "Expires"), now)
	}
	if now.Entity != "sip:"+q.Number+"@example.com" || !strings.HasPrefix(header(first, "Subscription-State"), "active;expires=") {
		t.Errorf("entity %s, %s", now.Entity, header(first, "Subscription-State"))
	}
	if header(first, "From") != header(ok, "To") || !strings.Contains(header(first, "To"), "tag=me") {
		t.Errorf("the NOTIFY is not in the dialog: From %s, To %s", header(first, "From"), header(first, "To"))
	}
	steps := []struct {
		do                  func() error
		state, event, sound string
	}{
		{func() error { return b.Call(p.Name, q.Name) }, "early", "", "yes"},
		{func() error { return b.Answer(q.Name) }, "confirmed", "", "yes"},
		{func() error { return b.Hold(q.Name) }, "confirmed", "", "no"},
		{func() error { return b.Resume(q.Name) }, "confirmed", "", "yes"},
		{func() error { return b.Hangup(p.Name) }, "terminated", "remote-bye", "yes"},
	}
	for i, s := range steps {
		must(t, s.do())
		msg, now := w.notify()
		if now.Version != i+1 || header(msg, "CSeq") != fmt.Sprintf("%d NOTIFY", i+2) {
			t.Errorf("step %d: version %d, CSeq %s", i, now.Version, header(msg, "CSeq"))
		}
		if len(now.Dialogs) != 1 {
			t.Fatalf("step %d: %d dialogs", i, len(now.Dialogs))
		}
		d := now.Dialogs[0]
		if d.State.Word != s.state || d.State.Event != s.event || d.Direction != "recipient" || d.Local.Target.Params.get("+sip.rendering") != s.sound {
			t.Errorf("step %d: %+v", i, d)
		}
		if !strings.Contains(d.Local.Target.URI, "@"+q.Address+":") || d.Remote.Identity != "sip:"+p.Number+"@example.com" {
			t.Errorf("step %d: local target %s, remote %s", i, d.Local.Target.URI, d.Remote.Identity)
		}
	}
	must(t, b.Call(q.Name, p.Name))
	if _, now := w.notify(); len(now.Dialogs) != 1 || now.Dialogs[0].Direction != "initiator" {
		t.Errorf("calling out: %+v", now)
	}
}

func TestASubscriptionIsRefreshedEndedAndForgotten(t *testing.T) {
	b := start(t, Options{Phones: 2})
	line := b.Phones()[0].Number
	w := newWire(t, b.CallServer())
	ok, _, _ := w.subscribe(line, "c2", 600)
	uri, to := "sip:"+line+"@example.com", header(ok, "To")

	refresh := w.request("SUBSCRIBE", uri, "c2", to, 2, "", "Event: dialog", "Expires: 300")
	w.send(refresh)
	again := w.next(time.Second)
	if status(again) != "200" || header(again, "Expires") != "300" {
		t.Fatalf("refresh: %.200q", again)
	}
	w.notify()
	w.send(refresh) // lost on the way: it comes again
	if second := w.next(time.Second); second != again {
		t.Errorf("a retransmission got another answer: %.200q", second)
	}
	w.send(w.request("SUBSCRIBE", uri, "c2", to, 1, "", "Event: dialog", "X: a new branch with an old CSeq", "Expires: 300"))
	w.next(time.Second) // the very first transaction, answered as before
	w.send(w.request("SUBSCRIBE", uri, "c2", to, 3, "", "Event: dialog", "Expires: 0"))
	w.next(time.Second)
	if last, _ := w.notify(); header(last, "Subscription-State") != "terminated;reason=timeout" {
		t.Errorf("the last NOTIFY: %s", header(last, "Subscription-State"))
	}
	eventually(t, "the subscription is forgotten", func() bool { held, _ := b.Subscriptions(); return held == 0 })
	w.send(w.request("SUBSCRIBE", uri, "c2", to, 4, "", "Event: dialog", "Expires: 300"))
	if r := w.next(time.Second); status(r) != "481" {
		t.Errorf("after the end: %.100q", r)
	}
}

func TestASubscriptionThatIsNotRefreshedTimesOut(t *testing.T) {
	b := start(t, Options{Phones: 2})
	w := newWire(t, b.CallServer())
	w.subscribe(b.Phones()[0].Number, "c3", 1)
	if last, _ := w.notify(); header(last, "Subscription-State") != "terminated;reason=timeout" {
		t.Errorf("%s", header(last, "Subscription-State"))
	}
}

func TestANotifyIsSentAgainAndWhatChangesMeanwhileIsMerged(t *testing.T) {
	b := start(t, Options{Phones: 4})
	p, q := b.Phones()[0], b.Phones()[1]
	w := newWire(t, b.CallServer())
	w.subscribe(p.Number, "c4", 600)
	must(t, b.Call(p.Name, q.Name))
	early := w.next(time.Second)
	must(t, b.Answer(q.Name)) // while the NOTIFY of "early" is not answered
	if again := w.next(2 * time.Second); again != early {
		t.Errorf("want the same NOTIFY again, got %.100q", again)
	}
	w.answer(early, "200")
	if _, now := w.notify(); now.Version != 2 || now.Dialogs[0].State.Word != "confirmed" {
		t.Errorf("after the answer: %+v", now)
	}
}

func TestASubscriberThatSaysNoIsForgotten(t *testing.T) {
	b := start(t, Options{Phones: 4})
	w := newWire(t, b.CallServer())
	w.subscribe(b.Phones()[0].Number, "c5", 600)
	must(t, b.Call(b.Phones()[0].Name, b.Phones()[1].Name))
	w.answer(w.next(time.Second), "481")
	eventually(t, "the subscription goes", func() bool { held, _ := b.Subscriptions(); return held == 0 })
}

func TestDroppedSubscriptionsAreToldOrNot(t *testing.T) {
	b := start(t, Options{Phones: 2})
	w := newWire(t, b.CallServer())
	w.subscribe(b.Phones()[0].Number, "c6", 600)
	b.DropSubscriptions(false)
	if last, _ := w.notify(); header(last, "Subscription-State") != "terminated;reason=deactivated" {
		t.Errorf("%s", header(last, "Subscription-State"))
	}
	w.subscribe(b.Phones()[1].Number, "c7", 600)
	b.DropSubscriptions(true)
	if held, taken := b.Subscriptions(); held != 0 || taken != 2 {
		t.Errorf("%d held, %d taken", held, taken)
	}
	if msg := w.next(100 * time.Millisecond); msg != "" {
		t.Errorf("silently, and yet: %.100q", msg)
	}
}

func TestTheCallServerRefusesWhatItCannotDo(t *testing.T) {
	b := start(t, Options{Phones: 2})
	w := newWire(t, b.CallServer())
	line := "sip:" + b.Phones()[0].Number + "@example.com"
	for i, c := range []struct{ method, uri, want, headers string }{
		{"SUBSCRIBE", line, "489", "Event: presence"},
		{"SUBSCRIBE", line, "406", "Event: dialog\r\nAccept: text/plain"},
		{"SUBSCRIBE", "sip:nobody@example.com", "404", "Event: dialog"},
		{"INVITE", line, "405", "X: y"},
		{"OPTIONS", line, "200", "X: y"},
	} {
		w.send(w.request(c.method, c.uri, fmt.Sprintf("r%d", i), "<"+c.uri+">", 1, "", c.headers))
		if got := w.next(time.Second); status(got) != c.want {
			t.Errorf("%s %s (%s): %.80q, want %s", c.method, c.uri, c.headers, got, c.want)
		}
	}
	w.send("rubbish\r\n\r\n")
	w.send("SUBSCRIBE sip:x SIP/2.0\r\nVia: x\r\n\r\n")
	if got := w.next(50 * time.Millisecond); got != "" {
		t.Errorf("rubbish got an answer: %q", got)
	}
}

func TestOnlyAMultiplatformPhoneAnswersOptions(t *testing.T) {
	b := start(t, Options{Phones: 8})
	ask := func(p Phone) string {
		w := newWire(t, fmt.Sprintf("%s:%d", p.Address, p.SIPPort))
		uri := fmt.Sprintf("sip:%s:%d", p.Address, p.SIPPort)
		w.send(w.request("OPTIONS", uri, "o1", "<"+uri+">", 1, ""))
		return w.next(100 * time.Millisecond)
	}
	mpp := byModel(t, b, "CP-8851-3PCC")
	if r := ask(mpp); status(r) != "200" || !strings.Contains(header(r, "Server"), "3PCC") || !strings.Contains(r, "m=audio") {
		t.Errorf("multiplatform: %.200q", r)
	}
	if r := ask(byModel(t, b, "CP-8841")); r != "" {
		t.Errorf("an enterprise phone answered a stranger: %.100q", r)
	}
	must(t, b.Unplug(mpp.Name))
	if r := ask(mpp); r != "" {
		t.Errorf("an unplugged phone answered: %.100q", r)
	}
}

func TestTheCallServerSpeaksTCP(t *testing.T) {
	b := start(t, Options{Phones: 2})
	at, _, _ := strings.Cut(strings.TrimPrefix(b.CallServer(), "sip:"), ";")
	c, err := net.Dial("tcp", at)
	must(t, err)
	defer c.Close()
	w := &wire{t: t, conn: newWire(t, at).conn}
	uri := "sip:" + b.Phones()[0].Number + "@example.com"
	req := w.request("SUBSCRIBE", uri, "t1", "<"+uri+">", 1, "", "Event: dialog", "Expires: 60")
	req = strings.Replace(req, "SIP/2.0/UDP", "SIP/2.0/TCP", 1)
	for _, half := range []string{req[:100], req[100:]} {
		_, err = c.Write([]byte(half))
		must(t, err)
	}
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), "</dialog-info>") {
		n, err := c.Read(buf)
		must(t, err)
		got.Write(buf[:n])
	}
	if s := got.String(); !strings.HasPrefix(s, "SIP/2.0 200") || !strings.Contains(s, "NOTIFY sip:agent@") {
		t.Errorf("%q", s)
	}
}
