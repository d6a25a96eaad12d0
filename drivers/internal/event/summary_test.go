package event

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestASummaryIsWritten(t *testing.T) {
	for _, c := range []struct {
		in   Summary
		want string
	}{
		{Summary{}, "Messages-Waiting: no\r\n"},
		{Summary{Waiting: true}, "Messages-Waiting: yes\r\n"},
		{Summary{Waiting: true, Account: "sip:alice@vmail.example.com", Counts: []Count{{Class: VoiceMessage, New: 4, Old: 8, UrgentNew: 1, UrgentOld: 2}, {Class: FaxMessage, New: 4294967295}}},
			"Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 4/8 (1/2)\r\nFax-Message: 4294967295/0\r\n"},
		{Summary{Account: "sip:a@b\r\nVoice-Message: 9/9", Counts: []Count{{Class: "X: y\r\nVoice-Message", New: 9}}}, "Messages-Waiting: no\r\n"},
	} {
		if got := string(RenderSummary(c.in)); got != c.want {
			t.Errorf("%+v: %q", c.in, got)
		}
	}
}

func TestASummaryReadsBack(t *testing.T) {
	n := rapid.Uint32()
	rapid.Check(t, func(t *rapid.T) {
		want := Summary{Waiting: rapid.Bool().Draw(t, "waiting"), Account: rapid.SampledFrom([]string{"", "sip:alice@example.com;x=1"}).Draw(t, "account")}
		for _, class := range rapid.SliceOfDistinct(rapid.SampledFrom(messageClasses), rapid.ID).Draw(t, "classes") {
			want.Counts = append(want.Counts, Count{class, n.Draw(t, "new"), n.Draw(t, "old"), n.Draw(t, "urgent"), n.Draw(t, "old urgent")})
		}
		body := RenderSummary(want)
		got, err := ParseSummary(body)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" || err != nil || !bytes.Equal(body, RenderSummary(got)) {
			t.Fatalf("%v %s", err, d)
		}
	})
}

func TestRealSummariesAreRead(t *testing.T) {
	alice := "sip:alice@vmail.example.com"
	want := map[string]Summary{
		"asterisk-incoming-allowed-0": {Account: "sip:[service]@default.com", Counts: []Count{{VoiceMessage, 7, 2, 3, 6}}},
		"kamailio-pua-rpc-0":          {Waiting: true},
		"resip-testMessageWaiting-12": {},
		"resip-testMessageWaiting-15": {Waiting: true, Account: alice, Counts: []Count{{VoiceMessage, 4, 8, 1, 2}}},
		"resip-testMessageWaiting-21": {Waiting: true, Account: alice, Counts: []Count{{VoiceMessage, 4, 8, 1, 2}, {FaxMessage, 2, 1, 0, 0}}},
		"resip-testMessageWaiting-6":  {Waiting: true, Counts: []Count{{VoiceMessage, 7, 0, 0, 0}}},
		"rfc3842-1":                   {Waiting: true, Account: alice, Counts: []Count{{VoiceMessage, 2, 8, 0, 2}}},
		"rfc3842-2":                   {Waiting: true, Account: alice, Counts: []Count{{VoiceMessage, 4, 8, 1, 2}}},
	}
	for _, path := range beside(t, "message-summary/*.txt") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSummary(b)
		if d := cmp.Diff(want[strings.TrimSuffix(filepath.Base(path), ".txt")], got); d != "" || err != nil {
			t.Errorf("%s: %v %s", path, err, d)
		}
	}
}

func TestSummariesOfTheFieldAreRead(t *testing.T) {
	for body, want := range map[string]Summary{
		"messages-waiting : YES\nVOICE-MESSAGE:1/2(0/1)\n":                                          {Waiting: true, Counts: []Count{{VoiceMessage, 1, 2, 0, 1}}},
		"Voice-Message: 1 / 2 ( 3 / 4 )\r\nMessages-Waiting: no":                                    {Counts: []Count{{VoiceMessage, 1, 2, 3, 4}}},
		"Messages-Waiting: yes\r\nVoice-Message: 99999999999/4294967296\r\n":                        {Waiting: true, Counts: []Count{{VoiceMessage, 4294967295, 4294967295, 0, 0}}},
		"Messages-Waiting: yes\r\nMessage-Account: <sip:a@b>\r\nX-Of-Nobody: 1\r\n":                 {Waiting: true, Account: "sip:a@b"},
		"Messages-Waiting: yes\r\nMessages-Waiting: no\r\nFax-Message: 1/0\r\nFax-Message: 2/0\r\n": {Waiting: true, Counts: []Count{{FaxMessage, 1, 0, 0, 0}}},
		"Messages-Waiting: no\r\n\r\nVoice-Message: 1/0\r\nMessages-Waiting: perhaps\r\n":           {},
	} {
		got, err := ParseSummary([]byte(body))
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", body, err, d)
		}
	}
}

func TestHostileSummariesAreRefused(t *testing.T) {
	const head = "Messages-Waiting: yes\r\n"
	for name, body := range map[string]string{
		"nothing":         "",
		"no status":       "Voice-Message: 1/0\r\n",
		"another status":  "Messages-Waiting: perhaps\r\n",
		"no pair":         head + "Voice-Message: 1\r\n",
		"no number":       head + "Voice-Message: one/two\r\n",
		"less than none":  head + "Voice-Message: -1/0\r\n",
		"an open bracket": head + "Voice-Message: 1/0 (0/0\r\n",
		"an empty one":    head + "Voice-Message: 1/0 ()\r\n",
		"many lines":      head + strings.Repeat("a: b\r\n", maxSummaryLines),
		"long":            head + strings.Repeat(" ", maxSummary),
		"XML":             `<?xml version="1.0"?><presence/>`,
	} {
		if s, err := ParseSummary([]byte(body)); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func FuzzParseSummary(f *testing.F) {
	for _, path := range beside(f, "message-summary/*.txt") {
		if b, err := os.ReadFile(path); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSummary(b)
		if err != nil {
			return
		}
		again, err := ParseSummary(RenderSummary(s))
		if d := cmp.Diff(s, again); d != "" || err != nil {
			t.Fatalf("%v %s", err, d)
		}
	})
}

func BenchmarkRenderSummary(b *testing.B) {
	s := Summary{Waiting: true, Account: "sip:alice@vmail.example.com", Counts: []Count{{VoiceMessage, 4, 8, 1, 2}, {FaxMessage, 1, 0, 0, 0}}}
	b.ReportAllocs()
	for b.Loop() {
		RenderSummary(s)
	}
}
