package phone

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"pilotlight/agent/agenttest"
	"pilotlight/agent/schedule"
)

func TestHowOftenAPhoneIsAskedInACall(t *testing.T) {
	for quiet, want := range map[time.Duration]time.Duration{
		0:           5 * time.Second, // the default, 60 s
		time.Second: time.Second, 2 * time.Second: 2 * time.Second, 5 * time.Second: 2 * time.Second, 12 * time.Second: 3 * time.Second,
		20 * time.Second: 5 * time.Second, 30 * time.Second: 5 * time.Second, time.Minute: 5 * time.Second, time.Hour: 5 * time.Second,
	} {
		if got := (Config{Web: quiet}).withDefaults().inCall(); got != want {
			t.Errorf("polled each %v: in a call each %v, want %v", quiet, got, want)
		}
	}
}

// noted is a queue that tells how often whom it is told to ask.
type noted struct {
	*schedule.Queue
	mu    sync.Mutex
	every []time.Duration
}

func (p *noted) Every(key string, every time.Duration) {
	p.mu.Lock()
	p.every = append(p.every, every)
	p.mu.Unlock()
	p.Queue.Every(key, every)
}

func (p *noted) last() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.every) == 0 {
		return 0
	}
	return p.every[len(p.every)-1]
}

// By default a phone on a call is asked each 5 s, and at its quiet pace after it.
func TestACallIsFollowed(t *testing.T) {
	f := &fakePhone{folder: "7841"}
	f.talking.Store(true)
	p := serve(t, f)
	heart, queue := &agenttest.Recorder{}, &noted{Queue: schedule.New("phone-web", schedule.Options{Every: time.Minute})}
	d, err := New(Config{Phones: []Phone{p}, Domain: "example.com"}, Needs{Heart: heart, Web: queue}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	running(t, d)
	for _, c := range []struct {
		talking bool
		every   time.Duration
	}{{true, 5 * time.Second}, {false, time.Minute}} {
		f.talking.Store(c.talking)
		for late := time.Now().Add(10 * time.Second); queue.last() != c.every && time.Now().Before(late); {
			queue.Hasten(p.Name, 0)
			time.Sleep(5 * time.Millisecond)
		}
		if got := queue.last(); got != c.every {
			t.Errorf("talking %v: asked each %v, want %v", c.talking, got, c.every)
		}
	}
}

// What a phone costs in a minute, by family, at two intervals: the table of the README.
func TestCostOfAPhone(t *testing.T) {
	for _, quiet := range []time.Duration{5 * time.Second, time.Minute} {
		for _, folder := range []string{"7962", "8845", "8851-3pcc"} {
			for _, creds := range []Credentials{{}, ours} {
				for _, talking := range []bool{false, true} {
					requests, bytes := cost(t, folder, creds, quiet, talking)
					user, call := "no user", "idle"
					if creds.User != "" {
						user = "user"
					}
					if talking {
						call = "talking"
					}
					t.Logf("every %-4v %-10s %-8s %-8s %3d requests, %4.1f kB a minute", quiet, folder, user, call, requests, float64(bytes)/1000)
					if requests > 100 {
						t.Errorf("%d requests a minute", requests)
					}
				}
			}
		}
	}
}

// cost is what one phone is asked in a minute after the first visit, which reads everything.
func cost(t *testing.T, folder string, creds Credentials, quiet time.Duration, talking bool) (requests int, bytes int64) {
	v := visiting(t, folder, "any", creds)
	every := quiet
	if v.f.talking.Store(talking); talking {
		v.f.swap("lines-connected.xml", "status-connected.xml")
		every = Config{Web: quiet}.inCall()
	}
	v.visit()
	v.f.bytes.Store(0)
	for at := every; at <= time.Minute; at += every {
		v.later(every)
		_, asked := v.visit()
		requests += len(asked)
	}
	return requests, v.f.bytes.Load()
}
