package e2e

import (
	"testing"

	"pilotlight/testbench/branch"
)

// David's number rings at the front desk, too. Who talks is who is told to talk,
// and whoever has the number is told that it is in use.
func TestALineThatTwoPhonesShare(t *testing.T) {
	tell(t, branch.Options{Phones: 12}, nil).play(`
		line 1004 available david front-desk

		call emma david                    # both phones ring for it
		told david ringing not-elsewhere
		told front-desk ringing not-elsewhere
		told emma in-use
		answer front-desk
		told front-desk in-use not-elsewhere
		told david idle elsewhere
		presence david on-the-phone        # the front desk counts as a desk of his: it has his number
		line 1004 on-the-phone david front-desk
		hold front-desk
		told front-desk on-hold
		told david idle elsewhere
		resume front-desk
		told front-desk in-use

		call david bob                     # David makes a call of his own meanwhile
		told david in-use not-elsewhere
		told bob ringing
		answer bob
		told bob in-use
		told david in-use
		told front-desk in-use             # two calls, one number
		presence david on-the-phone
		hangup emma                        # the front desk's call ends, his goes on
		told front-desk idle elsewhere
		told david in-use not-elsewhere

		call hugo front-desk               # where nobody talks it rings
		told front-desk ringing
		told david in-use
		hangup hugo
		told front-desk idle elsewhere
		hangup david
		told david idle not-elsewhere
		told front-desk idle not-elsewhere
		presence david available

		history emma idle in-use idle
		history david idle ringing idle in-use idle
		history front-desk idle ringing in-use on-hold in-use idle ringing idle
		history bob idle ringing in-use idle
	`)
}

// A call that is put through: the one who did it is free at once, and the caller
// is never told free between the two.
func TestATransferIsFollowed(t *testing.T) {
	tell(t, branch.Options{Phones: 12}, nil).play(`
		call alice bob
		told bob ringing
		answer bob
		told bob in-use
		told alice in-use
		presence bob on-the-phone

		transfer bob carol
		told bob idle
		told carol ringing
		told alice in-use
		presence bob available
		answer carol
		told carol in-use
		told alice in-use
		told bob idle
		presence carol on-the-phone

		transfer alice emma                # and by the one who had called
		told alice idle
		told emma ringing
		told carol in-use
		hangup emma                        # who declines: the call is over
		told emma idle
		told carol idle

		history alice idle in-use idle
		history bob idle ringing in-use idle
		history carol idle ringing in-use idle
		history emma idle ringing idle
	`)
}
