package phone

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

// bothWays is one phone of a family that is asked both ways, fast.
func bothWays(t *testing.T, folder, name string, asker Asker) *bench {
	p := serve(t, &fakePhone{folder: folder})
	p.Name, p.SIPPort = name, 5060
	return run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, SIP: 50 * time.Millisecond, Domain: "example.com"}, asker)
}

// settled waits until nobody was asked for ten intervals, and gives how often it was until then.
func settled(t *testing.T, asker *fakeAsker) int {
	t.Helper()
	for late := time.Now().Add(10 * time.Second); time.Now().Before(late); {
		was := asker.count()
		if time.Sleep(500 * time.Millisecond); asker.count() == was {
			return was
		}
	}
	t.Fatal("asked without end")
	return 0
}

// Whom the table knows to answer no OPTIONS is not asked, once it is known; who is
// not sure to is tried like a stranger; who is said to answer is asked.
func TestTheFamilyDecidesWhoIsAskedByOptions(t *testing.T) {
	for _, f := range Families {
		if f.deaf() != (f.Sure && f.Dialect == pageDialect) {
			t.Errorf("%s: deaf %v; only phones of Unified CM answer no strangers", f.Name, f.deaf())
		}
	}
	if strange.deaf() || strangeFlat.deaf() || (Family{}).deaf() {
		t.Error("a phone of no known family is not asked")
	}
	for _, c := range []struct {
		folder, name string
		asked        bool // as a stranger is, until it is known for its silence
	}{{"8845", "SEP0C1167AA0002", false}, {"7841", "SEP0C1167AA0001", true}} {
		t.Run(c.folder, func(t *testing.T) {
			p := serve(t, &fakePhone{folder: c.folder})
			p.Name, p.SIPPort = c.name, 5060
			asker := &fakeAsker{err: errors.New("timeout")}
			b := run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, SIP: 2 * time.Second, Domain: "example.com"}, asker)
			b.Wait(t, 5*time.Second, from(sourceDevice))
			b.sip.Hasten(p.Name, 0)
			time.Sleep(300 * time.Millisecond)
			was := asker.count()
			for range 5 {
				b.sip.Hasten(p.Name, 0)
				time.Sleep(50 * time.Millisecond)
			}
			if more := asker.count() > was; more != c.asked && asker.count() < strangerTries {
				t.Errorf("asked %d times and then %d: %v, want %v", was, asker.count(), more, c.asked)
			}
			for _, o := range b.All() {
				if o.Reach != nil && o.Reach.Via == "sip" {
					t.Errorf("silence tells %+v", o.Reach)
				}
			}
		})
	}
}

// A phone that answers though its family does not is asked on; when it answers no
// longer that is evidence of nothing, and it is asked no more.
func TestWhoAnsweredOptionsIsAskedOn(t *testing.T) {
	asker := &fakeAsker{answer: mpp}
	b := bothWays(t, "8845", "SEP0C1167AA0002", asker)
	b.Wait(t, 5*time.Second, from(sourceSIP))
	b.Wait(t, 5*time.Second, from(sourceDevice))
	var last time.Time
	for range 5 {
		last = b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Source == sourceSIP && o.Seen.After(last) }).Seen
	}
	asker.set(SIPAnswer{}, errors.New("timeout"))
	settled(t, asker)
	for _, o := range b.All() {
		if o.Source == sourceReachSIP || o.Reach != nil && o.Reach.Outcome == presence.Silent {
			t.Errorf("silence tells %+v", o.Reach)
		}
	}
	if l := strings.Join(b.log.lines(), "\n"); strings.Contains(l, "no longer") {
		t.Errorf("logged %s", l)
	}
}

// A row that is not sure is no reason to leave out an open page; one that is, is.
func TestWhatIsNotSureIsTried(t *testing.T) {
	device := string(golden(t, "7841", "device.xml"))
	for model, want := range map[string]bool{"CP-7905": true, "CP-8875": true, "CP-6941": false} {
		v := visiting(t, "7841", "SEP0C1167AA0001", ours)
		v.f.sends(pathDevice, 200, strings.ReplaceAll(device, "CP-7841", model))
		v.f.talking.Store(true)
		_, asked := v.visit()
		all := strings.Join(asked, " ")
		if tried := strings.Contains(all, streamPath(2)) && strings.Contains(all, pathPort); tried != want {
			t.Errorf("%s is asked for %s", model, all)
		}
		if strings.Contains(all, "/CGI/") {
			t.Errorf("a user is shown to %s on a guess: %s", model, all)
		}
	}
}

// Each model is of its own family, and not of the next that has its first digits.
func TestModelsOfEachFamily(t *testing.T) {
	for family, all := range map[string]string{
		"7905, 7912": "CP-7905G CP-7912G", "7940, 7960": "CP-7940G CP-7960", "7906, 7911, 7931, 7941 to 7975": "CP-7906G CP-7941G-GE CP-7970 CP-7975G",
		"6900": "CP-6921 CP-6941", "7800": "CP-7811 CP-7841 CP-7832-K9", "8800": "CP-8811 CP-8845-K9 CP-8865", "8821": "CP-8821",
		"8961, 9951, 9971": "CP-8961 CP-9951 CP-9971", "8875, 9800": "CP-8875 DP-9841 DP-9871", "840, 860": "CP-840 860 860S",
		"MPP: 6800, 7800, 8800 with 3PCC firmware": "CP-6851 CP-6841-3PCC CP-7841-3PCC CP-8851-3PCC", "SPA 300, SPA 500": "SPA303 SPA504G SPA525G2",
		"ATA 190, SPA 100": "ATA190 ATA192 SPA112", strange.Name: "CP-1000 x",
	} {
		for model := range strings.FieldsSeq(all) {
			if got := FamilyOf(model).Name; got != family {
				t.Errorf("%s is of the family %q, want %q", model, got, family)
			}
		}
	}
}
