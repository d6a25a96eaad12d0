package event

import "testing"

// TestChoose (EV-23).
func TestChoose(t *testing.T) {
	const pidf, cpim, diff = "application/pidf+xml", "application/cpim-pidf+xml", "application/pidf-diff+xml"
	ours := []string{pidf, cpim}
	for _, c := range []struct {
		name    string
		accept  []string
		offered []string
		want    string
	}{
		{"no Accept", nil, ours, pidf},
		{"an empty one", []string{}, ours, ""},
		{"the default", []string{pidf}, ours, pidf},
		{"a Cisco phone's", []string{cpim}, ours, cpim},
		{"both: our order", []string{cpim, pidf}, ours, pidf},
		{"both, with q", []string{pidf + ";q=0.4", cpim + ";q=0.5"}, ours, cpim},
		{"partial preferred (PAR-01)", []string{pidf + ";q=0.3, " + diff + ";q=1"}, []string{pidf, diff}, diff},
		{"none", []string{"application/dialog-info+xml", "text/plain"}, ours, ""},
		{"case, blanks, parameters", []string{" Application/PIDF+xml ; charset=\"a,b\" ; Q=0.5 "}, ours, pidf},
		{"everything", []string{"*/*"}, ours, pidf},
		{"everything, as some write it", []string{"*"}, ours, pidf},
		{"a class", []string{"application/*;q=0.1"}, ours, pidf},
		{"another class", []string{"text/*"}, ours, ""},
		{"everything but one", []string{pidf + ";q=0", "*/*"}, ours, cpim},
		{"everything but a class", []string{"application/*;q=0", "*/*"}, ours, ""},
		{"the exact one counts", []string{"*/*;q=1", pidf + ";q=0.1", "application/*;q=0.5"}, ours, cpim},
		{"nothing at all", []string{"*/*;q=0"}, ours, ""},
		{"a q that is none", []string{pidf + ";q=high"}, ours, pidf},
		{"a q beyond one", []string{pidf + ";q=NaN", cpim + ";q=7"}, ours, pidf},
		{"nothing offered", nil, nil, ""},
		{"an offer with parameters", []string{"multipart/related"}, []string{`multipart/related;type="application/rlmi+xml"`}, `multipart/related;type="application/rlmi+xml"`},
	} {
		got, ok := Choose(c.accept, c.offered)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", c.name, got, ok, c.want)
		}
	}
}

func FuzzChoose(f *testing.F) {
	f.Add("application/pidf+xml;q=0.5, */*;q=0.1")
	f.Add(`a/b;c="d,e";q=.;q=1,,*`)
	f.Fuzz(func(t *testing.T, accept string) {
		ours := []string{"application/pidf+xml", "application/cpim-pidf+xml"}
		got, ok := Choose([]string{accept}, ours)
		if ok != (got == ours[0] || got == ours[1]) {
			t.Fatalf("%q: %q %v", accept, got, ok)
		}
	})
}

func BenchmarkChoose(b *testing.B) {
	accept, offered := []string{"application/cpim-pidf+xml;q=0.5", "application/pidf+xml"}, []string{"application/pidf+xml", "application/cpim-pidf+xml"}
	b.ReportAllocs()
	for b.Loop() {
		Choose(accept, offered)
	}
}
