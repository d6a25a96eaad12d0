package sip

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
)

// answer200 takes a request and says yes.
func answer200(_ context.Context, in *Incoming) { _ = in.Respond(Reply{Status: 200}) }

func served(t *testing.T, cfg Config) *Endpoint {
	t.Helper()
	e, _ := atRest(t, cfg)
	for _, c := range []Claim{
		{Method: "MESSAGE"},
		{Method: "SUBSCRIBE", Event: "dialog", Accept: []string{"application/dialog-info+xml"}, Options: []string{"eventlist"}},
		{Method: "NOTIFY", Event: "dialog"},
		{Method: "PUBLISH", Event: "presence", Match: func(user, _ string) bool { return user == "alice b" }},
	} {
		if err := e.Handle(c, answer200); err != nil {
			t.Fatal(err)
		}
	}
	run(t, e)
	return e
}

func TestRequestsGetTheAnswerThatRFC3261AsksFor(t *testing.T) {
	e := served(t, Config{})
	uri := "sip:b@example.com"
	tests := []struct {
		name, msg string
		status    int
		has       string // in the answer
	}{
		{"claimed method", text("MESSAGE", uri), 200, ""},
		{"OPTIONS tells what is served", text("OPTIONS", uri), 200, "Allow: ACK, CANCEL, OPTIONS, SUBSCRIBE, NOTIFY, MESSAGE, PUBLISH"},
		{"OPTIONS tells the packages", text("OPTIONS", uri), 200, "Allow-Events: dialog"},
		{"OPTIONS tells the bodies", text("OPTIONS", uri), 200, "Accept: application/dialog-info+xml"},
		{"OPTIONS tells the extensions", text("OPTIONS", uri), 200, "Supported: eventlist"},
		{"Max-Forwards 0 is a proxy's matter", text("OPTIONS", uri, "Max-Forwards: 0"), 200, ""},
		{"no Max-Forwards", text("OPTIONS", uri, "Max-Forwards:"), 200, ""},
		{"version", strings.Replace(text("OPTIONS", uri), "SIP/2.0\r\n", "SIP/7.0\r\n", 1), 505, "SIP/2.0 505"},
		{"version in small letters", strings.Replace(text("OPTIONS", uri), "SIP/2.0\r\n", "sip/2.0\r\n", 1), 200, ""},
		{"no From", text("MESSAGE", uri, "From:"), 400, ""},
		{"no To", text("MESSAGE", uri, "To:"), 400, ""},
		{"no Call-ID", text("MESSAGE", uri, "Call-ID:"), 400, ""},
		{"no CSeq", text("MESSAGE", uri, "CSeq:"), 400, ""},
		{"two From", strings.Replace(text("MESSAGE", uri), "From:", "f: <sip:x@y>;tag=1\r\nFrom:", 1), 400, ""},
		{"CSeq of another method", text("MESSAGE", uri, "CSeq: 1 OPTIONS"), 400, ""},
		{"CSeq of 2^31", text("MESSAGE", uri, "CSeq: 2147483648 MESSAGE"), 400, ""},
		{"two Content-Length", strings.Replace(text("MESSAGE", uri), "Content-Length: 0", "Content-Length: 0\r\nl: 0", 1), 400, ""},
		{"body cut short", strings.Replace(text("MESSAGE", uri), "Content-Length: 0", "Content-Length: 9", 1), 400, ""},
		{"unknown method", text("FETCH", uri), 501, "Allow: ACK"},
		{"methods have case", text("options", uri), 501, ""},
		{"known method nobody takes", text("INVITE", uri), 405, "Allow: ACK"},
		{"dialog nobody has", text("BYE", uri, "To: <sip:b@example.com>;tag=x"), 481, ""},
		{"OPTIONS in a dialog nobody has", text("OPTIONS", uri, "To: <sip:b@example.com>;tag=x"), 481, ""},
		{"CANCEL of nothing", text("CANCEL", uri), 481, ""},
		{"unknown scheme", text("MESSAGE", "nobody:b@example.com"), 416, ""},
		{"scheme with a dot", text("MESSAGE", "soap.beep://192.0.2.103:3002"), 416, ""},
		{"tel", text("MESSAGE", "tel:+15551212"), 416, ""},
		{"headers in the Request-URI", text("MESSAGE", "sip:b@example.com?Subject=x"), 400, ""},
		{"unknown package", text("SUBSCRIBE", uri, "Event: weather"), 489, "Allow-Events: dialog"},
		{"no package", text("SUBSCRIBE", uri), 489, ""},
		{"packages have case", text("NOTIFY", uri, "Event: Dialog"), 489, ""},
		{"unknown package in a PUBLISH", text("PUBLISH", uri, "Event: weather"), 489, "Allow-Events: presence"},
		{"compact Event, with parameters", text("SUBSCRIBE", uri, "o: dialog ; id=7"), 200, ""},
		{"nobody there", text("PUBLISH", "sip:bob@example.com", "Event: presence"), 404, ""},
		{"user unescaped once", text("PUBLISH", "sip:alice%20b@example.com", "Event: presence"), 200, ""},
		{"extension", text("MESSAGE", uri, "Require: nothingSupportsThis, nor-this"), 420, "Unsupported: nothingSupportsThis, nor-this"},
		{"extension of OPTIONS", text("OPTIONS", uri, "Require: x"), 420, "Unsupported: x"},
		{"extension that the claim honours", text("SUBSCRIBE", uri, "Event: dialog", "Require: eventlist"), 200, ""},
		{"coded body", text("MESSAGE", uri, "Content-Encoding: gzip", "BODY:xx"), 415, "Accept-Encoding: identity"},
	}
	for _, transport := range []string{"udp", "tcp"} {
		p := dial(t, e, transport)
		for _, tt := range tests {
			t.Run(transport+"/"+tt.name, func(t *testing.T) {
				if transport == "tcp" && (tt.name == "two Content-Length" || tt.name == "body cut short") {
					return // framing: see the streams' own tests
				}
				msg := strings.Replace(tt.msg, "z9hG4bKt", "z9hG4bK"+transport, 1)
				status, res := p.ask(msg)
				if status != tt.status || !strings.Contains(res, tt.has) {
					t.Fatalf("want %d %q, got\n%s", tt.status, tt.has, res)
				}
				if headerOf(tt.msg, "Call-ID") != "" && headerOf(res, "Call-ID") != headerOf(tt.msg, "Call-ID") {
					t.Error("Call-ID does not come back")
				}
				if headerOf(res, "To") != "" && !strings.Contains(headerOf(res, "To"), ";tag=") {
					t.Error("no To tag")
				}
			})
		}
	}
}

func TestSilenceIsTheAnswerToWhatCannotBeAnswered(t *testing.T) {
	e := served(t, Config{})
	p := dial(t, e, "udp")
	for name, msg := range map[string]string{
		"ACK":                text("ACK", "sip:b@example.com"),
		"malformed ACK":      text("ACK", "sip:b@example.com", "From:"),
		"no Via":             text("OPTIONS", "sip:b@example.com", "Via:"),
		"stray response":     "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\nCSeq: 1 OPTIONS\r\n\r\n",
		"response, bad code": "SIP/2.0 4294967301 better not break the receiver\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\n\r\n",
		"zeros":              strings.Repeat("\x00", 100),
		"rubbish":            "hello, is this the printer?",
		"keep-alive":         "\r\n\r\n",
	} {
		p.send(msg)
		if status, res := p.ask(text("OPTIONS", "sip:b@example.com", "Call-ID: after-"+name)); status != 200 || headerOf(res, "Call-ID") != "after-"+name {
			t.Errorf("%s was answered: %s", name, res)
		}
	}
	if s := e.Stats(); s.Dropped["rubbish"] != 2 || s.Server != 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestAnswersWithoutStateAreTheSameToARetransmission(t *testing.T) {
	e := served(t, Config{})
	p := dial(t, e, "udp")
	msg := text("INVITE", "sip:b@example.com")
	_, one := p.ask(msg)
	_, two := p.ask(msg)
	if one != two {
		t.Errorf("differ:\n%s\n%s", one, two)
	}
	if s := e.Stats(); s.Server != 0 || s.Requests[Tally{"INVITE", "4xx"}] != 2 {
		t.Errorf("stats: %+v", s)
	}
}

func TestASecondClaimToTheSameIsAnError(t *testing.T) {
	some := func(string, string) bool { return true }
	tests := []struct {
		name string
		a, b Claim
		ok   bool
	}{
		{"same method", Claim{Method: "MESSAGE"}, Claim{Method: "MESSAGE"}, false},
		{"other method", Claim{Method: "MESSAGE"}, Claim{Method: "REGISTER"}, true},
		{"same package", Claim{Method: "NOTIFY", Event: "dialog"}, Claim{Method: "NOTIFY", Event: "dialog"}, false},
		{"other package", Claim{Method: "NOTIFY", Event: "dialog"}, Claim{Method: "NOTIFY", Event: "presence"}, true},
		{"all of it and a part", Claim{Method: "MESSAGE"}, Claim{Method: "MESSAGE", Match: some}, false},
		{"two parts", Claim{Method: "MESSAGE", Match: some}, Claim{Method: "MESSAGE", Match: some}, true},
		{"SUBSCRIBE without package", Claim{Method: "MESSAGE"}, Claim{Method: "SUBSCRIBE"}, false},
		{"MESSAGE with package", Claim{Method: "REGISTER"}, Claim{Method: "MESSAGE", Event: "dialog"}, false},
		{"no method of SIP", Claim{Method: "MESSAGE"}, Claim{Method: "GET"}, false},
	}
	for _, tt := range tests {
		e, _ := atRest(t, Config{})
		if err := e.Handle(tt.a, answer200); err != nil {
			t.Fatal(tt.name, err)
		}
		if err := e.Handle(tt.b, answer200); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestNewRefusesWhatItCannotListenOn(t *testing.T) {
	for _, tt := range []struct{ listen, want string }{
		{"tls:127.0.0.1", "want an address and a port"},
		{"5060", "want udp:HOST:PORT"},
		{"sctp:127.0.0.1:5060", "unknown transport"},
		{"udp:127.0.0.1", "want an address and a port"},
		{"udp:pbx.example.com:5060", "want an address and a port"},
	} {
		_, err := New(Config{Listen: []string{tt.listen}}, (&logs{}).logger())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.listen) {
			t.Errorf("%s: %v", tt.listen, err)
		}
	}
}

func TestARetransmissionIsAnsweredAndNotHandledAgain(t *testing.T) {
	e, _ := atRest(t, Config{})
	handled := make(chan string, 10)
	_ = e.Handle(Claim{Method: "NOTIFY", Event: "dialog"}, func(_ context.Context, in *Incoming) {
		handled <- in.CallID
		if in.Respond(Reply{Status: 200, Contact: "<sip:x@127.0.0.1>"}) != nil || in.Respond(Reply{Status: 500}) == nil {
			t.Error("answered twice, or not once")
		}
	})
	run(t, e)
	p := dial(t, e, "udp")
	msg := text("NOTIFY", "sip:b@example.com", "Event: dialog", "To: <sip:b@example.com>;tag=mine", "Record-Route: <sip:h;lr>")
	_, one := p.ask(msg)
	_, two := p.ask(msg)
	if one != two || statusOf(one) != 200 || headerOf(one, "To") != "<sip:b@example.com>;tag=mine" || headerOf(one, "Record-Route") != "<sip:h;lr>" {
		t.Errorf("answers:\n%s\n%s", one, two)
	}
	if len(handled) != 1 {
		t.Errorf("handled %d times", len(handled))
	}
}

func TestResponsesGoWhereTheViaSays(t *testing.T) {
	e, _ := atRest(t, Config{})
	run(t, e)
	other := dial(t, e, "udp") // listens at the port that the Via names
	p := dial(t, e, "udp")
	port := other.conn.LocalAddr().(*net.UDPAddr).Port
	uri := "sip:b@example.com"
	p.send(text("OPTIONS", uri, fmt.Sprintf("Via: SIP/2.0/UDP phone.example.com:%d ;branch = z9hG4bKa", port)))
	if got := headerOf(other.receive(), "Via"); got != fmt.Sprintf("SIP/2.0/UDP phone.example.com:%d;branch = z9hG4bKa;received=127.0.0.1", port) {
		t.Error(got)
	}
	p.send(text("OPTIONS", uri, fmt.Sprintf("Via: SIP/2.0/UDP 127.0.0.1:%d;rport;received=1.2.3.4;branch=z9hG4bKb, SIP/2.0/UDP second;branch=z9hG4bKc", port)))
	mine := p.conn.LocalAddr().(*net.UDPAddr).Port
	if got := headerOf(p.receive(), "Via"); got != fmt.Sprintf("SIP/2.0/UDP 127.0.0.1:%d;rport=%d;branch=z9hG4bKb;received=127.0.0.1, SIP/2.0/UDP second;branch=z9hG4bKc", port, mine) {
		t.Error(got)
	}
}
