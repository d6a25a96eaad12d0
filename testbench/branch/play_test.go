package branch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A day at the branch, in the words of the console.
const day = `
# Somebody asks for the boss. The front desk takes the call and puts it through.
call alice david
expect david ringing
expect front-desk ringing
wait 3s                         # nobody hurries
answer front-desk
expect david idle elsewhere
transfer front-desk bob
answer bob
expect alice in-use
hold bob
expect bob on-hold
resume bob
hangup alice
expect bob idle

# The cleaner wants the socket of Carol's desk.
unplug carol
expect carol unpowered
plug carol
expect carol idle

# Everybody hears the announcement, and 1005 is Emma.
page 1005
expect emma idle paged

# The WAN breaks, and the phones find the router.
srst
expect SEP0C1167010000 srst
register
heal
`

func TestAScriptReadsLikeAStory(t *testing.T) {
	b := start(t, Options{Speed: 5})
	must(t, b.Play(t.Context(), day))
	healthy(t, b)
}

// healthy: nobody talks and nothing is the matter.
func healthy(t *testing.T, b *Branch) {
	t.Helper()
	for name, s := range b.Truth() {
		s.Paged = false // it ends by itself
		if want := (State{Doing: Idle, Registration: WithCallServer}); s != want {
			t.Errorf("%s: %+v", name, s)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.phones {
		if p.other != "" {
			t.Errorf("%s runs %s", p.Name, p.other)
		}
	}
	if b.authDown {
		t.Error("the Authentication URL is cut")
	}
}

func TestAScriptThatCannotBeObeyedNamesTheLine(t *testing.T) {
	b := start(t, Options{})
	for _, tc := range []struct{ script, want string }{
		{"\n# nothing\ndance bob", `line 3: dance bob: no command "dance"`},
		{"answer bob", "line 1: answer bob: answer: SEP"},
		{"call alice bob\ncall alice", "line 2: call alice: want: call A B"},
		{"plug nobody", `no phone "nobody"`},
		{"wait for it", "want: wait DURATION"},
		{"wait it", "invalid duration"},
		{"expect bob", "want: expect PHONE WORD"},
		{"call emma farid\nexpect farid ringing\nhangup\nexpect farid in-use", "line 4: expect farid in-use: expect: farid is idle (fine), not in-use"},
		{"play other.txt", `no command "play"`}, // a script plays no script
		{"auth maybe", "want on or off"},
	} {
		err := b.Play(t.Context(), tc.script)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %s", tc.script, err, tc.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.Play(ctx, "wait 1h"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("called off: %v", err)
	}
}

func TestPhonesAreFoundByNameUserRoomAndNumber(t *testing.T) {
	b := start(t, Options{})
	for name, want := range map[string]int{
		b.Phones()[7].Name: 7, "alice": 0, "front-desk": frontDesk, "1002": 1, "1004": boss, "meeting-room-2": 19,
	} {
		if p, err := b.phone(name); err != nil || p.index != want {
			t.Errorf("%s: %v, want phone %d", name, err, want)
		}
	}
}

// lines is where a console writes, for a test to read meanwhile.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestTheTourPlaysToItsEndAndLeavesABranchThatIsWell(t *testing.T) {
	for _, phones := range []int{TourPhones, 50} {
		b := start(t, Options{Phones: phones, Speed: 40})
		must(t, b.Unplug("alice")) // what was before does not matter
		out := &lines{}
		c := NewConsole(t.Context(), b, out)
		c.StartScript()
		must(t, c.Tour())
		if err := c.Tour(); err == nil {
			t.Error("two tours at a time")
		}
		c.mu.Lock()
		player := c.player
		c.mu.Unlock()
		<-player.done
		c.stopScript() // which goes on after the tour
		must(t, b.hangups())
		c.Close()
		if said := out.String(); !strings.HasSuffix(said, "played tour\n") || strings.Contains(said, "error") {
			t.Errorf("%d phones:\n%s", phones, said)
		}
		healthy(t, b)
	}
}

func TestTheTourShowsAllThatCanHappenToPhonesAndSaysSoBefore(t *testing.T) {
	used, saying := map[string]bool{}, false
	for line := range strings.Lines(tour) {
		words := wordsOf(line)
		if len(words) == 0 {
			continue
		}
		used[words[0]] = true
		saying = saying || words[0] == "say"
		if !saying {
			t.Errorf("nobody says what %q is about", strings.TrimSpace(line))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(phoneCommands)) {
		if !used[name] {
			t.Errorf("the tour does not show %s", name)
		}
	}
	length := time.Duration(0)
	for _, m := range regexp.MustCompile(`(?m)^wait (\S+)`).FindAllStringSubmatch(tour, -1) {
		d, err := time.ParseDuration(m[1])
		must(t, err)
		length += d
	}
	if length < 2*time.Minute || length > 4*time.Minute {
		t.Errorf("it takes %v, and says three minutes", length)
	}
}

func TestTheConsolePlaysAFileAndStops(t *testing.T) {
	b := start(t, Options{})
	file := filepath.Join(t.TempDir(), "story.txt")
	must(t, os.WriteFile(file, []byte("say Somebody calls.\ncall alice bob\nwait 1h\n"), 0o600))
	in, say := io.Pipe()
	defer say.Close()
	out := &lines{}
	c := NewConsole(t.Context(), b, out)
	defer c.Close()
	done := make(chan error, 1)
	go func() { done <- c.Serve(in) }()
	io.WriteString(say, "play "+file+"\n")
	eventually(t, "it plays", func() bool { return doing(b, "bob") == "bob ringing with alice" })
	for _, line := range []string{"play " + file, "play /nonexistent", "stop", "hangup", "# a comment", "quit"} {
		io.WriteString(say, line+"\n")
	}
	must(t, <-done)
	want := "ok\nSomebody calls.\nerror something is played already; stop ends it\nerror open /nonexistent: no such file or directory\nok\nok\n"
	if got := strings.Replace(out.String(), "Somebody calls.\nok\n", "ok\nSomebody calls.\n", 1); got != want { // whichever came first
		t.Errorf("%s\nwant %s", got, want)
	}
	small := start(t, Options{Phones: TourPhones - 1})
	if err := NewConsole(t.Context(), small, io.Discard).Tour(); err == nil {
		t.Error("a tour of a branch that is too small")
	}
}
