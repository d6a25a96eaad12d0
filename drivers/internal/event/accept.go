package event

import (
	"strconv"
	"strings"

	"pilotlight/drivers/internal/sip"
)

// Choose is the content type to send, of those offered in our order, by the
// values of a watcher's Accept (RFC 3261 §20.1; EV-23): the one with the highest
// q, and of equals the first. The most exact of the ranges that hold a type says
// its q, and q=0 is a refusal. Parameters of types do not count. false: none of
// them, which is a 406. Without an Accept (nil) it is the first; an empty one,
// which is not nil, takes nothing.
func Choose(accept []string, offered []string) (string, bool) {
	if accept == nil && len(offered) > 0 {
		return offered[0], true
	}
	ranges := readRanges(accept)
	best, chosen := 0.0, ""
	for _, kind := range offered {
		if q := quality(ranges, contentType(kind)); q > best {
			best, chosen = q, kind
		}
	}
	return chosen, best > 0
}

// mediaRange is one element of an Accept.
type mediaRange struct {
	kind string // lower case: "a/b", "a/*", "*/*"
	q    float64
}

// maxRanges bounds what is looked at.
const maxRanges = 64

func readRanges(accept []string) (ranges []mediaRange) {
	for _, row := range accept {
		for _, value := range (sip.Header{{Name: "Accept", Value: row}}).List("Accept") {
			if len(ranges) >= maxRanges {
				return ranges
			}
			kind, params, _ := strings.Cut(value, ";")
			r := mediaRange{strings.ToLower(strings.TrimSpace(kind)), 1}
			if s, ok := sip.ParseParams(params)["q"]; ok {
				// A q that is none is a fault in a wish, not a refusal.
				if q, err := strconv.ParseFloat(s, 64); err == nil && q >= 0 && q <= 1 {
					r.q = q
				}
			}
			if r.kind == "*" { // as some write it
				r.kind = "*/*"
			}
			ranges = append(ranges, r)
		}
	}
	return ranges
}

// quality is the q of the most exact range that holds kind, 0 without one.
func quality(ranges []mediaRange, kind string) (q float64) {
	class, _, _ := strings.Cut(kind, "/")
	exact := 0
	for _, r := range ranges {
		how := 0
		switch r.kind {
		case kind:
			how = 3
		case class + "/*":
			how = 2
		case "*/*":
			how = 1
		}
		if how > exact || how == exact && how > 0 && r.q > q {
			exact, q = how, r.q
		}
	}
	return q
}
