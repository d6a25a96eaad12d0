package event

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pilotlight/agent/presence"
)

// samples finds the folder of real documents beside the module.
func samples(t testing.TB) []string {
	dir, _ := os.Getwd()
	for dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	list, _ := filepath.Glob(filepath.Join(dir, "../shared/sip/samples/dialog-info/*.xml"))
	if len(list) == 0 {
		fmt.Printf("%s: no samples at ../shared/sip/samples/dialog-info; this part could not run\n", t.Name())
	}
	return list
}

// golden is each sample as the table reads it alone: full or partial, version,
// and the line's state.
var golden = map[string]string{
	"asterisk-notify-re0": "full 0 idle", "asterisk-notify-re1": "full 1 early", "asterisk-notify-re2": "full 2 confirmed", "asterisk-notify-re3": "full 3 confirmed held",
	"asterisk-publish-re0": "full 0 idle", "asterisk-publish-re1": "full 1 early", "asterisk-publish-re2": "full 2 confirmed", "asterisk-publish-re3": "full 3 confirmed held", "asterisk-publish-re4": "full 4 idle",
	"kamailio-pua-dialoginfo-0": "full 1 early out", "kamailio-pua-dialoginfo-1": "full 1 early out", "kamailio-pua-dialoginfo-2": "full 3 confirmed out",
	"opensips-pua-dialoginfo-0": "full 1 early out", "opensips-pua-dialoginfo-1": "full 1 early out",
	"resip-testDialogInfoContents-100": "partial 5 confirmed",
	"resip-testDialogInfoContents-97":  "full 0 trying out",
	"rfc4235-0":                        "full 0 confirmed",
	"rfc4235-1":                        "full 0 idle",
	"rfc4235-10":                       "partial 1 trying",
	"rfc4235-11":                       "partial 2 trying out",
	"rfc4235-12":                       "partial 3 early out",
	"rfc4235-13":                       "partial 4 confirmed out",
	"rfc4235-14":                       "partial 5 confirmed",
	"rfc4235-15":                       "partial 6 confirmed",
	"rfc4235-16":                       "partial 8 trying",
	"rfc4235-17":                       "full 9 idle",
	"rfc4235-19":                       "full 1 confirmed",
	"rfc4235-2":                        "partial 0 idle",
	"rfc4235-20":                       "full 2 idle",
	"rfc4235-3":                        "full 1 confirmed",
	"rfc4235-4":                        "full 0 trying out",
	"rfc4235-5":                        "full 1 early out",
	"rfc4235-6":                        "full 2 early out",
	"rfc4235-7":                        "partial 3 confirmed out",
	"rfc4235-8":                        "partial 4 idle",
	"rfc4235-9":                        "full 0 idle",
}

func describe(doc DialogInfo) string {
	var t DialogTable
	t.Apply(doc)
	l := t.Line()
	s := "partial"
	if doc.Full {
		s = "full"
	}
	s += fmt.Sprintf(" %d %s", doc.Version, l.State)
	if l.Held {
		s += " held"
	}
	if l.Outgoing {
		s += " out"
	}
	return s
}

func TestRealDocumentsAreRead(t *testing.T) {
	for _, path := range samples(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".xml")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := DecodeDialogs(b)
		got := describe(doc)
		if err != nil {
			got = err.Error()
		}
		if got != golden[name] {
			t.Errorf("%q: %q,", name, got)
		}
	}
}

func TestADocumentIsReadInFull(t *testing.T) {
	doc, err := DecodeDialogs([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?>
<d:dialog-info xmlns:d="urn:ietf:params:xml:ns:dialog-info" version="7" state="partial" entity=" sip:alice@example.com ">
 <d:dialog id="x" call-id="c" local-tag="l" remote-tag="r" direction="receiver">
  <d:state reason="replaced" code="200"> Confirmed </d:state>
  <d:local><d:identity display="Ren` + "\xe9" + `e">
     sip:alice@example.com</d:identity><d:target uri="sip:alice@192.0.2.1:5060"><d:param pname="+SIP.rendering" pvalue="no"/></d:target></d:local>
  <d:remote><d:target uri="sip:bob@example.net"/></d:remote>
 </d:dialog>
</d:dialog-info>`))
	if err != nil {
		t.Fatal(err)
	}
	want := DialogInfo{Entity: "sip:alice@example.com", Version: 7, Dialogs: []Dialog{{ID: "x", CallID: "c", LocalTag: "l", RemoteTag: "r",
		Direction: Recipient, State: Confirmed, Event: "replaced", Code: 200,
		Local:  Party{Identity: "sip:alice@example.com", Display: "Renée", Target: "sip:alice@192.0.2.1:5060", Params: map[string]string{"+sip.rendering": "no"}},
		Remote: Party{Target: "sip:bob@example.net"}}}}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Error(diff)
	}
}

func TestHostileDocumentsAreRefused(t *testing.T) {
	for name, doc := range map[string]string{
		"nothing":         "",
		"no XML":          "hello",
		"another root":    `<presence/>`,
		"entities":        `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><dialog-info entity="&b;"/>`,
		"unknown entity":  `<dialog-info><dialog>&xxe;</dialog></dialog-info>`,
		"never closed":    `<dialog-info><dialog>`,
		"two roots":       `<dialog-info/><dialog-info/>`,
		"deep":            `<dialog-info>` + strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100) + `</dialog-info>`,
		"long":            `<dialog-info>` + strings.Repeat(" ", maxDocument) + `</dialog-info>`,
		"many dialogs":    `<dialog-info>` + strings.Repeat("<dialog/>", maxDialogs+1) + `</dialog-info>`,
		"version":         `<dialog-info version="4294967296"/>`,
		"negative":        `<dialog-info version="-1"/>`,
		"state":           `<dialog-info state="half"/>`,
		"unknown charset": `<?xml version="1.0" encoding="ebcdic"?><dialog-info/>`,
	} {
		if doc, err := DecodeDialogs([]byte(doc)); err == nil {
			t.Errorf("%s: %+v", name, doc)
		}
	}
}

func dlg(id string, s DialogState) Dialog { return Dialog{ID: id, State: s} }

func TestTheTableFollowsVersions(t *testing.T) {
	full := func(v uint32, d ...Dialog) DialogInfo { return DialogInfo{Version: v, Full: true, Dialogs: d} }
	part := func(v uint32, d ...Dialog) DialogInfo { return DialogInfo{Version: v, Dialogs: d} }
	for _, tt := range []struct {
		name    string
		docs    []DialogInfo
		state   presence.LineState
		refresh bool // by the last
	}{
		{"empty", nil, presence.LineIdle, false},
		{"full", []DialogInfo{full(5, dlg("a", Early))}, presence.LineEarly, false},
		{"partial first", []DialogInfo{part(0, dlg("a", Early))}, presence.LineEarly, true},
		{"next partial", []DialogInfo{full(0, dlg("a", Early)), part(1, dlg("a", Confirmed))}, presence.LineConfirmed, false},
		{"partial leaves the others", []DialogInfo{full(0, dlg("a", Confirmed)), part(1, dlg("b", Early))}, presence.LineConfirmed, false},
		{"gap", []DialogInfo{full(0, dlg("a", Early)), part(3, dlg("a", Confirmed))}, presence.LineConfirmed, true},
		{"gap in full ones", []DialogInfo{full(0, dlg("a", Early)), full(3)}, presence.LineIdle, false},
		{"older", []DialogInfo{full(4, dlg("a", Confirmed)), full(3)}, presence.LineConfirmed, false},
		{"same partial again", []DialogInfo{full(4, dlg("a", Confirmed)), part(4, dlg("a", Terminated))}, presence.LineConfirmed, false},
		{"notifier that never counts", []DialogInfo{full(0, dlg("a", Confirmed)), full(0)}, presence.LineIdle, false},
		{"ended", []DialogInfo{full(0, dlg("a", Confirmed)), part(1, dlg("a", Terminated))}, presence.LineIdle, false},
		{"strongest", []DialogInfo{full(0, dlg("a", Trying), dlg("b", Early), dlg("c", Proceeding))}, presence.LineEarly, false},
	} {
		var table DialogTable
		refresh := false
		for _, d := range tt.docs {
			refresh = table.Apply(d)
		}
		if got := table.Line(); got.State != tt.state || refresh != tt.refresh {
			t.Errorf("%s: %+v, refresh %v", tt.name, got, refresh)
		}
	}
}

func TestTheLineSumsItsDialogsUp(t *testing.T) {
	held := Party{Target: "sip:a@192.0.2.2", Params: map[string]string{"sip.rendering": "NO"}}
	for _, tt := range []struct {
		name    string
		dialogs []Dialog
		want    LineState
	}{
		{"held", []Dialog{{ID: "a", State: Confirmed, Local: held}}, LineState{State: presence.LineConfirmed, Held: true, Dialogs: 1, Sites: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}},
		{"one held, one not", []Dialog{{ID: "a", State: Confirmed, Local: held}, {ID: "b", State: Confirmed, Direction: Initiator, Local: Party{Target: "sip:a@192.0.2.1"}}},
			LineState{State: presence.LineConfirmed, Dialogs: 2, Outgoing: true, Sites: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}}},
		{"held by the other side", []Dialog{{ID: "a", State: Confirmed, Remote: held}}, LineState{State: presence.LineConfirmed, Dialogs: 1}},
		{"dialling", []Dialog{{ID: "a", State: Early, Direction: Initiator}}, LineState{State: presence.LineEarly, Outgoing: true, Dialogs: 1}},
		{"dialling and rung", []Dialog{{ID: "a", State: Early, Direction: Initiator}, {ID: "b", State: Early, Direction: Recipient}}, LineState{State: presence.LineEarly, Dialogs: 2}},
		{"target by name", []Dialog{{ID: "a", State: Early, Local: Party{Target: "sip:a@phone.example.com"}}}, LineState{State: presence.LineEarly, Dialogs: 1}},
	} {
		for range 20 { // whatever the order of the map
			var table DialogTable
			table.Apply(DialogInfo{Full: true, Dialogs: tt.dialogs})
			if d := cmp.Diff(tt.want, table.Line(), cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Fatalf("%s (-want +got):\n%s", tt.name, d)
			}
		}
	}
}

// Phones that share a line and do different things on it are told apart.
func TestALineIsToldApartByItsSites(t *testing.T) {
	at := func(id string, site byte, s DialogState, d Direction) Dialog {
		return Dialog{ID: id, State: s, Direction: d, Local: Party{Target: fmt.Sprintf("sip:1004@192.0.2.%d:5060", site)}}
	}
	site := func(n byte) []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, n})} }
	held := at("h", 2, Confirmed, Recipient)
	held.Local.Params = map[string]string{"+sip.rendering": "no"}
	for _, tt := range []struct {
		name    string
		dialogs []Dialog
		want    []LineState
	}{
		{"no call", nil, nil},
		{"one call", []Dialog{at("a", 1, Confirmed, Recipient)}, nil},
		{"rings at both", []Dialog{at("a", 1, Early, Recipient), at("b", 2, Early, Recipient)}, nil},
		{"two calls at one phone", []Dialog{at("a", 2, Early, Recipient), held}, nil},
		{"in use at one, rings at the other", []Dialog{at("b", 2, Early, Recipient), at("a", 1, Confirmed, Recipient)}, []LineState{
			{State: presence.LineConfirmed, Dialogs: 1, Sites: site(1)}, {State: presence.LineEarly, Dialogs: 1, Sites: site(2)}}},
		{"in use at one, held at the other", []Dialog{held, at("a", 1, Confirmed, Initiator)}, []LineState{
			{State: presence.LineConfirmed, Outgoing: true, Dialogs: 1, Sites: site(1)}, {State: presence.LineConfirmed, Held: true, Dialogs: 1, Sites: site(2)}}},
		{"at one, and nobody knows where", []Dialog{at("a", 1, Early, Recipient), {ID: "b", State: Confirmed, Direction: Recipient}}, []LineState{
			{State: presence.LineConfirmed, Dialogs: 1}, {State: presence.LineEarly, Dialogs: 1, Sites: site(1)}}},
	} {
		for range 20 { // whatever the order of the map
			var table DialogTable
			table.Apply(DialogInfo{Full: true, Dialogs: tt.dialogs})
			if d := cmp.Diff(tt.want, table.Apart(), cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Fatalf("%s (-want +got):\n%s", tt.name, d)
			}
		}
	}
}

func FuzzDecodeDialogs(f *testing.F) {
	for _, path := range samples(f) {
		if b, err := os.ReadFile(path); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := DecodeDialogs(b)
		if err != nil {
			return
		}
		if len(doc.Dialogs) > maxDialogs {
			t.Fatal("too many dialogs")
		}
		var table DialogTable
		table.Apply(doc)
		if l := table.Line(); l.State == presence.LineIdle && l.Dialogs > 0 {
			t.Fatalf("idle with dialogs: %+v", doc)
		}
		if _, err := DecodeDialogs(RenderDialogs(doc)); err != nil && len(b) < maxDocument/8 { // escaped, it is longer
			t.Fatalf("not read back: %v", err)
		}
	})
}
