// Package ledger is the one writer: observations and publications in,
// documents out.
//
// One goroutine, Run's own, holds all state and never waits: not for a disk,
// not for a follower. It merges what it is told, composes the documents that
// are concerned, and offers those that differ to each [Feed]. Everything else
// sends it work and waits for that alone. A heap of moments at which ageing
// changes something drives one timer, so that silence turns a state to last
// known without any driver's help.
//
// A second goroutine owns the file. It takes immutable batches, one in flight
// while the next gathers. What a device will tell again waits for the dial
// (Config.Commit); what a person did waits a few milliseconds for company, and
// only its own answer waits for the disk. A repeat that moves nothing but the
// time rides with a commit that happens anyway. After a power cut the age of a
// restored state may be overstated by a minute for that; it is never understated.
//
// The order of changes is (store id, epoch, seq): the epoch grows at each Open,
// the id is made anew with each store, also with a restored one.
//
// Nothing is dropped by the wall clock before that is trusted ([Ledger.Trust]), and
// when a trusted one is set, what is on disk is dated anew.
//
// A presentity or a device that nobody knows any more is told once as gone
// ([Gone], [GoneDevice]).
package ledger
