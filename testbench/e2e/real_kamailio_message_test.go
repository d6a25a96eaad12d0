package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// instant is what the API tells of a message, as far as tests look.
type instant struct {
	From, To, Text, Refused string
	Delivered               bool
}

// TestMessagesGoToAKamailioAndBack: people of another domain are at a Kamailio. What
// bob writes to them arrives, by the API and by a call server that speaks for him, and
// what they write to him is his; while Kamailio is down it is kept, over a kill of the
// agent, too, and arrives in order when it is there again.
func TestMessagesGoToAKamailioAndBack(t *testing.T) {
	if !peers.Need(t, "kamailio") {
		return
	}
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) { messagesOver(t, transport) })
	}
}

func messagesOver(t *testing.T, transport string) {
	const bob, zoe, nobody = "sip:bob@example.com", "sip:zoe@elsewhere.org", "sip:nobody@elsewhere.org"
	addr := fmt.Sprint("127.0.0.1:", product.FreePort(t))
	k := peers.Kamailio(t, peers.WithDomain("elsewhere.org"), peers.WithBranch("example.com", addr))
	a := product.Start(t, product.Options{YAML: fmt.Sprintf(`
branch: {id: lyon-12, name: Lyon, domain: example.com}
data_dir: @DATA@
panel: {listen: "@PANEL@"}
sip:
  listen: ["udp:%s", "tcp:%s"]
  peers:
    - {name: centre, address: 127.0.0.1/32, domains: [elsewhere.org], target: %q, may: [message]}
    - {name: pbx, address: 127.0.0.2/32, may: [message]}
people: [{user: bob}]
`, addr, addr, k.Target(transport))})
	a.Token = strings.TrimSpace(a.CLI(0, "token", "create", "--role", "viewer", "--user", "bob", "--config", a.Config))
	write := func(to, text string) {
		t.Helper()
		must(t, a.Act("POST", "/api/v1/messages", map[string]string{"to": to, "text": text}))
	}
	with := func(who string) []instant { return product.Get[[]instant](a, "/api/v1/messages?with="+who) }
	phone := peers.NewPager(t, k.Addr, zoe)

	write(zoe, "by the panel")
	page := phone.Await(t, "by the panel")
	if at, err := time.Parse(time.RFC1123, page.Date); page.From != bob || err != nil || time.Since(at) > time.Minute {
		t.Errorf("%+v (%v)", page, err)
	}
	pbx := peers.Dial(t, "udp", addr, "127.0.0.2")
	octets, branch := peers.Request{Method: "MESSAGE", URI: zoe, From: bob, Type: "text/plain", Body: "by the call server"}.Octets(pbx)
	if answer, ok := pbx.Ask(t, octets, branch, soon); !ok || answer.Status != 202 {
		t.Fatalf("%v %+v", ok, answer)
	}
	phone.Await(t, "by the call server")
	if transport == "tcp" { // which has room
		long := strings.Repeat("Grüße! ", 400)
		write(zoe, long)
		phone.Await(t, long)
	}
	if status, err := phone.Send(bob, "and back"); status != 202 {
		t.Fatal(status, err)
	}
	a.Until(soon, "bob reads what zoe wrote", func() bool {
		all := with(zoe)
		return len(all) > 0 && all[len(all)-1] == instant{From: zoe, To: bob, Text: "and back", Delivered: true}
	})
	write(nobody, "is anybody there?")
	a.Until(soon, "bob reads that nobody is nobody", func() bool {
		all := with(nobody)
		return len(all) == 1 && all[0].Refused == "404 Not Found" && !all[0].Delivered
	})

	k.Kill()
	write(zoe, "one")
	a.Kill()
	a.Again()
	a.Ready()
	write(zoe, "two")
	k.Again(t)
	must(t, phone.Register())
	phone.Await(t, "one")
	phone.Await(t, "two")
	a.Until(soon, "bob reads that all is delivered", func() bool {
		all := with(zoe)
		return all[len(all)-1].Delivered && all[len(all)-2].Delivered && all[len(all)-2].Text == "one"
	})
}
