package simple

import (
	"context"
	"net/netip"
	"slices"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/sip"
)

// byDevice finds the device that a PUBLISH without digest comes from, if it may
// publish for of: over TCP, where a source can't be made up, from the address that
// was observed of it and of no other, for a line that it carries or for the owner
// of one.
func (r *run) byDevice(ctx context.Context, in *sip.Incoming, of presence.Presentity) (name string) {
	if in.Transport != "tcp" || in.Header.Has("Authorization") {
		return ""
	}
	_ = r.do(ctx, func() {
		if d := r.carrier(of, in.Source.Addr().Unmap()); d != "" && r.alone(d, in.Source.Addr().Unmap()) {
			name = d
		}
	})
	return name
}

// carrier is the device at an address that carries a line, or one of its owner's.
func (r *run) carrier(of presence.Presentity, at netip.Addr) string {
	w := r.of[of]
	if w == nil || !w.known || w.list != nil {
		return ""
	}
	for _, d := range w.doc.Devices {
		if isAt(d, at) && slices.ContainsFunc(d.Lines, func(l presence.Line) bool { return r.isLineOf(l, w, d.Name) }) {
			return d.Name
		}
	}
	return ""
}

// isAt reports whether a device is vouched for to be at an address: one that does
// not answer there left it to somebody else.
func isAt(d presence.DeviceView, at netip.Addr) bool {
	return d.Address.IsValid() && d.Address.Unmap() == at && d.Freshness == presence.Live && d.State != presence.Unreachable && d.State != presence.Unpowered
}

// isLineOf reports whether a device's line is the presentity, or is owned by it: an
// owned line's document is its owner's.
func (r *run) isLineOf(l presence.Line, w *watched, device string) bool {
	if w.doc.Kind == presence.KindLine {
		return l.Number == w.of.User()
	}
	line := r.of[presence.At(l.Number, r.c.Domain)]
	return line != nil && line.known && r.holder(w, line) &&
		slices.ContainsFunc(line.doc.Devices, func(d presence.DeviceView) bool { return d.Name == device })
}

// alone reports whether no other device is at an address: behind one that
// translates, nobody knows which of them speaks.
func (r *run) alone(device string, at netip.Addr) bool {
	for _, w := range r.of {
		for _, d := range w.doc.Devices {
			if d.Name != device && d.Address.IsValid() && d.Address.Unmap() == at {
				return false
			}
		}
	}
	return true
}
