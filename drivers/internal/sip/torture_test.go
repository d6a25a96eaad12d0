package sip

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// tortureCase is an entry of the samples' index.json.
type tortureCase struct {
	Name, File, Kind, Class string
	UA                      []int `json:"ua_status"`
}

func tortureCases(t testing.TB) (dir string, list []tortureCase) {
	if dir = shared(t, "sip/torture"); dir == "" {
		return "", nil
	}
	var index struct{ Messages []tortureCase }
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err == nil {
		err = json.Unmarshal(b, &index)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, index.Messages
}

// The messages of RFC 4475 and RFC 5118, each over UDP and TCP. What must hold
// here: the endpoint lives and answers an OPTIONS after each. How many of the
// answers are the ones the RFCs want is logged. An endpoint without claims to
// INVITE and REGISTER owes 405 where a phone or a registrar owes 200.
func TestTheEndpointSurvivesTheTortureMessages(t *testing.T) {
	dir, list := tortureCases(t)
	if dir == "" {
		return
	}
	e := served(t, Config{Patience: 200 * time.Millisecond})
	for _, transport := range []string{"udp", "tcp"} {
		right := 0
		for _, c := range list {
			msg, err := os.ReadFile(filepath.Join(dir, c.File))
			if err != nil {
				t.Fatal(err)
			}
			got := torture(t, e, transport, string(msg))
			ok := conforms(c, transport, got)
			if ok {
				right++
			} else {
				t.Logf("%s %s (%s): want %v, got %d", transport, c.Name, c.Class, c.UA, got)
			}
		}
		t.Logf("%s: %d of %d conform", transport, right, len(list))
		if right < len(list) {
			t.Errorf("%s: only %d of %d conform", transport, right, len(list))
		}
	}
}

// everything claims what a branch may serve, each by a handler that does what
// RFC 3261 asks of its method and no more.
func everything(t *testing.T, e *Endpoint) {
	t.Helper()
	takes := func(kinds ...string) Handler {
		return func(_ context.Context, in *Incoming) {
			kind, _, _ := strings.Cut(in.Header.Get("Content-Type"), ";")
			accept := in.Header.Get("Accept")
			switch {
			case len(in.Body) > 0 && !slices.Contains(kinds, strings.ToLower(trim(kind))): // §8.2.3
				in.Respond(Reply{Status: 415, Header: Header{{"Accept", strings.Join(kinds, ", ")}}})
			case in.Method == "INVITE" && accept != "" && !strings.Contains(accept, kinds[0]): // §13.3.1
				in.Respond(Reply{Status: 406})
			default:
				in.Respond(Reply{Status: 200, Contact: "<sip:b@127.0.0.1>"})
			}
		}
	}
	claims := []Claim{{Method: "MESSAGE"}, {Method: "REGISTER"}, {Method: "INVITE"}}
	for _, event := range []string{"presence", "dialog", "message-summary", "presence.winfo"} {
		claims = append(claims, Claim{Method: "SUBSCRIBE", Event: event}, Claim{Method: "PUBLISH", Event: event})
	}
	types := map[string]Handler{"MESSAGE": takes("text/plain"), "INVITE": takes("application/sdp"),
		"REGISTER": takes(), "SUBSCRIBE": takes(), "PUBLISH": takes("application/pidf+xml")}
	for _, c := range claims {
		if err := e.Handle(c, types[c.Method]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTortureWithEverythingServed: the first status that the index wants, or
// another that it takes, but no 405 for a method that is served here.
func TestTortureWithEverythingServed(t *testing.T) {
	dir, list := tortureCases(t)
	if dir == "" {
		return
	}
	for _, transport := range []string{"udp", "tcp"} {
		right := 0
		for _, c := range list {
			msg, err := os.ReadFile(filepath.Join(dir, c.File))
			if err != nil {
				t.Fatal(err)
			}
			method, _, _ := strings.Cut(string(msg), " ")
			// An endpoint to itself: some messages share a branch, and so would be one transaction.
			e, _ := atRest(t, Config{Patience: 200 * time.Millisecond})
			everything(t, e)
			run(t, e)
			got := torture(t, e, transport, string(msg))
			if !conformsServed(c, transport, got, method) {
				t.Errorf("%s %s (%s, %s): want %v, got %d", transport, c.Name, method, c.Class, c.UA, got)
				continue
			}
			right++
		}
		t.Logf("%s: %d of %d conform", transport, right, len(list))
	}
}

// conformsServed: only what nobody claims may be 405, and 481 is for a request
// in a dialog that nobody has. On a stream the same three differ as above.
func conformsServed(c tortureCase, transport string, got int, method string) bool {
	switch served := slices.Contains([]string{"INVITE", "MESSAGE", "REGISTER", "SUBSCRIBE", "PUBLISH", "OPTIONS"}, method); {
	case got == 405:
		return !served && slices.Contains(c.UA, 405)
	case slices.Contains(c.UA, got), c.Kind == "response" && got == 0:
		return true
	case transport == "tcp":
		return (c.Name == "clerr" || c.Name == "baddn") && got == 0 || c.Name == "inv2543" && got == 400
	}
	return false
}

// viaEnd finds the topmost Via value as far as its sent-by.
var viaEnd = regexp.MustCompile(`(?is)^.*?\r\n(via|v)[ \t]*:\s*SIP\s*/\s*[\d.]+\s*/\s*\w+\s+[^;\r, ]+`)

// torture sends msg and gives the status of the answer, 0 for none.
func torture(t *testing.T, e *Endpoint, transport, msg string) int {
	t.Helper()
	p := dial(t, e, transport)
	defer p.conn.Close()
	if transport == "udp" {
		// Answers go to the Via's port by the RFC; with rport they come back here.
		msg = viaEnd.ReplaceAllString(msg, "$0;rport")
	}
	p.send(msg)
	probe := dial(t, e, transport)
	defer probe.conn.Close()
	if status, _ := probe.ask(text("OPTIONS", "sip:b@example.com")); status != 200 {
		t.Fatalf("dead after %.60q", msg)
	}
	return statusOf(p.tryReceive(300 * time.Millisecond))
}

// conforms compares with the index. As its also_acceptable says, 405 stands for
// whatever a method would get that nobody here has claimed, 481 for a dialog
// that nobody has. A stream's rest that never comes ends the stream in silence,
// and one without Content-Length cannot be framed (RFC 3261 §18.3).
func conforms(c tortureCase, transport string, got int) bool {
	switch {
	case slices.Contains(c.UA, got), c.Kind == "response" && got == 0:
		return true
	case (c.Class != "invalid" || slices.Contains(c.UA, 200)) && (got == 405 || got == 481):
		return true
	case transport == "tcp":
		return (c.Name == "clerr" || c.Name == "baddn") && got == 0 || c.Name == "inv2543" && got == 400
	}
	return false
}
