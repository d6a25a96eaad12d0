package ledger

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// fill sets every field below v to something that is not zero, n apart.
func fill(v reflect.Value, n int) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMicro(1_800_000_000_000_000 + int64(n))))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 5060)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n+i+1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n+20)
		fill(v.Index(1), n+40)
	case reflect.String:
		v.SetString("text " + string(rune('a'+n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n + 1))
	case reflect.Uint64:
		v.SetUint(uint64(n + 1))
	case reflect.Float64:
		v.SetFloat(float64(n) + 0.5)
	default:
		panic("cannot fill " + v.Type().String())
	}
}

func filled[T any]() T {
	var v T
	fill(reflect.ValueOf(&v).Elem(), 0)
	return v
}

// addr and time compare by value; nil and empty lists are the same.
var alike = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}),
	cmp.AllowUnexported(observationRecord{}, standingRecord{}, sinceRecord{}, eventRecord{}, seenBlock{}),
}

// A field that is added to the vocabulary and forgotten here would be lost at
// the next restart.
func TestEveryFieldOfAnObservationIsKept(t *testing.T) {
	for _, device := range []bool{true, false} {
		want := observationRecord{filled[presence.Observation](), 77}
		if device {
			want.Of = ""
		} else {
			want.Device = ""
		}
		got, err := readObservation(encode(want))
		if diff := cmp.Diff(want, got, alike); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}

// Nil says nothing, empty says that there is nothing: the two must not be mixed up.
func TestEmptyFactsStayApartFromNone(t *testing.T) {
	facts := reflect.TypeFor[presence.Facts]()
	for i := range facts.NumField() {
		want := observationRecord{Observation: presence.Observation{Source: "s", Device: "d", Seen: time.UnixMicro(1), TTL: 1}}
		field := reflect.ValueOf(&want.Facts).Elem().Field(i)
		field.Set(reflect.New(field.Type().Elem()))
		got, err := readObservation(encode(want))
		if diff := cmp.Diff(want, got, alike); err != nil || diff != "" {
			t.Errorf("empty %s: %v\n%s", facts.Field(i).Name, err, diff)
		}
	}
}

// drifts are the fields that sameFacts leaves to sameNumbers.
var drifts = map[string]bool{
	"Power.Watts": true, "Reach.Misses": true, "Streams.List.Sent": true, "Streams.List.Received": true,
	"Streams.List.Lost": true, "Streams.List.JitterMS": true, "Streams.List.MOSLQK": true, "Streams.List.AvgMOSLQK": true,
	"Streams.List.MinMOSLQK": true, "Streams.List.MaxJitterMS": true, "Streams.List.Concealed": true,
	"Ethernet.Ports.Sent": true, "Ethernet.Ports.Received": true, "Ethernet.Ports.Errors": true,
}

// A difference that is overlooked would not reach the disk.
func TestNoDifferenceIsOverlooked(t *testing.T) {
	base := filled[presence.Facts]()
	var walk func(path string, pick func(*presence.Facts) reflect.Value)
	walk = func(path string, pick func(*presence.Facts) reflect.Value) {
		v := pick(&base)
		switch {
		case v.Kind() == reflect.Pointer:
			changed := filled[presence.Facts]()
			pick(&changed).SetZero()
			if sameFacts(base, changed) {
				t.Errorf("%s gone: overlooked", path)
			}
			walk(path, func(f *presence.Facts) reflect.Value { return pick(f).Elem() })
		case v.Kind() == reflect.Slice:
			changed := filled[presence.Facts]()
			pick(&changed).SetLen(1)
			if sameFacts(base, changed) {
				t.Errorf("%s shorter: overlooked", path)
			}
			walk(path, func(f *presence.Facts) reflect.Value { return pick(f).Index(0) })
		case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[presence.Facts]().PkgPath():
			for i := range v.NumField() {
				sub := path + "." + v.Type().Field(i).Name
				if path == "" {
					sub = v.Type().Field(i).Name
				}
				walk(sub, func(f *presence.Facts) reflect.Value { return pick(f).Field(i) })
			}
		default:
			changed := filled[presence.Facts]()
			pick(&changed).SetZero()
			if drifts[path] {
				if sameNumbers(base, changed) {
					t.Errorf("%s drifts: overlooked", path)
				}
			} else if sameFacts(base, changed) {
				t.Errorf("%s: overlooked", path)
			}
		}
	}
	walk("", func(f *presence.Facts) reflect.Value { return reflect.ValueOf(f).Elem() })
	if !sameFacts(base, filled[presence.Facts]()) || !sameNumbers(base, filled[presence.Facts]()) {
		t.Error("equal facts differ")
	}
}

func TestASilentDeviceIsNotWrittenAtEachMiss(t *testing.T) {
	miss := func(n int) presence.Facts {
		return presence.Facts{Reach: &presence.Reach{Outcome: presence.Silent, Misses: n}}
	}
	if sameFacts(miss(presence.Misses-1), miss(presence.Misses)) || !sameFacts(miss(presence.Misses), miss(presence.Misses+1)) {
		t.Error("misses up to the limit matter, and no more")
	}
}

func TestARoundTripThatMovesIsNoChange(t *testing.T) {
	reach := func(outcome presence.ReachOutcome, detail string) presence.Facts {
		return presence.Facts{Reach: &presence.Reach{Outcome: outcome, Detail: detail}}
	}
	fast, slow := reach(presence.Answered, "within 10ms"), reach(presence.Answered, "within 50ms")
	if !sameFacts(fast, slow) || sameNumbers(fast, slow) {
		t.Error("a device that answers slower has changed, or has not drifted")
	}
	if sameFacts(reach(presence.Garbled, "half a page"), reach(presence.Garbled, "no page")) {
		t.Error("what is wrong with a device is overlooked")
	}
}

func TestOtherRecordsAreKept(t *testing.T) {
	s := standingRecord{filled[presence.Standing](), time.Hour, true}
	got, slot, err := readStanding(publicationKey(s.Of, 7), encode(s))
	if diff := cmp.Diff(s, got, alike); err != nil || slot != 7 || diff != "" {
		t.Errorf("publication: %v, slot %d\n%s", err, slot, diff)
	}
	e := eventRecord{filled[Event](), historyLength + 3}
	device, gotEvent, err := readEvent(historyKey("d", e.n), encode(e))
	if diff := cmp.Diff(e, gotEvent, alike); err != nil || device != "d" || diff != "" {
		t.Errorf("event: %v\n%s", err, diff)
	}
	since := sinceRecord{"idle", time.UnixMicro(5)}
	if got, err := readSince(encode(since)); err != nil || got != since {
		t.Errorf("since: %v, %+v", err, got)
	}
	block := seenBlock{}
	block.micros[0], block.micros[9], block.micros[63] = 1_800_000_000_000_000, 1_799_999_999_999_999, 1
	number, gotBlock, err := readSeen(blockKey(12), encode(block))
	if err != nil || number != 12 || gotBlock != block {
		t.Errorf("repeats: %v, %d, %v", err, number, gotBlock)
	}
	for _, value := range []string{"", "x"} {
		drawer, key, got, err := readDrawer("dialogs\x00a\x00b", encode(drawerRecord{[]byte(value)}))
		if err != nil || drawer != "dialogs" || key != "a\x00b" || got == nil || string(got) != value {
			t.Errorf("drawer: %v, %q, %q, %q", err, drawer, key, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	o := observationRecord{filled[presence.Observation](), 77}
	o.Of = ""
	f.Add(byte(store.Observations), observationKey(o.Observation), encode(o))
	f.Add(byte(store.Publications), publicationKey("sip:a@b", 3), encode(standingRecord{filled[presence.Standing](), time.Hour, true}))
	f.Add(byte(store.History), historyKey("d", 3), encode(eventRecord{filled[Event](), 3}))
	f.Add(byte(store.Since), "d\x00x", encode(sinceRecord{"idle", time.UnixMicro(5)}))
	f.Add(byte(store.Seen), blockKey(1), encode(seenBlock{[blockSize]int64{1, 2, 3}}))
	f.Add(byte(store.Drawers), "a\x00b", encode(drawerRecord{[]byte("c")}))
	f.Fuzz(func(t *testing.T, kind byte, key string, b []byte) {
		if checkRecord(store.Kind(kind), key, b) != nil || store.Kind(kind) != store.Observations {
			return
		}
		// What was read can be written, and reads the same again.
		r, _ := readObservation(b)
		again, err := readObservation(encode(r))
		if diff := cmp.Diff(r, again, alike, cmpopts.EquateNaNs()); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}
