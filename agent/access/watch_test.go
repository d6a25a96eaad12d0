package access_test

import (
	"errors"
	"testing"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
)

func TestTheNarrowestRuleDecides(t *testing.T) {
	rules := access.Rules{Default: access.Confirm, List: []access.WatchRule{
		{Watcher: "@example.com", Do: access.Allow},
		{Watcher: "@example.com", Of: "sip:boss@example.com", Do: access.PoliteBlock},
		{Watcher: "sip:alice@example.com", Of: "sip:boss@example.com", Do: access.Allow},
		{Watcher: "sip:mallory@example.com", Do: access.Block},
		{Watcher: "sip:mallory@example.com", Do: access.Allow},
		{Of: "sip:lobby@example.com", Do: access.Allow},
	}}
	for _, tc := range []struct {
		watcher, of presence.Presentity
		want        access.Handling
	}{
		{"sip:bob@example.com", "sip:carol@example.com", access.Allow},
		{"sip:bob@EXAMPLE.com", "sip:carol@example.com", access.Allow},
		{"sip:bob@example.com", "sip:boss@example.com", access.PoliteBlock},
		{"sip:alice@example.com", "sip:boss@example.com", access.Allow},
		{"sip:boss@example.com", "sip:boss@example.com", access.Allow},
		{"sip:mallory@example.com", "sip:carol@example.com", access.Block}, // of two as narrow, the one that tells less
		{"sip:x@elsewhere.org", "sip:carol@example.com", access.Confirm},
		{"sip:x@elsewhere.org", "sip:lobby@example.com", access.Allow},
		{"sip:x@notexample.com", "sip:carol@example.com", access.Confirm},
		{"", "", access.Confirm},
	} {
		if got := rules.Watch(tc.watcher, tc.of); got != tc.want {
			t.Errorf("%s watches %s: %s, want %s", tc.watcher, tc.of, got, tc.want)
		}
	}
}

func TestAHandlingIsAWord(t *testing.T) {
	for _, h := range []access.Handling{access.Allow, access.PoliteBlock, access.Confirm, access.Block} {
		if got, err := access.ParseHandling(h.String()); err != nil || got != h {
			t.Errorf("%s: %s, %v", h, got, err)
		}
	}
	if h, err := access.ParseHandling("perhaps"); !errors.Is(err, access.ErrInvalid) || h != access.Block {
		t.Errorf("perhaps: %s, %v", h, err)
	}
	if access.Handling(99).String() != "block" {
		t.Error("an unknown handling is no block")
	}
}

func TestARuleIsNormalised(t *testing.T) {
	w := access.WatchRule{Of: "sip:Alice@Example.COM:5060;transport=tcp", Watcher: "pres:bob@Example.com"}
	if err := w.Check(); err != nil || w.Of != "sip:Alice@example.com" || w.Watcher != "sip:bob@example.com" {
		t.Errorf("%+v, %v", w, err)
	}
	for _, bad := range []access.WatchRule{{Of: "alice"}, {Watcher: "@"}, {Watcher: "bob"}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}
