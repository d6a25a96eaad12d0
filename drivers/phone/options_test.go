package phone

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pilotlight/agent/presence"
)

// fakeAsker answers OPTIONS as a table says.
type fakeAsker struct {
	mu     sync.Mutex
	answer SIPAnswer
	err    error
	asked  int
	target string
}

func (f *fakeAsker) Options(_ context.Context, target string) (SIPAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	f.target = target
	return f.answer, f.err
}

func (f *fakeAsker) set(a SIPAnswer, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.err = a, err
}

func (f *fakeAsker) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

var mpp = SIPAnswer{Status: 200, RTT: 3 * time.Millisecond, UserAgent: "Cisco-CP-8865-3PCC/12.0.3",
	Allow: []string{"ACK", "INVITE", "OPTIONS"}, SDP: "v=0\r\nm=audio 5000 RTP/AVP 0\r\nm=video 5002 RTP/AVP 97\r\n"}

func sipConfig() Config {
	return Config{Phones: []Phone{{Name: "SEP0C1167AA0001", Address: "127.0.0.1", SIPPort: 5060, WebScheme: "http"}},
		SIP: 50 * time.Millisecond, Domain: "example.com"}
}

func TestAPhoneThatAnswersOptions(t *testing.T) {
	asker := &fakeAsker{answer: mpp}
	b := run(t, sipConfig(), asker)
	o := b.Wait(t, 5*time.Second, from(sourceSIP))
	want := presence.Facts{
		Reach:     &presence.Reach{Outcome: presence.Answered, Via: "sip", Detail: "answers OPTIONS within 10ms"},
		Abilities: &presence.Abilities{Audio: true, Video: true},
	}
	if diff := cmp.Diff(want, o.Facts, byValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if asker.target != "sip:127.0.0.1:5060;transport=udp" {
		t.Errorf("asked %s", asker.target)
	}

	// Its silence takes back that it answers, and never counts as a miss.
	asker.set(SIPAnswer{}, errors.New("timeout"))
	o = b.Wait(t, 5*time.Second, from(sourceReachSIP))
	if o.Reach.Outcome != presence.Silent || o.Reach.Misses != 0 || o.Abilities != nil {
		t.Errorf("silence tells %+v", o.Reach)
	}
	asker.set(mpp, nil)
	b.Wait(t, 5*time.Second, func(o presence.Observation) bool {
		return o.Source == sourceReachSIP && o.Reach.Outcome == presence.Answered
	})
}

// userAsker is a phone that knows its user alone.
type userAsker string

func (u userAsker) Options(_ context.Context, target string) (SIPAnswer, error) {
	if target == string(u) {
		return mpp, nil
	}
	return SIPAnswer{Status: 404}, nil
}

func TestAPhoneThatKnowsItsUserAloneIsAskedForHer(t *testing.T) {
	c := sipConfig()
	c.Phones[0].User = "#1001"
	b := run(t, c, userAsker("sip:%231001@127.0.0.1:5060;transport=udp"))
	if o := b.Wait(t, 5*time.Second, from(sourceSIP)); o.Abilities == nil || !o.Abilities.Video {
		t.Errorf("%+v", o)
	}
}

// patienceAsker answers, and tells how long it might have taken to.
type patienceAsker chan time.Duration

func (a patienceAsker) Options(ctx context.Context, _ string) (SIPAnswer, error) {
	deadline, _ := ctx.Deadline()
	select {
	case a <- time.Until(deadline):
		return mpp, nil
	case <-ctx.Done():
		return SIPAnswer{}, ctx.Err()
	}
}

func TestAPhoneThatNeverAnsweredIsNotWaitedForLong(t *testing.T) {
	asker := make(patienceAsker)
	run(t, sipConfig(), asker)
	if stranger, known := <-asker, <-asker; stranger > strangerTimeout || known <= strangerTimeout {
		t.Errorf("waits %v for a stranger, then %v", stranger, known)
	}
}

func TestSilenceToOptionsIsNoEvidence(t *testing.T) {
	asker := &fakeAsker{err: errors.New("timeout")}
	b := run(t, sipConfig(), asker)
	for late := time.Now().Add(5 * time.Second); asker.count() < strangerTries && time.Now().Before(late); {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond) // ten intervals, in which nobody must be asked
	if n := asker.count(); n != strangerTries {
		t.Errorf("asked %d times, want %d and then once an hour", n, strangerTries)
	}
	if all := b.All(); len(all) != 0 {
		t.Errorf("told %+v", all)
	}
}

func TestAbilitiesThatOptionsTell(t *testing.T) {
	for _, c := range []struct {
		name string
		a    SIPAnswer
		want *presence.Abilities
	}{
		{"audio", SIPAnswer{Status: 200, Allow: []string{"INVITE"}, SDP: "m=audio 1 RTP/AVP 0"}, &presence.Abilities{Audio: true}},
		{"video by SDP", SIPAnswer{Status: 200, Allow: []string{"INVITE"}, SDP: "m=video 5002 RTP/AVP 97"}, &presence.Abilities{Audio: true, Video: true}},
		{"video refused in SDP", SIPAnswer{Status: 200, Allow: []string{"INVITE"}, SDP: "m=video 0 RTP/AVP 97"}, &presence.Abilities{Audio: true}},
		{"video by Contact", SIPAnswer{Status: 200, Allow: []string{" invite "}, Contact: "<sip:a@b;video>;audio;video"}, &presence.Abilities{Audio: true, Video: true}},
		{"no video by Contact", SIPAnswer{Status: 200, Allow: []string{"INVITE"}, Contact: `<sip:a@b;video>;video="FALSE"`}, &presence.Abilities{Audio: true}},
		{"messages", SIPAnswer{Status: 200, Allow: []string{"MESSAGE"}}, &presence.Abilities{IM: true}},
		{"nothing said", SIPAnswer{Status: 200}, nil},
		{"an error is no description", SIPAnswer{Status: 404, Allow: []string{"INVITE"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.a.abilities()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestARoundTripIsWordedCoarsely(t *testing.T) {
	if within(3*time.Millisecond) != within(8*time.Millisecond) || within(5*time.Second) != "several seconds" {
		t.Error("a millisecond more is news")
	}
}
