// Package agent is the heart's doorstep: the one interface by which the world
// plugs in. It imports nothing of this module.
package agent

import (
	"context"
	"errors"
)

// A Driver is one outside system's side of the agent.
//
// Run works until ctx is done, then returns ctx.Err(). It returns earlier only
// when it cannot go on: the supervisor starts it again after a growing pause,
// or, for an error made by [Permanent], leaves it down and says so on the panel.
// Run may be called again after it has returned. No goroutine that it started
// outlives it.
type Driver interface {
	Run(ctx context.Context) error
}

// Permanent marks an error that trying again would only make worse, such as a
// refused password (one wrong password retried each minute locks the account).
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

// IsPermanent reports whether err, or one that it wraps, was made by Permanent.
func IsPermanent(err error) bool { _, ok := errors.AsType[*permanent](err); return ok }

type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }
