package phone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/sip"
)

var _ LineSubscriber = (*event.Subscriber)(nil)

type fakeSubscriber struct{ asked event.Config }

func (f *fakeSubscriber) FollowLine(_ context.Context, cfg event.Config, tell func(event.Line), _ func(error)) error {
	f.asked = cfg
	tell(event.Line{LineState: event.LineState{State: presence.LineConfirmed, Held: true, Outgoing: true}, For: time.Minute})
	return nil
}

func TestASectionBecomesAServer(t *testing.T) {
	f := &fakeSubscriber{}
	section := CallServer{Name: "pbx", Target: "sip:10.0.0.5:5060;transport=tcp", Username: "pilot", PasswordFile: "pbx.pw"}
	server, err := section.Resolve(f, func(path string) (string, error) { return "secret of " + path, nil })
	if err != nil {
		t.Fatal(err)
	}
	var got LineNotice
	if err := server.Follow.Follow(t.Context(), "sip:1001@example.com", func(n LineNotice) { got = n }, nil); err != nil {
		t.Fatal(err)
	}
	if got.State != presence.LineConfirmed || !got.Held || !got.Outgoing || got.For != time.Minute {
		t.Errorf("notice %+v", got)
	}
	want := event.Config{URI: "sip:1001@example.com", Target: section.Target, Expires: 10 * time.Minute,
		Credentials: sip.Credentials{Username: "pilot", Password: "secret of pbx.pw"}}
	if f.asked.URI != want.URI || f.asked.Target != want.Target || f.asked.Expires != want.Expires || f.asked.Credentials != want.Credentials {
		t.Errorf("asked for %+v", f.asked)
	}
	if s := fmt.Sprintf("%v %+v %#v", server, server, server.Follow); strings.Contains(s, "secret of") {
		t.Errorf("prints its password: %s", s)
	}
}

func TestSectionsThatCannotBeResolved(t *testing.T) {
	missing := errors.New("no such file")
	secret := func(string) (string, error) { return "", missing }
	if _, err := (CallServer{Name: "pbx", Target: "sip:10.0.0.5", Username: "u", PasswordFile: "x"}).Resolve(nil, secret); !errors.Is(err, missing) {
		t.Errorf("got %v", err)
	}
	for _, target := range []string{"", "10.0.0.5", "tel:1001", "sip:"} {
		if _, err := (CallServer{Name: "pbx", Target: target}).Resolve(nil, secret); err == nil {
			t.Errorf("target %q is taken", target)
		}
	}
}
