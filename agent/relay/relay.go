// Package relay keeps what an uplink has still to hand over, and how each uplink is.
//
// A [Lane] is a feed whose place is kept on disk: it hands out the newest
// document of each presentity whose revision the far side has not acknowledged.
// It is conflated, so that an outage of any length costs what the presentities
// cost, not what happened meanwhile. An acknowledgement is a cursor, one per
// presentity, written by the dial: losing one costs a resend, never a change.
//
// A [Link] turns what happens on an uplink, real traffic and probes alike, into
// one of four modes, with hysteresis: one lost answer is not an outage, and one
// answer is no return. [Uplinks] is where uplinks report, and the board looks.
//
// A lane and a link speak no protocol: drivers/central does.
package relay

import (
	"context"

	"pilotlight/agent/presence"
)

// Feed is what a lane reads: the latest document of each presentity that
// changed. It begins with the present state, all of it: TryNext gives that before
// it first reports false. One goroutine at a time.
type Feed interface {
	Next(ctx context.Context) (presence.Document, error)
	TryNext() (presence.Document, bool)
	Close()
}

// Drawer is where a lane keeps its place.
type Drawer interface {
	Each(prefix string, f func(key string, value []byte) error) error
	PutSoft(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
}

// Store is what a lane needs of the ledger.
type Store[F Feed, D Drawer] interface {
	Follow(ctx context.Context, sel presence.Selector) (F, error)
	Drawer(name string) D
}
