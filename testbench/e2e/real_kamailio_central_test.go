package e2e

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// told is what a watcher reads in a PIDF document (RFC 3863, RFC 4480), by a
// reader that the product has no part in.
type told struct {
	Entity     string
	Basic      string // of the presentity's own tuple, which comes first
	Activities []string
	Note       string
	Persons    int
}

func readPIDF(body string) (told, error) {
	var doc struct {
		Entity string `xml:"entity,attr"`
		Tuples []struct {
			Basic string `xml:"urn:ietf:params:xml:ns:pidf status>basic"`
		} `xml:"urn:ietf:params:xml:ns:pidf tuple"`
		Notes   []string `xml:"urn:ietf:params:xml:ns:pidf note"`
		Persons []struct {
			Activities struct {
				All []struct{ XMLName xml.Name } `xml:",any"`
			} `xml:"urn:ietf:params:xml:ns:pidf:rpid activities"`
			Notes []string `xml:"urn:ietf:params:xml:ns:pidf:data-model note"`
		} `xml:"urn:ietf:params:xml:ns:pidf:data-model person"`
	}
	if err := xml.Unmarshal([]byte(body), &doc); err != nil {
		return told{}, err
	}
	is := told{Entity: doc.Entity, Note: strings.Join(doc.Notes, "; "), Persons: len(doc.Persons)}
	if len(doc.Tuples) > 0 {
		is.Basic = doc.Tuples[0].Basic
	}
	for _, p := range doc.Persons {
		for _, a := range p.Activities.All {
			if a.XMLName.Local != "note" {
				is.Activities = append(is.Activities, a.XMLName.Local)
			}
		}
	}
	return is, nil
}

// inPIDF is how the contract's words read in PIDF.
var inPIDF = map[string]struct{ basic, activity string }{
	"available": {"open", ""}, "on-the-phone": {"open", "on-the-phone"}, "busy": {"open", "busy"},
	"do-not-disturb": {"open", "busy"}, "away": {"open", "away"}, "offline": {"closed", ""}, "unknown": {"", "unknown"},
}

// says reports whether a notification says about the presentity what the agent's API says.
func says(d product.Document, entity string) func(peers.Notification) bool {
	words := inPIDF[d.Availability]
	want := told{Entity: entity, Basic: words.basic, Note: d.Note, Persons: 1}
	if words.activity != "" {
		want.Activities = []string{words.activity}
	}
	return func(n peers.Notification) bool {
		is, err := readPIDF(n.Body)
		return err == nil && cmp.Equal(is, want)
	}
}

// centre is an agent whose central presence server is Kamailio, and watchers
// there, who know nothing of the agent.
type centre struct {
	*product.Agent
	server   *peers.KamailioServer
	watchers map[string]*peers.Watch // by user
	data     string
}

// watched is who is watched at the centre, and whose document of the agent's that is.
var watched = map[string]string{"alice": "alice", "1001": "alice", "bob": "bob", "carol": "carol"}

func newCentre(t *testing.T, server *peers.KamailioServer, transport, credentials, more string) *centre {
	t.Helper()
	c := &centre{server: server, watchers: map[string]*peers.Watch{}, data: filepath.Join(t.TempDir(), "data")}
	c.Agent = product.Start(t, product.Options{Data: c.data, YAML: agentHead + `
store: {commit: 1s}
people:
  - {user: alice, name: Alice Martin, line: "1001"}
  - {user: bob, name: Bob, line: "1002"}
  - {user: carol, name: Carol}
` + fmt.Sprintf("uplinks: [{name: hq, kind: sip, target: %q, return_window: 0s%s}]\n", server.Target(transport), credentials) + more})
	c.becomes(soon, "connected")
	for user := range watched {
		c.watchers[user] = peers.Watcher(t, server.Addr, server.URI(user), "presence", "application/pidf+xml")
	}
	return c
}

// becomes waits for a mode of the uplink.
func (c *centre) becomes(within time.Duration, mode string) {
	var last []product.Uplink
	c.Until(within, "the uplink is "+mode, func() bool {
		last = product.Get[[]product.Uplink](c.Agent, "/api/v1/uplinks")
		return len(last) == 1 && last[0].Mode == mode && (mode != "connected" || last[0].Pending == 0)
	})
}

// manual sets what a person says, or clears it.
func (c *centre) manual(t *testing.T, user, availability, note string) {
	t.Helper()
	path := "/api/v1/presence/" + user + "/manual"
	if availability == "" {
		must(t, c.Act("DELETE", path, nil))
		return
	}
	must(t, c.Act("PUT", path, map[string]string{"availability": availability, "note": note}))
}

// agree waits until every watcher was told what the API says now. Those of whom
// nothing changed are made to be told again.
func (c *centre) agree(t *testing.T, when string, changed ...string) {
	t.Helper()
	for user, w := range c.watchers {
		d := c.Presence(watched[user])
		if !slices.Contains(changed, watched[user]) {
			must(t, w.Refresh())
		}
		w.Await(t, fmt.Sprintf("%s: %s of %s, note %q", when, d.Availability, user, d.Note), says(d, c.server.URI(user)))
	}
}

// oneEach waits until exactly one publication stands for each presentity.
func (c *centre) oneEach(t *testing.T, when string) map[string][]string {
	t.Helper()
	tags := c.server.Publications(t)
	for _, user := range []string{"1001", "1002", "alice", "bob", "carol"} {
		if len(tags[user]) != 1 {
			t.Errorf("%s: %d publications of %s stand, want 1: %v", when, len(tags[user]), user, tags[user])
		}
	}
	return tags
}

// keeps waits until all entity-tags that stand at the far side are in the agent's
// store: a kill -9 before would lose what was answered a moment ago, and leave
// publications that nobody can change.
func (c *centre) keeps(t *testing.T) {
	t.Helper()
	c.Until(soon, "the entity-tags are on disk", func() bool {
		tags := c.server.Publications(t)
		store, err := os.ReadFile(filepath.Join(c.data, "pilotlight.db"))
		must(t, err)
		for _, list := range tags {
			if slices.ContainsFunc(list, func(tag string) bool { return !bytes.Contains(store, []byte(tag)) }) {
				return false
			}
		}
		return true
	})
}

// TestWhatIsPublishedIsWhatKamailioTells: what people say, and clear again.
func TestWhatIsPublishedIsWhatKamailioTells(t *testing.T) {
	if !peers.Need(t, "kamailio", "sqlite3") {
		return
	}
	for _, tc := range []struct{ name, transport, credentials string }{
		{"udp", "udp", ""},
		{"tcp, with digest", "tcp", ", username: branch, password_file: %q"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			options := []peers.KamailioOption{peers.WithPresence()}
			credentials := tc.credentials
			if credentials != "" {
				options = append(options, peers.WithDigest("branch", "s3cret horse"))
				credentials = fmt.Sprintf(credentials, filepath.Join(writeFiles(t, map[string]string{"pw": "s3cret horse\n"}), "pw"))
			}
			c := newCentre(t, peers.Kamailio(t, options...), tc.transport, credentials, "")
			c.agree(t, "at the start")
			for _, step := range []struct{ user, says, note string }{
				{"alice", "busy", "budget"},
				{"bob", "do-not-disturb", "<writing> & \"thinking\""},
				{"carol", "away", "déjeuner"},
				{"alice", "available", ""},
				{"carol", "offline", ""},
				{"bob", "", ""},
				{"alice", "", ""},
			} {
				c.manual(t, step.user, step.says, step.note)
				c.agree(t, strings.TrimSpace(step.user+" "+step.says), step.user)
			}
			c.oneEach(t, "after all")
		})
	}
}

// TestAWrongPasswordAtTheCentre is told, and tried once: more would lock the account.
func TestAWrongPasswordAtTheCentre(t *testing.T) {
	if !peers.Need(t, "kamailio", "sqlite3") {
		return
	}
	k := peers.Kamailio(t, peers.WithPresence(), peers.WithDigest("branch", "s3cret horse"))
	pw := filepath.Join(writeFiles(t, map[string]string{"pw": "another horse\n"}), "pw")
	a := product.Start(t, product.Options{YAML: agentHead + "people: [{user: alice}, {user: bob}]\n" +
		fmt.Sprintf("uplinks: [{name: hq, kind: sip, target: %q, username: branch, password_file: %q}]\n", k.Target("udp"), pw)})
	a.Until(soon, "the uplink says what is wrong", func() bool {
		u := product.Get[[]product.Uplink](a, "/api/v1/uplinks")
		return len(u) == 1 && u[0].Mode == "island" && strings.Contains(u[0].Why, "401") && strings.Contains(u[0].Why, "branch")
	})
	if strings.Contains(a.Log(), "another horse") {
		t.Error("the password is in the log")
	}
	if tags := k.Publications(t); len(tags) != 0 {
		t.Errorf("published: %v", tags)
	}
}

// TestACallIsToldAtTheCentre: from a phone to a watcher at the other end, with
// Kamailio as the call server and as the central presence server.
func TestACallIsToldAtTheCentre(t *testing.T) {
	if !peers.Need(t, "kamailio", "sqlite3", "baresip") {
		return
	}
	k := peers.Kamailio(t, peers.WithDialogInfo())
	caller := peers.Baresip(t, peers.WithAccount("1001"), peers.WithServer(k))
	callee := peers.Baresip(t, peers.WithAccount("1002"), peers.WithServer(k), peers.WithManualAnswer())
	c := newCentre(t, k, "udp", "", fmt.Sprintf("call_managers: [{name: pbx, target: %q, dialog: true}]\n", k.Target("udp")))
	all := func(alice, bob string) {
		t.Helper()
		c.Until(soon, "alice "+alice+", bob "+bob, func() bool {
			return c.Presence("alice").Availability == alice && c.Presence("bob").Availability == bob
		})
		c.agree(t, "alice "+alice+", bob "+bob)
	}
	all("available", "available")
	must(t, caller.Dial(k.URI("1002")))
	callee.WaitEvent(t, "CALL_INCOMING")
	all("on-the-phone", "available")
	must(t, callee.Accept())
	all("on-the-phone", "on-the-phone")
	c.manual(t, "bob", "do-not-disturb", "on a call that matters")
	all("on-the-phone", "do-not-disturb")
	must(t, caller.Hangup())
	all("available", "do-not-disturb")
	c.oneEach(t, "after the call")
}

// TestARestartLeavesOnePublication: the agent goes, by SIGTERM or kill -9, and
// comes back; the publications that stand are taken up, and not doubled.
func TestARestartLeavesOnePublication(t *testing.T) {
	if !peers.Need(t, "kamailio", "sqlite3") {
		return
	}
	c := newCentre(t, peers.Kamailio(t, peers.WithPresence()), "udp", "", "")
	c.manual(t, "alice", "busy", "first")
	c.agree(t, "before", "alice")
	for _, end := range []struct {
		name string
		how  func()
	}{{"SIGTERM", c.Stop}, {"kill -9", c.Kill}} {
		before := c.oneEach(t, "before "+end.name)
		c.keeps(t)
		end.how()
		c.oneEach(t, "after "+end.name)
		c.Again()
		c.Ready()
		c.becomes(soon, "connected")
		c.manual(t, "alice", "away", "after "+end.name)
		c.agree(t, "after "+end.name, "alice")
		after := c.oneEach(t, "after "+end.name+" and the start")
		if cmp.Equal(before["alice"], after["alice"]) {
			t.Error("alice's publication is as it was")
		}
	}
	// The control: two publications are seen as two.
	if status, err := peers.Publish(t, c.server.Addr, c.server.URI("alice"), "presence").Send(60, "application/pidf+xml", strangePIDF); status != 200 {
		t.Fatal(status, err)
	}
	if n := len(c.server.Publications(t)["alice"]); n != 2 {
		t.Errorf("%d publications are seen, want 2", n)
	}
}

const strangePIDF = `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com">` +
	`<tuple id="other"><status><basic>open</basic></status></tuple></presence>`

// TestAFrozenCentreIsAnIsland: it hangs, with a change under way; the mode says
// so within 15 s, and after it all presentities are as they are here.
func TestAFrozenCentreIsAnIsland(t *testing.T) {
	if !peers.Need(t, "kamailio", "sqlite3") {
		return
	}
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			c := newCentre(t, peers.Kamailio(t, peers.WithPresence()), transport, "", "")
			must(t, c.server.Freeze())
			c.manual(t, "alice", "busy", "under way")
			c.becomes(30*time.Second, "island")
			c.manual(t, "alice", "away", "on the island")
			c.manual(t, "bob", "do-not-disturb", "")
			c.Until(soon, "what waits is counted", func() bool {
				return product.Get[[]product.Uplink](c.Agent, "/api/v1/uplinks")[0].Pending >= 2
			})
			must(t, c.server.Thaw())
			c.becomes(soon, "connected")
			c.agree(t, "after the island")
			c.oneEach(t, "after the island")
		})
	}
}
