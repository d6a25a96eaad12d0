// Package e2e uses the product as its users do: the real binary, its command
// line, its configuration file, its API, against real programs and against
// phones that misbehave.
package e2e

import (
	"os"
	"testing"

	"pilotlight/testbench/product"
)

func TestMain(m *testing.M) {
	code := m.Run()
	product.Clean()
	os.Exit(code)
}
