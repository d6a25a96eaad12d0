package e2e

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// polls reads how many polls of a driver had an outcome.
func polls(t *testing.T, a *product.Agent, driver, outcome string) float64 {
	t.Helper()
	text := a.Metric(fmt.Sprintf(`pilotlight_polls_total{driver=%q,outcome=%q}`, driver, outcome))
	if text == "" { // not one yet
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	must(t, err)
	return n
}

// TestAPhoneThatAnswersOptions: a baresip listed with its SIP port, which answers
// for its user alone. It allows INVITE and MESSAGE, and tells no media, so that
// video is not claimed. When it goes, what it could do goes with it.
func TestAPhoneThatAnswersOptions(t *testing.T) {
	if !peers.Need(t, "baresip") {
		return
	}
	phone := peers.Baresip(t, peers.WithAccount("1001"))
	_, port, err := net.SplitHostPort(phone.Addr)
	must(t, err)
	a := product.Start(t, product.Options{YAML: agentHead + fmt.Sprintf(`
poll: {sip: 1s}
people: [{user: alice, phones: [SEP0011AABBCC01], line: "1001"}]
phones: [{name: SEP0011AABBCC01, address: 127.0.0.1, sip_port: %s, web_port: -1}]
`, port)})
	type abilities struct{ Audio, Video, IM bool }
	is := func() (all struct {
		Freshness    string
		Capabilities abilities
	}) {
		must(t, product.TryGet(a, "/api/v1/phones/SEP0011AABBCC01", &all))
		return all
	}
	a.Until(soon, "it can do what it says", func() bool { return is().Capabilities.Audio })
	if now := is(); now.Capabilities != (abilities{Audio: true, IM: true}) || now.Freshness != "live" {
		t.Errorf("%+v", now)
	}
	a.Until(soon, "polls are counted", func() bool { return polls(t, a, "phone-sip", "ok") >= 2 })

	out, _ := product.RunCLI(t, product.Binary(t), 0, "", "probe", "sip", phone.URI)
	if !regexp.MustCompile(`in [0-9.]+[µm]?s: 200`).MatchString(out) || !strings.Contains(out, "baresip") {
		t.Errorf("probe sip: %s", out)
	}

	phone.Kill()
	a.Until(soon, "it no longer claims anything", func() bool { return is().Capabilities == abilities{} })
}
