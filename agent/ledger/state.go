package ledger

import (
	"maps"
	"slices"
	"time"

	"pilotlight/agent/presence"
)

// state is all that the owner holds.
type state struct {
	domain   string
	roster   *presence.Roster
	devices  map[string]*device
	entities map[presence.Presentity]*entity
	alarms   alarms

	dirtyDevices  map[string]struct{} // to be fused anew
	dirtyEntities map[presence.Presentity]struct{}

	repeats   repeats
	loading   bool   // all will be marked in the end
	seq       uint64 // the last revision
	shown     int    // presentities that have a document
	standings int

	refused                map[string]uint64
	refusals, toldRefusals uint64
}

func newState(domain string) *state {
	return &state{
		domain: domain, roster: presence.NewRoster(domain),
		devices: map[string]*device{}, entities: map[presence.Presentity]*entity{},
		dirtyDevices: map[string]struct{}{}, dirtyEntities: map[presence.Presentity]struct{}{},
		repeats: repeats{dirty: map[uint32]struct{}{}}, refused: map[string]uint64{},
	}
}

// held is an observation as the ledger keeps it.
type held struct {
	observationRecord
	static   bool      // of the configuration: neither stored nor forgotten
	restored bool      // from before the start: never live
	written  time.Time // when it last went whole to the disk
}

// device is one device and its observations.
type device struct {
	name    string
	seen    []held
	numbers []string // as the roster was told
	now     presence.Device
	known   bool // now was offered
	since   sinceRecord
	ring    []Event // the last historyLength
	events  uint64  // how many there ever were
	alarm   alarm
}

// entity is one presentity: a person, a line or a device without an owner.
type entity struct {
	of    presence.Presentity
	seen  []held // about the person or the line
	said  []standing
	line  bool // the roster counts it as a line
	doc   presence.Document
	known bool // doc was offered
	since sinceRecord
	alarm alarm
}

// standing is a publication in its slot.
type standing struct {
	standingRecord
	slot  byte
	until time.Time // restored: when the disk says that it ends, by wall time
}

// subject is what an alarm rings for.
type subject interface{ mark(*state) }

func (d *device) mark(s *state) { s.dirtyDevices[d.name] = struct{}{} }
func (e *entity) mark(s *state) { s.dirtyEntities[e.of] = struct{}{} }

// device is the device of that name, made if there is room.
func (s *state) device(name string) (*device, bool) {
	if d := s.devices[name]; d != nil {
		return d, true
	}
	if len(s.devices) >= MaxDevices {
		s.refuse("devices")
		return nil, false
	}
	d := &device{name: name, now: presence.Device{Name: name}}
	d.alarm = alarm{index: -1, rings: d}
	s.devices[name] = d
	return d, true
}

func (s *state) entity(of presence.Presentity) (*entity, bool) {
	if e := s.entities[of]; e != nil {
		return e, true
	}
	if len(s.entities) >= MaxPresentities {
		s.refuse("presentities")
		return nil, false
	}
	e := &entity{of: of}
	e.alarm = alarm{index: -1, rings: e}
	s.entities[of] = e
	return e, true
}

// reach marks all that a change of the roster may concern, as the roster is
// now: it is called before the change and after it.
func (s *state) reach(people []presence.Presentity, devices, numbers []string) {
	if s.loading {
		return
	}
	for _, p := range people {
		s.markAll(s.roster.OfPerson(p))
		devices = append(devices, s.roster.DevicesOf(p)...)
	}
	for _, d := range devices {
		s.dirtyDevices[d] = struct{}{}
		s.markAll(s.roster.OfDevice(d))
		numbers = append(numbers, s.roster.LinesOf(d)...)
	}
	for _, n := range numbers {
		s.markNumber(n)
	}
}

// markNumber marks what the state of a number is part of.
func (s *state) markNumber(n string) {
	if s.loading {
		return
	}
	s.dirtyEntities[s.roster.LineOf(n)] = struct{}{}
	s.markAll(s.roster.OfLine(n))
	for _, d := range s.roster.Carriers(n) {
		s.dirtyDevices[d] = struct{}{}
		s.markAll(s.roster.OfDevice(d)) // a holder of its number shows it, too
	}
}

func (s *state) markAll(of []presence.Presentity) {
	for _, p := range of {
		s.dirtyEntities[p] = struct{}{}
	}
}

// renumber tells the roster which numbers a device has.
func (s *state) renumber(d *device) {
	numbers := numbersOf(d.seen)
	if d.numbers != nil && slices.Equal(numbers, d.numbers) {
		return
	}
	touched := slices.Concat(numbers, d.numbers)
	s.reach(nil, []string{d.name}, touched)
	d.numbers = numbers
	s.roster.SetDevice(d.name, numbers)
	s.reach(nil, []string{d.name}, touched)
}

// numbersOf are the numbers that a device's sources tell: the longest list, so
// that a source which knows the first line only does not hide the others,
// whoever spoke last.
func numbersOf(seen []held) []string {
	best := []string{}
	source := ""
	for _, h := range seen {
		if h.Identity == nil {
			continue
		}
		n := h.Identity.Lines
		if len(n) > len(best) || len(n) > 0 && len(n) == len(best) && h.Source < source {
			best, source = n, h.Source
		}
	}
	return best
}

// rename tells the roster what is known of a person.
func (s *state) rename(e *entity) {
	person := personOf(e.seen)
	old, _ := s.roster.Person(e.of)
	if old.Name == person.Name && slices.Equal(old.Devices, person.Devices) && slices.Equal(old.Lines, person.Lines) {
		return
	}
	if s.loading {
		s.roster.SetPerson(e.of, person)
		return
	}
	devices := slices.Concat(old.Devices, person.Devices)
	numbers := slices.Concat(old.Lines, person.Lines)
	people := append(s.claimants(devices, numbers), e.of)
	s.reach(people, devices, numbers)
	s.roster.SetPerson(e.of, person)
	s.reach(people, devices, numbers)
}

// claimants are those who own one of these now: two may claim one phone.
func (s *state) claimants(devices, numbers []string) []presence.Presentity {
	var people []presence.Presentity
	for _, d := range devices {
		if o := s.roster.Owner(d); o != "" {
			people = append(people, o)
		}
	}
	for _, n := range numbers {
		if h := s.roster.Holder(n); h != "" {
			people = append(people, h)
		}
	}
	return people
}

// markEverything is for the end of loading.
func (s *state) markEverything() {
	for _, d := range s.devices {
		d.mark(s)
	}
	for _, e := range s.entities {
		e.mark(s)
	}
	for _, n := range s.roster.Numbers() {
		s.dirtyEntities[s.roster.LineOf(n)] = struct{}{}
	}
}

// personOf is what all sources know of a person. The configuration's name goes
// first, then that of the first source by name.
func personOf(seen []held) presence.Person {
	var person presence.Person
	sorted := slices.Clone(seen)
	slices.SortFunc(sorted, func(a, b held) int {
		if a.static != b.static {
			if a.static {
				return -1
			}
			return 1
		}
		if a.Source < b.Source {
			return -1
		}
		return 1
	})
	for _, h := range sorted {
		if h.Person == nil {
			continue
		}
		if person.Name == "" {
			person.Name = h.Person.Name
		}
		person.Devices = union(person.Devices, h.Person.Devices)
		person.Lines = union(person.Lines, h.Person.Lines)
	}
	return person
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(slices.Clip(a), s)
		}
	}
	return a
}

// ring marks what has aged.
func (s *state) ring(now time.Time) {
	for a := s.alarms.due(now); a != nil; a = s.alarms.due(now) {
		a.rings.mark(s)
	}
}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
