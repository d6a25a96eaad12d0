package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/lab"
	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// TestNoPacketLeaves: the recordings name hundreds of real neighbours at private
// addresses. In a network of its own, in which everything that is not for
// loopback would be seen, the agent polls them all, and sends nothing. What it
// is told to contact it does contact: else nothing would be shown by this.
func TestNoPacketLeaves(t *testing.T) {
	if !peers.Need(t, peers.SnmpsimProgram) || !lab.Alone(t) {
		return
	}
	all := recordings(t)
	if all == nil {
		return
	}
	wire := lab.NewWire(t)
	places := simulated(t, all)
	text := agentHead + "people: [{user: alice, line: \"1001\", phones: [SEP0004F22AD83E]}]\n" + configure(places)

	discover(t, places)
	a := product.Start(t, product.Options{YAML: text})
	a.Until(90*time.Second, "all have been polled twice", func() bool {
		return polls(t, a, "snmp", "ok") >= float64(2*len(places))
	})
	if n := len(a.Phones()); n < 40 {
		t.Errorf("%d phones are known", n)
	}
	a.Stop()
	if seen, first := wire.Seen(); wire.Sent(t) != 0 || seen != 0 {
		t.Fatalf("%d packets left loopback, %d were seen: %s", wire.Sent(t), seen, strings.Join(first, "\n"))
	}

	// The controls. 10.108.190.25 is the phone of P05.
	listed := product.Start(t, product.Options{YAML: text + "phones: [{name: SEP001AE8277C8F, address: 10.108.190.25}]\n"})
	wire.Await(t, soon, "tcp", "> 10.108.190.25:80")
	listed.Stop()
	if wire.Sent(t) == 0 {
		t.Error("the kernel counts nothing")
	}

	// 172.16.10.2 is a switch beside N01.
	allowed := strings.Replace(text, "allow: []", `allow: ["172.16.0.0/12"]`, 1)
	if allowed == text {
		t.Fatal("allow is not empty")
	}
	b := product.Start(t, product.Options{YAML: allowed})
	wire.Await(t, time.Minute, "udp", "> 172.16.10.2:")
	b.Stop()
	fmt.Printf("%s: %d recordings polled twice, 0 packets left loopback; controls seen\n", t.Name(), len(places))
}
