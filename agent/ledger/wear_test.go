package ledger

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

// branch is a branch of phones that are polled and that make calls, in
// simulated time: the ledger is stepped by hand.
type branch struct {
	l      *Ledger
	now    time.Time
	phones int
	busy   []bool
	rng    *rand.Rand
	sent   []uint64
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (b *branch) name(i int) string { return fmt.Sprintf("SEP%012X", i) }

func (b *branch) observe(t testing.TB, source string, i int, ttl time.Duration, facts presence.Facts) {
	if err := b.l.observe(b.now, presence.Observation{Source: source, Device: b.name(i), Seen: b.now, TTL: ttl, Facts: facts}); err != nil {
		t.Fatal(err)
	}
}

// poll is what three kinds of poll find at one phone.
func (b *branch) poll(t testing.TB, i int, sip, web, snmp bool) {
	if sip {
		b.observe(t, "phone/sip", i, 90*time.Second, presence.Facts{Reach: &presence.Reach{Outcome: presence.Answered, Via: "sip"}, Abilities: &presence.Abilities{Audio: true}})
	}
	if web {
		if b.busy[i] {
			b.sent[i] += 3000
		}
		b.observe(t, "phone/web", i, 3*time.Minute, presence.Facts{
			Identity: &presence.Identity{Model: "CP-8845", Serial: "FCH1234ABCD", Firmware: "sip8845_65.14-1-1-0001-135", MAC: b.name(i)[3:], Lines: []string{strconv.Itoa(1000 + i)}},
			Reach:    &presence.Reach{Outcome: presence.Answered, Via: "web"},
			Streams:  &presence.Streams{List: []presence.Stream{{Active: b.busy[i], Codec: "G.722", Sent: b.sent[i]}}},
		})
	}
	if snmp {
		b.observe(t, "lan/sw1", i, 3*time.Minute, presence.Facts{
			Port:  &presence.Port{Switch: "sw1", Name: "Gi1/0/" + strconv.Itoa(i%48), VLAN: 110, LinkUp: true, LinkKnown: true, Neighbour: true},
			Power: &presence.Power{State: presence.PowerDelivering, Watts: 4 + float64(b.rng.IntN(8))/10, Known: true},
		})
	}
}

func (b *branch) change(t testing.TB) {
	i := b.rng.IntN(b.phones)
	b.busy[i] = !b.busy[i]
	n := presence.Line{Number: strconv.Itoa(1000 + i), State: presence.LineIdle}
	if b.busy[i] {
		n.State = presence.LineConfirmed
	}
	b.observe(t, "dialog/pbx", i, time.Hour, presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{n}}})
}

// step is one second of the branch.
func (b *branch) step(t testing.TB, second int) {
	for i := range b.phones {
		b.poll(t, i, second%30 == i%30, second%60 == i%60, second%60 == 7)
	}
	if b.rng.Float64() < 0.83 {
		b.change(t)
	}
	b.turn(t)
}

// turn is one turn of the owner's loop, and of the file goroutine's; then a
// second goes by.
func (b *branch) turn(t testing.TB) {
	b.l.settle(b.now)
	b.l.ring(b.now)
	b.l.settle(b.now)
	b.l.save(b.now)
	if b.l.inFlight != nil { // what the file goroutine does
		job := <-b.l.jobs
		b.l.disk.Date(b.now)
		err := b.l.disk.Commit(job.mutations())
		if err != nil {
			t.Fatal(err)
		}
		b.l.committed(outcome{job, err})
	}
	b.now = b.now.Add(time.Second)
}

// written is what this process has had written to block devices.
func written(t testing.TB) uint64 {
	raw, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal("bytes written are counted by /proc/self/io: ", err)
	}
	_, rest, _ := bytes.Cut(raw, []byte("\nwrite_bytes: "))
	digits, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// BenchmarkWear is a working day of a branch at rated load: 500 phones, polled
// by SIP each 30 s, by web and SNMP each 60 s, 0.83 changes a second. The aim
// is 100 MB at the dial's 10 s.
func BenchmarkWear(b *testing.B) {
	for _, dial := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second} {
		b.Run(dial.String(), func(b *testing.B) {
			for b.Loop() {
				day(b, dial, 8*time.Hour)
			}
		})
	}
}

func day(b *testing.B, dial, length time.Duration) {
	l, err := Open(Config{Path: filepath.Join(b.TempDir(), "store"), Domain: "example.com", Commit: dial})
	if err != nil {
		b.Fatal(err)
	}
	br := &branch{l: l, now: l.opened, phones: 500, busy: make([]bool, 500), sent: make([]uint64, 500), rng: rand.New(rand.NewPCG(1, 2))}
	for second := range 120 { // all phones are known before the day begins
		br.step(b, second)
	}
	before, commits := written(b), l.disk.Stats()
	for second := range int(length / time.Second) {
		br.step(b, 120+second)
	}
	after := l.disk.Stats()
	b.ReportMetric(float64(written(b)-before)/1e6, "MB-written")
	b.ReportMetric(float64(after.Bytes-commits.Bytes)/1e6, "MB-pages")
	b.ReportMetric(float64(after.Commits-commits.Commits), "commits")
	b.ReportMetric(float64(after.Folds-commits.Folds), "folds")
	b.ReportMetric(float64(after.FileSize)/1e6, "MB-file")
	if err := l.disk.Close(); err != nil {
		b.Fatal(err)
	}
}
