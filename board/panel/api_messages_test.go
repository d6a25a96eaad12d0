package panel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

func TestMessagesAreSomebodysOwn(t *testing.T) {
	var post *relay.Post
	h := newHouse(t, func(_ *Config, d *Deps) {
		var err error
		post, err = relay.NewPost(&drawer{kept: map[string][]byte{}}, time.Now, func() (bool, string) { return true, "" })
		if err != nil {
			t.Fatal(err)
		}
		d.Post, d.Reaches = post, func(domain string) bool { return domain == "elsewhere.org" }
	})
	for _, user := range []string{"ann", "ben"} {
		h.heart.setDoc(presence.Document{Of: presence.At(user, "example.com"), Kind: presence.KindPerson, Name: user, Availability: presence.Available, Freshness: presence.Live})
	}
	h.panel.keeper.refresh(context.Background(), true)
	as := func(user string) []string {
		return []string{"Authorization", "Bearer " + h.token(access.Viewer, user), "Content-Type", "application/json"}
	}
	ann, ben, nobody := as("ann"), as("ben"), as("")
	list := func(who []string, query string) (all []Message) {
		t.Helper()
		res, body := h.ask("GET", "/api/v1/messages"+query, "", who...)
		if err := json.Unmarshal([]byte(body), &all); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		return all
	}
	for i, text := range []string{"lunch?", "<b>soon</b>"} {
		res, body := h.ask("POST", "/api/v1/messages", fmt.Sprintf(`{"to":"ben","text":%q}`, text), ann...)
		var m Message
		if err := json.Unmarshal([]byte(body), &m); err != nil || res.StatusCode != 201 || m.ID != uint64(i+1) || m.From != "sip:ann@example.com" || m.Text != text {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	if all := list(ann, "?with=ben"); len(all) != 2 || all[0].Delivered {
		t.Errorf("before ben read: %+v", all)
	}
	if all := list(ben, ""); len(all) != 2 || all[1].Text != "<b>soon</b>" || !all[0].Delivered {
		t.Errorf("ben reads: %+v", all)
	}
	if all := list(ann, "?with=sip:ben@example.com"); !all[0].Delivered || !all[1].Delivered {
		t.Errorf("after ben read: %+v", all)
	}
	if all := list(ben, "?with=carol"); len(all) != 0 {
		t.Errorf("with carol: %+v", all)
	}
	// To a peer's domain, and refused there.
	for i, to := range []string{"zoe@elsewhere.org", "sip:yan@ELSEWHERE.org;x=y"} {
		res, body := h.ask("POST", "/api/v1/messages", fmt.Sprintf(`{"to":%q,"text":"afar"}`, to), ann...)
		if want := []string{"sip:zoe@elsewhere.org", "sip:yan@elsewhere.org"}[i]; res.StatusCode != 201 || !strings.Contains(body, `"to":"`+want+`"`) || strings.Contains(body, "refused") {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	if err := post.Refuse(t.Context(), 3, "404 Not Found"); err != nil {
		t.Fatal(err)
	}
	if all := list(ann, "?with=zoe@elsewhere.org"); len(all) != 1 || all[0].Refused != "404 Not Found" || all[0].Delivered {
		t.Errorf("with zoe: %+v", all)
	}
	long := string(bytes.Repeat([]byte("x"), 5000))
	for _, tc := range []struct {
		method, query, body string
		who                 []string
		status              int
	}{
		{"GET", "", "", nil, 401},
		{"GET", "", "", nobody, 403},
		{"POST", "", `{"to":"ben","text":"x"}`, nobody, 403},
		{"POST", "", `{"to":"zoe","text":"x"}`, ann, 404},
		{"POST", "", `{"to":"sip:zoe@unknown.org","text":"x"}`, ann, 404},
		{"POST", "", `{"to":"zoe evil@elsewhere.org","text":"x"}`, ann, 404},
		{"POST", "", `{"to":"ben","text":""}`, ann, 422},
		{"POST", "", `{"to":"ben","text":"` + long + `"}`, ann, 422},
		{"GET", "?with=%20", "", ann, 422},
	} {
		res, body := h.ask(tc.method, "/api/v1/messages"+tc.query, tc.body, tc.who...)
		problemIn(t, res, body, tc.status)
	}
}
