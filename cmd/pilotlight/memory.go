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

// memoryLimit is GOMEMLIMIT where the environment does not say otherwise. With
// 11,000 subscriptions some 45 MiB are in use: so near the limit garbage is
// collected more often, before the process is larger than a branch box can bear.
// What is in use goes past it freely.
const memoryLimit = 80 << 20

// frugal lets the process do with less memory.
func frugal() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
