package presence

import (
	"slices"
)

// Roster knows which device and which line belongs to whom. It is a plain
// index without a lock: it belongs to whoever keeps the state.
type Roster struct {
	domain  string
	persons map[Presentity]Person
	told    map[string][]string // device: the numbers it says it has

	owner    map[string]Presentity   // device: who owns it
	lines    map[string][]string     // device: its numbers
	carriers map[string][]string     // number: the devices it is on
	holder   map[string]Presentity   // number: who owns it
	owned    map[Presentity][]string // person: the numbers owned, sorted
	known    map[string]int          // number: how many line observations name it
}

// NewRoster makes an empty roster of one domain.
func NewRoster(domain string) *Roster {
	r := &Roster{domain: domain, persons: map[Presentity]Person{}, told: map[string][]string{}, known: map[string]int{}}
	r.rebuild()
	return r
}

// SetPerson says what p owns; a zero Person forgets p. It reports whether
// anything changed, in which case the whole index was made anew.
func (r *Roster) SetPerson(p Presentity, is Person) bool {
	old, had := r.persons[p]
	gone := is.Name == "" && len(is.Devices) == 0 && len(is.Lines) == 0
	switch {
	case gone && !had, !gone && had && samePerson(old, is):
		return false
	case gone:
		delete(r.persons, p)
	default:
		r.persons[p] = is
	}
	r.rebuild()
	return true
}

// SetDevice says which numbers a device reports; nil forgets the device.
// It reports whether anything changed.
func (r *Roster) SetDevice(name string, numbers []string) bool {
	old, had := r.told[name]
	switch {
	case numbers == nil && !had, numbers != nil && had && slices.Equal(old, numbers):
		return false
	case numbers == nil:
		delete(r.told, name)
		r.rebuild()
		return true
	}
	r.told[name] = slices.Clone(numbers)
	if !had && len(numbers) == 0 && len(r.lines[name]) == 0 {
		return true // a device without numbers changes nobody else's index
	}
	r.rebuild()
	return true
}

// SetLine counts (or, with on false, uncounts) an observation that names number.
func (r *Roster) SetLine(number string, on bool) {
	if on {
		r.known[number]++
	} else if r.known[number]--; r.known[number] <= 0 {
		delete(r.known, number)
	}
}

func (r *Roster) rebuild() {
	r.owner, r.lines = map[string]Presentity{}, map[string][]string{}
	r.carriers, r.holder = map[string][]string{}, map[string]Presentity{}
	for _, p := range sortedKeys(r.persons) { // sorted: two claims to one phone always end the same way
		for _, d := range r.persons[p].Devices {
			if r.owner[d] == "" {
				r.owner[d] = p
			}
		}
		for _, n := range r.persons[p].Lines {
			if r.holder[n] == "" {
				r.holder[n] = p
			}
		}
	}
	for d, numbers := range r.told {
		r.lines[d] = slices.Clone(numbers)
	}
	for d, p := range r.owner {
		if len(r.lines[d]) == 0 { // it has not told: its owner's lines are the best guess
			r.lines[d] = slices.Clone(r.persons[p].Lines)
		}
	}
	for _, d := range sortedKeys(r.lines) {
		for _, n := range r.lines[d] {
			if !slices.Contains(r.carriers[n], d) {
				r.carriers[n] = append(r.carriers[n], d)
			}
		}
	}
	for n, on := range r.carriers {
		if r.holder[n] != "" {
			continue
		}
		who := r.owner[on[0]]
		for _, d := range on[1:] {
			if r.owner[d] != who {
				who = "" // on phones of several people: nobody's own
			}
		}
		if who != "" {
			r.holder[n] = who
		}
	}
	r.owned = map[Presentity][]string{}
	for _, n := range sortedKeys(r.holder) {
		r.owned[r.holder[n]] = append(r.owned[r.holder[n]], n)
	}
}

// Person is what is known of p.
func (r *Roster) Person(p Presentity) (Person, bool) { is, ok := r.persons[p]; return is, ok }

// Owner is who owns a device, or "".
func (r *Roster) Owner(device string) Presentity { return r.owner[device] }

// LinesOf are the numbers on a device.
func (r *Roster) LinesOf(device string) []string { return r.lines[device] }

// Carriers are the devices that a number is on, sorted.
func (r *Roster) Carriers(number string) []string { return r.carriers[number] }

// Holder is who owns a number, or "".
func (r *Roster) Holder(number string) Presentity { return r.holder[number] }

// LineOf is the presentity of a number.
func (r *Roster) LineOf(number string) Presentity { return At(number, r.domain) }

// Numbers are all numbers known, sorted.
func (r *Roster) Numbers() []string {
	all := map[string]bool{}
	for n := range r.carriers {
		all[n] = true
	}
	for n := range r.holder {
		all[n] = true
	}
	for n := range r.known {
		all[n] = true
	}
	return sortedKeys(all)
}

// KindOf says what p is, if it is anybody.
func (r *Roster) KindOf(p Presentity) (Kind, bool) {
	if _, ok := r.persons[p]; ok {
		return KindPerson, true
	}
	if p.Domain() != r.domain {
		return "", false
	}
	user := p.User()
	if len(r.carriers[user]) > 0 || r.holder[user] != "" || r.known[user] > 0 {
		return KindLine, true
	}
	if _, ok := r.told[user]; ok && len(r.lines[user]) == 0 && r.owner[user] == "" {
		return KindDevice, true
	}
	return "", false
}

// OfDevice are the presentities whose documents a device is part of.
func (r *Roster) OfDevice(device string) []Presentity {
	var of []Presentity
	if p := r.owner[device]; p != "" {
		of = r.withLines(of, p)
	}
	for _, n := range r.lines[device] {
		if p := r.LineOf(n); !slices.Contains(of, p) {
			of = append(of, p)
		}
	}
	if len(of) == 0 {
		of = append(of, At(device, r.domain))
	}
	return of
}

// OfLine are the presentities whose documents the state of a number is part of,
// beside those of the devices that carry it.
func (r *Roster) OfLine(number string) []Presentity {
	if p := r.holder[number]; p != "" {
		return r.withLines(nil, p)
	}
	return []Presentity{r.LineOf(number)}
}

// OfPerson are p and the lines that p owns: an owned line tells its owner's presence.
func (r *Roster) OfPerson(p Presentity) []Presentity { return r.withLines(nil, p) }

func (r *Roster) withLines(of []Presentity, p Presentity) []Presentity {
	of = append(of, p)
	for _, n := range r.owned[p] {
		if line := r.LineOf(n); line != p {
			of = append(of, line)
		}
	}
	return of
}

// DevicesOf are the devices that belong to p, sorted: a person's own, all that
// carry a line, or the device itself.
func (r *Roster) DevicesOf(p Presentity) []string {
	kind, ok := r.KindOf(p)
	switch {
	case !ok:
		return nil
	case kind == KindPerson:
		var own []string
		for _, d := range r.persons[p].Devices {
			if r.owner[d] == p {
				own = append(own, d)
			}
		}
		slices.Sort(own)
		return slices.Compact(own)
	case kind == KindLine:
		return r.carriers[p.User()]
	}
	return []string{p.User()}
}

// BareLines are the numbers that p owns and that are on no device of p's own
// alone: their state is told by line observations only.
func (r *Roster) BareLines(p Presentity) []string {
	kind, _ := r.KindOf(p)
	if kind == KindLine {
		return []string{p.User()}
	}
	var bare []string
	for _, n := range r.owned[p] {
		if len(r.carriers[n]) == 0 {
			bare = append(bare, n)
		}
	}
	return bare
}

func samePerson(a, b Person) bool {
	return a.Name == b.Name && slices.Equal(a.Devices, b.Devices) && slices.Equal(a.Lines, b.Lines)
}

func sortedKeys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
