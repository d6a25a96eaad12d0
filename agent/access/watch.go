package access

import (
	"fmt"
	"strings"

	"pilotlight/agent/presence"
)

// Handling is how a subscription is taken (RFC 5025 §3.2.1). The greater tells more.
type Handling uint8

// Block refuses. Confirm leaves it pending until the presentity decides.
// PoliteBlock looks like somebody who is offline. Allow tells.
const (
	Block Handling = iota
	Confirm
	PoliteBlock
	Allow
)

var handlingNames = [...]string{"block", "confirm", "polite-block", "allow"}

// String is the handling's word.
func (h Handling) String() string {
	if int(h) < len(handlingNames) {
		return handlingNames[h]
	}
	return handlingNames[Block]
}

// ParseHandling takes exactly the words allow, polite-block, confirm and block.
func ParseHandling(s string) (Handling, error) {
	for i, name := range handlingNames {
		if s == name {
			return Handling(i), nil
		}
	}
	return Block, fmt.Errorf("%w: %q, want allow, polite-block, confirm or block", ErrInvalid, s)
}

// MarshalText makes a handling a word in JSON and YAML.
func (h Handling) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads that word.
func (h *Handling) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHandling(string(b))
	return err
}

// A WatchRule says how somebody who watches is taken. Empty parts match all.
type WatchRule struct {
	Of      string // a presentity, "sip:alice@example.com"; empty: everybody
	Watcher string // a watcher, "sip:bob@example.com", or a domain, "@example.com"; empty: everybody
	Do      Handling
}

// Rules decide who may watch whom.
type Rules struct {
	Default Handling
	List    []WatchRule
}

// Watch is how watcher's subscription to of is taken. The narrowest rule
// decides: one for this watcher before one for the domain before one for
// all, and of these one for this presentity before one for everybody. Between
// two that are as narrow the one that tells less does. Somebody may always
// watch herself.
func (r Rules) Watch(watcher, of presence.Presentity) Handling {
	if watcher == of && of != "" {
		return Allow
	}
	best, at := r.Default, -1
	for _, rule := range r.List {
		n := rule.narrow(watcher, of)
		if n > at || n == at && n >= 0 && rule.Do < best {
			best, at = rule.Do, n
		}
	}
	return best
}

// narrow says how narrowly the rule fits, or -1.
func (w WatchRule) narrow(watcher, of presence.Presentity) int {
	n := 0
	switch {
	case w.Watcher == "":
	case strings.HasPrefix(w.Watcher, "@"):
		if !strings.EqualFold(w.Watcher[1:], watcher.Domain()) {
			return -1
		}
		n = 2
	case presence.Presentity(w.Watcher) != watcher:
		return -1
	default:
		n = 4
	}
	switch {
	case w.Of == "":
	case presence.Presentity(w.Of) != of:
		return -1
	default:
		n++
	}
	return n
}

// Check normalises a rule, or says what is wrong with it.
func (w *WatchRule) Check() error {
	if w.Of != "" {
		p, err := presence.ParsePresentity(w.Of)
		if err != nil {
			return err
		}
		w.Of = string(p)
	}
	if w.Watcher == "" || strings.HasPrefix(w.Watcher, "@") && len(w.Watcher) > 1 {
		return nil
	}
	p, err := presence.ParsePresentity(w.Watcher)
	if err != nil {
		return err
	}
	w.Watcher = string(p)
	return nil
}
