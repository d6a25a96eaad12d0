package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

// disk is a drawer in memory.
type disk struct {
	mu   sync.Mutex
	kept map[string][]byte
	fail error
}

func (d *disk) Put(_ context.Context, key string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail == nil {
		d.kept[key] = bytes.Clone(value)
	}
	return d.fail
}
func (d *disk) PutSoft(ctx context.Context, key string, value []byte) error {
	return d.Put(ctx, key, value)
}
func (d *disk) DeleteSoft(_ context.Context, key string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.kept, key)
	return d.fail
}
func (d *disk) Each(_ string, visit func(string, []byte) error) error {
	for _, key := range slices.Sorted(maps.Keys(d.kept)) {
		if err := visit(key, d.kept[key]); err != nil {
			return err
		}
	}
	return nil
}

const alice, bob = presence.Presentity("sip:alice@example.com"), presence.Presentity("sip:bob@example.com")

func believed() (bool, string) { return true, "" }

func office(t *testing.T, d *disk, now *time.Time) *Post {
	t.Helper()
	p, err := NewPost(d, func() time.Time { return *now }, believed)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func texts(list []Message) string {
	var all []string
	for _, m := range list {
		all = append(all, m.Text)
	}
	return strings.Join(all, " ")
}

func TestMessagesWaitInOrderAndOverARestart(t *testing.T) {
	d, now := &disk{kept: map[string][]byte{}}, time.Now()
	p := office(t, d, &now)
	send := func(from, to presence.Presentity, text string) Message {
		t.Helper()
		m, err := p.Send(t.Context(), Message{From: from, To: to, Text: text})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	one := send(alice, bob, "one")
	send(bob, alice, "two")
	send(alice, bob, "three")
	if err := p.Delivered(t.Context(), one.ID); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*Post{"now": p, "after a restart": office(t, d, &now)} {
		if got := texts(p.Waiting(bob)); got != "three" {
			t.Errorf("%s: %q waits", name, got)
		}
		if got := texts(p.With(bob, alice)); got != "one two three" {
			t.Errorf("%s: %q was said", name, got)
		}
		if got := p.Recipients(); !maps.Equal(got, map[presence.Presentity]uint64{alice: 2, bob: 3}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	p = office(t, d, &now)
	if m := send(alice, bob, "four"); m.ID != 4 {
		t.Errorf("the fourth is number %d", m.ID)
	}
}

func TestWhatIsNotOnDiskWasNotTaken(t *testing.T) {
	d, now := &disk{kept: map[string][]byte{}, fail: errors.New("the disk is gone")}, time.Now()
	p := office(t, d, &now)
	if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: "x"}); err == nil || len(p.Waiting(bob)) != 0 {
		t.Errorf("%v, %v", err, p.Waiting(bob))
	}
	for _, text := range []string{"", strings.Repeat("x", MaxText+1), "\xff"} {
		if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: text}); !errors.Is(err, ErrNoText) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

func TestAFullPostOfficeGivesUpWhatWasDelivered(t *testing.T) {
	d, now := &disk{kept: map[string][]byte{}}, time.Now()
	p := office(t, d, &now)
	for i := range maxMessages {
		to := presence.At("u"+string(rune('a'+i%20)), "example.com")
		m, err := p.Send(t.Context(), Message{From: alice, To: to, Text: "x"})
		if err == nil && i != 7 {
			err = p.Delivered(t.Context(), m.ID)
		}
		if err != nil {
			t.Fatal(i, err)
		}
	}
	for range 3 {
		if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: "new"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.all) != maxMessages || len(d.kept) != maxMessages || p.all[0].ID != 4 || texts(p.Waiting(bob)) != "new new new" {
		t.Errorf("%d in memory, %d on disk, the first is %d", len(p.all), len(d.kept), p.all[0].ID)
	}
	if len(p.Waiting("sip:uh@example.com")) != 1 {
		t.Error("a message that nobody had is gone")
	}
	for range maxWaiting - 3 {
		if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: "x"}); !errors.Is(err, ErrPostFull) {
		t.Errorf("one too many for bob: %v", err)
	}
	now = now.Add(postLife + time.Hour) // nobody came for them
	if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: "late"}); err != nil || texts(p.Waiting(bob)) != "late" {
		t.Errorf("after a week: %v, %d wait", err, len(p.Waiting(bob)))
	}
}

func TestWhoWaitsForMessagesHearsOfThem(t *testing.T) {
	d, now := &disk{kept: map[string][]byte{}}, time.Now()
	p := office(t, d, &now)
	heard := make(chan uint64)
	go func() { n, _ := p.Changed(t.Context(), 0); heard <- n }()
	if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: "x"}); err != nil {
		t.Fatal(err)
	}
	if <-heard != 1 {
		t.Error("no change")
	}
}

// What is refused for good is kept, and holds nobody up.
func TestARefusedMessageIsKeptForItsSender(t *testing.T) {
	d, now := &disk{kept: map[string][]byte{}}, time.Now()
	p := office(t, d, &now)
	for _, text := range []string{"one", "two"} {
		if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: text, Refused: "x", Hops: 7}); err != nil {
			t.Fatal(err)
		}
	}
	seen, _ := p.Changed(t.Context(), 0)
	if err := p.Refuse(t.Context(), 1, "404 Not Found"); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Changed(t.Context(), seen); n != seen+1 || err != nil {
		t.Errorf("who waits hears %d, %v", n, err)
	}
	if err := p.Delivered(t.Context(), 1); err != nil { // an answer that comes too late
		t.Fatal(err)
	}
	for name, p := range map[string]*Post{"now": p, "after a restart": office(t, d, &now)} {
		if got := texts(p.Waiting(bob)); got != "two" {
			t.Errorf("%s: %q waits", name, got)
		}
		if all := p.With(alice, bob); len(all) != 2 || all[0].Refused != "404 Not Found" || all[0].Delivered || all[1].Refused != "" || all[1].Hops != 7 {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// A server that is down, or one that floods, leaves the branch its own messages.
func TestWhatCrossesDomainsFillsHalf(t *testing.T) {
	d, now := &disk{kept: map[string][]byte{}}, time.Now()
	p := office(t, d, &now)
	const zoe = presence.Presentity("sip:zoe@elsewhere.org")
	for i := range maxAbroad {
		one := Message{From: alice, To: presence.At("u"+string(rune('a'+i%20)), "elsewhere.org"), Text: "x"}
		if i%2 == 0 {
			one.From, one.To = zoe, presence.At(one.To.User(), "example.com")
		}
		if _, err := p.Send(t.Context(), one); err != nil {
			t.Fatal(i, err)
		}
	}
	for _, one := range []Message{{From: alice, To: zoe, Text: "x"}, {From: zoe, To: alice, Text: "x"}} {
		if _, err := p.Send(t.Context(), one); !errors.Is(err, ErrPostFull) {
			t.Errorf("one too many from %s: %v", one.From, err)
		}
	}
	if _, err := p.Send(t.Context(), Message{From: alice, To: bob, Text: "x"}); err != nil {
		t.Errorf("at home: %v", err)
	}
	if err := p.Delivered(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), Message{From: alice, To: zoe, Text: "x"}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestAMessageIsTriedForAWeek(t *testing.T) {
	const day = 24 * time.Hour
	d, now := &disk{kept: map[string][]byte{}}, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	sure := true
	office := func() *Post {
		p, err := NewPost(d, func() time.Time { return now }, func() (bool, string) { return sure, "" })
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	waits := func(want string) {
		t.Helper()
		p := office()
		if got := texts(p.Waiting(bob)); got != want || len(p.Recipients()) != min(len(want), 1) {
			t.Errorf("%v: %q waits, want %q", now, got, want)
		}
	}
	send := func(text string) {
		t.Helper()
		if _, err := office().Send(t.Context(), Message{From: alice, To: bob, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	send("dated")
	sure, now = false, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC) // the battery is empty
	send("undated")
	now = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	waits("dated undated") // no decision by a clock that is not believed
	sure, now = true, time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC)
	waits("dated undated")
	p := office()
	now = now.Add(2 * day)
	if got := texts(p.Waiting(bob)); got != "undated" {
		t.Errorf("after nine days %q waits", got)
	}
	now = now.Add(6 * day)
	if got := texts(p.Waiting(bob)); got != "" {
		t.Errorf("a week after the clock was right, and the undated one: %q", got)
	}
	if got := texts(p.With(alice, bob)); got != "dated undated" {
		t.Errorf("its sender sees %q", got)
	}
}

// Texts of signs that cost six octets each to store are no way to fill the drawers.
func TestAPostOfficeIsBoundedByWhatItStores(t *testing.T) {
	d := &disk{kept: map[string][]byte{}}
	p, err := NewPost(d, time.Now, func() (bool, string) { return true, "" })
	if err != nil {
		t.Fatal(err)
	}
	for _, sign := range []string{"<", "\x01"} {
		for i := range maxMessages {
			m := Message{From: alice, To: presence.At(fmt.Sprint("p", i), "example.com"), Text: strings.Repeat(sign, MaxText)}
			m, err := p.Send(t.Context(), m)
			if err != nil && !errors.Is(err, ErrPostFull) {
				t.Fatal(err)
			}
			if err == nil {
				_ = p.Delivered(t.Context(), m.ID)
			}
		}
		stored := 0
		for _, value := range d.kept {
			stored += len(value)
		}
		if stored > maxBytes+maxMessages*len(`,"d":true`) || len(d.kept) < maxBytes/(7*MaxText) {
			t.Errorf("%q: %d messages of %d octets in all", sign, len(d.kept), stored)
		}
	}
}
