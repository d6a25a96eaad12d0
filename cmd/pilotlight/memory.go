package main

import (
	"os"
	"runtime/debug"
)

// garbagePercent is GOGC where the environment does not say otherwise: how much
// garbage there may be for each byte in use. The agent shares a small machine's
// memory and needs a few per cent of a core; at 500 phones collecting twice as
// often takes 10 MiB less and 1 % of a core more.
const garbagePercent = 50

// frugal lets the process do with less memory.
func frugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
