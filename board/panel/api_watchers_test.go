package panel

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
)

// watched is a house in which bob waits for leave to watch.
func watched(t *testing.T) *house {
	t.Helper()
	return newHouse(t, func(_ *Config, d *Deps) {
		w, err := access.NewWatchers(access.Rules{Default: access.Confirm}, &drawer{kept: map[string][]byte{}})
		if err != nil {
			t.Fatal(err)
		}
		d.Watchers = w
		d.Watching = func(_ context.Context, of presence.Presentity) ([]Watching, error) {
			if of.User() == "user1" {
				return nil, errors.New("the presence server is stopping")
			}
			return []Watching{{Watcher: "sip:bob@example.com", Pending: true, Since: time.Now(), Packages: []string{"presence"}}}, nil
		}
	})
}

func TestWatchersAreListedAndDecidedOf(t *testing.T) {
	h := watched(t)
	person := h.panel.keeper.snap.Load().docs
	var user string
	for _, it := range person {
		if it.doc.Kind == presence.KindPerson {
			user = it.doc.Of.User()
		}
	}
	signed := []string{"Authorization", "Bearer " + h.token(access.Viewer, user), "Content-Type", "application/json"}
	path := "/api/v1/presence/" + user + "/watchers"
	list := func() map[string]Watcher {
		res, body := h.ask("GET", path, "", signed...)
		var all []Watcher
		if err := json.Unmarshal([]byte(body), &all); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		by := map[string]Watcher{}
		for _, w := range all {
			by[w.Watcher] = w
		}
		return by
	}
	if w := list()["sip:bob@example.com"]; w.Do != "confirm" || w.Decided || w.Since == nil || len(w.Package) != 1 {
		t.Errorf("before: %+v", w)
	}
	for _, who := range []string{"bob", "sip%3Acarol%40elsewhere.org"} {
		if res, body := h.ask("PUT", path+"/"+who, `{"do":"allow"}`, signed...); res.StatusCode != 204 {
			t.Fatalf("%s: %d %s", who, res.StatusCode, body)
		}
	}
	if all := list(); all["sip:bob@example.com"].Do != "allow" || !all["sip:bob@example.com"].Decided || all["sip:carol@elsewhere.org"].Since != nil {
		t.Errorf("after: %+v", all)
	}
	if res, _ := h.ask("DELETE", path+"/bob", "", signed...); res.StatusCode != 204 {
		t.Errorf("taken back: %d", res.StatusCode)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"DELETE", path + "/bob", "", 404},
		{"PUT", path + "/bob", `{"do":"perhaps"}`, 422},
		{"PUT", path + "/" + user, `{"do":"block"}`, 422}, // herself
		{"PUT", path + "/%20", `{"do":"allow"}`, 422},
	} {
		res, body := h.ask(tc.method, tc.path, tc.body, signed...)
		problemIn(t, res, body, tc.status)
	}
}

func TestOnlyHerselfAndOperatorsSeeAndDecideWhoWatches(t *testing.T) {
	h := watched(t)
	for _, it := range h.panel.keeper.snap.Load().docs {
		if it.doc.Kind != presence.KindPerson {
			continue
		}
		path := "/api/v1/presence/" + it.doc.Of.User() + "/watchers"
		for who, want := range map[string]int{"": 401, h.token(access.Viewer, "somebody"): 403, h.token(access.Operator, "op"): 200} {
			var head []string
			if who != "" {
				head = []string{"Authorization", "Bearer " + who}
			}
			res, body := h.ask("GET", path, "", head...)
			if want != 200 {
				problemIn(t, res, body, want)
			} else if res.StatusCode != 200 && res.StatusCode != 503 {
				t.Errorf("an operator: %d %s", res.StatusCode, body)
			}
		}
		return
	}
	t.Fatal("nobody lives here")
}
