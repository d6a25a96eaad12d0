package panel

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

// openLedger runs a real ledger with one person and her phone.
func openLedger(t *testing.T, path string) (l *ledger.Ledger, stop func()) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Path: path, Domain: "example.com", Commit: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Static: []presence.Observation{
			{Source: "config", Of: "sip:alice@example.com", Facts: presence.Facts{Person: &presence.Person{Name: "Alice Martin", Devices: []string{"SEP0011AABBCCDD"}, Lines: []string{"1001"}}}},
			{Source: "config", Device: "SEP0011AABBCCDD", Facts: presence.Facts{Identity: &presence.Identity{Lines: []string{"1001"}}}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { _ = l.Run(ctx); close(over) }()
	return l, func() { cancel(); <-over }
}

func TestThePanelOnARealLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	l, stop := openLedger(t, path)
	book, err := access.New(access.Config{Drawer: l.Drawer("access"), Sessions: l.Drawer("sessions"), Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	var h *house
	on := func(_ *Config, d *Deps) { d.Heart, d.Book = FromLedger(l), book }
	h = newHouse(t, on)
	s := h.follow("?kinds=phone,presence")
	err = l.Observe(t.Context(), presence.Observation{Source: "phone/web", Device: "SEP0011AABBCCDD", Seen: time.Now(), TTL: time.Minute,
		Facts: presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: "1001", State: presence.LineConfirmed}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if e := s.until(`"availability":"on-the-phone"`); !strings.HasPrefix(e.id, l.ID()+".1.") {
		t.Errorf("id %s", e.id)
	}
	if _, body := h.ask("GET", "/api/v1/phones/SEP0011AABBCCDD", ""); !strings.Contains(body, `"state":"in-use"`) {
		t.Error(body)
	}
	secret, _, err := book.CreateToken(t.Context(), access.Viewer, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if res, body := h.ask("PUT", "/api/v1/presence/alice/manual", `{"availability":"do-not-disturb","note":"ssh"}`, "Authorization", "Bearer "+secret); res.StatusCode != 200 || !strings.Contains(body, `"availability":"do-not-disturb"`) || !strings.Contains(body, `"manual":true`) {
		t.Errorf("PUT: %d %s", res.StatusCode, body)
	}
	h.stop()
	stop()

	l, stop = openLedger(t, path)
	defer stop()
	if book, err = access.New(access.Config{Drawer: l.Drawer("access"), Sessions: l.Drawer("sessions"), Cost: 4}); err != nil {
		t.Fatal(err)
	}
	h = newHouse(t, on)
	defer h.stop() // before the ledger
	if _, body := h.ask("GET", "/api/v1/presence/alice", ""); !strings.Contains(body, `"availability":"do-not-disturb"`) || !strings.Contains(body, `"note":"ssh"`) {
		t.Errorf("after a restart: %s", body)
	}
	if _, body := h.ask("GET", "/api/v1/phones/SEP0011AABBCCDD", ""); !strings.Contains(body, `"freshness":"last-known"`) {
		t.Errorf("after a restart: %s", body)
	}
	if res, body := h.ask("DELETE", "/api/v1/presence/alice/manual", "", "Authorization", "Bearer "+secret); res.StatusCode != 204 {
		t.Errorf("DELETE: %d %s", res.StatusCode, body)
	}
	if _, body := h.ask("GET", "/api/v1/presence/alice", ""); strings.Contains(body, `"manual":true`) {
		t.Errorf("after DELETE: %s", body)
	}
}
