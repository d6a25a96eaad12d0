package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

func keys(t testing.TB, d ledger.Drawer, prefix string) []string {
	t.Helper()
	var all []string
	must(t, d.Each(prefix, func(key string, value []byte) error {
		all = append(all, key+"="+string(value))
		return nil
	}))
	return all
}

func TestADrawerKeepsWhatItWasGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	l := open(t, path)
	stop := start(t, l)
	d, other := l.Drawer("dialogs"), l.Drawer("etags")
	if v, err := d.Get("none"); v != nil || err != nil {
		t.Errorf("none: %q, %v", v, err)
	}
	value := []byte("one")
	must(t, d.Put(t.Context(), "a/1", value))
	value[0] = 'X' // the caller's own again
	must(t, d.PutSoft(t.Context(), "a/2", []byte("two")))
	must(t, d.Put(t.Context(), "b/1", []byte{}))
	must(t, other.Put(t.Context(), "a/1", []byte("other")))
	must(t, d.Put(t.Context(), "gone", []byte("x")))
	must(t, d.Delete(t.Context(), "gone"))
	got, err := d.Get("a/1")
	must(t, err)
	got[0] = 'Y'
	check := func(when string) {
		t.Helper()
		if got := keys(t, d, ""); !slices.Equal(got, []string{"a/1=one", "a/2=two", "b/1="}) {
			t.Errorf("%s: %q", when, got)
		}
		if got := keys(t, d, "a/"); len(got) != 2 {
			t.Errorf("%s, prefix: %q", when, got)
		}
		if v, _ := d.Get("b/1"); v == nil {
			t.Errorf("%s: an empty value is not none", when)
		}
		if got := keys(t, other, ""); !slices.Equal(got, []string{"a/1=other"}) {
			t.Errorf("%s, the other: %q", when, got)
		}
	}
	check("written")
	stop()
	check("after the end") // Get and Each never need the owner
	l = open(t, path)
	start(t, l)
	d, other = l.Drawer("dialogs"), l.Drawer("etags")
	check("restarted")
}

func TestEachMayUseTheDrawerAndStops(t *testing.T) {
	l := fresh(t)
	d := l.Drawer("d")
	for i := range 5 {
		must(t, d.Put(t.Context(), fmt.Sprint(i), nil))
	}
	enough := errors.New("enough")
	n := 0
	err := d.Each("", func(key string, _ []byte) error {
		if n++; n == 3 {
			return enough
		}
		return d.Delete(t.Context(), key)
	})
	if !errors.Is(err, enough) || len(keys(t, d, "")) != 3 {
		t.Errorf("%v, left %q", err, keys(t, d, ""))
	}
}

func TestDrawersAreBounded(t *testing.T) {
	l := fresh(t)
	d := l.Drawer("d")
	for name, err := range map[string]error{
		"no key":        d.Put(t.Context(), "", nil),
		"a long key":    d.Put(t.Context(), string(make([]byte, 1000)), nil),
		"a large value": d.Put(t.Context(), "k", make([]byte, 2<<20)),
		"no name":       l.Drawer("").Put(t.Context(), "k", nil),
	} {
		if !errors.Is(err, ledger.ErrFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = d.PutSoft(t.Context(), fmt.Sprint(n), make([]byte, 1<<20))
	}
	if !errors.Is(err, ledger.ErrFull) || n > 17 {
		t.Errorf("after %d MB: %v", n, err)
	}
	st := l.Stats()
	if st.DrawerBytes > 16<<20 || st.Refused["drawers"] == 0 {
		t.Errorf("%d bytes, refused %v", st.DrawerBytes, st.Refused)
	}
	must(t, d.Delete(t.Context(), "0"))
	must(t, d.PutSoft(t.Context(), "room again", make([]byte, 1000)))
}

func TestABackupHoldsAllThatWasToldAndARestoreDropsWhatHarms(t *testing.T) {
	l := fresh(t)
	must(t, l.Observe(t.Context(), calls(phone, presence.LineConfirmed)))
	_, _, err := l.Publish(t.Context(), says(presence.OutOfOffice, presence.Forever))
	must(t, err)
	must(t, l.Drawer("tokens").PutSoft(t.Context(), "a", []byte("kept"))) // not yet on disk
	must(t, l.Drawer("dialogs").Put(t.Context(), "a", []byte("dropped")))
	var backup bytes.Buffer
	must(t, l.Backup(t.Context(), &backup))
	path := filepath.Join(t.TempDir(), "restored")
	must(t, ledger.Restore(path, &backup, "dialogs", "etags", "cursors", "sessions"))
	r := open(t, path)
	start(t, r)
	if r.ID() == l.ID() {
		t.Error("a restored store has the id of the old one")
	}
	if len(keys(t, r.Drawer("dialogs"), "")) != 0 || len(keys(t, r.Drawer("tokens"), "")) != 1 {
		t.Errorf("dialogs %q, tokens %q", keys(t, r.Drawer("dialogs"), ""), keys(t, r.Drawer("tokens"), ""))
	}
	d := document(t, r, alice)
	if d.Devices[0].State != presence.InUse || d.Devices[0].Freshness != presence.LastKnown || d.Note == "" {
		t.Errorf("restored: %+v", d)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestABackupToAReaderThatFailsSaysSo(t *testing.T) {
	l := fresh(t)
	r, w, err := os.Pipe()
	must(t, err)
	must(t, r.Close())
	defer w.Close()
	if err := l.Backup(t.Context(), w); err == nil {
		t.Error("no error")
	}
	must(t, l.Ping(t.Context()))
}

// What is refused in a Write takes none of the others with it.
func TestAWriteGoesPastWhatIsRefused(t *testing.T) {
	l := fresh(t)
	d := l.Drawer("simple")
	must(t, d.Put(t.Context(), "gone", []byte("x")))
	told := make(chan string, 3)
	tell := func(name string) func(error) {
		return func(err error) { told <- fmt.Sprint(name, " ", err == nil) }
	}
	d.Write(ledger.Entry{Key: "first", Value: []byte("1"), Done: tell("first")}, ledger.Entry{Key: strings.Repeat("k", 600), Value: []byte("2"), Done: tell("fat")},
		ledger.Entry{Key: "gone"}, ledger.Entry{Key: "after", Value: []byte("3"), Done: tell("after")})
	got := []string{<-told, <-told, <-told}
	slices.Sort(got)
	if want := []string{"after true", "fat false", "first true"}; !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
	for key, want := range map[string]string{"first": "1", "after": "3", "gone": ""} {
		if b, err := d.Get(key); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", key, b, err)
		}
	}
}
