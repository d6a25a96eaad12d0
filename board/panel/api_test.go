package panel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/errand"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/agent/schedule"
	"pilotlight/agent/supervise"
)

// problemIn checks that an answer is a problem with that status (RFC 9457).
func problemIn(t *testing.T, res *http.Response, body string, status int) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || res.StatusCode != status || p.Status != status || p.Title == "" ||
		res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %s: status %d, %s, %s; want a problem %d", res.Request.Method, res.Request.URL.Path,
			res.StatusCode, res.Header.Get("Content-Type"), body, status)
	}
	if status == http.StatusUnauthorized && !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("%s: 401 without a way in", res.Request.URL.Path)
	}
}

func TestADocumentIsExactlyTheContracts(t *testing.T) {
	h := newHouse(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.FixedZone("CET", 3600))
	h.heart.setDoc(presence.Document{
		Of: "sip:alice@example.com", Kind: presence.KindPerson, Name: "Alice Martin", Availability: presence.OnThePhone,
		Since: at, Freshness: presence.Live, AsOf: at.Add(2 * time.Second),
		Capabilities: presence.Capabilities{Abilities: presence.Abilities{Audio: true, IM: true}, VoiceMessages: 2},
		Devices: []presence.DeviceView{{Name: "SEP0011AABBCCDD", State: presence.InUse, Freshness: presence.Live,
			Lines: []presence.Line{{Number: "1001", State: presence.LineConfirmed, Held: true}}}},
		Because: []presence.Evidence{{Source: "phone/web", Says: "SEP0011AABBCCDD line 1001 CONNECTED", Seen: time.Now().Add(-2100 * time.Millisecond), Live: true}},
	})
	want := `{"presentity":"sip:alice@example.com","name":"Alice Martin","availability":"on-the-phone",` +
		`"since":"2026-01-02T02:04:05Z","note":"","manual":false,"freshness":"live","as_of":"2026-01-02T02:04:07Z",` +
		`"capabilities":{"audio":true,"video":false,"im":true,"web-collaboration":false,"voice-messages":2},` +
		`"devices":[{"name":"SEP0011AABBCCDD","state":"in-use","lines":[{"number":"1001","state":"confirmed"}],"freshness":"live"}],` +
		`"because":["phone/web SEP0011AABBCCDD line 1001 CONNECTED 2s ago"]}` + "\n"
	h.panel.keeper.refresh(context.Background(), true)
	for _, user := range []string{"alice", "alice@example.com", "alice@EXAMPLE.com", "sip:alice@example.com", "sip%3Aalice%40example.com"} {
		if res, got := h.ask("GET", "/api/v1/presence/"+user, ""); res.StatusCode != 200 || got != want || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("GET presence/%s: %d\n got %s\nwant %s", user, res.StatusCode, got, want)
		}
	}
	for _, user := range []string{"nobody", "alice@elsewhere.org", "sip:", "a%20b", "tel:1001@example.com"} {
		res, body := h.ask("GET", "/api/v1/presence/"+user, "")
		problemIn(t, res, body, 404)
	}
}

func TestListsAreArraysSortedByName(t *testing.T) {
	h := newHouse(t)
	keys := func(path, field string) (all []string) {
		res, body := h.ask("GET", path, "")
		var list []map[string]any
		if err := json.Unmarshal([]byte(body), &list); err != nil || res.StatusCode != 200 || body[0] != '[' {
			t.Fatalf("GET %s: %d %v %.200s", path, res.StatusCode, err, body)
		}
		for _, e := range list {
			all = append(all, e[field].(string))
		}
		return all
	}
	if got := keys("/api/v1/phones", "name"); len(got) != 3 || !slices.IsSorted(got) {
		t.Errorf("phones: %v", got)
	}
	if got := keys("/api/v1/presence", "presentity"); len(got) != 3 || !slices.IsSorted(got) {
		t.Errorf("people: %v", got)
	}
	if got := keys("/api/v1/presence?all=true", "presentity"); len(got) != 6 {
		t.Errorf("all: %v", got)
	}
	if got := keys("/api/v1/directory?q=ALICE", "user"); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("directory by user: %v", got)
	}
	if got := keys("/api/v1/directory?q=dubois", "user"); !slices.Equal(got, []string{"chloe"}) {
		t.Errorf("directory by name: %v", got)
	}
	if got := keys("/api/v1/directory?q=1002", "user"); !slices.Equal(got, []string{"bruno"}) {
		t.Errorf("directory by number: %v", got)
	}
	for _, path := range []string{"/api/v1/directory?q=zzz", "/api/v1/uplinks"} {
		if _, body := h.ask("GET", path, ""); strings.TrimSpace(body) != "[]" {
			t.Errorf("GET %s: %s", path, body)
		}
	}
	h.uplinks.Report(relay.Status{Name: "hq", Kind: "sip", Mode: relay.Island, Since: time.Now(), Pending: 4, RoundTrip: 1500 * time.Microsecond})
	_, body := h.ask("GET", "/api/v1/uplinks", "")
	if !regexp.MustCompile(`^\[\{"name":"hq","kind":"sip","mode":"island","since":"[^"]+Z","pending":4,"last_acknowledged":null,"round_trip_ms":1.5,"why":""\}\]`).MatchString(body) {
		t.Errorf("uplinks: %s", body)
	}
}

func TestAPhoneTellsAllThatIsKnown(t *testing.T) {
	h := newHouse(t)
	_, body := h.ask("GET", "/api/v1/phones/SEP0011AABBCC00", "")
	var keys []string
	d := json.NewDecoder(strings.NewReader(body))
	depth := 0
	for key := true; ; {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
			key = true
		default:
			if depth == 1 && key {
				keys = append(keys, fmt.Sprint(v))
				key = false
				continue
			}
			key = true
		}
	}
	want := "name state since cause diagnosis freshness as_of model address mac serial firmware description lines registration port power streams capabilities owner message_waiting voice_messages neighbour ethernet log screen because evidence"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("fields of a phone\n got %s\nwant %s", got, want)
	}
	for _, part := range []string{`"state":"in-use"`, `"owner":"sip:alice@example.com"`, `"registration":{"registered":true,"server":"10.0.0.5","survivable":false}`,
		`"port":{"switch":"sw1","name":"GigabitEthernet1/0/1","vlan":110,"link":"up","speed":1000000000}`, `"power":{"state":"delivering","watts":6.3}`,
		`"codec":"G.722","remote":"10.1.1.44:20482"`} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s in %s", part, body)
		}
	}
	_, body = h.ask("GET", "/api/v1/phones/SEP0011AABBCC00/history", "")
	if !regexp.MustCompile(`^\[\{"at":"[^"]+Z","from":"idle","to":"in-use","why":"[^"]+"\},`).MatchString(body) {
		t.Errorf("history: %s", body)
	}
	for _, path := range []string{"/api/v1/phones/x", "/api/v1/phones/x/history"} {
		res, body := h.ask("GET", path, "")
		problemIn(t, res, body, 404)
	}
}

func TestAgesAreBroughtUpToDateThoughNobodyWasTold(t *testing.T) {
	h := newHouse(t)
	h.heart.mu.Lock()
	d := h.heart.docs["sip:alice@example.com"]
	d.AsOf = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	h.heart.docs[d.Of] = d // the revision is the same
	h.heart.mu.Unlock()
	h.panel.keeper.refresh(context.Background(), true)
	if _, body := h.ask("GET", "/api/v1/presence/alice", ""); !strings.Contains(body, `"as_of":"2031-01-01T00:00:00Z"`) {
		t.Error(body)
	}
}

func TestWhatAPersonSays(t *testing.T) {
	h := newHouse(t)
	admin, hers, other := h.token(access.Operator, ""), h.token(access.Viewer, "alice"), h.token(access.Viewer, "bob")
	path := "/api/v1/presence/alice/manual"
	dnd := `{"availability":"do-not-disturb","note":"until\u0007 lunch","until":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`
	for _, c := range []struct {
		name, method, path, token, body string
		want                            int
	}{
		{"acting is never open", "PUT", path, "", dnd, 401},
		{"acting is never open, whatever the body", "PUT", path, "", "{", 401},
		{"a wrong token", "PUT", path, "plt_wrong", dnd, 401},
		{"another viewer", "PUT", path, other, dnd, 403},
		{"herself", "PUT", path, hers, dnd, 200},
		{"herself by URI", "PUT", "/api/v1/presence/sip:alice@example.com/manual", hers, dnd, 200},
		{"her namesake elsewhere", "PUT", "/api/v1/presence/alice@elsewhere.org/manual", hers, dnd, 403},
		{"an operator", "PUT", path, admin, `{"availability":"away"}`, 200},
		{"an unknown user", "PUT", "/api/v1/presence/nobody/manual", admin, dnd, 404},
		{"a line is nobody", "PUT", "/api/v1/presence/1001/manual", admin, dnd, 404},
		{"a word that nobody says", "PUT", path, admin, `{"availability":"on-the-phone"}`, 422},
		{"no such word", "PUT", path, admin, `{"availability":"asleep"}`, 422},
		{"no word", "PUT", path, admin, `{}`, 422},
		{"an unknown key", "PUT", path, admin, `{"availability":"away","nota":"x"}`, 422},
		{"in the past", "PUT", path, admin, `{"availability":"away","until":"2020-01-01T00:00:00Z"}`, 422},
		{"no time", "PUT", path, admin, `{"availability":"away","until":"tomorrow"}`, 422},
		{"a long note", "PUT", path, admin, `{"availability":"away","note":"` + strings.Repeat("é", 257) + `"}`, 422},
		{"a note as long as may be", "PUT", path, admin, `{"availability":"away","note":"` + strings.Repeat("é", 256) + `"}`, 200},
		{"no JSON", "PUT", path, admin, `{`, 400},
		{"too much", "PUT", path, admin, `{"note":"` + strings.Repeat("x", 70<<10) + `"}`, 413},
		{"cleared", "DELETE", path, hers, "", 204},
		{"cleared twice", "DELETE", path, hers, "", 204},
		{"cleared by a stranger", "DELETE", path, other, "", 403},
		{"another method", "POST", path, admin, "", 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if c.token != "" {
				headers = []string{"Authorization", "Bearer " + c.token}
			}
			res, body := h.ask(c.method, c.path, c.body, headers...)
			if c.want >= 400 {
				problemIn(t, res, body, c.want)
			} else if res.StatusCode != c.want {
				t.Errorf("%d %s, want %d", res.StatusCode, body, c.want)
			}
		})
	}
	if said := h.heart.said[0]; said.Of != "sip:alice@example.com" || !said.Manual || said.Said.Availability != presence.DoNotDisturb ||
		said.Said.Note != "until lunch" || said.Expires < 59*time.Minute || said.Expires > time.Hour {
		t.Errorf("published: %+v %+v", said, said.Said)
	}
	if said := h.heart.said[2]; said.Expires != presence.Forever {
		t.Errorf("without until: %+v", said)
	}
}

func TestWhatWasSetIsReadBackAtOnce(t *testing.T) {
	h := newHouse(t)
	tok := h.token(access.Operator, "")
	for i := range 20 {
		note := fmt.Sprint("note ", i)
		if res, body := h.ask("PUT", "/api/v1/presence/alice/manual", `{"availability":"busy","note":"`+note+`"}`, "Authorization", "Bearer "+tok); !strings.Contains(body, note) {
			t.Fatalf("PUT: %d %s", res.StatusCode, body)
		}
		if _, body := h.ask("GET", "/api/v1/presence/alice", ""); !strings.Contains(body, `"note":"`+note+`"`) {
			t.Fatalf("GET after PUT %d: %s", i, body)
		}
	}
}

func TestADiskThatDoesNotWriteIsNoSuccess(t *testing.T) {
	h := newHouse(t)
	h.heart.mu.Lock()
	h.heart.down = errors.New("disk on fire in /var/lib")
	h.heart.mu.Unlock()
	res, body := h.ask("PUT", "/api/v1/presence/alice/manual", `{"availability":"busy"}`, "Authorization", "Bearer "+h.token(access.Operator, ""))
	problemIn(t, res, body, 500)
	if strings.Contains(body, "/var/lib") {
		t.Errorf("the inside shows: %s", body)
	}
	if res, body := h.ask("GET", "/readyz", ""); res.StatusCode != 503 || strings.Count(body, "\n") != 1 {
		t.Errorf("readyz: %d %s", res.StatusCode, body)
	}
	if res, _ := h.ask("GET", "/api/v1/phones", ""); res.StatusCode != 200 {
		t.Errorf("what is known is not shown: %d", res.StatusCode)
	}
}

func TestUntilNeedsAClock(t *testing.T) {
	h := newHouse(t, func(_ *Config, d *Deps) { d.Clock = trueClock{wrong: true} })
	res, body := h.ask("PUT", "/api/v1/presence/alice/manual", `{"availability":"busy","until":"2040-01-01T00:00:00Z"}`, "Authorization", "Bearer "+h.token(access.Operator, ""))
	problemIn(t, res, body, 422)
}

func TestActingOnAPhone(t *testing.T) {
	h := newHouse(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	operator := []string{"Authorization", "Bearer " + h.token(access.Operator, "")}
	phone := "/api/v1/phones/SEP0011AABBCC00"
	for _, c := range [][2]string{{"message", `{"text":"hello"}`}, {"dial", `{"number":"1002"}`}, {"restart", ""}, {"identify", ""}} {
		res, body := h.ask("POST", phone+"/"+c[0], c[1])
		problemIn(t, res, body, 401)
		res, body = h.ask("POST", phone+"/"+c[0], c[1], "Authorization", "Bearer "+h.token(access.Viewer, ""))
		problemIn(t, res, body, 403)
		res, body = h.ask("POST", phone+"/"+c[0], c[1], operator...)
		problemIn(t, res, body, 501)
		res, body = h.ask("POST", "/api/v1/phones/x/"+c[0], c[1], operator...)
		problemIn(t, res, body, 404)
	}
	serve := func(kind string, reply errand.Reply) chan errand.Errand {
		counter, err := h.desk.Serve(kind)
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan errand.Errand, 1)
		go func() {
			for {
				job, err := counter.Next(ctx)
				if err != nil {
					return
				}
				asked <- job.Errand
				job.Done(reply, nil)
			}
		}()
		return asked
	}
	asked := serve("message", errand.Reply{})
	if res, body := h.ask("POST", phone+"/message", `{"text":"hello"}`, operator...); res.StatusCode != 204 {
		t.Errorf("message: %d %s", res.StatusCode, body)
	} else if e := <-asked; e.Target != "SEP0011AABBCC00" || string(e.Body) != `{"text":"hello"}` {
		t.Errorf("errand: %+v", e)
	}
	screen := serve("screen", errand.Reply{Body: []byte("\x89PNG\x0D\x0A\x1A\x0Arest")})
	res, body := h.ask("GET", phone+"/screen", "", operator...)
	if <-screen; res.StatusCode != 200 || res.Header.Get("Content-Type") != "image/png" || !strings.HasSuffix(body, "rest") {
		t.Errorf("screen: %d %s %q", res.StatusCode, res.Header.Get("Content-Type"), body)
	}
	res, body = h.ask("POST", phone+"/dial", `{"number":"1002;rm"}`, operator...)
	problemIn(t, res, body, 422)
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		method, path string
		want         int
		allow        string
	}{
		{"GET", "/api/v1/nothing", 404, ""},
		{"GET", "/api/", 404, ""},
		{"GET", "/nothing", 404, ""},
		{"GET", "/api/v1/messages", 404, ""},
		{"POST", "/api/v1/phones", 405, "GET, HEAD"},
		{"DELETE", "/api/v1/presence/alice", 405, "GET, HEAD"},
		{"GET", "/api/v1/phones/SEP0011AABBCC00/restart", 405, "POST"},
		{"PUT", "/metrics", 405, "GET, HEAD"},
	} {
		res, body := h.ask(c.method, c.path, "")
		problemIn(t, res, body, c.want)
		if got := res.Header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q", c.method, c.path, got)
		}
	}
}

func TestOpenAPIDescribesWhatIsServed(t *testing.T) {
	h := newHouse(t)
	res, body := h.ask("GET", "/api/openapi.json", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ Responses map[string]any }
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || res.StatusCode != 200 || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%d %v %.200s", res.StatusCode, err, body)
	}
	var got []string
	for path, methods := range doc.Paths {
		for method := range methods {
			got = append(got, strings.ToUpper(method)+" "+strings.TrimPrefix(path, "/api/v1"))
		}
	}
	slices.Sort(got)
	want := []string{
		"DELETE /presence/{user}/manual", "DELETE /tokens/{id}", "DELETE /users/{name}", "GET /directory", "GET /events", "GET /me", "GET /phones",
		"GET /phones/{name}", "GET /phones/{name}/history", "GET /phones/{name}/screen", "GET /presence", "GET /presence/{user}", "GET /status",
		"GET /tokens", "GET /uplinks", "GET /users", "POST /backup", "POST /login", "POST /logout", "POST /phones/{name}/dial",
		"POST /phones/{name}/identify", "POST /phones/{name}/message", "POST /phones/{name}/restart", "POST /tokens", "POST /users",
		"PUT /presence/{user}/manual", "PUT /users/{name}/password",
	}
	if !slices.Equal(got, want) {
		t.Errorf("operations\n got %q\nwant %q", got, want)
	}
	if !strings.Contains(body, `"application/problem+json"`) {
		t.Error("errors are not described as problems")
	}
}

func TestHealth(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		// open to all, even by a name that is not ours
		res, body := h.ask("GET", path, "", "Host", "evil.example", "Authorization", "Bearer nonsense")
		if res.StatusCode != 200 || strings.Count(body, "\n") != 1 || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %q", path, res.StatusCode, body)
		}
	}
}

type poller struct{}

func (poller) Stats() schedule.Stats {
	return schedule.Stats{Name: "phone-web", Outcomes: map[string]uint64{"ok": 7, "garbled": 1}, Counts: make([]uint64, len(schedule.Buckets)), Count: 8, Sum: time.Second}
}

type drivers struct{}

func (drivers) Statuses() []supervise.Status {
	return []supervise.Status{{Name: "lan", Err: errors.New("snmp: no answer\ngoroutine 1 [running]:"), Restarts: 2}, {Name: "phone"}}
}

func TestMetricsNameAllOfTheContract(t *testing.T) {
	h := newHouse(t, func(_ *Config, d *Deps) {
		d.Pollers, d.Drivers = []Poller{poller{}}, drivers{}
		d.Notify = func() NotifyStats {
			return NotifyStats{Subscriptions: map[string]int{"presence": 3}, Bounds: []float64{0.01}, Counts: []uint64{2}, Count: 2, Sum: time.Millisecond}
		}
	})
	h.uplinks.Report(relay.Status{Name: "hq", Mode: relay.Connected, Pending: 2})
	res, body := h.ask("GET", "/metrics", "")
	if res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	for _, line := range []string{
		`pilotlight_phones{state="in-use"} 1`, `pilotlight_phones{state="idle"} 2`, `pilotlight_phones{state="unpowered"} 0`,
		`pilotlight_phone_causes{cause="unpowered"} 0`, `pilotlight_phone_causes{cause="no-link"} 0`, `pilotlight_phone_causes{cause="no-address"} 0`,
		`pilotlight_phone_causes{cause="no-answer"} 0`, `pilotlight_phone_causes{cause="unregistered"} 0`, `pilotlight_phone_causes{cause="srst"} 0`,
		`pilotlight_phone_causes{cause="web-disabled"} 0`, `pilotlight_phone_causes{cause="unknown"} 0`, `pilotlight_phone_causes{cause="fine"} 3`,
		`pilotlight_presentities{availability="out-of-office",freshness="last-known"} 0`,
		`pilotlight_polls_total{driver="phone-web",outcome="ok"} 7`, `pilotlight_polls_total{driver="phone-web",outcome="timeout"} 0`,
		`pilotlight_polls_total{driver="phone-web",outcome="garbled"} 1`,
		`pilotlight_poll_duration_seconds_count{driver="phone-web"} 8`, `pilotlight_change_to_notify_seconds_count 2`,
		`pilotlight_subscriptions{package="presence"} 3`, `pilotlight_subscriptions{package="dialog"} 0`, `pilotlight_publications 2`,
		`pilotlight_uplink_connected{uplink="hq"} 1`, `pilotlight_uplink_pending{uplink="hq"} 2`,
		`pilotlight_store_commits_total 12`, `pilotlight_store_bytes_written_total 3456`,
		`pilotlight_build_info{commit="abcdef",goversion="go1.26",version="1.2.3"} 1`,
		`pilotlight_driver_up{driver="lan"} 0`, `pilotlight_driver_restarts_total{driver="lan"} 2`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(body, name) {
			t.Errorf("no %s", name)
		}
	}
	_, body = h.ask("GET", "/api/v1/status", "")
	for _, part := range []string{`"id":"lyon-12"`, `{"name":"lan","state":"failing"`, `"error":"snmp: no answer"}`, `"in-use":1`, `"driver":"phone-web"`} {
		if !strings.Contains(body, part) {
			t.Errorf("status has no %s: %s", part, body)
		}
	}
}
