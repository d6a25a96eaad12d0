package branch

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Console obeys lines of text: the bench by hand, and for tests that run it as
// a process of its own.
type Console struct {
	b      *Branch
	ctx    context.Context
	out    io.Writer
	cancel context.CancelFunc // of the script; nil: it does not run
	done   chan struct{}
}

// command is one verb. args is how many it takes; -1: any number.
type command struct {
	args int
	help string
	do   func(c *Console, args []string) (string, error)
}

func one(do func(b *Branch, name string) error) func(*Console, []string) (string, error) {
	return func(c *Console, args []string) (string, error) { return "", do(c.b, args[0]) }
}

func many(do func(b *Branch, names ...string) error) func(*Console, []string) (string, error) {
	return func(c *Console, args []string) (string, error) { return "", do(c.b, args...) }
}

func sw(do func(b *Branch, on bool) error) func(*Console, []string) (string, error) {
	return func(c *Console, args []string) (string, error) {
		if args[0] != "on" && args[0] != "off" {
			return "", fmt.Errorf("%q: want on or off", args[0])
		}
		return "", do(c.b, args[0] == "on")
	}
}

func commands() map[string]command {
	return map[string]command{
		"call": {2, "call A B: A rings B", func(c *Console, args []string) (string, error) {
			return "", c.b.Call(args[0], args[1])
		}},
		"answer":     {1, "answer PHONE", one((*Branch).Answer)},
		"hold":       {1, "hold PHONE", one((*Branch).Hold)},
		"resume":     {1, "resume PHONE", one((*Branch).Resume)},
		"hangup":     {1, "hangup PHONE", one((*Branch).Hangup)},
		"unplug":     {1, "unplug PHONE", one((*Branch).Unplug)},
		"plug":       {1, "plug PHONE", one((*Branch).Plug)},
		"freeze":     {1, "freeze PHONE", one((*Branch).Freeze)},
		"thaw":       {1, "thaw PHONE", one((*Branch).Thaw)},
		"page":       {1, "page PHONE", one((*Branch).Page)},
		"web-off":    {1, "web-off PHONE", one(func(b *Branch, name string) error { return b.WebDisabled(name, true) })},
		"web-on":     {1, "web-on PHONE", one(func(b *Branch, name string) error { return b.WebDisabled(name, false) })},
		"no-address": {1, "no-address PHONE: it loses its lease; plug mends that", one((*Branch).NoAddress)},
		"firmware": {2, "firmware PHONE LOAD", func(c *Console, args []string) (string, error) {
			return "", c.b.Firmware(args[0], args[1])
		}},
		"auth":       {1, "auth on|off: the phones' Authentication URL", sw(func(b *Branch, on bool) error { b.CutAuthentication(!on); return nil })},
		"srst":       {-1, "srst [PHONE...]", many((*Branch).ToSRST)},
		"unregister": {-1, "unregister [PHONE...]", many((*Branch).Unregister)},
		"register":   {-1, "register [PHONE...]", many((*Branch).Register)},
		"central":    {1, "central on|off", sw(func(b *Branch, on bool) error { return b.CutCentral(!on) })},
		"callserver": {1, "callserver on|off", sw(func(b *Branch, on bool) error { return b.CutCallServer(!on) })},
		"switches":   {1, "switches on|off", sw(func(b *Branch, on bool) error { b.CutSwitches(!on); return nil })},
		"script":     {1, "script on|off", runScript},
		"busy": {1, "busy DURATION: the central server answers 503", func(c *Console, args []string) (string, error) {
			d, err := time.ParseDuration(args[0])
			c.b.CentralBusy(d)
			return "", err
		}},
		"forget": {0, "forget: the central server loses everything", func(c *Console, _ []string) (string, error) {
			c.b.CentralForget()
			return "", nil
		}},
		"state": {1, "state PRESENTITY: what the central server holds", func(c *Console, args []string) (string, error) {
			p, _ := c.b.CentralState(args[0])
			return asJSON(p)
		}},
		"counts": {0, "counts: what the servers were asked", func(c *Console, _ []string) (string, error) {
			held, taken := c.b.Subscriptions()
			return asJSON(map[string]any{"central": c.b.CentralCounts(), "subscriptions": held, "taken": taken})
		}},
		"truth": {-1, "truth [PHONE...]: what phones are doing", func(c *Console, args []string) (string, error) {
			truth := map[string]told{}
			for name, s := range c.b.Truth() {
				if len(args) == 0 || slices.Contains(args, name) {
					truth[name] = told{s.Word(), s}
				}
			}
			return asJSON(truth)
		}},
		"load": {1, "load PHONE: what polling has cost it", func(c *Console, args []string) (string, error) {
			load, err := c.b.Load(args[0])
			if err != nil {
				return "", err
			}
			return asJSON(load)
		}},
		"phones": {0, "phones: the inventory", func(c *Console, _ []string) (string, error) {
			return asJSON(c.b.Phones())
		}},
	}
}

// told is the truth about a phone, with the word of a board for it.
type told struct {
	Word string `json:"word"`
	State
}

func runScript(c *Console, args []string) (string, error) {
	c.stopScript()
	if args[0] == "on" {
		c.StartScript()
	}
	return "", nil
}

func asJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// NewConsole makes a console that answers on out. Its script runs until Close.
func NewConsole(ctx context.Context, b *Branch, out io.Writer) *Console {
	return &Console{b: b, ctx: ctx, out: out}
}

// Close ends the script.
func (c *Console) Close() { c.stopScript() }

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
	known := commands()
	for {
		select {
		case line := <-lines:
			if line == "quit" {
				return nil
			}
			c.obey(known, line)
		case err := <-failed:
			return err
		case <-c.ctx.Done():
			return nil
		}
	}
}

func (c *Console) obey(known map[string]command, line string) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return
	}
	if words[0] == "help" {
		for _, name := range slices.Sorted(maps.Keys(known)) {
			fmt.Fprintln(c.out, "   ", known[name].help)
		}
		fmt.Fprintln(c.out, "ok")
		return
	}
	cmd, found := known[words[0]]
	args := words[1:]
	switch {
	case !found:
		fmt.Fprintf(c.out, "error no command %q; try help\n", words[0])
		return
	case cmd.args >= 0 && len(args) != cmd.args:
		fmt.Fprintf(c.out, "error want: %s\n", cmd.help)
		return
	}
	said, err := cmd.do(c, args)
	if err != nil {
		fmt.Fprintln(c.out, "error", err)
		return
	}
	fmt.Fprintln(c.out, strings.TrimSpace("ok "+said))
}

// StartScript lets calls come and go.
func (c *Console) StartScript() {
	ctx, cancel := context.WithCancel(c.ctx)
	c.cancel, c.done = cancel, make(chan struct{})
	go func() {
		defer close(c.done)
		c.b.Script(ctx)
	}()
}

func (c *Console) stopScript() {
	if c.cancel != nil {
		c.cancel()
		<-c.done
		c.cancel = nil
	}
}
