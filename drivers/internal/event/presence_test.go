package event

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func pidfOf(basic, activity string) string {
	return `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ` +
		`xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:zoe@elsewhere.org"><tuple id="t1"><status><basic>` + basic + `</basic></status></tuple>` +
		`<dm:person id="p1"><rpid:activities><rpid:` + activity + `/></rpid:activities></dm:person></presence>`
}

func TestSomebodysPresenceElsewhereIsToldAsItsDocumentsSay(t *testing.T) {
	const typed = "Content-Type: application/pidf+xml"
	s := subscriber(t, PresencePackage)
	n := newNotifier(t, func(k int, q sub) {
		if k > 1 {
			q.reply(403, "")
			return
		}
		q.ok(3600, 1, "") // neutral
		q.notify(2, "pending;expires=3600", "")
		q.notify(3, "active;expires=3600", pidfOf("open", "busy"), typed)
		q.notify(4, "active;expires=3600", "<presence", typed)
		q.notify(5, "active;expires=3600", pidfOf("closed", "vacation"), typed)
		q.notify(6, "terminated;reason=deactivated", "")
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cfg := n.config()
	cfg.Timeout = 100 * time.Millisecond
	var got []string
	_ = s.FollowPresence(ctx, cfg, func(p Presence) {
		got = append(got, fmt.Sprintf("%v %s %v", p.Nothing, p.Availability(), p.For > 0))
	}, func(error) {
		got = append(got, "lost")
		cancel()
	})
	if want := "true unknown true|false busy true|false out-of-office true|lost"; strings.Join(got, "|") != want {
		t.Errorf("%s, want %s", strings.Join(got, "|"), want)
	}
}
