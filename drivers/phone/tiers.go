package phone

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// calls reads what goes on: the keys where the phone shows them to us, which
// tell ringing, hold and each line; else the streams, which tell audio. known is
// false where neither tells: what was told last then grows old in peace.
func (w *sweep) calls(ctx context.Context) (f presence.Facts, known bool, _ error) {
	f.Reach = &presence.Reach{Outcome: presence.Answered, Via: "web"}
	keys, err := w.keys(ctx)
	if err != nil {
		return f, false, err
	}
	if keys != nil {
		f.Calls, f.Messages = keys.Calls(), keys.Messages()
		if numbers := keys.Numbers(); len(numbers) > 0 {
			f.Identity = &presence.Identity{Lines: numbers}
		}
	}
	was := w.a.streams
	w.a.streams = 0
	if f.Calls == nil || busy(f.Calls) {
		streams, whole, err := w.streams(ctx, was)
		if err != nil {
			return f, false, err
		}
		if f.Calls == nil && !whole {
			return f, false, nil
		}
		var heard *presence.Calls
		f.Streams, heard = audio(streams, w.a.device.Number)
		if f.Calls == nil {
			f.Calls = heard
		}
	} else {
		f.Streams = &presence.Streams{}
	}
	if f.Calls != nil && busy(f.Calls) {
		w.a.streams = max(w.a.streams, 1)
	}
	return f, true, nil
}

// busy reports whether anything goes on here.
func busy(c *presence.Calls) bool {
	for _, l := range c.Lines {
		if l.State != presence.LineIdle && l.State != presence.LineUnknown && !l.Elsewhere {
			return true
		}
	}
	return false
}

// keys reads LineInfo; nil where the phone has none for us.
func (w *sweep) keys(ctx context.Context) (*LineInfo, error) {
	for _, path := range w.a.family.Lines {
		var info LineInfo
		ok, err := w.personal(ctx, path, func(body []byte, contentType string) (err error) {
			info, err = ParseLineInfo(body, contentType)
			return err
		})
		if err != nil {
			return nil, err
		}
		if ok { // what was wrong with the others, or with a call that is over, is no trouble now
			maps.DeleteFunc(w.a.troubles, func(other string, _ *trouble) bool {
				return other != path && slices.Contains(w.a.family.Lines, other) || strings.Contains(other, "/CallInfo") && info.known()
			})
			return &info, w.clarify(ctx, path, &info)
		}
	}
	return nil, nil
}

// clarify asks for the calls of a line whose icon is no word that is known here:
// it may be no call at all. Only one page a sweep, in the folder where LineInfo is,
// and none on firmware that it crashes.
func (w *sweep) clarify(ctx context.Context, lines string, info *LineInfo) error {
	if !w.a.family.Calls(w.a.device.Firmware) {
		return nil
	}
	nth := 0
	for i, k := range info.Keys {
		if !k.IsLine {
			continue
		}
		if nth++; k.known() || nth > 9 {
			continue
		}
		path := strings.Replace(callPath(nth), "/CGI/Java/", strings.TrimSuffix(lines, "LineInfo"), 1)
		_, err := w.personal(ctx, path, func(body []byte, contentType string) error {
			calls, err := ParseCallInfo(body, contentType)
			if err == nil && calls.Number == k.Number {
				info.Keys[i].Line = calls.strongest(k.Number)
			}
			return err
		})
		return err
	}
	return nil
}

// lingers is for how long after a call a phone may begin the next one on another
// stream: the first call is held, or was a moment ago.
const lingers = time.Minute

// seldomSecond is how often the second stream is read of a phone that seems to be
// idle: whoever held a call for long may begin another there, and of a call that
// began where nobody looked the agent knows nothing.
const seldomSecond = 10 * time.Second

// streams reads StreamingStatisticsX: 2 and 3 while the one before is active, or
// was active itself at the last poll, and one more; that one for a while after a
// call, too, and now and then. They are not whole where one could not be read and no
// other is active: then they do not tell whether audio flows.
func (w *sweep) streams(ctx context.Context, was int) (all []StreamInfo, whole bool, _ error) {
	wary := was == 0 && time.Since(w.a.secondAt) > seldomSecond-w.every/2
	if !w.a.talked.IsZero() && time.Since(w.a.talked) < lingers {
		was, wary = max(was, 1), false
	}
	for n := 1; n <= w.a.family.Streams; n++ {
		path := streamPath(n)
		if n == 2 {
			w.a.secondAt = time.Now()
		}
		var s StreamInfo
		ok, err := w.try(ctx, path, func(p Page) (err error) { s, err = p.Stream(); return err })
		if err != nil {
			return nil, false, err
		}
		if !ok && wary && n == 2 && !all[0].Active {
			return all, true, nil // as if it had not been asked for
		}
		if !ok {
			whole = w.a.streams > 0 || w.absent(path)
			if !whole && w.passing(path) {
				w.a.streams = was // a call that was on may be on
			}
			return all, whole, nil
		}
		all = append(all, s)
		if s.Active {
			w.a.streams, w.a.talked = n, time.Now()
		} else if n > was && !(wary && n == 1) { // one more than was active: the audio may have moved there
			break
		}
	}
	return all, true, nil
}

// audio is what the stream pages say: nothing where the phone has none, or words
// them in a way that is not known here; a call on the primary line while any
// stream is active.
func audio(all []StreamInfo, primary string) (*presence.Streams, *presence.Calls) {
	if len(all) == 0 {
		return nil, nil
	}
	told, active := true, false
	streams := &presence.Streams{}
	for _, s := range all {
		streams.List = append(streams.List, s.Stream)
		told, active = told && s.Told, active || s.Active
	}
	switch {
	case active:
		return streams, &presence.Calls{Lines: []presence.Line{{Number: primary, State: presence.LineConfirmed}}}
	case told:
		return streams, &presence.Calls{}
	}
	return streams, nil
}

// seldom reads the pages that change seldom. One that fails is left for its next
// turn, and spoils nothing; one that ends the connection ends the sweep.
func (w *sweep) seldom(ctx context.Context, now time.Time) error {
	tiers := []struct {
		due  bool
		last *time.Time
		read func(context.Context, time.Time) error
	}{
		{due(w.a.placeAt, w.pace.Place, now) && w.a.family.Ports, &w.a.placeAt, w.place},
		{due(w.a.screenAt, w.pace.Place, now) && w.a.family.Mode && w.a.streams == 0, &w.a.screenAt, w.screen},
		{w.a.news && w.a.family.Log && due(w.a.logAt, w.pace.Log, now), &w.a.logAt, w.log},
	}
	for _, t := range tiers {
		if !t.due {
			continue
		}
		*t.last = now
		if err := t.read(ctx, now); err != nil {
			if f, ok := errors.AsType[*Fault](err); ok && f.Reach == presence.Garbled {
				continue
			}
			return ctx.Err() // silent in the middle: the next visit will tell
		}
	}
	return nil
}

// place reads the phone's own ports, and whom they name as their neighbour.
func (w *sweep) place(ctx context.Context, at time.Time) error {
	f := presence.Facts{Ethernet: &presence.Ethernet{}}
	for n, name := range []string{"network", "pc"} {
		path := pathPort + "?" + string(rune('1'+n))
		page, err := w.optional(ctx, path)
		if err != nil {
			return err
		}
		if p, err := page.Ports(name); err == nil {
			f.Ethernet.Ports = append(f.Ethernet.Ports, p.Port)
			if n == 0 {
				f.Neighbour = p.Neighbour
			}
		}
	}
	page, err := w.optional(ctx, pathEthernet)
	if err != nil {
		return err
	}
	if p, err := page.Ethernet(); err == nil {
		f.Ethernet.Ports = append(f.Ethernet.Ports, p)
	}
	if len(f.Ethernet.Ports) > 0 || f.Neighbour != nil {
		w.tell(sourcePlace, at, w.pace.Place, f)
	}
	return nil
}

// optional is a page, or an empty one where the phone has it not.
func (w *sweep) optional(ctx context.Context, path string) (page Page, _ error) {
	_, err := w.try(ctx, path, func(p Page) error { page = p; return nil })
	return page, err
}

// screen reads what stands on the display while nobody uses it: in a call it would
// name the far side. So the keys have to be idle after it, too; where they do not tell,
// its notice alone is kept, which is the phone's own.
func (w *sweep) screen(ctx context.Context, at time.Time) error {
	var m ModeInfo
	ok, err := w.personal(ctx, pathMode, func(body []byte, contentType string) (err error) {
		m, err = ParseModeInfo(body, contentType)
		return err
	})
	if !ok {
		return err
	}
	screen := presence.Screen{Title: m.Title, Prompt: m.Prompt, Notify: m.Notify}
	keys, err := w.keys(ctx)
	if err != nil {
		return err
	}
	switch calls := keys.Calls(); {
	case calls == nil:
		screen = presence.Screen{Notify: m.Notify}
	case busy(calls):
		w.a.screenAt = time.Time{} // when that is over
		return nil
	}
	w.tell(sourceScreen, at, w.pace.Place, presence.Facts{Screen: &screen})
	return nil
}

// log reads the status messages after something happened, and never else.
func (w *sweep) log(ctx context.Context, at time.Time) error {
	w.a.news = false
	path := pathLog + "?0"
	if !w.has(path) || w.a.adapter {
		return nil
	}
	a, err := w.get(ctx, path)
	var log presence.Log
	if err == nil {
		log, err = ParseDeviceLog(a.Body, a.ContentType)
	}
	if ok, err := w.settle(ctx, path, sends(path, err)); !ok || len(log.Lines) == 0 {
		return err
	}
	w.tell(sourceLog, at, w.pace.Place, presence.Facts{Log: &log})
	return nil
}
