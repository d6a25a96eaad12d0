//go:build pilotlight_controls

package main

import (
	"os"

	"pilotlight/agent/ledger"
)

// drill breaks a promise of the store on purpose. It is built only for the
// power-cut drill, which must notice it.
func drill() ledger.Drill {
	switch os.Getenv("PILOTLIGHT_TEST_STORE") {
	case "nosync":
		return ledger.Drill{NoSync: true}
	case "early-ack":
		return ledger.Drill{AnswerEarly: true}
	}
	return ledger.Drill{}
}
