package sipwire

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const options = "OPTIONS sip:1001@127.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:5099;rport;branch=z9hG4bK1\r\n" +
	"f: \"A;B\" <sip:a@example.com;x=y>;tag=1\r\nTo: <sip:1001@127.0.0.1>\r\ni: 7@x\r\nCSeq: 4 OPTIONS\r\n" +
	"Subject: folded\r\n over two lines\r\nl: 3\r\n\r\nabcrest"

func TestParseReadsCompactFoldedAndPaddedHeaders(t *testing.T) {
	m, err := Parse([]byte(options))
	if err != nil {
		t.Fatal(err)
	}
	n, method := m.CSeq()
	if m.Method != "OPTIONS" || m.URI != "sip:1001@127.0.0.1" || string(m.Body) != "abc" || n != 4 || method != "OPTIONS" {
		t.Errorf("%+v", m)
	}
	if m.Get("subject") != "folded over two lines" || m.Get("Call-ID") != "7@x" {
		t.Errorf("%q, %q", m.Get("Subject"), m.Get("Call-ID"))
	}
	if Param(m.Get("From"), "tag") != "1" || AddrSpec(m.Get("From")) != "sip:a@example.com;x=y" {
		t.Errorf("From: tag %q, address %q", Param(m.Get("From"), "tag"), AddrSpec(m.Get("From")))
	}
}

func TestParseRefusesWhatIsNoMessage(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "no end of headers": "OPTIONS sip:x SIP/2.0\r\n", "another version": strings.Replace(options, "SIP/2.0\r\n", "SIP/3.0\r\n", 1),
		"no From": strings.Replace(options, "f: ", "x: ", 1), "a body that is cut": strings.Replace(options, "l: 3", "l: 300", 1),
		"a negative length": strings.Replace(options, "l: 3", "l: -3", 1), "a status out of range": "SIP/2.0 99 No\r\n\r\n",
		"a header without colon": strings.Replace(options, "l: 3", "l 3", 1),
		"many headers":           strings.Replace(options, "l: 3", strings.Repeat("a: b\r\n", 200)+"l: 3", 1),
	} {
		if m, err := Parse([]byte(s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestAStreamIsFramedByContentLength(t *testing.T) {
	one := strings.TrimSuffix(options, "rest")
	r := bufio.NewReader(strings.NewReader("\r\n\r\n" + one + one))
	for range 2 {
		m, err := Read(r)
		if err != nil || string(m.Body) != "abc" {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if _, err := Read(bufio.NewReader(strings.NewReader(strings.Replace(one, "l: 3\r\n", "", 1)))); !errors.Is(err, ErrMalformed) {
		t.Errorf("without Content-Length: %v", err)
	}
	endless := strings.NewReader("OPTIONS sip:x SIP/2.0\r\n" + strings.Repeat("a: b\r\n", 20000))
	if _, err := Read(bufio.NewReader(endless)); !errors.Is(err, ErrMalformed) {
		t.Errorf("headers without end: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(options))
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: a\r\nFrom: b\r\nTo: c\r\nCall-ID: d\r\nCSeq: 1 PUBLISH\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(m.Bytes())
		if err != nil {
			t.Fatalf("%q is not read back: %v", m.Bytes(), err)
		}
		if !bytes.Equal(again.Body, m.Body) || again.Method != m.Method || again.Status != m.Status {
			t.Fatalf("%q came back as %q", m.Bytes(), again.Bytes())
		}
	})
}

// echo is a server that answers 200 and counts what reaches it.
func echo(t *testing.T) (*Server, chan *Message) {
	t.Helper()
	seen := make(chan *Message, 16)
	s, err := Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(func(m *Message, p Peer) {
		seen <- m
		p.Reply(m, Answer(m, 200, "OK", Token()))
	})
	t.Cleanup(s.Close)
	return s, seen
}

func TestARetransmissionGetsTheSameAnswerAndReachesNobody(t *testing.T) {
	s, seen := echo(t)
	c, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() string {
		c.Write([]byte(options))
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		buf := make([]byte, 2048)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if one, two := ask(), ask(); one != two {
		t.Errorf("%q and %q", one, two)
	} else if !strings.Contains(one, ";received=127.0.0.1") || strings.Contains(one, ";rport;") {
		t.Errorf("the Via does not say where the request came from (RFC 3581): %q", one)
	}
	if len(seen) != 1 {
		t.Errorf("%d requests were handled", len(seen))
	}
}

func TestNobodyOutsideLoopbackIsEverCalled(t *testing.T) {
	s, _ := echo(t)
	for _, host := range []string{"192.0.2.1", "example.com", "8.8.8.8", ""} {
		if _, err := s.Dial(URI{Host: host, Port: "5060"}); err == nil {
			t.Errorf("%q: dialled", host)
		}
	}
}

func TestAPeerCanBeCalledOverTCP(t *testing.T) {
	s, _ := echo(t)
	other, seen := echo(t)
	p, err := s.Dial(URI{Host: "127.0.0.1", Port: strings.TrimPrefix(other.Addr().String(), "127.0.0.1:"), Transport: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	p.Send([]byte(strings.TrimSuffix(options, "rest")))
	select {
	case m := <-seen:
		if m.Method != "OPTIONS" || p.Transport() != "TCP" {
			t.Errorf("%+v over %s", m, p.Transport())
		}
	case <-time.After(2 * time.Second):
		t.Error("nothing came")
	}
}

func TestURIs(t *testing.T) {
	u, err := ParseURI("sip:1001@127.0.0.1:5080;transport=TCP;lr?x=y")
	if err != nil || u != (URI{"1001", "127.0.0.1", "5080", "tcp"}) {
		t.Errorf("%+v, %v", u, err)
	}
	for _, bad := range []string{"", "tel:1", "sip:", "sip:x@"} {
		if u, err := ParseURI(bad); err == nil {
			t.Errorf("%q: %+v", bad, u)
		}
	}
}
