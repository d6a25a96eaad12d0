package branch

import (
	"bufio"
	"context"
	_ "embed" // the tour
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// Console obeys lines of text: the bench by hand, for tests that run it as a
// process of its own, and in scripts.
type Console struct {
	b   *Branch
	ctx context.Context

	writing sync.Mutex
	out     io.Writer

	mu     sync.Mutex // guards what runs beside the lines that are typed
	script *job       // calls come and go
	player *job       // a script of lines is played
}

// NewConsole makes a console that answers on out. What it lets run ends with Close.
func NewConsole(ctx context.Context, b *Branch, out io.Writer) *Console {
	return &Console{b: b, ctx: ctx, out: out}
}

// Close ends what runs.
func (c *Console) Close() {
	c.stopPlay()
	c.stopScript()
}

// job is a goroutine that can be ended.
type job struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func begin(ctx context.Context, do func(context.Context)) *job {
	ctx, cancel := context.WithCancel(ctx)
	j := &job{cancel, make(chan struct{})}
	go func() {
		defer close(j.done)
		do(ctx)
	}()
	return j
}

// end waits for its end; it reports whether it ran.
func (j *job) end() bool {
	if j == nil {
		return false
	}
	ran := j.runs()
	j.cancel()
	<-j.done
	return ran
}

func (j *job) runs() bool {
	if j == nil {
		return false
	}
	select {
	case <-j.done:
		return false
	default:
		return true
	}
}

// Serve obeys until its input ends, "quit", or the context's end.
func (c *Console) Serve(in io.Reader) error {
	lines, failed := make(chan string), make(chan error, 1)
	go func() { // ends with the process: a read of standard input cannot be called off
		s := bufio.NewScanner(in)
		for s.Scan() {
			select {
			case lines <- s.Text():
			case <-c.ctx.Done():
				return
			}
		}
		failed <- s.Err()
	}()
	known := merged(language, playCommands)
	for {
		select {
		case line := <-lines:
			if line == "quit" {
				return nil
			}
			c.answer(known, line)
		case err := <-failed:
			return err
		case <-c.ctx.Done():
			return nil
		}
	}
}

// answer obeys a line that was typed: one line begins with ok or error.
func (c *Console) answer(known map[string]command, line string) {
	words := wordsOf(line)
	if len(words) == 0 {
		return
	}
	if words[0] == "help" {
		for _, name := range slices.Sorted(maps.Keys(known)) {
			c.print("    " + known[name].help)
		}
		c.print("ok")
		return
	}
	if said, err := c.obey(c.ctx, known, words); err != nil {
		c.print("error " + err.Error())
	} else {
		c.print(strings.TrimSpace("ok " + said))
	}
}

// wordsOf splits a line; # begins a comment.
func wordsOf(line string) []string {
	line, _, _ = strings.Cut(line, "#")
	return strings.Fields(line)
}

func (c *Console) obey(ctx context.Context, known map[string]command, words []string) (string, error) {
	cmd, found := known[words[0]]
	switch {
	case !found:
		return "", fmt.Errorf("no command %q; try help", words[0])
	case cmd.args >= 0 && len(words)-1 != cmd.args:
		return "", fmt.Errorf("want: %s", cmd.help)
	}
	return cmd.do(ctx, c, words[1:])
}

// obeyAll obeys the lines of a script, up to the first that it cannot.
func (c *Console) obeyAll(ctx context.Context, script string) error {
	n := 0
	for line := range strings.Lines(script) {
		n++
		words := wordsOf(line)
		if len(words) == 0 {
			continue
		}
		said, err := c.obey(ctx, language, words)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", n, strings.Join(words, " "), err)
		}
		if said != "" {
			c.print(said)
		}
	}
	return nil
}

func (c *Console) print(line string) {
	c.writing.Lock()
	defer c.writing.Unlock()
	fmt.Fprintln(c.out, line)
}

// Play obeys a script: the lines of the console, one command each, empty lines,
// and comments after #. It returns at its end, at the first line that cannot be
// obeyed, or with ctx. Its waits are in script time (Options.Speed).
func (b *Branch) Play(ctx context.Context, script string) error {
	c := NewConsole(ctx, b, io.Discard)
	defer c.Close()
	if err := c.obeyAll(ctx, script); err != nil {
		return fmt.Errorf("branch: %w", err)
	}
	return nil
}

// PlayFile obeys the lines of a file, to its end, and answers like the console.
func (c *Console) PlayFile(name string) error {
	play, err := c.file(name)
	if err != nil {
		return err
	}
	return play(c.ctx)
}

// file reads a script; the errors of what plays it name the file.
func (c *Console) file(name string) (play func(context.Context) error, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := c.obeyAll(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}, nil
}

// begin plays something beside the lines that are typed.
func (c *Console) begin(name string, play func(context.Context) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.player.runs() {
		return errors.New("something is played already; stop ends it")
	}
	c.player = begin(c.ctx, func(ctx context.Context) {
		switch err := play(ctx); {
		case ctx.Err() != nil: // somebody wanted that
		case err != nil:
			c.print("error " + err.Error())
		default:
			c.print("played " + name)
		}
	})
	return nil
}

func (c *Console) stopPlay() {
	c.mu.Lock()
	player := c.player
	c.mu.Unlock()
	player.end() // without the lock: what is played may want it
}

//go:embed tour.txt
var tour string

// TourPhones is how many phones the tour needs.
const TourPhones = sharedFrom

// Tour plays all that can happen, and says so line by line. Calls that come and
// go pause meanwhile. However it ends, the branch is well then.
func (c *Console) Tour() error {
	if n := len(c.b.phones); n < TourPhones {
		return fmt.Errorf("the tour needs %d phones, and here are %d", TourPhones, n)
	}
	return c.begin("tour", func(ctx context.Context) error {
		if c.stopScript() {
			defer c.StartScript()
		}
		err := c.obeyAll(ctx, tour)
		if err != nil {
			err = errors.Join(fmt.Errorf("tour: %w", err), c.b.Heal())
		}
		return err
	})
}

// StartScript lets calls come and go.
func (c *Console) StartScript() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.script.runs() {
		c.script = begin(c.ctx, c.b.Script)
	}
}

// stopScript reports whether it ran.
func (c *Console) stopScript() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.script.end()
}
