package phone

import (
	"slices"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

// An enterprise phone that has no page for a moment, as when it starts, is not
// taken for a multiplatform one by whatever answers in place of the status page.
func TestOnlyAStatusPageMakesAPhoneMultiplatform(t *testing.T) {
	device := string(golden(t, "8845", "device.xml"))
	for name, odd := range map[string]func(*fakePhone){
		"no such page":             func(f *fakePhone) { f.sends(pathStatus, 404, "") },
		"a login page":             func(f *fakePhone) { f.sends(pathStatus, 200, login) },
		"nothing":                  func(f *fakePhone) { f.sends(pathStatus, 200, "") },
		"another page":             func(f *fakePhone) { f.sends(pathStatus, 200, device) },
		"a profile of nobody":      func(f *fakePhone) { f.sends(pathStatus, 200, "<flat-profile><a>b</a></flat-profile>") },
		"half a status page":       func(f *fakePhone) { f.sends(pathStatus, 200, string(golden(t, "8851-3pcc", "status-idle.xml")[:900])) },
		"an error of its own":      func(f *fakePhone) { f.sends(pathStatus, 500, "") },
		"asks for a password":      func(f *fakePhone) { f.sends(pathStatus, 401, "") },
		"busy":                     func(f *fakePhone) { f.sends(pathStatus, 503, "") },
		"a redirect":               func(f *fakePhone) { f.sends(pathStatus, 302, "", "Location", "http://127.0.0.2/") },
		"nothing, by the adapter":  func(f *fakePhone) { f.sends(pathAdapter+"device", 200, "<x/>") },
		"a login, by the adapter":  func(f *fakePhone) { f.sends(pathAdapter+"device", 200, login) },
		"an adapter that is busy":  func(f *fakePhone) { f.sends(pathAdapter+"device", 503, "") },
		"an adapter that is there": func(f *fakePhone) { f.sends(pathAdapter+"device", 401, "") },
	} {
		t.Run(name, func(t *testing.T) {
			v := visiting(t, "8845", "SEP0C1167AA0002", Credentials{})
			v.f.sends(pathDevice, 404, "")
			odd(v.f)
			for range 2 {
				if facts, _, err := v.try(); err == nil || len(facts) > 0 {
					t.Errorf("told %+v", facts)
				}
			}
			v.f.sends(pathDevice, 0, "")
			facts, _ := v.visit()
			if v.a.dialect != pageDialect || facts[sourceDevice].Identity.Model != "CP-8845" || facts[sourceNetwork].Registration == nil || facts[sourceWeb].Calls == nil {
				t.Errorf("dialect %v, told %+v", v.a.dialect, facts)
			}
		})
	}
}

// A phone that is given other firmware is asked in the other way after three
// visits in which the page that it was known by made no sense, and not after one.
func TestADialectIsReconsidered(t *testing.T) {
	status := string(golden(t, "8851-3pcc", "status-idle.xml"))
	gone := func(f *fakePhone, path string) { f.sends(path, 404, "") }
	login := func(f *fakePhone, path string) { f.sends(path, 200, login) }
	for _, c := range []struct {
		name     string
		from, to dialect
		folder   string
		breaks   func(*fakePhone, string)
	}{
		{"Unified CM to multiplatform", pageDialect, flatDialect, "8845", gone},
		{"Unified CM to multiplatform, with a page for those who err", pageDialect, flatDialect, "8845", login},
		{"multiplatform to Unified CM", flatDialect, pageDialect, "8851-3pcc", gone},
		{"multiplatform to Unified CM, with a page for those who err", flatDialect, pageDialect, "8851-3pcc", login},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := visiting(t, c.folder, "any", Credentials{})
			if c.from == flatDialect {
				v.f.sends(pathDevice, 404, "")
			}
			v.visit()
			if v.a.dialect != c.from {
				t.Fatalf("dialect %v", v.a.dialect)
			}
			if c.to == flatDialect {
				c.breaks(v.f, pathDevice)
				v.f.sends(pathStatus, 200, status)
			} else {
				c.breaks(v.f, pathStatus)
				v.f.sends(pathDevice, 200, string(golden(t, "8845", "device.xml")))
			}
			for range goneTries {
				v.later(time.Minute)
				if v.a.dialect != c.from {
					t.Fatal("reconsidered at once")
				}
				if _, _, err := v.try(); err == nil {
					t.Fatal("no fault")
				}
			}
			if c.to == flatDialect {
				v.f.sends(pathDevice, 404, "") // a login page in its place stays a fault of the phone
			}
			if facts, _ := v.visit(); v.a.dialect != c.to || len(facts) == 0 {
				t.Errorf("dialect %v, told %+v", v.a.dialect, facts)
			}
		})
	}
}

// A busy phone is no other phone.
func TestABusyPhoneKeepsItsDialect(t *testing.T) {
	v := visiting(t, "8851-3pcc", "any", Credentials{})
	v.f.sends(pathDevice, 404, "")
	v.visit()
	v.f.sends(pathStatus, 503, "")
	for range 2 * goneTries {
		if _, _, err := v.try(); err == nil {
			t.Fatal("no fault")
		}
	}
	if v.a.dialect != flatDialect {
		t.Error("reconsidered")
	}
}

// The status page asks for a user too, who is not shown again at once when refused.
func TestAUserIsNotShownToAStatusPageAgain(t *testing.T) {
	v := visiting(t, "8851-3pcc", "any", ours)
	v.f.sends(pathDevice, 404, "")
	v.f.sends(pathStatus, 401, "", "WWW-Authenticate", `Basic realm="phone"`)
	for n, want := range []int{2, 1} { // asked without, and with; and without
		_, asked, err := v.try()
		if f, ok := err.(*Fault); !ok || f.Reach != presence.Refused {
			t.Errorf("%v", err)
		}
		got := len(slices.DeleteFunc(asked, func(p string) bool { return p != pathStatus }))
		if got != want {
			t.Errorf("visit %d: asked %d times, want %d", n+1, got, want)
		}
	}
}

// A phone with a status page that names no known product is one all the same.
func TestAStrangeProductWithAStatusPage(t *testing.T) {
	for product, want := range map[string]string{"CP-8851-3PCC": "MPP: 6800, 7800, 8800 with 3PCC firmware", "SPA504G": "SPA 300, SPA 500", "ATA191": "ATA 190, SPA 100",
		"PAP2T": strangeFlat.Name, "": strangeFlat.Name, "CP-8845": strangeFlat.Name} {
		if got := (Status{Product: product}).family(); got.Name != want || got.Dialect != flatDialect {
			t.Errorf("%q is of the family %q", product, got.Name)
		}
	}
}
