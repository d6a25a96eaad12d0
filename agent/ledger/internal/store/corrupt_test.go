package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// sample is the bytes of a store with several pages, inline buckets, a log and
// free pages, and all that it ever held: where one meta page is lost, bbolt
// goes back by one commit, as after a power cut within it.
func sample(t testing.TB) ([]byte, map[place][]string) {
	t.Helper()
	o := at(t)
	o.foldBytes = 20000
	s := opened(t, o)
	held := map[place][]string{}
	for i := range 60 {
		var batch []Mutation
		for j := range 10 {
			batch = append(batch, Mutation{Kind(1 + j%4), fmt.Sprintf("key %d", i*j), bytes.Repeat([]byte{byte(i), byte(j)}, 40)})
		}
		if err := s.Commit(batch); err != nil {
			t.Fatal(err)
		}
		for at, value := range contents(t, s) {
			held[at] = append(held[at], value)
		}
	}
	raw, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	return raw, held
}

// survives opens a damaged file: it never fails, and it never shows anything
// that was not written.
func survives(t testing.TB, raw []byte, held map[place][]string, how string) (aside bool) {
	t.Helper()
	o := Options{Path: filepath.Join(t.TempDir(), "store")}
	if err := os.WriteFile(o.Path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatalf("%s: %v", how, err)
	}
	defer closed(t, s)
	got := contents(t, s)
	if err := s.Commit([]Mutation{{Drawers, "after", []byte("x")}}); err != nil {
		t.Errorf("%s: commit: %v", how, err)
	}
	if name := s.Stats().SetAside; name != "" {
		if kept, err := os.ReadFile(name); err != nil || !bytes.Equal(kept, raw) {
			t.Errorf("%s: the file set aside is not whole: %v", how, err)
		}
		if len(got) != 0 || s.Epoch() != 1 {
			t.Errorf("%s: not a fresh store: %d records", how, len(got))
		}
		return true
	}
	for at, value := range got {
		if !slices.Contains(held[at], value) {
			t.Errorf("%s: %v is %q, which it never was", how, at, value)
		}
	}
	return false
}

func TestADamagedFileIsSetAsideAndNeverBelieved(t *testing.T) {
	raw, held := sample(t)
	if survives(t, raw, held, "whole") {
		t.Fatal("a sound file was set aside")
	}
	rng := rand.New(rand.NewPCG(7, 7))
	aside := 0
	const runs = 200
	for i := range runs {
		bad := bytes.Clone(raw)
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(bad))
			if i%2 == 0 { // where the numbers are: the headers of pages and their first elements
				at = rng.IntN(len(bad)/pageSize)*pageSize + rng.IntN(128)
			}
			bad[at] ^= byte(1 + rng.IntN(255))
		}
		if survives(t, bad, held, fmt.Sprintf("flips %d", i)) {
			aside++
		}
	}
	if aside < runs/20 {
		t.Errorf("%d of %d damaged files found", aside, runs)
	}
	for i := range 60 {
		survives(t, raw[:rng.IntN(len(raw))], held, fmt.Sprintf("cut %d", i))
	}
	for i := range 30 { // a page that the disk lost
		bad := bytes.Clone(raw)
		page := rng.IntN(len(bad)/pageSize) * pageSize
		clear(bad[page : page+pageSize])
		survives(t, bad, held, fmt.Sprintf("page %d lost", i))
	}
	for i := range 30 { // two pages swapped
		bad := bytes.Clone(raw)
		a, b := rng.IntN(len(bad)/pageSize)*pageSize, rng.IntN(len(bad)/pageSize)*pageSize
		copy(bad[a:a+pageSize], raw[b:b+pageSize])
		copy(bad[b:b+pageSize], raw[a:a+pageSize])
		survives(t, bad, held, fmt.Sprintf("swapped %d", i))
	}
	for _, rubbish := range [][]byte{{}, []byte("SQLite format 3\x00"), bytes.Repeat([]byte{0}, 100000), bytes.Repeat([]byte{0xff}, 100000)} {
		if !survives(t, rubbish, held, "rubbish") {
			t.Errorf("%d bytes of rubbish were taken for a store", len(rubbish))
		}
	}
}

func FuzzVerify(f *testing.F) {
	raw, _ := sample(f)
	f.Add(raw[:8*pageSize])
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, raw []byte) { _ = verifyPages(bytes.NewReader(raw), uint64(len(raw))) })
}

func FuzzLog(f *testing.F) {
	var d deflater
	f.Add(d.appendLog(nil, []Mutation{{Since, "a", []byte("b")}, {Drawers, "c", nil}, {Drawers, "d", []byte{}}}))
	f.Add(d.appendLog(nil, []Mutation{{Since, "a", make([]byte, 5000)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, err := consumeLog(b)
		if err != nil {
			return
		}
		again, err := consumeLog(d.appendLog(nil, batch))
		if err != nil || len(again) != len(batch) {
			t.Fatalf("%v: %d mutations, were %d", err, len(again), len(batch))
		}
	})
}
