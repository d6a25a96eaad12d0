package presence

import (
	"slices"
)

// Roster knows which device and which line belongs to whom. It is a plain
// index without a lock: it belongs to whoever keeps the state. A change costs
// what it touches, not what there is.
//
// A device belongs to the person who lists it; else to the one whose number is
// its primary one. A number belongs to the person who lists it; else to the
// owner of all devices that carry it: on phones of several people it is
// nobody's own. Of two claims the first presentity in order wins, so that the
// order of arrival never shows.
type Roster struct {
	domain  string
	persons map[Presentity]Person
	told    map[string][]string // device: the numbers it says it has
	known   map[string]int      // number: how many line observations name it

	devices  map[string][]Presentity // device: who lists it, sorted
	numbers  map[string][]Presentity // number: who lists it, sorted
	lines    map[string][]string     // device: the numbers on it
	carriers map[string][]string     // number: the devices it is on, sorted
}

// NewRoster makes an empty roster of one domain.
func NewRoster(domain string) *Roster {
	return &Roster{
		domain: domain, persons: map[Presentity]Person{}, told: map[string][]string{}, known: map[string]int{},
		devices: map[string][]Presentity{}, numbers: map[string][]Presentity{},
		lines: map[string][]string{}, carriers: map[string][]string{},
	}
}

// SetPerson says what p owns; a zero Person forgets p.
func (r *Roster) SetPerson(p Presentity, is Person) {
	old := r.persons[p]
	for _, d := range old.Devices {
		drop(r.devices, d, p)
	}
	for _, n := range old.Lines {
		drop(r.numbers, n, p)
	}
	if is.Name == "" && len(is.Devices) == 0 && len(is.Lines) == 0 {
		delete(r.persons, p)
	} else {
		r.persons[p] = is
	}
	for _, d := range is.Devices {
		add(r.devices, d, p)
	}
	for _, n := range is.Lines {
		add(r.numbers, n, p)
	}
	for _, d := range slices.Concat(old.Devices, is.Devices) {
		r.carry(d)
	}
}

// SetDevice says which numbers a device reports, the primary first; nil forgets
// the device.
func (r *Roster) SetDevice(name string, numbers []string) {
	if numbers == nil {
		delete(r.told, name)
	} else {
		r.told[name] = slices.Clone(numbers)
	}
	r.carry(name)
}

// SetLine counts (or, with on false, uncounts) an observation that names number.
func (r *Roster) SetLine(number string, on bool) {
	if on {
		r.known[number]++
	} else if r.known[number]--; r.known[number] <= 0 {
		delete(r.known, number)
	}
}

// carry brings up to date which numbers are on a device.
func (r *Roster) carry(device string) {
	for _, n := range r.lines[device] {
		drop(r.carriers, n, device)
	}
	delete(r.lines, device)
	now := slices.Clone(r.told[device])
	if p := first(r.devices[device]); len(now) == 0 && p != "" { // it has not told: its owner's lines are the best guess
		now = slices.Clone(r.persons[p].Lines)
	}
	if len(now) == 0 {
		return
	}
	r.lines[device] = now
	for _, n := range now {
		add(r.carriers, n, device)
	}
}

// Person is what is known of p.
func (r *Roster) Person(p Presentity) (Person, bool) { is, ok := r.persons[p]; return is, ok }

// Owner is who owns a device, or "".
func (r *Roster) Owner(device string) Presentity {
	if p := first(r.devices[device]); p != "" || len(r.told[device]) == 0 {
		return p
	}
	return first(r.numbers[r.told[device][0]])
}

// LinesOf are the numbers on a device.
func (r *Roster) LinesOf(device string) []string { return r.lines[device] }

// Carriers are the devices that a number is on, sorted.
func (r *Roster) Carriers(number string) []string { return r.carriers[number] }

// Holder is who owns a number, or "".
func (r *Roster) Holder(number string) Presentity {
	if p := first(r.numbers[number]); p != "" {
		return p
	}
	var who Presentity
	for i, d := range r.carriers[number] {
		switch owner := r.Owner(d); {
		case owner == "" || i > 0 && owner != who:
			return ""
		default:
			who = owner
		}
	}
	return who
}

// LineOf is the presentity of a number.
func (r *Roster) LineOf(number string) Presentity { return At(number, r.domain) }

// Numbers are all numbers known, sorted.
func (r *Roster) Numbers() []string {
	all := map[string]bool{}
	for n := range r.carriers {
		all[n] = true
	}
	for n := range r.numbers {
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
	if len(r.carriers[user]) > 0 || len(r.numbers[user]) > 0 || r.known[user] > 0 {
		return KindLine, true
	}
	if _, ok := r.told[user]; ok && len(r.lines[user]) == 0 && r.Owner(user) == "" {
		return KindDevice, true
	}
	return "", false
}

// OfDevice are the presentities whose documents a device is part of.
func (r *Roster) OfDevice(device string) []Presentity {
	var of []Presentity
	if p := r.Owner(device); p != "" {
		of = r.OfPerson(p)
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
	if p := r.Holder(number); p != "" {
		return r.OfPerson(p)
	}
	return []Presentity{r.LineOf(number)}
}

// OfPerson are p and the lines that p owns: an owned line tells its owner's presence.
func (r *Roster) OfPerson(p Presentity) []Presentity {
	of := []Presentity{p}
	for _, n := range r.owned(p) {
		if line := r.LineOf(n); line != p {
			of = append(of, line)
		}
	}
	return of
}

// owned are the numbers that p owns, sorted.
func (r *Roster) owned(p Presentity) []string {
	all := slices.Clone(r.persons[p].Lines)
	for _, d := range r.own(p) {
		all = append(all, r.lines[d]...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(n string) bool { return r.Holder(n) != p })
}

// own are the devices that p owns, sorted.
func (r *Roster) own(p Presentity) []string {
	all := slices.Clone(r.persons[p].Devices)
	for _, n := range r.persons[p].Lines {
		all = append(all, r.carriers[n]...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(d string) bool { return r.Owner(d) != p })
}

// DevicesOf are the devices that belong to p, sorted: a person's own, all that
// carry a line, or the device itself.
func (r *Roster) DevicesOf(p Presentity) []string {
	switch kind, ok := r.KindOf(p); {
	case !ok:
		return nil
	case kind == KindPerson:
		return r.own(p)
	case kind == KindLine:
		return r.carriers[p.User()]
	}
	return []string{p.User()}
}

// BareLines are the numbers that p owns and that are on none of p's own
// devices that are known: their state is told by line observations only.
func (r *Roster) BareLines(p Presentity, known func(device string) bool) []string {
	if kind, _ := r.KindOf(p); kind == KindLine {
		return []string{p.User()}
	}
	return slices.DeleteFunc(r.owned(p), func(n string) bool {
		return slices.ContainsFunc(r.carriers[n], func(d string) bool { return r.Owner(d) == p && known(d) })
	})
}

// add puts v into the sorted set at key, drop takes it out.
func add[K comparable, V ~string](sets map[K][]V, key K, v V) {
	if i, found := slices.BinarySearch(sets[key], v); !found {
		sets[key] = slices.Insert(sets[key], i, v)
	}
}

func drop[K comparable, V ~string](sets map[K][]V, key K, v V) {
	i, found := slices.BinarySearch(sets[key], v)
	if !found {
		return
	}
	if sets[key] = slices.Delete(sets[key], i, i+1); len(sets[key]) == 0 {
		delete(sets, key)
	}
}

func first[V ~string](set []V) V {
	if len(set) == 0 {
		return ""
	}
	return set[0]
}

func sortedKeys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
