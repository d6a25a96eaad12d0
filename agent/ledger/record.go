package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// A record is a value that can be written. Records are immutable: the file
// goroutine encodes them while the owner goes on.
type record interface {
	write(*fields)
}

func encode(r record) []byte {
	f := fields{recordVersion}
	r.write(&f)
	return f
}

// observationRecord is an observation with its number, under which repeats of
// it are written.
type observationRecord struct {
	presence.Observation
	number uint32
}

func observationKey(o presence.Observation) string {
	k := o.Key()
	return k.Subject + "\x00" + k.Source
}

func (r observationRecord) write(f *fields) {
	f.string(1, r.Source)
	f.string(2, r.Device)
	f.string(3, string(r.Of))
	f.time(4, r.Seen)
	f.uint(5, uint64(r.TTL))
	f.uint(6, uint64(r.number))
	writeFacts(f, r.Facts)
}

func readObservation(b []byte) (observationRecord, error) {
	var r observationRecord
	err := readRecord(b, func(f field) error {
		switch f.num {
		case 1:
			r.Source = f.string()
		case 2:
			r.Device = f.string()
		case 3:
			r.Of = presence.Presentity(f.string())
		case 4:
			r.Seen = f.time()
		case 5:
			r.TTL = time.Duration(f.n)
		case 6:
			r.number = uint32(f.n)
		}
		return readFact(&r.Facts, f)
	})
	if err == nil && (r.Device == "") == (r.Of == "") {
		err = errors.New("observation of neither a device nor a presentity")
	}
	return r, err
}

// seenBlock is when each of a block of observations was last repeated, in
// microseconds of Unix time, by number modulo the block; 0: there is none.
// Repeats are most of what happens, and a few bytes each in a block.
type seenBlock struct{ micros [blockSize]int64 }

const blockSize = 64

func blockKey(block uint32) string { return string(binary.BigEndian.AppendUint32(nil, block)) }

func (r seenBlock) write(f *fields) {
	latest := slices.Max(r.micros[:])
	f.int(1, latest)
	var ages []byte // 0: none, else the age against the latest, plus one
	for _, at := range r.micros {
		if at == 0 {
			ages = append(ages, 0)
		} else {
			ages = protowire.AppendVarint(ages, uint64(latest-at)+1)
		}
	}
	f.always(2, ages)
}

func readSeen(key string, b []byte) (block uint32, r seenBlock, err error) {
	if len(key) != 4 {
		return 0, r, errors.New("key is not a number")
	}
	var latest int64
	err = readRecord(b, func(f field) error {
		switch f.num {
		case 1:
			latest = f.int()
		case 2:
			for i := range r.micros {
				age, n := protowire.ConsumeVarint(f.b)
				if n < 0 {
					return protowire.ParseError(n)
				}
				if f.b = f.b[n:]; age > 0 {
					r.micros[i] = latest - int64(age-1)
				}
			}
		}
		return nil
	})
	return binary.BigEndian.Uint32([]byte(key)), r, err
}

// standingRecord is a publication. Its slot, not its entity-tag, names its
// place on disk: a client that refreshes for years uses one place.
type standingRecord struct {
	presence.Standing
	length time.Duration // what was granted; a wall clock that is wrong never prolongs it
	unsure bool          // dated by a clock that was not trusted
}

func publicationKey(of presence.Presentity, slot byte) string {
	return string(of) + "\x00" + string(rune(slot))
}

func (r standingRecord) write(f *fields) {
	f.string(1, string(r.ETag))
	f.string(2, string(r.Of))
	f.string(3, r.By)
	f.bool(4, r.Manual)
	f.string(5, string(r.Said.Availability))
	f.string(6, r.Said.Note)
	if a := r.Said.Abilities; a != nil {
		f.message(7, func(f *fields) { writeAbilities(f, *a) })
	}
	f.time(8, r.At)
	f.time(9, r.Expires)
	f.uint(10, uint64(r.length))
	f.bool(11, r.unsure)
}

func readStanding(key string, b []byte) (r standingRecord, slot byte, err error) {
	of, last, _ := strings.Cut(key, "\x00")
	if len(last) != 1 {
		return r, 0, errors.New("key without a slot")
	}
	err = readRecord(b, func(f field) error {
		switch f.num {
		case 1:
			r.ETag = presence.ETag(f.string())
		case 2:
			r.Of = presence.Presentity(f.string())
		case 3:
			r.By = f.string()
		case 4:
			r.Manual = f.bool()
		case 5:
			r.Said.Availability = presence.Availability(f.string())
		case 6:
			r.Said.Note = f.string()
		case 7:
			r.Said.Abilities = &presence.Abilities{}
			return readAbilities(r.Said.Abilities, f.b)
		case 8:
			r.At = f.time()
		case 9:
			r.Expires = f.time()
		case 10:
			r.length = time.Duration(f.n)
		case 11:
			r.unsure = f.bool()
		}
		return nil
	})
	if err == nil && string(r.Of) != of {
		err = errors.New("publication under another's key")
	}
	return r, last[0], err
}

// sinceRecord is since when a device or a presentity has its state.
type sinceRecord struct {
	word string
	at   time.Time
}

const (
	sinceDevice     = "d\x00"
	sincePresentity = "p\x00"
)

func (r sinceRecord) write(f *fields) { f.string(1, r.word); f.time(2, r.at) }

func readSince(b []byte) (r sinceRecord, err error) {
	err = readRecord(b, func(f field) error {
		switch f.num {
		case 1:
			r.word = f.string()
		case 2:
			r.at = f.time()
		}
		return nil
	})
	return r, err
}

// eventRecord is one entry of a device's history. It lies at n modulo the
// length of the ring, so that a ring never takes more room.
type eventRecord struct {
	Event
	n uint64
}

func historyKey(device string, n uint64) string {
	return device + "\x00" + string(rune(n%historyLength))
}

func (r eventRecord) write(f *fields) {
	f.uint(1, r.n)
	f.time(2, r.At)
	f.string(3, string(r.From))
	f.string(4, string(r.To))
	f.string(5, r.Why)
}

func readEvent(key string, b []byte) (device string, r eventRecord, err error) {
	device, _, _ = strings.Cut(key, "\x00")
	err = readRecord(b, func(f field) error {
		switch f.num {
		case 1:
			r.n = f.n
		case 2:
			r.At = f.time()
		case 3:
			r.From = presence.DeviceState(f.string())
		case 4:
			r.To = presence.DeviceState(f.string())
		case 5:
			r.Why = f.string()
		}
		return nil
	})
	if err == nil && key != historyKey(device, r.n) {
		err = errors.New("event under another's key")
	}
	return device, r, err
}

// drawerRecord is a driver's own bytes.
type drawerRecord struct{ value []byte }

func (r drawerRecord) write(f *fields) { *f = append(*f, r.value...) }

func readDrawer(key string, b []byte) (drawer, name string, value []byte, err error) {
	drawer, name, found := strings.Cut(key, "\x00")
	if len(b) == 0 || b[0] != recordVersion || !found {
		return "", "", nil, errRecord
	}
	return drawer, name, b[1:], nil
}

// checkRecord is what the store asks of each record before it trusts a file.
func checkRecord(kind store.Kind, key string, b []byte) error {
	var err error
	switch kind {
	case store.Observations:
		var r observationRecord
		if r, err = readObservation(b); err == nil && observationKey(r.Observation) != key {
			err = errors.New("observation under another's key")
		}
	case store.Seen:
		_, _, err = readSeen(key, b)
	case store.Publications:
		_, _, err = readStanding(key, b)
	case store.Since:
		_, err = readSince(b)
	case store.History:
		_, _, err = readEvent(key, b)
	case store.Drawers:
		_, _, _, err = readDrawer(key, b)
	default:
		err = fmt.Errorf("record of kind %d", kind)
	}
	return err
}
