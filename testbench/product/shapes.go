package product

import (
	"strings"
	"time"
)

// Phone is what the API tells of a phone, as far as tests look.
type Phone struct {
	Name, State, Cause, Diagnosis, Freshness, Model, Address, MAC, Owner string
	Since                                                                time.Time
	AsOf                                                                 time.Time `json:"as_of"`
	Streams                                                              []struct{ MOS float64 }
	Lines                                                                []struct{ Number, State string }
	Port                                                                 *struct {
		Switch, Name string
		VLAN         int
	}
	Power *struct {
		State string
		Watts *float64
	}
	Because []string
}

// Document is what the API tells of a presentity, as far as tests look.
type Document struct {
	Presentity, Name, Availability, Note, Freshness string
	Manual                                          bool
	Since                                           time.Time
	AsOf                                            time.Time `json:"as_of"`
	Capabilities                                    map[string]any
	Devices                                         []struct{ Name, State, Freshness string }
	Because                                         []string
}

// Uplink is what the API tells of an uplink.
type Uplink struct {
	Name, Kind, Mode, Why string
	Pending               int
}

// Phones is all phones by name.
func (a *Agent) Phones() map[string]Phone {
	a.t.Helper()
	by := map[string]Phone{}
	for _, p := range Get[[]Phone](a, "/api/v1/phones") {
		by[p.Name] = p
	}
	return by
}

// Presence is one document.
func (a *Agent) Presence(who string) Document {
	a.t.Helper()
	return Get[Document](a, "/api/v1/presence/"+who)
}

// Metric is the value of one sample of /metrics, written as Prometheus writes it.
func (a *Agent) Metric(sample string) string {
	a.t.Helper()
	body, err := a.do("GET", "/metrics", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, sample+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
