package branch

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// command is one verb. args is how many it takes; -1: any number.
type command struct {
	args int
	help string
	do   obeys
}

// obeys does what a command says, and answers.
type obeys func(ctx context.Context, c *Console, args []string) (string, error)

func none(do func(b *Branch) error) obeys {
	return func(_ context.Context, c *Console, _ []string) (string, error) { return "", do(c.b) }
}

func one(do func(b *Branch, name string) error) obeys {
	return func(_ context.Context, c *Console, args []string) (string, error) { return "", do(c.b, args[0]) }
}

func two(do func(b *Branch, one, two string) error) obeys {
	return func(_ context.Context, c *Console, args []string) (string, error) {
		return "", do(c.b, args[0], args[1])
	}
}

func many(do func(b *Branch, names ...string) error) obeys {
	return func(_ context.Context, c *Console, args []string) (string, error) { return "", do(c.b, args...) }
}

func sw(do func(b *Branch, on bool) error) obeys {
	return func(_ context.Context, c *Console, args []string) (string, error) {
		if args[0] != "on" && args[0] != "off" {
			return "", fmt.Errorf("%q: want on or off", args[0])
		}
		return "", do(c.b, args[0] == "on")
	}
}

// phoneCommands do something to phones; the tour shows each of them.
var phoneCommands = map[string]command{
	"call":       {2, "call A B: A rings B, and who shares B's number", two((*Branch).Call)},
	"answer":     {1, "answer PHONE", one((*Branch).Answer)},
	"hold":       {1, "hold PHONE", one((*Branch).Hold)},
	"resume":     {1, "resume PHONE", one((*Branch).Resume)},
	"transfer":   {2, "transfer A C: A hands its call on to C, which rings", two((*Branch).Transfer)},
	"hangup":     {-1, "hangup [PHONE...]: none named: all", many((*Branch).hangups)},
	"second":     {1, "second PHONE: its next call has the second stream, as beside a held one", one((*Branch).SecondStream)},
	"unplug":     {1, "unplug PHONE", one((*Branch).Unplug)},
	"plug":       {1, "plug PHONE", one((*Branch).Plug)},
	"move":       {2, "move PHONE PORT|free: to another port of its switch", two((*Branch).Move)},
	"freeze":     {1, "freeze PHONE: it takes connections and answers none", one((*Branch).Freeze)},
	"thaw":       {1, "thaw PHONE", one((*Branch).Thaw)},
	"page":       {1, "page PHONE: audio without a call", one((*Branch).Page)},
	"web-off":    {1, "web-off PHONE", one(func(b *Branch, name string) error { return b.WebDisabled(name, true) })},
	"web-on":     {1, "web-on PHONE", one(func(b *Branch, name string) error { return b.WebDisabled(name, false) })},
	"no-address": {1, "no-address PHONE: it loses its lease; plug mends that", one((*Branch).NoAddress)},
	"firmware": {2, "firmware PHONE LOAD|own", two(func(b *Branch, name, load string) error {
		if load == "own" {
			load = ""
		}
		return b.Firmware(name, load)
	})},
	"auth":       {1, "auth on|off: the phones' Authentication URL", sw(func(b *Branch, on bool) error { b.CutAuthentication(!on); return nil })},
	"srst":       {-1, "srst [PHONE...]: none named: all", many((*Branch).ToSRST)},
	"unregister": {-1, "unregister [PHONE...]: none named: all", many((*Branch).Unregister)},
	"register":   {-1, "register [PHONE...]: none named: all", many((*Branch).Register)},
	"heal":       {0, "heal: everything is well again, and nobody talks", none((*Branch).Heal)},
}

// serverCommands do something to the switches and servers, or to all.
var serverCommands = map[string]command{
	"central":    {1, "central on|off", sw(func(b *Branch, on bool) error { return b.CutCentral(!on) })},
	"callserver": {1, "callserver on|off", sw(func(b *Branch, on bool) error { return b.CutCallServer(!on) })},
	"switches":   {1, "switches on|off", sw(func(b *Branch, on bool) error { b.CutSwitches(!on); return nil })},
	"busy": {1, "busy DURATION: the central server answers 503", one(func(b *Branch, length string) error {
		d, err := time.ParseDuration(length)
		b.CentralBusy(d)
		return err
	})},
	"forget": {0, "forget: the central server loses everything", none(func(b *Branch) error { b.CentralForget(); return nil })},
	"script": {1, "script on|off: calls come and go", calling},
}

// storyCommands make a story of the others.
var storyCommands = map[string]command{
	"wait": {1, "wait DURATION", func(ctx context.Context, c *Console, args []string) (string, error) {
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return "", err
		}
		return "", sleep(ctx, c.b.scaled(d))
	}},
	"say": {-1, "say TEXT", func(_ context.Context, c *Console, args []string) (string, error) {
		c.print(strings.Join(args, " "))
		return "", nil
	}},
	"expect": {-1, expectHelp, expect},
}

// askCommands change nothing.
var askCommands = map[string]command{
	"state": {1, "state PRESENTITY: what the central server holds", func(_ context.Context, c *Console, args []string) (string, error) {
		p, _ := c.b.CentralState(args[0])
		return asJSON(p)
	}},
	"counts": {0, "counts: what the servers were asked", func(_ context.Context, c *Console, _ []string) (string, error) {
		held, taken := c.b.Subscriptions()
		return asJSON(map[string]any{"central": c.b.CentralCounts(), "subscriptions": held, "taken": taken})
	}},
	"truth": {-1, "truth [PHONE...]: what phones are doing", tellTruth},
	"load": {1, "load PHONE: what polling has cost it", func(_ context.Context, c *Console, args []string) (string, error) {
		load, err := c.b.Load(args[0])
		if err != nil {
			return "", err
		}
		return asJSON(load)
	}},
	"phones": {0, "phones: the inventory", func(_ context.Context, c *Console, _ []string) (string, error) {
		return asJSON(c.b.Phones())
	}},
}

// playCommands are for who types them: a script plays no script.
var playCommands = map[string]command{
	"play": {1, "play FILE: obey the lines of a file", func(_ context.Context, c *Console, args []string) (string, error) {
		play, err := c.file(args[0])
		if err != nil {
			return "", err
		}
		return "", c.begin(args[0], play)
	}},
	"tour": {0, "tour: all that can happen, in three minutes", func(_ context.Context, c *Console, _ []string) (string, error) {
		return "", c.Tour()
	}},
	"stop": {0, "stop: end what is played", func(_ context.Context, c *Console, _ []string) (string, error) {
		c.stopPlay()
		return "", nil
	}},
}

// language is what a script can say.
var language = merged(phoneCommands, serverCommands, storyCommands, askCommands)

func merged(all ...map[string]command) map[string]command {
	m := map[string]command{}
	for _, some := range all {
		maps.Copy(m, some)
	}
	return m
}

// told is the truth about a phone, with the word of a board for it.
type told struct {
	Word string `json:"word"`
	State
}

func tellTruth(_ context.Context, c *Console, args []string) (string, error) {
	all, some := c.b.Truth(), map[string]told{}
	if len(args) == 0 {
		args = slices.Collect(maps.Keys(all))
	}
	for _, name := range args {
		p, err := c.b.phone(name)
		if err != nil {
			return "", err
		}
		some[p.Name] = told{all[p.Name].Word(), all[p.Name]}
	}
	return asJSON(some)
}

const expectHelp = "expect PHONE WORD...: an error unless its truth is so, or comes to be"

// expectWithin is how long expect waits for what is under way, such as a boot.
const expectWithin = 3 * time.Second

// expect compares the truth with words: of state, of cause, elsewhere and paged.
func expect(ctx context.Context, c *Console, args []string) (string, error) {
	if len(args) < 2 {
		return "", fmt.Errorf("want: %s", expectHelp)
	}
	p, err := c.b.phone(args[0])
	if err != nil {
		return "", err
	}
	for end := time.Now().Add(expectWithin); ; {
		is := c.b.Truth()[p.Name]
		missing := slices.DeleteFunc(slices.Clone(args[1:]), is.is)
		switch {
		case len(missing) == 0:
			return "", nil
		case time.Now().After(end):
			return "", fmt.Errorf("expect: %s is %s (%s), not %s", args[0], is.Word(), is.Cause(), strings.Join(missing, " "))
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// is reports whether a word says something true of the state.
func (s State) is(word string) bool {
	return word == s.Word() || word == s.Cause() || word == "elsewhere" && s.Elsewhere || word == "paged" && s.Paged
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func calling(_ context.Context, c *Console, args []string) (string, error) {
	if args[0] != "on" && args[0] != "off" {
		return "", fmt.Errorf("%q: want on or off", args[0])
	}
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
