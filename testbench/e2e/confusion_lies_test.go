package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What the agent is set to (branch.Config), and what the phone driver makes of it.
const (
	pollInterval = 2 * time.Second
	timeout      = min(3*time.Second, pollInterval) // of a request
	seldom       = 15 * time.Second                 // between two looks at where a phone is registered
)

// How long a round may take to settle, and how often it is looked at meanwhile.
const (
	settleWithin = 45 * time.Second
	settledFor   = 3 * time.Second
	lookEach     = 200 * time.Millisecond
)

// believed is how long a page counts.
func believed(every time.Duration) time.Duration { return every*5/2 + timeout }

// A visit to a phone that hangs asks for two pages. Three are misses, of which the
// second and third come soon, and the one in which it began to hang is none.
const (
	hung    = pollInterval + 2*timeout
	silence = 2*hung + (500*time.Millisecond + timeout) + (1500*time.Millisecond + timeout)
)

// A topic is what a lie is about.
type topic string

const (
	aboutCalls        topic = "calls"
	aboutReach        topic = "reach"
	aboutRegistration topic = "registration"
)

// bounds are how long after a change a lie may be told: what was read last before
// a phone closed its pages, or fell silent, is believed until it is old. The rest
// is for a busy machine.
var bounds = []struct {
	topic
	most time.Duration
}{
	{aboutCalls, believed(pollInterval) + 8*time.Second},
	{aboutReach, silence + 8*time.Second},
	{aboutRegistration, max(settleWithin, believed(seldom))},
}

// A lie is something false that was told.
type lie struct {
	about topic
	text  string
}

// lies is a record of how long after each change of the truth false things were told.
type lies struct {
	of      map[string]*since
	looked  time.Time
	changes int
	lasted  map[topic][]time.Duration
	longest map[topic]string
	long    []string // those that lasted for too long
}

// since is one truth, and what false was told since it is so.
type since struct {
	truth string
	at    time.Time
	last  map[topic]time.Time
	text  map[topic]string
}

func newLies() *lies {
	return &lies{of: map[string]*since{}, lasted: map[topic][]time.Duration{}, longest: map[topic]string{}}
}

// begin has everything change now.
func (l *lies) begin(now time.Time) {
	for about, s := range l.of {
		l.done(about, s)
		s.at = now
	}
	l.looked = now
}

// note takes a look. A change that it finds is as old as the look before, at most.
func (l *lies) note(at time.Time, v verdict) {
	for about, truth := range v.truths {
		s := l.of[about]
		if s == nil || s.truth != truth {
			if s != nil {
				l.done(about, s)
				l.changes++
			}
			s = &since{truth: truth, at: l.looked, last: map[topic]time.Time{}, text: map[topic]string{}}
			l.of[about] = s
		}
		if lie, told := v.lies[about]; told {
			s.last[lie.about], s.text[lie.about] = at, lie.text
		}
	}
	l.looked = at
}

// done counts what false was told of a truth that is over.
func (l *lies) done(about string, s *since) {
	for _, b := range bounds {
		last, told := s.last[b.topic]
		if !told {
			continue
		}
		d := last.Sub(s.at)
		if d > slices.Max(append(l.lasted[b.topic], 0)) {
			text, _, _ := strings.Cut(s.text[b.topic], "\n")
			l.longest[b.topic] = fmt.Sprintf("%s, %s: %s", about, s.truth, text)
		}
		l.lasted[b.topic] = append(l.lasted[b.topic], d)
		if d > b.most {
			l.long = append(l.long, fmt.Sprintf("%s: %v after a change, more than %v: %s", about, d.Round(time.Millisecond), b.most, s.text[b.topic]))
		}
	}
	clear(s.last)
}

func (l *lies) end() { l.begin(time.Now()) }

// String is a table.
func (l *lies) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%-14s%7s%9s%9s%9s%9s", "about", "lies", "p50", "p90", "max", "bound")
	for _, b := range bounds {
		all := slices.Sorted(slices.Values(l.lasted[b.topic]))
		fmt.Fprintf(&s, "\n%-14s%7d", b.topic, len(all))
		for _, share := range []int{50, 90, 100} {
			if len(all) == 0 {
				fmt.Fprintf(&s, "%9s", ".")
				continue
			}
			fmt.Fprintf(&s, "%9v", all[(len(all)-1)*share/100].Round(100*time.Millisecond))
		}
		fmt.Fprintf(&s, "%9v", b.most)
	}
	for _, b := range bounds {
		if text := l.longest[b.topic]; text != "" {
			fmt.Fprintf(&s, "\nlongest about %s: %s", b.topic, text)
		}
	}
	return s.String()
}
