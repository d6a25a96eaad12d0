package ledger

import (
	"context"
	"slices"
	"time"

	"pilotlight/agent/presence"
)

// Follow opens a feed of the documents that sel picks; nil picks all. It
// begins with the present state.
func (l *Ledger) Follow(ctx context.Context, sel presence.Selector) (*Feed[presence.Document], error) {
	var pick func(presence.Document) bool
	if sel != nil {
		pick = func(d presence.Document) bool { return sel(d.Of) }
	}
	f := newFeed(documentKey, pick)
	err := l.do(ctx, func(now time.Time) {
		l.settle(now)
		l.feeds[f] = struct{}{}
		for _, of := range sortedKeys(l.entities) {
			if e := l.entities[of]; e.known {
				f.offer(e.doc)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// FollowDevices opens a feed of all devices. It begins with the present state.
func (l *Ledger) FollowDevices(ctx context.Context) (*Feed[presence.Device], error) {
	f := newFeed(deviceKey, nil)
	err := l.do(ctx, func(now time.Time) {
		l.settle(now)
		l.deviceFeeds[f] = struct{}{}
		for _, name := range sortedKeys(l.devices) {
			if d := l.devices[name]; d.known {
				f.offer(d.now)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Documents are the present documents that sel picks, sorted. What followers
// hold may be older in AsOf alone: a repeat tells nobody anything.
func (l *Ledger) Documents(ctx context.Context, sel presence.Selector) ([]presence.Document, error) {
	var all []presence.Document
	err := l.do(ctx, func(time.Time) {
		for _, of := range sortedKeys(l.entities) {
			if e := l.entities[of]; e.known && (sel == nil || sel(of)) {
				all = append(all, e.doc)
			}
		}
	})
	return all, err
}

// Devices are all devices as they are now, sorted.
func (l *Ledger) Devices(ctx context.Context) ([]presence.Device, error) {
	var all []presence.Device
	err := l.do(ctx, func(time.Time) {
		for _, name := range sortedKeys(l.devices) {
			if d := l.devices[name]; d.known {
				all = append(all, d.now)
			}
		}
	})
	return all, err
}

// An Event is a turn in a device's history.
type Event struct {
	At       time.Time
	From, To presence.DeviceState
	Why      string
}

// History is the last turns of a device, the oldest first.
func (l *Ledger) History(ctx context.Context, device string) ([]Event, error) {
	var events []Event
	err := l.do(ctx, func(time.Time) {
		if d := l.devices[device]; d != nil {
			events = slices.Clone(d.ring)
		}
	})
	return events, err
}
